"""Structured logs on standard error: JSON lines in a pipe, colours on a terminal, and no secret in either."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import msgspec
import structlog

SECRET_NAMES = re.compile(r"password|secret|token|authorization|credential|key_bytes|value_bytes", re.IGNORECASE)
USERINFO = re.compile(r"(\w+://[^:/@\s]*):[^@/\s]+@")
REDACTED = "***"


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hides values with a telling name, and passwords inside URLs wherever they stand."""
    for name, value in event.items():
        event[name] = _redacted(name, value)
    return event


def _redacted(name: str, value: object) -> object:
    if SECRET_NAMES.search(name):
        return REDACTED
    if isinstance(value, str):
        return USERINFO.sub(rf"\1:{REDACTED}@", value) if "@" in value else value
    if isinstance(value, Mapping):
        return {each: _redacted(str(each), found) for each, found in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted("", found) for found in value]
    return value


def configure(level: str) -> None:
    """Set up logging for this process. Raises ValueError where ``level`` is no level's name."""
    number = logging.getLevelNamesMapping()[level.upper()]
    terminal = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(serializer=_json)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
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
