"""The stores that the conformance suite runs on: a new back end adds one line here."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Store:
    """``url`` where no engine is needed ("{directory}" is a fresh folder), else ``engine`` names one of tests/engines."""

    name: str
    url: str = ""
    engine: str = ""
    options: str = ""
    except_for: dict[str, str] = field(default_factory=dict)


STORES = [
    Store("memory", "memory://"),
    Store("lmdb", "lmdb://{directory}/store"),
    Store("redis", engine="redis"),
    Store("redis-cluster", engine="redis-cluster"),
    Store("cassandra", engine="cassandra"),
    Store("dynamodb", engine="dynamodb"),
    Store("mongodb", engine="mongodb"),
]
