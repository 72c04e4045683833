"""What the response log got, compared with what Chronon's got: row by row, by field name.

The order of a value schema's fields is that of a Scala map, and its hash follows from it; readers take the schema by its
hash, so both may differ (spec/online-fetch.md §16.2). What must hold: the schema of a row was published before the row,
and the row decodes with it to the recorded keys and values.
"""

import json
from collections.abc import Iterator, Mapping, Sequence

from chronoserve.app.replay.codecs import decoder
from chronoserve.app.replay.compare import Difference, entry_differences
from chronoserve.codec.avro import type_of
from chronoserve.codec.tagged import tag
from chronoserve.fetcher.response_log import LoggedResponse
from chronoserve.model.errors import KVError
from chronoserve.model.naming import SCHEMA_PUBLISH_EVENT

Fields = dict[str, object]


class LogReader:
    """Reads both logs of a world; it remembers the schemas that each published."""

    def __init__(self) -> None:
        self._recorded: dict[str, _Schemas] = {}
        self._ours: dict[str, _Schemas] = {}

    def learn_recorded(self, recorded: Sequence[Mapping[str, object]]) -> None:
        """Take the schemas that the recorded log published; whatever becomes of the request that they came with."""
        for record in recorded:
            if record["join_name"] == SCHEMA_PUBLISH_EVENT:
                self._recorded[bytes.fromhex(str(record["key"])).decode()] = _Schemas(bytes.fromhex(str(record["value"])))

    def learn_ours(self, ours: Sequence[LoggedResponse] | None) -> None:
        """Take those that ours published."""
        for row in ours or ():
            if row.control:
                self._ours[row.key_bytes.decode()] = _Schemas(row.value_bytes)

    def differences(self, recorded: Sequence[Mapping[str, object]], ours: Sequence[LoggedResponse] | None) -> Iterator[Difference]:
        """``recorded``: the log records of one request; ``ours``: None where the log cannot be seen, and nothing is compared."""
        if ours is None:
            return
        expected = [self._recorded_row(record) for record in recorded if record["join_name"] != SCHEMA_PUBLISH_EVENT]
        got = [self._our_row(row) for row in ours if not row.control]
        if len(expected) != len(got):
            yield Difference("log", f"{len(expected)} rows", f"{len(got)} rows")
            return
        for at, (one, other) in enumerate(zip(expected, got, strict=True)):
            yield from entry_differences(one, other, f"log[{at}]")

    def _recorded_row(self, record: Mapping[str, object]) -> Fields:
        key, value = (bytes.fromhex(str(record[side])) for side in ("key", "value"))
        schemas = self._recorded.get(str(record["schema_hash"]))
        return _row(schemas, key, value, str(record["join_name"]), record["ts"])

    def _our_row(self, row: LoggedResponse) -> Fields:
        return _row(self._ours.get(str(row.schema_hash)), row.key_bytes, row.value_bytes, row.join_name, row.ts_millis)


def _row(schemas: "_Schemas | None", key: bytes, value: bytes, join_name: str, ts: object) -> Fields:
    found: Fields = {"join_name": join_name, "ts": {"long": ts}}
    if schemas is None:
        return {**found, "schema": "was not published before this row"}
    return {**found, **schemas.fields("key", key), **schemas.fields("value", value)}


class _Schemas:
    """The schemas of one control event."""

    def __init__(self, event: bytes) -> None:
        schemas = json.loads(event)
        self._types = {side: type_of(schemas[f"{side}_schema"]) for side in ("key", "value")}
        self._decoders = {side: decoder(data_type) for side, data_type in self._types.items()}

    def fields(self, side: str, data: bytes) -> Fields:
        try:
            values = self._decoders[side].decode(data)
        except KVError as error:
            return {side: f"does not decode: {error.message}"}
        return {f"{side}.{field.name}": tag(value, field.type) for field, value in zip(self._types[side].fields, values, strict=True)}
