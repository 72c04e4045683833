"""The items, conditions and replies of the DynamoDB store, without DynamoDB."""

import base64
from typing import Any

import msgspec
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from chronoserve.kvstore.backends.dynamodb import layout
from chronoserve.kvstore.backends.dynamodb.store import BATCH_GET_REPLY, BATCH_WRITE_REPLY, ITEMS_REPLY
from chronoserve.kvstore.port import PutRequest
from chronoserve.model import values
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import CorruptValue, FailedPrecondition, Throttled

LATEST = Dataset("A_BATCH", Properties(Kind.LATEST))
TIMED = Dataset("A_STREAMING", Properties(Kind.TIMED))
ITEM_BYTES_MAX = 400 * 1024

moments = st.integers(min_value=0, max_value=2**63 - 1)
nonces = st.binary(min_size=16, max_size=16)


def put(dataset: Dataset, value: bytes, millis: int, *, key: bytes = b"k", nonce: bytes | None = None, expires_at: int = 0) -> PutRequest:
    own = xxhash.xxh3_128_digest(b"v" + value)
    return PutRequest(dataset, key, values.encode(value, millis), millis, nonce or own, expires_at, replayable=False)


def winners(*puts: PutRequest) -> list[PutRequest]:
    return list(layout.winners((layout.place("t", put), put) for put in puts).values())


def base64_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def item_bytes(item: dict[str, Any]) -> int:
    """What DynamoDB counts: names, bytes, and for a number one byte for two digits and one more."""
    sizes = [len(name) + (len(value["B"]) if "B" in value else len(value["N"]) // 2 + 2) for name, value in item.items()]
    return sum(sizes)


@given(moments, nonces, moments, nonces)
def test_sort_keys_order_by_time_and_then_nonce(one: int, nonce: bytes, other: int, other_nonce: bytes) -> None:
    in_order = (one, nonce) < (other, other_nonce)
    assert (layout.sort_key(one, nonce) < layout.sort_key(other, other_nonce)) == in_order
    assert layout.sort_key(one, nonce) >= layout.sort_key(one, b""), "a query from a millisecond on includes it"
    assert layout.sort_key(one, nonce) <= layout.SORT_KEY_LAST


def test_the_newest_latest_write_of_a_call_wins_and_at_equal_times_the_later_one() -> None:
    puts = [put(LATEST, b"%d" % n, millis) for n, millis in enumerate((5, 9, 7, 9, 8))]
    assert winners(*puts) == [puts[3]]


def test_the_first_of_equal_timed_writes_wins_and_others_are_kept() -> None:
    first, again = put(TIMED, b"a", 7, nonce=b"t" * 16), put(TIMED, b"b", 7, nonce=b"t" * 16)
    later, other = put(TIMED, b"a", 8, nonce=b"t" * 16), put(TIMED, b"a", 7, nonce=b"u" * 16)
    assert winners(first, again, later, other) == [first, later, other]


def test_only_a_timed_value_that_is_its_own_nonce_and_stays_for_ever_is_overwritten() -> None:
    assert layout.may_overwrite(put(TIMED, b"v", 7))
    assert layout.may_overwrite(put(TIMED, b"", 0))
    assert not layout.may_overwrite(put(TIMED, b"v", 7, nonce=b"t" * 16))
    assert not layout.may_overwrite(put(TIMED, b"v", 7, expires_at=9))
    assert not layout.may_overwrite(put(LATEST, b"v", 7))


@pytest.mark.parametrize("dataset", [LATEST, TIMED])
def test_the_largest_item_fits_into_dynamodb(dataset: Dataset) -> None:
    request = put(dataset, b"v" * layout.VALUE_BYTES_MAX, 2**63 - 1, key=b"k" * layout.KEY_BYTES_MAX, expires_at=2**63 - 1)
    assert item_bytes(layout.item(layout.place("t", request), request)) <= ITEM_BYTES_MAX


def test_an_item_expires_natively_never_before_its_own_time() -> None:
    request = put(LATEST, b"v", 7, expires_at=1_700_000_000_001)
    item = layout.item(layout.place("t", request), request)
    assert item["expires_at"] == {"N": "1700000000001"}
    assert item["ttl"] == {"N": "1700000001"}
    assert not {"expires_at", "ttl"} & layout.item(layout.place("t", request), put(LATEST, b"v", 7)).keys()


def test_a_batch_reply_tells_found_from_left_over() -> None:
    key, value = base64_text(b"k"), base64_text(b"value")
    reply = BATCH_GET_REPLY.decode(
        msgspec.json.encode(
            {
                "Responses": {"t": [{"pk": {"B": key}, "timed_value": {"B": value}, "millis": {"N": "12"}, "unknown": {"S": "x"}}]},
                "UnprocessedKeys": {"t": {"Keys": [{"pk": {"B": base64_text(b"l")}}], "ConsistentRead": True}},
            }
        )
    )
    assert reply.left() == [("t", b"l")]
    (found,) = reply.found().values()
    assert (found.timed_value.value, found.millis.value) == (b"value", 12)


def test_a_write_reply_names_the_places_left_over() -> None:
    request = put(TIMED, b"v", 7)
    where = layout.place("t", request)
    body = layout.batch_write([(where, layout.put_request(where, request)), (("u", b"k", b""), layout.delete_request(("u", b"k", b"")))])
    reply = BATCH_WRITE_REPLY.decode(msgspec.json.encode({"UnprocessedItems": body["RequestItems"]}))
    assert reply.left() == [where, ("u", b"k", b"")]


def test_latest_results() -> None:
    item = layout.Item(layout.Binary(b"k"), timed_value=layout.Binary(b"v"), millis=layout.Number(10), expires_at=layout.Number(100))
    assert layout.latest_result(item, 10, 99) == b"v"
    assert layout.latest_result(item, 11, 99) == b"", "older than asked for"
    assert layout.latest_result(item, 0, 100) == b"", "expired"
    assert layout.latest_result(None, 0, 0) == b""
    error = Throttled("x")
    assert layout.latest_result(error, 0, 0) is error
    assert isinstance(layout.latest_result(layout.Item(layout.Binary(b"k")), 0, 0), CorruptValue)


def test_timed_results() -> None:
    one = layout.Item(layout.Binary(b"k"), timed_value=layout.Binary(b"1"), expires_at=layout.Number(100))
    other = layout.Item(layout.Binary(b"k"), timed_value=layout.Binary(b"2"))
    assert layout.timed_result([one, other], 99) == b"12"
    assert layout.timed_result([one, other], 100) == b"2"
    assert layout.timed_result([], 0) == b""
    assert isinstance(layout.timed_result([other, layout.Item(layout.Binary(b"k"))], 0), CorruptValue)


def test_the_page_of_an_unknown_table_decodes_to_nothing() -> None:
    assert ITEMS_REPLY.decode(b'{"Items": [], "Count": 0}').last_evaluated_key is None


def test_a_dataset_of_another_layout_is_refused() -> None:
    stored = msgspec.json.decode(
        msgspec.json.encode(layout.dataset_item("D", Properties(Kind.TIMED, 5), ready=True)), type=layout.DatasetItem, strict=False
    )
    assert stored.properties() == Properties(Kind.TIMED, 5)
    newer = msgspec.structs.replace(stored, layout=layout.Number(layout.VERSION + 1))
    with pytest.raises(FailedPrecondition, match="upgrade"):
        newer.properties()
