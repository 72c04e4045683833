"""Calls of AWS's JSON protocol: signed, sent once, and told apart by what became of them.

aiobotocore finds the credentials; the calls themselves are made here. It spends ten times the time of this module on a
batch, and does not tell a request that never left from one that was sent and not answered (K7).
"""

import asyncio
import hashlib
import hmac
import io
import time
import zlib
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import NamedTuple

import aiohttp
import msgspec
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError
from yarl import URL

from chronoserve.kvstore.port import remaining
from chronoserve.kvstore.registry import Clock
from chronoserve.model.errors import DeadlinePassed, FailedPrecondition, KVError, Unavailable, WriteOutcomeUnknown

ALGORITHM = "AWS4-HMAC-SHA256"
CONTENT_TYPE = "application/x-amz-json-1.0"
KEEPALIVE_SECONDS = 10.0
"""An idle connection is closed after this time, before AWS does: a write on one that is being closed has no known outcome."""
DNS_SECONDS = 10
"""AWS moves its endpoints between addresses all the time."""
WHOLE_BODY_BYTES_MAX = 1 << 20
"""A larger body is sent in pieces, so that the loop gets its turn in between."""


class Identity(NamedTuple):
    """What signs a call."""

    access_key: str
    secret_key: str
    session_token: str | None = None


IdentitySource = Callable[[], Awaitable[Identity]]
"""The identity of the moment. Raises KVError where there is none."""


class Refused(Exception):
    """The service answered that it did not do it. ``code`` is the error's name without its namespace."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Service(NamedTuple):
    """``name`` is for people, ``signing_name`` and ``target`` are what the protocol calls it."""

    name: str
    signing_name: str
    target: str


class ErrorReply(msgspec.Struct):
    type: str = msgspec.field(default="", name="__type")


ERROR_REPLY = msgspec.json.Decoder(ErrorReply)


def fixed_identity(identity: Identity) -> IdentitySource:
    """``identity``, always."""

    async def source() -> Identity:
        return identity

    return source


def chain_identity() -> IdentitySource:
    """AWS's ordinary chain: environment, profile, web identity, container, instance; refreshed before it expires."""
    session = get_session()

    async def source() -> Identity:
        try:
            credentials = await session.get_credentials()
            frozen = await credentials.get_frozen_credentials() if credentials else None
        except (BotoCoreError, ClientError) as exc:
            raise Unavailable("AWS credentials could not be fetched: check the profile, role or metadata service they come from") from exc
        if frozen is None:
            raise FailedPrecondition(
                "there are no AWS credentials: set AWS_PROFILE or AWS_ACCESS_KEY_ID, or give access_key and secret_key"
            )
        return Identity(frozen.access_key, frozen.secret_key, frozen.token)

    return source


class Signer:
    """Signature Version 4 for POST requests to ``/`` without a query."""

    def __init__(self, *, region: str, signing_name: str, host: str) -> None:
        self._region = region
        self._signing_name = signing_name
        self._host = host
        self._key_of: tuple[str, str] = ("", "")
        self._key = b""

    def headers(self, identity: Identity, target: str, body: bytes, millis: int) -> dict[str, str]:
        """Every header of the request, signed at ``millis`` (epoch milliseconds)."""
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(millis // 1000))
        headers = {"content-type": CONTENT_TYPE, "host": self._host, "x-amz-date": moment}
        if identity.session_token:
            headers["x-amz-security-token"] = identity.session_token
        headers["x-amz-target"] = target
        names = ";".join(headers)
        lines = "".join([f"{name}:{value}\n" for name, value in headers.items()])
        canonical = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{moment[:8]}/{self._region}/{self._signing_name}/aws4_request"
        statement = f"{ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = _hmac(self._signing_key(identity.secret_key, moment[:8]), statement).hex()
        headers["authorization"] = f"{ALGORITHM} Credential={identity.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        return headers

    def _signing_key(self, secret_key: str, day: str) -> bytes:
        if self._key_of != (secret_key, day):
            key = f"AWS4{secret_key}".encode()
            for part in (day, self._region, self._signing_name, "aws4_request"):
                key = _hmac(key, part)
            self._key_of, self._key = (secret_key, day), key
        return self._key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


class Trip:
    """How far one request got. From ``sent`` on the service may have seen it."""

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent = False


async def _mark_sent(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    context.trace_request_ctx.sent = True


class Caller:
    """One service at one endpoint. Calls beyond ``connections_max`` wait for their turn, until their deadline."""

    def __init__(
        self,
        service: Service,
        *,
        endpoint: str,
        region: str,
        identity: IdentitySource,
        clock: Clock,
        connections_max: int,
        connect_seconds: float,
    ) -> None:
        """Needs a running loop. ``endpoint`` is a scheme with a host and a port."""
        self._service = service
        self._url = URL(endpoint).with_path("/")
        self._signer = Signer(region=region, signing_name=service.signing_name, host=self._url.host_port_subcomponent or "")
        self._identity = identity
        self._clock = clock
        self._turns = asyncio.Semaphore(connections_max)
        self._session = _session(connect_seconds)

    async def call(self, operation: str, body: bytes, *, deadline: float, writes: bool) -> bytes:
        """The body of the reply.

        Raises:
            Refused: the service answered that it did not do it.
            WriteOutcomeUnknown: it ``writes``, was sent, and there is no answer that can be relied on.
            DeadlinePassed, Unavailable, FailedPrecondition: it was not done, or is a read without an answer.
        """
        if remaining(deadline) <= 0:
            raise DeadlinePassed(f"the deadline had passed before {self._service.name} was asked")
        trip = Trip()
        try:
            async with asyncio.timeout_at(deadline), self._turns:
                return await self._exchange(operation, body, trip, writes=writes)
        except aiohttp.ClientError as exc:
            raise self._unanswered(trip, writes=writes) from exc
        except TimeoutError as exc:
            if writes and trip.sent:
                raise WriteOutcomeUnknown(f"{self._service.name} had not answered a write by the deadline") from exc
            raise DeadlinePassed(f"{self._service.name} had not answered by the deadline") from exc

    async def _exchange(self, operation: str, body: bytes, trip: Trip, *, writes: bool) -> bytes:
        identity = await self._identity()
        if self._session.closed:
            raise Unavailable("the store is closed")
        headers = self._signer.headers(identity, f"{self._service.target}.{operation}", body, self._clock())
        data = body if len(body) <= WHOLE_BODY_BYTES_MAX else io.BytesIO(body)
        async with self._session.post(self._url, data=data, headers=headers, allow_redirects=False, trace_request_ctx=trip) as response:
            reply = await response.read()
        if response.status >= 500 or not _arrived_whole(reply, response.headers.get("x-amz-crc32")):
            raise self._unanswered(trip, writes=writes)
        if response.status != 200:
            raise Refused(_error_code(reply, response.status))
        return reply

    def _unanswered(self, trip: Trip, *, writes: bool) -> KVError:
        if not trip.sent:
            return Unavailable(f"{self._service.name} could not be reached: check its region, endpoint and network")
        if writes:
            return WriteOutcomeUnknown(f"{self._service.name} did not confirm a write: it failed or the connection was lost")
        return Unavailable(f"{self._service.name} did not answer a read: it failed or the connection was lost")

    async def close(self) -> None:
        """Close every connection; calls under way end without an answer."""
        await self._session.close()


def _session(connect_seconds: float) -> aiohttp.ClientSession:
    tracing = aiohttp.TraceConfig()
    tracing.on_connection_create_end.append(_mark_sent)
    tracing.on_connection_reuseconn.append(_mark_sent)
    return aiohttp.ClientSession(
        # No limit here: the pool's own queue ends its waiters with a cancellation that nobody asked for when it is closed.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS, ttl_dns_cache=DNS_SECONDS),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept", "Accept-Encoding"),
        auto_decompress=False,
        trace_configs=[tracing],
    )


def _arrived_whole(reply: bytes, crc32: str | None) -> bool:
    return crc32 is None or crc32 == str(zlib.crc32(reply))


def _error_code(reply: bytes, status: int) -> str:
    """The error's name; the status where something other than the service answered."""
    try:
        return ERROR_REPLY.decode(reply).type.rpartition("#")[2] or f"HTTP {status}"
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"HTTP {status}"
