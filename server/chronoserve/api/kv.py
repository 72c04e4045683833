"""Chronon's KVStore as a deployment writes it in Python (spec/online-fetch.md §3)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from chronoserve.model.errors import Unsupported
from chronoserve.model.values import TimedValue

__all__ = ["Found", "GetRequest", "KVStore", "PutRequest", "TimedValue"]


class GetRequest(NamedTuple):
    """``after_ts_millis``: only values at or after that time are of interest; None: all of them."""

    key_bytes: bytes
    dataset: str
    after_ts_millis: int | None = None


class PutRequest(NamedTuple):
    """``ts_millis``: the value's time, in epoch milliseconds."""

    key_bytes: bytes
    value_bytes: bytes
    dataset: str
    ts_millis: int


Found = Sequence[TimedValue | tuple[bytes, int]] | Exception | None
"""What a store has for one request: values with their times, in any order; an empty list or None where it has none; or the error."""


class KVStore(ABC):
    """A key-value store with values that have times. Called on one event loop, many calls at once.

    A call is cancelled when its time is up. What a method raises is a failure of its whole batch; give an exception in
    the place of one answer to fail that one alone. A miss is an empty answer, never an exception.
    """

    async def create(self, dataset: str) -> None:  # noqa: B027 - not every store has to make datasets
        """Make the dataset; it is fine if it is there. By default there is nothing to make."""

    @abstractmethod
    async def multi_get(self, requests: Sequence[GetRequest]) -> Sequence[Found]:
        """One answer for each request, in order. A batch dataset's value has the end of its data as its time (§3.3, rule 4).

        Values before ``after_ts_millis`` may be left out, and are ignored where they are not.
        """

    async def multi_put(self, requests: Sequence[PutRequest]) -> Sequence[bool | Exception]:
        """Write each value; one answer for each request, in order. False or an exception: certainly not written.

        By default it is not supported.
        """
        raise Unsupported(f"{type(self).__name__} does not write; it has no multi_put")

    async def close(self) -> None:  # noqa: B027 - nor has every store something to close
        """Let go of connections. By default there are none."""
