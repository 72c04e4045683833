"""Metadata in memory: ages, one loader a key, the last good kept, failures short-lived (spec/online-fetch.md §5)."""

import asyncio
from collections.abc import Sequence

import pytest

from chronoserve.fetcher import kept
from chronoserve.fetcher.kept import GONE_MILLIS, LOAD_SECONDS, STALE_SECONDS, Kept, Loaded
from chronoserve.model.errors import DeadlinePassed, Internal, KVError, Unavailable, UnknownConf
from chronoserve.testing.clock import ManualClock
from tests.virtual_time import in_virtual_time, turns

FRESH, FAILURE = 1_000, 2_000


class Source:
    """What is stored, by key; the loads that were made of it."""

    def __init__(self) -> None:
        self.stored: dict[str, str] = {}
        self.failure: KVError | None = None
        self.loads: list[list[str]] = []
        self.gate: asyncio.Event | None = None
        self.cancelled = 0
        self.clock = ManualClock(10_000_000)
        self.kept: Kept[str] = Kept(self.load, self.clock, fresh_millis=FRESH, stale_factor=2.0, failure_millis=FAILURE, entries_max=100)

    async def load(self, known: Sequence[tuple[str, bytes]], deadline: float) -> list[Loaded[str]]:
        self.loads.append([key for key, _ in known])
        if self.gate is not None:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if self.failure is not None:
            raise self.failure
        return [self.loaded(key, digest) for key, digest in known]

    def loaded(self, key: str, digest: bytes) -> Loaded[str]:
        found = self.stored.get(key)
        if found is None:
            return Loaded(UnknownConf(f"no {key}"))
        return Loaded(None, digest) if digest == found.encode() else Loaded("".join(found), found.encode())

    async def get(self, *keys: str, seconds: float = 1.0) -> list[str | KVError]:
        return await self.kept.get(keys, deadline=asyncio.get_running_loop().time() + seconds)


@in_virtual_time
async def test_absent_keys_are_loaded_together_and_once() -> None:
    source = Source()
    source.stored = {"a": "1", "b": "2"}
    assert await source.get("a", "b", "a") == ["1", "2", "1"]
    assert await source.get("b") == ["2"]
    assert source.loads == [["a", "b"]]


@in_virtual_time
async def test_many_callers_share_one_load() -> None:
    source = Source()
    source.stored, source.gate = {"a": "1"}, asyncio.Event()
    callers = [asyncio.create_task(source.get("a")) for _ in range(50)]
    await turns(3)
    source.gate.set()
    assert await asyncio.gather(*callers) == [["1"]] * 50
    assert source.loads == [["a"]]


@in_virtual_time
async def test_a_due_value_is_used_and_reloaded_meanwhile() -> None:
    source = Source()
    source.stored = {"a": "1"}
    await source.get("a")
    source.stored = {"a": "2"}
    source.clock.advance(FRESH)
    assert await source.get("a") == ["1"]
    await turns(3)
    assert await source.get("a") == ["2"]
    assert source.loads == [["a"], ["a"]]


@in_virtual_time
async def test_a_stale_value_is_reloaded_before_it_is_used() -> None:
    source = Source()
    source.stored = {"a": "1"}
    await source.get("a")
    source.stored = {"a": "2"}
    source.clock.advance(2 * FRESH)
    assert await source.get("a") == ["2"]


@in_virtual_time
async def test_what_has_not_changed_stays_the_same_object() -> None:
    source = Source()
    source.stored = {"a": "text"}
    (first,) = await source.get("a")
    source.clock.advance(2 * FRESH)
    (second,) = await source.get("a")
    assert len(source.loads) == 2
    assert first is second


@in_virtual_time
async def test_the_last_good_is_kept_while_loads_fail() -> None:
    source = Source()
    source.stored = {"a": "1"}
    await source.get("a")
    source.failure = Unavailable("away")
    for _ in range(20):
        source.clock.advance(2 * FAILURE)
        assert await source.get("a") == ["1"]
    source.failure, source.stored = None, {"a": "2"}
    source.clock.advance(2 * FAILURE)
    assert await source.get("a") == ["2"]


@in_virtual_time
async def test_a_failure_is_answered_from_memory_for_a_moment_only() -> None:
    source = Source()
    source.failure = Unavailable("away")
    for _ in range(5):
        (error,) = await source.get("a")
        assert isinstance(error, Unavailable)
    assert len(source.loads) == 1
    source.failure, source.stored = None, {"a": "1"}
    source.clock.advance(FAILURE)
    assert await source.get("a") == ["1"]


@in_virtual_time
async def test_what_is_gone_is_kept_over_the_gap_of_a_load_and_then_dropped() -> None:
    source = Source()
    source.stored = {"a": "1"}
    await source.get("a")
    source.stored = {}
    seen: list[bool] = []
    for _ in range(0, GONE_MILLIS + 2 * FAILURE, FAILURE):
        source.clock.advance(FAILURE)
        (found,) = await source.get("a")
        await turns(3)
        seen.append(found == "1")
    assert seen[0]
    assert not seen[-1]
    source.stored = {"a": "2"}
    source.clock.advance(FAILURE)
    assert await source.get("a") == ["2"]


@in_virtual_time
async def test_a_load_that_hangs_ends_with_the_deadline_and_is_not_remembered() -> None:
    source = Source()
    source.stored, source.gate = {"a": "1"}, asyncio.Event()
    (error,) = await source.get("a", seconds=0.5)
    assert isinstance(error, DeadlinePassed)
    source.gate.set()
    await turns(3)
    assert await source.get("a") == ["1"]
    assert source.loads == [["a"]]


@in_virtual_time
async def test_a_stale_value_does_not_wait_long_for_a_store_that_hangs() -> None:
    source = Source()
    source.stored = {"a": "1"}
    await source.get("a")
    source.gate = asyncio.Event()
    source.clock.advance(10 * FRESH)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await source.get("a") == ["1"]
    assert loop.time() - began == pytest.approx(STALE_SECONDS)
    assert await source.get("a") == ["1"]
    assert loop.time() - began == pytest.approx(STALE_SECONDS)
    source.gate.set()
    await turns(3)


@in_virtual_time
async def test_the_last_caller_who_is_cancelled_takes_the_load_along() -> None:
    source = Source()
    source.gate = asyncio.Event()
    callers = [asyncio.create_task(source.get("a")) for _ in range(2)]
    await turns(3)
    callers[0].cancel()
    await turns(3)
    assert source.cancelled == 0
    callers[1].cancel()
    await turns(3)
    assert source.cancelled == 1
    assert all(caller.cancelled() for caller in callers)


@in_virtual_time
async def test_a_hint_reloads_what_is_old_enough() -> None:
    source = Source()
    source.stored = {"a": "1"}
    await source.get("a")
    source.stored = {"a": "2"}
    source.kept.hint("a", 500)
    await turns(3)
    assert len(source.loads) == 1
    source.clock.advance(500)
    source.kept.hint("a", 500)
    source.kept.hint("a", 500)
    source.kept.hint("unknown", 500)
    await turns(3)
    assert source.loads == [["a"], ["a"]]
    assert await source.get("a") == ["2"]


@in_virtual_time
async def test_a_clock_that_is_set_back_reloads() -> None:
    source = Source()
    source.stored = {"a": "1"}
    await source.get("a")
    source.clock.advance(-3_600_000)
    await source.get("a")
    await turns(3)
    assert len(source.loads) == 2


@in_virtual_time
async def test_entries_are_bounded_and_those_in_use_stay() -> None:
    source = Source()
    source.stored = {"used": "1"}
    await source.get("used")
    for at in range(500):
        if at % 40 == 39:
            source.clock.advance(2 * FRESH)
            assert await source.get("used") == ["1"]
        await source.get(f"nobody-{at}")
    assert len(source.kept) == 100
    assert source.kept.entry("used") is not None


@in_virtual_time
async def test_reloads_are_spread_in_time() -> None:
    source = Source()
    source.stored = {f"k{at}": "1" for at in range(100)}
    await source.get(*source.stored)
    dues = {entry.due_at for key in source.stored if (entry := source.kept.entry(key)) is not None}
    assert len(dues) > 50
    assert all(0.75 * FRESH <= due - source.clock() <= FRESH for due in dues)


@in_virtual_time
async def test_closing_ends_what_is_under_way() -> None:
    source = Source()
    source.gate = asyncio.Event()
    caller = asyncio.create_task(source.get("a"))
    await turns(3)
    await source.kept.close()
    await turns(3)
    assert source.cancelled == 1
    (error,) = await caller
    assert isinstance(error, DeadlinePassed)


@in_virtual_time
async def test_a_load_that_never_ends_is_given_up() -> None:
    source = Source()
    source.stored, source.gate = {"a": "1"}, asyncio.Event()
    (error,) = await source.get("a", seconds=2 * LOAD_SECONDS)
    assert isinstance(error, Unavailable)
    assert source.cancelled == 1
    source.gate = None
    source.clock.advance(FAILURE)
    assert await source.get("a") == ["1"]


@in_virtual_time
async def test_a_loader_with_a_defect_is_an_error_and_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source()
    logged: list[str] = []
    monkeypatch.setattr(kept.log, "exception", logged.append)
    source.stored = {"a": "1"}
    monkeypatch.setattr(source, "loaded", lambda *_: 1 // 0)
    (error,) = await source.get("a")
    assert isinstance(error, Internal)
    assert len(logged) == 1
    monkeypatch.undo()
    source.clock.advance(FAILURE)
    assert await source.get("a") == ["1"]
