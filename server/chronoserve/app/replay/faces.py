"""The ways to ask for a world's features, so that a world is replayed alike in process, over gRPC and over HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from chronoserve.fetcher.response_log import LoggedResponse
from chronoserve.model.features import FeatureRequest

Tagged = Any
"""A value in the tagged form of golden/README.md."""


class RecordedPut(NamedTuple):
    """A write of the recording; ``token`` is its own."""

    dataset: str
    key: bytes
    value: bytes
    millis: int
    token: bytes


@dataclass(frozen=True, slots=True)
class Answers:
    """What became of one call: ``responses`` in the form of the recording, one for each request; or why there are none."""

    responses: Sequence[dict[str, Tagged]] = ()
    call_error: dict[str, str] | None = None
    log: Sequence[LoggedResponse] | None = None
    """What the response log got meanwhile; None where the face cannot see it."""

    def record(self) -> dict[str, object]:
        """The members of the case's line."""
        return {"responses": list(self.responses)} if self.call_error is None else {"call_error": self.call_error}


class Face(Protocol):
    """A fresh store with a fetcher. Used by one world, then closed."""

    async def put(self, puts: Sequence[RecordedPut]) -> None:
        """Write, in this order. Raises KVError where a write was refused."""

    async def fetch(self, api: str, requests: Sequence[FeatureRequest]) -> Answers:
        """``api``: ``fetchJoin`` or ``fetchGroupBys``. What a request can cause is in the answers, never raised."""

    def told(self, expected: dict[str, Tagged]) -> dict[str, Tagged]:
        """A recorded response as this face can tell it: over HTTP a long is a JSON number like any other."""

    async def close(self) -> None: ...
