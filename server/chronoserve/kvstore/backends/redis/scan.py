"""Pages over the keys of a dataset by SCAN, which answers more or fewer keys than asked for, and may repeat itself.

What a SCAN brought and the page could not hold travels in the page's token, so nothing is skipped or given again when
keys come and go between two pages. A cursor means something only to the process that gave it: the token names that too.
"""

import re
from collections.abc import Awaitable, Sequence
from typing import Annotated, Literal, Protocol

import msgspec

from chronoserve.kvstore.backends.redis.connection import Refusal, pack, refused
from chronoserve.kvstore.backends.redis.layout import key_prefix
from chronoserve.kvstore.backends.redis.node import Node
from chronoserve.kvstore.port import GetRequest, GetResult, Page
from chronoserve.model.dataset import Dataset
from chronoserve.model.errors import InvalidRequest, KVError

COUNT_LEAST = 10
"""Keys that one SCAN looks at, at least."""

COUNT_MOST = 4000
"""… and at most: about a millisecond of the server's time."""

LEFTOVER_KEYS_MAX = 100
"""A SCAN that brings so many more keys than the page wants is asked again for fewer: the rest must fit into the token."""

FIRST_READ_KEYS_MAX = 4
"""Values read before the size of an entry is known."""


class Position(msgspec.Struct, array_like=True, frozen=True):
    """Where a page begins. ``node`` None: all was scanned and only ``keys`` are left. Cursor 0: the node's beginning."""

    version: Literal[1]
    node: str | None
    run_id: str
    cursor: Annotated[int, msgspec.Meta(ge=0)]
    keys: list[bytes]


class Get(Protocol):
    """Reads values, as many as are asked for, whatever they weigh: a page has a bound of its own."""

    def __call__(self, requests: Sequence[GetRequest], *, deadline: float) -> Awaitable[list[GetResult]]: ...


class Scan:
    """The work on one page."""

    def __init__(self, get: Get, nodes: dict[str, Node], dataset: Dataset, *, keys_max: int, bytes_max: int, deadline: float) -> None:
        """``get`` reads values; ``nodes``: by name and in the order of their names, which is the order of the scan."""
        self._get = get
        self._nodes = nodes
        self._dataset = dataset
        self._prefix = key_prefix(dataset)
        self._keys_max = keys_max
        self._bytes_max = bytes_max
        self._deadline = deadline
        self._entries: list[tuple[bytes, bytes]] = []
        self._bytes = 0
        self._seen: set[bytes] = set()
        self._count = self._looked_at = COUNT_LEAST
        self._found = 0

    async def page(self, token: bytes) -> Page:
        """The page from ``token``. Raises InvalidRequest for a token that is not of this scan, KVError of the engine."""
        self._begin(token)
        while len(self._entries) < self._keys_max and self._bytes < self._bytes_max:
            if self._keys:
                await self._read_some()
            elif self._node is not None:
                await self._find_some(self._node)
            else:
                return Page(self._entries, b"")
        return Page(self._entries, self._token())

    def _begin(self, token: bytes) -> None:
        try:
            position = msgspec.msgpack.decode(token, type=Position) if token else Position(1, next(iter(self._nodes)), "", 0, [])
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise InvalidRequest("this page token is not from a scan of this store", field="token") from exc
        if position.node is not None and position.node not in self._nodes:
            raise _interrupted()
        self._node, self._run_id, self._cursor = position.node, position.run_id, position.cursor
        self._keys = position.keys
        self._seen.update(position.keys)

    def _token(self) -> bytes:
        if not self._keys and self._node is None:
            return b""
        return msgspec.msgpack.encode(Position(1, self._node, self._run_id, self._cursor, self._keys))

    def _wanted(self) -> int:
        """Entries that the page has room for, going by the size of those that it has."""
        room = self._keys_max - len(self._entries)
        if self._bytes:
            room = min(room, (self._bytes_max - self._bytes) * len(self._entries) // self._bytes + 1)
        return room

    async def _read_some(self) -> None:
        """Read the values of the next keys; keys without a value have expired since SCAN named them."""
        chunk = self._keys[: self._wanted() if self._entries else min(self._wanted(), FIRST_READ_KEYS_MAX)]
        results = await self._get([(self._dataset, key, 0) for key in chunk], deadline=self._deadline)
        taken = 0
        for key, result in zip(chunk, results, strict=True):
            if isinstance(result, KVError):
                raise result
            if self._bytes >= self._bytes_max:
                break
            taken += 1
            if result:
                self._entries.append((key, result))
                self._bytes += len(key) + len(result)
        self._keys = self._keys[taken:]

    async def _find_some(self, name: str) -> None:
        """One SCAN, of as many keys as the page seems to want, given how rare the dataset's keys have been so far."""
        wanted = self._wanted()
        expected = wanted * self._looked_at // max(1, self._found)
        count = max(COUNT_LEAST, min(4 * self._count, expected, COUNT_MOST))
        run_id, cursor, keys = await self._ask(self._nodes[name], count)
        if self._run_id not in ("", run_id):
            raise _interrupted()
        fresh = [key for key in dict.fromkeys(keys) if key not in self._seen]
        self._count, self._looked_at, self._found = count, self._looked_at + count, self._found + len(fresh)
        if len(fresh) > wanted + LEFTOVER_KEYS_MAX and count > COUNT_LEAST:
            self._count, self._looked_at, self._found = 1, count, len(fresh)
            return
        self._keys = fresh
        self._seen.update(fresh)
        self._run_id, self._cursor = run_id, cursor
        if not cursor:
            self._run_id, self._node = "", next((other for other in self._nodes if other > name), None)

    async def _ask(self, node: Node, count: int) -> tuple[str, int, list[bytes]]:
        """(run id of the process, next cursor, keys of the dataset). Values of another dataset are not looked at."""
        scan = pack(b"SCAN", self._cursor, b"MATCH", self._prefix + b"*", b"COUNT", count)
        info, reply = await node.ask([pack(b"INFO", b"server"), scan], deadline=self._deadline)
        if isinstance(reply, Refusal):
            raise refused(reply)
        cursor, keys = reply
        return _run_id(info), int(cursor), [key[len(self._prefix) :] for key in keys]


def _run_id(info: bytes | Refusal) -> str:
    """The process's random name; empty where this user may not ask for it."""
    found = None if isinstance(info, Refusal) else re.search(rb"run_id:(\w+)", info)
    return found[1].decode() if found else ""


def _interrupted() -> InvalidRequest:
    return InvalidRequest("a server of this scan was restarted or replaced since the last page: begin the scan again", field="token")
