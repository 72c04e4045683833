"""Names, filters, commands and pages of the MongoDB back end."""

import pytest
from bson import decode, encode
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from hypothesis import given
from hypothesis import strategies as st

from chronoserve.kvstore.backends.mongodb import layout
from chronoserve.kvstore.port import PutRequest
from chronoserve.model.dataset import DATASET_NAME, Dataset, Kind, Properties
from chronoserve.model.errors import CorruptValue, FailedPrecondition

LATEST = Dataset("a.b", Properties(Kind.LATEST))
TIMED = Dataset("a_STREAMING", Properties(Kind.TIMED))
KEYS = st.binary(min_size=1, max_size=40)
DATASET_NAMES = st.from_regex(DATASET_NAME, fullmatch=True)


def put(dataset: Dataset, key: bytes, millis: int = 5, *, value: bytes = b"v", expires_at: int = 0) -> PutRequest:
    return PutRequest(dataset, key, value, millis, b"n" * 16, expires_at, replayable=False)


@given(KEYS)
def test_a_name_gives_its_key_back(key: bytes) -> None:
    assert layout.key_of(LATEST, layout.document_name(LATEST, key)) == key


@given(KEYS, KEYS)
def test_names_are_ordered_as_their_keys_also_in_the_bytes_that_an_engine_compares(one: bytes, other: bytes) -> None:
    first, second = (layout.document_name(LATEST, key).encode() for key in (one, other))
    assert (first < second) == (one < other)
    assert (first == second) == (one == other)


@given(DATASET_NAMES, DATASET_NAMES, KEYS)
def test_the_range_of_a_dataset_holds_its_names_and_no_others(name: str, other: str, key: bytes) -> None:
    dataset = Dataset(name, Properties(Kind.LATEST))
    bounds = layout.names_after(dataset, b"")
    found = layout.document_name(Dataset(other, Properties(Kind.LATEST)), key)
    assert (bounds["$gt"] < found < bounds["$lt"]) == (other == name)


@given(KEYS, KEYS)
def test_a_range_begins_after_its_key(token: bytes, key: bytes) -> None:
    bounds = layout.names_after(LATEST, token)
    assert (bounds["$gt"] < layout.document_name(LATEST, key) < bounds["$lt"]) == (key > token)


@given(st.lists(KEYS, min_size=1))
def test_keys_are_values_of_a_filter_and_nothing_else(keys: list[bytes]) -> None:
    hostile = [*keys, b"$where", b'{"$gt": ""}', b"\x00", b"a/b", b"0"]
    names = [layout.document_name(LATEST, key) for key in hostile]
    assert decode(encode(layout.latest_filter(names, 7)), CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)) == {
        "_id": {"$in": names},
        "x": {"$not": {"$lte": DatetimeMS(7)}},
    }


def test_a_timed_filter_has_a_branch_for_each_time() -> None:
    alive = layout.alive(7)
    assert layout.timed_filter({"d/a": 3, "d/b": 3}, 7) == {"k": {"$in": ["d/a", "d/b"]}, "m": {"$gte": 3}, "x": alive}
    assert layout.timed_filter({"d/a": 3, "d/b": 4, "d/c": 3}, 7) == {
        "$or": [{"k": {"$in": ["d/a", "d/c"]}, "m": {"$gte": 3}}, {"k": {"$in": ["d/b"]}, "m": {"$gte": 4}}],
        "x": alive,
    }


def test_a_timed_filter_of_very_many_times_asks_from_the_earliest() -> None:
    afters = {f"d/{n}": 100 + n for n in range(layout.AFTERS_MAX + 1)}
    assert layout.timed_filter(afters, 7) == {"k": {"$in": list(afters)}, "m": {"$gte": 100}, "x": layout.alive(7)}


def test_rows_are_sorted_by_time_and_nonce_and_cut_at_the_time_asked_for() -> None:
    documents = [{"k": "d/a", "m": m, "n": n, "v": v} for m, n, v in ((9, b"x", b"4"), (5, b"y", b"2"), (5, b"x", b"1"), (7, b"x", b"3"))]
    rows = layout.timed_rows(documents)["d/a"]
    assert layout.values_since(rows, 0) == b"1234"
    assert layout.values_since(rows, 7) == b"34"
    assert layout.values_since(rows, 10) == b""
    assert layout.values_since(rows[:1], 5) == b"1"
    assert layout.values_since(rows[:1], 6) == b""


def test_documents_of_another_layout_are_refused() -> None:
    for rows in (layout.latest_rows, layout.timed_rows):
        with pytest.raises(CorruptValue):
            rows([{"_id": "d/a", "k": "d/a", "m": 5, "n": b""}])
    with pytest.raises(CorruptValue):
        layout.PageBuilder(LATEST, keys_max=1, bytes_max=1).add({"_id": "a.b/a"})
    with pytest.raises(CorruptValue):
        layout.properties_of({"_id": "d", "layout": 1, "kind": "OTHER", "ttl_millis": 0})
    with pytest.raises(FailedPrecondition, match="later layout"):
        layout.properties_of({"_id": "d", "layout": layout.LAYOUT + 1, "kind": "LATEST", "ttl_millis": 0})


@given(st.sampled_from(Kind), st.integers(0, 1 << 50))
def test_a_dataset_is_described_by_its_document(kind: Kind, ttl_millis: int) -> None:
    properties = Properties(kind, ttl_millis)
    assert layout.properties_of(layout.describe("d", properties)) == properties


def test_a_value_replaces_what_is_not_newer_or_has_expired() -> None:
    (update,) = layout.replace_latest([put(LATEST, b"k", 5, expires_at=99)], 7)["updates"]
    assert update == {
        "q": {"_id": "a.b/k", "$or": [{"m": {"$lte": 5}}, {"x": {"$lte": DatetimeMS(7)}}]},
        "u": {"m": 5, "v": b"v", "x": DatetimeMS(99)},
        "upsert": True,
    }


def test_a_value_that_does_not_expire_has_no_expiry() -> None:
    (document,) = layout.insert_timed([put(TIMED, b"k")])["documents"]
    assert document == {"k": "a_STREAMING/k", "n": b"n" * 16, "m": 5, "v": b"v"}


def test_an_expired_timed_value_is_found_by_its_whole_identity() -> None:
    (update,) = layout.replace_expired([put(TIMED, b"k", expires_at=99)], 7)["updates"]
    assert update["q"] == {"k": "a_STREAMING/k", "m": 5, "n": b"n" * 16, "x": {"$lte": DatetimeMS(7)}}
    assert update["u"] == {"k": "a_STREAMING/k", "m": 5, "n": b"n" * 16, "v": b"v", "x": DatetimeMS(99)}


def test_commands_are_cut_by_operations_and_by_bytes() -> None:
    small = [put(LATEST, b"%d" % n) for n in range(7)]
    assert [len(part) for part in layout.commands_of(small, operations_max=3)] == [3, 3, 1]
    large = [put(LATEST, b"k", value=bytes(layout.VALUE_BYTES_MAX // 2)) for _ in range(5)]
    assert [len(part) for part in layout.commands_of(large, operations_max=100)] == [2, 2, 1]
    assert list(layout.commands_of([], operations_max=3)) == []


def test_the_largest_value_with_the_largest_key_fits_into_a_document_and_a_command() -> None:
    dataset = Dataset("d" * 200, Properties(Kind.TIMED))
    largest = put(dataset, b"\xff" * 1024, 1 << 60, value=bytes(layout.VALUE_BYTES_MAX + 64), expires_at=1 << 60)
    for command in (layout.insert_timed([largest]), layout.replace_expired([largest], 7), layout.replace_latest([largest], 7)):
        assert len(encode(command)) < 16 << 20
    assert [len(part) for part in layout.commands_of([largest, largest], operations_max=100)] == [1, 1]


def test_a_reply_tells_of_each_operation() -> None:
    assert layout.outcome({"ok": 1.0, "n": 3}) == layout.Outcome({}, confirmed=True)
    reply = {"ok": 1.0, "writeErrors": [{"index": 2, "code": 11000}, {"index": 0}], "writeConcernError": {"code": 64}}
    assert layout.outcome(reply) == layout.Outcome({2: 11000, 0: 0}, confirmed=False)


def test_a_page_ends_between_keys() -> None:
    documents = [{"k": f"a_STREAMING/{key}", "v": b"123"} for key in "aabbc"]
    page = layout.PageBuilder(TIMED, keys_max=2, bytes_max=1 << 20)
    assert [page.add(document) for document in documents] == [True, True, True, True, False]
    assert page.entries() == [(b"a", b"123123"), (b"b", b"123123")]
    page = layout.PageBuilder(TIMED, keys_max=9, bytes_max=4)
    assert [page.add(document) for document in documents[:3]] == [True, True, False]
