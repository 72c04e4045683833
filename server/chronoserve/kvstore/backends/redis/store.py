"""``redis://``, ``rediss://`` (TLS), ``redis+sentinel://`` and ``redis+cluster://``: Redis from 7.0 and Valkey.

What is stored is in ``kvstore/backends/redis/layout.py`` and docs/reference/stores/redis.md.
"""

import asyncio
import re
import ssl
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from chronoserve.kvstore.backends.redis.connection import Connection, Outcome, Refusal, Reply, pack, refused
from chronoserve.kvstore.backends.redis.layout import (
    DATASETS,
    BulkHeads,
    decode_properties,
    encode_properties,
    get_timed_command,
    key_prefix,
    mget_command,
    timed_values,
)
from chronoserve.kvstore.backends.redis.node import Access, Address, Node, at, named_by_sentinel
from chronoserve.kvstore.backends.redis.routes import Cluster, Routes, Single
from chronoserve.kvstore.backends.redis.scan import Scan
from chronoserve.kvstore.backends.redis.scripts import SCRIPT_KEYS_MAX, SCRIPTS, groups
from chronoserve.kvstore.port import Capability, Catalog, GetRequest, GetResult, Key, KVStore, Page, PutRequest, PutResult
from chronoserve.kvstore.portions import Portions
from chronoserve.kvstore.registry import Clock, StoreURL
from chronoserve.model import values
from chronoserve.model.dataset import Dataset, Properties
from chronoserve.model.errors import CorruptValue, FailedPrecondition, InvalidRequest, KVError, Unavailable

REDIS_PORT = 6379
SENTINEL_PORT = 26379

OPEN_SECONDS_MAX = 10.0

KEY_BYTES_MAX = 8 << 10
"""A page token carries keys, so they must not be large."""

VALUE_BYTES_MAX = 16 << 20

MGET_KEYS_MAX = 1000
"""Keys of one MGET: under a millisecond of the server, which does nothing else meanwhile."""

WEIGHED_BYTES_MIN = 1 << 20
"""What has come since a call began before its answers are weighed: below, to do so would cost more than it tells."""

PUTS_MAX = 1000
"""Writes sent together: a few milliseconds of the server and of this process's event loop."""

OF_ONE_KEY = ("WRONGTYPE", "ERR")
"""What a script answers where a key holds something that the store has not written. Another key of the script may have been
written already, if it is TIMED: to write it again changes nothing."""

BATCHES_MAX = 64

OLDEST_MAJOR_VERSION = 7
"""The first with PEXPIREAT … GT."""

SETTINGS = ("appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory", "maxmemory-policy")


class RedisStore(KVStore):
    """What does not depend on where keys are; reading does."""

    script_keys_max: int
    """Keys that one script may have."""

    def __init__(self, routes: Routes, clock: Clock, capability: Capability) -> None:
        self.capability = capability
        self._routes = routes
        self._clock = clock
        self._catalog = Catalog()
        self.portions = Portions()
        self._prefixes: dict[Dataset, bytes] = {}
        self._latest: dict[Dataset, BulkHeads] = {}
        """LATEST datasets only: one look-up tells the kind and brings what reading needs."""

    async def load_datasets(self, *, deadline: float) -> dict[str, Dataset]:
        fields = await self._ask_registry([pack(b"HGETALL", DATASETS)], deadline, write=False)
        return {name.decode(): self._intern(name.decode(), stored) for name, stored in zip(fields[::2], fields[1::2], strict=True)}

    async def create(self, name: str, properties: Properties, *, deadline: float) -> Dataset:
        commands = [pack(b"HSETNX", DATASETS, name, encode_properties(properties)), pack(b"HGET", DATASETS, name)]
        return self._intern(name, await self._ask_registry(commands, deadline, write=True))

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        results: list[PutResult] = []
        for start in range(0, len(requests), PUTS_MAX):
            results += await self._put(requests[start : start + PUTS_MAX], self.script_keys_max, deadline)
        return results

    async def _put(self, puts: Sequence[PutRequest], keys_max: int, deadline: float) -> list[PutResult]:
        """Write by scripts of up to ``keys_max`` keys. Where one key of a script makes it fail, each of its writes gets its own."""
        keys = [self._prefixes[put.dataset] + put.key for put in puts]
        planned = list(groups(keys, puts, self._clock(), keys_max=keys_max))
        replies = await self._ask_scripts([keys[group.places[0]] for group in planned], [group.command for group in planned], deadline)
        results: list[PutResult] = [None] * len(puts)
        alone: list[int] = []
        for group, reply in zip(planned, replies, strict=True):
            if group.keys > 1 and isinstance(reply, Refusal) and reply.code in OF_ONE_KEY:
                alone += group.places
            elif outcome := _write_result(reply):
                for place in group.places:
                    results[place] = outcome
        if alone:
            alone.sort()
            for place, result in zip(alone, await self._put([puts[place] for place in alone], 1, deadline), strict=True):
                results[place] = result
        return results

    async def delete(self, keys: Sequence[Key], *, deadline: float) -> list[PutResult]:
        if not keys:
            return []
        stored = [self._prefixes[dataset] + key for dataset, key in keys]
        commands = [pack(b"UNLINK", key) for key in stored]
        return [_write_result(reply) for reply in await self._routes.ask(stored, commands, deadline=deadline, write=True)]

    async def scan(self, dataset: Dataset, token: bytes, *, keys_max: int, bytes_max: int, deadline: float) -> Page:
        work = Scan(self.get, self._routes.nodes(), dataset, keys_max=keys_max, bytes_max=bytes_max, deadline=deadline)
        return await work.page(token)

    async def check(self, *, deadline: float) -> None:
        for node in self._routes.nodes().values():
            (reply,) = await node.ask([pack(b"PING")], deadline=deadline)
            if isinstance(reply, Refusal):
                raise refused(reply)

    async def close(self) -> None:
        await self._routes.close()

    def _intern(self, name: str, stored: bytes) -> Dataset:
        dataset = self._catalog.intern(name, decode_properties(stored))
        if dataset not in self._prefixes:
            self._prefixes[dataset] = key_prefix(dataset)
            if not dataset.timed:
                self._latest[dataset] = BulkHeads(self._prefixes[dataset])
        return dataset

    async def _ask_registry(self, commands: Sequence[bytes], deadline: float, *, write: bool) -> Reply:
        """The last reply. Raises KVError where any of them is none."""
        replies = await self._routes.ask([DATASETS] * len(commands), commands, deadline=deadline, write=write)
        for reply in replies:
            if isinstance(reply, KVError):
                raise reply
            if isinstance(reply, Refusal):
                raise refused(reply)
        return replies[-1]

    async def _ask_scripts(self, keys: Sequence[bytes], commands: Sequence[bytes], deadline: float) -> list[Reply | KVError]:
        """Run scripts, which every connection has loaded; after a SCRIPT FLUSH, load them again.

        Then all of the batch runs again and not only what was refused, so that writes of one key stay in their order.
        """
        replies = await self._routes.ask(keys, commands, deadline=deadline, write=True)
        if not any(map(_lacks_script, replies)):
            return replies
        for node in self._routes.nodes().values():
            with suppress(KVError):  # the writes to this node are then answered with the reason
                await node.ask([pack(b"SCRIPT", b"LOAD", script) for script in SCRIPTS], deadline=deadline)
        again = await self._routes.ask(keys, commands, deadline=deadline, write=True)
        return [second if _lacks_script(first) else first for first, second in zip(replies, again, strict=True)]

    def _decode(self, request: GetRequest, reply: Reply | KVError, now: int) -> GetResult:
        """The result of one request from the reply to its own command."""
        dataset, _, after = request
        if isinstance(reply, KVError):
            return reply
        if isinstance(reply, Refusal):
            return refused(reply)
        if dataset.timed:
            return timed_values(reply, now)
        try:
            return values.since(reply, after) if reply and after else reply or b""
        except CorruptValue as error:
            return error

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        return await self.portions.read(requests, partial(self.get, deadline=deadline))

    @abstractmethod
    async def get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        """As ``multi_get``, all of them at once."""


class OneServerStore(RedisStore):
    """All keys in one process: the LATEST keys of a batch are one MGET, and everything leaves in one write."""

    script_keys_max = SCRIPT_KEYS_MAX

    def __init__(self, routes: Single, clock: Clock, capability: Capability) -> None:
        super().__init__(routes, clock, capability)
        self._node = routes.node

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        connection = self._node.ready() if self.portions.fits(requests) else None
        if connection is None:
            return await super().multi_get(requests, deadline=deadline)
        before = connection.received
        results = await self._get_from(connection, requests, deadline)
        if connection.received - before <= WEIGHED_BYTES_MIN:
            return results
        taken, _ = self.portions.taken(requests, results, self.portions.bytes_max)
        return self.portions.refuse_rest(taken, len(requests))

    async def get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        return await self._get_from(self._node.ready() or await self._node.connect(deadline), requests, deadline)

    async def _get_from(self, connection: Connection, requests: Sequence[GetRequest], deadline: float) -> list[GetResult]:
        heads = self._latest
        try:
            keys = [heads[dataset][len(key)] + key for dataset, key, after in requests if not after]
        except KeyError:  # a TIMED dataset
            return await self._get_mixed(connection, requests, deadline)
        if len(keys) < len(requests):  # a LATEST value that is asked for by its age
            return await self._get_mixed(connection, requests, deadline)
        if not keys:
            return []
        commands = _mgets(keys)
        return _strings(await connection.send(b"".join(commands), len(commands), deadline, write=False), len(keys))

    async def _get_mixed(self, connection: Connection, requests: Sequence[GetRequest], deadline: float) -> list[GetResult]:
        """TIMED keys by a command each, the LATEST ones together; one round trip."""
        prefixes, heads = self._prefixes, self._latest
        latest = [index for index, (dataset, _, _) in enumerate(requests) if dataset in heads]
        timed = [index for index, (dataset, _, _) in enumerate(requests) if dataset not in heads]
        keys = [heads[dataset][len(key)] + key for dataset, key, _ in requests if dataset in heads]
        commands = [get_timed_command(prefixes[dataset] + key, after) for dataset, key, after in requests if dataset not in heads]
        commands += _mgets(keys)
        outcome = await connection.send(b"".join(commands), len(commands), deadline, write=False)
        if isinstance(outcome, KVError):
            return [outcome] * len(requests)
        now = self._clock()
        results: list[GetResult] = [b""] * len(requests)
        for index, reply in zip(timed, outcome, strict=False):
            results[index] = self._decode(requests[index], reply, now)
        for index, found in zip(latest, _strings(outcome[len(timed) :], len(latest)), strict=True):
            results[index] = self._decode(requests[index], found, now)
        return results


class ClusterStore(RedisStore):
    """Keys all over a cluster: neither MGET nor a script crosses slots, so each key is a command and each node gets one write."""

    script_keys_max = 1

    async def get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        keys = [self._prefixes[dataset] + key for dataset, key, _ in requests]
        commands = [
            pack(b"GET", key) if dataset in self._latest else get_timed_command(key, after)
            for key, (dataset, _, after) in zip(keys, requests, strict=True)
        ]
        replies = await self._routes.ask(keys, commands, deadline=deadline, write=False)
        now = self._clock()
        return [self._decode(request, reply, now) for request, reply in zip(requests, replies, strict=True)]


def _mgets(keys: list[bytes]) -> list[bytes]:
    """The commands that read keys that carry their heads."""
    if len(keys) <= MGET_KEYS_MAX:
        return [mget_command(keys)] if keys else []
    return [mget_command(keys[start : start + MGET_KEYS_MAX]) for start in range(0, len(keys), MGET_KEYS_MAX)]


def _strings(outcome: Outcome, size: int) -> list[GetResult]:
    """The values of the replies to ``_mgets`` of ``size`` keys; ``b""`` for a miss."""
    if isinstance(outcome, KVError):
        return [outcome] * size
    found: list[GetResult] = []
    for reply in outcome:
        if isinstance(reply, Refusal):
            found += [refused(reply)] * min(MGET_KEYS_MAX, size - len(found))
        else:
            found += reply if all(reply) else [value or b"" for value in reply]
    return found


def _write_result(reply: Reply | KVError) -> PutResult:
    if isinstance(reply, Refusal):
        return refused(reply)
    return reply if isinstance(reply, KVError) else None


def _lacks_script(reply: Reply | KVError) -> bool:
    return isinstance(reply, Refusal) and reply.code == "NOSCRIPT"


async def open_store(url: StoreURL, *, clock: Clock) -> KVStore:
    """An open store. Raises InvalidRequest for a bad URL, FailedPrecondition for a server that is too old, KVError else."""
    url.expect("ca", "cert", "key", "connections", "connect_timeout_ms")
    routes = _routes(url)
    deadline = asyncio.get_running_loop().time() + OPEN_SECONDS_MAX
    try:
        await routes.open(deadline)
        capability = await _capability(routes, deadline)
    except BaseException:
        await routes.close()
        raise
    return OneServerStore(routes, clock, capability) if isinstance(routes, Single) else ClusterStore(routes, clock, capability)


def _routes(url: StoreURL) -> Routes:
    topology = url.scheme.partition("+")[2]
    words = [word for word in url.path.split("/") if word]
    if topology == "sentinel":
        if not words:
            raise InvalidRequest("redis+sentinel:// names the service: redis+sentinel://sentinel1,sentinel2/service")
        access = _access(url, words[1:])
        sentinels = _addresses(url, SENTINEL_PORT)
        return Single(Node(named_by_sentinel(sentinels, words[0], access), access, must_be_primary=True), replicated=True)
    access = _access(url, words)
    addresses = _addresses(url, REDIS_PORT)
    if topology == "cluster":
        if access.database:
            raise InvalidRequest("a Redis cluster has no database but 0: leave the path of the store URL empty")
        return Cluster(addresses, access)
    if topology or len(addresses) > 1:
        raise InvalidRequest("one Redis server is redis://host; several are redis+cluster:// or redis+sentinel://")
    return Single(Node(at(addresses[0]), access), replicated=False)


def _addresses(url: StoreURL, port: int) -> list[Address]:
    return [(host, given or port) for host, given in url.hosts] or [("localhost", port)]


def _access(url: StoreURL, path: Sequence[str]) -> Access:
    if len(path) > 1 or not all(word.isdigit() for word in path):
        raise InvalidRequest(f"the path of {url.scheme}:// ends with the number of a database, as in redis://host/0")
    if url.username and url.password is None:
        raise InvalidRequest("a user name needs a password: redis://user:password@host, or redis://:password@host without a user")
    return Access(
        username=url.username,
        password=url.password,
        database=int(path[0]) if path else 0,
        tls=_tls(url),
        connections=int(url.number("connections", 1, least=1)),
        dial_seconds=url.number("connect_timeout_ms", 1000, least=1) / 1000,
        scripts=SCRIPTS,
    )


def _tls(url: StoreURL) -> ssl.SSLContext | None:
    ca, cert, key = (url.options.get(name) for name in ("ca", "cert", "key"))
    if not url.scheme.startswith("rediss"):
        if ca or cert or key:
            raise InvalidRequest("the options ca, cert and key are for rediss://")
        return None
    try:
        context = ssl.create_default_context(cafile=ca)
        if cert:
            context.load_cert_chain(cert, key)
    except OSError as exc:  # ssl.SSLError is one
        raise InvalidRequest("the files in the options ca, cert and key must be readable PEM") from exc
    return context


async def _capability(routes: Routes, deadline: float) -> Capability:
    policies = [await _policy(node, deadline) for node in routes.nodes().values()]
    durable = all(safe for safe, _ in policies) and not routes.replicated
    words = "; ".join(sorted({text for _, text in policies}))
    if routes.replicated:
        words += "; replication is asynchronous: a fail-over can lose acknowledged writes"
    return Capability(
        engine="redis",
        key_bytes_max=KEY_BYTES_MAX,
        value_bytes_max=VALUE_BYTES_MAX,
        multi_get_keys_max=10 * MGET_KEYS_MAX,
        multi_put_keys_max=PUTS_MAX,
        inflight_batches_max=BATCHES_MAX,
        pipelined=True,
        durable=durable,
        durability=words,
        linearizable=not routes.replicated,
    )


async def _policy(node: Node, deadline: float) -> tuple[bool, str]:
    """Whether an acknowledged write on this node survives its end, and what it means in words."""
    commands = [pack(b"INFO", b"server"), *(pack(b"CONFIG", b"GET", name) for name in SETTINGS)]
    try:
        info, *replies = await node.ask(commands, deadline=deadline)
    except Unavailable:  # one node of a cluster: it must not keep the rest from being served
        return False, "a node could not be asked for its persistence settings"
    version = None if isinstance(info, Refusal) else re.search(rb"redis_version:(\d+)", info)
    if version and int(version[1]) < OLDEST_MAJOR_VERSION:
        raise FailedPrecondition(f"this Redis is version {int(version[1])}; the store needs {OLDEST_MAJOR_VERSION}.0 or Valkey")
    pairs = [reply for reply in replies if not isinstance(reply, Refusal) and len(reply) == len(("name", "value"))]
    return describe_durability({name.decode(): value.decode() for name, value in pairs})


def describe_durability(settings: dict[str, str]) -> tuple[bool, str]:
    """Whether these settings of a server keep every acknowledged write, and in words what they do."""
    if "appendonly" not in settings:
        return False, "the server does not tell its persistence settings (CONFIG GET is refused)"
    if settings["appendonly"] != "yes":
        safe, text = False, "writes since the last snapshot are lost when the server ends (appendonly no)"
    elif settings.get("appendfsync") != "always":
        safe, text = False, f"about the last second of writes is lost when the machine ends (appendfsync {settings.get('appendfsync')})"
    elif settings.get("no-appendfsync-on-rewrite") == "yes":
        safe, text = False, "on disk before it is acknowledged, except while the log is rewritten (no-appendfsync-on-rewrite yes)"
    else:
        safe, text = True, "on disk before it is acknowledged (appendfsync always)"
    if settings.get("maxmemory", "0") != "0" and settings.get("maxmemory-policy") != "noeviction":
        safe, text = False, f"{text}; values are evicted when memory is full (maxmemory-policy {settings.get('maxmemory-policy')})"
    return safe, text
