"""Which transport serves; apart from both of them, because the supervisor must not import grpc."""

import importlib
from types import ModuleType
from typing import Literal

from chronoserve.model.errors import InvalidRequest

Choice = Literal["auto", "grpcio", "native"]
"""``auto``: the native transport where it is built, else grpcio."""


def native_module() -> ModuleType | None:
    """The native transport, where it has been built for this Python (``make native``)."""
    try:
        return importlib.import_module("chronoserve_native")
    except ImportError:
        return None


def is_native(choice: Choice) -> bool:
    """Whether the native transport serves.

    Raises:
        InvalidRequest: it is asked for and not there.
    """
    if choice == "grpcio":
        return False
    built = native_module() is not None
    if choice == "native" and not built:
        raise InvalidRequest("transport is native, but that is not built for this Python: run `make native`, or choose auto or grpcio")
    return built


def name(choice: Choice) -> str:
    """What serves, for people."""
    return "native" if is_native(choice) else "grpcio"
