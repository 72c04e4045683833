"""Rows of features as people and programs read them: a table with types, ages and statuses; or one JSON object."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chronoserve.app.feature_keys import plain, shown
from chronoserve.app.notation import show_time
from chronoserve.app.terminal import Item, Screen
from chronoserve.codec.avro import type_of
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.java_numbers import float_text
from chronoserve.model.types import short_name
from chronoserve_client import ChronoserveError, FeatureRow, Fetch, Freshness, RowStatus

COLUMNS = ("feature", "value", "type", "age", "status")
CELL_CHARS_MAX = 40
"""Of a table as text."""
STYLES = {"ok": "green", "null": "bright_black", "degraded": "yellow", "error": "red"}
ROW_STYLES = {RowStatus.OK: "green", RowStatus.MISSING: "yellow", RowStatus.DEGRADED: "yellow", RowStatus.ERROR: "red"}


@dataclass(frozen=True, slots=True)
class Answered:
    """A row with what it was asked as. ``types``: by feature, as far as they are known; ``now``: what ages are measured from."""

    request: Fetch
    row: FeatureRow
    types: Mapping[str, str]
    now: int

    @property
    def at(self) -> int:
        return self.now if self.request.at is None else self.request.at


def types_of(value_schema: str) -> dict[str, str]:
    """Chronon's names of the features' types, from their schema; empty where it cannot be read."""
    try:
        found, clean = type_of(value_schema), type_of(value_schema, clean=True)
    except InvalidRequest:
        return {}
    return {field.name: short_name(plain.type) for field, plain in zip(found.fields, clean.fields, strict=True)}


def show(screen: Screen, answered: Sequence[Answered]) -> None:
    """Every row: with --json one object each; on a terminal a table each; in a pipe lines, numbered where there are several rows."""
    if screen.json_lines:
        screen.show((), [Item(record(each), ()) for each in answered])
        return
    for number, each in enumerate(answered, 1):
        if screen.terminal:
            screen.say(heading(each), style=ROW_STYLES[each.row.status])
        screen.show(COLUMNS, _items(each, str(number) if len(answered) > 1 and not screen.terminal else ""))


def heading(answered: Answered) -> str:
    """What was asked, and how far the answer can be trusted."""
    keys = ", ".join(f"{name}={shown(value)}" for name, value in answered.request.keys.items())
    return f"{answered.request.name}  {keys}  {show_time(answered.at)}  {answered.row.status.name}"


def lines(answered: Answered) -> list[tuple[str, str]]:
    """The table as text, each line with the colour of its status; long values are cut. For where a table is wanted in a pipe too."""
    rows = [("", COLUMNS), *((item.style, tuple(_cut(cell) for cell in cells)) for item in _items(answered, "") for cells in item.rows)]
    widths = [max(len(cells[at]) for _, cells in rows) for at in range(len(COLUMNS))]
    return [(style, "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()) for style, cells in rows]


def _cut(cell: str) -> str:
    return cell if len(cell) <= CELL_CHARS_MAX else f"{cell[: CELL_CHARS_MAX - 1]}…"


def _items(answered: Answered, number: str) -> list[Item]:
    row = answered.row
    first = (number,) if number else ()
    rows = [(*_feature(answered, name, row.features[name]), "null" if row.features[name] is None else "ok") for name in _ordered(answered)]
    rows += [(stem, error.message, "", "", _part_status(row, stem)) for stem, error in row.part_errors.items()]
    rows += [("", row.error.message, "", "", "error")] if row.error else []
    return [Item({}, [(*first, *cells)], STYLES[cells[-1]]) for cells in rows]


def _ordered(answered: Answered) -> list[str]:
    """Features in the order of their schema: on the wire they have none. What the schema lacks comes last."""
    places = {name: at for at, name in enumerate(answered.types)}
    return sorted(answered.row.features, key=lambda name: places.get(name, len(places)))


def _feature(answered: Answered, name: str, value: object) -> tuple[str, str, str, str]:
    data_type = answered.types.get(name, "")
    return name, cell(value, data_type), data_type, age(answered, name)


def _part_status(row: FeatureRow, stem: str) -> str:
    """A part with features was answered all the same, from what there was."""
    return "degraded" if any(name.startswith(f"{stem}_") for name in row.features) else "error"


def cell(value: object, data_type: str) -> str:
    """A value as a cell has it; a float with the digits that 32 bits need."""
    return float_text(value) if data_type == "float" and isinstance(value, float) else shown(value)


def record(answered: Answered) -> dict[str, object]:
    """The object that ``--json`` prints."""
    row = answered.row
    found: dict[str, object] = {
        "name": answered.request.name,
        "keys": plain(answered.request.keys),
        "at_millis": answered.request.at,
        "status": row.status.name,
        "features": {name: plain(row.features[name]) for name in _ordered(answered)},
        "types": {name: answered.types[name] for name in _ordered(answered) if name in answered.types},
        "part_errors": {stem: _error(error) for stem, error in row.part_errors.items()},
        "freshness": {part: {"batch_end_millis": fresh.batch_end, "stream_millis": fresh.stream} for part, fresh in row.freshness.items()},
    }
    return {**found, "error": _error(row.error)} if row.error is not None else found


def _error(error: ChronoserveError) -> dict[str, str]:
    return {"reason": error.reason, "message": error.message}


def age(answered: Answered, feature: str) -> str:
    """How old the newest data of the feature's part is; empty where that is not known.

    Where the store has newer data than what was asked for, the newest that counted is only known to be no older than the batch.
    """
    parts = [part for part in answered.row.freshness if feature.startswith(f"{part}_") or len(answered.row.freshness) == 1]
    if not parts:
        return ""
    fresh = answered.row.freshness[max(parts, key=len)]
    newest = max((time for time in fresh if 0 < time <= answered.at), default=0)
    if not newest:
        return ""
    return f"{'≤ ' if fresh.stream > answered.at else ''}{span(answered.at - newest)}"


def newest_of(fresh: Freshness) -> int:
    """Time of the newest data, epoch milliseconds; 0 where there is none."""
    return max(fresh.batch_end, fresh.stream)


def span(millis: int) -> str:
    """A time span in its two largest units: ``2 d 3 h``, ``5 min 20 s``."""
    if millis < 0:
        return f"-{span(-millis)}"
    units = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000))
    for at, (unit, size) in enumerate(units):
        if millis >= size:
            whole, rest = divmod(millis, size)
            below = units[at + 1] if at + 1 < len(units) else None
            second = f" {rest // below[1]} {below[0]}" if below and rest >= below[1] else ""
            return f"{whole} {unit}{second}"
    return f"{millis} ms"
