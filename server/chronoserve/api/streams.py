"""How a deployment's stream messages become rows (spec/online-fetch.md §19.1); writers of streaming data use it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from chronoserve.model.types import StructType

Row = Sequence[object]
"""One value for each field of a schema, in order, as ``chronoserve.model.types`` says."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """A change of one row. An insert has only ``after``, a delete only ``before``, an update both.

    The column ``ts`` is the row's time in epoch milliseconds, and required; ``mutation_ts`` is when it changed, and is ``ts``
    where there is none.
    """

    schema: StructType
    before: Row | None
    after: Row | None

    def __post_init__(self) -> None:
        """Raises ValueError where there is no row, or one that does not fit the schema."""
        if self.before is None and self.after is None:
            raise ValueError("a mutation has a row before it, after it, or both")
        for name, row in (("before", self.before), ("after", self.after)):
            if row is not None and len(row) != len(self.schema.fields):
                raise ValueError(f"{name} has {len(row)} values; the schema {self.schema.name} has {len(self.schema.fields)} fields")


class StreamDecoder(ABC):
    """Decodes the messages of one group by's stream."""

    @property
    @abstractmethod
    def schema(self) -> StructType:
        """Of the rows that ``decode`` gives."""

    @abstractmethod
    def decode(self, message: bytes) -> Mutation | None:
        """The change that a message tells of; None for one that tells of none. What it raises is counted, and the message left out."""
