"""Chronon's upload tables as a source of bulk loads (spec/integration.md §7.2, aggregation-and-codecs.md §12-13).

A table is judged whole before its first row is handed over, so that a load of a damaged or incomplete upload writes
nothing. The serving-info row comes last: until it is written, readers go on with the upload that was there before.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from chronoserve.ingest.source import Rows, from_row
from chronoserve.model import naming
from chronoserve.model.dataset import Kind
from chronoserve.model.errors import CorruptValue, FailedPrecondition
from chronoserve.model.naming import SERVING_INFO_KEY
from chronoserve.model.partitions import PartitionSpec
from chronoserve.warehouse.port import Condition, Table, Warehouse

if TYPE_CHECKING:
    import pyarrow as pa

KEY, VALUE, TIME, DAY = "key_bytes", "value_bytes", "ts", "ds"
BINARY = ("binary", "large_binary")
INTEGER = ("int64", "int32")
"""Types of Arrow that the columns may have; Chronon's own is the first."""
STATS_DATASETS = (
    ("_logged_daily_stats_upload", naming.LOG_STATS_DATASET),
    ("_daily_stats_upload", naming.STATS_DATASET),
    ("_consistency_upload", naming.CONSISTENCY_DATASET),
)
"""Tables by the ends of their names, longest first, whose rows carry a time and no serving info."""


def dataset_of(table: str) -> str:
    """The dataset that an upload table belongs to: ``ns.team_gb_v1_upload`` to ``TEAM_GB_V1_BATCH``."""
    for end, dataset in STATS_DATASETS:
        if table.endswith(end):
            return dataset
    last = table.rpartition(".")[2]
    return last.removesuffix("_upload").upper() + "_BATCH"


def kind_of(dataset: str) -> Kind | None:
    """The kind that a load makes a dataset of: series of statistics keep the value of every hour; None: as its name implies."""
    return Kind.TIMED if dataset in {stats for _, stats in STATS_DATASETS} else None


@dataclass(frozen=True, slots=True)
class Judged:
    """What a whole look at an upload found. ``rows``: those that will be loaded, the serving info among them."""

    rows: int
    rows_without_key: int
    serving_info: bytes | None


class UploadTable:
    """One partition of an upload table. Rows come in the table's own order, the serving-info row last."""

    def __init__(self, table: Table, *, dataset: str, partition: str, spec: PartitionSpec) -> None:
        """``partition`` must have the spec's form. Raises InvalidRequest."""
        self._table = table
        self._dataset = dataset
        self._partition = partition
        self._batch_end = spec.shift(partition, 1)
        self._spec = spec
        self._judged: Judged | None = None
        self._judged_as = ""

    @classmethod
    def of(cls, warehouse: Warehouse, name: str, *, dataset: str, partition: str, spec: PartitionSpec) -> "UploadTable":
        """The table of that name. Raises FailedPrecondition where the warehouse has none, or none that can be opened."""
        try:
            return cls(warehouse.table(name), dataset=dataset, partition=partition, spec=spec)
        except (FailedPrecondition, CorruptValue) as refused:
            raise _of_partition(refused, name, partition) from refused

    @property
    def carries_time(self) -> bool:
        """Whether it is one of statistics: rows have their own times and there is no serving info."""
        return kind_of(self._dataset) is Kind.TIMED

    def count(self) -> int:
        return self.judge().rows

    def fingerprint(self) -> str:
        return f"{self._table.name}:{self._table.fingerprint(self._conditions)}"

    @cached_property
    def _conditions(self) -> tuple[Condition, ...]:
        """Rows of the day. Chronon calls the column ``ds`` in a table without partitions, whatever partitions are called elsewhere."""
        own = self._spec.column
        known = own == DAY or own in self._table.partition_columns() or own in self._table.schema().names
        return (Condition(own if known else DAY, "==", self._partition),)

    def judge(self) -> Judged:
        """Read every row once, and keep what was found.

        Raises:
            FailedPrecondition: the partition has no rows, or not exactly one serving info, or that of another group by or day.
            CorruptValue: a file cannot be read, or the serving info is none.
        """
        if self._judged is None:
            self._judged_as = self.fingerprint()
            self._judged = self._look()
        return self._judged

    def _look(self) -> Judged:
        rows = without_key = 0
        infos: list[bytes | None] = []
        for batch in self._read():
            keys, found = batch.column(KEY), batch.column(VALUE)
            rows += batch.num_rows
            without_key += keys.null_count
            data = _data(batch)
            infos += found.filter(_equals_info(keys)).to_pylist() if data.num_rows < batch.num_rows else []
            if data.column(VALUE).null_count:
                raise CorruptValue(f"{self._place} has a row without {VALUE}: upload it again")
        return self.judged(rows, without_key, infos)

    def judged(self, rows: int, without_key: int, infos: Sequence[bytes | None]) -> Judged:
        """What is to be thought of so many rows, and of the values of those that are serving infos. Raises as ``judge`` does."""
        if not rows:
            raise FailedPrecondition(f"{self._place} has no rows; has its upload run for that day?")
        if self.carries_time:
            return Judged(rows - without_key, without_key, None)
        if len(infos) != 1:
            raise FailedPrecondition(f"{self._place} has {len(infos)} rows {SERVING_INFO_KEY.decode()} and must have one: upload it again")
        self._expect_own(infos[0])
        return Judged(rows - without_key, without_key, infos[0])

    def batches(self, start: int) -> Iterator[Rows]:
        """Raises FailedPrecondition where the table was written again since it was judged: then its serving info is not handed over."""
        judged = self.judge()
        yield from from_row(self._data_rows(start), 0)
        if self.fingerprint() != self._judged_as:
            raise FailedPrecondition(f"{self._place} was written again while it was loaded: load it again")
        if judged.serving_info is not None and start < judged.rows:
            yield Rows([SERVING_INFO_KEY], [judged.serving_info], after_all=True)

    def _data_rows(self, start: int) -> Iterator[Rows]:
        """From row number ``start`` on; those before it are decoded and no more."""
        at = 0
        for batch in self._read():
            data = _data(batch)
            if at + data.num_rows > start:
                rest = data.slice(max(0, start - at))
                times = rest.column(TIME).to_pylist() if self.carries_time else None
                yield Rows(rest.column(KEY).to_pylist(), rest.column(VALUE).to_pylist(), times)
            at += data.num_rows

    def _read(self) -> Iterator["pa.RecordBatch"]:
        """The partition's batches. Raises FailedPrecondition where a column is of another type than Chronon's uploads have."""
        kinds = {KEY: BINARY, VALUE: BINARY, **({TIME: INTEGER} if self.carries_time else {})}
        for batch in self._batches(list(kinds)):
            for name, kind in kinds.items():
                found = str(batch.schema.field(name).type)
                if found not in kind:
                    raise FailedPrecondition(f"{self._place}: its column {name} is {found} and must be {kind[0]}: upload it again")
            yield batch

    def _batches(self, columns: list[str]) -> Iterator["pa.RecordBatch"]:
        try:
            yield from self._table.read(columns, self._conditions)
        except (FailedPrecondition, CorruptValue) as refused:
            raise _of_partition(refused, self._table.name, self._partition) from refused

    def _expect_own(self, info: bytes | None) -> None:
        """Raises where the serving info is not of this dataset and day."""
        try:
            parsed = json.loads(info or b"")
            name, end = parsed["groupBy"]["metaData"]["name"], parsed["batchEndDate"]
        except (ValueError, KeyError, TypeError, RecursionError) as broken:
            raise CorruptValue(f"{self._place}: its serving info is no JSON of Chronon's: upload it again") from broken
        if naming.batch_dataset(str(name)) != self._dataset:
            raise FailedPrecondition(f"{self._place} holds the upload of {name}, which is not for dataset {self._dataset}")
        if end != self._batch_end:
            raise FailedPrecondition(f"{self._place}: its serving info ends at {end}, not at {self._batch_end}: upload that day again")

    @property
    def _place(self) -> str:
        return f"{self._table.name}/{self._partition}"


def _of_partition(refused: FailedPrecondition | CorruptValue, table: str, partition: str) -> FailedPrecondition | CorruptValue:
    """An error of a table as one of the partition that could not be loaded from it."""
    return type(refused)(f"{table}/{partition}: {refused.message.removeprefix(f'{table}: ')}")


def _equals_info(keys: "pa.Array") -> "pa.Array":
    """Whether each key is that of the serving info; null where there is none."""
    import pyarrow as pa  # noqa: PLC0415 - large, and only loads of tables need it
    import pyarrow.compute as pc  # noqa: PLC0415

    return pc.equal(keys, pa.scalar(SERVING_INFO_KEY, keys.type))


def _data(batch: "pa.RecordBatch") -> "pa.RecordBatch":
    """The rows with a key, without the serving info."""
    import pyarrow.compute as pc  # noqa: PLC0415 - as above

    is_info = _equals_info(batch.column(KEY))
    return batch.filter(pc.invert(is_info)) if is_info.null_count or pc.any(is_info).as_py() else batch
