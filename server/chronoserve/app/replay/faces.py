"""The ways to ask for a world's features, so that a world is replayed alike in process, over gRPC and over HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from chronoserve.fetcher.response_log import LoggedResponse
from chronoserve.model.boxed import as_json_reads
from chronoserve.model.features import FeatureRequest
from chronoserve.model.types import BYTE, INT, SHORT, StructType

Tagged = Any
"""A value in the tagged form of golden/README.md."""


STRICT = frozenset({BYTE, SHORT, INT})
"""Types of key columns whose values must come in their own box."""


class RecordedPut(NamedTuple):
    """A write of the recording; ``token`` is its own."""

    dataset: str
    key: bytes
    value: bytes
    millis: int
    token: bytes


Response = dict[str, Any]
"""One answer: ``name``, ``keys`` (where the face tells them), ``at_millis``, ``status``, and ``values`` or ``error``, as in a recording."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What became of one call: one response for each request, or why there are none."""

    responses: Sequence[Response] = ()
    call_error: dict[str, str] | None = None
    log: Sequence[LoggedResponse] | None = None
    """What the response log got meanwhile; None where the face cannot see it."""

    def record(self) -> dict[str, object]:
        """The members of the case's line."""
        return {"responses": list(self.responses)} if self.call_error is None else {"call_error": self.call_error}


class CannotAsk(Exception):
    """A request that this way to ask has no words for, as NaN in JSON."""


class Face(Protocol):
    """A fresh store with a fetcher. Used by one world, then closed."""

    async def put(self, puts: Sequence[RecordedPut]) -> None:
        """Write, in this order. Raises KVError where a write was refused."""

    async def fetch(self, api: str, requests: Sequence[FeatureRequest], guide: Sequence[Response | None]) -> Answers:
        """``api``: ``fetchJoin`` or ``fetchGroupBys``. What a request can cause is in the answers, never raised.

        ``guide``: the recorded response of each request, where there is one. It tells a face that knows less than the types
        of a recording (JSON has one kind of number) as which of the possible values to tell what it got.

        Raises:
            CannotAsk: this face cannot ask for such keys.
        """

    async def close(self) -> None: ...


def check_boxes(request: FeatureRequest, key_type: StructType | None) -> None:
    """Whether a face whose integers have no width can ask for these keys.

    It reads a Long that fits into 32 bits as an Integer. Chronon casts that back where the column is a long, a double or a
    string; a column of another kind takes an Integer and refuses a Long, so the question would be another one.

    Raises:
        CannotAsk: such a key is there.
    """
    for field in key_type.fields if key_type is not None else ():
        value = request.keys.get(field.name)
        if field.type in STRICT and type(value) is int and type(as_json_reads(value)) is not int:
            raise CannotAsk(f"{request.name}: the key {field.name} is a Long of 32 bits")
