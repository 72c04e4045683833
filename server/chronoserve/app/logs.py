"""Structured logs on standard error: JSON lines in a pipe, colours on a terminal, and no secret in either."""

import logging
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import msgspec
import structlog

from chronoserve.model.errors import KVError

SECRET_NAMES = re.compile(r"password|secret|token|authorization|credential|key_bytes|value_bytes", re.IGNORECASE)
USERINFO = re.compile(r"(\w+://[^:/@\s]*):[^@/\s]+@")
REDACTED = "***"
CAUSES_MAX = 5
"""Errors before an error that are shown with it."""


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hides values with a telling name, bytes, which may be keys, and passwords inside URLs wherever they stand."""
    for name, value in event.items():
        event[name] = _redacted(name, value)
    return event


def _redacted(name: str, value: object) -> object:
    if SECRET_NAMES.search(name):
        return REDACTED
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, str):
        text = value if value.isascii() else value.encode(errors="replace").decode()  # a path may hold what is no UTF-8
        return USERINFO.sub(rf"\1:{REDACTED}@", text) if "@" in text else text
    if isinstance(value, Mapping):
        return {each: _redacted(str(each), found) for each, found in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted("", found) for found in value]
    return value


def stack(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replaces ``exc_info`` by the way that the error took. Its text is shown where it is ours: another's may quote a key."""
    given = event.pop("exc_info", None)
    error = given[1] if isinstance(given, tuple) else given if isinstance(given, BaseException) else sys.exc_info()[1] if given else None
    if error is not None:
        event["exception"] = "\n".join(_way(error))
    return event


def _way(error: BaseException, depth: int = 0) -> Iterator[str]:
    """The causes first, as Python prints them."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for each in (*((before,) if before is not None else ()), *inner):
        if depth < CAUSES_MAX:
            yield from _way(each, depth + 1)
    for frame, line in traceback.walk_tb(error.__traceback__):
        yield f"  {frame.f_code.co_filename}:{line} {frame.f_code.co_qualname}"
    yield f"{type(error).__qualname__}: {error}" if isinstance(error, KVError) else type(error).__qualname__


def configure(level: str) -> None:
    """Set up logging for this process. Raises ValueError where ``level`` is no level's name."""
    number = logging.getLevelNamesMapping()[level.upper()]
    terminal = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(serializer=_json)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        stack,
        redact,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),  # a line in one write: several processes share the pipe
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)  # what libraries log takes the same shape
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=logging.ERROR, handlers=[handler])


def _json(event: Any, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


def show_settings(redacted: dict[str, Any]) -> None:
    """Log the effective configuration, whose secrets are hidden already."""
    structlog.get_logger("chronoserve").info("effective configuration", **redacted)
