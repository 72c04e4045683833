"""A whole recording replayed, case by case."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from chronoserve.app.replay import worlds
from chronoserve.app.replay.compare import ABSENT, Difference
from chronoserve.app.replay.outcome import Outcome
from chronoserve.app.replay.recording import Kind, Single, World, parts, read, requests_of
from chronoserve.app.replay.singles import Singles
from chronoserve.app.replay.worlds import OpenFace
from chronoserve.model.errors import KVError
from chronoserve_client import ChronoserveError

QUICKSTART_DATA = "quickstart/data"
"""Beside a g recording: the csv files that its uploads were made from. Where they are not there, uploads are taken as given."""


async def replay(path: Path, open_face: OpenFace, skipped: Counter[str], *, worlds_only: bool) -> AsyncIterator[Outcome]:
    """One outcome for each case, in the order of the file. ``skipped`` counts records that are not replayed, by kind.

    ``worlds_only``: records that stand alone ask nothing of a server, and are left out.

    Raises:
        InvalidRequest: the file cannot be read.
    """
    singles = Singles()
    for part in parts(read(path)):
        if isinstance(part, World):
            async for outcome in _world(part, open_face, skipped):
                yield outcome
            data = path.parent / QUICKSTART_DATA
            if part.name is None and not worlds_only and data.is_dir():
                for outcome in _quickstart_uploads(part, data):
                    yield outcome
        elif worlds_only:
            continue
        elif part.kind is Kind.LATER:
            skipped[str(part.record["kind"])] += 1
        elif (found := _single(singles, part)) is not None:
            yield found


def _quickstart_uploads(world: World, data: Path) -> Iterator[Outcome]:
    from chronoserve.app.replay.uploads import quickstart  # what it needs is large, and an extra

    return quickstart(world.records, data)


async def _world(world: World, open_face: OpenFace, skipped: Counter[str]) -> AsyncIterator[Outcome]:
    """A world that breaks off leaves its remaining requests without an answer, and says so of each."""
    answered = 0
    try:
        async for outcome in worlds.replay(world, open_face, skipped):
            answered += 1
            yield outcome
    except (KVError, ChronoserveError) as error:
        difference = Difference("", "an answer", error.message)
        for request in requests_of(world)[answered:]:
            yield Outcome(world.name, str(request.get("id")), {"responses": None}, [difference], [None])


def _single(singles: Singles, part: Single) -> Outcome | None:
    if part.kind is Kind.UNKNOWN:
        difference = Difference("kind", part.record.get("kind", ABSENT), "a kind of record that is not known here")
        return Outcome(None, str(part.record.get("id")), {}, [difference], [None])
    return singles.outcome(part)
