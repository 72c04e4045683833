"""The progress of an upload: a line that counts on a terminal, a line now and then in a pipe, objects with ``--json``."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from chronoserve.app.terminal import Screen

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.progress import Progress

LINE_SECONDS = 2.0
"""Pause between two lines in a pipe."""


class UploadMeter:
    """Counts rows while they pass. Use it as a context around the upload."""

    def __init__(self, screen: Screen, table: str) -> None:
        self._screen = screen
        self._table = table
        self._bar = _bar() if sys.stderr.isatty() and not screen.json_lines else None
        self._task = self._bar.add_task(table, total=None, said="") if self._bar else None
        self._next_line = time.monotonic() + LINE_SECONDS

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def watched(self, batches: "Iterable[pa.RecordBatch]", read: Callable[[], int]) -> "Iterator[pa.RecordBatch]":
        """The batches as they come; ``read`` says how many rows of the sources were read by then."""
        rows = 0
        for batch in batches:
            rows += batch.num_rows
            self._show(rows, read())
            yield batch

    def _show(self, rows: int, read: int) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=rows, said=f"{rows} rows from {read}")
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_SECONDS
            if self._screen.json_lines:
                self._screen.tell({"table": self._table, "rows": rows, "rows_read": read}, "")
            else:
                self._screen.note(f"{self._table}: {rows} rows from {read}")


def _bar() -> "Progress":
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.fields[said]}"), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
