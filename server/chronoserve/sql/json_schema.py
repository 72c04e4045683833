"""The schemas that JSON functions take and give: DDL texts."""

from typing import Any

from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import BOOLEAN, DOUBLE, LONG, STRING, DataType, ListType, MapType, StructType
from chronoserve.sql.coercion import common
from chronoserve.sql.json_text import Pairs
from chronoserve.sql.type_text import table_schema
from chronoserve.sql.types import NULL, field_name, spark_name, struct


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
        return LONG
    if isinstance(value, float):
        return DOUBLE
    if isinstance(value, Pairs):
        return struct(*sorted((name, inferred(held)) for name, held in value))
    if isinstance(value, list):
        return ListType(inferred_element(value))
    return STRING


def inferred_element(values: list[Any]) -> DataType:
    found: DataType = NULL
    for value in values:
        if value is not None:
            found = common(found, inferred(value)) or STRING
    return STRING if found == NULL else found


def ddl(kind: DataType) -> str:
    """As Spark writes it: ``STRUCT<a: BIGINT, b: ARRAY<STRING>>``."""
    match kind:
        case StructType(_, fields):
            return f"STRUCT<{', '.join(f'{field_name(field.name)}: {ddl(field.type)}' for field in fields)}>"
        case ListType(element):
            return f"ARRAY<{ddl(element)}>"
        case _:
            return spark_name(kind).upper()
