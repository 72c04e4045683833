"""What the fetcher needs from outside, as protocols: reads of the store, a clock, models, flags."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from chronoserve.model.confs import Model
from chronoserve.model.errors import KVError


class Read(NamedTuple):
    """One read of the store by names; ``after_ts_millis`` 0 asks for every value."""

    dataset: str
    key_bytes: bytes
    after_ts_millis: int = 0


class Reads(Protocol):
    """The store, as ``service.gateway.Gateway`` answers it."""

    async def multi_get(self, requests: Sequence[Read], *, deadline: float) -> Sequence[bytes | KVError]:
        """One answer for each request, in order: timed values in travelling form (``b""`` is a miss), or why there is none.

        Raises:
            KVError: no request could be attempted.
        """


class KeyPage(Protocol):
    @property
    def entries(self) -> list[tuple[bytes, bytes]]: ...
    @property
    def next_token(self) -> bytes: ...


class NamedDataset(Protocol):
    @property
    def name(self) -> str: ...


class Lists(Protocol):
    """What is known of the store beyond reads; ``service.gateway.Gateway`` has it."""

    def knows(self, name: str) -> bool:
        """Whether a dataset of that name was seen. One that another process made may not have been."""

    async def scan(self, name: str, token: bytes, *, keys_max: int = 0, deadline: float) -> KeyPage: ...
    async def describe(self, name: str, *, deadline: float) -> Sequence[NamedDataset]: ...


class Clock(Protocol):
    """The time in epoch milliseconds."""

    def __call__(self) -> int: ...


class ModelBackend(Protocol):
    """Runs models (spec/online-fetch.md §13)."""

    async def run(self, model: Model, inputs: Sequence[Mapping[str, object]], *, deadline: float) -> Sequence[Mapping[str, object]]:
        """One output for each input, in order. Raises KVError, or whatever the model's client raises."""


class FlagStore(Protocol):
    """Switches that may change while the server runs (spec/online-fetch.md §9.1)."""

    def is_set(self, flag: str, attributes: Mapping[str, str]) -> bool: ...


BATCH_IR_CACHE = "enable_fetcher_batch_ir_cache"
SKIP_UNDECODABLE_STREAM = "disable_streaming_decoding_error_throws"
ENTITY_VALIDITY_CHECK = "enable_entity_validity_check"
GROUP_BY_ATTRIBUTE = "groupby_streaming_dataset"
"""Chronon's name of the attribute that holds a group by's name."""
