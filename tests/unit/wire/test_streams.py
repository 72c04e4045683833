"""Streams in batches: however messages arrive, the answers are those of one message after the other."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronoserve.kvstore.port import too_much
from chronoserve.model.errors import InvalidRequest, KVError, Throttled
from chronoserve.wire.draining import Draining, Messages
from chronoserve.wire.native_call import CONSUMED, UNSENT_BYTES_MAX, WRITE, Context, Incoming
from chronoserve.wire.seam import Conversation
from chronoserve.wire.streams import MESSAGES_OF_BATCH_MAX, answer_stream
from tests.virtual_time import in_virtual_time, until

KEYS_MAX = 6
ITEMS_MAX = 4
"""Answers that the store of these tests gives to one call; it refuses those after them."""


class Call:
    id = 7
    method = 0

    def time_remaining(self) -> None:
        return None

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def peer(self) -> str:
        return ""

    def peer_identities(self) -> None:
        return None


class Client:
    """A stream of the native transport without the transport: what is written is kept."""

    def __init__(self, *, takes: bool = True) -> None:
        self.commands: list[tuple[Any, ...]] = []
        self.takes = takes
        self.incoming = Incoming(7, self.commands.append)
        self.context = Context(Call(), self._send)
        self.draining = Draining()
        self.conversation = Conversation(Messages(self.incoming, self.draining), self.context, self.draining)

    def _send(self, command: tuple[Any, ...]) -> None:
        self.commands.append(command)
        if self.takes and command[0] == WRITE:
            self.context.written(sum(5 + len(message) for message in command[2]))

    @property
    def answers(self) -> list[bytes]:
        return [message for kind, *rest in self.commands if kind == WRITE for message in rest[1]]


class Store:
    """Answers each letter with itself doubled; a call of more than ``ITEMS_MAX`` letters is too much from there on."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    async def ask(self, letters: list[str]) -> list[Any]:
        self.calls.append(len(letters))
        await asyncio.sleep(0)
        if "!" in letters:
            raise Throttled("busy")
        return [self._of(at, letter) for at, letter in enumerate(letters)]

    @staticmethod
    def _of(at: int, letter: str) -> Any:
        if at >= ITEMS_MAX:
            return too_much()
        return InvalidRequest("no", field="key_bytes") if letter == "?" else letter * 2


def parse(data: bytes) -> Sequence[str]:
    if data.startswith(b"bad"):
        raise InvalidRequest("the request is none")
    return list(data.decode())


def reply(results: Sequence[Any]) -> bytes:
    return "".join("E" if isinstance(each, KVError) else each for each in results).encode()


async def one_by_one(messages: list[bytes]) -> tuple[list[bytes], str]:
    """What the client hears, and of which kind the end is."""
    store, heard = Store(), []
    for data in messages:
        try:
            heard.append(reply(await store.ask(list(parse(data)))))
        except KVError as error:
            return heard, type(error).__name__
    return heard, ""


MESSAGES = st.lists(st.one_of(st.text("abc?", max_size=6), st.just("bad")), max_size=30)


@given(messages=MESSAGES, cuts=st.lists(st.integers(1, 10), min_size=1, max_size=30))
@settings(deadline=None)
def test_any_split_of_the_messages_gives_the_answers_of_one_after_the_other(messages: list[str], cuts: list[int]) -> None:
    async def run() -> None:
        client, data = Client(), [each.encode() for each in messages]
        task = asyncio.ensure_future(answer_stream(client.conversation, parse, Store().ask, reply, keys_max=KEYS_MAX))
        left = list(data)
        for cut in [*cuts, len(data)]:
            client.incoming.add(left[:cut])
            left = left[cut:]
            await asyncio.sleep(0)
        client.incoming.end()
        (end,) = await asyncio.gather(task, return_exceptions=True)
        heard, how = await one_by_one(data)
        assert (client.answers, type(end).__name__ if end else "") == (heard, how)

    asyncio.run(run())


@in_virtual_time
async def test_what_has_come_is_one_call_of_the_store() -> None:
    client, store = Client(), Store()
    client.incoming.add([b"a", b"b", b"c"])
    client.incoming.end()
    await answer_stream(client.conversation, parse, store.ask, reply, keys_max=KEYS_MAX)
    assert (store.calls, client.answers) == ([3], [b"aa", b"bb", b"cc"])
    assert [len(command[2]) for command in client.commands if command[0] == WRITE] == [3], "one command for all"


@in_virtual_time
async def test_a_batch_is_bounded_in_messages_and_keys() -> None:
    client, store = Client(), Store()
    client.incoming.add([b"a"] * (MESSAGES_OF_BATCH_MAX + 1))
    client.incoming.end()
    await answer_stream(client.conversation, parse, store.ask, reply, keys_max=2)
    assert store.calls == [2] * (MESSAGES_OF_BATCH_MAX // 2) + [1]
    client, store = Client(), Store()
    client.incoming.add([b"a" * 3, b"b" * 10, b"c"])
    client.incoming.end()
    await answer_stream(client.conversation, parse, store.ask, reply, keys_max=4)
    assert store.calls == [3, 10, 1], "a message with more than all that goes alone"


@in_virtual_time
async def test_a_bad_message_in_the_middle_ends_the_stream_after_the_answers_before_it() -> None:
    client = Client()
    client.incoming.add([b"a", b"b", b"bad", b"c"])
    with pytest.raises(InvalidRequest, match="is none"):
        await answer_stream(client.conversation, parse, Store().ask, reply, keys_max=KEYS_MAX)
    assert client.answers == [b"aa", b"bb"]


@in_virtual_time
async def test_a_store_that_refuses_a_batch_ends_the_stream_after_the_answers_of_those_before_it() -> None:
    client = Client()
    client.incoming.add([b"aaa", b"bbb", b"c!", b"d"])
    with pytest.raises(Throttled):
        await answer_stream(client.conversation, parse, Store().ask, reply, keys_max=4)
    assert client.answers == [b"aaaaaa", b"bbbbbb"]


@in_virtual_time
async def test_a_stream_that_is_cancelled_in_the_middle_of_a_batch_answers_nothing_of_it() -> None:
    client, asked = Client(), asyncio.Event()
    ended: list[bool] = []

    async def ask(_: list[str]) -> list[Any]:
        asked.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(True)
        return []

    task = asyncio.ensure_future(answer_stream(client.conversation, parse, ask, reply, keys_max=KEYS_MAX))
    client.incoming.add([b"a", b"b"])
    await asked.wait()
    task.cancel()
    await asyncio.wait([task])
    assert (task.cancelled(), ended, client.answers) == (True, [True], [])
    assert not client.draining._idle


@in_virtual_time
async def test_a_client_that_does_not_read_holds_the_next_batch_back() -> None:
    client, store = Client(takes=False), Store()
    large = UNSENT_BYTES_MAX // 3

    def fat(results: Sequence[Any]) -> bytes:
        return bytes(large)

    task = asyncio.ensure_future(answer_stream(client.conversation, parse, store.ask, fat, keys_max=KEYS_MAX))
    client.incoming.add([b"a"] * 4)
    await until(lambda: client.context._waiter is not None)
    assert len(client.answers) == 3, "as far ahead as a handler may be"
    client.incoming.add([b"b"])
    await until(lambda: client.context._waiter is not None)
    assert store.calls == [4]
    client.takes = True
    client.context.written(3 * (5 + large))
    client.incoming.end()
    await task
    assert (store.calls, len(client.answers)) == ([4, 1], 5)
    assert client.context._unsent == 0, "prefixes count on both sides, or a long stream would lose its bound"


@in_virtual_time
async def test_large_answers_are_not_held_for_a_client_that_does_not_read() -> None:
    """Each is as large as a message may be, and there may be as many as a batch has messages."""
    client, store = Client(takes=False), Store()

    def fat(results: Sequence[Any]) -> bytes:
        return bytes(UNSENT_BYTES_MAX)

    task = asyncio.ensure_future(answer_stream(client.conversation, parse, store.ask, fat, keys_max=KEYS_MAX))
    client.incoming.add([b"aaa"] * 2 + [b"b"] * 6)
    await until(lambda: client.context._waiter is not None)
    assert (store.calls, len(client.answers)) == ([6, 3], 1), "refused together, then asked for as far as the client reads"
    client.takes = True
    client.context.written(5 + UNSENT_BYTES_MAX)
    client.incoming.end()
    await task
    assert (store.calls, len(client.answers)) == ([6, 3, 3, 6, *[1] * 6], 8)


@in_virtual_time
async def test_taken_bytes_are_told_for_whole_batches() -> None:
    client = Client()
    client.incoming.add([bytes(20_000)] * 3 + [b""])
    assert len(await client.incoming.take(3)) == 3
    assert [command for command in client.commands if command[0] == CONSUMED] == [(CONSUMED, 7, 60_000)]
    assert await client.incoming.take(3) == [b""]
