"""The keys of a MultiGetRequest, read natively where that is built and the message has the plain form; else by the generated classes."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

from chronoserve.kvstore.port import GetRequest, GetResult
from chronoserve.service.access import Caller
from chronoserve.service.gateway import Gateway, NamedGet
from chronoserve.v1 import kv_pb2
from chronoserve.wire.seam import parse
from chronoserve.wire.transports import native_module

KnownGets = Callable[[bytes, dict[str, object], int], list[GetRequest] | None]

Get = NamedGet | GetRequest
"""As it came, or with its dataset already."""


class Named(NamedTuple):
    dataset: str
    key_bytes: bytes
    after_ts_millis: int


class Reads:
    """Reads of a gateway, from the bytes of their requests."""

    def __init__(self, gateway: Gateway, *, native: bool = True) -> None:
        """``native`` False: without the native module even where it is built."""
        self._gateway = gateway
        self._known = gateway.known
        self._key_bytes_max = gateway.key_bytes_max
        self._known_gets: KnownGets | None = getattr(native_module(), "known_gets", None) if native else None

    def plain(self, data: bytes) -> list[GetRequest] | None:
        """The requests of ``data`` with their datasets; None where they must be read by name."""
        return None if self._known_gets is None else self._known_gets(data, cast("dict[str, object]", self._known), self._key_bytes_max)

    def parse(self, data: bytes, caller: Caller | None) -> Sequence[Get]:
        """The requests of ``data``. Raises InvalidRequest where it is no MultiGetRequest."""
        plain = self.plain(data) if caller is None else None
        return parse(kv_pb2.MultiGetRequest, data).requests if plain is None else plain

    async def get(self, requests: Sequence[Get], deadline: float, caller: Caller | None) -> list[GetResult]:
        """See ``Gateway.multi_get``."""
        if {tuple}.issuperset(map(type, requests)):
            return await self._gateway.multi_get_known(cast("Sequence[GetRequest]", requests), deadline=deadline)
        named = [Named(request[0].name, *request[1:]) if type(request) is tuple else cast("NamedGet", request) for request in requests]
        return await self._gateway.multi_get(named, deadline=deadline, caller=caller)
