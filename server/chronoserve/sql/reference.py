"""The reference of what derivations may use, written from the registry: docs/reference/derivations.md."""

from chronoserve.sql import analyze, functions, functions_array, functions_regexp, functions_string, java_regex, json_text, lexer, parser
from chronoserve.sql.registry import Function

PREAMBLE = f"""# Derivations

Written by `make reference` from the function registry; `tests/unit/sql` fails where this file and the registry differ.

A derivation is one Spark SQL expression over one row: the request's keys, the base features, `ts` (the request's time in epoch
milliseconds) and `ds` (its date as `yyyy-MM-dd`, UTC). Expressions are compiled when the conf is loaded and have the semantics of
Spark 3.5 with ANSI mode off, sessions in UTC and the legacy time parser, which is how Chronon's fetcher runs Spark: a division by zero
is null, integers wrap, a cast that does not fit is null, names are found whatever their case. A list of derivations that are all plain names (or `*`)
needs no SQL: it is a look-up in the features that are actually there.

What is not listed here is refused when the conf is loaded (`UNSUPPORTED`, naming the function); what Spark refuses too is
`INVALID_REQUEST`. Aggregates, windows, generators, queries, functions that ask a session are refused: a derivation is one column
of one row. The clock of `current_timestamp()`, `now()`, `current_date()`, `curdate()` and `unix_timestamp()` is the request's `ts`.

## Bounds

| what | at most |
|---|---|
| characters of an expression | {lexer.TEXT_CHARACTERS_MAX:,} |
| tokens | {lexer.TOKENS_MAX:,} |
| nested parentheses and calls | {parser.NESTING_MAX} |
| operators deep, chains counted one by one | {analyze.DEPTH_MAX} |
| characters that `repeat`, `space` or a pad makes | {functions_string.LENGTH_MAX:,} |
| elements that `sequence` or `array_repeat` makes | {functions_array.ITEMS_MAX:,} |
| characters of a text that a pattern is matched against | {functions_regexp.TEXT_CHARACTERS_MAX:,} |
| characters of a pattern; of one that comes from a column | {java_regex.PATTERN_CHARACTERS_MAX:,}; {functions_regexp.ROW_PATTERN_CHARACTERS_MAX} |
| pairs of characters that `levenshtein` compares | {functions_string.DISTANCE_CELLS_MAX:,} |
| nested arrays and objects of a JSON text | {json_text.NESTING_MAX} |

Regular expressions are Java's. A pattern that repeats nothing but a repetition, as `(a+)+`, is refused: a hostile value would take
forever. Others may still be slow on long hostile texts, as they are on the JVM: anchor them, or use possessive quantifiers.

## Known differences

| what | Spark | here |
|---|---|---|
| Java's `sin`, `cos`, `tan` | the processor's intrinsics | the C library's: in a few of a thousand cases the last bit differs |
| `cast('12:30' as timestamp)` | today at 12:30 | null: there is no clock (`hour`, `minute` and `second` of it work) |
| `current_timestamp()` and its kin | the clock when the expression was planned, for as long as the fetcher runs | the request's time, `ts` |
| `float` between a whole number and a double, as `log(float(i))` | 3.5 leaves it out, 3.1 does not | it rounds to a float |
| two-digit years in patterns | counted from eighty years ago | counted from 1946 |
| `rand`, `randn`, `shuffle` with a seed | Spark's numbers | other numbers |
| `from_json` | all options and modes | PERMISSIVE; no `_corrupt_record` |
| `format_string` of arrays and structs | their place in memory | refused |
| `sentences` | the JDK's word breaks | letters, digits, and what joins them |
| a duplicate map key in one row | that evaluator fails on all later rows | that row fails |
| types without an Avro form (date, decimal, null) | the join answers `join_codec_fetch_exception` | the same at join level; declared as unknown types |

Spark 3.1, which Chronon's own build links, differs from 3.5 in these (found by running both over six thousand expressions):

- the functions that came later: `startswith`, `contains`, `split_part`, `ilike`, `try_*`, `regexp_like`, `mask`, `array_append` …
- types: a bare `null` is called `null` instead of `void`; `round` of a decimal keeps its precision; `lpad` of binary is a string; all
  intervals are one type, and a date plus hours stays a date
- values: `sha2(x, 224)` (raw bytes), `split(x, '')` (an empty string at the end), `conv` beyond 64 bits and with letters, `unhex` of an odd
  count of digits, `unbase64` of what is none, `base64` (no line ends), `ascii` beyond ASCII, `cast(long as timestamp)` beyond its range,
  `hash` of -0.0, `array_distinct` and its kin of -0.0 and 0.0 (one there, two here), `regexp_replace` on empty texts, `schema_of_json`
  (names in backquotes), `from_json` where one field of a nested struct does not fit (the struct is null)
"""  # noqa: E501 - rows of tables stand in one line


def markdown() -> str:
    """The whole file."""
    parts = [PREAMBLE]
    for title, group in functions.GROUPS:
        rows = "\n".join(row(function) for function in group)
        parts.append(f"## {title}\n\n| usage | meaning |\n|---|---|\n{rows}\n")
    parts.append(FORMS)
    parts.append(refused())
    return "\n".join(parts)


def row(function: Function) -> str:
    usage = f"`{function.usage}`".replace("|", "\\|")
    return f"| {usage} | {function.doc.replace('``', '`').replace('|', chr(92) + '|')} |"


FORMS = """## Forms

`case when … then … else … end`, `case x when … end`, `x between a and b`, `x in (…)`, `x is [not] null | true | false | unknown`,
`x is [not] distinct from y`, `x like p escape c`, `x like any|all (…)`, `cast(x as type)`, `try_cast`, `struct.field`, `array[i]`,
`map[key]`, `array_of_structs.field`, `extract(unit from x)`, `trim(both c from x)`, `substring(x from i for n)`, `position(a in b)`,
`overlay(x placing y from i for n)`, `date '…'`, `timestamp '…'`, `interval 1 day`, `interval '1-2' year to month`, `x'1F'`,
`1.5BD`, `1.5D`, `1.5F`, `42L`, `42S`, `42Y`, `r'\\d'`, `` `a name` ``, `-- comments`.
"""


def refused() -> str:
    lines = ["## Refused", ""]
    reasons: dict[str, list[str]] = {}
    for name, reason in functions.REFUSED.items():
        reasons.setdefault(reason, []).append(f"`{name}`")
    lines += [f"- {', '.join(names)}: {reason}." for reason, names in reasons.items()]
    return "\n".join(lines) + "\n"
