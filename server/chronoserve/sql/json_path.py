"""``get_json_object``: Spark's subset of JSON paths, ``$.a.b[0]['c'][*]``, and the forms in which it gives what they lead to."""

import re
from functools import lru_cache
from typing import Any, NamedTuple

from chronoserve.sql.json_text import BROKEN, Pairs, quoted, read, written

STEP = re.compile(r"\.(?P<dotted>[^.\[]+)|\[(?P<index>\d+)\]|\[(?P<all>\*)\]|\['(?P<quoted>[^'?]+)'\]")
RAW, QUOTED, FLATTEN = range(3)
INDEX_DIGITS_MAX = 18


class Step(NamedTuple):
    """``kind``: name, index or items (all). ``.*`` is a name like any other."""

    kind: str
    name: str = ""
    place: int = 0


@lru_cache(maxsize=256)
def steps(path: str) -> tuple[Step, ...] | None:
    """The steps of a path; None where it is not valid."""
    if not path.startswith("$"):
        return None
    found: list[Step] = []
    at = 1
    while at < len(path):
        match = STEP.match(path, at)
        if match is None or len(match["index"] or "") > INDEX_DIGITS_MAX:
            return None
        at = match.end()
        name = match["dotted"] or match["quoted"]
        if name is not None:
            found.append(Step("name", name))
        else:
            found.append(Step("items") if match["all"] else Step("index", place=int(match["index"])))
    return tuple(found)


def extract(text: str, path: str) -> str | None:
    """What the path leads to: a string as it is, everything else as JSON; null where it leads nowhere."""
    found = steps(path)
    if found is None:
        return None
    value = read(text)
    if value is BROKEN:
        return None
    out: list[str] = []
    return ",".join(out) if walk(value, found, RAW, out) and out else None


def walk(value: Any, rest: tuple[Step, ...], style: int, out: list[str]) -> bool:
    """Appends what ``rest`` leads to from ``value``; whether that was anything."""
    if not rest:
        return leaf(value, style, out)
    step, *_ = rest
    if isinstance(value, Pairs):
        return walk_object(value, step, rest[1:], style, out)
    if isinstance(value, list):
        return walk_array(value, step, rest[1:], style, out)
    return False


def leaf(value: Any, style: int, out: list[str]) -> bool:
    if isinstance(value, str) and style == RAW:
        out.append(value)
        return True
    if isinstance(value, list) and not isinstance(value, Pairs) and style == FLATTEN:
        return [leaf(item, style, out) for item in value].count(True) > 0
    out.append(quoted(value) if isinstance(value, str) else written(value))
    return True


def walk_object(value: Pairs, step: Step, rest: tuple[Step, ...], style: int, out: list[str]) -> bool:
    """The first name that leads somewhere."""
    return step.kind == "name" and any(name == step.name and held is not None and walk(held, rest, style, out) for name, held in value)


def walk_array(value: list[Any], step: Step, rest: tuple[Step, ...], style: int, out: list[str]) -> bool:
    if step.kind == "index":
        inner = QUOTED if rest and rest[0].kind == "items" else style
        return step.place < len(value) and walk(value[step.place], rest, inner, out)
    if step.kind != "items":
        return False
    if rest and rest[0].kind == "items":
        return gathered(value, rest[1:], FLATTEN, out, always=True)
    return gathered(value, rest, QUOTED if style == RAW else style, out, always=style == QUOTED)


def gathered(value: list[Any], rest: tuple[Step, ...], style: int, out: list[str], *, always: bool) -> bool:
    """What each item leads to, as an array; a single result stands alone unless ``always``."""
    found: list[str] = []
    count = sum([walk(item, rest, style, found) for item in value])
    if not count:
        return False
    out.append(f"[{','.join(found)}]" if always or count > 1 else ",".join(found))
    return True
