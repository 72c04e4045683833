"""How Chronon tells rows of one key: by a hash over the key columns' bytes set end to end, nulls left out.

``("ab", "c")`` and ``("a", "bc")`` are one key to it, and so are ``("a", null)`` and ``(null, "a")``. Uploads made here keep
them apart (docs/parity.md, P10); this says which ones Chronon merges.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chronoserve.model import types
from chronoserve.model.types import DataType, StructType

_BYTES: Mapping[DataType, Callable[[Any], bytes]] = {
    types.BOOLEAN: lambda value: bytes([value]),
    types.INT: struct.Struct("<i").pack,
    types.LONG: struct.Struct("<q").pack,
    types.FLOAT: struct.Struct("<f").pack,
    types.DOUBLE: struct.Struct("<d").pack,
    types.STRING: str.encode,
    types.BINARY: bytes,
}


def hashed(keys: Sequence[Any], of: StructType) -> bytes:
    """What the hash is made of."""
    values = zip(keys, of.fields, strict=True)
    return b"".join(_BYTES.get(field.type, _other)(value) for value, field in values if value is not None)


def _other(value: Any) -> bytes:
    return repr(value).encode()
