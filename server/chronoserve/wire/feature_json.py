"""Chronon's JSON of feature rows (spec/online-fetch.md §19.4): what its service writes with Jackson, number for number.

Structs are arrays (objects where a SQL derivation answered them by name), bytes are Base64, and what JSON has no number for
is a text: "NaN", "Infinity", "-Infinity". A float prints with the digits that 32 bits need, as Java prints it.
"""

import base64
import math
from collections.abc import Callable, Mapping
from typing import Any

from chronoserve.fetcher.chronon import EXCEPTION, chronon_features
from chronoserve.model.boxed import Float
from chronoserve.model.errors import KVError
from chronoserve.model.features import FeatureRow
from chronoserve.model.types import DOUBLE, FLOAT, STRING, DataType, ListType, MapType, Primitive, StructType
from chronoserve.service.avro_rows import Written
from chronoserve.wire.feature_values import key_text, pack_float

Convert = Callable[[Any], Any]
"""A value that is not null as what a JSON encoder writes. It takes any value: one that is not of its type is what it is."""

SUCCESS, FAILURE = "Success", "Failure"
PLANS_MAX = 4096
FLOAT_DIGITS = range(6, 10)
"""Nine digits tell any two numbers of 32 bits apart, six are too few for some."""


class RowJson:
    """Rows as members of ``results``; remembers which features of a plan need converting."""

    def __init__(self) -> None:
        self._plans: dict[int, tuple[Mapping[str, DataType], dict[str, Convert]]] = {}

    def result(self, row: FeatureRow) -> dict[str, Any]:
        """A row as Chronon's service tells it. A failed part is an entry of its features, a failed row a Failure."""
        keys = {name: untyped(value) for name, value in row.keys.items()}
        if row.error is not None and not row.part_errors:
            return {"status": FAILURE, "entityKeys": keys, "error": row.error.message}
        features = chronon_features(row)
        if features is None:
            return {"status": SUCCESS, "entityKeys": keys}
        return {"status": SUCCESS, "entityKeys": keys, "features": self.features(features, row.types)}

    def features(self, features: Mapping[str, object], types: Mapping[str, DataType]) -> dict[str, Any]:
        """Values by name."""
        plan = self._plans.get(id(types))
        if plan is None or plan[0] is not types:
            if len(self._plans) >= PLANS_MAX:
                self._plans.clear()
            plan = self._plans[id(types)] = types, {}
        converts = plan[1]
        converted: dict[str, Any] = {}
        for name, value in features.items():
            if value is None:
                converted[name] = None
                continue
            convert = converts.get(name)
            if convert is None:
                declared = types.get(name)
                convert = untyped if declared is None else converter(declared)
                if declared is not None:
                    converts[name] = convert
            converted[name] = convert(value)
        return converted


def avro_result(row: FeatureRow, written: Written) -> dict[str, Any]:
    """A row as the fork's second version of the route tells it: values as Base64 Avro, errors by name beside them."""
    keys = {name: untyped(value) for name, value in row.keys.items()}
    errors = {f"{stem}{EXCEPTION}": error.message for stem, error in row.part_errors.items()}
    failure = row.error if row.error is not None and not row.part_errors else written
    if isinstance(failure, KVError):
        return {"status": FAILURE, "entityKeys": keys, "featuresErrors": errors, "error": failure.message}
    text = base64.b64encode(failure[0]).decode()
    return {"status": SUCCESS, "entityKeys": keys, "featuresErrors": errors, "featureAvroString": text}


def converter(data_type: DataType) -> Convert:
    """How values of the type are converted."""
    match data_type:
        case ListType(Primitive() as element) if element not in (FLOAT, DOUBLE):
            return _checked_list
        case ListType(element):
            return _list(converter(element))
        case MapType(key, value):
            return _map(converter(value)) if key == STRING or isinstance(key, Primitive) else untyped
        case StructType():
            return _struct(data_type)
        case _ if data_type == FLOAT:
            return lambda value: _float(value) if isinstance(value, float) else untyped(value)
        case _ if data_type == DOUBLE:
            return _double
        case _:
            return untyped


def _checked_list(value: Any) -> Any:
    """A list of what JSON holds as it is needs no work, whatever its length."""
    return value if type(value) is list else untyped(value)


def _list(element: Convert) -> Convert:
    def convert(value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            return untyped(value)
        return [None if each is None else element(each) for each in value]

    return convert


def _map(element: Convert) -> Convert:
    def convert(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return untyped(value)
        return {key_text(key): None if each is None else element(each) for key, each in value.items()}

    return convert


def _struct(data_type: StructType) -> Convert:
    converts = [converter(field.type) for field in data_type.fields]
    by_name = dict(zip(data_type.names, converts, strict=True))

    def convert(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: None if each is None else by_name.get(name, untyped)(each) for name, each in value.items()}
        if not isinstance(value, (tuple, list)) or len(value) != len(converts):
            return untyped(value)
        return [None if each is None else of_field(each) for of_field, each in zip(converts, value, strict=True)]

    return convert


def _double(value: Any) -> Any:
    if type(value) is float and value - value == 0.0:
        return value
    return untyped(value)


def _float(value: float) -> float | str:
    """The shortest decimal that is this number among those of 32 bits."""
    if not math.isfinite(value):
        return _no_number(value)
    wanted = pack_float(value)
    for digits in FLOAT_DIGITS:
        found = float(f"{value:.{digits}g}")
        if _packed(found) == wanted:
            return found
    return float(value)


def _packed(value: float) -> bytes:
    """Empty for what rounds beyond the largest number of 32 bits."""
    try:
        return pack_float(value)
    except OverflowError:
        return b""


def _no_number(value: float) -> str:
    if value != value:  # noqa: PLR0124 - only NaN differs from itself
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def untyped(value: Any) -> Any:
    """A value of which no type is known, by what it is."""
    match value:
        case None | bool() | str() | bytes():
            return value
        case int():
            return int(value)
        case Float():
            return _float(value)
        case float():
            return float(value) if math.isfinite(value) else _no_number(value)
        case Mapping():
            return {key_text(key): untyped(each) for key, each in value.items()}
        case list() | tuple():
            return [untyped(each) for each in value]
        case _:
            return str(value)
