"""A fetched join as it is logged for the comparison with what is computed offline (spec/online-fetch.md §16)."""

import base64
from dataclasses import dataclass

from chronoserve.model.naming import SCHEMA_PUBLISH_EVENT


@dataclass(frozen=True, slots=True)
class LoggedResponse:
    """Chronon's LoggableResponse: the keys and values of one fetched row, as Avro.

    ``join_name``: as it was requested. ``ts_millis``: the time that was asked for, or when the call began. ``schema_hash``
    names the schemas of both; None in a control event, which publishes them: its key is the hash, its value the schemas.
    """

    key_bytes: bytes
    value_bytes: bytes
    join_name: str
    ts_millis: int
    schema_hash: str | None

    @property
    def control(self) -> bool:
        """Whether it publishes schemas. Rows with a hash that was never published cannot be read."""
        return self.join_name == SCHEMA_PUBLISH_EVENT

    @property
    def key_base64(self) -> str:
        return base64.b64encode(self.key_bytes).decode()

    @property
    def value_base64(self) -> str:
        return base64.b64encode(self.value_bytes).decode()
