"""What every place that logged rows go to has in common."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from chronoserve.model.logged import LoggedResponse


class Sink(Protocol):
    """A place for logged rows. One writer calls it, never twice at once."""

    lost: int
    """Rows that it had taken and could not finish; the writer takes them from here."""

    async def write(self, rows: Sequence[LoggedResponse]) -> list[LoggedResponse]:
        """Take the rows; those that it refused, to be tried again. What it took it finishes until ``close``, or counts as lost.

        Raises:
            KVError: it took none.
        """

    async def settle(self, *, now_millis: int) -> None:
        """Called after each batch, and every second while there are none: time to finish what was begun. Raises KVError."""

    async def close(self, *, seconds: float) -> None:
        """Finish everything within the time given, and let go of it. Raises KVError."""


class Base64Row(msgspec.Struct, frozen=True, gc=False):
    """A row as the offline half reads it, with the column names of its table (spec/online-fetch.md §16.3)."""

    key_base64: str
    value_base64: str
    name: str
    ts_millis: int
    schema_hash: str | None


AVRO_SCHEMA = {
    "type": "record",
    "name": "LoggableResponseBase64",
    "namespace": "ai.chronon.online",
    "fields": [
        {"name": "key_base64", "type": "string"},
        {"name": "value_base64", "type": "string"},
        {"name": "name", "type": "string"},
        {"name": "ts_millis", "type": "long"},
        {"name": "schema_hash", "type": ["null", "string"], "default": None},
    ],
}


def as_base64(row: LoggedResponse) -> Base64Row:
    return Base64Row(row.key_base64, row.value_base64, row.join_name, row.ts_millis, row.schema_hash)


def as_json(row: LoggedResponse) -> bytes:
    """The row as a JSON object by column names."""
    return msgspec.json.encode(as_base64(row))
