"""Types as Spark writes them: after ``cast(… as``, and in the schemas of ``from_json``."""

from chronoserve.model.errors import InvalidRequest, Unsupported
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
from chronoserve.sql.lexer import Token, tokens
from chronoserve.sql.types import (
    CALENDAR_INTERVAL,
    DAY_TIME_UNITS,
    NULL,
    PRECISION_MAX,
    YEAR_MONTH_UNITS,
    DayTimeInterval,
    DecimalType,
    YearMonthInterval,
    struct,
)

PLAIN: dict[str, DataType] = {
    "boolean": BOOLEAN,
    "tinyint": BYTE,
    "byte": BYTE,
    "smallint": SHORT,
    "short": SHORT,
    "int": INT,
    "integer": INT,
    "bigint": LONG,
    "long": LONG,
    "float": FLOAT,
    "real": FLOAT,
    "double": DOUBLE,
    "date": DATE,
    "timestamp": TIMESTAMP,
    "timestamp_ltz": TIMESTAMP,
    "string": STRING,
    "binary": BINARY,
    "void": NULL,
}
DECIMALS = frozenset({"decimal", "dec", "numeric"})
NESTING_MAX = 32


class TypeReader:
    """Reads one type out of ``found``, from token ``at`` on; ``at`` is then behind it."""

    def __init__(self, found: list[Token], at: int = 0) -> None:
        self.tokens = found
        self.at = at
        self.depth = 0

    @property
    def text(self) -> str:
        return self.tokens[self.at].text

    def skip(self, text: str) -> bool:
        found = self.tokens[self.at].kind == "symbol" and self.text == text
        self.at += found
        return found

    def expect(self, text: str) -> None:
        if not self.skip(text):
            raise self.error(repr(text))

    def error(self, wanted: str) -> InvalidRequest:
        token = self.tokens[self.at]
        return InvalidRequest(
            f"syntax error in a type at character {token.at + 1}: expected {wanted}, found {token.text!r}", field="expression"
        )

    def name(self) -> str:
        token = self.tokens[self.at]
        if token.kind not in ("word", "quoted"):
            raise self.error("a name")
        self.at += 1
        return token.text

    def read(self) -> DataType:
        self.depth += 1
        if self.depth > NESTING_MAX:
            raise Unsupported(f"types may nest {NESTING_MAX} levels deep")
        word = self.name().lower()
        found = self.parameterised(word)
        self.depth -= 1
        return found

    def parameterised(self, word: str) -> DataType:
        if word in PLAIN:
            return PLAIN[word]
        if word in DECIMALS:
            return self.decimal()
        if word in ("char", "character", "varchar"):
            self.length()
            return STRING
        if word == "interval":
            return self.interval()
        if word in ("array", "map", "struct"):
            return self.nested(word)
        if word == "timestamp_ntz":
            raise Unsupported("the type timestamp_ntz: use timestamp, sessions run in UTC")
        raise InvalidRequest(f"Spark SQL has no type {word}", field="expression")

    def decimal(self) -> DecimalType:
        if not self.skip("("):
            return DecimalType(10, 0)
        precision = self.number()
        scale = self.number() if self.skip(",") else 0
        self.expect(")")
        if precision > PRECISION_MAX or scale > precision:
            raise InvalidRequest(
                f"decimal({precision},{scale}) is no type: precision up to {PRECISION_MAX}, scale up to it", field="expression"
            )
        return DecimalType(precision, scale)

    def length(self) -> int:
        self.expect("(")
        length = self.number()
        self.expect(")")
        return length

    def number(self) -> int:
        token = self.tokens[self.at]
        if token.kind != "number" or not token.text.isdigit():
            raise self.error("a whole number")
        self.at += 1
        return int(token.text)

    def interval(self) -> DataType:
        first = self.tokens[self.at].keyword
        for units, kind in ((DAY_TIME_UNITS, DayTimeInterval), (YEAR_MONTH_UNITS, YearMonthInterval)):
            if first in units:
                self.at += 1
                last = first
                if self.tokens[self.at].keyword == "to":
                    self.at += 1
                    last = self.name().lower()
                return kind(units.index(first), units.index(last))
        return CALENDAR_INTERVAL

    def nested(self, word: str) -> DataType:
        if self.skip("<>"):
            return struct()
        self.expect("<")
        if word == "struct":
            return self.fields(">")
        element = self.read()
        if word == "array":
            self.expect(">")
            return ListType(element)
        self.expect(",")
        value = self.read()
        self.expect(">")
        return MapType(element, value)

    def fields(self, closing: str) -> StructType:
        found: list[tuple[str, DataType]] = []
        while not self.skip(closing):
            if found:
                self.expect(",")
            found.append(self.field())
        return struct(*found)

    def field(self) -> tuple[str, DataType]:
        name = self.name()
        self.skip(":")
        data_type = self.read()
        while self.tokens[self.at].keyword in ("not", "null"):
            self.at += 1
        if self.tokens[self.at].keyword == "comment":
            self.at += 2
        return name, data_type


def table_schema(text: str) -> DataType:
    """The type that a DDL text declares: a single type, or ``a INT, b ARRAY<INT>`` for a struct.

    Raises:
        InvalidRequest: it is neither.
    """
    found = tokens(text)
    try:
        reader = TypeReader(found)
        data_type = reader.read()
        if found[reader.at].kind == "end":
            return data_type
    except (InvalidRequest, Unsupported):
        # not a single type: the text must then be a list of columns
        pass
    reader = TypeReader(found)
    columns = [reader.field()]
    while reader.skip(","):
        columns.append(reader.field())
    if found[reader.at].kind != "end":
        raise reader.error("',' or the end")
    return struct(*columns)
