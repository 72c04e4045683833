"""JSON over HTTP to somebody else's service: one POST, bounded in bytes; the caller bounds it in time."""

import asyncio
import ssl
from collections.abc import Mapping

import aiohttp
import msgspec

from chronoserve.fetcher.endpoint import Endpoint
from chronoserve.model.errors import ExternalFailed

CONNECTIONS_MAX = 100


class HttpJson:
    """One endpoint with its connections, which are opened on the first call's loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: object, *, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None) -> object:
        """The JSON that the service answers to ``body``. ``headers``: of this call, beside the endpoint's own.

        Raises:
            ExternalFailed: no connection, another status than 200, a body that is too large or no JSON.
        """
        try:
            async with self._opened().post(
                self._endpoint.url,
                data=msgspec.json.encode(body, enc_hook=_plain),
                params=params,
                headers=headers,
                allow_redirects=False,
            ) as response:
                if response.status != 200:
                    raise ExternalFailed(f"its service answered HTTP {response.status}")
                return _parsed(await self._read(response))
        except aiohttp.ClientError as failed:
            raise ExternalFailed(f"its service could not be asked: {type(failed).__name__}") from failed

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        most = self._endpoint.response_bytes_max
        found = bytearray()
        async for piece in response.content.iter_any():
            found += piece
            if len(found) > most:
                response.close()
                raise ExternalFailed(f"its service answered more than {most} bytes")
        return bytes(found)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            tls = ssl.create_default_context(cafile=self._endpoint.ca_file) if self._endpoint.ca_file else True
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, ssl=tls),
                headers={"content-type": "application/json", "accept-encoding": "identity", **self._endpoint.headers},
                auto_decompress=False,  # a few packed bytes could become more than any bound
                timeout=aiohttp.ClientTimeout(total=None),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
            await asyncio.sleep(0)  # the transports close on the next turn


def _parsed(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise ExternalFailed("its service answered something that is not JSON") from None


def _plain(value: object) -> object:
    """The number without its box."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
