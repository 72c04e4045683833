"""What became of one replayed case, and of all of them together."""

import enum
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chronoserve.app.replay.compare import Difference


class Verdict(enum.Enum):
    """EQUAL, or every difference is explained by a numbered note of docs/parity.md, or some is not."""

    EQUAL = "equal"
    NOTED = "noted"
    DIFFERENT = "different"


@dataclass(slots=True)
class Outcome:
    """One case: a request of a world, or a record that stands alone.

    ``answers``: what our code answered, in the tagged form, by the recording's own names (``responses``, ``results``,
    ``output_all``, …), so that others can compare for themselves. ``notes``: numbers, for each difference one or None.
    """

    world: str | None
    id: str
    answers: Mapping[str, object] = field(default_factory=dict)
    differences: Sequence[Difference] = ()
    notes: Sequence[int | None] = ()

    @property
    def verdict(self) -> Verdict:
        if not self.differences:
            return Verdict.EQUAL
        return Verdict.DIFFERENT if None in self.notes or not self.notes else Verdict.NOTED

    def record(self) -> dict[str, object]:
        """The line of ``--json``. ``notes`` is there only where notes explain something."""
        line: dict[str, object] = {
            "world": self.world,
            "id": self.id,
            "equal": not self.differences,
            "diff": [self._difference(at) for at in range(len(self.differences))],
            **self.answers,
        }
        if numbers := sorted({note for note in self.notes if note is not None}):
            line["notes"] = numbers
        return line

    def _difference(self, at: int) -> dict[str, object]:
        note = self.notes[at] if at < len(self.notes) else None
        found = self.differences[at].record()
        return found if note is None else {**found, "note": note}


@dataclass(slots=True)
class Tally:
    """The sum of a replay. ``skipped``: records that are not replayed yet, by kind."""

    counts: Counter[Verdict] = field(default_factory=Counter)
    notes: Counter[int] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def cases(self) -> int:
        return self.counts.total()

    def add(self, outcome: Outcome) -> None:
        self.counts[outcome.verdict] += 1
        self.notes.update({note for note in outcome.notes if note is not None})

    @property
    def good(self) -> bool:
        """Something was compared, and nothing is different without a reason."""
        return self.cases > 0 and not self.counts[Verdict.DIFFERENT]

    def record(self) -> dict[str, object]:
        """The members of the summary line."""
        return {
            "cases": self.cases,
            **{verdict.value: self.counts[verdict] for verdict in Verdict},
            "notes": {str(number): count for number, count in sorted(self.notes.items())},
            "skipped": dict(sorted(self.skipped.items())),
        }
