"""What tables of the configuration have in common: no unknown keys, environment variables for secrets, and what may be shown."""

import os
import re
from typing import Annotated, Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from chronoserve.model.errors import InvalidRequest

REFERENCE = re.compile(r"\$\{(\w+)\}")
SECRET = re.compile(r"pass|secret|token|key|credential|jaas|user|auth", re.IGNORECASE)
HIDDEN = "***"

Positive = Annotated[int, msgspec.Meta(gt=0)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the configuration."""


def dereferenced(value: Any, where: str) -> Any:
    """``value`` with ``${NAME}`` in its texts replaced by environment variables.

    Raises:
        InvalidRequest: a variable is not set; the text names it, and ``where`` it is referred to.
    """
    match value:
        case str():
            return REFERENCE.sub(lambda reference: _variable(reference[1], where), value)
        case dict():
            return {name: dereferenced(each, where) for name, each in value.items()}
        case list():
            return [dereferenced(each, where) for each in value]
        case _:
            return value


def _variable(name: str, where: str) -> str:
    if name not in os.environ:
        raise InvalidRequest(f"{where} refers to the environment variable {name}, which is not set")
    return os.environ[name]


def without_secrets(url: str) -> str:
    """A URL as it may be shown: without user, password and the values of its query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    names = "&".join(f"{pair.partition('=')[0]}={HIDDEN}" for pair in parts.query.split("&") if pair)
    return urlunsplit((parts.scheme, f"{HIDDEN}@{host}" if "@" in parts.netloc else host, parts.path, names, ""))


def hidden(values: dict[str, Any], *, all_of_them: bool = True) -> dict[str, Any]:
    """The names with their values hidden; where not ``all_of_them``, those whose name sounds like a secret."""
    return {name: HIDDEN if all_of_them or SECRET.search(name) else value for name, value in values.items()}
