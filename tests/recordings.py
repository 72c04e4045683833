"""The recordings of ``tests/golden``, read line by line."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden"


def records(name: str) -> Iterator[dict[str, Any]]:
    """Every record of one recording, in order. ``name``: a file's name up to its first dot, as ``f_e2e``."""
    (path,) = GOLDEN.glob(f"{name}.jsonl*")
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
