"""JSON functions."""

import base64
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from chronoserve.model.errors import InvalidRequest, Unsupported
from chronoserve.model.java_numbers import double_text, float_text
from chronoserve.model.types import (
    BINARY,
    BOOLEAN,
    BYTE,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    SHORT,
    STRING,
    TIMESTAMP,
    DataType,
    ListType,
    MapType,
    StructType,
)
from chronoserve.sql import json_schema
from chronoserve.sql.casts import BITS, caster, seconds_to_micros, text_to_decimal
from chronoserve.sql.datetimes import MICROS_PER_DAY
from chronoserve.sql.decimals import fitting
from chronoserve.sql.functions_map import builder
from chronoserve.sql.java_order import ordered
from chronoserve.sql.json_path import extract
from chronoserve.sql.json_text import BROKEN, Pairs, quoted, read, written
from chronoserve.sql.nodes import Constant, Node, constant, strict
from chronoserve.sql.numbers import float32
from chronoserve.sql.registry import EXACT_STRING, Function, accept, constant_of, refusal, simple, special
from chronoserve.sql.time_patterns import formatted, parsed, pieces
from chronoserve.sql.time_text import date_of_text, date_text, timestamp_of_text
from chronoserve.sql.types import NULL, DecimalType, is_atomic, is_integral, spark_name

Convert = Callable[[Any], Any]
"""Of a JSON value that is not null; MISFIT where it is none of the type."""


CORRUPT = "_corrupt_record"


class Misfit:
    """What a JSON value of another type becomes before it is made null."""


MISFIT = Misfit()
TIMESTAMP_PATTERN = "yyyy-MM-dd'T'HH:mm:ss.SSS"


# reading


def from_json(name: str, arguments: list[Node]) -> Node:
    """By a DDL schema; what does not fit is null, and a text that is no JSON gives a struct of nulls."""
    text = accept(name, arguments[0], EXACT_STRING)
    kind = json_schema.schema_of(constant_of(name, arguments[1], STRING))
    if isinstance(kind, StructType) and CORRUPT in kind.names:
        raise Unsupported(f"{name} with a column {CORRUPT}")
    options = options_of(name, arguments[2:])
    convert = root_converter(kind, options)
    return strict(f"{name} {spark_name(kind)} {sorted(options.items())}", kind, convert, text)


def options_of(name: str, arguments: list[Node]) -> dict[str, str]:
    if not arguments:
        return {}
    (node,) = arguments
    if not isinstance(node, Constant) or not isinstance(node.value, dict):
        raise InvalidRequest(f"{name} takes a constant map of options", field="expression")
    options = {str(key).lower(): str(value) for key, value in node.value.items()}
    unknown = options.keys() - {"mode", "timestampformat", "dateformat", "ignorenullfields"}
    if unknown or options.get("mode", "PERMISSIVE").upper() != "PERMISSIVE":
        raise Unsupported(
            f"{name} with the options {', '.join(sorted(options))}: "
            "there are mode PERMISSIVE, dateFormat, timestampFormat, ignoreNullFields"
        )
    return options


def root_converter(kind: DataType, options: dict[str, str]) -> Callable[[str], Any]:
    convert = converter(kind, options)
    nothing = tuple(None for _ in kind.fields) if isinstance(kind, StructType) else None

    def run(text: str) -> Any:
        if not text.strip():
            return None
        value = read(text, constants=True)
        if isinstance(kind, StructType) and isinstance(value, list) and not isinstance(value, Pairs):
            return nothing
        if isinstance(kind, ListType) and isinstance(kind.element, StructType) and isinstance(value, Pairs):
            value = [value]
        found = MISFIT if value is BROKEN or value is None else convert(value)
        return nothing if found is MISFIT else found

    return run


def converter(kind: DataType, options: dict[str, str]) -> Convert:
    match kind:
        case StructType(_, fields):
            return struct_converter([(field.name, converter(field.type, options)) for field in fields])
        case ListType(element):
            return list_converter(converter(element, options))
        case MapType(key, value):
            if key != STRING:
                raise InvalidRequest("from_json reads maps with string keys", field="expression")
            return map_converter(converter(value, options))
        case DecimalType():
            return decimal_converter(kind)
        case _:
            return atom_converter(kind, options)


def atom_converter(kind: DataType, options: dict[str, str]) -> Convert:
    if is_integral(kind):
        return integral_converter(BITS[kind])
    if kind in (DOUBLE, FLOAT):
        return floating_converter(single=kind == FLOAT)
    found: dict[DataType, Convert] = {
        STRING: lambda value: value if isinstance(value, str) else written(value),
        BOOLEAN: lambda value: value if isinstance(value, bool) else MISFIT,
        BINARY: binary_of,
        DATE: time_converter(options.get("dateformat"), date_of_text, MICROS_PER_DAY),
        TIMESTAMP: time_converter(options.get("timestampformat"), timestamp_of_json, 1),
    }
    convert = found.get(kind)
    if convert is None:
        raise Unsupported(f"from_json of the type {spark_name(kind)}")
    return convert


def integral_converter(bits: int) -> Convert:
    limit = 1 << (bits - 1)

    def run(value: Any) -> Any:
        return value if isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit else MISFIT

    return run


SPECIAL_NUMBERS = {
    "NaN": float("nan"),
    "+INF": float("inf"),
    "Infinity": float("inf"),
    "+Infinity": float("inf"),
    "INF": float("inf"),
    "-INF": float("-inf"),
    "-Infinity": float("-inf"),
}


def floating_converter(*, single: bool) -> Convert:
    def run(value: Any) -> Any:
        if isinstance(value, str):
            return SPECIAL_NUMBERS.get(value, MISFIT)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return MISFIT
        return float32(float(value)) if single else float(value)

    return run


def decimal_converter(kind: DecimalType) -> Convert:
    fit = fitting(kind)

    def run(value: Any) -> Any:
        if isinstance(value, str):
            number = text_to_decimal(value)
            return MISFIT if number is None else fit(number)
        if isinstance(value, bool) or not isinstance(value, int | float) or value - value != 0:
            return MISFIT
        return fit(Decimal(repr(value)))

    return run


def binary_of(value: Any) -> Any:
    if not isinstance(value, str):
        return MISFIT
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        return MISFIT


def time_converter(pattern: str | None, parse: Callable[[str], int | None], unit: int) -> Convert:
    found = None if pattern is None else pieces(pattern)
    if pattern is not None and found is None:
        raise InvalidRequest(f"{pattern!r} is no date pattern", field="expression")

    def run(value: Any) -> Any:
        if unit == 1 and isinstance(value, int) and not isinstance(value, bool):
            return seconds_to_micros(value)
        if not isinstance(value, str):
            return MISFIT
        result = parse(value) if found is None else parsed(value, found)
        return MISFIT if result is None else result if found is None else result // unit

    return run


WITH_FRACTION = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(?:Z|[+-]\d\d:\d\d)")
FRACTION_PIECES = pieces("yyyy-MM-dd'T'HH:mm:ss.SSSXXX") or ()


def timestamp_of_json(text: str) -> int | None:
    """As a cast, but in the default format a fraction counts milliseconds whatever its length: the legacy parser's way."""
    if WITH_FRACTION.fullmatch(text):
        return parsed(text, FRACTION_PIECES)
    return timestamp_of_text(text)


def nullable(convert: Convert, value: Any) -> Any:
    if value is None:
        return None
    found = convert(value)
    return None if found is MISFIT else found


def struct_converter(fields: list[tuple[str, Convert]]) -> Convert:
    known = {name: (index, convert) for index, (name, convert) in enumerate(fields)}

    def run(value: Any) -> Any:
        if not isinstance(value, Pairs):
            return MISFIT
        found: list[Any] = [None] * len(known)
        for name, held in value:
            if name in known:
                index, convert = known[name]
                found[index] = nullable(convert, held)
        return tuple(found)

    return run


def list_converter(element: Convert) -> Convert:
    def run(value: Any) -> Any:
        if not isinstance(value, list) or isinstance(value, Pairs):
            return MISFIT
        found = [None if item is None else element(item) for item in value]
        return MISFIT if MISFIT in found else found

    return run


def map_converter(inner: Convert) -> Convert:
    build = builder(STRING)

    def run(value: Any) -> Any:
        if not isinstance(value, Pairs):
            return MISFIT
        found = [(name, None if held is None else inner(held)) for name, held in value]
        return MISFIT if any(held is MISFIT for _, held in found) else build(found)

    return run


# writing

Write = Callable[[Any], str]


def to_json(name: str, arguments: list[Node]) -> Node:
    source, *rest = arguments
    options = options_of(name, rest)
    if source.type == NULL:
        return constant(None, STRING)
    if not isinstance(source.type, StructType | MapType | ListType):
        raise refusal(name, "a struct, map or array", source)
    keep_nulls = options.get("ignorenullfields", "true").lower() == "false"
    return strict(f"{name} {keep_nulls}", STRING, writer(source.type, keep_nulls=keep_nulls), ordered(source))


def writer(kind: DataType, *, keep_nulls: bool) -> Write:
    match kind:
        case StructType(_, fields):
            return struct_writer(
                [(quoted(field.name), nullable_writer(field.type, keep_nulls=keep_nulls)) for field in fields], keep_nulls=keep_nulls
            )
        case ListType(element):
            item = nullable_writer(element, keep_nulls=keep_nulls)
            return lambda values: f"[{','.join(map(item, values))}]"
        case MapType(key, value):
            if not is_atomic(key):
                raise Unsupported("to_json of a map whose keys are arrays, maps or structs")
            text, held = caster(key, STRING), nullable_writer(value, keep_nulls=keep_nulls)
            return lambda entries: f"{{{','.join(f'{quoted(str(text(name)))}:{held(found)}' for name, found in entries.items())}}}"
        case _:
            return atom_writer(kind)


def nullable_writer(kind: DataType, *, keep_nulls: bool) -> Write:
    inner = writer(kind, keep_nulls=keep_nulls)
    return lambda value: "null" if value is None else inner(value)


def struct_writer(fields: list[tuple[str, Write]], *, keep_nulls: bool) -> Write:
    def run(values: tuple[Any, ...]) -> str:
        pairs = zip(fields, values, strict=True)
        return f"{{{','.join(f'{name}:{write(value)}' for (name, write), value in pairs if keep_nulls or value is not None)}}}"

    return run


def atom_writer(kind: DataType) -> Write:
    writers: dict[DataType, Write] = {
        STRING: quoted,
        BOOLEAN: lambda value: "true" if value else "false",
        DOUBLE: lambda value: finite_text(value, double_text(value)),
        FLOAT: lambda value: finite_text(value, float_text(value)),
        BINARY: lambda value: quoted(base64.b64encode(value).decode("ascii")),
        DATE: lambda value: quoted(date_text(value)),
        TIMESTAMP: lambda value: quoted(f"{formatted(value, TIMESTAMP_PIECES)}Z"),
    }
    if kind in (BYTE, SHORT, INT, LONG):
        return str
    if kind in writers:
        return writers[kind]
    text = caster(kind, STRING)
    return (lambda value: str(text(value))) if isinstance(kind, DecimalType) else (lambda value: quoted(str(text(value))))


TIMESTAMP_PIECES = pieces(TIMESTAMP_PATTERN) or ()


def finite_text(value: float, text: str) -> str:
    return text if value - value == 0 else f'"{text}"'


# about texts


def array_length(text: str) -> int | None:
    value = read(text)
    return len(value) if isinstance(value, list) and not isinstance(value, Pairs) else None


def object_keys(text: str) -> list[str] | None:
    value = read(text)
    return [name for name, _ in value] if isinstance(value, Pairs) else None


def schema_of_json(name: str, arguments: list[Node]) -> Node:
    text = constant_of(name, arguments[0], STRING)
    if text is None or arguments[0].type != STRING:
        raise refusal(name, "a constant string", arguments[0])
    value = read(text)
    return constant(json_schema.ddl(json_schema.inferred(None if value is BROKEN else value)), STRING)


FUNCTIONS: tuple[Function, ...] = (
    simple(
        "get_json_object(text, path)",
        (EXACT_STRING, EXACT_STRING),
        STRING,
        extract,
        "What a path like $.a[0].b leads to; strings as they are.",
    ),
    special("from_json(text, schema, options)", 2, 3, from_json, "A value by a DDL schema; what does not fit is null."),
    special("to_json(value, options)", 1, 2, to_json, "JSON of a struct, map or array; null fields are left out."),
    simple(
        "json_array_length(text)",
        (EXACT_STRING,),
        INT,
        array_length,
        "How many elements the outermost array has; null where there is none.",
    ),
    simple(
        "json_object_keys(text)",
        (EXACT_STRING,),
        ListType(STRING),
        object_keys,
        "The names of the outermost object; null where there is none.",
    ),
    special("schema_of_json(text)", 1, 1, schema_of_json, "The DDL schema of a constant text."),
)
