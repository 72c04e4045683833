"""Uploads recomputed from recorded source tables (k), and from the quickstart's csv files beside a recording (g).

Keys compare as bytes, values after decoding, serving infos as JSON. Where a sketch's bytes differ, what it answers is compared.
"""

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

from chronoserve.aggregate import parts
from chronoserve.aggregate.columns import Column
from chronoserve.aggregate.parts import HOP_SIZES, Part
from chronoserve.aggregate.rows import RowAggregator
from chronoserve.app.replay.codecs import decoder
from chronoserve.app.replay.compare import ABSENT, Difference, Shape, canonical, differences
from chronoserve.app.replay.notes import Case, explained
from chronoserve.app.replay.outcome import Outcome
from chronoserve.app.replay.recording import INCREMENTAL, UPLOADS, Record
from chronoserve.app.replay.shapes import ir_shape, output_shape
from chronoserve.app.replay.tables import MemoryWarehouse
from chronoserve.codec import confs
from chronoserve.codec.tagged import tag
from chronoserve.model.confs import Accuracy, Operation
from chronoserve.model.errors import KVError
from chronoserve.model.naming import SERVING_INFO_KEY
from chronoserve.model.partitions import PartitionSpec
from chronoserve.model.types import LONG, StructType
from chronoserve.upload.build import Upload
from chronoserve.upload.engine import DuckDB, Engine
from chronoserve.upload.gather import Uploaded
from chronoserve.upload.hashed_keys import hashed
from chronoserve.upload.plan import planned
from chronoserve.upload.serving_info import serving_info
from chronoserve.warehouse.port import Warehouse

SKETCHES: Final = frozenset({Operation.APPROX_UNIQUE_COUNT, Operation.APPROX_PERCENTILE, Operation.APPROX_HISTOGRAM_K})

Days = Sequence[tuple[Sequence[Any], int, Sequence[Any]]]
"""Keys, a day's start, its stored IR."""
Replayed = tuple[Mapping[str, object], Iterator[Difference]]


class Uploads:
    """Replays uploads over the tables that were recorded before them."""

    def __init__(self) -> None:
        self._tables = MemoryWarehouse()

    def take(self, record: Record) -> None:
        """A record of source tables: a ``world`` (whose tables have names of their own), a ``table``, some of its ``rows``."""
        match record["kind"]:
            case "table":
                self._tables.begin(record)
            case "rows":
                self._tables.add(record)
            case _:
                self._tables = MemoryWarehouse()

    def replay(self, record: Record) -> Replayed:
        """An ``upload`` with its rows under ``uploads``, made again over the tables."""
        return replay(record, self._tables)


def replay(record: Record, warehouse: Warehouse) -> Replayed:
    """Our answers under the recording's names, and their differences; where the JVM refused, that we do too."""
    try:
        with tempfile.TemporaryDirectory() as spill:
            made = _Made.of(record, warehouse, DuckDB(Path(spill)))
    except KVError as refused:
        answers: dict[str, object] = {"error": {"class": refused.reason, "message": refused.message}}
        return answers, iter([] if "error" in record else [Difference("error", ABSENT, answers["error"])])
    return made.answers(), chain(made.differences(record), incremental_differences(record, made.days, made.upload))


def incremental_differences(record: Record, days: Days, upload: Upload) -> Iterator[Difference]:
    """Of the table of daily IRs that an incremental upload has left, where the recording has it."""
    table = record.get(INCREMENTAL)
    if table is None:
        return
    width = len(upload.key_type.fields)
    recorded = {canonical(row[: width + 1]): row[width + 1 : -1] for row in table["rows"]}
    base = RowAggregator(parts.base(upload.plan.aggregations), upload.selected_type)
    ours = {canonical([*_tagged(keys, upload.key_type), tag(day, LONG)]): stored for keys, day, stored in days}
    for place in dict.fromkeys((*recorded, *ours)):
        expected, got = recorded.get(place), ours.get(place)
        if expected is None or got is None:
            yield Difference(f"daily[{place}]", ABSENT if expected is None else expected, ABSENT if got is None else list(map(str, got)))
            continue
        for part, column, one, other in zip(base.parts, base.columns, expected, got, strict=True):
            yield from differences(one, tag(other, column.ir_type), f"daily[{place}].{part.output_name}", ir_shape(part.operation))


def _tagged(row: Sequence[Any], of: StructType) -> list[object]:
    return [tag(value, field.type) for value, field in zip(row, of.fields, strict=True)]


def compared(record: Record, warehouse: Warehouse, rows: Mapping[str, Sequence[str]]) -> Iterator[Difference]:
    """Differences of an upload that another engine has made. ``rows``: its values by key, as hex, the serving info among them."""
    upload = Upload(planned(confs.group_by(record["conf_json"]), record["end_ds"], warehouse, PartitionSpec()))
    keys = decoder(upload.key_type).decode
    pairs = [(bytes.fromhex(key), bytes.fromhex(value)) for key, found in rows.items() for value in found]
    made = [Uploaded(key, value, keys(key), tuple) for key, value in pairs if key != SERVING_INFO_KEY]
    (info,) = (value.decode() for key, value in pairs if key == SERVING_INFO_KEY)
    return _Made(upload, made, info).differences(record)


@dataclass(frozen=True, slots=True)
class _Made:
    """An upload of ours."""

    upload: Upload
    rows: Sequence[Uploaded]
    serving_info: str
    days: Days = ()

    @classmethod
    def of(cls, record: Record, warehouse: Warehouse, engine: Engine) -> "_Made":
        upload = Upload(planned(confs.group_by(record["conf_json"]), record["end_ds"], warehouse, PartitionSpec()))
        info = serving_info(upload, record["conf_json"], warehouse)
        upload.prepare()
        days = list(upload.days(engine)) if INCREMENTAL in record else []
        return cls(upload, list(upload.rows(engine)), info, days)

    def answers(self) -> dict[str, object]:
        rows = [{"key_bytes": row.key_bytes.hex(), "value_bytes": row.value_bytes.hex()} for row in self.rows]
        info = {"key_bytes": SERVING_INFO_KEY.hex(), "value_bytes": self.serving_info.encode().hex()}
        return {UPLOADS: [*rows, info]}

    def differences(self, record: Record) -> Iterator[Difference]:
        if "error" in record:
            yield Difference("error", record["error"], ABSENT)
            return
        recorded: dict[bytes, list[bytes]] = defaultdict(list)
        for row in record[UPLOADS]:
            recorded[bytes.fromhex(row["key_bytes"])].append(bytes.fromhex(row["value_bytes"]))
        yield from self._info_differences([json.loads(info) for info in recorded.pop(SERVING_INFO_KEY, [])])
        yield from self._row_differences(recorded)

    def _info_differences(self, recorded: Sequence[Mapping[str, Any]]) -> Iterator[Difference]:
        ours = json.loads(self.serving_info)
        if len(recorded) != 1:
            yield Difference("serving_info", list(recorded), [ours])
            return
        for name in dict.fromkeys((*recorded[0], *ours)):
            expected, got = recorded[0].get(name, ABSENT), ours.get(name, ABSENT)
            if expected != got:
                yield Difference(f"serving_info.{name}", expected, got)

    def _row_differences(self, recorded: Mapping[bytes, Sequence[bytes]]) -> Iterator[Difference]:
        ours: dict[bytes, list[bytes]] = defaultdict(list)
        for row in self.rows:
            ours[row.key_bytes].append(row.value_bytes)
        merged = self._merged(recorded)
        compare = _Comparison.of(self.upload)
        for key in dict.fromkeys((*recorded, *ours)):
            place = f"{'merged' if key in merged else 'rows'}[{key.hex()}]"
            expected, got = recorded.get(key, []), ours.get(key, [])
            if len(expected) != len(got):
                yield Difference(place, [value.hex() for value in expected] or ABSENT, [value.hex() for value in got] or ABSENT)
            else:
                yield from compare.all(expected, got, place)

    def _merged(self, recorded: Mapping[bytes, Sequence[bytes]]) -> frozenset[bytes]:
        """Keys of ours that Chronon takes for one another: it finds rows of one key by a hash of their values set end to end."""
        alike: dict[bytes, set[bytes]] = defaultdict(set)
        for row in self.rows:
            alike[hashed(row.keys, self.upload.key_type)].add(row.key_bytes)
        return frozenset(key for keys in alike.values() if len(keys) > 1 and keys & recorded.keys() != keys for key in keys)


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Compares values of one upload."""

    type: StructType
    windowed: RowAggregator | None
    base: RowAggregator | None
    outputs: Sequence[Part]

    @classmethod
    def of(cls, upload: Upload) -> "_Comparison":
        aggregations, plain = upload.plan.aggregations, not upload.plan.aggregations
        if plain or upload.plan.accuracy is not Accuracy.TEMPORAL:
            return cls(upload.value_type, None, None, () if plain else parts.windowed(aggregations))
        windowed, base = (RowAggregator(of(aggregations), upload.selected_type) for of in (parts.windowed, parts.base))
        return cls(upload.value_type, windowed, base, ())

    def all(self, expected: Sequence[bytes], got: Sequence[bytes], place: str) -> Iterator[Difference]:
        """Values of one key: a group by without aggregations may have several, in any order."""
        if len(expected) == 1:
            yield from self.one(expected[0], got[0], place)
            return
        rest = list(got)
        for value in expected:
            at = next((at for at, other in enumerate(rest) if next(self.one(value, other, place), None) is None), None)
            if at is None:
                yield Difference(place, {"bytes": value.hex()}, [other.hex() for other in rest])
                return
            del rest[at]

    def one(self, expected: bytes, got: bytes, place: str) -> Iterator[Difference]:
        if expected == got:
            return
        decode = decoder(self.type).decode
        one, other = decode(expected), decode(got)
        if self.windowed is None or self.base is None:
            yield from self._outputs(one, other, place)
            return
        yield from _irs(self.windowed, one[0], other[0], f"{place}.collapsed")  # type: ignore[arg-type]  # as BatchPlan.type says
        for at, hop in enumerate(HOP_SIZES):
            yield from self._hops(one[1][at], other[1][at], f"{place}.hops[{hop}]")  # type: ignore[index]  # as above

    def _outputs(self, expected: Sequence[object], got: Sequence[object], place: str) -> Iterator[Difference]:
        shapes = [output_shape(part.operation) for part in self.outputs] or [Shape.ORDERED] * len(self.type.fields)
        for field, one, other, shape in zip(self.type.fields, expected, got, shapes, strict=True):
            yield from differences(tag(one, field.type), tag(other, field.type), f"{place}.{field.name}", shape)

    def _hops(self, expected: Sequence[Sequence[Any]], got: Sequence[Sequence[Any]], place: str) -> Iterator[Difference]:
        assert self.base is not None
        starts, ours = ([hop[-1] for hop in hops] for hops in (expected, got))
        if starts != ours:
            yield Difference(f"{place}.starts", starts, ours)
            return
        for one, other in zip(expected, got, strict=True):
            yield from _irs(self.base, one[:-1], other[:-1], f"{place}[{one[-1]}]")


def _irs(aggregator: RowAggregator, expected: Sequence[Any], got: Sequence[Any], place: str) -> Iterator[Difference]:
    for part, column, one, other in zip(aggregator.parts, aggregator.columns, expected, got, strict=True):
        found = list(
            differences(tag(one, column.ir_type), tag(other, column.ir_type), f"{place}.{part.output_name}", ir_shape(part.operation))
        )
        if found and part.operation in SKETCHES and one is not None and other is not None:
            found = list(differences(_output(column, one), _output(column, other), f"{place}.{part.output_name}"))
        yield from found


def _output(column: Column, stored: Any) -> object:
    """What a stored IR would answer."""
    return tag(column.finalize(column.merge_all([None, column.loaded(stored)])), column.output_type)


def quickstart(records: Iterable[Record], data: Path) -> Iterator[Outcome]:
    """The uploads of a g recording, made again from the csv files in ``data``."""
    tables = MemoryWarehouse()
    for path in sorted(data.glob("*.csv")):
        tables.add_csv(path)
    for record in with_rows(records):
        answers, differing = replay(record, tables)
        found = list(differing)
        yield Outcome(None, f"upload {record['group_by']} {record['end_ds']}", answers, found, explained(Case(record), found))


def with_rows(records: Iterable[Record]) -> list[Record]:
    """The uploads of a g recording, each with its rows, which come after it, under ``UPLOADS``."""
    uploads: list[Record] = []
    for record in records:
        if record.get("kind") == "upload":
            uploads.append({**record, UPLOADS: []})
        elif record.get("kind") == "upload_row":
            uploads[-1][UPLOADS].append(record)
    return uploads
