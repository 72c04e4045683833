"""What an external source may answer for a row: names with values that the fetcher's encoders know."""

from collections.abc import Mapping

from chronoserve.model.errors import CorruptValue, ExternalFailed, KVError

LONG_MIN, LONG_MAX = -(1 << 63), (1 << 63) - 1
DEPTH_MAX = 32


def checked(source: str, answer: object) -> Mapping[str, object] | KVError:
    """The answer as it may be passed on, or why it may not. ``source`` is the source's name, for the error."""
    if isinstance(answer, KVError):
        return answer if type(answer).__module__ == KVError.__module__ else ExternalFailed(answer.message)
    if answer is None:
        return ExternalFailed(f"the external source {source} gave no answer for this row")
    if isinstance(answer, BaseException):
        return ExternalFailed(f"the external source {source} failed for this row: {type(answer).__name__}")
    if not isinstance(answer, Mapping):
        return ExternalFailed(f"the external source {source} answered {type(answer).__name__} where values by name were due")
    try:
        _check_entries(answer, 0)
    except CorruptValue as wrong:
        return ExternalFailed(f"the external source {source} answered {wrong.message}")
    return answer


def _check_entries(entries: Mapping[object, object], depth: int) -> None:
    for name, value in entries.items():
        if not isinstance(name, str):
            raise CorruptValue(f"a name that is a {type(name).__name__}")
        _check(value, depth)


def _check(value: object, depth: int) -> None:
    if value is None or isinstance(value, (str, float, bool, bytes)):
        return
    if isinstance(value, int):
        if not LONG_MIN <= value <= LONG_MAX:
            raise CorruptValue("a number that does not fit into 64 bits")
    elif depth == DEPTH_MAX:
        raise CorruptValue(f"values nested more than {DEPTH_MAX} deep")
    elif isinstance(value, (list, tuple)):
        for element in value:
            _check(element, depth + 1)
    elif isinstance(value, Mapping):
        _check_entries(value, depth + 1)
    else:
        raise CorruptValue(f"a value of the Python type {type(value).__name__}; use None, bool, int, float, str, bytes, list or dict")
