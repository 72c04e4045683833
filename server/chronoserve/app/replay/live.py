"""Live traffic: the same rows asked of a feature service (a JVM fetcher's, or ours) and of our side, and compared."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

import aiohttp
import msgspec

from chronoserve.app.connection import Place
from chronoserve.app.replay.compare import Difference
from chronoserve.app.replay.faces import Answers, Response
from chronoserve.app.replay.http_face import FeatureService
from chronoserve.app.replay.outcome import Outcome
from chronoserve.app.replay.worlds import response_differences
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.features import FeatureRequest
from chronoserve.wire.http_features import boxed

ROWS_PER_CALL = 100
SECONDS = 60.0

Compare = Callable[[Iterable[bytes]], AsyncIterator[Outcome]]


class Side(Protocol):
    """Who is asked; as ``Face.fetch``."""

    async def fetch(self, api: str, requests: Sequence[FeatureRequest], guide: Sequence[Response | None]) -> Answers: ...


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    """A line of the file."""

    name: str
    keys: dict[str, Any]


@asynccontextmanager
async def comparison(url: str, place: Place, http_url: str | None, *, group_bys: bool) -> AsyncIterator[Compare]:
    """Compares rows with what the service at ``url`` answers; ours is ``http_url``, or else the server or store of ``place``."""
    api = "fetchGroupBys" if group_bys else "fetchJoin"
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS)))
        theirs = FeatureService(url, session)
        ours: Side = FeatureService(http_url, session) if http_url else await _side(place, stack)

        async def compare(rows: Iterable[bytes]) -> AsyncIterator[Outcome]:
            for batch in _batches(rows):
                for outcome in await _compare(api, theirs, ours, batch):
                    yield outcome

        yield compare


async def _side(place: Place, stack: AsyncExitStack) -> Side:
    """A running server over gRPC, or a fetcher in this process on a store."""
    if place.store is None:
        from chronoserve.app.replay.grpc_face import GrpcAnswers

        return await stack.enter_async_context(GrpcAnswers.to(place.server))
    from chronoserve.app.replay.memory_face import FetcherAnswers

    return await stack.enter_async_context(FetcherAnswers.on(place.store))


async def _compare(api: str, theirs: FeatureService, ours: Side, batch: Sequence[tuple[int, FeatureRequest]]) -> list[Outcome]:
    requests = [request for _, request in batch]
    found = await ours.fetch(api, requests, [None] * len(requests))
    guide: Sequence[Response | None] = found.responses if found.call_error is None else [None] * len(requests)
    expected = await theirs.fetch(api, requests, guide)
    if expected.call_error is not None or found.call_error is not None:
        return [_failed(line, request, expected, found) for line, request in batch]
    return [_outcome(line, *each) for (line, _), *each in zip(batch, expected.responses, found.responses, strict=True)]


def _outcome(line: int, expected: Response, got: Response) -> Outcome:
    differences = list(response_differences(expected, got, "response", {}))
    return Outcome(None, f"line {line}", {"responses": [got]}, differences, [None] * len(differences))


def _failed(line: int, request: FeatureRequest, expected: Answers, got: Answers) -> Outcome:
    """Calls that failed on both sides are equal: their texts are each side's own."""
    sides = [answers.call_error or "an answer" for answers in (expected, got)]
    same = expected.call_error is not None and got.call_error is not None
    differences = [] if same else [Difference(f"call for {request.name}", *sides)]
    return Outcome(None, f"line {line}", got.record(), differences, [None] * len(differences))


def _batches(rows: Iterable[bytes]) -> Iterator[list[tuple[int, FeatureRequest]]]:
    """Rows of one name together, with the numbers of their lines, in order."""
    batch: list[tuple[int, FeatureRequest]] = []
    for number, line in enumerate(rows, 1):
        if not line.strip():
            continue
        request = _request(number, line)
        if batch and (batch[0][1].name != request.name or len(batch) == ROWS_PER_CALL):
            yield batch
            batch = []
        batch.append((number, request))
    if batch:
        yield batch


def _request(number: int, line: bytes) -> FeatureRequest:
    """Raises InvalidRequest that names the line."""
    try:
        row = msgspec.json.decode(line, type=_Row)
        return FeatureRequest(row.name, {name: boxed(value) for name, value in row.keys.items()})
    except (msgspec.DecodeError, InvalidRequest) as wrong:
        raise InvalidRequest(f'line {number} is not {{"name": …, "keys": {{…}}}}: {wrong}') from wrong
