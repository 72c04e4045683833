"""An answer or an error, as recordings tell them apart."""

from collections.abc import Callable
from typing import TypeVar

from chronoserve.model.errors import KVError

T = TypeVar("T")


def attempt(make: Callable[[], T]) -> T | KVError:
    """What ``make`` answers, or the typed error that it raises."""
    try:
        return make()
    except KVError as error:
        return error


def told(error: KVError) -> dict[str, str]:
    """An error in the recording's members."""
    return {"class": error.reason, "message": error.message}
