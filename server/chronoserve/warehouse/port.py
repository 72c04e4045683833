"""The port that every kind of warehouse implements: a table read as Arrow record batches, columns and conditions pushed down.

All calls block. All errors are typed and name the table, the partition where there is one, and what to do.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from chronoserve.model.errors import CorruptValue, FailedPrecondition, KVError

if TYPE_CHECKING:
    import pyarrow as pa

Operator = Literal["==", ">=", "<="]

BATCH_ROWS = 8_192
"""Rows of a record batch at most: bounds the memory of a reader."""


@dataclass(frozen=True, slots=True)
class Condition:
    """``column`` compared with ``value``. Partition values compare as the texts that they are."""

    column: str
    operator: Operator
    value: str


class Table(Protocol):
    """One table, as it is now."""

    @property
    def name(self) -> str: ...

    @property
    def format(self) -> str:
        """``parquet``, ``iceberg`` or ``delta``."""

    def schema(self, conditions: Sequence[Condition] = ()) -> "pa.Schema":
        """Columns and their types, partition columns included: those of the rows that fulfil the conditions, where they differ."""

    def partition_columns(self) -> tuple[str, ...]:
        """In the order of the layout; empty for a table that is not partitioned."""

    def partitions(self, column: str) -> list[str]:
        """The values that a partition column has, sorted; percent-encoding undone."""

    def fingerprint(self, conditions: Sequence[Condition] = ()) -> str:
        """Changes when the rows that the conditions choose do."""

    def read(self, columns: Sequence[str] | None = None, conditions: Sequence[Condition] = ()) -> Iterator["pa.RecordBatch"]:
        """The rows that fulfil all conditions, in one stable order, ``columns`` only (None: all).

        Raises:
            FailedPrecondition: a column is missing, or files disagree on its type.
            CorruptValue: a file cannot be read.
        """


class Warehouse(Protocol):
    """Tables by name, as ``namespace.table`` or ``namespace.table/sub=partition``."""

    def table(self, name: str) -> Table:
        """Raises FailedPrecondition where there is no such table."""


def split_name(name: str) -> tuple[str, tuple[Condition, ...]]:
    """A table's name without its sub-partitions, and these as conditions (spec/integration.md §7.3)."""
    clean, *parts = name.split("/")
    pairs = [part.partition("=") for part in parts if part]
    return clean, tuple(Condition(key, "==", value) for key, _, value in pairs)


@contextmanager
def naming(table: str, doing: str) -> Iterator[None]:
    """Turns what Arrow and the table formats raise into our errors, with the table's name.

    Raises:
        FailedPrecondition: something is not there, or does not fit together.
        CorruptValue: bytes are not what their format says.
    """
    try:
        yield
    except KVError:
        raise
    except FileNotFoundError as missing:
        raise FailedPrecondition(f"{table}: {doing}: a file is gone; was the partition rewritten meanwhile? Try again") from missing
    except (TypeError, KeyError) as mismatch:
        raise FailedPrecondition(f"{table}: {doing}: files and schema disagree ({line_of(mismatch)}); rewrite the older") from mismatch
    except (OSError, ValueError, EOFError) as broken:
        raise CorruptValue(f"{table}: {doing}: {line_of(broken)}; write the partition again") from broken


_PLACE = re.compile(r"'?(?:[a-z0-9]+:/)?/[^\s':]*'?")


def line_of(error: BaseException) -> str:
    """The first line of an error's text, short enough for a status and without paths of this machine."""
    return _PLACE.sub("…", (str(error).splitlines() or [type(error).__name__])[0])[:200]


def missing_column(table: str, column: str, known: Sequence[str]) -> FailedPrecondition:
    """The error for a column that a table lacks."""
    return FailedPrecondition(f"{table} has no column {column}; it has {', '.join(known[:20])}")


def needs(package: str) -> FailedPrecondition:
    """The error for an optional package that is not installed."""
    return FailedPrecondition(f"reading this table needs {package}: pip install 'chronoserve[lake]'")
