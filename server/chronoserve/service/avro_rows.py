"""Rows of features as Avro by the value schema of their join or group by."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from chronoserve.codec.compiled import Encoder, encoder
from chronoserve.codec.join_log import schema_hash
from chronoserve.fetcher.fetch import GroupBySchema, JoinSchema
from chronoserve.model.errors import KVError
from chronoserve.model.features import FeatureRow

Schema = Callable[[str], Awaitable[JoinSchema | GroupBySchema]]
"""The schemas of a name. Raises KVError."""

SCHEMAS_MAX = 4096


class _Writer(NamedTuple):
    encoder: Encoder
    hash: str

    def write(self, row: FeatureRow) -> bytes:
        """Raises InvalidRequest where a value cannot have its type."""
        return self.encoder.encode(row.features or {})


Written = tuple[bytes, str] | KVError
"""A row's bytes and the hash of their schemas; or why there are none."""


class AvroRows:
    """Writes rows; remembers a writer for each version of a schema."""

    def __init__(self) -> None:
        self._writers: dict[str, _Writer] = {}

    async def write(self, schema: Schema, names: Sequence[str], rows: Sequence[FeatureRow]) -> list[Written]:
        """One answer for each row, whose name stands in its place among ``names``; each name's schema is asked for once.

        What a row lacks is written as null: Avro knows no absence.
        """
        writers = {name: await self._writer(schema, name) for name in dict.fromkeys(names)}
        return [_written(writers[name], row) for name, row in zip(names, rows, strict=True)]

    async def _writer(self, schema: Schema, name: str) -> _Writer | KVError:
        try:
            found = await schema(name)
            writer = self._writers.get(key := found.name + found.value_schema)
            if writer is None:
                if len(self._writers) >= SCHEMAS_MAX:
                    self._writers.clear()
                writer = self._writers[key] = _Writer(encoder(found.value_type), hash_of(found))
        except KVError as error:
            return error
        return writer


def _written(writer: _Writer | KVError, row: FeatureRow) -> Written:
    if isinstance(writer, KVError):
        return writer
    try:
        return writer.write(row), writer.hash
    except KVError as error:
        return error


def hash_of(schema: JoinSchema | GroupBySchema) -> str:
    """Of a join Chronon's, as the join log has it; of a group by the same computed over its own schemas."""
    if isinstance(schema, JoinSchema):
        return schema.schema_hash
    return schema_hash(schema.name, schema.key_schema, schema.value_schema)
