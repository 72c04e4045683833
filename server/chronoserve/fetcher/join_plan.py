"""Everything about a join that does not depend on a request: parts, codec, derivations, types, models (spec/online-fetch.md §10, §12.7)."""

import copy
from collections.abc import Mapping

from chronoserve.fetcher.join_codec import JoinLog, JoinTypes, derivations_of, join_types
from chronoserve.fetcher.plan import GroupByPlan, PartsPlan, parts_plan
from chronoserve.model import types
from chronoserve.model.confs import Join, ModelTransform
from chronoserve.model.errors import KVError
from chronoserve.model.types import DataType, Field
from chronoserve.sql.derive import Derivations, Kind

_CAST = frozenset({types.LONG, types.DOUBLE, types.STRING})
_ALWAYS = {"ts": types.LONG, "ds": types.STRING}


class JoinPlan:
    """``codec_error``: why the join has no codec, so that Chronon answers nothing but that (§12.6). ``types``: of features by name,
    as far as they are known to have them. ``casts``: keys that are cast before derivations and logging see them (§6.5).
    """

    __slots__ = ("casts", "codec_error", "conf", "derivations", "groups", "invalid", "join_types", "log", "parts",
                 "published", "types")  # fmt: skip

    def __init__(self, conf: Join, groups: Mapping[str, GroupByPlan | KVError], invalid: KVError | None = None) -> None:
        """``groups``: the plan of every part's group by, by its name, or why there is none. ``invalid``: why it may not be served."""
        self.conf = conf
        self.groups = groups
        self.invalid = invalid
        self.published = False
        self.parts: PartsPlan = parts_plan(conf, groups)
        self.codec_error: KVError | None = None
        self.join_types: JoinTypes | None = None
        self.derivations: Derivations | None = None
        self.log: JoinLog | None = None
        self.types: Mapping[str, DataType] = {}
        self.casts: tuple[tuple[str, DataType], ...] = ()
        try:
            self._codec()
        except KVError as error:
            self.codec_error = error

    def made_of(self, conf: Join, groups: Mapping[str, GroupByPlan | KVError], invalid: KVError | None) -> bool:
        """Whether a plan made of these would be this one."""
        return (
            conf is self.conf
            and (invalid is self.invalid or _same(invalid, self.invalid))
            and groups.keys() == self.groups.keys()
            and all(groups[name] is mine or _same(groups[name], mine) for name, mine in self.groups.items())
        )

    def moved(self, conf: Join, groups: Mapping[str, GroupByPlan | KVError], invalid: KVError | None) -> "JoinPlan | None":
        """The plan after uploads of its group bys that changed only their batch ends; None where more has changed."""
        if conf is not self.conf or invalid is not self.invalid or groups.keys() != self.groups.keys():
            return None
        if not all(_alike(groups[name], mine) for name, mine in self.groups.items()):
            return None
        later = copy.copy(self)
        later.groups = groups
        later.parts = parts_plan(conf, groups)
        return later

    def _codec(self) -> None:
        """Raises KVError where Chronon could not build the codec either."""
        conf = self.conf
        known = self.join_types = join_types(conf, self.parts.parts)
        self.derivations = derivations_of(conf, known)
        value_fields = {field.name: field for field in known.base_type.fields}
        if self.derivations is not None:
            value_fields |= {field.name: field for field in self.derivations.derived_type.fields}
        for transform in (conf.model_transforms.transforms or ()) if conf.model_transforms is not None else ():
            value_fields |= {field.name: field for field in model_fields(transform)}
        self.log = JoinLog(conf, known.key_type, tuple(value_fields.values()))
        self.casts = tuple((field.name, field.type) for field in known.key_type.fields if field.type in _CAST)
        self.types = self._feature_types(known)

    def _feature_types(self, known: JoinTypes) -> dict[str, DataType]:
        own = {
            f"{part.prefix}{name}": data_type
            for part in self.parts.parts
            if not isinstance(part.group, KVError)
            for name, data_type in part.group.served.types().items()
        }
        if self.derivations is None:
            return own
        derived = self.derivations.derived_type
        derivations = self.conf.derivations or ()
        if self.derivations.kind is Kind.SQL:
            return {field.name: field.type for field in derived.fields}
        sources = own | _ALWAYS
        renamed = {each.name: sources[each.expression] for each in derivations if each.expression in sources and each.name != "*"}
        wildcard = any(each.name == "*" for each in derivations)
        return (own if wildcard else {}) | renamed


def _alike(one: GroupByPlan | KVError, other: GroupByPlan | KVError) -> bool:
    """Whether the codec is the same with either."""
    if isinstance(one, GroupByPlan) and isinstance(other, GroupByPlan):
        return one.served.like(other.served)
    return _same(one, other)


def _same(one: object, other: object) -> bool:
    """Whether both are the same error, raised twice."""
    return isinstance(one, KVError) and type(one) is type(other) and str(one) == str(other)


def model_fields(transform: ModelTransform) -> list[Field]:
    """The outputs of a model under the names that a row has for them."""
    schema = transform.model.output_schema
    prefix = f"{transform.prefix}_" if transform.prefix is not None else ""
    fields = schema.fields if schema is not None else ()
    return [Field(f"{prefix}{transform.output_mappings.get(field.name, field.name)}", field.type) for field in fields]
