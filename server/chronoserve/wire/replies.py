"""Replies as joined bytes: the stores' answers already are GetResponse messages, so a batch is headers between them.

Building the same reply from generated classes costs two to four times as much (spec/performance.md §2); the tests check
that both give equal messages.
"""

from collections.abc import Sequence
from itertools import chain

from chronoserve.kvstore.port import GetResult
from chronoserve.model.errors import InvalidRequest, KVError
from chronoserve.model.values import SMALL_VARINTS, varint
from chronoserve.wire import status

ITEM_TAG = b"\n"
"""Field 1, length-delimited: ``responses`` of MultiGetResponse and MultiPutResponse."""
HEADERS = tuple(ITEM_TAG + size for size in SMALL_VARINTS)
"""The header of an item by the item's size; larger ones are computed."""

PUT_OK = b"\x08\x01"
PUT_OK_ITEM = ITEM_TAG + bytes([len(PUT_OK)]) + PUT_OK


def header(size: int) -> bytes:
    """The header of an item of ``size`` bytes."""
    return HEADERS[size] if size < len(HEADERS) else ITEM_TAG + varint(size)


def multi_get_response(results: Sequence[GetResult], bytes_max: int) -> bytes:
    """A serialised MultiGetResponse with one item for each result, in order.

    Raises:
        InvalidRequest: it has more than ``bytes_max`` bytes. Large ones are refused before they are put together.
    """
    try:
        headers = map(HEADERS.__getitem__, map(len, results))  # type: ignore[arg-type]
        reply = b"".join(chain.from_iterable(zip(headers, results)))  # type: ignore[arg-type] # noqa: B905 - one length, and strict costs
    except (TypeError, IndexError):  # an error among the results, or a large value
        items = [status.get_response(result) if isinstance(result, KVError) else result for result in results]
        check_size(sum(map(len, items)), bytes_max)
        reply = b"".join(piece for item in items for piece in (header(len(item)), item))
    check_size(len(reply), bytes_max)
    return reply


def check_size(size: int, bytes_max: int) -> None:
    """Raises InvalidRequest with advice where an answer is larger than a client will take."""
    if size > bytes_max:
        raise InvalidRequest(
            f"the answer has {size} bytes, over the limit of {bytes_max} for a message: ask for fewer keys, "
            "or for values after a later time",
            field="requests",
        )


def multi_put_response(results: Sequence[KVError | None]) -> bytes:
    """A serialised MultiPutResponse with one item for each result, in order."""
    if not any(results):
        return PUT_OK_ITEM * len(results)
    items = [PUT_OK if result is None else status.put_response(result).SerializeToString() for result in results]
    return b"".join(piece for item in items for piece in (header(len(item)), item))
