"""FetchRequest to what the use cases take: each request on its own, so that a wrong one is its own row's error."""

from collections.abc import Sequence

from chronoserve.model.errors import InvalidRequest
from chronoserve.model.features import FeatureRequest
from chronoserve.service.features import Asked, Target
from chronoserve.v1 import fetcher_pb2
from chronoserve.wire.feature_values import decode

MILLIS_MAX = 253_402_300_799_999
"""The end of the year 9999: what is later was not meant as milliseconds."""

_TARGETS = {fetcher_pb2.FETCH_TARGET_JOINS: Target.JOINS, fetcher_pb2.FETCH_TARGET_GROUP_BYS: Target.GROUP_BYS}


def requests(found: Sequence[fetcher_pb2.FeatureRequest]) -> list[Asked]:
    """One for each request, in order."""
    return [request(each) for each in found]


def request(found: fetcher_pb2.FeatureRequest) -> Asked:
    """The request, or why it cannot be read."""
    try:
        keys = {name: decode(value) for name, value in found.keys.items()}
    except InvalidRequest as wrong:
        return wrong
    if not found.HasField("at_millis"):
        return FeatureRequest(found.name, keys)
    at_millis = found.at_millis
    if not 0 <= at_millis <= MILLIS_MAX:
        return InvalidRequest(f"at_millis is epoch milliseconds, not negative; got {at_millis}", field="at_millis")
    return FeatureRequest(found.name, keys, at_millis)


def target(found: fetcher_pb2.FetchTarget) -> Target:
    """Raises InvalidRequest where it is neither joins nor group bys."""
    if found not in _TARGETS:
        raise InvalidRequest("target is FETCH_TARGET_JOINS or FETCH_TARGET_GROUP_BYS", field="target")
    return _TARGETS[found]
