"""What the MongoDB back end stores and the filters and commands that reach it: docs/reference/stores/mongodb.md. No I/O.

Write commands are spelled out as MongoDB's protocol has them, because each of their operations needs its own answer.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bson.datetime_ms import DatetimeMS

from chronoserve.kvstore.port import PutRequest
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import CorruptValue, FailedPrecondition

LAYOUT = 1
"""Version of what is described here; written into each dataset's document."""

DATASETS = "datasets"
LATEST = "latest"
TIMED = "timed"

BY_NAME = [("_id", 1)]
BY_IDENTITY = [("k", 1), ("m", 1), ("n", 1)]
"""The unique index of ``timed``: a value's identity (K4) and the order in which values are returned."""

LATEST_FIELDS = {"m": 1, "v": 1}
TIME_FIELDS = {"m": 1}
TIMED_FIELDS = {"_id": 0, "k": 1, "m": 1, "n": 1, "v": 1}

COMMAND_BYTES_MAX = (16 << 20) - (64 << 10)
"""The driver sends commands of up to 16 MiB and a little; what is left is for the command's own fields."""

OPERATION_BYTES = 512
"""An upper bound of what one operation takes beside its value and its name."""

VALUE_BYTES_MAX = (16 << 20) - (128 << 10)
"""A document holds 16 MiB: the value with its name and the fields beside it, alone in a command if need be."""

AFTERS_MAX = 32
"""Different ``after`` times in one filter; each is a branch of its own that the engine plans and walks."""

Document = dict[str, Any]

Row = tuple[int, bytes, bytes]
"""(millis, nonce, timed value); nonce is empty for LATEST."""


class Outcome(NamedTuple):
    """What a command did with each of its operations."""

    codes: dict[int, int]
    """The engine's error code of each operation that was refused, by its place in the command."""
    confirmed: bool
    """The write concern was met: what was applied is as safe as it was asked to be."""


def document_name(dataset: Dataset, key: bytes) -> str:
    """``dataset/key``, the key's bytes as the characters of the same numbers: strings keep the keys' order and compare by bytes.

    A BSON binary would not do: MongoDB orders those by length first, so a dataset would not be one range.
    """
    return f"{dataset.name}/{str(key, 'latin-1')}"


def key_of(dataset: Dataset, name: str) -> bytes:
    return name[len(dataset.name) + 1 :].encode("latin-1")


def names_after(dataset: Dataset, key: bytes) -> Document:
    """The condition for names of ``dataset`` after ``key``; ``b""`` for all. No dataset's name has a slash, and "0" follows it."""
    return {"$gt": document_name(dataset, key), "$lt": f"{dataset.name}0"}


def describe(name: str, properties: Properties) -> Document:
    return {"_id": name, "layout": LAYOUT, "kind": properties.kind.name, "ttl_millis": properties.ttl_millis}


def properties_of(document: Mapping[str, Any]) -> Properties:
    """Raises FailedPrecondition for the document of a later layout and CorruptValue for what is none."""
    try:
        if document["layout"] > LAYOUT:
            raise FailedPrecondition(f"the dataset {document['_id']} has a later layout than this chronoserve knows: install its successor")
        return Properties(Kind[document["kind"]], int(document["ttl_millis"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptValue(f"the collection {DATASETS} holds a document that describes no dataset") from error


def alive(now: int) -> Document:
    """The condition for ``x``: not there or after ``now``, epoch milliseconds (K9)."""
    return {"$not": {"$lte": DatetimeMS(now)}}


def latest_filter(names: Sequence[str], now: int) -> Document:
    return {"_id": {"$in": names}, "x": alive(now)}


def timed_filter(afters: Mapping[str, int], now: int) -> Document:
    """``afters``: the earliest time that is asked for of each name. Answers those values and perhaps older ones."""
    names: dict[int, list[str]] = {}
    for name, after in afters.items():
        names.setdefault(after, []).append(name)
    if len(names) > AFTERS_MAX:
        names = {min(names): list(afters)}
    branches = [{"k": {"$in": some}, "m": {"$gte": after}} for after, some in names.items()]
    return {"$or": branches, "x": alive(now)} if len(branches) > 1 else {**branches[0], "x": alive(now)}


def latest_rows(documents: Iterable[Document]) -> dict[str, list[Row]]:
    """Raises CorruptValue where a field is missing."""
    try:
        return {document["_id"]: [(document["m"], b"", document["v"])] for document in documents}
    except KeyError as error:
        raise CorruptValue(f"the collection {LATEST} holds a document without the field {error}") from error


def latest_times(documents: Iterable[Document]) -> dict[str, list[Row]]:
    """As ``latest_rows``, of documents that were read without their values."""
    return latest_rows({"v": b"", **document} for document in documents)


def timed_rows(documents: Iterable[Document]) -> dict[str, list[Row]]:
    """The rows of each name, oldest first. Raises CorruptValue where a field is missing."""
    found: dict[str, list[Row]] = {}
    try:
        for document in documents:
            found.setdefault(document["k"], []).append((document["m"], document["n"], document["v"]))
    except KeyError as error:
        raise CorruptValue(f"the collection {TIMED} holds a document without the field {error}") from error
    for rows in found.values():
        # one index answers in order, branches of a filter and shards do not; sorting what is sorted costs nothing
        rows.sort()
    return found


def values_since(rows: Sequence[Row], after: int) -> bytes:
    """The rows' values at or after ``after`` in travelling form."""
    if len(rows) == 1:
        return rows[0][2] if rows[0][0] >= after else b""
    return b"".join([value for millis, _, value in rows if millis >= after])


def insert_dataset(name: str, properties: Properties) -> Document:
    return {"insert": DATASETS, "documents": [describe(name, properties)], "ordered": False}


def insert_latest(puts: Sequence[PutRequest]) -> Document:
    """A duplicate key: some value is there."""
    documents = [{"_id": document_name(put.dataset, put.key), **_body(put)} for put in puts]
    return {"insert": LATEST, "documents": documents, "ordered": False}


def insert_timed(puts: Sequence[PutRequest]) -> Document:
    """A duplicate key: the value is there already."""
    return {"insert": TIMED, "documents": [_timed_document(put) for put in puts], "ordered": False}


def replace_latest(puts: Sequence[PutRequest], now: int) -> Document:
    """A duplicate key: a newer value is there, or somebody wrote the name for the first time at the same moment."""
    return {"update": LATEST, "updates": [_replace_older(put, now) for put in puts], "ordered": False}


def replace_named(puts: Sequence[PutRequest]) -> Document:
    """Whatever is there: who sends it has compared."""
    updates = [{"q": {"_id": document_name(put.dataset, put.key)}, "u": _body(put), "upsert": True} for put in puts]
    return {"update": LATEST, "updates": updates, "ordered": False}


def replace_expired(puts: Sequence[PutRequest], now: int) -> Document:
    """Write TIMED values whose identity an expired one still has. A duplicate key: it has not expired."""
    return {"update": TIMED, "updates": [_replace_dead(put, now) for put in puts], "ordered": False}


def delete_names(collection: str, names: Sequence[str]) -> Document:
    field = "k" if collection == TIMED else "_id"
    return {"delete": collection, "deletes": [{"q": {field: {"$in": names}}, "limit": 0}], "ordered": False}


def _replace_older(put: PutRequest, now: int) -> Document:
    beaten = [{"m": {"$lte": put.millis}}, {"x": {"$lte": DatetimeMS(now)}}]
    return {"q": {"_id": document_name(put.dataset, put.key), "$or": beaten}, "u": _body(put), "upsert": True}


def _replace_dead(put: PutRequest, now: int) -> Document:
    document = _timed_document(put)
    same = {field: document[field] for field, _ in BY_IDENTITY}
    return {"q": {**same, "x": {"$lte": DatetimeMS(now)}}, "u": document, "upsert": True}


def _timed_document(put: PutRequest) -> Document:
    return {"k": document_name(put.dataset, put.key), "n": put.nonce, **_body(put)}


def _body(put: PutRequest) -> Document:
    body: Document = {"m": put.millis, "v": put.timed_value}
    if put.expires_at:
        body["x"] = DatetimeMS(put.expires_at)
    return body


def commands_of(puts: Sequence[PutRequest], *, operations_max: int) -> Iterator[Sequence[PutRequest]]:
    """``puts`` in order, cut to what one command takes: ``operations_max`` and ``COMMAND_BYTES_MAX``, but at least one."""
    start = size = 0
    for place, put in enumerate(puts):
        size += len(put.timed_value) + 2 * len(put.key) + OPERATION_BYTES
        if place > start and (place - start == operations_max or size > COMMAND_BYTES_MAX):
            yield puts[start:place]
            start, size = place, len(put.timed_value) + 2 * len(put.key) + OPERATION_BYTES
    if start < len(puts):
        yield puts[start:]


def outcome(reply: Mapping[str, Any]) -> Outcome:
    """What a reply to a write command says."""
    return Outcome({error["index"]: error.get("code", 0) for error in reply.get("writeErrors", ())}, "writeConcernError" not in reply)


class PageBuilder:
    """Collects the documents of a scan, which arrive by key, until the page is full."""

    def __init__(self, dataset: Dataset, *, keys_max: int, bytes_max: int) -> None:
        self._dataset = dataset
        self._name_field = "k" if dataset.timed else "_id"
        self._keys_max = keys_max
        self._bytes_max = bytes_max
        self._size = 0
        self._values: dict[str, list[bytes]] = {}

    def add(self, document: Document) -> bool:
        """False where it begins a key for which the page has no more room: it was not taken. Raises CorruptValue."""
        try:
            name, timed_value = document[self._name_field], document["v"]
        except KeyError as error:
            raise CorruptValue(f"a document of {self._dataset.name} has no field {error}") from error
        values = self._values.get(name)
        if values is None:
            if len(self._values) >= self._keys_max or self._size >= self._bytes_max:
                return False
            values = self._values[name] = []
            self._size += len(name)
        values.append(timed_value)
        self._size += len(timed_value)
        return True

    def entries(self) -> list[tuple[bytes, bytes]]:
        return [(key_of(self._dataset, name), b"".join(values)) for name, values in self._values.items()]
