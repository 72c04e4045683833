"""What one fetch tells the caller who asks: its reads, where each feature came from, how long each phase took."""

from dataclasses import dataclass, field

from chronoserve.fetcher.observe import Phase
from chronoserve.fetcher.ports import Read
from chronoserve.model.errors import KVError


@dataclass(slots=True)
class TracedRead:
    """A read that was made for one part of a row."""

    part: str
    """The join part's full prefix, or the group by's name."""
    read: Read
    values: int = 0
    """Timed values that came back."""
    newest_millis: int = 0
    """Time of the newest of them, 0 where there are none."""
    error: KVError | None = None
    cached: bool = False
    """Answered from the batch IR cache, without a read."""


@dataclass(slots=True)
class Trace:
    """Given to a fetch by a caller who wants to know; the fetch fills it."""

    seconds: dict[Phase, float] = field(default_factory=dict)
    reads: list[TracedRead] = field(default_factory=list)
    feature_parts: dict[str, str] = field(default_factory=dict)
    """Which part each feature of the first row comes from: a join part's full prefix, an external part's full name,
    ``derivations`` or ``models``."""
