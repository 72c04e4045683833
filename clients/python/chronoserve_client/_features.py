"""What goes into fetches and what comes out of them: plain values, no protobuf. Times are epoch milliseconds."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

from chronoserve_client._errors import ChronoserveError


class Fetch(NamedTuple):
    """One row to fetch; a plain tuple does as well.

    ``name``: a join as ``team/join.v1``, or a group by as ``team.group_by.v1``. ``keys``: by the names of the join's left, or of
    the group by's key columns; None is a null. ``at``: answer as of this time; None: now.
    """

    name: str
    keys: Mapping[str, object]
    at: int | None = None


FetchLike = Fetch | tuple[str, Mapping[str, object]] | tuple[str, Mapping[str, object], int | None]


class RowStatus(enum.IntEnum):
    """How far a row can be trusted."""

    OK = 1
    """Every part answered."""
    MISSING = 2
    """No part had data for the keys."""
    DEGRADED = 3
    """Some part failed, was late or was answered without its stream; ``part_errors`` names it."""
    ERROR = 4
    """The row could not be answered; ``error`` says why."""


class Encoding(enum.IntEnum):
    """How features travel. The rows that a client answers are the same, but for AVRO, which leaves the decoding to you."""

    MAP = 1
    PACKED = 2
    """Names once for each call and values by type: for many rows a quarter of the bytes."""
    AVRO = 3
    """``row.avro`` has the bytes that the join log holds, ``row.schema_hash`` names their schema; ``row.features`` is empty."""


class Freshness(NamedTuple):
    """How new the data of one part is; 0 where there is none."""

    batch_end: int
    stream: int


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """The answer to one ``Fetch``.

    ``features``: by name; what is absent and what is None are two things, as with Chronon. ``part_errors``: why a join part, an
    external source or a derivation failed; Chronon's clients know the name with ``_exception`` behind it. ``freshness``: by part,
    when it was asked for.
    """

    status: RowStatus
    features: Mapping[str, Any] = field(default_factory=dict)
    error: ChronoserveError | None = None
    part_errors: Mapping[str, ChronoserveError] = field(default_factory=dict)
    freshness: Mapping[str, Freshness] = field(default_factory=dict)
    avro: bytes = b""
    schema_hash: str = ""

    def unwrap(self) -> Mapping[str, Any]:
        """The features, of a DEGRADED row those that there are; empty for a MISSING one.

        Raises:
            ChronoserveError: the row could not be answered.
        """
        if self.error is not None:
            raise self.error
        return self.features

    def __getitem__(self, name: str) -> Any:
        """One feature. Raises KeyError where it is absent, and as ``unwrap``."""
        return self.unwrap()[name]


@dataclass(frozen=True, slots=True)
class ValueInfo:
    """One feature of a join: the group by or external source that it comes from, the left keys that it needs, its type."""

    name: str
    group: str
    prefix: str
    left_keys: tuple[str, ...]
    type: str


@dataclass(frozen=True, slots=True)
class JoinSchema:
    """Avro schemas as JSON text; ``schema_hash`` names both."""

    name: str
    key_schema: str
    value_schema: str
    schema_hash: str
    value_infos: tuple[ValueInfo, ...]


@dataclass(frozen=True, slots=True)
class GroupBySchema:
    """Avro schemas as JSON text. ``batch_end``: of the data that is online."""

    name: str
    key_schema: str
    value_schema: str
    schema_hash: str
    input_schema: str
    selected_schema: str
    batch_end: int


@dataclass(frozen=True, slots=True)
class ExplainedRead:
    """One read of the plan. ``values``: how many came back; ``newest``: the time of the newest of them, 0 where there is none."""

    part: str
    dataset: str
    key: bytes
    after: int | None
    values: int
    newest: int
    freshness: Freshness | None
    error: ChronoserveError | None
    cached: bool


@dataclass(frozen=True, slots=True)
class Explained:
    """A row, and how it came about. ``phases``: time by phase. ``feature_parts``: the part that each feature comes from."""

    row: FeatureRow
    reads: tuple[ExplainedRead, ...]
    phases: Mapping[str, timedelta]
    feature_parts: Mapping[str, str]
