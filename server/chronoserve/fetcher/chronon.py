"""Rows in the shape of Chronon's own replies, for its clients and for comparisons with it (spec/online-fetch.md §15.1, §19.4)."""

from typing import Any

from chronoserve.model.errors import LateBatch
from chronoserve.model.features import FeatureRow

EXCEPTION = "_exception"


def chronon_features(row: FeatureRow) -> dict[str, Any] | None:
    """The reply map: features, and for each part that failed an entry ``<stem>_exception`` with the reason in a line.

    None is Chronon's null map, or no map at all: a group by without anything for the key, or a row that failed as a whole
    (``row.error`` says why, where Chronon fails the call). Late batch data is degraded silently in Chronon, and so here.
    """
    if row.features is None and not row.part_errors:
        return None
    failures = {f"{stem}{EXCEPTION}": error.message for stem, error in row.part_errors.items() if not isinstance(error, LateBatch)}
    return {**(row.features or {}), **failures}
