"""Differences from Chronon that are meant, by the number of their note in docs/parity.md.

Each note here tells exactly which differences it explains: anything beside them is a difference like any other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chronoserve.app.replay.compare import Difference
from chronoserve.app.replay.faces import Answers
from chronoserve.app.replay.recording import Record


@dataclass(frozen=True, slots=True)
class Case:
    """What a difference belongs to. ``answers`` is None for records that stand alone."""

    record: Record
    answers: Answers | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """``number`` and ``title`` are those of the heading ``## P<number>. <title>`` in docs/parity.md."""

    number: int
    title: str
    explains: Callable[[Case, Difference], bool]


def explained(case: Case, differences: Sequence[Difference]) -> list[int | None]:
    """For each difference the note that explains it; None: it has no excuse."""
    return [next((note.number for note in NOTES if note.explains(case, difference)), None) for difference in differences]


NOTES: tuple[Note, ...] = ()
