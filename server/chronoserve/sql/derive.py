"""Derivations of a join or a group by: the rules of spec/online-fetch.md §12, without input or output."""

import enum
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from chronoserve.model.confs import Derivation
from chronoserve.model.errors import DerivationFailed, InvalidRequest, KVError
from chronoserve.model.types import LONG, STRING, Field, StructType
from chronoserve.sql.compile import converter, planned, projected, with_cells
from chronoserve.sql.datetimes import day_of
from chronoserve.sql.inputs import Coerce, coercer
from chronoserve.sql.nodes import Column, Node, Weaver, columns_of
from chronoserve.sql.types import chronon_type, has_struct

MILLIS_PER_DAY = 86_400_000
IDENTIFIER = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
TIME_FIELDS = (Field("ts", LONG), Field("ds", STRING))
EXCEPTION = "_exception"
Features = dict[str, Any]


class Kind(enum.Enum):
    """How derivations are evaluated."""

    NONE = "none"
    RENAME = "rename only"
    SQL = "sql"


def day_text(ts: int) -> str:
    """``ds`` of a time in epoch milliseconds: its first ten characters as yyyy-MM-dd, in UTC.

    Raises:
        DerivationFailed: before 1970, which Chronon formats as no date.
    """
    if ts < 0:
        raise DerivationFailed("a time before 1970 has no ds: ask for a later one")
    return text_of_day(ts // MILLIS_PER_DAY)


@lru_cache(maxsize=256)
def text_of_day(days: int) -> str:
    year, month, day = day_of(days)
    return f"{year:04d}-{month:02d}-{day:02d}"[:10]


class Derivations:
    """The derivations of one join or group by, compiled once.

    ``loose``: the base fields whose values no codec has typed (contextual and external ones), None for all of them;
    request keys always are. A list that does not compile is no error here: ``failure`` says why, ``derived_type`` and
    ``apply`` raise it.
    """

    def __init__(
        self,
        derivations: Sequence[Derivation] | None,
        key_type: StructType,
        base_type: StructType,
        *,
        loose: Collection[str] | None = None,
    ) -> None:
        listed = tuple(derivations or ())
        self.named = tuple(derivation for derivation in listed if derivation.name != "*")
        self.wildcard = len(self.named) < len(listed)
        self.used = frozenset(derivation.expression for derivation in listed)
        self.kind = kind_of(listed)
        self.inputs = StructType("all", (*key_type.fields, *base_type.fields, *TIME_FIELDS))
        self.base_type = base_type
        self.ordinary = frozenset(name for name in base_type.names if not name.endswith(EXCEPTION))
        self.failure: KVError | None = None
        self.plan: SqlPlan | None = None
        if self.kind is Kind.SQL:
            self.compile(base_type, loose)

    def compile(self, base_type: StructType, loose: Collection[str] | None) -> None:
        typed = frozenset() if loose is None else frozenset(base_type.names) - frozenset(loose)
        try:
            self.plan = SqlPlan(self.expanded(), self.inputs, typed)
        except KVError as error:
            self.failure = error

    def expanded(self) -> list[tuple[str, str]]:
        """The select list: the wildcard's columns first, then the derivations in order."""
        starred = [(field.name, field.name) for field in self.wildcard_fields()]
        return starred + [(derivation.name, derivation.expression) for derivation in self.named]

    def wildcard_fields(self) -> list[Field]:
        return [field for field in self.base_type.fields if field.name not in self.used] if self.wildcard else []

    @property
    def derived_type(self) -> StructType:
        """The fields of the result, ``ts`` and ``ds`` among them where they are derived; base where nothing is derived.

        Raises:
            InvalidRequest: a rename of a feature that is not there, or an expression that Spark refuses.
            Unsupported: an expression that we do not compile.
        """
        if self.failure is not None:
            raise self.failure
        if self.kind is Kind.NONE or not self.base_type.fields:
            return self.base_type
        if self.plan is not None:
            return self.plan.type
        return StructType("", (*self.wildcard_fields(), *(self.renamed_field(derivation) for derivation in self.named)))

    def renamed_field(self, derivation: Derivation) -> Field:
        found = self.inputs.type_of(derivation.expression)
        if found is None:
            raise InvalidRequest(
                f"the derivation {derivation.name} names {derivation.expression}, which is no feature, key, ts or ds", field="derivations"
            )
        return Field(derivation.name, found)

    # evaluation

    def apply(self, keys: Mapping[str, Any], base: Mapping[str, Any] | None, ts: int) -> Features:
        """What Chronon replies: derived features, ``*_exception`` entries of the base, and nothing that such an entry's stem begins.

        ``base``: None where the group by has nothing for the key. ``ts``: epoch milliseconds.

        Raises:
            KVError: ``failure``, or DerivationFailed where an expression fails on this row.
        """
        values = {} if base is None else base
        ds = day_text(ts)
        if self.failure is not None:
            raise self.failure
        if self.plan is not None:
            derived = self.plan.evaluate(keys, values, ts, ds)
        elif self.kind is Kind.RENAME:
            derived = self.renamed({**keys, **values, "ts": ts, "ds": ds}, values)
        else:
            derived = dict(values)
        derived.pop("ts", None)
        derived.pop("ds", None)
        return derived if self.kind is Kind.NONE or self.ordinary.issuperset(values) else reintroduced(derived, values)

    def fall_back(self, keys: Mapping[str, Any], base: Mapping[str, Any] | None) -> Features:
        """What is left when ``apply`` failed: the renames, on the actual base and without ``ts`` and ``ds``.

        Raises:
            DerivationFailed: not all derivations are renames; Chronon gives no feature at all then (spec §12.6).
        """
        values = {} if base is None else base
        if self.kind is Kind.SQL:
            raise DerivationFailed("the derivations are not renames only, so no feature is left where one of them fails")
        return reintroduced(self.renamed({**keys, **values}, values), values)

    def derive(self, keys: Mapping[str, Any], base: Mapping[str, Any] | None, ts: int) -> tuple[Features, dict[str, KVError]]:
        """``apply``, and where it fails what Chronon replies instead: the rename-only fallback and the base's exceptions.

        The errors are by the stems of Chronon's entries: ``derivation_fetch``, ``derivation_rename``.
        """
        try:
            return self.apply(keys, base, ts), {}
        except KVError as error:
            failures: dict[str, KVError] = {"derivation_fetch": error}
        try:
            return self.fall_back(keys, base), failures
        except KVError as error:
            failures["derivation_rename"] = error
        return {name: value for name, value in (base or {}).items() if name.endswith(EXCEPTION)}, failures

    def renamed(self, known: Mapping[str, Any], values: Mapping[str, Any]) -> Features:
        """Rename-only: the wildcard takes what is actually there."""
        derived = {name: value for name, value in values.items() if name not in self.used} if self.wildcard else {}
        for derivation in self.named:
            derived[derivation.name] = known.get(derivation.expression)
        return derived


def kind_of(derivations: Sequence[Derivation]) -> Kind:
    if not derivations:
        return Kind.NONE
    renames = all(derivation.name == "*" or IDENTIFIER.fullmatch(derivation.expression) for derivation in derivations)
    return Kind.RENAME if renames else Kind.SQL


def reintroduced(derived: Features, base: Mapping[str, Any]) -> Features:
    """The base's exceptions, and no feature that begins with one's stem: the test is of text, as Chronon's is (spec §12.6)."""
    exceptions = {name: value for name, value in base.items() if name.endswith(EXCEPTION)}
    if not exceptions:
        return derived
    stems = tuple(name.removesuffix(EXCEPTION) for name in exceptions)
    return {name: value for name, value in derived.items() if not name.startswith(stems)} | exceptions


class SqlPlan:
    """A select list over keys, base features, ``ts`` and ``ds``.

    Plain columns are copied; only what is computed goes through closures, over a row of just the columns that it reads.
    """

    def __init__(self, expressions: Sequence[tuple[str, str]], inputs: StructType, typed: frozenset[str]) -> None:
        analysis, nodes = planned(expressions, inputs, clock="ts")
        self.type = StructType(
            "", tuple(Field(name, chronon_type(name, node.type)) for (name, _), node in zip(expressions, nodes, strict=True))
        )
        last = {name: node for (name, _), node in zip(expressions, nodes, strict=True)}
        computed = {name: node for name, node in last.items() if not isinstance(node, Column)}
        self.names = tuple(computed)
        self.read = columns_of(list(last.values()))
        positions = {index: place for place, index in enumerate(columns_of(list(computed.values())))}
        self.row_names = tuple(inputs.fields[index].name for index in positions)
        weaver = Weaver(list(computed.values()), len(positions), analysis.variables, positions)
        self.run = with_cells(weaver, projected([converted(weaver, node) for node in computed.values()], []))
        copies = {name: node.name for name, node in last.items() if isinstance(node, Column)}
        self.copied, self.copied_from = tuple(copies), tuple(copies.values())
        self.structs = tuple(
            (name, convert) for name, node in last.items() if isinstance(node, Column) and (convert := converter(node.type)) is not None
        )
        self.coercers = tuple(self.coerced(inputs, typed))

    def coerced(self, inputs: StructType, typed: frozenset[str]) -> list[tuple[str, Coerce]]:
        """What must be coerced: the untyped columns that are read, and untyped text whether it is read or not."""
        return [
            (field.name, coercer(field.name, field.type))
            for index, field in enumerate(inputs.fields)
            if field.name not in typed and field not in TIME_FIELDS and (index in self.read or field.type == STRING)
        ]

    def evaluate(self, keys: Mapping[str, Any], base: Mapping[str, Any], ts: int, ds: str) -> Features:
        known = {**keys, **base, "ts": ts, "ds": ds}
        for name, coerce in self.coercers:
            if name in known:
                known[name] = coerce(known[name])
        get = known.get
        derived = dict(zip(self.copied, map(get, self.copied_from), strict=True))
        for name, convert in self.structs:
            derived[name] = convert(derived[name])
        derived.update(zip(self.names, self.run(list(map(get, self.row_names))), strict=True))
        return derived


def converted(weaver: Weaver, node: Node) -> Callable[[Any], Any]:
    evaluate = weaver.weave(node)
    convert = converter(node.type) if has_struct(node.type) else None
    return evaluate if convert is None else lambda row: convert(evaluate(row))
