"""Whether what was compiled can be uploaded and served here, as far as a conf tells without its tables."""

import dataclasses
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from chronoserve.codec import conf_json, confs
from chronoserve.model.confs import Derivation, GroupBy, Join
from chronoserve.model.errors import InvalidRequest, KVError, Unsupported
from chronoserve.sql.analyze import CLOCKS, refusal
from chronoserve.sql.functions import FUNCTIONS
from chronoserve.sql.parser import parse
from chronoserve.sql.syntax import Call, Name

CUT_OFF = Name("as")
"""What the rest of ``1 + as name`` is to Spark, which puts the name behind each expression."""
RESOLVED_BY_NAME = frozenset({"struct", "arrays_zip"})
EXPLODES = frozenset({"explode", "explode_outer"})
"""What a select may do once, and a derivation may not."""


@dataclass(slots=True)
class Judgement:
    """``errors``: it cannot be served, or Spark would refuse it too. ``warnings``: what has to be done elsewhere, or will not be done."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def judged(kind: str, text: str) -> Judgement:
    """One conf. Where it is not online, what keeps it from being served is a warning."""
    found = Judgement()
    try:
        conf_json.normalise(kind, text, check=True)
        online = _judge(kind, text, found)
    except InvalidRequest as wrong:
        return Judgement(errors=[wrong.message])
    if online:
        return found
    return Judgement(warnings=[*found.errors, *found.warnings])


def _judge(kind: str, text: str, found: Judgement) -> bool:
    """Whether it is online."""
    match kind:
        case "joins":
            join = confs.join(text)
            _judge_join(join, found)
            return bool(join.meta_data.online)
        case "group_bys":
            group_by = confs.group_by(text)
            _judge_group_by(group_by, found)
            return bool(group_by.meta_data.online)
        case _:
            return bool(confs.meta_data(text).online)


def _judge_join(join: Join, found: Judgement) -> None:
    _judge_derivations(join.derivations or (), found)
    for part in join.join_parts:
        _judge_derivations(part.group_by.derivations or (), found, f"{part.group_by.meta_data.name}: ")


def _judge_group_by(group_by: GroupBy, found: Judgement) -> None:
    from chronoserve.upload.plan import query_of, refuse_unfit

    try:
        refuse_unfit(group_by)
    except Unsupported as elsewhere:
        found.warnings.append(elsewhere.message)
    except InvalidRequest as wrong:
        found.errors.append(wrong.message)
    for index, source in enumerate(group_by.sources):
        query = query_of(source)
        for name, text in (query.selects or {}).items():
            _judge_source(f"sources[{index}].selects.{name}", text, name, found)
        for position, text in enumerate(query.wheres or ()):
            _judge_source(f"sources[{index}].wheres[{position}]", text, None, found)
    _judge_derivations(group_by.derivations or (), found)


def _judge_source(place: str, text: str, name: str | None, found: Judgement) -> None:
    """A source's expression is Spark's business where uploads are made on Spark."""
    wrong = _wrong(text, name, EXPLODES)
    if isinstance(wrong, Unsupported):
        found.warnings.append(f"{place} can only be uploaded on Spark: {wrong.message}")
    elif wrong is not None:
        found.errors.append(f"{place}: {wrong.message}")


def _judge_derivations(derivations: Iterable[Derivation], found: Judgement, owner: str = "") -> None:
    for derivation in derivations:
        if derivation.name != "*" and (wrong := _wrong(derivation.expression, derivation.name, CLOCKS)) is not None:
            found.errors.append(f"{owner}derivation {derivation.name}: {wrong.message}")


def _wrong(text: str, name: str | None, also: frozenset[str] = frozenset()) -> KVError | None:
    """Syntax and functions; types are known once there are tables."""
    try:
        for node in _nodes(parse(text, name)):
            if isinstance(node, Call) and node.function not in FUNCTIONS and node.function not in also | RESOLVED_BY_NAME:
                raise refusal(node.function)
            if node == CUT_OFF and not re.search(r"\bas\b", text, re.IGNORECASE):
                return InvalidRequest("it ends too early: an operand is missing", field="expression")
    except (InvalidRequest, Unsupported) as wrong:
        return wrong
    return None


def _nodes(value: object) -> Iterator[object]:
    if isinstance(value, tuple):
        for each in value:
            yield from _nodes(each)
    elif dataclasses.is_dataclass(value):
        yield value
        for each in dataclasses.fields(value):
            yield from _nodes(getattr(value, each.name))
