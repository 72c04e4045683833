"""The plan of a join: what each row of it reads and how its parts become features. Computed once for each version of its
conf and of the group bys' uploads (spec/online-fetch.md §6.4, §10, §11).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from chronoserve.codec.keys import KeyCodec
from chronoserve.fetcher.batch_cache import BatchCache
from chronoserve.fetcher.observe import PartMetrics
from chronoserve.fetcher.reply import Batch
from chronoserve.fetcher.served import ServedGroupBy
from chronoserve.model.confs import ExternalPart, ExternalSource, Join, JoinPart
from chronoserve.model.errors import KVError
from chronoserve.model.naming import CONTEXTUAL
from chronoserve.model.types import DataType


@dataclass(frozen=True, slots=True)
class GroupByPlan:
    """A group by with what the flags say of it now. ``cache``: where its batches are kept decoded, None: nowhere. ``skip``: its
    undecodable streamed values are left out. ``stem``: what it is called among a row's parts.
    """

    served: ServedGroupBy
    cache: BatchCache | None
    skip: bool
    metrics: PartMetrics
    stem: str
    types: Mapping[str, DataType]

    def cached_batch(self, key: bytes) -> Batch | None:
        """The key's batch, where a cache has it."""
        return self.cache.get(self.served, key) if self.cache is not None else None


@dataclass(frozen=True, slots=True)
class KeySlot:
    """Keys that one or several parts have in common: encoded once for each row.

    ``pairs``: (right name, left name) of each key. ``plain``: both are the same throughout, so a row's own map will do.
    ``codec``: None where none of the parts can be served.
    """

    pairs: tuple[tuple[str, str], ...]
    plain: bool
    codec: KeyCodec | None


@dataclass(frozen=True, slots=True)
class PartPlan:
    """One join part. ``group``: its group by, or why it cannot be served. ``slot``: which of the plan's key slots it has.

    ``names``: its features, as the values of its group by lie; empty where those come by name, from derivations.
    """

    stem: str
    """The full prefix: of its features, and of Chronon's entry for its failure."""
    prefix: str
    """Of its features: the stem and an underscore."""
    group: GroupByPlan | KVError
    slot: int
    pairs: tuple[tuple[str, str], ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExternalPlan:
    """One external part. ``pairs``: (name in the source's key schema, left name)."""

    stem: str
    source: ExternalSource
    pairs: tuple[tuple[str, str], ...]


def key_pairs(part: JoinPart) -> tuple[tuple[str, str], ...]:
    """(right, left) names: key columns by their own names, overridden by the mapping.

    A mapping to a column that is no key is still required of the row, as in Chronon. Where two key columns come from one left
    name, both get it; Chronon keeps one (docs/parity.md).
    """
    right_to_left = {name: name for name in part.group_by.key_columns}
    right_to_left.update({right: left for left, right in (part.key_mapping or {}).items()})
    return tuple(right_to_left.items())


def external_pairs(part: ExternalPart) -> tuple[tuple[str, str], ...]:
    """(name in the key schema, left name) of each key of an external source."""
    right_to_left = {right: left for left, right in (part.key_mapping or {}).items()}
    schema = part.source.key_schema
    return tuple((name, right_to_left.get(name, name)) for name in (schema.names if schema is not None else ()))


@dataclass(frozen=True, slots=True)
class PartsPlan:
    """What a join reads. ``contextual``: (left name, feature) pairs: they are answered from the row itself."""

    parts: tuple[PartPlan, ...]
    slots: tuple[KeySlot, ...]
    externals: tuple[ExternalPlan, ...]
    contextual: tuple[tuple[str, str], ...]


def parts_plan(conf: Join, groups: Mapping[str, GroupByPlan | KVError]) -> PartsPlan:
    """``groups``: by the name of each part's group by."""
    slots: dict[tuple[tuple[tuple[str, str], ...], str], KeySlot] = {}
    parts = tuple(_part_plan(part, groups[part.group_by.meta_data.name], slots) for part in conf.join_parts)
    externals: list[ExternalPlan] = []
    contextual: list[tuple[str, str]] = []
    for part in conf.online_external_parts or ():
        if part.source.meta_data.name == CONTEXTUAL:
            contextual += [(left, f"{part.full_name}_{right}") for right, left in external_pairs(part)]
        else:
            externals.append(ExternalPlan(part.full_name, part.source, external_pairs(part)))
    return PartsPlan(parts, tuple(slots.values()), tuple(externals), tuple(contextual))


def _part_plan(part: JoinPart, group: GroupByPlan | KVError, slots: dict[tuple[tuple[tuple[str, str], ...], str], KeySlot]) -> PartPlan:
    pairs, stem = key_pairs(part), part.full_prefix
    served = None if isinstance(group, KVError) else group.served
    key = (pairs, "" if served is None else served.key_schema)
    if key not in slots:
        slots[key] = KeySlot(pairs, all(right == left for right, left in pairs), None if served is None else served.key_codec)
    by_position = served is not None and served.derivations is None
    names = tuple(f"{stem}_{name}" for name in served.base_names) if served is not None and by_position else ()
    return PartPlan(stem, f"{stem}_", group, list(slots).index(key), pairs, names)
