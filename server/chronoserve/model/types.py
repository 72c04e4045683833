"""Chronon's data types (spec/aggregation-and-codecs.md §2), as immutable values that compare by structure.

How a value of each type looks in Python, everywhere between a codec and the wire:

=============  ==========================================================================================
BYTE … LONG    int within the type's range (a plain int: the type says how wide)
FLOAT          float that a 32-bit float holds exactly
DOUBLE         float
STRING         str
BINARY         bytes
BOOLEAN        bool
DATE           int, days since the epoch
TIMESTAMP      int, microseconds since the epoch
ListType       list
MapType        dict
StructType     tuple, one value for each field, in order; dict by field name after a SQL derivation
any            None where the value is null
=============  ==========================================================================================

Where no type says how wide a number is (request keys, answers of external sources), ``chronoserve.model.boxed`` does.
"""

from dataclasses import dataclass


class DataType:
    """One of Chronon's types."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Primitive(DataType):
    """A type without parameters. ``name``: Chronon's short name, as in ``TimePair_<name>``."""

    name: str


BOOLEAN = Primitive("bool")
BYTE = Primitive("byte")
SHORT = Primitive("short")
INT = Primitive("int")
LONG = Primitive("long")
FLOAT = Primitive("float")
DOUBLE = Primitive("double")
STRING = Primitive("string")
BINARY = Primitive("binary")
DATE = Primitive("date")
TIMESTAMP = Primitive("timestamp")


@dataclass(frozen=True, slots=True)
class UnknownType(DataType):
    """A type that Spark has and Chronon lacks; ``text`` is Spark's name of it, as ``decimal(2,1)``."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class ListType(DataType):
    element: DataType


@dataclass(frozen=True, slots=True)
class MapType(DataType):
    key: DataType
    value: DataType


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    type: DataType


@dataclass(frozen=True, slots=True)
class StructType(DataType):
    """``fields`` in order; a struct may have none."""

    name: str
    fields: tuple[Field, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    def type_of(self, name: str) -> DataType | None:
        """The type of the first field of that name; None where there is none."""
        return next((field.type for field in self.fields if field.name == name), None)


INTEGRAL = frozenset({BYTE, SHORT, INT, LONG})
NUMERIC = INTEGRAL | {FLOAT, DOUBLE}


def short_name(data_type: DataType) -> str:
    """Chronon's short name, as in record names: ``list_long``, ``map_string_double``, ``struct_Point`` (spec §2)."""
    match data_type:
        case Primitive(name):
            return name
        case ListType(element):
            return f"list_{short_name(element)}"
        case MapType(key, value):
            return f"map_{short_name(key)}_{short_name(value)}"
        case StructType(name):
            return f"struct_{name}"
        case _:
            return "unknown_type"
