"""Keys whose rows come in one batch or in many: each has one row, and the same one."""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from chronoserve.codec.compiled import encoder
from chronoserve.upload import gather
from chronoserve.upload.engine import DuckDB
from chronoserve.upload.gather import Gather
from tests.unit.upload.shop import DAY, LAST, SUM, conf, events, millis, upload, write

DAYS = [f"2024-03-{day:02}" for day in range(6, 12)]
EVENTS = pa.schema([("user", pa.string()), ("price", pa.float64()), ("vl", pa.int64()), ("ts", pa.int64())])
LAST_K, AVERAGE = 13, 8
WINDOWS = [{"length": 1, "timeUnit": 1}, {"length": 3, "timeUnit": 1}]
WITH_KERNELS = [
    {"inputColumn": "price", "operation": SUM, "windows": WINDOWS},
    {"inputColumn": "price", "operation": AVERAGE, "windows": WINDOWS},
    {"inputColumn": "vl", "operation": LAST, "windows": WINDOWS[1:]},
]
WITHOUT = [*WITH_KERNELS, {"inputColumn": "vl", "operation": LAST_K, "windows": WINDOWS, "argMap": {"k": "2"}}]
DOUBLES = {"user": "cast(user as double)"}
"""Keys that come together by their bytes."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Few rows of most users, many of one."""
    root, chance = tmp_path_factory.mktemp("shop"), random.Random(3)
    partitions: dict[str, list[dict[str, Any]]] = {
        day: [
            {"user": chance.choice(("7", "7", "7", *map(str, range(20)), None)), "price": chance.choice((None, chance.gauss(5, 3))),
             "vl": chance.choice((None, number)), "ts": millis(day) + chance.randrange(DAY)}
            for number in range(60)
        ]
        for day in DAYS
    }  # fmt: skip
    write(root, "shop.events", partitions, EVENTS)
    return root


@pytest.fixture(params=[1, 7, 60, 1000])
def rows_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "ROWS_AT_ONCE", request.param)


@pytest.mark.usefixtures("rows_at_once")
@pytest.mark.parametrize("selects", [{"user": "user"}, DOUBLES], ids=["texts", "doubles"])
@pytest.mark.parametrize("aggregations", [WITH_KERNELS, WITHOUT], ids=["kernels", "mixed"])
def test_where_batches_end_does_not_matter(shop: Path, tmp_path: Path, aggregations: Any, selects: dict[str, str]) -> None:
    chosen = {**selects, "price": "price", "vl": "vl"}
    made = upload(shop, conf(events(topic="t", selects=chosen), aggregations=aggregations))
    whole = pa.Table.from_batches(made._ordered(made._batches(Gather(made)), DuckDB(tmp_path, threads=1)))
    encode, values = encoder(made.key_type).encode, encoder(made.value_type).encode
    expected = [(encode(keys), values(gathered.value() or ())) for keys, gathered in Gather(made).groups(whole.to_batches())]
    found = list(Gather(made).rows(whole.combine_chunks().to_batches(max_chunksize=3)))
    assert len(found) == 20
    assert [(row.key_bytes, row.value_bytes) for row in found] == expected
    assert [(encode(row.keys), values(row.values)) for row in found] == expected
