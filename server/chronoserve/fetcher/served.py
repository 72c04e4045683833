"""A group by as it is served: everything that its serving info decides, compiled once for each upload (spec/online-fetch.md §4.1)."""

import copy
import enum
import json
from dataclasses import replace
from datetime import UTC, datetime

from chronoserve.aggregate import parts
from chronoserve.aggregate.rows import RowAggregator
from chronoserve.aggregate.serving import Sawtooth, input_fields
from chronoserve.codec import avro
from chronoserve.codec.compiled import Decoder, decoder
from chronoserve.codec.keys import KeyCodec
from chronoserve.model.confs import Accuracy, DataModel, GroupByServingInfo
from chronoserve.model.errors import InvalidRequest, KVError
from chronoserve.model.types import DataType, StructType
from chronoserve.sql.derive import Derivations

DAY_MILLIS = 86_400_000
COLUMNS_MAX = 4_000
"""Features of one group by: each costs a third of a millisecond to compile."""
LATE_AFTER_MILLIS = 2 * DAY_MILLIS
"""From here on after the batch end, windows longer than this lack the hops at their old end (spec/online-fetch.md §8.4)."""

_FORMAT_LETTERS = (("yyyy", "%Y"), ("MM", "%m"), ("dd", "%d"), ("HH", "%H"), ("mm", "%M"), ("ss", "%S"))


class Shape(enum.Enum):
    """What a group by's values are, and so how they are read."""

    NO_AGGREGATION = "no aggregation"
    SNAPSHOT = "snapshot"
    TEMPORAL = "temporal"


def batch_end_millis(info: GroupByServingInfo, partition_format: str) -> int:
    """The end of the uploaded data in epoch milliseconds: midnight in UTC of ``batchEndDate``.

    Raises:
        InvalidRequest: it is absent or not in the format.
    """
    strptime_format = partition_format
    for letters, directive in _FORMAT_LETTERS:
        strptime_format = strptime_format.replace(letters, directive)
    try:
        parsed = datetime.strptime(info.batch_end_date or "", strptime_format).replace(tzinfo=UTC)
    except ValueError:
        raise InvalidRequest(
            f"batchEndDate of {info.group_by.meta_data.name} is not of the form {partition_format}: upload it again", field="batchEndDate"
        ) from None
    return round(parsed.timestamp() * 1000)


class ServedGroupBy:
    """``base_names`` are the names under which values are answered, in the order that decoded and merged rows have them.

    ``key_columns``: each key column with its field of the key schema, whose name is the column's in sanitised form.
    """

    __slots__ = (
        "base_names", "base_type", "batch_dataset", "batch_decoder", "batch_end", "derivations", "group_by",
        "info", "key_codec", "key_columns", "key_schema", "late_after", "name", "sawtooth", "shape", "stream_decoder", "streaming_dataset",
    )  # fmt: skip

    def __init__(self, info: GroupByServingInfo, *, partition_format: str) -> None:
        """Raises:
        InvalidRequest: the serving info lacks something, or its definition is one that Chronon refuses.
        Unsupported: an operation needs a library that is not installed.
        """
        group_by = info.group_by
        if info.key_avro_schema is None or info.selected_avro_schema is None:
            raise InvalidRequest(f"the serving info of {group_by.meta_data.name} lacks its key or value schema: upload it again")
        self.info = info
        self.group_by = group_by
        self.name = group_by.meta_data.name
        self.batch_dataset = group_by.batch_dataset
        self.streaming_dataset = group_by.streaming_dataset
        self.batch_end = batch_end_millis(info, partition_format)
        self.key_schema = info.key_avro_schema
        self.key_codec = KeyCodec(info.key_avro_schema, group_by.key_columns)
        fields = self.key_codec.type.fields
        columns = group_by.key_columns if len(group_by.key_columns) == len(fields) else self.key_codec.type.names
        self.key_columns = tuple(zip(columns, fields, strict=True))
        self.sawtooth: Sawtooth | None = None
        self.stream_decoder: Decoder | None = None
        self._shape(info.selected_avro_schema)
        self.late_after = self._late_after()
        self.derivations = (
            Derivations(group_by.derivations, self.key_codec.type, self.base_type, loose=()) if group_by.derivations else None
        )

    def moved(self, info: GroupByServingInfo, *, partition_format: str) -> "ServedGroupBy | None":
        """The group by after an upload that changed nothing but the batch end, as most do; None where it changed more.

        Raises:
            InvalidRequest: the batch end is absent or not in the format.
        """
        if replace(info, batch_end_date=self.info.batch_end_date) != self.info:
            return None
        later = copy.copy(self)
        later.info = replace(self.info, batch_end_date=info.batch_end_date)
        later.batch_end = batch_end_millis(info, partition_format)
        later.late_after = later._late_after()  # noqa: SLF001 - it is this very class
        return later

    def like(self, other: "ServedGroupBy") -> bool:
        """Whether both are uploads of one definition, so that all but the batch end is the same."""
        return self.key_codec is other.key_codec

    def response_type(self) -> StructType:
        """The type of the answers, derivations applied.

        Raises:
            KVError: a derivation of the group by cannot be compiled.
        """
        return self.base_type if self.derivations is None else self.derivations.derived_type

    def types(self) -> dict[str, DataType]:
        """The types of the answers by name; empty where they cannot be known."""
        if self.derivations is None:
            return {name: field.type for name, field in zip(self.base_names, self.base_type.fields, strict=True)}
        try:
            return {field.name: field.type for field in self.derivations.derived_type.fields}
        except KVError:
            return {}

    def _shape(self, selected_schema: str) -> None:
        aggregations = self.group_by.aggregations
        if aggregations is None:
            self.shape = Shape.NO_AGGREGATION
            self.base_type = avro.type_of(selected_schema, clean=True)
            self.base_names = avro.type_of(selected_schema).names
            self.batch_decoder = decoder(self.base_type)
            return
        columns = sum(len(a.buckets or (None,)) * len(a.windows or (None,)) for a in aggregations)
        if columns > COLUMNS_MAX:
            raise InvalidRequest(f"{self.name} has {columns} aggregated columns; {COLUMNS_MAX} are served", field="aggregations")
        selected = avro.type_of(selected_schema, clean=True)
        if self.group_by.inferred_accuracy is Accuracy.SNAPSHOT:
            self.shape = Shape.SNAPSHOT
            row_type = StructType("Input", input_fields(aggregations, selected))
            listed = parts.unpacked if self.group_by.data_model is DataModel.ENTITIES else parts.windowed
            fields = RowAggregator(listed(aggregations), row_type).output_type.fields
            self.base_type = StructType(f"{self.group_by.meta_data.clean_name}_OUTPUT", fields)
            self.batch_decoder = decoder(self.base_type)
        else:
            self.shape = Shape.TEMPORAL
            sawtooth = self.sawtooth = Sawtooth(self.group_by, selected)
            self.base_type = sawtooth.output_type
            self.batch_decoder = decoder(sawtooth.batch_type)
            streamed = sawtooth.tile_type if sawtooth.tiled else sawtooth.mutation_type if sawtooth.mutated else sawtooth.row_type
            self.stream_decoder = decoder(streamed)
        self.base_names = answer_names(self.base_type)

    def _late_after(self) -> int | None:
        """Query times after this one get degraded values; None where no window is long enough for that."""
        windows = [window for a in self.group_by.aggregations or () for window in a.windows or () if not window.unbounded]
        if self.shape is Shape.TEMPORAL and any(window.millis > LATE_AFTER_MILLIS for window in windows):
            return self.batch_end + LATE_AFTER_MILLIS
        return None


def answer_names(output_type: StructType) -> tuple[str, ...]:
    """The names that Chronon's decoder gives the fields: those of the Avro schema, where a repeated one has a suffix (§3.1)."""
    return tuple(field["name"] for field in json.loads(avro.schema_text(output_type))["fields"])
