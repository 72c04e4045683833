"""Chronon's configuration objects, as far as serving and uploading need them (spec/aggregation-and-codecs.md §4.2).

Names are those of api.thrift in snake case. ``None`` is an absent field; an absent list and an empty one are two things
to Chronon, and stay so here. ``codec.confs`` reads them from JSON.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from chronoserve.model import naming
from chronoserve.model.types import StructType


class Operation(enum.IntEnum):
    """What an aggregation does; the numbers are those of api.thrift."""

    MIN = 0
    MAX = 1
    FIRST = 2
    LAST = 3
    UNIQUE_COUNT = 4
    APPROX_UNIQUE_COUNT = 5
    COUNT = 6
    SUM = 7
    AVERAGE = 8
    VARIANCE = 9
    SKEW = 10
    KURTOSIS = 11
    APPROX_PERCENTILE = 12
    LAST_K = 13
    FIRST_K = 14
    TOP_K = 15
    BOTTOM_K = 16
    HISTOGRAM = 17
    APPROX_HISTOGRAM_K = 18
    BOUNDED_UNIQUE_COUNT = 19


class TimeUnit(enum.IntEnum):
    HOURS = 0
    DAYS = 1

    @property
    def millis(self) -> int:
        return 86_400_000 if self is TimeUnit.DAYS else 3_600_000


class Accuracy(enum.IntEnum):
    TEMPORAL = 0
    SNAPSHOT = 1


class DataModel(enum.Enum):
    EVENTS = "events"
    ENTITIES = "entities"


@dataclass(frozen=True, slots=True)
class Window:
    length: int
    time_unit: TimeUnit

    @property
    def millis(self) -> int:
        return self.length * self.time_unit.millis

    @property
    def unbounded(self) -> bool:
        """Whether Chronon prints it without a suffix."""
        return self.length <= 0 or self.length == UNBOUNDED_LENGTH

    @property
    def suffix(self) -> str:
        """``_7d``, ``_3h``; empty for an unbounded window."""
        return "" if self.unbounded else f"_{self.length}{'d' if self.time_unit is TimeUnit.DAYS else 'h'}"


UNBOUNDED_LENGTH = (1 << 31) - 1
UNBOUNDED = Window(UNBOUNDED_LENGTH, TimeUnit.DAYS)
"""What an aggregation without windows has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregation:
    input_column: str
    operation: Operation
    arg_map: Mapping[str, str] | None = None
    windows: tuple[Window, ...] | None = None
    buckets: tuple[str, ...] | None = None
    element_wise: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaData:
    name: str
    online: bool = False
    production: bool = False
    custom_json: str | None = None
    dependencies: tuple[str, ...] | None = None
    table_properties: Mapping[str, str] | None = None
    output_namespace: str | None = None
    team: str | None = None
    mode_to_env_map: Mapping[str, Mapping[str, str]] | None = None
    consistency_check: bool = False
    sample_percent: float | None = None
    offline_schedule: str | None = None
    consistency_sample_percent: float | None = None
    historical_backfill: bool | None = None
    deprecation_date: str | None = None
    description: str | None = None

    @property
    def clean_name(self) -> str:
        return naming.sanitize(self.name)

    @property
    def owning_team(self) -> str | None:
        """``customJson.team_override`` where it is a text, else ``team``."""
        override = naming.custom(self.custom_json, "team_override")
        return override if isinstance(override, str) else self.team


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    selects: Mapping[str, str] | None = None
    wheres: tuple[str, ...] | None = None
    start_partition: str | None = None
    end_partition: str | None = None
    time_column: str | None = None
    setups: tuple[str, ...] = ()
    mutation_time_column: str | None = None
    reversal_column: str | None = None
    partition_column: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSource:
    table: str
    query: Query
    topic: str | None = None
    is_cumulative: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EntitySource:
    snapshot_table: str
    query: Query
    mutation_table: str | None = None
    mutation_topic: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinSource:
    join: "Join"
    query: Query


Source = EventSource | EntitySource | JoinSource


def topic_of(source: Source) -> str | None:
    """The stream that feeds a source; a join source's is that of its left."""
    match source:
        case EventSource():
            return source.topic
        case EntitySource():
            return source.mutation_topic
        case JoinSource():
            return topic_of(source.join.left) if source.join.left else None


def data_model_of(source: Source) -> DataModel:
    match source:
        case EventSource():
            return DataModel.EVENTS
        case EntitySource():
            return DataModel.ENTITIES
        case JoinSource():
            return data_model_of(source.join.left) if source.join.left else DataModel.EVENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    name: str
    expression: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupBy:
    meta_data: MetaData
    sources: tuple[Source, ...] = ()
    key_columns: tuple[str, ...] = ()
    aggregations: tuple[Aggregation, ...] | None = None
    accuracy: Accuracy | None = None
    backfill_start_date: str | None = None
    derivations: tuple[Derivation, ...] | None = None
    is_incremental: bool = False

    @property
    def inferred_accuracy(self) -> Accuracy:
        """As set, else TEMPORAL where any source has a stream (spec/online-fetch.md §2)."""
        if self.accuracy is not None:
            return self.accuracy
        return Accuracy.TEMPORAL if any(topic_of(source) is not None for source in self.sources) else Accuracy.SNAPSHOT

    @property
    def data_model(self) -> DataModel:
        return data_model_of(self.sources[0]) if self.sources else DataModel.EVENTS

    @property
    def tiled(self) -> bool:
        """``customJson.enable_tiling`` is the JSON value true; anything else is off."""
        return naming.custom(self.meta_data.custom_json, "enable_tiling") is True

    @property
    def batch_dataset(self) -> str:
        return naming.batch_dataset(self.meta_data.name)

    @property
    def streaming_dataset(self) -> str:
        return naming.streaming_dataset(self.meta_data.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinPart:
    group_by: GroupBy
    key_mapping: Mapping[str, str] | None = None
    """Left name to right name."""
    prefix: str | None = None

    @property
    def full_prefix(self) -> str:
        name = self.group_by.meta_data.clean_name
        return f"{self.prefix}_{name}" if self.prefix is not None else name


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalSource:
    meta_data: MetaData
    key_schema: StructType | None
    value_schema: StructType | None
    factory_name: str | None = None
    factory_params: Mapping[str, str] | None = None
    offline_group_by: GroupBy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalPart:
    source: ExternalSource
    key_mapping: Mapping[str, str] | None = None
    prefix: str | None = None

    @property
    def full_name(self) -> str:
        """``ext_[<prefix>_]<sanitised source name>``."""
        middle = f"{self.prefix}_" if self.prefix is not None else ""
        return f"ext_{middle}{self.source.meta_data.clean_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    meta_data: MetaData
    input_schema: StructType | None = None
    output_schema: StructType | None = None
    backend: str | None = None
    backend_params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTransform:
    model: Model
    input_mappings: Mapping[str, str] = field(default_factory=dict)
    output_mappings: Mapping[str, str] = field(default_factory=dict)
    prefix: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTransforms:
    transforms: tuple[ModelTransform, ...] | None = None
    passthrough_fields: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    meta_data: MetaData
    left: Source | None = None
    join_parts: tuple[JoinPart, ...] = ()
    online_external_parts: tuple[ExternalPart, ...] | None = None
    derivations: tuple[Derivation, ...] | None = None
    model_transforms: ModelTransforms | None = None
    row_ids: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupByServingInfo:
    """What an upload leaves under ``group_by_serving_info``: the definition and the schemas that its bytes have."""

    group_by: GroupBy
    selected_avro_schema: str | None
    key_avro_schema: str | None
    batch_end_date: str | None
    input_avro_schema: str | None = None
    date_format: str | None = None
