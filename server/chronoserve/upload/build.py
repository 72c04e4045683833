"""An upload: rows of the sources in, one stored value for each key out, and the serving info that says how to read it."""

from collections.abc import Iterator

import pyarrow as pa

from chronoserve.upload.engine import Engine
from chronoserve.upload.gather import Gather, Uploaded
from chronoserve.upload.plan import UploadPlan
from chronoserve.upload.query import SourceQuery
from chronoserve.upload.schemas import UploadSchemas


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
        first = next(batches, None)
        if first is not None:
            yield from gather.rows(engine.sorted(first.schema, _after(first, batches), self.sort_keys))

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
