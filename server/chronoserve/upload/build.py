"""An upload: rows of the sources in, one stored value for each key out, and the serving info that says how to read it."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from chronoserve.model.partitions import DAY_MILLIS
from chronoserve.upload.engine import Engine
from chronoserve.upload.gather import Gather, Uploaded
from chronoserve.upload.plan import UploadPlan, longest_window
from chronoserve.upload.query import SourceQuery
from chronoserve.upload.schemas import UploadSchemas
from chronoserve.upload.values import Days


class Upload(UploadSchemas):
    """One group by's upload for one day, its queries evaluated by our own SQL. ``rows_read`` counts while ``rows`` runs.

    Raises:
        InvalidRequest: the conf is one that Chronon refuses too.
        Unsupported: it needs a function or a library that is not there.
    """

    def __init__(self, plan: UploadPlan) -> None:
        self._queries = [SourceQuery(source, partition_end=plan.spec.end_millis) for source in plan.sources]
        super().__init__(plan, [query.type for query in self._queries])
        self.rows_read = 0

    def rows(self, engine: Engine) -> Iterator[Uploaded]:
        """The upload's data rows, each key once; a group by without aggregations has a row for each of its table's."""
        gather = Gather(self)
        batches = self._batches(gather)
        if not self.plan.aggregations:
            yield from gather.plain_rows(batches)
            return
        yield from gather.rows(self._ordered(batches, engine))

    def days(self, engine: Engine) -> Iterator[tuple[Sequence[Any], int, Sequence[Any]]]:
        """Of a snapshot of events, what Chronon keeps of it where it is incremental: keys, a day's start, that day's stored IR.

        It goes back as far as the longest window, one day less than what is read.
        """
        gather = Gather(self)
        longest = longest_window(self.plan.group_by)
        for keys, gathered in gather.groups(self._ordered(self._batches(gather), engine)):
            assert isinstance(gathered, Days), "incremental group bys are snapshots of events"
            yield from (
                (keys, day, stored) for day, stored in gathered.days() if longest is None or day >= self.plan.end - DAY_MILLIS - longest
            )

    def _ordered(self, batches: Iterator[pa.RecordBatch], engine: Engine) -> Iterator[pa.RecordBatch]:
        first = next(batches, None)
        return iter(()) if first is None else engine.sorted(first.schema, _after(first, batches), self.sort_keys)

    def _batches(self, gather: Gather) -> Iterator[pa.RecordBatch]:
        """Keys and inputs of all sources' rows that count."""
        names = list(dict.fromkeys((*self.key_type.names, *self.inputs)))
        for query in self._queries:
            for batch in query.batches(names):
                self.rows_read += batch.num_rows
                prepared = gather.prepared(batch)
                if prepared.num_rows:
                    yield prepared


def _after(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest
