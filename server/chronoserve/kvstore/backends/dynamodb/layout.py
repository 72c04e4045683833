"""What chronoserve stores in DynamoDB, version 1: tables, items, conditions and replies (docs/reference/stores/dynamodb.md).

The table ``<prefix>`` lists the datasets; ``<prefix>.<dataset>`` holds one dataset:

- LATEST: an item a key: ``pk`` (B) the key, ``timed_value`` (B), ``millis`` (N) its event time.
- TIMED: an item a value: ``pk`` (B) the key, ``sk`` (B) millis (8 bytes, big-endian) and nonce (16), ``timed_value`` (B).

Items that expire have ``expires_at`` (N, epoch milliseconds) and ``ttl`` (N, epoch seconds, rounded up, DynamoDB's own).
Nothing here does input or output.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import xxhash

from chronoserve.kvstore.port import GetResult, PutRequest
from chronoserve.model import values
from chronoserve.model.dataset import Kind, Properties
from chronoserve.model.errors import CorruptValue, FailedPrecondition, KVError

VERSION = 1
PREFIX = re.compile(r"[A-Za-z0-9_-]{3,50}")
"""Without a dot, so that ``<prefix>.<dataset>`` is never another prefix's table; a table's name has at most 255 bytes."""

KEY_BYTES_MAX = 2048
VALUE_BYTES_MAX = 400 * 1024 - 4096
"""An item has at most 400 KiB with its key and the names and numbers in it; those take less than 4 KiB together."""
GET_KEYS_MAX = 100
WRITE_ITEMS_MAX = 25

SORT_KEY_LAST = b"\xff" * 24
ITEM_FIELDS = "pk, timed_value, millis, expires_at"
NEWER_OR_EQUAL = "attribute_not_exists(pk) OR millis <= :millis OR expires_at <= :now"
ABSENT = "attribute_not_exists(pk) OR expires_at <= :now"

Address = tuple[str, bytes]
"""(table, key)."""
Place = tuple[str, bytes, bytes]
"""(table, key, sort key): one item; the sort key is empty for LATEST."""
Body = dict[str, Any]
"""A request or a part of one, as JSON has it; bytes become base64 when it is encoded."""


class Binary(msgspec.Struct, frozen=True, gc=False):
    value: bytes = msgspec.field(default=b"", name="B")


class Number(msgspec.Struct, frozen=True, gc=False):
    value: int = msgspec.field(default=0, name="N")


class Text(msgspec.Struct, frozen=True, gc=False):
    value: str = msgspec.field(default="", name="S")


class Flag(msgspec.Struct, frozen=True, gc=False):
    value: bool = msgspec.field(default=False, name="BOOL")


NO_BYTES = Binary()
ZERO = Number()


class Item(msgspec.Struct, frozen=True, gc=False):
    """An item of a dataset's table, as far as it was asked for."""

    pk: Binary
    sk: Binary = NO_BYTES
    timed_value: Binary = NO_BYTES
    millis: Number = ZERO
    expires_at: Number = ZERO

    def lives(self, now: int) -> bool:
        return not self.expires_at.value or self.expires_at.value > now


class DatasetItem(msgspec.Struct, frozen=True):
    """An item of the table of datasets; ``ready`` once the dataset's own table takes reads and writes."""

    dataset: Text
    kind: Text
    ttl_millis: Number
    layout: Number
    ready: Flag = Flag()

    def properties(self) -> Properties:
        """Raises FailedPrecondition for a layout that this release does not know."""
        if self.layout.value != VERSION:
            raise FailedPrecondition(
                f"a dataset is stored in layout {self.layout.value}, this release knows {VERSION}: upgrade chronoserve"
            )
        return Properties(Kind[self.kind.value], self.ttl_millis.value)


class Keys(msgspec.Struct, frozen=True, rename="pascal"):
    keys: list[Item]


class BatchGetReply(msgspec.Struct, frozen=True, rename="pascal"):
    responses: dict[str, list[Item]] = {}
    unprocessed_keys: dict[str, Keys] = {}

    def found(self) -> dict[Address, Item]:
        return {(table, item.pk.value): item for table, items in self.responses.items() for item in items}

    def left(self) -> list[Address]:
        """What was not looked up: no answer at all, and least of all a miss (K8)."""
        return [(table, item.pk.value) for table, keys in self.unprocessed_keys.items() for item in keys.keys]


class Keyed(msgspec.Struct, frozen=True, rename="pascal"):
    """The item of an unprocessed put, or the key of an unprocessed delete."""

    item: Item | None = None
    key: Item | None = None


class Write(msgspec.Struct, frozen=True, rename="pascal"):
    put_request: Keyed = Keyed()
    delete_request: Keyed = Keyed()

    def place(self, table: str) -> Place:
        item = self.put_request.item or self.delete_request.key
        if item is None:
            raise CorruptValue("DynamoDB named neither item nor key of a write that it left unprocessed")
        return table, item.pk.value, item.sk.value


class BatchWriteReply(msgspec.Struct, frozen=True, rename="pascal"):
    unprocessed_items: dict[str, list[Write]] = {}

    def left(self) -> list[Place]:
        return [write.place(table) for table, writes in self.unprocessed_items.items() for write in writes]


class ItemsReply(msgspec.Struct, frozen=True, rename="pascal"):
    """A page of a Query or a Scan; ``last_evaluated_key`` is where the next one begins."""

    items: list[Item] = []
    last_evaluated_key: dict[str, dict[str, str]] | None = None


class DatasetItemsReply(msgspec.Struct, frozen=True, rename="pascal"):
    items: list[DatasetItem] = []
    last_evaluated_key: dict[str, dict[str, str]] | None = None


class DatasetReply(msgspec.Struct, frozen=True, rename="pascal"):
    item: DatasetItem | None = None


class TableState(msgspec.Struct, frozen=True, rename="pascal"):
    table_status: str = ""


class DescribeReply(msgspec.Struct, frozen=True, rename="pascal"):
    table: TableState = TableState()


class CreateReply(msgspec.Struct, frozen=True, rename="pascal"):
    table_description: TableState = TableState()


def latest_result(item: Item | KVError | None, after: int, now: int) -> GetResult:
    """A LATEST key's answer from its item."""
    if item is None:
        return b""
    if isinstance(item, KVError):
        return item
    if item.millis.value < after or not item.lives(now):
        return b""
    return item.timed_value.value or CorruptValue("an item of a LATEST dataset has no timed_value")


def timed_result(items: Iterable[Item], now: int) -> GetResult:
    """A TIMED key's answer from its items, which are in order."""
    parts = [item.timed_value.value for item in items if item.lives(now)]
    return b"".join(parts) if all(parts) else CorruptValue("an item of a TIMED dataset has no timed_value")


def value_bytes(items: Iterable[Item]) -> int:
    """What the values of ``items`` weigh."""
    return sum(len(item.timed_value.value) for item in items)


def sort_key(millis: int, nonce: bytes) -> bytes:
    return millis.to_bytes(8, "big") + nonce


def place(table: str, put: PutRequest) -> Place:
    return table, put.key, sort_key(put.millis, put.nonce) if put.dataset.timed else b""


def winners(puts: Iterable[tuple[Place, PutRequest]]) -> dict[Place, PutRequest]:
    """The one write for each place that decides what is there afterwards.

    LATEST: the newest, at equal times the later one. TIMED: the first one, since writing a value again changes nothing.
    """
    chosen: dict[Place, PutRequest] = {}
    for where, put in puts:
        rival = chosen.setdefault(where, put)
        if not put.dataset.timed and rival.millis <= put.millis:
            chosen[where] = put
    return chosen


def may_overwrite(put: PutRequest) -> bool:
    """Whether an item in its place can only be the same one: then no condition is needed, and puts go out in batches.

    That is so for a TIMED value that is its own nonce (``xxh3_128(b"v" + value)``) and does not expire.
    """
    if not put.dataset.timed or put.expires_at:
        return False
    ((value, _),) = values.decode(put.timed_value)
    return xxhash.xxh3_128_digest(b"v" + value) == put.nonce


def key(pk: bytes, sk: bytes = b"") -> Body:
    return {"pk": {"B": pk}, "sk": {"B": sk}} if sk else {"pk": {"B": pk}}


def item(where: Place, put: PutRequest) -> Body:
    """The item that ``put`` is stored as."""
    _, pk, sk = where
    stored = key(pk, sk) | {"timed_value": {"B": put.timed_value}}
    if not sk:
        stored["millis"] = {"N": str(put.millis)}
    if put.expires_at:
        stored["expires_at"] = {"N": str(put.expires_at)}
        stored["ttl"] = {"N": str(-(-put.expires_at // 1000))}
    return stored


def conditional_put(where: Place, put: PutRequest, now: int) -> Body:
    """A PutItem that does nothing where what is there has to stay."""
    limits = {":now": {"N": str(now)}}
    if not put.dataset.timed:
        limits[":millis"] = {"N": str(put.millis)}
    return {
        "TableName": where[0],
        "Item": item(where, put),
        "ConditionExpression": ABSENT if put.dataset.timed else NEWER_OR_EQUAL,
        "ExpressionAttributeValues": limits,
    }


def put_request(where: Place, put: PutRequest) -> Body:
    return {"PutRequest": {"Item": item(where, put)}}


def delete_request(where: Place) -> Body:
    return {"DeleteRequest": {"Key": key(*where[1:])}}


def batch_get(addresses: Sequence[Address], *, consistent: bool) -> Body:
    """A BatchGetItem for at most ``GET_KEYS_MAX`` distinct addresses."""
    keys: dict[str, list[Body]] = {}
    for table, pk in addresses:
        keys.setdefault(table, []).append({"pk": {"B": pk}})
    return {
        "RequestItems": {
            table: {"Keys": wanted, "ConsistentRead": consistent, "ProjectionExpression": ITEM_FIELDS} for table, wanted in keys.items()
        }
    }


def batch_write(writes: Iterable[tuple[Place, Body]]) -> Body:
    """A BatchWriteItem for at most ``WRITE_ITEMS_MAX`` distinct places."""
    requests: dict[str, list[Body]] = {}
    for where, request in writes:
        requests.setdefault(where[0], []).append(request)
    return {"RequestItems": requests}


def query(address: Address, after: int, *, fields: str, consistent: bool) -> Body:
    """A Query for a key's items at or after ``after``, oldest first."""
    table, pk = address
    return {
        "TableName": table,
        "KeyConditionExpression": "pk = :pk AND sk >= :after",
        "ExpressionAttributeValues": {":pk": {"B": pk}, ":after": {"B": sort_key(after, b"")}},
        "ProjectionExpression": fields,
        "ConsistentRead": consistent,
    }


def scan(table: str, after_key: bytes, *, timed: bool, items_max: int, consistent: bool) -> Body:
    """A Scan of the items behind all those of ``after_key``; from the start where that is empty."""
    body: Body = {"TableName": table, "ProjectionExpression": ITEM_FIELDS, "Limit": items_max, "ConsistentRead": consistent}
    if after_key:
        body["ExclusiveStartKey"] = key(after_key, SORT_KEY_LAST if timed else b"")
    return body


def create_table(table: str, *attributes: tuple[str, str]) -> Body:
    """A CreateTable with a partition key and perhaps a sort key, each a (name, type)."""
    return {
        "TableName": table,
        "KeySchema": [{"AttributeName": name, "KeyType": role} for (name, _), role in zip(attributes, ("HASH", "RANGE"), strict=False)],
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind in attributes],
        "BillingMode": "PAY_PER_REQUEST",
    }


def create_dataset_table(table: str, kind: Kind) -> Body:
    return create_table(table, ("pk", "B"), ("sk", "B")) if kind is Kind.TIMED else create_table(table, ("pk", "B"))


def enable_ttl(table: str) -> Body:
    return {"TableName": table, "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "ttl"}}


def dataset_item(name: str, properties: Properties, *, ready: bool) -> Body:
    return {
        "dataset": {"S": name},
        "kind": {"S": properties.kind.name},
        "ttl_millis": {"N": str(properties.ttl_millis)},
        "layout": {"N": str(VERSION)},
        "ready": {"BOOL": ready},
    }
