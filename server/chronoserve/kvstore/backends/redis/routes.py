"""Which Redis process holds a key: the only one there is, or one of a cluster."""

import asyncio
import random
from abc import ABC, abstractmethod
from binascii import crc_hqx
from collections.abc import Iterator, Sequence
from contextlib import suppress

from chronoserve.kvstore.backends.redis.connection import Outcome, Refusal, Reply, pack, refused
from chronoserve.kvstore.backends.redis.node import Access, Address, Node, at
from chronoserve.model.errors import InvalidRequest, KVError, Unavailable

SLOTS = 16384

REDIRECTS_MAX = 5
"""Times that one batch follows the cluster's redirections."""

REFRESH_SECONDS_MAX = 5.0
REFRESH_JITTER_SECONDS = 0.1
REFRESH_PAUSE_SECONDS = 0.5
"""Between two refreshes of the slot table of one process."""

ASKING = pack(b"ASKING")
CLUSTER_SLOTS = pack(b"CLUSTER", b"SLOTS")


class Routes(ABC):
    """The way from a key to the process that holds it."""

    replicated = False
    """Another process may take over with fewer writes than were acknowledged."""

    @abstractmethod
    async def open(self, deadline: float) -> None:
        """Connect. Raises KVError where that fails."""

    @abstractmethod
    async def ask(self, keys: Sequence[bytes], commands: Sequence[bytes], *, deadline: float, write: bool) -> list[Reply | KVError]:
        """One reply (a Refusal included) or error for each command; commands of one key stay in their order."""

    @abstractmethod
    def nodes(self) -> dict[str, Node]:
        """The processes that hold keys, by a name that lasts as long as the process keeps its address; sorted by name."""

    @abstractmethod
    async def close(self) -> None: ...


class Single(Routes):
    """All keys are in one process."""

    def __init__(self, node: Node, *, replicated: bool) -> None:
        self.node = node
        self.replicated = replicated

    async def open(self, deadline: float) -> None:
        await self.node.connect(deadline)

    async def ask(self, keys: Sequence[bytes], commands: Sequence[bytes], *, deadline: float, write: bool) -> list[Reply | KVError]:
        try:
            return await self.node.ask(commands, deadline=deadline, write=write)
        except KVError as error:
            return [error] * len(commands)

    def nodes(self) -> dict[str, Node]:
        return {"": self.node}

    async def close(self) -> None:
        await self.node.close()


class Member(Node):
    """One process of a cluster."""

    def __init__(self, address: Address, access: Access) -> None:
        super().__init__(at(address), access)
        self.address = address


Group = tuple[Member, bool]
"""Where a part of a batch goes, and whether each command there needs ASKING first."""


class Cluster(Routes):
    """Keys are spread over primaries by hash slot.

    Keys must not contain a hash tag: the slot is taken from the whole key (the layout sees to that).
    """

    def __init__(self, seeds: Sequence[Address], access: Access) -> None:
        self._access = access
        self._seeds = tuple(seeds)
        self._nodes: dict[Address, Member] = {}
        self._slots: list[Member | None] = [None] * SLOTS
        self._refreshing: asyncio.Task[None] | None = None
        self._closed = False

    async def open(self, deadline: float) -> None:
        await self._refresh(deadline)

    async def ask(self, keys: Sequence[bytes], commands: Sequence[bytes], *, deadline: float, write: bool) -> list[Reply | KVError]:
        answers: list[Reply | KVError] = [None] * len(keys)
        groups: dict[Group, list[int]] = {}
        for index, key in enumerate(keys):
            node = self._slots[crc_hqx(key, 0) % SLOTS]
            if node is None:
                answers[index] = Unavailable("no node of the Redis cluster serves this key; see CLUSTER INFO")
                self._refresh_soon()
            else:
                groups.setdefault((node, False), []).append(index)
        for _ in range(REDIRECTS_MAX):
            await self._ask_groups(groups, commands, answers, deadline=deadline, write=write)
            groups = self._redirections(groups, answers)
            if not groups:
                break
        return answers

    async def _ask_groups(
        self, groups: dict[Group, list[int]], commands: Sequence[bytes], answers: list[Reply | KVError], *, deadline: float, write: bool
    ) -> None:
        """Ask all nodes at once, connected ones first, while the others are being dialled; fills ``answers``."""
        asked: list[tuple[list[int], int, asyncio.Future[Outcome]]] = []
        for group in sorted(groups, key=lambda group: group[0].ready() is None):
            node, asking = group
            indexes = groups[group]
            step = 2 if asking else 1
            payload = b"".join([ASKING + commands[index] if asking else commands[index] for index in indexes])
            try:
                connection = node.ready() or await node.connect(deadline)
                asked.append((indexes, step, connection.send(payload, step * len(indexes), deadline, write=write)))
            except KVError as error:
                self._fail(indexes, answers, error)
        for indexes, step, future in asked:
            outcome = await future
            if isinstance(outcome, KVError):
                self._fail(indexes, answers, outcome)
            else:
                for index, reply in zip(indexes, outcome[step - 1 :: step], strict=True):
                    answers[index] = reply

    def _fail(self, indexes: Sequence[int], answers: list[Reply | KVError], error: KVError) -> None:
        """A node that cannot be asked may have been replaced by another."""
        self._refresh_soon()
        for index in indexes:
            answers[index] = error

    def _redirections(self, groups: dict[Group, list[int]], answers: Sequence[Reply | KVError]) -> dict[Group, list[int]]:
        """What was answered with MOVED or ASK, by where it says to go."""
        onward: dict[Group, list[int]] = {}
        for index, asked, refusal in _redirected(groups, answers):
            code, slot, target = refusal.text.split(" ")[:3]
            host, _, port = target.rpartition(":")
            to = self._node((host or asked.address[0], int(port)))  # a node that does not know its own name leaves it out
            if code == "MOVED":
                self._slots[int(slot)] = to
                self._refresh_soon()
            onward.setdefault((to, code == "ASK"), []).append(index)
        return onward

    def nodes(self) -> dict[str, Node]:
        serving = set(self._slots)
        return dict(sorted((f"{host}:{port}", node) for (host, port), node in self._nodes.items() if node in serving))

    async def close(self) -> None:
        self._closed = True
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait((self._refreshing,))
        for node in tuple(self._nodes.values()):
            await node.close()

    def _node(self, address: Address) -> Member:
        if address not in self._nodes:
            self._nodes[address] = Member(address, self._access)
        return self._nodes[address]

    def _refresh_soon(self) -> None:
        """One refresh at a time in this process, after a random pause, whoever asks for it."""
        if not self._closed and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = asyncio.get_running_loop().create_task(self._refresh_later())

    async def _refresh_later(self) -> None:
        await asyncio.sleep(random.uniform(0, REFRESH_JITTER_SECONDS))  # noqa: S311 - spreads load, keeps no secret
        with suppress(KVError):  # the table stays as it is; the calls that need it say so themselves
            await self._refresh(asyncio.get_running_loop().time() + REFRESH_SECONDS_MAX)
        await asyncio.sleep(REFRESH_PAUSE_SECONDS)

    async def _refresh(self, deadline: float) -> None:
        """Read the slot table from the first node that has one: connected nodes first, then the others, then the seeds."""
        failure: KVError = Unavailable("the Redis cluster has no slots assigned; see CLUSTER INFO on its nodes")
        addresses = sorted(self._nodes, key=lambda address: self._nodes[address].ready() is None)
        for address in dict.fromkeys([*addresses, *self._seeds]):
            patience = asyncio.get_running_loop().time() + self._access.dial_seconds  # a silent node must leave time for others
            try:
                (reply,) = await self._node(address).ask([CLUSTER_SLOTS], deadline=min(deadline, patience))
            except KVError as error:
                failure = error
                continue
            if isinstance(reply, Refusal):
                failure = (
                    InvalidRequest("this Redis server is not part of a cluster; use redis://") if reply.code == "ERR" else refused(reply)
                )
            elif reply:
                await self._adopt(reply, address[0])
                return
        raise failure

    async def _adopt(self, table: list[Reply], asked_host: str) -> None:
        """Take over CLUSTER SLOTS: rows of (first slot, last slot, primary, replicas …), a node being (host, port, …)."""
        slots: list[Member | None] = [None] * SLOTS
        for first, last, (host, port, *_), *_ in table:
            slots[first : last + 1] = [self._node((host.decode() if host else asked_host, port))] * (last - first + 1)
        self._slots = slots
        self.replicated = any(len(row) > len(("first", "last", "primary")) for row in table)
        serving = set(slots)
        for address in [address for address, node in self._nodes.items() if node not in serving]:
            await self._nodes.pop(address).close()


def _redirected(groups: dict[Group, list[int]], answers: Sequence[Reply | KVError]) -> Iterator[tuple[int, Member, Refusal]]:
    """The items that must be asked elsewhere, in request order for each node, who sent them away and with what words."""
    for (node, _), indexes in groups.items():
        for index in indexes:
            reply = answers[index]
            if isinstance(reply, Refusal) and reply.code in ("MOVED", "ASK"):
                yield index, node, reply
