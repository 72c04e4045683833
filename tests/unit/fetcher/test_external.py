"""External registry: every row gets its answer or its own reason, whatever a handler does."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoserve.fetcher.external import ANSWER_SECONDS, FACTORY_AGAIN_SECONDS, Answer, ExternalRegistry, Policy, Row
from chronoserve.kvstore.layers.circuit import FAILURES_TO_OPEN, OPEN_SECONDS, State
from chronoserve.model.boxed import Int
from chronoserve.model.confs import ExternalSource
from chronoserve.model.errors import CorruptValue, ExternalFailed, InvalidRequest, KVError, UnknownConf
from tests.unit.fetcher.sources import source
from tests.virtual_time import in_virtual_time, now, turns, until

Rows = Sequence[Mapping[str, object]]
ROWS: Rows = [{"user": "a"}, {"user": "b"}, {"user": "c"}]
SECONDS = 1.0


async def lengths(rows: Rows) -> list[dict[str, object]]:
    return [{"length": len(str(row["user"]))} for row in rows]


def registry(handler: Any = lengths, **policy: Any) -> ExternalRegistry:
    made = ExternalRegistry()
    made.add("geo", handler, policy=Policy(**policy))
    return made


async def ask(registry: ExternalRegistry, rows: Rows = ROWS, of: ExternalSource | None = None, seconds: float = SECONDS) -> list[Answer]:
    return await registry.fetch(of or source(), rows, deadline=now() + seconds)


def messages(answers: Sequence[Answer]) -> list[str]:
    assert all(type(answer) is ExternalFailed for answer in answers), answers
    return [answer.message for answer in answers if isinstance(answer, KVError)]


@in_virtual_time
async def test_each_row_gets_its_answer_in_order() -> None:
    assert await ask(registry()) == [{"length": 1}] * 3
    assert await ask(registry(), []) == []


@in_virtual_time
async def test_contextual_echoes_the_keys() -> None:
    rows = [{"a": Int(1), "b": None}, {}]
    assert await ask(ExternalRegistry(), rows, source("contextual")) == rows


def raising(error: BaseException) -> Callable[[Rows], Awaitable[Any]]:
    async def handler(rows: Rows) -> Any:
        raise error

    return handler


def answering(answer: object) -> Callable[[Rows], Awaitable[Any]]:
    async def handler(rows: Rows) -> Any:
        return answer

    return handler


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (raising(ValueError("user=secret")), "failed: ValueError"),
        (raising(TimeoutError()), "failed: TimeoutError"),
        (raising(asyncio.CancelledError()), "failed: it cancelled itself"),
        (raising(ExternalFailed("it is away")), "failed: it is away"),
        (answering(None), "answered NoneType where a list with an answer for each row was due"),
        (answering({"a": 1}), "answered dict where"),
        (answering("abc"), "answered str where"),
        (answering([{}, {}]), "gave 2 answers to 3 rows"),
        (lambda rows: [{}] * 3, "failed: its handler is no async function"),
    ],
)
@in_virtual_time
async def test_a_handler_that_fails_costs_each_row_its_answer_with_the_reason(handler: Any, said: str) -> None:
    found = messages(await ask(registry(handler)))
    assert len(found) == 3
    assert all(message.startswith(f"the external source geo {said}") for message in found), found
    assert not any("secret" in message for message in found)


class Foreign(KVError):
    """An error that the wire has no status for."""


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "gave no answer for this row"),
        (ValueError("user=secret"), "failed for this row: ValueError"),
        (7, "answered int where values by name were due"),
        ({1: 2}, "answered a name that is a int"),
        ({"a": 1 << 63}, "answered a number that does not fit into 64 bits"),
        ({"a": object()}, "answered a value of the Python type object"),
        ({"a": [{"b": {1, 2}}]}, "answered a value of the Python type set"),
        ({"a": {"b": {3: 1}}}, "answered a name that is a int"),
    ],
)
@in_virtual_time
async def test_a_bad_answer_touches_its_own_row(answer: object, said: str) -> None:
    good = {"a": [1, 2.0, "x", b"y", True, None, {"deep": (1,)}]}
    first, middle, last = await ask(registry(answering([good, answer, good])))
    assert (first, last) == (good, good)
    assert messages([middle])[0].startswith(f"the external source geo {said}")


@in_virtual_time
async def test_what_nests_without_end_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    (answer,) = await ask(registry(answering([{"a": endless}])), ROWS[:1])
    assert "nested more than" in messages([answer])[0]


@in_virtual_time
async def test_errors_of_single_rows_are_passed_on_in_the_classes_that_the_wire_knows() -> None:
    unknown = UnknownConf("no such user")
    answers = await ask(registry(answering([unknown, Foreign("odd"), {}])))
    assert answers[0] is unknown
    assert messages(answers[1:2]) == ["odd"]
    assert answers[2] == {}


async def silent(rows: Rows) -> Any:
    await asyncio.sleep(3600)


@in_virtual_time
async def test_a_source_has_its_own_time_and_no_more_than_the_call() -> None:
    began = now()
    assert "did not answer in time" in messages(await ask(registry(silent, timeout_seconds=0.3)))[0]
    assert now() - began == pytest.approx(0.3)
    began = now()
    assert "did not answer in time" in messages(await ask(registry(silent, timeout_seconds=30)))[0]
    assert now() - began == pytest.approx(SECONDS - ANSWER_SECONDS)


@in_virtual_time
async def test_a_call_without_time_asks_nobody() -> None:
    asked = registry(raising(AssertionError()))
    assert "the call's time is up" in messages(await ask(asked, seconds=0.0))[0]
    assert asked.sources["geo"].circuit.failures == 0


@in_virtual_time
async def test_a_handler_hears_its_deadline_and_its_source() -> None:
    heard: list[Any] = []

    class Careful:
        async def fetch(self, source: ExternalSource, rows: Sequence[Row], *, deadline: float) -> list[Answer]:
            heard.append((source.meta_data.name, deadline - now()))
            return [{}] * len(rows)

    assert await ask(registry(Careful(), timeout_seconds=0.2)) == [{}] * 3
    assert heard == [("geo", pytest.approx(0.2))]


@in_virtual_time
async def test_calls_beyond_the_limit_wait_and_are_told_when_none_ends() -> None:
    under_way = 0
    most = 0

    async def handler(rows: Rows) -> list[dict[str, object]]:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.2)
        under_way -= 1
        return [{}] * len(rows)

    asked = registry(handler, calls_max=2, timeout_seconds=0.5)
    answers = await asyncio.gather(*(ask(asked) for _ in range(6)))
    assert most == 2
    assert [isinstance(each[0], KVError) for each in answers] == [False] * 4 + [True] * 2
    assert asked.sources["geo"].circuit.state is State.CLOSED
    busy = registry(silent, calls_max=1, timeout_seconds=0.5)
    first = asyncio.create_task(ask(busy))
    await turns(3)
    second = asyncio.create_task(ask(busy, seconds=0.3))
    assert "has 1 calls under way already" in messages(await second)[0]
    assert busy.sources["geo"].circuit.failures == 0
    await first


@in_virtual_time
async def test_large_batches_are_split_and_fail_apart() -> None:
    async def handler(rows: Rows) -> list[dict[str, object]]:
        if {"user": 3} in rows:
            raise ValueError
        return [dict(row) for row in rows]

    rows = [{"user": each} for each in range(7)]
    answers = await ask(registry(handler, rows_per_call_max=2), rows)
    assert [answer if isinstance(answer, Mapping) else None for answer in answers] == [*rows[:2], None, None, *rows[4:]]


@in_virtual_time
async def test_a_failing_source_is_left_alone_for_a_moment_then_tried_by_one_call() -> None:
    calls = 0
    broken = True

    async def handler(rows: Rows) -> list[dict[str, object]]:
        nonlocal calls
        calls += 1
        if broken:
            raise ValueError
        return [{}] * len(rows)

    asked = registry(handler)
    for _ in range(FAILURES_TO_OPEN + 3):
        messages(await ask(asked))
    assert calls == FAILURES_TO_OPEN
    assert asked.sources["geo"].metrics.failures == {"error": 3 * FAILURES_TO_OPEN, "refused": 9}
    await asyncio.sleep(OPEN_SECONDS)
    broken = False
    assert await ask(asked) == [{}] * 3
    assert asked.sources["geo"].circuit.state is State.CLOSED


@in_virtual_time
async def test_rows_that_fail_are_no_sign_of_the_source_s_health() -> None:
    asked = registry(answering([ExternalFailed("no such user")]))
    for _ in range(FAILURES_TO_OPEN + 1):
        await ask(asked, ROWS[:1])
    assert asked.sources["geo"].circuit.failures == 0


@in_virtual_time
async def test_cancelling_the_call_cancels_the_handler_and_counts_against_nobody() -> None:
    cancelled = False

    async def handler(rows: Rows) -> Any:
        nonlocal cancelled
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled = True
            raise

    asked = registry(handler)
    for part in (3, 1):
        cancelled = False
        asked.sources["geo"].policy = Policy(rows_per_call_max=part)
        call = asyncio.create_task(ask(asked))
        await turns(4)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert cancelled
    assert asked.sources["geo"].circuit.failures == 0


@in_virtual_time
async def test_a_probe_that_is_cancelled_lets_the_next_call_probe() -> None:
    script: list[Any] = []

    async def handler(rows: Rows) -> Any:
        return await script.pop(0)(rows)

    asked = registry(handler)
    script.extend([raising(ValueError())] * FAILURES_TO_OPEN)
    for _ in range(FAILURES_TO_OPEN):
        await ask(asked)
    await asyncio.sleep(OPEN_SECONDS)
    script.append(silent)
    probe = asyncio.create_task(ask(asked))
    await until(lambda: not script)
    assert "not asked for a moment" in messages(await ask(asked))[0]
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    script.append(lengths)
    assert await ask(asked) == [{"length": 1}] * 3


@in_virtual_time
async def test_factories_make_the_handlers_of_sources_on_first_use() -> None:
    made: list[object] = []

    def factory(of: ExternalSource) -> Any:
        made.append(of.factory_params)

        async def handler(rows: Rows) -> list[dict[str, object]]:
            return [{"from": of.meta_data.name}] * len(rows)

        return handler

    asked = ExternalRegistry()
    asked.add_factory("http", factory)
    one, two = source("one", factory="http", params={"url": "u"}), source("two", factory="http")
    for _ in range(2):
        assert await ask(asked, of=one) == [{"from": "one"}] * 3
    assert made == [{"url": "u"}]
    asked.add_by_factory([one, two, source("geo")])
    assert made == [{"url": "u"}, None]
    assert await ask(asked, of=two) == [{"from": "two"}] * 3


@in_virtual_time
async def test_a_source_without_a_handler_says_what_there_is() -> None:
    asked = registry()
    assert (
        messages(await ask(asked, of=source("other")))
        == ["the external source other is not registered and names no factory; registered are: contextual, geo"] * 3
    )
    said = messages(await ask(asked, of=source("third", factory="http")))[0]
    assert said == "the external source third names the factory http; registered factories are: none"
    with pytest.raises(ExternalFailed, match="registered factories are: none"):
        asked.add_by_factory([source("fourth", factory="http")])


@pytest.mark.parametrize(
    ("given", "said"),
    [(ValueError("secret"), "ValueError"), (InvalidRequest("no url"), "no url"), (7, "the handler of made is a int")],
)
@in_virtual_time
async def test_a_factory_that_fails_is_asked_again_after_a_while(given: object, said: str) -> None:
    results: list[object] = [given, lengths]

    def factory(_: ExternalSource) -> Any:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    asked = ExternalRegistry()
    asked.add_factory("http", factory)
    made = source("made", factory="http")
    for _ in range(2):
        (said_now, *_) = messages(await ask(asked, of=made))
        assert said_now.startswith(f"the factory http made no handler for made: {said}")
        assert "secret" not in said_now
    await asyncio.sleep(FACTORY_AGAIN_SECONDS)
    assert await ask(asked, of=made) == [{"length": 1}] * 3


def test_names_are_taken_once_and_handlers_are_callable() -> None:
    asked = registry()
    with pytest.raises(InvalidRequest, match="geo has a handler already"):
        asked.add("geo", lengths)
    with pytest.raises(InvalidRequest, match="contextual has a handler already"):
        asked.add("contextual", lengths)
    with pytest.raises(InvalidRequest, match="the handler of two is a str"):
        asked.add("two", "lengths")  # type: ignore[arg-type]
    asked.add_factory("http", lambda _: lengths)
    with pytest.raises(InvalidRequest, match="registered already"):
        asked.add_factory("http", lambda _: lengths)
    with pytest.raises(InvalidRequest, match="cannot be called"):
        asked.add_factory("other", "x")  # type: ignore[arg-type]


ANSWERS = st.lists(
    st.sampled_from([None, {"a": 1}, {"a": Int(1)}, {}, 5, ValueError(), ExternalFailed("x"), CorruptValue("y"), {"a": {1}}]), max_size=12
)


@given(ANSWERS, st.integers(1, 5))
def test_answer_i_belongs_to_row_i(script: list[Any], size: int) -> None:
    """Whatever mixture of answers a handler gives, and however the batch is split (R12)."""

    async def handler(rows: Rows) -> list[Any]:
        return [script[int(str(row["at"]))] for row in rows]

    @in_virtual_time
    async def check() -> None:
        rows = [{"at": at} for at in range(len(script))]
        answers = await ask(registry(handler, rows_per_call_max=size), rows)
        assert len(answers) == len(rows)
        for answer, scripted in zip(answers, script, strict=True):
            if scripted in ({"a": 1}, {}) or type(scripted) in (ExternalFailed, CorruptValue):
                assert answer is scripted
            else:
                assert type(answer) is ExternalFailed

    check()
