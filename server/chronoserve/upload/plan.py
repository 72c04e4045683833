"""What an upload reads: of each source the table, the partitions and the query (spec/aggregation-and-codecs.md §12; golden/k_upload).

* A TEMPORAL upload of events covers partitions up to the day after ``ds``, so that events which landed a day late count;
  one with SNAPSHOT accuracy stops at ``ds``. The first partition is the one that the longest window needs, and one more.
* Entities are the snapshot of ``ds``.
* A cumulative source has all history in its newest partition: that one is read.
* A source's own startPartition and endPartition bound all of this.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from chronoserve.aggregate.java import string_hash
from chronoserve.aggregate.java_map import JavaMap, table_size
from chronoserve.aggregate.scala_map import scala_order
from chronoserve.model import naming
from chronoserve.model.confs import (
    UNBOUNDED,
    Accuracy,
    Aggregation,
    DataModel,
    EntitySource,
    EventSource,
    GroupBy,
    JoinSource,
    Operation,
    Query,
    Source,
    data_model_of,
)
from chronoserve.model.errors import FailedPrecondition, InvalidRequest, Unsupported
from chronoserve.model.partitions import DAY_MILLIS, PartitionSpec
from chronoserve.warehouse.port import Condition, Table, Warehouse, split_name

TIME = "ts"
RESERVED = frozenset({TIME, "ts_ds", "is_before", "mutation_ts"})
"""Columns that are no features, beside the partition column."""
RUN_DS = "{{ CHRONON_RUN_DS }}"
TIMED = frozenset({Operation.FIRST, Operation.LAST, Operation.FIRST_K, Operation.LAST_K})


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePlan:
    """One source. ``conditions`` choose its partitions. ``selects``: names and expressions in the order that Chronon gives
    columns; None: all columns of the table. Among them are the keys, and ``ts`` where rows have a time.
    """

    table: Table
    conditions: tuple[Condition, ...]
    selects: tuple[tuple[str, str], ...] | None
    wheres: tuple[str, ...]
    day_end_time: str | None = None
    """Rows have no time of their own: the column of partitions whose day's last millisecond is theirs."""
    empty: bool = False
    """No partition can have anything to do with the upload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPlan:
    """Everything that an upload of one group by for one day does. ``end``: epoch milliseconds at which the day ends."""

    group_by: GroupBy
    ds: str
    spec: PartitionSpec
    sources: tuple[SourcePlan, ...]
    end: int

    @property
    def accuracy(self) -> Accuracy:
        return self.group_by.inferred_accuracy

    @property
    def model(self) -> DataModel:
        return self.group_by.data_model

    @property
    def aggregations(self) -> tuple[Aggregation, ...]:
        return self.group_by.aggregations or ()

    @property
    def needs_time(self) -> bool:
        """Whether rows without a time cannot be aggregated."""
        timed = any(each.windows is not None or each.operation in TIMED for each in self.aggregations)
        return bool(self.aggregations) and (timed or self.accuracy is Accuracy.TEMPORAL or self.model is DataModel.EVENTS)


def planned(group_by: GroupBy, ds: str, warehouse: Warehouse, spec: PartitionSpec) -> UploadPlan:
    """The plan of one upload; opens the tables.

    Raises:
        InvalidRequest: the conf or the day is one that Chronon refuses too.
        FailedPrecondition: a table is missing.
        Unsupported: the conf is one that cannot be uploaded here.
    """
    refuse_unfit(group_by)
    end = spec.end_millis(ds)
    sources = tuple(_source_plan(group_by, flat, ds, warehouse, spec) for flat in map(without_join, group_by.sources))
    return UploadPlan(group_by=group_by, ds=ds, spec=spec, sources=sources, end=end)


def refuse_unfit(group_by: GroupBy) -> None:
    """What a conf alone says of an upload; raises InvalidRequest and Unsupported as ``planned`` does."""
    name = group_by.meta_data.name
    if not group_by.sources or not group_by.key_columns:
        raise InvalidRequest(f"{name} has no sources or no key columns: there is nothing to upload", field="sources")
    if len({data_model_of(source) for source in group_by.sources}) > 1:
        raise InvalidRequest(f"{name} mixes events and entities: its sources must all be of one kind", field="sources")
    snapshot_events = group_by.inferred_accuracy is Accuracy.SNAPSHOT and group_by.data_model is DataModel.EVENTS
    if group_by.is_incremental and not snapshot_events:
        raise InvalidRequest(f"{name} is incremental, which only events with SNAPSHOT accuracy can be", field="isIncremental")
    if group_by.aggregations is None and group_by.data_model is DataModel.EVENTS:
        raise InvalidRequest(f"{name} has events and no aggregations: give it some, or make its source an entity", field="aggregations")
    if any(query_of(source).setups for source in group_by.sources):
        raise Unsupported(f"{name} sets up functions of its own (query.setups): upload it on Spark, with Chronon's jar")


def without_join(source: Source) -> EventSource | EntitySource:
    """A join source as the table that the join's backfill wrote (§17); any other as it is."""
    if not isinstance(source, JoinSource):
        return source
    meta = source.join.meta_data
    table = f"{meta.output_namespace or 'default'}.{meta.clean_name}"
    if data_model_of(source) is DataModel.ENTITIES:
        return EntitySource(snapshot_table=table, query=source.query)
    return EventSource(table=table, query=source.query)


def query_of(source: Source) -> Query:
    return source.query


def _source_plan(group_by: GroupBy, source: EventSource | EntitySource, ds: str, warehouse: Warehouse, spec: PartitionSpec) -> SourcePlan:
    name = source.table if isinstance(source, EventSource) else source.snapshot_table
    table, query = warehouse.table(name), _with_run_ds(source.query, ds)
    column = query.partition_column or spec.column
    _, subpartitions = split_name(name)
    first, last = _partitions(group_by, source, ds, spec) if not _is_cumulative(source) else (_newest(query, table, column),) * 2
    selects, day_end = _selects(group_by, source, query, (spec.column, column))
    return SourcePlan(
        table=table,
        conditions=(*subpartitions, *_between(first, last, column if _partitioned(table, column) else None)),
        selects=selects,
        wheres=query.wheres or (),
        day_end_time=day_end,
        empty=first is not None and last is not None and first > last,
    )


def _is_cumulative(source: EventSource | EntitySource) -> bool:
    return isinstance(source, EventSource) and source.is_cumulative


def _partitioned(table: Table, column: str) -> bool:
    """A table without partitions is read as a whole, unless it has the column all the same."""
    return bool(table.partition_columns()) or column in table.schema().names


def _between(first: str | None, last: str | None, column: str | None) -> tuple[Condition, ...]:
    if column is None:
        return ()
    if first is not None and first == last:
        return (Condition(column, "==", first),)
    lower = (Condition(column, ">=", first),) if first is not None else ()
    return (*lower, Condition(column, "<=", last)) if last is not None else lower


# partitions


def _partitions(group_by: GroupBy, source: EventSource | EntitySource, ds: str, spec: PartitionSpec) -> tuple[str | None, str]:
    """First and last partition; None: no bound."""
    query = source.query
    if isinstance(source, EntitySource):
        return max(ds, query.start_partition or ds), min(ds, query.end_partition or ds)
    day = spec.shift(ds, 1) if group_by.inferred_accuracy is Accuracy.TEMPORAL else ds
    starts = [start for start in (_first_needed(group_by, day, spec), query.start_partition) if start is not None]
    return max(starts, default=None), min(day, query.end_partition or day)


def _newest(query: Query, table: Table, column: str) -> str:
    if query.end_partition is not None:
        return query.end_partition
    found = table.partitions(column)
    if not found:
        raise FailedPrecondition(f"{table.name} has no partitions of {column}; has its job run?")
    return found[-1]


def _first_needed(group_by: GroupBy, day: str, spec: PartitionSpec) -> str | None:
    """The day before ``day`` less the longest window; None where some aggregation has no window."""
    longest = longest_window(group_by)
    return None if longest is None else spec.shift(day, (-DAY_MILLIS - longest) // DAY_MILLIS)


def longest_window(group_by: GroupBy) -> int | None:
    """Milliseconds; None where some aggregation has no window."""
    windows = [window for each in group_by.aggregations or () for window in (each.windows if each.windows is not None else (UNBOUNDED,))]
    return None if not windows or any(window.unbounded for window in windows) else max(window.millis for window in windows)


# columns


def _with_run_ds(query: Query, ds: str) -> Query:
    """The query with the run's day where it asks for it."""
    selects = query.selects and {name: text.replace(RUN_DS, ds) for name, text in query.selects.items()}
    wheres = query.wheres and tuple(where.replace(RUN_DS, ds) for where in query.wheres)
    return replace(query, selects=selects, wheres=wheres)


def _selects(
    group_by: GroupBy, source: EventSource | EntitySource, query: Query, partition: tuple[str, str]
) -> tuple[tuple[tuple[str, str], ...] | None, str | None]:
    """Names and expressions, and the column of partitions where the day's end is the rows' time. ``partition``: what the
    column of partitions is called in outputs, and in the table.

    Without selects Chronon reads the table as it is: the time column and what it would fill in do not count.
    """
    untimed = isinstance(source, EventSource) and query.time_column is None and group_by.inferred_accuracy is Accuracy.SNAPSHOT
    if query.selects is None:
        return None, None
    filled = {partition[0]: quoted(partition[1])}
    if query.time_column is not None:
        filled[TIME] = query.time_column
    elif isinstance(source, EventSource):
        filled[TIME] = TIME
    filled |= {key: quoted(key) for key in group_by.key_columns}
    selects = filled | {name: query.selects[name] for name in java_order(query.selects)}
    ordered = [(name, selects[name]) for name, _ in scala_order(((name, 0) for name in selects), string_hash)]
    day_end = partition[1] if untimed and TIME not in query.selects else None
    return tuple((name, text) for name, text in ordered if day_end is None or name != TIME), day_end


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def java_order(selects: Mapping[str, object]) -> list[str]:
    """Names in the order of the java.util.HashMap that Thrift copies a conf's selects into."""
    copied = JavaMap(string_hash, dict.fromkeys(selects, 0), table_size(int(len(selects) / 0.75 + 1.0)))
    return [name for name, _ in copied.in_order()]


def output_columns(plan: UploadPlan, names: Sequence[str]) -> tuple[str, ...]:
    """The columns that a group by without aggregations stores: all but keys, times and partitions."""
    dropped = RESERVED | set(plan.group_by.key_columns) | {plan.spec.column}
    return tuple(name for name in names if name not in dropped)


def upload_table(group_by: GroupBy) -> str:
    """The table that the upload is written to."""
    meta = group_by.meta_data
    return naming.upload_table(meta.output_namespace or "default", meta.name)
