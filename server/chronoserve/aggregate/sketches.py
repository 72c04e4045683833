"""The library behind APPROX_UNIQUE_COUNT and APPROX_PERCENTILE, loaded when the first group by needs it."""

import functools
import importlib
from typing import Any

from chronoserve.model.confs import Operation
from chronoserve.model.errors import Unsupported


@functools.cache
def _datasketches() -> Any:
    return importlib.import_module("datasketches")


def library(operation: Operation) -> Any:
    """The library, for the operation that asks.

    Raises:
        Unsupported: it is not installed.
    """
    try:
        return _datasketches()
    except ImportError as absent:
        raise Unsupported(f"{operation.name} needs Apache DataSketches: pip install 'chronoserve[sketches]'") from absent
