"""What a call asks of external sources: each (source, keys) once, one batch for each source (spec/online-fetch.md §11)."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chronoserve.fetcher.external import Answer, ExternalRegistry
from chronoserve.fetcher.plan import ExternalPlan
from chronoserve.model.confs import ExternalSource

_Identity = tuple[str, tuple[tuple[str, type, object], ...]]
"""A source's name and its keys with their boxes: 1, 1.0 and true are equal to Python and are not to the source."""


@dataclass(slots=True)
class _Batch:
    source: ExternalSource
    rows: list[Mapping[str, object]] = field(default_factory=list)
    answers: Sequence[Answer] = ()


Place = tuple[_Batch, int]
"""Where a part's answer for a row will be."""


class ExternalAsks:
    """Collects what rows need of external sources, asks, and gives each row its answers."""

    def __init__(self) -> None:
        self._batches: dict[str, _Batch] = {}
        self._places: dict[_Identity, int] = {}

    def __bool__(self) -> bool:
        return bool(self._batches)

    def add(self, part: ExternalPlan, keys: Mapping[str, object]) -> Place | None:
        """Where the part's answer for the row will be; None where a key is missing, and nothing is asked."""
        try:
            mapped = {name: keys[left] for name, left in part.pairs}
        except KeyError:
            return None
        name = part.source.meta_data.name
        batch = self._batches.get(name)
        if batch is None:
            batch = self._batches[name] = _Batch(part.source)
        at = self._place(name, mapped, len(batch.rows))
        if at == len(batch.rows):
            batch.rows.append(mapped)
        return batch, at

    def _place(self, name: str, keys: Mapping[str, object], end: int) -> int:
        """The row that has these keys already, else ``end``. Keys that cannot be told apart are rows of their own."""
        try:
            return self._places.setdefault((name, tuple((key, type(value), value) for key, value in keys.items())), end)
        except TypeError:
            return end

    async def fetch(self, registry: ExternalRegistry, *, deadline: float) -> None:
        """Ask every source, all at once."""
        batches = list(self._batches.values())
        found = await asyncio.gather(*(registry.fetch(batch.source, batch.rows, deadline=deadline) for batch in batches))
        for batch, answers in zip(batches, found, strict=True):
            batch.answers = answers


def answers_of(places: Sequence[Place | None]) -> list[Answer | None]:
    """The answers of a row's parts, after ``fetch``; None for a part whose keys were missing."""
    return [None if place is None else place[0].answers[place[1]] for place in places]
