"""How bytes, times and durations are written on a command line and in a shell's output.

Bytes are text where they are printable, else ``hex:0aff``. What is printed can be given back as it stands.
"""

import base64
import binascii
import datetime as dt
import enum
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import click

T = TypeVar("T")

DURATION = re.compile(r"(\d+)(ms|s|m|h|d)")
MILLIS_OF_UNIT = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Form(enum.Enum):
    """How bytes without a prefix are written."""

    TEXT = "text"
    HEX = "hex"
    BASE64 = "base64"


@dataclass(frozen=True, slots=True)
class Notation:
    """Reads and writes bytes. ``text:``, ``hex:`` and ``base64:`` in front always say what follows."""

    form: Form = Form.TEXT

    def parse(self, text: str) -> bytes:
        """Raises ValueError where ``text`` is not of its form."""
        for form in Form:
            if text.startswith(f"{form.value}:"):
                return READERS[form](text.removeprefix(f"{form.value}:"))
        return READERS[self.form](text)

    def show(self, data: bytes) -> str:
        """``parse`` gives ``data`` back."""
        if self.form is Form.HEX:
            return data.hex()
        if self.form is Form.BASE64:
            return base64.b64encode(data).decode()
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return f"hex:{data.hex()}"
        if not text.isprintable():
            return f"hex:{data.hex()}"
        return f"text:{text}" if text.startswith(tuple(f"{form.value}:" for form in Form)) else text


def _text(text: str) -> bytes:
    # Arguments that are not UTF-8 reach Python as surrogates; here they become the bytes that they were.
    return text.encode(errors="surrogateescape")


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ValueError("hexadecimal digits come in pairs of 0-9 and a-f") from None


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("this is not base64 with its padding") from None


READERS: dict[Form, Callable[[str], bytes]] = {Form.TEXT: _text, Form.HEX: _hex, Form.BASE64: _base64}


def time_millis(text: str) -> int:
    """Epoch milliseconds from a number or an ISO 8601 time; a time without a zone is UTC.

    Raises:
        ValueError: it is neither.
    """
    if text.lstrip("-").isdigit():
        return int(text)
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither epoch milliseconds nor an ISO 8601 time such as 2024-01-01T00:00:00Z") from None
    since = (time if time.tzinfo else time.replace(tzinfo=dt.UTC)) - dt.datetime.fromtimestamp(0, dt.UTC)
    return since // dt.timedelta(milliseconds=1)


def show_time(millis: int) -> str:
    """ISO 8601 in UTC, to the millisecond; the number itself where no calendar has it."""
    try:
        time = dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(milliseconds=millis)
    except OverflowError:
        return str(millis)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def duration(text: str) -> dt.timedelta:
    """``500ms``, ``90s``, ``15m``, ``12h`` or ``7d``. Raises ValueError for anything else."""
    found = DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a duration such as 500ms, 90s, 15m, 12h or 7d")
    try:
        return dt.timedelta(milliseconds=int(found[1]) * MILLIS_OF_UNIT[found[2]])
    except OverflowError:
        raise ValueError(f"{text!r} is too long") from None


def reads(read: Callable[[str], T]) -> Callable[[click.Context, click.Parameter, str | None], T | None]:
    """The ``callback`` of an option whose text ``read`` understands or refuses with ValueError."""

    def callback(ctx: click.Context, param: click.Parameter, text: str | None) -> T | None:
        if text is None:
            return None
        try:
            return read(text)
        except ValueError as wrong:
            raise click.BadParameter(str(wrong), ctx, param) from wrong

    return callback
