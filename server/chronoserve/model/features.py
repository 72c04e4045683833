"""Feature requests and their answers, as every face of the fetcher speaks of them.

A value, a miss, a degraded value and an error are four different answers (spec/product.md §2): the row's ``status``
tells which, and ``part_errors`` names each part that is not what it should be, with the reason.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from chronoserve.model.errors import KVError
from chronoserve.model.types import DataType


class RowStatus(enum.IntEnum):
    """How far a row can be trusted; the numbers are those of chronoserve.v1.RowStatus."""

    OK = 1
    MISSING = 2
    DEGRADED = 3
    ERROR = 4


@dataclass(frozen=True, slots=True)
class FeatureRequest:
    """One row that is asked for.

    ``name``: a join as ``team/join.v1`` or a group by as ``team.group_by.v1``. ``keys``: by the names of the join's left
    (or of the group by's key columns), values as ``chronoserve.model.boxed`` says; None stands for a null.
    ``at_millis``: epoch milliseconds, or None for now.
    """

    name: str
    keys: Mapping[str, object]
    at_millis: int | None = None


@dataclass(slots=True)
class Freshness:
    """How new the data of one part is, in epoch milliseconds; 0 where there is none."""

    batch_end_millis: int = 0
    stream_millis: int = 0


@dataclass(slots=True)
class FeatureRow:
    """The answer to one request.

    ``features`` holds what Chronon's reply holds, less its ``*_exception`` entries; absent and null are two things. None:
    a group by that has nothing for the key (Chronon's null map), or a row that is an ERROR. ``types`` declares the type of
    features by name; what it lacks is a boxed value of an external source. ``keys``: the request's keys, cast as Chronon
    casts them. ``part_errors``: by the stem of Chronon's entry, so ``<stem>_exception`` is the name that its clients look for.
    """

    status: RowStatus
    features: dict[str, object] | None
    types: Mapping[str, DataType]
    keys: Mapping[str, object]
    error: KVError | None = None
    part_errors: dict[str, KVError] = field(default_factory=dict)
    freshness: dict[str, Freshness] = field(default_factory=dict)
