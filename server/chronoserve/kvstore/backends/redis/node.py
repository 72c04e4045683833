"""The connections to one Redis process, at a fixed address or at the one that Sentinel names."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ssl import SSLContext, SSLError

from chronoserve.kvstore.backends.redis.connection import Connection, Outcome, Refusal, Reply, pack, refused
from chronoserve.kvstore.port import remaining
from chronoserve.model.errors import DeadlinePassed, KVError, Unavailable

REDIAL_SECONDS = (0.2, 0.3)
"""After a failed dial the next one waits for a random time in this range: at most 5 dials a second, and the first good
answer comes well within a second after the server listens again."""

SHORT_LIFE_SECONDS = 1.0
"""A connection that ends this early counts as a failed dial, so that a server which hangs up at once is not hammered."""

PATIENCE_SECONDS = 0.1
"""How long a call waits for a dial where the one before has failed; where none has, until its deadline."""

Address = tuple[str, int]
Locate = Callable[[float], Awaitable[Address]]
"""Given a deadline, the address to dial; asked anew for every dial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How connections are made: credentials, TLS, how many, how long a dial may take, and the scripts that they load."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    tls: SSLContext | None = None
    connections: int = 1
    dial_seconds: float = 1.0
    scripts: tuple[str, ...] = ()

    def login(self) -> list[bytes]:
        """The AUTH command, if there is anything to say."""
        if self.password is None:
            return []
        return [pack(b"AUTH", *([self.username] if self.username else []), self.password)]


async def dial(address: Address, access: Access, on_lost: Callable[[Connection], None], deadline: float) -> Connection:
    """A bare connection. Raises Unavailable where there is none by the deadline."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout_at(deadline):
            _, connection = await loop.create_connection(lambda: Connection(on_lost), *address, ssl=access.tls)
    except TimeoutError as exc:
        raise Unavailable("Redis did not accept a connection in time; check the address in the store URL") from exc
    except SSLError as exc:
        raise Unavailable("the TLS handshake with Redis failed; check the options ca, cert and key") from exc
    except (OSError, UnicodeError) as exc:  # UnicodeError: a host name that can be none
        raise Unavailable(f"Redis could not be reached ({type(exc).__name__}); check that it runs and the store URL") from exc
    return connection


class Node:
    """The connections to one Redis process: dialled on demand, replaced when lost, never more than ``access.connections``."""

    def __init__(self, locate: Locate, access: Access, *, must_be_primary: bool = False) -> None:
        self._loop = asyncio.get_running_loop()
        self._locate = locate
        self._access = access
        self._must_be_primary = must_be_primary
        self._live: list[Connection] = []
        self._turn = 0
        self._dialling: asyncio.Task[None] | None = None
        self._failure: KVError | None = None
        """Why the last dial failed; None after a good one."""
        self._dial_from = 0.0
        self._closed = False

    def ready(self) -> Connection | None:
        """A connection for one call, in turn; None while there is none. Starts a dial where one is missing."""
        live = self._live
        if len(live) < self._access.connections:
            self._dial_soon()
        if not live:
            return None
        self._turn += 1
        return live[self._turn % len(live)]

    async def connect(self, deadline: float) -> Connection:
        """As ``ready``, but waits for the dial under way; after a failed one, fails fast until one succeeds.

        Raises:
            KVError: there is no connection; nothing was sent.
        """
        connection = self.ready()
        if connection is None and self._dialling is not None:
            patience = remaining(deadline) if self._failure is None else min(remaining(deadline), PATIENCE_SECONDS)
            await asyncio.wait((self._dialling,), timeout=patience)
            if self._dialling.done() and not self._dialling.cancelled():
                self._dialling.result()  # raises what is no KVError: a defect of ours
            connection = self.ready()
        if connection is None:
            raise self._why_not()
        return connection

    def _why_not(self) -> KVError:
        """Why there is no connection now."""
        if self._failure is not None:
            return type(self._failure)(self._failure.message)
        if self._dialling is not None and not self._dialling.done():
            return DeadlinePassed("Redis was not connected in time")
        return Unavailable("the connection to Redis was lost; it is dialled again shortly")

    async def ask(self, commands: Sequence[bytes], *, deadline: float, write: bool = False) -> list[Reply]:
        """One reply for each command, error replies included as ``Refusal``. Raises KVError where there are none."""
        connection = self.ready() or await self.connect(deadline)
        outcome = await connection.send(b"".join(commands), len(commands), deadline, write=write)
        return unless_error(outcome)

    async def close(self) -> None:
        """End the connections; calls under way end with Unavailable or WriteOutcomeUnknown."""
        self._closed = True
        self._failure = Unavailable("the store has let go of this Redis server")
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.wait((self._dialling,))
        for connection in tuple(self._live):
            connection.abort("the store has let go of this Redis server")
            await connection.wait_closed()

    def _dial_soon(self) -> None:
        idle = self._dialling is None or self._dialling.done()
        if idle and not self._closed and self._loop.time() >= self._dial_from:
            self._dialling = self._loop.create_task(self._dial())

    async def _dial(self) -> None:
        try:
            connection = await self._greeted(self._loop.time() + self._access.dial_seconds)
            if connection.ended:  # lost between its greeting and now: on_lost will not tell again
                raise Unavailable("Redis closed the connection at once; see its log")
            self._live.append(connection)
            self._failure = None
        except DeadlinePassed:
            self._fail(Unavailable("Redis takes connections and does not answer; try again"))
        except KVError as failure:
            self._fail(failure)

    def _fail(self, failure: KVError) -> None:
        self._failure = failure
        self._hold_off()

    def _hold_off(self) -> None:
        self._dial_from = self._loop.time() + random.uniform(*REDIAL_SECONDS)  # noqa: S311 - spreads load, keeps no secret

    async def _greeted(self, deadline: float) -> Connection:
        """A connection that is logged in and has its scripts."""
        born = self._loop.time()

        def lost(connection: Connection) -> None:
            if connection in self._live:
                self._live.remove(connection)
            if self._loop.time() - born < SHORT_LIFE_SECONDS:
                self._hold_off()

        connection = await dial(await self._locate(deadline), self._access, lost, deadline)
        try:
            await self._greet(connection, deadline)
        except BaseException:
            connection.abort("the connection to Redis was not accepted")
            await connection.wait_closed()
            raise
        return connection

    async def _greet(self, connection: Connection, deadline: float) -> None:
        """Log in, select, name the connection and load the scripts, in one round trip."""
        access = self._access
        needed = access.login()
        if access.database:
            needed.append(pack(b"SELECT", access.database))
        helpful = [pack(b"CLIENT", b"SETNAME", b"chronoserve")]
        helpful += [pack(b"SCRIPT", b"LOAD", script) for script in access.scripts]
        commands = [*needed, *helpful, pack(b"ROLE")]
        replies = unless_error(await connection.send(b"".join(commands), len(commands), deadline, write=False))
        for index, reply in enumerate(replies):
            # A user that may only read is refused the scripts: that matters when it writes, not here.
            if isinstance(reply, Refusal) and (index < len(needed) or reply.code == "NOAUTH"):
                raise refused(reply)
        if self._must_be_primary and (isinstance(replies[-1], Refusal) or replies[-1][0] != b"master"):
            raise Unavailable("the server that Sentinel named is not the primary; a fail-over may be under way")


def unless_error(outcome: Outcome) -> list[Reply]:
    """The replies. Raises the error where there are none."""
    if isinstance(outcome, KVError):
        raise outcome
    return outcome


def at(address: Address) -> Locate:
    """The address is known and stays."""

    async def locate(_deadline: float) -> Address:
        return address

    return locate


def named_by_sentinel(sentinels: Sequence[Address], service: str, access: Access) -> Locate:
    """The address of the primary of ``service``, from the first sentinel that knows it; the last good one is asked first."""
    order = list(sentinels)
    question = pack(b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", service)

    async def locate(deadline: float) -> Address:
        for sentinel in tuple(order):
            patience = remaining(deadline) / 2  # a dead sentinel must leave time for the others and for the primary
            with suppress(KVError):
                found = await _ask_sentinel(sentinel, question, access, asyncio.get_running_loop().time() + patience)
                if found is not None:
                    order.remove(sentinel)
                    order.insert(0, sentinel)
                    return found
        raise Unavailable(f"no sentinel names a primary for the service {service!r}; check the sentinels in the store URL")

    return locate


async def _ask_sentinel(sentinel: Address, question: bytes, access: Access, deadline: float) -> Address | None:
    connection = await dial(sentinel, access, lambda _: None, deadline)
    try:
        commands = [*access.login(), question]
        outcome = await connection.send(b"".join(commands), len(commands), deadline, write=False)
        reply = unless_error(outcome)[-1]  # a sentinel without a password refuses AUTH and answers all the same
    finally:
        connection.abort("the sentinel has answered")
        await connection.wait_closed()
    return (reply[0].decode(), int(reply[1])) if isinstance(reply, list) else None
