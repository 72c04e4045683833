"""The README's table of back ends, from what each store says of itself on its real engine.

``python -m pytest tests/conformance/test_readme.py`` compares; with ``CHRONOSERVE_WRITE_README=1`` it writes.
"""

import re
from pathlib import Path

from chronoserve.kvstore.port import Capability

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- backends -->", "<!-- /backends -->"
HEAD = "| store | URL | tested on | key, value at most | an acknowledged write |\n|---|---|---|---|---|"

URLS = {
    "memory": ("`memory://`", "", ""),
    "lmdb": ("`lmdb:///dir` (the default)", "lmdb", "LMDB 0.9, bundled"),
    "redis": ("`redis://` `rediss://` `redis+sentinel://`", "redis", "Valkey 9.1"),
    "redis-cluster": ("`redis+cluster://h1,h2`", "redis", "Valkey 9.1, three masters"),
    "cassandra": ("`cassandra://h1,h2/keyspace`", "cassandra", "Cassandra 5.0"),
    "dynamodb": ("`dynamodb://region/prefix`", "dynamodb", "DynamoDB Local 3.3"),
    "mongodb": ("`mongodb://` `mongodb+srv://`", "mongodb", "FerretDB 1.24"),
}
"""URL forms, reference page and tested engine by the name in ``stores.py``."""


def row(name: str, capability: Capability) -> str:
    """The store's line of the table."""
    url, page, engine = URLS[name]
    shown = f"[{name}](docs/reference/stores/{page}.md)" if page else name
    sizes = f"{size(capability.key_bytes_max)}, {size(capability.value_bytes_max)}"
    return f"| {shown} | {url} | {engine or 'itself'} | {sizes} | {capability.durability} |"


def size(count: int) -> str:
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count} B"


def rows() -> dict[str, str]:
    """The lines that the README has, by store."""
    table = README.read_text().partition(BEGIN)[2].partition(END)[0]
    found = re.findall(r"^\| \[?([\w-]+)\]?.*\|$", table, re.MULTILINE)
    lines = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| store")]
    return dict(zip([name for name in found if name != "store"], lines, strict=True))


def write(name: str, line: str) -> None:
    """Put the store's line into the README, in the order of ``URLS``."""
    lines = {**rows(), name: line}
    table = "\n".join([HEAD, *(lines[each] for each in URLS if each in lines)])
    before, _, rest = README.read_text().partition(BEGIN)
    README.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}")
