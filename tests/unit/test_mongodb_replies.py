"""What the store makes of a MongoDB server's replies to whole batches, which the engine of the conformance suite does not give.

The server is a script: it speaks the wire protocol of MongoDB, and each test says what it answers to a command.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import bson
import pytest

from chronoserve.kvstore.backends.mongodb.store import CONTESTED_ROUNDS_MAX, open_store
from chronoserve.kvstore.port import KVStore, PutRequest
from chronoserve.kvstore.registry import StoreURL
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import AlreadyExists, FailedPrecondition, InvalidRequest, KVError, Throttled, Unavailable, WriteOutcomeUnknown
from chronoserve.testing.clock import ManualClock

Document = dict[str, Any]
Answer = Callable[[Document], Document | None]
"""A command's reply; None: the server hangs up instead."""

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
HEADER = struct.Struct("<iiii")

HELLO: Document = {
    "ok": 1.0,
    "isWritablePrimary": True,
    "ismaster": True,
    "helloOk": True,
    "minWireVersion": 0,
    "maxWireVersion": 21,
    "maxBsonObjectSize": 16 << 20,
    "maxMessageSizeBytes": 48_000_000,
    "maxWriteBatchSize": 100_000,
    "logicalSessionTimeoutMinutes": 30,
}
PREPARED: dict[str, Document] = {
    "hello": HELLO,
    "ismaster": HELLO,
    "isMaster": HELLO,
    "buildInfo": {"ok": 1.0, "version": "7.0.0"},
    "createIndexes": {"ok": 1.0},
    "endSessions": {"ok": 1.0},
}
APPLIED: Document = {"ok": 1.0, "n": 1}

LATEST = Dataset("D_BATCH", Properties(Kind.LATEST))
TIMED = Dataset("D_STREAMING", Properties(Kind.TIMED))


def refused(*codes: tuple[int, int]) -> Document:
    return {"ok": 1.0, "writeErrors": [{"index": index, "code": code, "errmsg": ""} for index, code in codes]}


def found(*documents: Document) -> Document:
    return {"ok": 1.0, "cursor": {"id": 0, "ns": "chronoserve.latest", "firstBatch": list(documents)}}


class Server:
    """Answers as ``script`` says and keeps the commands that it was sent."""

    def __init__(self, script: dict[str, Answer]) -> None:
        self.script = script
        self.commands: list[Document] = []

    def reply(self, command: Document) -> Document | None:
        name = next(iter(command))
        if name in PREPARED:
            return PREPARED[name]
        self.commands.append(command)
        return self.script[name](command)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size, request, _, opcode = HEADER.unpack(await reader.readexactly(HEADER.size))
                body = await reader.readexactly(size - HEADER.size)
                reply = self.reply(parse_query(body) if opcode == OP_QUERY else parse_message(body))
                if reply is None:
                    return
                writer.write(query_reply(request, reply) if opcode == OP_QUERY else message(request, reply))
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


def parse_query(body: bytes) -> Document:
    return dict(bson.decode(body[body.index(b"\0", 4) + 9 :]))


def parse_message(body: bytes) -> Document:
    """The command with its document sequence, if it has one, under that one's name."""
    (size,) = struct.unpack_from("<i", body, 5)
    command, rest = dict(bson.decode(body[5 : 5 + size])), body[5 + size :]
    if rest:
        name, _, documents = rest[5:].partition(b"\0")
        command[name.decode()] = bson.decode_all(documents)
    return command


def message(request: int, reply: Document) -> bytes:
    body = struct.pack("<iB", 0, 0) + bson.encode(reply)
    return HEADER.pack(HEADER.size + len(body), 1, request, OP_MSG) + body


def query_reply(request: int, reply: Document) -> bytes:
    body = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(reply)
    return HEADER.pack(HEADER.size + len(body), 1, request, OP_REPLY) + body


@asynccontextmanager
async def opened(**script: Answer) -> AsyncIterator[tuple[KVStore, Server]]:
    scripted = Server(script)
    listener = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    store = await open_store(StoreURL.parse(f"mongodb://127.0.0.1:{port}"), clock=ManualClock(1_000))
    try:
        yield store, scripted
    finally:
        await store.close()
        listener.close()
        await listener.wait_closed()


def deadline(seconds: float = 10.0) -> float:
    return asyncio.get_running_loop().time() + seconds


def put(key: bytes, millis: int, dataset: Dataset = LATEST, *, expires_at: int = 0) -> PutRequest:
    return PutRequest(dataset, key, b"v%d" % millis, millis, b"n", expires_at, replayable=True)


def kinds(results: list[KVError | None]) -> list[type | None]:
    return [None if result is None else type(result) for result in results]


async def test_a_batch_is_one_command_and_a_write_that_lost_is_done() -> None:
    script: dict[str, Answer] = {"update": lambda _: refused((1, 11000)), "find": lambda _: found({"_id": "D_BATCH/b", "m": 9, "v": b""})}
    async with opened(**script) as (store, server):
        assert await store.multi_put([put(b"a", 5), put(b"b", 5), put(b"c", 5)], deadline=deadline()) == [None] * 3
        update, find = server.commands
        assert [operation["q"]["_id"] for operation in update["updates"]] == ["D_BATCH/a", "D_BATCH/b", "D_BATCH/c"]
        assert update["writeConcern"] == {"w": "majority", "j": True}
        assert not update["ordered"]
        assert find["filter"]["_id"] == {"$in": ["D_BATCH/b"]}


async def test_a_first_write_that_met_another_is_written_again_until_it_wins_or_loses() -> None:
    replies = iter([refused((0, 11000), (1, 11000)), refused((0, 11000)), APPLIED])
    reads = iter([found({"_id": "D_BATCH/a", "m": 9, "v": b""}), found({"_id": "D_BATCH/b", "m": 5, "v": b""})])
    async with opened(update=lambda _: next(replies), find=lambda _: next(reads)) as (store, server):
        assert await store.multi_put([put(b"a", 5), put(b"b", 5)], deadline=deadline()) == [None] * 2
        written = [[operation["q"]["_id"] for operation in command["updates"]] for command in server.commands if "update" in command]
        assert written == [["D_BATCH/a", "D_BATCH/b"], ["D_BATCH/b"], ["D_BATCH/b"]]


async def test_a_write_that_never_wins_nor_loses_is_given_up_and_was_not_applied() -> None:
    async with opened(update=lambda _: refused((0, 11000)), find=lambda _: found()) as (store, server):
        assert kinds(await store.multi_put([put(b"a", 5)], deadline=deadline())) == [Unavailable]
        assert len(server.commands) == 2 * CONTESTED_ROUNDS_MAX


async def test_a_contested_write_that_cannot_be_settled_was_not_applied() -> None:
    async with opened(update=lambda _: refused((0, 11000)), find=lambda _: None) as (store, _):
        assert kinds(await store.multi_put([put(b"a", 5), put(b"b", 5)], deadline=deadline())) == [Unavailable, None]


async def test_each_operation_has_its_own_error() -> None:
    replies = refused((0, 121), (2, 16500), (3, 10334))
    async with opened(update=lambda _: replies) as (store, _):
        results = await store.multi_put([put(key, 5) for key in (b"a", b"b", b"c", b"d")], deadline=deadline())
        assert kinds(results) == [FailedPrecondition, None, Throttled, InvalidRequest]


async def test_what_too_few_members_confirmed_is_unknown_and_what_was_refused_is_not() -> None:
    reply = refused((1, 121)) | {"writeConcernError": {"code": 64, "errmsg": ""}}
    async with opened(insert=lambda _: reply) as (store, _):
        results = await store.multi_put([put(key, 5, TIMED) for key in (b"a", b"b")], deadline=deadline())
        assert kinds(results) == [WriteOutcomeUnknown, FailedPrecondition]


async def test_after_a_broken_connection_the_sent_command_is_unknown_and_the_others_are_not_sent() -> None:
    async with opened(insert=lambda _: None) as (store, server):
        results = await store.multi_put([put(b"%d" % n, 5, TIMED) for n in range(1500)], deadline=deadline())
        assert kinds(results) == [WriteOutcomeUnknown] * 1000 + [Unavailable] * 500
        assert len(server.commands) == 1


async def test_a_command_that_the_engine_refuses_is_certainly_not_applied() -> None:
    refusal = {"ok": 0.0, "code": 10107, "errmsg": "not primary"}
    async with opened(insert=lambda _: refusal) as (store, _):
        assert kinds(await store.multi_put([put(b"a", 5, TIMED)], deadline=deadline())) == [Unavailable]


async def test_a_timed_value_that_is_there_is_written_again_only_where_it_could_have_expired() -> None:
    async with opened(insert=lambda _: refused((0, 11000), (1, 11000)), update=lambda _: refused((0, 11000))) as (store, server):
        puts = [put(b"a", 5, TIMED), put(b"b", 5, TIMED, expires_at=2_000), put(b"c", 5, TIMED)]
        assert await store.multi_put(puts, deadline=deadline()) == [None] * 3
        (update,) = [command for command in server.commands if "update" in command]
        assert [operation["q"]["k"] for operation in update["updates"]] == ["D_STREAMING/b"]


async def test_a_call_of_both_kinds_and_many_keys_answers_in_order() -> None:
    def find(command: Document) -> Document:
        field = "k" if command["find"] == "timed" else "_id"
        return found(*({field: name, "m": 5, "n": b"", "v": name.encode()} for name in command["filter"][field]["$in"]))

    async with opened(find=find) as (store, server):
        requests = [(dataset, b"%d" % n, 0) for n in range(1200) for dataset in (LATEST, TIMED)]
        results = await store.multi_get(requests, deadline=deadline())
        assert results == [f"{dataset.name}/{int(key)}".encode() for dataset, key, _ in requests]
        assert sorted(
            (command["find"], len(command["filter"]["_id" if command["find"] == "latest" else "k"]["$in"])) for command in server.commands
        ) == [
            ("latest", 200),
            ("latest", 1000),
            ("timed", 200),
            ("timed", 1000),
        ]


async def test_a_part_of_a_read_that_fails_leaves_the_other_parts_whole() -> None:
    def find(command: Document) -> Document:
        return {"ok": 0.0, "code": 13, "errmsg": ""} if command["find"] == "timed" else found({"_id": "D_BATCH/a", "m": 5, "v": b"v"})

    async with opened(find=find) as (store, _):
        results = await store.multi_get([(TIMED, b"a", 0), (LATEST, b"a", 0), (LATEST, b"b", 0)], deadline=deadline())
        assert isinstance(results[0], FailedPrecondition)
        assert results[1:] == [b"v", b""]


async def test_a_deletion_that_did_not_finish_is_unknown() -> None:
    async with opened(delete=lambda _: refused((0, 50))) as (store, _):
        assert kinds(await store.delete([(LATEST, b"a"), (TIMED, b"a")], deadline=deadline())) == [WriteOutcomeUnknown] * 2


@pytest.mark.parametrize("reply", [refused((0, 121)), {"ok": 1.0, "n": 1, "writeConcernError": {"code": 64, "errmsg": ""}}])
async def test_a_dataset_that_was_not_surely_made_is_an_error(reply: Document) -> None:
    async with opened(insert=lambda _: reply) as (store, _):
        with pytest.raises((FailedPrecondition, WriteOutcomeUnknown)) as caught:
            await store.create("D", Properties(Kind.LATEST), deadline=deadline())
        assert not isinstance(caught.value, AlreadyExists)
