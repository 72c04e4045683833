"""What is inside of a value: ``struct.field``, ``array[index]``, ``map[key]``."""

from operator import itemgetter
from typing import Any

from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import LONG, STRING, DataType, ListType, MapType, StructType
from chronoserve.sql.casts import cast
from chronoserve.sql.coercion import compared
from chronoserve.sql.nodes import Constant, Node, constant, strict
from chronoserve.sql.types import NULL, is_integral, spark_name
from chronoserve.sql.values import map_key


def field_index(data_type: StructType, name: str) -> int:
    """Where a field is, whatever the case of its name.

    Raises:
        InvalidRequest: there is none, or more than one.
    """
    found = [index for index, field in enumerate(data_type.fields) if field.name.lower() == name.lower()]
    if len(found) != 1:
        what = "Ambiguous reference to fields" if found else "No such struct field"
        raise InvalidRequest(f"{what} {name} in {', '.join(data_type.names)}", field="expression")
    return found[0]


def member(base: Node, name: str) -> Node:
    """``base.name``: of a struct, of each struct of an array, or a map's value under the key ``name``."""
    match base.type:
        case StructType() as inner:
            index = field_index(inner, name)
            return strict(f".{index}", inner.fields[index].type, itemgetter(index), base)
        case ListType(StructType() as inner):
            index = field_index(inner, name)
            return strict(f"[].{index}", ListType(inner.fields[index].type), each_member(index), base)
        case MapType():
            return element(base, constant(name, STRING))
        case _:
            raise InvalidRequest(f"Can't extract {name} from a {spark_name(base.type)}: need a struct", field="expression")


def each_member(index: int) -> Any:
    return lambda values: [None if value is None else value[index] for value in values]


def element(base: Node, index: Node) -> Node:
    """``base[index]``: null outside of an array, and for a key that a map lacks."""
    match base.type:
        case ListType(inner):
            if not (is_integral(index.type) or index.type == NULL):
                raise InvalidRequest(f"an array's index is a whole number, not a {spark_name(index.type)}", field="expression")
            return strict("[]", inner, array_item, base, cast(index, LONG))
        case MapType(key, value):
            return strict("[key]", value, map_getter(key), base, as_key(key, index))
        case StructType():
            if isinstance(index, Constant) and isinstance(index.value, str):
                return member(base, index.value)
            raise InvalidRequest("a struct's field is a name", field="expression")
        case _:
            raise InvalidRequest(f"Can't extract a value from a {spark_name(base.type)}", field="expression")


def array_item(values: list[Any], index: int) -> Any:
    return values[index] if 0 <= index < len(values) else None


def as_key(key: DataType, index: Node) -> Node:
    """``index`` as a key of that type.

    Raises:
        InvalidRequest: it can be none.
    """
    if compared(key, index.type) is None:
        raise InvalidRequest(f"a key of type {spark_name(key)} is no {spark_name(index.type)}", field="expression")
    return cast(index, key)


def map_getter(key: DataType) -> Any:
    form = map_key(key)
    if form is None:
        return dict.get
    return lambda entries, name: entries.get(form(name))
