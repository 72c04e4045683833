"""Uploads over small tables: which rows count, what is refused. The recordings (k, g) hold the rest."""

from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronoserve.codec.compiled import decoder
from chronoserve.model.errors import DerivationFailed, FailedPrecondition, InvalidRequest, KVError, Unsupported
from chronoserve.model.types import ListType, MapType, StructType
from chronoserve.upload import arrow
from chronoserve.upload.hashed_keys import hashed
from tests.unit.upload.shop import COUNT, DAY, DS, HISTOGRAM, LAST, SUM, conf, entities, events, millis, outputs, rows, upload, write

COUNTED = {"inputColumn": "vl", "operation": COUNT}
EVENTS = pa.schema([("user", pa.string()), ("vl", pa.int64()), ("tags", pa.list_(pa.string())), ("ts", pa.int64())])
USERS = pa.schema([("user", pa.string()), ("country", pa.string()), ("age", pa.int32())])
DAYS = [f"2024-03-{day:02}" for day in range(1, 13)]


def event(user: str | None, vl: int | None, ts: int | None, tags: list[str] | None = None) -> dict[str, Any]:
    return {"user": user, "vl": vl, "ts": ts, "tags": tags}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """One event a day and user at noon; the value is the day of the month."""
    partitions = {day: [event(user, int(day[-2:]), millis(day, 12)) for user in ("a", "b")] for day in DAYS}
    write(tmp_path, "shop.events", partitions, EVENTS)
    people = [("a", "NL", 3), ("a", "BE", None), (None, "FR", 1)]
    snapshot: list[dict[str, Any]] = [{"user": user, "country": country, "age": age} for user, country, age in people]
    write(tmp_path, "shop.users", dict.fromkeys(DAYS, snapshot), USERS)
    return tmp_path


def summed(window: int | None = 3) -> list[dict[str, Any]]:
    aggregation: dict[str, Any] = {"inputColumn": "vl", "operation": SUM}
    return [aggregation if window is None else {**aggregation, "windows": [{"length": window, "timeUnit": 1}]}]


def test_a_snapshot_of_events_ends_with_its_day(shop: Path) -> None:
    assert outputs(shop, conf(events(), aggregations=summed())) == {("a",): (8 + 9 + 10,), ("b",): (8 + 9 + 10,)}


@pytest.mark.parametrize(("query", "expected"), [
    ({"startPartition": "2024-03-09"}, 9 + 10),
    ({"endPartition": "2024-03-09"}, 8 + 9),
    ({"wheres": ["vl != 9", "user = 'a' OR vl > 0"]}, 8 + 10),
    ({"selects": {"user": "user", "vl": "vl * 2"}}, 54),
    ({"timeColumn": None}, 8 + 9 + 10),
    ({"selects": {"user": "user", "vl": "vl", "ts": f"ts - {DAY}"}}, 9 + 10),
])  # fmt: skip
def test_what_a_query_chooses(shop: Path, query: dict[str, Any], expected: int) -> None:
    assert outputs(shop, conf(events(**query), aggregations=summed()))["a",] == (expected,)


def test_the_longest_window_says_how_far_back_is_read(shop: Path) -> None:
    made = upload(shop, conf(events(), aggregations=summed(5)))
    assert [(each.operator, each.value) for each in made.plan.sources[0].conditions] == [(">=", "2024-03-04"), ("<=", DS)]
    unbounded = upload(shop, conf(events(), aggregations=summed(None)))
    assert [(each.operator, each.value) for each in unbounded.plan.sources[0].conditions] == [("<=", DS)]
    temporal = upload(shop, conf(events(topic="t"), aggregations=summed(5)))
    assert [(each.operator, each.value) for each in temporal.plan.sources[0].conditions] == [(">=", "2024-03-05"), ("<=", "2024-03-11")]


def test_temporal_events_that_landed_a_day_late_count(shop: Path) -> None:
    late = [event("a", 100, millis(DS, 13)), event("a", 1000, millis("2024-03-11", 1))]
    write(shop, "shop.events", {"2024-03-11": late}, EVENTS)
    (row,) = [row for row in rows(shop, conf(events(topic="t"), aggregations=summed(None))) if row.keys == ("a",)]
    assert row.values[0] == (sum(range(1, 11)) + 100,)
    assert outputs(shop, conf(events(), aggregations=summed(None)))["a",] == (sum(range(1, 11)),)


def test_a_cumulative_source_is_read_from_its_newest_partition(shop: Path) -> None:
    text = conf(events(cumulative=True), aggregations=summed(None))
    assert [(each.operator, each.value) for each in upload(shop, text).plan.sources[0].conditions] == [("==", "2024-03-12")]


def test_rows_without_key_or_time_are_left_out(tmp_path: Path) -> None:
    found = [event(None, 1, millis(DS)), event("a", 2, None), event("a", 4, millis(DS)), event("a", None, millis(DS))]
    write(tmp_path, "shop.events", {DS: found}, EVENTS)
    assert outputs(tmp_path, conf(events(), aggregations=summed())) == {("a",): (4,)}


def test_a_key_may_be_null_in_part(tmp_path: Path) -> None:
    write(tmp_path, "shop.events", {DS: [event("a", None, millis(DS)), event(None, 5, millis(DS)), event("a", 5, millis(DS))]}, EVENTS)
    counted = [{"inputColumn": "ts", "operation": COUNT}]
    assert outputs(tmp_path, conf(events(), keys=("user", "vl"), aggregations=counted)) == {
        ("a", None): (1,), (None, 5): (1,), ("a", 5): (1,),
    }  # fmt: skip


def test_entities_without_aggregations_have_a_row_for_each_row(shop: Path) -> None:
    found = rows(shop, conf(entities(), aggregations=None))
    assert [(tuple(row.keys), tuple(row.values)) for row in found] == [(("a",), ("NL", 3)), (("a",), ("BE", None))]
    assert upload(shop, conf(entities(), aggregations=None)).selected_type.names == ("country", "age")


def test_entities_of_a_day_without_a_partition_have_no_rows(shop: Path) -> None:
    assert rows(shop, conf(entities(endPartition="2024-03-08"), aggregations=None)) == []


def test_exploded_rows_count_each(tmp_path: Path) -> None:
    found = [
        event("a", 1, millis(DS), ["x", "y"]),
        event("a", 1, millis(DS), []),
        event("a", 1, millis(DS), None),
        event("a", 1, millis(DS), ["x"]),
    ]
    write(tmp_path, "shop.events", {DS: found}, EVENTS)
    exploding = [{"inputColumn": "tag", "operation": HISTOGRAM}, {"inputColumn": "ts", "operation": COUNT}]
    for function, count in (("explode", 3), ("explode_outer", 5)):
        text = conf(events(selects={"user": "user", "tag": f"{function}(tags)"}), aggregations=exploding)
        assert outputs(tmp_path, text) == {("a",): ({"x": 2, "y": 1}, count)}


def test_sources_unite_by_name_and_types_widen(shop: Path) -> None:
    other = pa.schema([("buyer", pa.string()), ("qty", pa.int32()), ("at", pa.int64())])
    write(shop, "shop.other", {DS: [{"buyer": "a", "qty": 1000, "at": millis(DS)}]}, other, column="dt")
    second = events("shop.other", selects={"vl": "qty", "user": "buyer"}, timeColumn="at", partitionColumn="dt")
    assert outputs(shop, conf(events(), second, aggregations=summed()))["a",] == (27 + 1000,)


def test_the_run_s_day_stands_where_it_is_asked_for(shop: Path) -> None:
    text = conf(entities(selects={"user": "user", "day": "'{{ CHRONON_RUN_DS }}'"}), aggregations=None)
    assert {tuple(row.values) for row in rows(shop, text)} == {(DS,)}


def test_timestamps_of_any_unit_make_times(tmp_path: Path) -> None:
    for unit in ("ns", "us", "ms"):
        schema = pa.schema([("user", pa.string()), ("vl", pa.int64()), ("at", pa.timestamp(unit, "UTC"))])
        moment = pa.scalar(millis(DS, 5) + 1, pa.timestamp("ms", "UTC")).cast(pa.timestamp(unit, "UTC"))
        write(tmp_path, f"shop.events_{unit}", {DS: [{"user": "a", "vl": 3, "at": moment.as_py()}]}, schema)
        text = conf(events(f"shop.events_{unit}", timeColumn="unix_millis(at)"), aggregations=[{"inputColumn": "ts", "operation": LAST}])
        assert outputs(tmp_path, text) == {("a",): (millis(DS, 5) + 1,)}


def test_last_is_the_newest_whatever_the_order_of_rows(tmp_path: Path) -> None:
    found = [event("a", value, millis(DS, hour)) for value, hour in ((1, 3), (2, 9), (3, 5))]
    write(tmp_path, "shop.events", {DS: found}, EVENTS)
    assert outputs(tmp_path, conf(events(), aggregations=[{"inputColumn": "vl", "operation": LAST}])) == {("a",): (2,)}


@pytest.mark.parametrize(("text", "error", "said"), [
    (conf(events(selects={"user": "user", "vl": "nowhere"})), InvalidRequest, "nowhere"),
    (conf(events(selects={"user": "user"})), InvalidRequest, "selects no column vl"),
    (conf(events(timeColumn="cast(ts as string)")), InvalidRequest, "timeColumn"),
    (conf(events(wheres=["vl + 1"])), InvalidRequest, "boolean"),
    (conf(events(wheres=["vl >"])), InvalidRequest, "where vl >"),
    (conf(events(selects={"user": "user", "vl": "explode(user)"})), InvalidRequest, "explode takes an array"),
    (conf(events(selects={"user": "explode(tags)", "vl": "explode(tags)"})), InvalidRequest, "only one"),
    (conf(events(selects={"user": "to_date(ds)", "vl": "vl"})), InvalidRequest, "string"),
    (conf(events(setups=["CREATE TEMPORARY FUNCTION f AS 'x'"])), Unsupported, "setups"),
    (conf(events(), aggregations=None), InvalidRequest, "no aggregations"),
    (conf(events(), entities()), InvalidRequest, "mixes"),
    (conf(entities(), aggregations=None, isIncremental=1), InvalidRequest, "incremental"),
    (conf(events("shop.nowhere")), FailedPrecondition, "shop.nowhere"),
    (conf(events(), aggregations=[{**COUNTED, "windows": [{"length": 13, "timeUnit": 0}]}]), InvalidRequest, "13 hours"),
    (conf(events(selects={"user": "user", "vl": "vl * 1.5"}), aggregations=summed()), InvalidRequest, "cast it to string"),
    (conf(events(), events(selects={"user": "user"})), InvalidRequest, "lacks column vl"),
    (conf(events(), events(selects={"user": "user", "vl": "tags"})), InvalidRequest, "disagree"),
])  # fmt: skip
def test_what_is_refused_before_a_row_is_read(shop: Path, text: str, error: type[KVError], said: str) -> None:
    with pytest.raises(error, match=said):
        upload(shop, text).prepare()


def test_an_expression_that_fails_ends_the_upload_with_its_own_error(shop: Path) -> None:
    text = conf(events(selects={"user": "user", "vl": "cast(raise_error('no') as bigint)"}))
    with pytest.raises(DerivationFailed, match="no"):
        rows(shop, text)


EventRows = st.lists(
    st.tuples(st.sampled_from(["", "a", "b", "ü"]), st.integers(-(2**40), 2**40), st.integers(0, 12 * 24 - 1)), max_size=60
)


@given(EventRows)
@settings(max_examples=40, deadline=None)
def test_a_temporal_upload_answers_what_a_fold_over_its_rows_answers(
    tmp_path_factory: pytest.TempPathFactory, found: list[tuple[str, int, int]]
) -> None:
    """Collapsed and hops of one key together have every row of the window exactly once."""
    root = tmp_path_factory.mktemp("shop")
    start = millis("2024-03-01")
    partitions: dict[str, list[dict[str, Any]]] = {day: [] for day in DAYS}
    for user, value, hour in found:
        partitions[DAYS[hour // 24]].append(event(user, value, start + hour * 3_600_000 + 1))
    write(root, "shop.events", partitions, EVENTS)
    text = conf(events(topic="t"), aggregations=summed(5))
    end = millis("2024-03-11")
    for row in rows(root, text):
        collapsed, hops = cast("tuple[Any, Any]", decoder(upload(root, text).value_type).decode(row.value_bytes))
        expected = [v for u, v, hour in found if u == row.keys[0] and end - 5 * DAY < start + hour * 3_600_000 + 1 < end]
        assert (collapsed[0] or 0) + sum(hop[0] or 0 for size in hops for hop in size) == sum(expected)


ArrowTypes = st.recursive(
    st.sampled_from([pa.int32(), pa.int64(), pa.string(), pa.bool_(), pa.binary(), pa.float64(), pa.date32()]),
    lambda inner: st.one_of(
        inner.map(pa.list_),
        inner.map(lambda item: pa.map_(pa.string(), item)),
        st.lists(inner, min_size=1, max_size=3).map(lambda types: pa.struct([(f"f{at}", each) for at, each in enumerate(types)])),
    ),
    max_leaves=4,
)


def of_type(known: Any) -> st.SearchStrategy[Any]:
    match known:
        case ListType(element):
            return st.none() | st.lists(of_type(element), max_size=3)
        case MapType(_, value):
            return st.none() | st.dictionaries(st.text(max_size=3), of_type(value), max_size=3)
        case StructType(_, fields):
            return st.none() | st.tuples(*(of_type(field.type) for field in fields))
        case _:
            plain: dict[str, st.SearchStrategy[Any]] = {
                "int": st.integers(-(2**31), 2**31 - 1), "long": st.integers(-(2**63), 2**63 - 1), "bool": st.booleans(),
                "string": st.text(max_size=3),
                "binary": st.binary(max_size=3), "double": st.floats(allow_nan=False), "date": st.integers(-1000, 1000),
            }  # fmt: skip
            return st.none() | plain[known.name]


@given(
    ArrowTypes.flatmap(lambda kind: st.tuples(st.just(arrow.data_type(kind)), st.lists(of_type(arrow.data_type(kind)), max_size=6))),
    st.integers(0, 3),
)
@settings(deadline=None)
def test_columns_hold_what_was_put_in_wherever_they_are_cut(column: tuple[Any, list[Any]], cut: int) -> None:
    known, given_values = column
    made = arrow.array(given_values, known)
    assert arrow.values(made, known) == given_values
    assert arrow.values(made.slice(cut), known) == given_values[cut:]


def test_keys_that_chronon_takes_for_one_another_stay_apart(tmp_path: Path) -> None:
    texts = pa.schema([("one", pa.string()), ("two", pa.string()), ("vl", pa.int64()), ("ts", pa.int64())])
    pairs = [("ab", "c"), ("a", "bc"), ("abc", None), (None, "abc")]
    write(tmp_path, "shop.pairs", {DS: [{"one": one, "two": two, "vl": 1, "ts": millis(DS)} for one, two in pairs]}, texts)
    text = conf(events("shop.pairs", selects={"one": "one", "two": "two", "vl": "vl"}), keys=("one", "two"), aggregations=summed())
    found = rows(tmp_path, text)
    assert {tuple(row.keys) for row in found} == set(pairs)
    assert len({hashed(row.keys, upload(tmp_path, text).key_type) for row in found}) == 1
