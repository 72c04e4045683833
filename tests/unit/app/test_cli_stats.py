"""``chronoserve stats``: series and drift from a store, in our words and in Chronon's."""

import asyncio
import json
from pathlib import Path

import pytest

from chronoserve.app.connection import Place, Server
from chronoserve.codec.avro import schema_text
from chronoserve.codec.compiled import encoder
from chronoserve.fetcher.stats import KEY_TYPE
from chronoserve.model.types import BINARY, LONG, Field, StructType
from chronoserve_client import Kind, Put
from tests.unit.aggregate.test_drift import image
from tests.unit.app.shell import run

NAME = "team/join.v1"
HOUR = 3_600_000
VALUES = StructType("Value", (Field("x_approx_percentile", BINARY), Field("total_count", LONG)))


@pytest.fixture
def store(tmp_path: Path) -> list[str]:
    """Three hours of statistics: four ones, four ones, four twos."""
    url = f"lmdb://{tmp_path}/store"
    key = encoder(KEY_TYPE).encode([NAME])
    rows = [encoder(VALUES).encode([image([number] * 4), count]) for number, count in ((1.0, 10), (1.0, 20), (2.0, 30))]
    puts = [Put("CHRONON_STATS_BATCH", key, row, (at + 1) * HOUR) for at, row in enumerate(rows)]
    for side, data_type in (("key", KEY_TYPE), ("value", VALUES)):
        puts.append(Put("CHRONON_STATS_BATCH", f"{NAME}__{side}Schema".encode(), schema_text(data_type, pretty=True).encode(), HOUR))

    async def fill() -> None:
        async with Place(server=Server(target=""), store=url).open(may_be_new=True) as client:
            await client.create("CHRONON_STATS_BATCH", Kind.TIMED)
            for result in await client.multi_put(puts):
                result.unwrap()

    asyncio.run(fill())
    return ["--store", url]


def test_a_series_is_a_line_a_point(store: list[str]) -> None:
    found = run("stats", NAME, *store)
    assert found.code == 0, found.err
    assert "total_count\t1970-01-01T02:00:00.000Z\t20" in found.out.splitlines()
    assert "x_approx_percentile\t1970-01-01T01:00:00.000Z\t[1.0, 1.0, 1.0, 1.0, 1.0]" in found.out.splitlines()


def test_json_is_an_object_a_metric(store: list[str]) -> None:
    found = {each["metric"]: each["points"] for each in run("stats", NAME, "--json", *store).objects}
    assert [point["value"] for point in found["total_count"]] == [10, 20, 30]


def test_a_part_of_the_time_and_of_the_metrics(store: list[str]) -> None:
    words = ["--from", str(2 * HOUR), "--to", str(2 * HOUR), "--metric", "count", "--json"]
    assert run("stats", NAME, *words, *store).objects == [{"metric": "total_count", "points": [{"millis": 2 * HOUR, "value": 20}]}]


def test_drift(store: list[str]) -> None:
    (found,) = run("stats", NAME, "--drift", "--json", *store).objects
    assert found["metric"] == "x_approx_percentile"
    assert [point["millis"] for point in found["points"]] == [2 * HOUR, 3 * HOUR]
    assert found["points"][0]["value"] == 0
    assert found["points"][1]["value"] > 20


def test_chronons_own_words(store: list[str]) -> None:
    keys = json.dumps({"startTs": str(2 * HOUR), "statsKey": "total"})
    found = run("fetch", "--type", "join-stats", "--name", NAME, "--key-json", keys, *store)
    assert found.code == 0, found.err
    assert found.out.splitlines() == ["total_count\t1970-01-01T02:00:00.000Z\t20", "total_count\t1970-01-01T03:00:00.000Z\t30"]
    assert run("fetch", "--type", "join-stats", "--name", NAME, "-k", '{"startTs": "soon"}', *store).code == 2


def test_what_is_not_there_is_told(store: list[str]) -> None:
    unknown = run("stats", "team/other.v1", *store)
    assert unknown.code == 1
    assert "no statistics of this name in CHRONON_STATS_BATCH" in unknown.err
    assert run("stats", NAME, "--of", "log", *store).code == 1
    nothing = run("stats", NAME, "--to", "1", *store)
    assert (nothing.code, nothing.out) == (0, "")
    assert "no points" in nothing.err
