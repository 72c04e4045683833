"""The fetcher: plan, one read of the store for the whole call, decode, merge, derive, answer (spec/online-fetch.md §1)."""

from collections.abc import Sequence
from dataclasses import dataclass

from chronoserve.fetcher.external import ExternalRegistry
from chronoserve.fetcher.observe import FetchMetrics
from chronoserve.fetcher.ports import Clock, FlagStore, Lists, ModelBackend, Reads
from chronoserve.fetcher.response_log import ResponseLog
from chronoserve.fetcher.settings import FetchSettings
from chronoserve.fetcher.trace import Trace
from chronoserve.model.confs import Join
from chronoserve.model.errors import Unsupported
from chronoserve.model.features import FeatureRequest, FeatureRow
from chronoserve.model.types import StructType


@dataclass(frozen=True, slots=True)
class ValueInfo:
    """One feature of a join: its name, the group by or external source it comes from, its part's prefix, the left keys that it needs."""

    name: str
    group: str
    prefix: str
    left_keys: tuple[str, ...]
    type: str


@dataclass(frozen=True, slots=True)
class JoinSchema:
    """``key_schema`` and ``value_schema`` are Avro texts, ``schema_hash`` names both; bytes in the join log have them."""

    name: str
    key_type: StructType
    value_type: StructType
    key_schema: str
    value_schema: str
    schema_hash: str
    value_infos: tuple[ValueInfo, ...]


@dataclass(frozen=True, slots=True)
class GroupBySchema:
    name: str
    key_type: StructType
    value_type: StructType
    key_schema: str
    value_schema: str
    """Of the answers, derivations applied."""
    input_schema: str | None
    selected_schema: str | None
    batch_end_millis: int


@dataclass(frozen=True, slots=True)
class Names:
    """A page of names; ``next_token`` is empty after the last one."""

    names: tuple[str, ...]
    next_token: bytes


class Fetcher:
    """Features of joins and group bys from what the store holds. One instance a process; safe for concurrent use on one loop."""

    def __init__(
        self,
        reads: Reads,
        *,
        clock: Clock,
        registry: ExternalRegistry | None = None,
        log: ResponseLog | None = None,
        flags: FlagStore | None = None,
        settings: FetchSettings | None = None,
        metrics: FetchMetrics | None = None,
        models: ModelBackend | None = None,
        lists: Lists | None = None,
    ) -> None:
        self.metrics = metrics or FetchMetrics()

    async def fetch_joins(
        self,
        requests: Sequence[FeatureRequest],
        *,
        deadline: float,
        trace: Trace | None = None,
        conf: Join | None = None,
        reads: Reads | None = None,
        structured: bool = False,
    ) -> list[FeatureRow]:
        """One row for each request, in order. ``deadline``: absolute, of the running loop's clock.

        ``conf``: use this join for every request, whatever its name, in place of the one that was uploaded. ``reads``: read the
        data of this call through this (a policy that tells callers apart); metadata is read with the fetcher's own.
        ``structured``: structs by field name (spec/online-fetch.md §14).

        Raises:
            KVError: no row could be attempted (the store is overloaded or away, the deadline has passed).
        """
        raise Unsupported("this server does not fetch joins yet")

    async def fetch_group_bys(
        self,
        requests: Sequence[FeatureRequest],
        *,
        deadline: float,
        trace: Trace | None = None,
        reads: Reads | None = None,
        structured: bool = False,
    ) -> list[FeatureRow]:
        """The same for group bys."""
        raise Unsupported("this server does not fetch group bys yet")

    async def join_schema(self, name: str, *, deadline: float) -> JoinSchema:
        """Raises UnknownConf, or what keeps the join's codec from being built."""
        raise Unsupported("this server does not know schemas yet")

    async def group_by_schema(self, name: str, *, deadline: float) -> GroupBySchema:
        """Raises UnknownConf where no serving info was uploaded."""
        raise Unsupported("this server does not know schemas yet")

    async def list_joins(self, *, page_size: int = 0, token: bytes = b"", deadline: float) -> Names:
        """Joins whose conf is in ZIPLINE_METADATA, as ``team/join.v1``, a page at a time in the store's order."""
        raise Unsupported("this server does not list joins yet")

    async def list_group_bys(self, *, page_size: int = 0, token: bytes = b"", deadline: float) -> Names:
        """Group bys whose serving info is in the store, by their names, a page at a time."""
        raise Unsupported("this server does not list group bys yet")
