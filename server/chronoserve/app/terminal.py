"""How the verbs speak: a table on a terminal, plain lines in a pipe, one JSON object a line when asked for.

Answers go to standard output, everything about them (errors, notes, progress) to standard error.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import click

CELL_CHARS_MAX = 240
"""A longer cell is cut on a terminal; never in a pipe."""


class Item(NamedTuple):
    """One answer: the object that ``--json`` prints, and the same as rows of cells for people and pipes."""

    record: Mapping[str, Any]
    rows: Sequence[Sequence[str]]
    style: str = ""
    """Colour of each row's first cell on a terminal."""


class Screen:
    """Where a verb puts its output."""

    def __init__(self, *, json_lines: bool) -> None:
        self.json_lines = json_lines
        self.terminal = sys.stdout.isatty() and not json_lines

    def show(self, columns: Sequence[str], items: Iterable[Item]) -> None:
        """Answers: in a pipe rows of cells with tabs between them, without a heading."""
        if self.json_lines:
            for item in items:
                click.echo(as_json(item.record))
        elif self.terminal:
            self._table(columns, [(row, item.style) for item in items for row in item.rows])
        else:
            for item in items:
                for row in item.rows:
                    click.echo("\t".join(row))

    def _table(self, columns: Sequence[str], rows: Sequence[tuple[Sequence[str], str]]) -> None:
        if not rows:
            return
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*columns, box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
        for (first, *others), style in rows:
            table.add_row(Text(_cut(first), style=style, overflow="fold"), *(Text(_cut(cell), overflow="fold") for cell in others))
        Console(highlight=False).print(table)

    def tell(self, record: Mapping[str, Any], text: str) -> None:
        """One outcome: ``record`` with ``--json``, else ``text``."""
        click.echo(as_json(record) if self.json_lines else text)

    def say(self, text: str, *, style: str | None = None) -> None:
        """A line of the answer for people and pipes; ``--json`` leaves it out."""
        if not self.json_lines:
            click.echo(click.style(text, fg=style) if style else text)

    def note(self, text: str) -> None:
        """Something about the answer; ``--json`` leaves it out."""
        if not self.json_lines:
            click.echo(text, err=True)

    def fail(self, message: str, *, reason: str = "", place: str = "") -> None:
        """An error. ``place``: the line or key that it is about."""
        if self.json_lines:
            record = {"place": place, "reason": reason, "message": message}
            click.echo(as_json({"error": {name: text for name, text in record.items() if text}}), err=True)
        else:
            click.secho(f"error: {place + ': ' if place else ''}{message}", fg="red", err=True)


def as_json(record: Mapping[str, Any]) -> str:
    """One line."""
    return json.dumps(record, ensure_ascii=False, separators=(", ", ": "))


def size_text(size_bytes: float) -> str:
    """Bytes for people, in powers of a thousand."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


def seconds_text(seconds: float) -> str:
    """A time span for people, from microseconds to hours."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 120:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def _cut(cell: str) -> str:
    return cell if len(cell) <= CELL_CHARS_MAX else f"{cell[:CELL_CHARS_MAX]}… ({len(cell)} characters)"
