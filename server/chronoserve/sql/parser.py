"""Spark SQL expressions to syntax trees, by the precedences of Spark 3.5's grammar.

An expression is parsed as Chronon plans it: spliced into ``<expression> as <name>`` (spec/online-fetch.md, addendum 5),
so that a cut-off ``1 +`` ends in a column called ``as``. Parsing is bounded in text, tokens and depth: nothing hostile
costs more than a few milliseconds.
"""

from collections.abc import Callable

from chronoserve.model.errors import InvalidRequest, Unsupported
from chronoserve.model.types import BOOLEAN, DataType
from chronoserve.sql import literals
from chronoserve.sql.intervals import UNITS, interval_of_parts
from chronoserve.sql.lexer import Token, tokens
from chronoserve.sql.syntax import Alias, Call, Case, Cast, Dot, In, Lambda, Literal, Name, Star, Subscript, Syntax
from chronoserve.sql.type_text import TypeReader
from chronoserve.sql.types import NULL

NESTING_MAX = 80
"""How deep parentheses, calls and prefixes may nest; the trees' depth is bounded by the analysis."""

OR, AND, NOT, PREDICATE, COMPARISON, BIT_OR, BIT_XOR, BIT_AND, SUM, PRODUCT, UNARY = range(1, 12)
SYMBOLS = {
    "=": (COMPARISON, "="),
    "==": (COMPARISON, "="),
    "<=>": (COMPARISON, "<=>"),
    "<>": (COMPARISON, "!="),
    "!=": (COMPARISON, "!="),
    "<": (COMPARISON, "<"),
    "<=": (COMPARISON, "<="),
    "!>": (COMPARISON, "<="),
    ">": (COMPARISON, ">"),
    ">=": (COMPARISON, ">="),
    "!<": (COMPARISON, ">="),
    "|": (BIT_OR, "|"),
    "^": (BIT_XOR, "^"),
    "&": (BIT_AND, "&"),
    "+": (SUM, "+"),
    "-": (SUM, "-"),
    "||": (SUM, "||"),
    "*": (PRODUCT, "*"),
    "/": (PRODUCT, "/"),
    "%": (PRODUCT, "%"),
}
WORDS = {"div": (PRODUCT, "div"), "and": (AND, "and"), "or": (OR, "or")}
PREDICATES = frozenset({"between", "in", "like", "ilike", "rlike", "regexp", "is"})
TYPED_LITERALS = frozenset({"date", "timestamp", "timestamp_ltz", "timestamp_ntz", "interval", "x"})
UNIT_FUNCTIONS = {"timestampadd": "add units", "dateadd": "add units", "timestampdiff": "units between", "datediff": "units between"}
DATETIME_UNITS = frozenset(
    ("year", "quarter", "month", "week", "day", "dayofyear", "hour", "minute", "second", "millisecond", "microsecond")
)


def parse(text: str, name: str | None = None) -> Syntax:
    """The tree of one expression; with ``name``, of ``text as name``, whose alias must then be ``name``.

    Raises:
        InvalidRequest: the text is no Spark SQL expression; the message says where.
        Unsupported: it is one that we do not compile (a query, an aggregate, too deep or too long).
    """
    reader = Reader(tokens(text if name is None else f"{text} as {name}"))
    tree = reader.expression()
    if name is not None:
        reader.alias()
    reader.finish()
    return tree


class Reader:
    """A cursor over the tokens of one expression."""

    def __init__(self, found: list[Token]) -> None:
        self.tokens = found
        self.at = 0
        self.depth = 0

    # tokens

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def ahead(self, count: int = 1) -> Token:
        return self.tokens[min(self.at + count, len(self.tokens) - 1)]

    def next(self) -> Token:
        found = self.tokens[self.at]
        self.at += found.kind != "end"
        return found

    def is_symbol(self, text: str) -> bool:
        return self.token.kind == "symbol" and self.token.text == text

    def skip(self, symbol: str) -> bool:
        found = self.is_symbol(symbol)
        self.at += found
        return found

    def skip_word(self, word: str) -> bool:
        found = self.token.keyword == word
        self.at += found
        return found

    def expect(self, symbol: str) -> None:
        if not self.skip(symbol):
            raise self.error(f"{symbol!r}")

    def expect_word(self, word: str) -> None:
        if not self.skip_word(word):
            raise self.error(word.upper())

    def error(self, wanted: str) -> InvalidRequest:
        found = self.token
        what = "the end" if found.kind == "end" else repr(found.text)
        return InvalidRequest(f"syntax error at character {found.at + 1}: expected {wanted}, found {what}", field="expression")

    def identifier(self) -> str:
        if self.token.kind not in ("word", "quoted"):
            raise self.error("a name")
        return self.next().text

    def alias(self) -> None:
        self.skip_word("as")
        self.identifier()

    def finish(self) -> None:
        if self.token.kind != "end":
            raise self.error("the end of the expression")

    # operators

    def expression(self, binding: int = OR) -> Syntax:
        """An expression whose operators bind at least as tightly as ``binding``."""
        self.depth += 1
        if self.depth > NESTING_MAX:
            raise Unsupported(f"expressions may nest {NESTING_MAX} levels deep; this one nests deeper")
        tree = self.climb(self.prefix(binding), binding)
        self.depth -= 1
        return tree

    def climb(self, left: Syntax, binding: int) -> Syntax:
        """``left`` with the operators that follow it. After a predicate only ``and`` and ``or`` may follow."""
        tightest = UNARY
        while True:
            keyword = self.token.keyword
            level, operator = SYMBOLS.get(self.token.text, (0, "")) if self.token.kind == "symbol" else WORDS.get(keyword, (0, ""))
            if binding <= level <= tightest:
                self.next()
                left = Call(operator, (left, self.expression(level + 1)))
                # a comparison's right side holds no comparison; what follows an and/or may be a whole boolean
                tightest = min(tightest, level) if level <= AND else tightest
            elif binding <= PREDICATE <= tightest and self.at_predicate(keyword):
                left = self.predicate(left)
                tightest = AND
            else:
                return left

    def at_predicate(self, keyword: str) -> bool:
        if keyword == "not":
            return self.ahead().keyword in PREDICATES - {"is"}
        return keyword in PREDICATES

    def prefix(self, binding: int) -> Syntax:
        found = self.token
        if binding <= NOT and (found.keyword == "not" or (found.kind == "symbol" and found.text == "!")) and self.ahead().kind != "end":
            self.next()
            return Call("not", (self.expression(NOT),))
        if found.kind == "symbol" and found.text in ("-", "+", "~"):
            return self.signed(self.next().text)
        return self.postfix(self.primary())

    def signed(self, sign: str) -> Syntax:
        if sign == "-" and self.token.kind == "number":
            return self.postfix(literals.number(f"-{self.next().text}"))
        return Call({"-": "negative", "+": "positive", "~": "~"}[sign], (self.expression(UNARY),))

    def predicate(self, value: Syntax) -> Syntax:
        negated = self.skip_word("not")
        keyword = self.next().keyword
        tree = self.is_predicate(value) if keyword == "is" else self.positive_predicate(keyword, value)
        return Call("not", (tree,)) if negated else tree

    def positive_predicate(self, keyword: str, value: Syntax) -> Syntax:
        if keyword == "between":
            low = self.expression(COMPARISON)
            self.expect_word("and")
            return Call("and", (Call(">=", (value, low)), Call("<=", (value, self.expression(COMPARISON)))))
        if keyword == "in":
            return self.membership(value)
        if keyword in ("rlike", "regexp"):
            return Call("rlike", (value, self.expression(COMPARISON)))
        return self.likeness(keyword, value)

    def is_predicate(self, value: Syntax) -> Syntax:
        negated = self.skip_word("not")
        keyword = self.next().keyword
        if keyword in ("null", "unknown"):
            tree: Syntax = Call("isnull", (value,))
        elif keyword in ("true", "false"):
            tree = Call("<=>", (Call("assert boolean", (value,)), Literal(keyword == "true", BOOLEAN)))
        elif keyword == "distinct":
            self.expect_word("from")
            return Call("not", (Call("<=>", (value, self.expression(COMPARISON))),)) if not negated else self.same(value)
        else:
            self.at -= 1
            raise self.error("NULL, TRUE, FALSE, UNKNOWN or DISTINCT FROM")
        return Call("not", (tree,)) if negated else tree

    def same(self, value: Syntax) -> Syntax:
        return Call("<=>", (value, self.expression(COMPARISON)))

    def membership(self, value: Syntax) -> Syntax:
        self.expect("(")
        self.refuse_query()
        options = self.list_until(")")
        if not options:
            raise self.error("an expression")
        return In(value, options)

    def likeness(self, keyword: str, value: Syntax) -> Syntax:
        quantifier = self.token.keyword
        if quantifier in ("any", "some", "all") and self.ahead().text == "(":
            self.at += 2
            joined = "and" if quantifier == "all" else "or"
            trees = [Call(keyword, (value, pattern)) for pattern in self.list_until(")")]
            tree: Syntax = trees[0] if trees else Literal(None, NULL)
            for other in trees[1:]:
                tree = Call(joined, (tree, other))
            return tree
        pattern = self.expression(COMPARISON)
        if self.skip_word("escape"):
            if self.token.kind != "string":
                raise self.error("a string of one character")
            return Call(keyword, (value, pattern, literals.string(self.next().text)))
        return Call(keyword, (value, pattern))

    # what operators stand between

    def postfix(self, tree: Syntax) -> Syntax:
        while True:
            if self.skip("["):
                tree = Subscript(tree, self.expression(COMPARISON))
                self.expect("]")
            elif self.is_symbol(".") and self.ahead().kind in ("word", "quoted"):
                self.next()
                tree = Dot(tree, self.next().text)
            elif self.is_symbol(".") and self.ahead().text == "*":
                self.at += 2
                tree = Star()
            else:
                return tree

    def primary(self) -> Syntax:
        found = self.token
        if found.kind == "number":
            return literals.number(self.next().text)
        if found.kind == "string":
            return self.string()
        if found.kind == "quoted":
            return self.named(self.next().text)
        if found.kind == "word":
            return self.word(found)
        if self.skip("("):
            return self.parenthesis()
        if self.skip("*"):
            return Star()
        raise self.error("an expression")

    def string(self) -> Literal:
        parts = [self.next().text]
        while self.token.kind == "string":
            parts.append(self.next().text)
        return literals.string("".join(parts))

    def word(self, found: Token) -> Syntax:
        keyword = found.keyword
        special = SPECIAL_WORDS.get(keyword)
        if special is not None:
            tree = special(self)
            if tree is not None:
                return tree
        if keyword in TYPED_LITERALS and self.ahead().kind == "string":
            self.next()
            return self.typed_literal(keyword)
        self.next()
        return self.named(found.text)

    def typed_literal(self, keyword: str) -> Syntax:
        if keyword == "interval" and self.ahead().keyword.rstrip("s") in UNITS:
            self.at -= 1
            tree = self.interval()
            if tree is not None:
                return tree
        if keyword == "timestamp_ntz":
            raise Unsupported("timestamp_ntz literals: use timestamp '…', sessions run in UTC")
        return literals.typed(keyword, self.string().value)  # type: ignore[arg-type]

    def named(self, text: str) -> Syntax:
        """A column, a call or a lambda, by what follows the name."""
        if self.skip("("):
            return self.call(text)
        if self.skip("->"):
            return Lambda((text,), self.expression())
        return Name(text)

    def call(self, text: str) -> Syntax:
        """``text(``… is read. The forms with words between the arguments become calls with commas."""
        name = text.lower()
        if name in UNIT_FUNCTIONS and self.token.keyword in DATETIME_UNITS and self.ahead().text == ",":
            unit = literals.string(self.next().text.upper())
            self.next()
            return self.qualified(Call(UNIT_FUNCTIONS[name], (unit, *self.list_until(")"))))
        special = SPECIAL_CALLS.get(name)
        if special is not None:
            return special(self, name)
        if self.token.keyword in ("distinct", "all") and self.ahead().text not in (")", ",", "(", "."):
            raise Unsupported(f"{name}(distinct …) is an aggregate: a derivation works on one row")
        return self.qualified(Call(name, self.list_until(")", aliases=name == "struct")))

    def qualified(self, call: Call) -> Call:
        """Refuses what only aggregates and windows have behind a call."""
        following = self.token.keyword
        if (following in ("over", "filter") and self.ahead().text == "(") or following in ("ignore", "respect", "within"):
            raise Unsupported(f"{call.function}(…) {following.upper()}: a derivation works on one row, without windows and aggregates")
        return call

    def list_until(self, closing: str, *, aliases: bool = False) -> tuple[Syntax, ...]:
        found: list[Syntax] = []
        if self.skip(closing):
            return ()
        while True:
            self.refuse_query()
            tree = self.expression()
            if aliases and not self.is_symbol(",") and not self.is_symbol(closing):
                self.skip_word("as")
                tree = Alias(tree, self.identifier())
            found.append(tree)
            if self.skip(closing):
                return tuple(found)
            self.expect(",")

    def refuse_query(self) -> None:
        if self.token.keyword in ("select", "with", "from", "values") and self.ahead().kind not in ("symbol", "end"):
            raise Unsupported("a query inside an expression: a derivation sees one row")

    def parenthesis(self) -> Syntax:
        if self.is_lambda():
            return self.lambda_of_many()
        trees = self.list_until(")", aliases=True)
        if not trees:
            raise self.error("an expression")
        if len(trees) == 1 and not isinstance(trees[0], Alias):
            return trees[0]
        return Call("struct", trees)

    def is_lambda(self) -> bool:
        at = self.at
        while self.tokens[at].kind in ("word", "quoted"):
            at += 1
            if self.tokens[at].text == ")":
                return self.tokens[min(at + 1, len(self.tokens) - 1)].text == "->"
            if self.tokens[at].text != ",":
                return False
            at += 1
        return False

    def lambda_of_many(self) -> Lambda:
        names = [self.identifier()]
        while self.skip(","):
            names.append(self.identifier())
        self.expect(")")
        self.expect("->")
        return Lambda(tuple(names), self.expression())

    # keywords

    def constant(self) -> Syntax | None:
        """``null``, ``true`` or ``false``."""
        if self.ahead().text == "(" or self.ahead().text == "->":
            return None
        return {"null": Literal(None, NULL), "true": Literal(True, BOOLEAN), "false": Literal(False, BOOLEAN)}[self.next().keyword]

    def case(self) -> Syntax | None:
        if self.ahead().kind == "end" or (self.ahead().kind == "symbol" and self.ahead().text not in ("(", "-", "+", "~", "!")):
            return None
        if self.ahead().keyword == "as":
            return None
        self.next()
        subject = None if self.token.keyword == "when" else self.expression()
        branches: list[tuple[Syntax, Syntax]] = []
        while self.skip_word("when"):
            condition = self.expression()
            self.expect_word("then")
            branches.append((condition, self.expression()))
        if not branches:
            raise self.error("WHEN")
        otherwise = self.expression() if self.skip_word("else") else None
        self.expect_word("end")
        return Case(subject, tuple(branches), otherwise)

    def interval(self) -> Syntax | None:
        """``interval 1 day 2 hours``, ``interval '1-2' year to month``; None where the word is a name."""
        at = self.at
        self.next()
        parts: list[tuple[Syntax, str, str]] = []
        while self.begins_interval_part():
            before = self.at
            value = self.expression(UNARY)
            unit = self.token.keyword
            if unit not in UNITS:
                self.at = before
                break
            self.next()
            until = self.next().keyword if self.skip_word("to") else ""
            parts.append((value, UNITS[unit], UNITS.get(until, "")))
        if not parts:
            self.at = at
            return None
        return interval_of_parts(parts)

    def begins_interval_part(self) -> bool:
        found = self.token
        return found.kind in ("number", "string") or (found.kind == "symbol" and found.text in ("-", "+", "("))

    def word_exists(self) -> Syntax | None:
        if self.ahead().text == "(" and self.ahead(2).keyword in ("select", "with"):
            raise Unsupported("a query inside an expression: a derivation sees one row")
        return None

    # calls with words between their arguments

    def cast(self, name: str) -> Syntax:
        value = self.expression()
        self.expect_word("as")
        data_type = self.type()
        self.expect(")")
        return Cast(value, data_type, quiet=name == "try_cast")

    def type(self) -> DataType:
        reader = TypeReader(self.tokens, self.at)
        data_type = reader.read()
        self.at = reader.at
        return data_type

    def extract(self, name: str) -> Syntax:
        unit = literals.string(self.identifier())
        self.expect_word("from")
        return self.closed(Call("date_part", (unit, self.expression())))

    def closed(self, tree: Syntax) -> Syntax:
        self.expect(")")
        return tree

    def substring(self, name: str) -> Syntax:
        value = self.expression()
        if not self.skip_word("from"):
            return self.rest_of_call(name, value)
        start = self.expression(COMPARISON)
        arguments = (value, start, self.expression(COMPARISON)) if self.skip_word("for") else (value, start)
        return self.closed(Call(name, arguments))

    def rest_of_call(self, name: str, *first: Syntax) -> Syntax:
        if self.skip(")"):
            return Call(name, first)
        self.expect(",")
        return Call(name, (*first, *self.list_until(")")))

    def trim(self, name: str) -> Syntax:
        side = self.token.keyword if self.token.keyword in ("both", "leading", "trailing") and self.ahead().text not in (")", ",") else ""
        if side:
            self.next()
        function = {"": "trim", "both": "trim", "leading": "ltrim", "trailing": "rtrim"}[side]
        if side and self.skip_word("from"):
            return self.closed(Call(function, (self.expression(COMPARISON),)))
        if self.is_symbol(")"):
            return self.rest_of_call(name)
        what = self.expression()
        if not self.skip_word("from"):
            return self.rest_of_call(name, what)
        return self.closed(Call(f"{function} of", (what, self.expression(COMPARISON))))

    def position(self, name: str) -> Syntax:
        what = self.expression(COMPARISON)
        if not self.skip_word("in"):
            return self.rest_of_call(name, what)
        return self.closed(Call("locate", (what, self.expression(COMPARISON))))

    def overlay(self, name: str) -> Syntax:
        value = self.expression()
        if not self.skip_word("placing"):
            return self.rest_of_call(name, value)
        replacement = self.expression(COMPARISON)
        self.expect_word("from")
        start = self.expression(COMPARISON)
        arguments = (value, replacement, start)
        return self.closed(Call(name, (*arguments, self.expression(COMPARISON)) if self.skip_word("for") else arguments))


SPECIAL_WORDS: dict[str, Callable[[Reader], Syntax | None]] = {
    "null": Reader.constant,
    "true": Reader.constant,
    "false": Reader.constant,
    "case": Reader.case,
    "interval": Reader.interval,
    "exists": Reader.word_exists,
}
SPECIAL_CALLS: dict[str, Callable[[Reader, str], Syntax]] = {
    "cast": Reader.cast,
    "try_cast": Reader.cast,
    "extract": Reader.extract,
    "substring": Reader.substring,
    "substr": Reader.substring,
    "trim": Reader.trim,
    "position": Reader.position,
    "overlay": Reader.overlay,
}
