"""The progress of a bulk load: a bar on a terminal, a line a second in a pipe, objects with ``--json``."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from chronoserve.app.terminal import Screen, seconds_text, size_text
from chronoserve_client import BulkProgress

if TYPE_CHECKING:
    from rich.progress import Progress

LINE_SECONDS = 1.0
"""Pause between two lines in a pipe."""


class BulkMeter:
    """Shows how far a load is. Use it as a context around the load, then ``finish``."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._bar = _bar() if sys.stderr.isatty() and not screen.json_lines else None
        self._task = self._bar.add_task("rows", total=None, amount="", speed="", left="") if self._bar else None
        self._next_line = 0.0
        self._last: BulkProgress | None = None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, progress: BulkProgress) -> None:
        self._last = progress
        if self._bar is not None and self._task is not None:
            total = progress.rows_total or (progress.rows if progress.done else None)
            fields: dict[str, Any] = dict(_figures(progress))
            self._bar.update(self._task, completed=progress.rows, total=total, **fields)
        elif not progress.done and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_SECONDS
            self._line(progress)

    def _line(self, progress: BulkProgress) -> None:
        if self._screen.json_lines:
            self._screen.tell(_record(progress), "")
        else:
            of = f" of {progress.rows_total}" if progress.rows_total else ""
            self._screen.note("  ".join([f"{progress.rows}{of} rows", *filter(None, _figures(progress).values())]))

    def finish(self) -> bool:
        """Print how the load ended; whether every row was written."""
        assert self._last is not None, "a load that ends says how"
        result = self._last.result
        assert result is not None, "a load that ends says how"
        for error in result.errors:
            self._screen.fail(error.message, reason=error.reason)
        text = f"{result.rows_written} rows written, {result.rows_refused} refused, {self._last.rate:.0f} rows/s"
        self._screen.tell(_record(self._last), text)
        return not result.rows_refused


def _bar() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = ("{task.fields[amount]}", "{task.fields[speed]}", "{task.fields[left]}")
    return Progress(BarColumn(), MofNCompleteColumn(), *map(TextColumn, columns), console=Console(stderr=True))


def _figures(progress: BulkProgress) -> dict[str, str]:
    rest = progress.rows_total - progress.rows
    left = f"{seconds_text(rest / progress.rate)} left" if rest > 0 and progress.rate > 0 else ""
    return {"amount": size_text(progress.bytes_written), "speed": f"{progress.rate:.0f} rows/s", "left": left}


def _record(progress: BulkProgress) -> dict[str, Any]:
    record: dict[str, Any] = {
        "rows": progress.rows,
        "rows_total": progress.rows_total,
        "bytes": progress.bytes_written,
        "rate": round(progress.rate, 1),
        "resume_token": progress.resume_token,
        "done": progress.done,
    }
    if progress.result is not None:
        record |= {"rows_written": progress.result.rows_written, "rows_refused": progress.result.rows_refused}
    return record
