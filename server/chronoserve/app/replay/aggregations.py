"""Single aggregations replayed (a): rows folded into IRs, IRs as bytes, outputs of the recorded IRs and of our own."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from chronoserve.aggregate.parts import Part, unwindowed
from chronoserve.aggregate.rows import RowAggregator
from chronoserve.app.replay import samples
from chronoserve.app.replay.codecs import decoder, encoder
from chronoserve.app.replay.compare import ABSENT, Difference, Shape, differences
from chronoserve.app.replay.recording import Record
from chronoserve.app.replay.shapes import HEAPS, SETS, ir_shape, output_shape
from chronoserve.codec.avro import schema_text
from chronoserve.codec.tagged import tag, type_from, type_to_json
from chronoserve.model.confs import Aggregation, Operation
from chronoserve.model.errors import KVError
from chronoserve.model.types import STRING, DataType, Field, ListType, MapType, StructType

ROW: Final = "Row"
OUTPUT: Final = "Out"
VALUE, BUCKET = "v", "b"
RANDOM = "compaction is randomised"
"""A note with these words says that only the way from the recorded IR to its output is the same on every run."""
DISTINCT = 20
"""Values that are enough to fill what an operation bounds by its argument or its default."""
IRS = ("ir_first", "ir_second", "ir_all")

Replayed = tuple[dict[str, object], Iterator[Difference]]


def replay(record: Record) -> Replayed:
    """Our answers under the recording's names; and where the JVM refused, that we do too."""
    if "error" in record:
        return _refused(record)
    column = _Column(record)
    answers = column.answers(record)
    return answers, column.differences(record, answers)


def _refused(record: Record) -> Replayed:
    """A combination that the JVM refuses when it is built, folded or encoded: such records have no rows, so samples stand in."""
    try:
        _Column(record).fold_samples(mismatched="mismatch" in record["note"])
    except KVError as error:
        answers: dict[str, object] = {"error": {"class": error.reason, "message": error.message}}
        return answers, iter(())
    return {"error": None}, iter([Difference("error", record["error"], ABSENT)])


class _Column:
    """One aggregation column over rows of ``v`` and ``b``.

    Raises:
        KVError: the combination is refused.
    """

    def __init__(self, record: Record) -> None:
        self.input_type = type_from(record["input_type"])
        arg_map = record["arg_map"]
        self.aggregation = Aggregation(
            input_column=VALUE,
            operation=Operation[record["operation"]],
            arg_map=None if arg_map is None else dict(arg_map),
            buckets=(BUCKET,) if record["bucket"] else None,
            element_wise=record["element_wise"],
        )
        self.row_type = StructType(ROW, (Field(VALUE, self.input_type), Field(BUCKET, STRING)))
        self.part = _part(self.aggregation)
        self.aggregator = RowAggregator((self.part,), self.row_type)
        self.ir_type = self.aggregator.ir_type
        self.output_type = StructType(OUTPUT, self.aggregator.output_type.fields)

    def fold_samples(self, *, mismatched: bool) -> None:
        """Write, fold, store and finalise a few rows; raises what real ones would."""
        rows = encoder(self.row_type)
        for values in samples.folds(self.input_type, distinct=DISTINCT, mismatched=mismatched):
            written = [rows.encode((value, "p")).hex() for value in values]
            ir = self.fold([(self.row(data), at) for at, data in enumerate(written)])
            self.output(self.loaded(self.stored(ir)))

    def fold(self, rows: Sequence[tuple[Sequence[object], int]]) -> list[Any]:
        ir = self.aggregator.init()
        for row, ts in rows:
            self.aggregator.update(ir, row, ts)
        return ir

    def stored(self, ir: list[Any]) -> bytes:
        return encoder(self.ir_type).encode(self.aggregator.stored(self.aggregator.clone(ir)))

    def loaded(self, data: bytes) -> list[Any]:
        return self.aggregator.loaded(decoder(self.ir_type).decode(data))

    def output(self, ir: list[Any]) -> object:
        """Finalised, tagged. The IR may change."""
        return tag(self.aggregator.finalize(ir)[0], self.output_type.fields[0].type)

    def answers(self, record: Record) -> dict[str, object]:
        """Everything that the record tells, as we have it. Outputs follow from the *recorded* IRs; ``own`` ones from ours."""
        rows = [(self.row(data), ts) for ts, _, _, data in record["rows"]]
        split = record["split"]
        own = {"ir_first": self.fold(rows[:split]), "ir_second": self.fold(rows[split:]), "ir_all": self.fold(rows)}
        answers: dict[str, object] = {
            "column_name": self.part.output_name,
            "ir_type": type_to_json(self.ir_type.fields[0].type),
            "output_type": type_to_json(self.output_type.fields[0].type),
            "ir_avro_schema": schema_text(self.ir_type),
            "output_avro_schema": schema_text(self.output_type),
            "deletable": self.aggregator.columns[0].aggregator.deletable,
        }
        for name, ir in own.items():
            data = self.stored(ir)
            answers |= {name: data.hex(), f"{name}_value": self.ir_value(data)}
        answers |= self._outputs(record)
        answers["own_output_all"] = self.output(self.loaded(self.stored(own["ir_all"])))
        answers["delete"] = self._deleted(record, rows)
        return answers

    def _outputs(self, record: Record) -> dict[str, object]:
        first, second, whole = (bytes.fromhex(record[name]) for name in IRS)
        merged = self.aggregator.merge(self.loaded(first), self.loaded(second))
        values = self.aggregator.finalize(self.loaded(whole))
        return {
            "output_first": self.output(self.loaded(first)),
            "output_all": self.output(self.loaded(whole)),
            "output_merged": self.output(merged),
            "output_all_avro": encoder(self.output_type).encode(values).hex(),
        }

    def _deleted(self, record: Record, rows: Sequence[tuple[Sequence[object], int]]) -> dict[str, object] | None:
        if record["delete"] is None:
            return None
        times = {data: ts for ts, _, _, data in record["rows"]}
        ir = self.fold(rows)
        for data in record["delete"]["deleted_rows"]:
            self.aggregator.delete(ir, self.row(data), times[data])
        data = self.stored(ir)
        return {"deleted_rows": record["delete"]["deleted_rows"], "ir": data.hex(), "output": self.output(ir)}

    def row(self, data: str) -> tuple[object, ...]:
        return decoder(self.row_type).decode(bytes.fromhex(data))

    def ir_value(self, data: bytes) -> object:
        return tag(decoder(self.ir_type).decode(data)[0], self.ir_type.fields[0].type)

    # comparison

    def differences(self, record: Record, answers: Mapping[str, Any]) -> Iterator[Difference]:
        for name in ("column_name", "ir_type", "output_type", "ir_avro_schema", "output_avro_schema", "deletable"):
            if record[name] != answers[name]:
                yield Difference(name, record[name], answers[name])
        if schema_text(self.row_type) != record["row_avro_schema"]:
            yield Difference("row_avro_schema", record["row_avro_schema"], schema_text(self.row_type))
        shape = output_shape(self.aggregation.operation)
        for name in ("output_first", "output_all", "output_merged"):
            if name != "output_merged" or not self._random(record):
                yield from differences(record[name], answers[name], name, shape)
        if not self._random(record):
            yield from self._own(record, answers, shape)

    def _own(self, record: Record, answers: Mapping[str, Any], shape: Shape) -> Iterator[Difference]:
        """What our own folding made of the rows: comparable unless chance has a part in it."""
        for name in IRS:
            yield from self._bytes(record[name], answers[name], name)
            yield from differences(record[f"{name}_value"], answers[f"{name}_value"], f"{name}_value", ir_shape(self.aggregation.operation))
        yield from differences(record["output_all"], answers["own_output_all"], "own_output_all", shape)
        if shape is Shape.ORDERED and not self._keyed(self.output_type.fields[0].type):
            yield from self._bytes(record["output_all_avro"], answers["output_all_avro"], "output_all_avro")
        if (expected := record["delete"]) is not None:
            got = answers["delete"]
            yield from differences(expected["output"], got["output"], "delete.output", shape)
            one, other = (self.ir_value(bytes.fromhex(side["ir"])) for side in (expected, got))
            yield from differences(one, other, "delete.ir", ir_shape(self.aggregation.operation))

    def _bytes(self, expected: str, got: str, place: str) -> Iterator[Difference]:
        """Bytes, where neither a hash order nor the last bit of a sum can be seen in them."""
        if self._stable_bytes() and expected != got and not self._floating():
            yield Difference(place, {"bytes": expected}, {"bytes": got})

    def _stable_bytes(self) -> bool:
        return self.aggregation.operation not in HEAPS | SETS and not self._keyed(self.ir_type.fields[0].type)

    def _floating(self) -> bool:
        return self.aggregation.operation in FLOATING

    def _keyed(self, data_type: DataType) -> bool:
        """A map's entries have no order in its bytes."""
        match data_type:
            case MapType():
                return True
            case ListType(element):
                return self._keyed(element)
            case StructType(_, fields):
                return any(self._keyed(field.type) for field in fields)
            case _:
                return False

    def _random(self, record: Record) -> bool:
        return RANDOM in record["note"]


FLOATING: Final = frozenset({Operation.SUM, Operation.AVERAGE, Operation.VARIANCE, Operation.SKEW, Operation.KURTOSIS})
"""Additions in another order may change the last bits: values are compared, with their tolerance, and bytes are not."""


def _part(aggregation: Aggregation) -> Part:
    (part,) = unwindowed((aggregation,))
    return part
