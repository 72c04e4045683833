"""Structs by field name: what Chronon's structured calls answer (spec/online-fetch.md §14)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from chronoserve.model.features import FeatureRow
from chronoserve.model.types import DataType, ListType, MapType, StructType

Name = Callable[[Any], Any]


def structured_row(row: FeatureRow) -> FeatureRow:
    """The row with every struct that its types declare as a dict; what has no type is left as it is."""
    if not row.features:
        return row
    return replace(row, features={name: _named(value, row.types.get(name)) for name, value in row.features.items()})


def _named(value: Any, data_type: DataType | None) -> Any:
    give = _naming(data_type)
    return value if give is None else give(value)


def _naming(data_type: DataType | None) -> Name | None:
    """What gives the structs within a value their names; None where a value of the type has none."""
    if isinstance(data_type, StructType):
        return _struct(data_type)
    if isinstance(data_type, ListType):
        return _each(_naming(data_type.element))
    if isinstance(data_type, MapType):
        return _each_value(_naming(data_type.value))
    return None


def _each(name: Name | None) -> Name | None:
    return None if name is None else lambda value: None if value is None else [name(item) for item in value]


def _each_value(name: Name | None) -> Name | None:
    return None if name is None else lambda value: None if value is None else {key: name(item) for key, item in value.items()}


def _struct(struct: StructType) -> Name:
    fields = tuple((field.name, _naming(field.type)) for field in struct.fields)

    def name(value: Any) -> Any:
        """Positional values shorter than the schema leave the rest out; a struct that comes by name is taken so."""
        if value is None:
            return None
        if isinstance(value, Mapping):
            pairs = [(field, give, value[field]) for field, give in fields if field in value]
        else:
            pairs = [(field, give, item) for (field, give), item in zip(fields, value, strict=False)]
        return {field: item if give is None else give(item) for field, give, item in pairs}

    return name
