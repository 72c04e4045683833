"""Pages out of what SCAN answers: too much, too little, or the same again."""

from collections.abc import Sequence
from typing import cast

import msgspec
import pytest

from chronoserve.kvstore.backends.redis.connection import Refusal, Reply
from chronoserve.kvstore.backends.redis.layout import key_prefix
from chronoserve.kvstore.backends.redis.node import Node
from chronoserve.kvstore.backends.redis.scan import COUNT_LEAST, LEFTOVER_KEYS_MAX, Scan
from chronoserve.kvstore.port import GetRequest, GetResult, Page
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import InvalidRequest, Unavailable

DATASET = Dataset("D", Properties(Kind.LATEST))
PREFIX = key_prefix(DATASET)


class FakeNode:
    """A key space of buckets: a SCAN gives whole buckets until it has looked at COUNT keys. Cursors count buckets."""

    def __init__(self, *buckets: Sequence[bytes]) -> None:
        self.buckets = buckets
        self.run_id = b"a" * 40
        self.counts: list[int] = []

    async def ask(self, commands: Sequence[bytes], *, deadline: float) -> list[Reply]:
        words = commands[1].split(b"\r\n")
        at, count = int(words[4]), int(words[-2])
        self.counts.append(count)
        found: list[bytes] = []
        looked_at = 0
        while at < len(self.buckets) and looked_at < count:
            looked_at += max(1, len(self.buckets[at]))
            found += self.buckets[at]
            at += 1
        cursor = b"0" if at == len(self.buckets) else b"%d" % at
        return [b"redis_version:7.2.4\r\nrun_id:%b\r\n" % self.run_id, [cursor, [PREFIX + key for key in found]]]


class Values:
    """A store in which every key has a value of ten bytes, but keys that begin with ``x`` have expired."""

    async def get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        return [b"" if key.startswith(b"x") else Unavailable("away") if key.startswith(b"!") else b"0123456789" for _, key, _ in requests]


async def page(nodes: dict[str, FakeNode], token: bytes = b"", keys_max: int = 1000, bytes_max: int = 1 << 20) -> Page:
    scan = Scan(Values().get, cast("dict[str, Node]", nodes), DATASET, keys_max=keys_max, bytes_max=bytes_max, deadline=0.0)
    return await scan.page(token)


async def all_keys(nodes: dict[str, FakeNode], **bounds: int) -> list[bytes]:
    found: list[bytes] = []
    token = b""
    for _ in range(10_000):
        answer = await page(nodes, token, **bounds)
        assert len(answer.entries) <= bounds.get("keys_max", 1000)
        assert answer.entries or not answer.next_token
        found += [key for key, _ in answer.entries]
        token = answer.next_token
        if not token:
            return found
    raise AssertionError("the scan does not end")


def numbered(start: int, end: int) -> list[bytes]:
    return [b"%05d" % n for n in range(start, end)]


@pytest.mark.parametrize("bounds", [{"keys_max": 1}, {"keys_max": 7}, {"bytes_max": 1}, {"bytes_max": 100}, {}])
async def test_every_key_of_every_node_comes_once(bounds: dict[str, int]) -> None:
    nodes = {
        "h:10": FakeNode(numbered(0, 30), [], numbered(30, 31)),
        "h:9": FakeNode([b"x1"], numbered(31, 90), [b"x2"]),
        "i:1": FakeNode([], []),
    }
    assert sorted(await all_keys(nodes, **bounds)) == numbered(0, 90)


async def test_a_key_that_scan_repeats_is_given_once() -> None:
    node = FakeNode(numbered(0, 10), numbered(5, 12), numbered(0, 2))
    assert await all_keys({"": node}) == numbered(0, 12)


async def test_a_rare_dataset_is_searched_in_growing_steps() -> None:
    node = FakeNode(*([[]] * 20_000), [b"1"])
    assert await all_keys({"": node}, keys_max=10) == [b"1"]
    assert len(node.counts) < 20


async def test_a_dense_stretch_after_a_rare_one_does_not_flood_the_token() -> None:
    node = FakeNode(*([[]] * 5000), *([key] for key in numbered(0, 5000)))
    answer = await page({"": node}, keys_max=10)
    assert len(answer.entries) == 10
    assert len(msgspec.msgpack.decode(answer.next_token)[4]) <= LEFTOVER_KEYS_MAX
    assert COUNT_LEAST in node.counts[1:]


async def test_a_restarted_server_ends_the_scan() -> None:
    node = FakeNode(*([key] for key in numbered(0, 100)))
    token = (await page({"": node}, keys_max=10)).next_token
    node.run_id = b"b" * 40
    with pytest.raises(InvalidRequest, match="begin the scan again"):
        await page({"": node}, token)
    with pytest.raises(InvalidRequest, match="begin the scan again"):
        await page({"other": node}, token)


@pytest.mark.parametrize(
    "token", [b"\x00", b"\xff" * 99, msgspec.msgpack.encode([1, "", "", -1, []]), msgspec.msgpack.encode([2, "", "", 0, []])]
)
async def test_a_made_up_token_is_refused(token: bytes) -> None:
    with pytest.raises(InvalidRequest):
        await page({"": FakeNode()}, token)


async def test_an_error_is_not_a_gap_in_the_page() -> None:
    with pytest.raises(Unavailable):
        await page({"": FakeNode([b"1", b"!2"])})
    node = FakeNode()

    async def refuse(commands: Sequence[bytes], *, deadline: float) -> list[Reply]:
        return [Refusal("NOPERM info"), Refusal("LOADING")]

    node.ask = refuse  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await page({"": node})
