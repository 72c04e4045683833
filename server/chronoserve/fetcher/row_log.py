"""Rows of joins into the response log (spec/online-fetch.md §16.1)."""

from collections.abc import Mapping
from typing import Any

import structlog

from chronoserve.fetcher.defects import defect
from chronoserve.fetcher.join_codec import JoinLog
from chronoserve.fetcher.response_log import LoggedResponse, ResponseLog
from chronoserve.model.errors import KVError
from chronoserve.model.features import FeatureRequest, FeatureRow
from chronoserve.model.naming import SCHEMA_PUBLISH_EVENT

logger = structlog.get_logger("chronoserve.fetcher")

COMPLAINT_MILLIS = 10_000
"""Rows of a join that cannot be encoded are logged at most this often."""


def publish(log: ResponseLog, schemas: JoinLog, now: int) -> None:
    """The control event that publishes the schemas; it goes before the first row that has their hash."""
    log.offer(LoggedResponse(schemas.hash.encode(), schemas.schema.encode(), SCHEMA_PUBLISH_EVENT, now, None))


def write_log(
    log: ResponseLog,
    schemas: JoinLog,
    request: FeatureRequest,
    row: FeatureRow,
    *,
    base: Mapping[str, Any],
    began: int,
    every: bool = False,
) -> bool:
    """Offer the row, if its keys are among those that are logged, or ``every`` row is. ``base``: features before derivations.

    False: it could not be encoded, which changes nothing for the caller. The reason is logged now and then.
    """
    try:
        key = schemas.key_bytes(row.keys)
        if not (every or schemas.sampled(key)):
            return True
        value = schemas.value_bytes({**base, **row.features} if row.features else base)
    except KVError as error:
        if schemas.complained_at is None or not 0 <= began - schemas.complained_at < COMPLAINT_MILLIS:
            schemas.complained_at = began
            logger.warning("a row could not be written to the response log", join=request.name, cause=error.message)
        return False
    except Exception:  # noqa: BLE001 - logged by ``defect``
        defect("a row could not be written to the response log", request.name)
        return False
    log.offer(LoggedResponse(key, value, request.name, began if request.at_millis is None else request.at_millis, schemas.hash))
    return True
