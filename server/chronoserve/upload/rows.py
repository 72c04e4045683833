"""The rows of an upload table as Arrow batches: data rows, then the serving info (spec/aggregation-and-codecs.md §12)."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import pyarrow as pa

from chronoserve.model.naming import SERVING_INFO_KEY
from chronoserve.upload.avro_json import AvroJson
from chronoserve.upload.build import Upload
from chronoserve.upload.engine import Engine
from chronoserve.upload.gather import Uploaded
from chronoserve.upload.schemas import UploadSchemas

SCHEMA: Final = pa.schema(
    [("key_bytes", pa.binary()), ("value_bytes", pa.binary()), ("key_json", pa.string()), ("value_json", pa.string()), ("ds", pa.string())]
)
ROWS_PER_BATCH = 4_096
ONE_IN: Final = 100
"""Of so many rows one has its JSON; which one, the key's checksum says."""

Row = tuple[bytes, bytes, str | None, str | None]


def table_rows(upload: Upload, engine: Engine, info: str) -> Iterator[pa.RecordBatch]:
    """Batches of ``SCHEMA``; the last row is the serving info. Raises what ``Upload.rows`` does."""
    yield from data_rows(upload, upload.rows(engine))
    yield info_row(upload, info)


def data_rows(schemas: UploadSchemas, found: Iterable[Uploaded]) -> Iterator[pa.RecordBatch]:
    """Batches of ``SCHEMA`` for rows as they come."""
    as_json = _Json(schemas)
    rest: Iterator[Row] = ((row.key_bytes, row.value_bytes, *as_json.of(row)) for row in found)
    while rows := list(islice(rest, ROWS_PER_BATCH)):
        yield _batch(rows, schemas.plan.ds)


def info_row(schemas: UploadSchemas, info: str) -> pa.RecordBatch:
    """The row of the serving info."""
    return _batch([(SERVING_INFO_KEY, info.encode(), SERVING_INFO_KEY.decode(), info)], schemas.plan.ds)


def _batch(rows: Sequence[Row], ds: str) -> pa.RecordBatch:
    columns = [*zip(*rows, strict=True), [ds] * len(rows)]
    return pa.RecordBatch.from_arrays([pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


class _Json:
    def __init__(self, upload: UploadSchemas) -> None:
        self._keys, self._values = AvroJson(upload.key_type), AvroJson(upload.value_type_in_spark)

    def of(self, row: Uploaded) -> tuple[str | None, str | None]:
        if zlib.crc32(row.key_bytes) % ONE_IN:
            return None, None
        return self._keys.text(row.keys), self._values.text(row.values)
