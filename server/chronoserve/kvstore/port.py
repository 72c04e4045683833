"""The port that every key-value store and every layer in front of one implements.

It speaks in batches and answers every item. Reads are plain triples, because batches of them cross five layers and an
object a key would cost as much as the transport (docs/decisions/0003-batches-of-tuples.md).
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from chronoserve.model.dataset import Dataset, Properties
from chronoserve.model.errors import AnswerTooLarge, KVError, Unsupported

GetRequest = tuple[Dataset, bytes, int]
"""(dataset, key, after_ts_millis): the key's values at or after that time; 0 asks for all of them."""

GetResult = bytes | KVError
"""Timed values in travelling form (chronoserve.model.values), oldest first; ``b""`` is a miss; or why there is none."""

ANSWER_BYTES_MAX = 64 << 20
"""Bytes of all answers of one batch. A store refuses the item that goes beyond them, and those after it (``too_much``), before it
holds much more: a thousand keys of values of some MiB would take more memory than the process has, for an answer that no client takes."""

PutResult = KVError | None
"""None: applied. WriteOutcomeUnknown: perhaps. Any other error: certainly not applied (K7)."""

Key = tuple[Dataset, bytes]


class PutRequest(NamedTuple):
    """One write, completed at the door: nothing in it is optional any more."""

    dataset: Dataset
    key: bytes
    timed_value: bytes
    """The value in travelling form: ``values.encode(value, millis)``."""
    millis: int
    """Event time, epoch milliseconds."""
    nonce: bytes
    """16 bytes; with ``millis`` the identity of a TIMED value (K4)."""
    expires_at: int
    """Epoch milliseconds from which the value is gone (K9); 0: never."""
    replayable: bool
    """The caller named both time and token: writing it again after an unknown outcome is safe."""


class Page(NamedTuple):
    """``entries``: (key, timed values) pairs; ``next_token``: empty after the last page."""

    entries: list[tuple[bytes, bytes]]
    next_token: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """What a store can do, as data (K10). The conformance suite tests both halves: what is declared and what is not."""

    engine: str
    key_bytes_max: int
    value_bytes_max: int
    multi_get_keys_max: int
    """Keys that the engine takes in one round trip; larger batches are the store's business to split."""
    multi_put_keys_max: int
    inflight_batches_max: int = 256
    """Batches that may be under way at once; what arrives meanwhile waits and goes out together."""
    reads_inline: bool = False
    """Reads answer without ever suspending: there is nothing to share, wait for or cancel."""
    pipelined: bool = False
    """What is handed over in one tick of the loop leaves together anyway: merging batches gains nothing."""
    timed: bool = True
    ttl: bool = True
    scan: bool = True
    delete: bool = True
    durable: bool = False
    """Acknowledged writes survive ``kill -9`` of server and engine (K11)."""
    durability: str = ""
    """What an acknowledged write means here, in words; an operator reads it."""
    linearizable: bool = False
    """A read that begins after a write was acknowledged sees it."""


@dataclass(slots=True)
class Catalog:
    """The datasets of one store: one ``Dataset`` instance for each name, as ``Dataset`` asks for."""

    datasets: dict[str, Dataset] = field(default_factory=dict)

    def intern(self, name: str, properties: Properties) -> Dataset:
        """The instance for ``name``; a new one where there was none or the stored properties have changed."""
        known = self.datasets.get(name)
        if known is None or known.properties != properties:
            known = self.datasets[name] = Dataset(name, properties)
        return known


class KVStore(ABC):
    """Timed byte values addressed by (dataset, key). Safe for concurrent use on one event loop.

    Requests arrive valid: datasets are this store's own instances, keys are not empty and within ``capability``,
    times are not negative. ``deadline`` is always absolute, in seconds of the running loop's ``time()``; a store gives
    up by then and says so for each item that it could not answer. Cancelling a call leaves no work behind, and a
    connection whose reply was not read is never used again.
    """

    capability: Capability

    @abstractmethod
    async def load_datasets(self, *, deadline: float) -> dict[str, Dataset]:
        """Every dataset in the store by name, read from the engine: other processes create datasets too.

        Raises:
            KVError: the engine could not be asked.
        """

    @abstractmethod
    async def create(self, name: str, properties: Properties, *, deadline: float) -> Dataset:
        """Make the dataset, or answer the one that is there, which may have other properties. Atomic across processes.

        Raises:
            KVError: it was not made; WriteOutcomeUnknown where it may have been.
        """

    def imply(self, name: str) -> Dataset | None:
        """The dataset of a store that knows no catalogue and takes every name; None where datasets are created first."""
        return None

    @abstractmethod
    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        """Fetch each request's values, oldest first, at or after its ``after_ts_millis`` (inclusive, K3).

        The list has one result for each request, in request order, duplicates included. An absent or expired key is
        ``b""``; a key that the engine could not answer is a ``KVError`` in its place, never a miss (K8).

        Raises:
            KVError: only when no request could be attempted.
        """

    @abstractmethod
    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        """Apply each write on its own; one result for each request, in request order.

        LATEST keeps the newest ``millis``, at equal times the later write; a write that loses is applied all the same.
        TIMED keeps every (millis, nonce) once. Among requests of one call for one key the later one is the later write.

        Raises:
            KVError: only when certainly nothing was applied.
        """

    async def delete(self, keys: Sequence[Key], *, deadline: float) -> list[PutResult]:
        """Remove every value of each key; an absent key is fine. Results as in ``multi_put``."""
        raise Unsupported(f"{self.capability.engine} does not delete keys")

    async def scan(self, dataset: Dataset, token: bytes, *, keys_max: int, bytes_max: int, deadline: float) -> Page:
        """A page of the dataset from ``token`` (empty: the start): each key once, in the store's own stable order.

        A page ends at ``keys_max`` keys or when it holds ``bytes_max`` bytes; it has at least one key unless the
        dataset is exhausted. Keys whose values have all expired are left out.

        Raises:
            InvalidRequest: ``token`` is not one of this store's.
            KVError: the engine could not be asked.
        """
        raise Unsupported(f"{self.capability.engine} does not scan datasets")

    async def check(self, *, deadline: float) -> None:
        """Ask the engine for a sign of life.

        Raises:
            KVError: it gave none.
        """
        await self.load_datasets(deadline=deadline)

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections, threads and files. Calls under way end with Unavailable or WriteOutcomeUnknown."""


def too_much(bytes_max: int = ANSWER_BYTES_MAX) -> AnswerTooLarge:
    """Why answers of more than ``bytes_max`` are refused."""
    return AnswerTooLarge(
        f"the answers of this call have more than {bytes_max >> 20} MiB: ask for fewer keys a call, or for values after a later time"
    )


def is_too_much(result: GetResult) -> bool:
    """Whether ``result`` is ``too_much``: its request may well be answered in a smaller batch."""
    return isinstance(result, AnswerTooLarge)


def remaining(deadline: float) -> float:
    """Seconds until ``deadline`` on the running loop's clock; not below zero."""
    return max(0.0, deadline - asyncio.get_running_loop().time())
