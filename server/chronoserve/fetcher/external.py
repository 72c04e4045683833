"""External sources: what a join asks of somebody else's service or code (spec/online-fetch.md §11).

A source has a name, and a handler is registered for it, or a factory that makes one. Whatever a handler does, it touches
only the rows that it was asked for: each gets its answer or the reason why it has none.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from inspect import isawaitable
from time import perf_counter
from types import MappingProxyType
from typing import Any, Protocol, cast, runtime_checkable

import structlog

from chronoserve.fetcher.answers import checked
from chronoserve.kvstore.layers.circuit import Circuit, State
from chronoserve.kvstore.layers.metrics import Histogram
from chronoserve.model.confs import ExternalSource
from chronoserve.model.errors import ExternalFailed, InvalidRequest, KVError
from chronoserve.model.naming import CONTEXTUAL

log = structlog.get_logger("chronoserve.fetcher")

Row = Mapping[str, object]
"""Keys by the names of the source's key schema, values as ``chronoserve.model.boxed`` says."""

Answer = Mapping[str, object] | KVError
"""Values by name, as ``boxed`` says; or why there are none for this row."""

OUTGOING_HEADERS: ContextVar[Mapping[str, str]] = ContextVar("outgoing_headers", default=MappingProxyType({}))
"""Headers that handlers send along with the call under way: the trace that it belongs to."""

TIMEOUT_SECONDS = 0.5
CALLS_MAX = 32
ROWS_PER_CALL_MAX = 1000
ANSWER_SECONDS = 0.01
"""A source is given up this long before the call's deadline, or a tenth of what is left where that is less: the rest of the
answer has to be on its way by then."""
FACTORY_AGAIN_SECONDS = 5.0
"""A factory that made no handler is not asked again for this long."""
LOG_SECONDS = 10.0
"""A source's failures are logged at most this often."""


@runtime_checkable
class Handler(Protocol):
    """What asks one kind of source."""

    async def fetch(self, source: ExternalSource, rows: Sequence[Row], *, deadline: float) -> Sequence[Answer | None]:
        """One answer for each row, in order; None or an error: this row has none. ``deadline``: of the loop's clock.

        It is cancelled when its time is up, and should leave nothing behind then.
        """


Function = Callable[[Sequence[Row]], Awaitable[Sequence[Any]]]
"""The short form of a handler: an ``async def`` of the rows."""

Factory = Callable[[ExternalSource], "Handler | Function"]
"""Makes the handler of a source from its ``factory_params``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Bounds of one source. ``timeout_seconds``: of one call, waiting for a place among ``calls_max`` included."""

    timeout_seconds: float = TIMEOUT_SECONDS
    calls_max: int = CALLS_MAX
    rows_per_call_max: int = ROWS_PER_CALL_MAX


@dataclass(slots=True)
class SourceMetrics:
    """Running totals of one source. ``failures``: rows without an answer, by reason."""

    calls: int = 0
    rows: int = 0
    values: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    seconds: Histogram = field(default_factory=Histogram)


class _Failed(Exception):
    """A call that gave no answers. ``reason``: a word for the metrics."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(slots=True)
class Source:
    """A registered source: its handler and how it has been doing."""

    name: str
    handler: Handler
    policy: Policy
    circuit: Circuit = field(default_factory=Circuit)
    metrics: SourceMetrics = field(default_factory=SourceMetrics)
    _places: asyncio.Semaphore = field(init=False)
    _logged_at: float = field(default=float("-inf"), init=False)

    def __post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.policy.calls_max)

    async def fetch(self, conf: ExternalSource, rows: Sequence[Row], *, deadline: float) -> list[Answer]:
        """One answer for each row, in order. Never raises for what the handler does."""
        size = self.policy.rows_per_call_max
        if len(rows) <= size:
            return await self._call(conf, rows, deadline)
        parts = [rows[at : at + size] for at in range(0, len(rows), size)]
        answers = await asyncio.gather(*(self._call(conf, part, deadline) for part in parts))
        return [answer for part in answers for answer in part]

    async def _call(self, conf: ExternalSource, rows: Sequence[Row], deadline: float) -> list[Answer]:
        began = perf_counter()
        try:
            answers = await self._guarded(conf, rows, deadline)
        except _Failed as failed:
            error = ExternalFailed(f"the external source {self.name} {failed.message}")
            answers = [error] * len(rows)
            self.metrics.failures[failed.reason] += len(rows)
        else:
            self._count(answers)
        self.metrics.calls += 1
        self.metrics.rows += len(rows)
        self.metrics.seconds.observe(perf_counter() - began)
        return answers

    def _count(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            if isinstance(answer, KVError):
                self.metrics.failures["row"] += 1
            else:
                self.metrics.values += len(answer)

    async def _guarded(self, conf: ExternalSource, rows: Sequence[Row], deadline: float) -> list[Answer]:
        """Ask within the source's time, places and circuit. Raises _Failed where the whole call has no answer."""
        began = asyncio.get_running_loop().time()
        until = min(began + self.policy.timeout_seconds, deadline - min(ANSWER_SECONDS, (deadline - began) / 10))
        if until <= began:
            raise _Failed("timeout", "was not asked: the call's time is up")
        probe = self.circuit.state is not State.CLOSED and self._probe(began)
        try:
            answers = await self._asked(conf, rows, until)
        except _Failed as failed:
            self._failed(failed, began, until, probe=probe)
            raise
        except BaseException:
            if probe:
                self.circuit.abandoned()
            raise
        if self.circuit.failures or probe:  # what it says of single rows is no sign of its health
            self.circuit.succeeded()
        return answers

    def _probe(self, now: float) -> bool:
        if self.circuit.wait(now):
            raise _Failed("refused", "has been failing and is not asked for a moment")
        return True

    def _failed(self, failed: _Failed, began: float, until: float, *, probe: bool) -> None:
        now = asyncio.get_running_loop().time()
        if failed.reason == "busy":  # its places are taken by calls that say for themselves how it is doing
            if probe:
                self.circuit.abandoned()
            return
        self.circuit.failed(began=began, now=now, deadline=until, probe=probe)
        if now - self._logged_at >= LOG_SECONDS:
            self._logged_at = now
            log.warning("an external source failed", source=self.name, reason=failed.reason, cause=_cause(failed))

    async def _asked(self, conf: ExternalSource, rows: Sequence[Row], until: float) -> list[Answer]:
        waiting = True
        try:
            async with asyncio.timeout_at(until) as timer, self._places:
                waiting = False
                found = await self.handler.fetch(conf, rows, deadline=until)
        except TimeoutError as late:
            if not timer.expired():
                raise _Failed("error", "failed: TimeoutError") from late
            if waiting:
                raise _Failed("busy", f"has {self.policy.calls_max} calls under way already, and none ended in time") from None
            raise _Failed("timeout", "did not answer in time") from None
        except KVError as failed:
            raise _Failed("error", f"failed: {failed.message}") from failed
        except asyncio.CancelledError as cancelled:
            if _cancelling():
                raise
            raise _Failed("error", "failed: it cancelled itself") from cancelled
        except Exception as raised:
            raise _Failed("error", f"failed: {type(raised).__name__}") from raised
        return self._aligned(found, rows)

    def _aligned(self, found: object, rows: Sequence[Row]) -> list[Answer]:
        """The handler's answers, each checked. Raises _Failed where it is unknown which answer is whose."""
        if not isinstance(found, Sequence) or isinstance(found, (str, bytes)):
            raise _Failed("malformed", f"answered {type(found).__name__} where a list with an answer for each row was due")
        if len(found) != len(rows):
            raise _Failed("malformed", f"gave {len(found)} answers to {len(rows)} rows: which is whose cannot be known")
        return [checked(self.name, answer) for answer in found]


class ExternalRegistry:
    """Handlers and factories by name. ``contextual`` is always there: it answers a row's keys as its values."""

    def __init__(self) -> None:
        self._sources: dict[str, Source] = {}
        self._factories: dict[str, tuple[Factory, Policy]] = {}
        self._refused: dict[str, tuple[float, ExternalFailed]] = {}
        self._wraps: list[Callable[[Handler], Handler]] = []
        self.add(CONTEXTUAL, _contextual)

    @property
    def sources(self) -> Mapping[str, Source]:
        """What is registered, by name; for metrics."""
        return self._sources

    def add(self, name: str, handler: Handler | Function, *, policy: Policy | None = None) -> None:
        """Register the handler of a source.

        Raises:
            InvalidRequest: the name is taken, or this is no handler.
        """
        if name in self._sources:
            raise InvalidRequest(f"the external source {name} has a handler already", field="name")
        self._register(name, _handler(name, handler), policy or Policy())

    def add_factory(self, name: str, factory: Factory, *, policy: Policy | None = None) -> None:
        """Register what makes handlers for sources whose ``factory_name`` is ``name``; ``policy`` is that of each source.

        Raises:
            InvalidRequest: the name is taken, or this cannot be called.
        """
        if name in self._factories:
            raise InvalidRequest(f"the factory {name} is registered already", field="name")
        if not callable(factory):
            raise InvalidRequest(f"the factory {name} is a {type(factory).__name__}, which cannot be called", field="factory")
        self._factories[name] = factory, policy or Policy()

    def wrap(self, wrap: Callable[[Handler], Handler]) -> None:
        """Put something around every handler, those that are registered already and those to come; not around ``contextual``."""
        self._wraps.append(wrap)
        for name, source in self._sources.items():
            if name != CONTEXTUAL:
                source.handler = wrap(source.handler)

    def add_by_factory(self, sources: Iterable[ExternalSource]) -> None:
        """Make the handlers of sources that name a factory and have none yet, ahead of the first request.

        Raises:
            ExternalFailed: a factory is unknown or failed.
        """
        for source in sources:
            if source.factory_name is not None and source.meta_data.name not in self._sources:
                self._make(source)

    async def fetch(self, source: ExternalSource, rows: Sequence[Row], *, deadline: float) -> list[Answer]:
        """One answer for each row, in order. Failures are answers: ``ExternalFailed``, or what the handler said of the row.

        Raises:
            CancelledError: only where the caller was cancelled.
        """
        if not rows:
            return []
        found = self._sources.get(source.meta_data.name)
        if found is None:
            try:
                found = self._made(source)
            except ExternalFailed as error:
                return [error] * len(rows)
        return await found.fetch(source, rows, deadline=deadline)

    async def close(self) -> None:
        """Let go of what the handlers hold: those that have an async ``close`` are closed. Calls under way fail."""
        closing = [close() for each in self._sources.values() if (close := getattr(each.handler, "close", None)) is not None]
        for found in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(found, Exception):
                log.warning("a handler of an external source did not close", cause=_place(found))

    def _made(self, source: ExternalSource) -> Source:
        """The source's handler by its factory. Raises ExternalFailed, the same for a moment, where there is none."""
        name = source.meta_data.name
        now = asyncio.get_running_loop().time()
        if (refused := self._refused.get(name)) is not None and now < refused[0]:
            raise refused[1].with_traceback(None)
        try:
            made = self._make(source)
        except ExternalFailed as error:
            self._refused[name] = now + FACTORY_AGAIN_SECONDS, error
            raise
        self._refused.pop(name, None)
        return made

    def _make(self, source: ExternalSource) -> Source:
        name, factory_name = source.meta_data.name, source.factory_name
        if factory_name is None:
            registered = ", ".join(sorted(self._sources))
            raise ExternalFailed(f"the external source {name} is not registered and names no factory; registered are: {registered}")
        if factory_name not in self._factories:
            registered = ", ".join(sorted(self._factories)) or "none"
            raise ExternalFailed(f"the external source {name} names the factory {factory_name}; registered factories are: {registered}")
        factory, policy = self._factories[factory_name]
        try:
            handler = _handler(name, factory(source))
        except KVError as error:
            raise ExternalFailed(f"the factory {factory_name} made no handler for {name}: {error.message}") from error
        except Exception as raised:
            log.warning("a factory of external sources failed", factory=factory_name, source=name, cause=_place(raised))
            raise ExternalFailed(f"the factory {factory_name} made no handler for {name}: {type(raised).__name__}") from raised
        return self._register(name, handler, policy)

    def _register(self, name: str, handler: Handler, policy: Policy) -> Source:
        for wrap in self._wraps:
            handler = wrap(handler)
        made = self._sources[name] = Source(name, handler, policy)
        return made


@dataclass(frozen=True, slots=True)
class _Function(Handler):
    """A plain async function as a handler."""

    function: Function

    async def fetch(self, source: ExternalSource, rows: Sequence[Row], *, deadline: float) -> Sequence[Answer | None]:
        made = self.function(rows)
        if not isawaitable(made):
            raise ExternalFailed("its handler is no async function")
        return await made


def _handler(name: str, given: object) -> Handler:
    if isinstance(given, Handler):
        return given
    if not callable(given):
        raise InvalidRequest(
            f"the handler of {name} is a {type(given).__name__}: it has to be an async function of a list of rows, or have an async fetch",
            field="handler",
        )
    return _Function(cast("Function", given))


async def _contextual(rows: Sequence[Row]) -> Sequence[Row]:
    return rows


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _cause(failed: _Failed) -> str:
    """What an operator may read of it: our own errors say it themselves."""
    cause = failed.__cause__
    return failed.message if cause is None or isinstance(cause, KVError) else _place(cause)


def _place(raised: BaseException) -> str:
    """The error's type and where it was raised. Not its text: that may quote a key."""
    trace = raised.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(raised).__name__
    return f"{type(raised).__name__} in {trace.tb_frame.f_code.co_qualname}, line {trace.tb_lineno}"
