"""Numbers that carry Java's box type with them, for where no schema does: request keys and answers of external sources.

A plain ``int`` is a Long and a plain ``float`` a Double. Chronon's rules for keys depend on the box: an Integer may be
a long key only after a cast, and a Long can never be an int key (spec/online-fetch.md §6.2).
"""

INT_MIN, INT_MAX = -(1 << 31), (1 << 31) - 1


class Int(int):
    """A java.lang.Integer."""

    __slots__ = ()


class Short(int):
    """A java.lang.Short."""

    __slots__ = ()


class Byte(int):
    """A java.lang.Byte."""

    __slots__ = ()


class Float(float):
    """A java.lang.Float; its value is one that 32 bits hold."""

    __slots__ = ()


def as_json_reads(number: int) -> int:
    """The box that a JSON reader of the JVM gives an integer: Integer where it fits into 32 bits, else Long."""
    return Int(number) if INT_MIN <= number <= INT_MAX else number
