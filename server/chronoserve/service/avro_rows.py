"""Rows of features as Avro by the value schema of their join or group by."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from chronoserve.codec.compiled import Encoder, encoder
from chronoserve.codec.join_log import schema_hash
from chronoserve.fetcher.fetch import GroupBySchema, JoinSchema
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


class AvroRows:
    """Writes rows; remembers a writer for each version of a schema."""

    def __init__(self) -> None:
        self._writers: dict[str, _Writer] = {}

    async def encode(self, schema: Schema, name: str, row: FeatureRow) -> tuple[bytes, str]:
        """The row's bytes and the hash of their schemas. What the row lacks is written as null: Avro knows no absence.

        Raises:
            KVError: the schemas cannot be had, or a value does not fit them.
        """
        found = await schema(name)
        writer = self._writers.get(key := found.name + found.value_schema)
        if writer is None:
            if len(self._writers) >= SCHEMAS_MAX:
                self._writers.clear()
            writer = self._writers[key] = _Writer(encoder(found.value_type), hash_of(found))
        return writer.write(row), writer.hash


def hash_of(schema: JoinSchema | GroupBySchema) -> str:
    """Of a join Chronon's, as the join log has it; of a group by the same computed over its own schemas."""
    if isinstance(schema, JoinSchema):
        return schema.schema_hash
    return schema_hash(schema.name, schema.key_schema, schema.value_schema)
