"""Chronon's upload tables as a source of bulk loads (spec/integration.md §7.2, aggregation-and-codecs.md §12-13).

A table is judged whole before its first row is handed over, so that a load of a damaged or incomplete upload writes
nothing. The serving-info row comes last: until it is written, readers go on with the upload that was there before.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chronoserve.ingest.source import ROWS_PER_BATCH, Row
from chronoserve.model import naming
from chronoserve.model.errors import CorruptValue, FailedPrecondition
from chronoserve.model.naming import SERVING_INFO_KEY
from chronoserve.model.partitions import PartitionSpec
from chronoserve.warehouse.port import Condition, Table

KEY, VALUE, TIME = "key_bytes", "value_bytes", "ts"
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
        self._conditions = (Condition(spec.column, "==", partition),)
        self._judged: Judged | None = None

    @property
    def carries_time(self) -> bool:
        """Whether it is one of statistics: rows have their own times and there is no serving info."""
        return self._dataset in {dataset for _, dataset in STATS_DATASETS}

    def count(self) -> int:
        return self.judge().rows

    def fingerprint(self) -> str:
        return f"{self._table.name}:{self._table.fingerprint(self._conditions)}"

    def judge(self) -> Judged:
        """Read every row once, and keep what was found.

        Raises:
            FailedPrecondition: the partition has no rows, or not exactly one serving info, or that of another group by or day.
            CorruptValue: a file cannot be read, or the serving info is none.
        """
        if self._judged is None:
            self._judged = self._look()
        return self._judged

    def _look(self) -> Judged:
        rows = without_key = 0
        infos: list[bytes | None] = []
        for keys, found, _ in self._columns():
            rows += len(keys)
            without_key += keys.count(None)
            infos += [value for key, value in zip(keys, found, strict=True) if key == SERVING_INFO_KEY]
        if not rows:
            raise FailedPrecondition(f"{self._place} has no rows; has its upload run for that day?")
        if self.carries_time:
            return Judged(rows - without_key, without_key, None)
        if len(infos) != 1:
            raise FailedPrecondition(f"{self._place} has {len(infos)} rows {SERVING_INFO_KEY.decode()} and must have one: upload it again")
        self._expect_own(infos[0])
        return Judged(rows - without_key, without_key, infos[0])

    def batches(self, start: int) -> Iterator[list[Row]]:
        judged = self.judge()
        at = 0
        for rows in self._data_rows():
            if at + len(rows) > start:
                yield rows[max(0, start - at) :]
            at += len(rows)
        if judged.serving_info is not None and start < judged.rows:
            yield [Row(SERVING_INFO_KEY, judged.serving_info, None)]

    def _data_rows(self) -> Iterator[list[Row]]:
        for keys, found, times in self._columns():
            rows = [
                Row(key, self._expect_value(value), ts)
                for key, value, ts in zip(keys, found, times, strict=True)
                if key is not None and key != SERVING_INFO_KEY
            ]
            yield from (rows[at : at + ROWS_PER_BATCH] for at in range(0, len(rows), ROWS_PER_BATCH))

    def _columns(self) -> Iterator[tuple[list[bytes | None], list[bytes | None], Sequence[int | None]]]:
        """Keys, values and times of each record batch."""
        columns = [KEY, VALUE, *([TIME] if self.carries_time else [])]
        for batch in self._table.read(columns, self._conditions):
            keys, found = batch.column(KEY).to_pylist(), batch.column(VALUE).to_pylist()
            yield keys, found, batch.column(TIME).to_pylist() if self.carries_time else [None] * len(keys)

    def _expect_value(self, value: bytes | None) -> bytes:
        if value is None:
            raise CorruptValue(f"{self._place} has a row without {VALUE}: upload it again")
        return value

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
