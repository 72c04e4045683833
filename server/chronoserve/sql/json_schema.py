"""The schemas that JSON functions take and give: DDL texts."""

from typing import Any

from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import BOOLEAN, DOUBLE, LONG, STRING, DataType, ListType, MapType, StructType
from chronoserve.sql.coercion import common
from chronoserve.sql.json_text import Pairs
from chronoserve.sql.type_text import table_schema
from chronoserve.sql.types import NULL, PRECISION_MAX, DecimalType, field_name, spark_name, struct


def schema_of(text: str | None) -> DataType:
    """The type of a from_json schema.

    Raises:
        InvalidRequest: the text is no schema, or not one of a struct, an array or a map.
    """
    if text is None:
        raise InvalidRequest("from_json takes a schema, as 'a INT, b ARRAY<STRING>'", field="expression")
    kind = table_schema(text)
    return kind if isinstance(kind, StructType | ListType | MapType) else struct(("value", kind))


def inferred(value: Any) -> DataType:
    """The type that a JSON value has: whole numbers are bigint, nulls strings."""
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, int):
        return LONG if -(1 << 63) <= value < 1 << 63 else large(value)
    if isinstance(value, float):
        return DOUBLE
    if isinstance(value, Pairs):
        return struct(*sorted((name, inferred(held)) for name, held in value))
    if isinstance(value, list):
        return ListType(inferred_element(value))
    return STRING


def large(value: int) -> DataType:
    digits = len(str(abs(value)))
    return DecimalType(digits, 0) if digits <= PRECISION_MAX else DOUBLE


def inferred_element(values: list[Any]) -> DataType:
    found: DataType = NULL
    for value in values:
        if value is not None:
            found = merged(found, inferred(value))
    return STRING if found == NULL else found


def merged(left: DataType, right: DataType) -> DataType:
    """A type for both: structs have the fields of either, what else differs is a string."""
    match left, right:
        case StructType(_, first), StructType(_, second):
            fields = {field.name: field.type for field in first}
            for field in second:
                fields[field.name] = merged(fields[field.name], field.type) if field.name in fields else field.type
            return struct(*sorted(fields.items()))
        case ListType(first), ListType(second):
            return ListType(merged(first, second))
        case _:
            return common(left, right) or STRING


def ddl(kind: DataType) -> str:
    """As Spark writes it: ``STRUCT<a: BIGINT, b: ARRAY<STRING>>``."""
    match kind:
        case StructType(_, fields):
            return f"STRUCT<{', '.join(f'{field_name(field.name)}: {ddl(field.type)}' for field in fields)}>"
        case ListType(element):
            return f"ARRAY<{ddl(element)}>"
        case _:
            return spark_name(kind).upper()
