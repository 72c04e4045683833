"""Schemas of joins and group bys, as clients ask for them (spec/online-fetch.md §20.1)."""

from dataclasses import dataclass

from chronoserve.codec import avro
from chronoserve.fetcher.join_plan import JoinPlan
from chronoserve.fetcher.plan import external_pairs
from chronoserve.fetcher.served import ServedGroupBy
from chronoserve.model.errors import KVError
from chronoserve.model.types import StructType, short_name


@dataclass(frozen=True, slots=True)
class ValueInfo:
    """One feature of a join: its name, the group by or external source it comes from, its part's prefix, the left keys that it
    needs; for a derived feature ``derivations``, no prefix and all keys.
    """

    name: str
    group: str
    prefix: str
    left_keys: tuple[str, ...]
    type: str


@dataclass(frozen=True, slots=True)
class JoinSchema:
    """``key_schema`` and ``value_schema`` are Avro texts, ``schema_hash`` names both; bytes in the join log have them."""

    name: str
    key_type: StructType
    value_type: StructType
    key_schema: str
    value_schema: str
    schema_hash: str
    value_infos: tuple[ValueInfo, ...]


@dataclass(frozen=True, slots=True)
class GroupBySchema:
    """``value_schema``: of the answers, derivations applied. ``input_schema`` is that of the streamed source, where there is one."""

    name: str
    key_type: StructType
    value_type: StructType
    key_schema: str
    value_schema: str
    input_schema: str | None
    selected_schema: str | None
    batch_end_millis: int


def join_schema(plan: JoinPlan | KVError) -> JoinSchema:
    """Raises UnknownConf, or what keeps the join's codec from being built."""
    if isinstance(plan, KVError):
        raise plan.with_traceback(None)
    if plan.codec_error is not None:
        raise plan.codec_error.with_traceback(None)
    assert plan.log is not None
    return JoinSchema(
        plan.conf.meta_data.name,
        plan.log.key_type,
        plan.log.value_type,
        plan.log.key_schema,
        plan.log.value_schema,
        plan.log.hash,
        tuple(_infos(plan)),
    )


def _infos(plan: JoinPlan) -> list[ValueInfo]:
    assert plan.log is not None
    sources: dict[str, tuple[str, str, tuple[str, ...]]] = {}
    for part, conf in zip(plan.parts.parts, plan.conf.join_parts, strict=True):
        if not isinstance(part.group, KVError):
            group, lefts = part.group.served, tuple(left for _, left in part.pairs)
            for name in group.types():
                sources[f"{part.prefix}{name}"] = (group.name, conf.prefix or "", lefts)
    for external in plan.conf.online_external_parts or ():
        source, lefts = external.source, tuple(left for _, left in external_pairs(external))
        for name in source.value_schema.names if source.value_schema is not None else ():
            sources[f"{external.full_name}_{name}"] = (source.meta_data.name, external.prefix or "", lefts)
    derived = ("derivations", "", plan.log.key_type.names)
    return [ValueInfo(field.name, *sources.get(field.name, derived), short_name(field.type)) for field in plan.log.value_type.fields]


def group_by_schema(served: ServedGroupBy | KVError) -> GroupBySchema:
    """Raises UnknownConf, or what keeps a derivation of the group by from being compiled."""
    if isinstance(served, KVError):
        raise served.with_traceback(None)
    response = served.response_type()
    value_type = StructType(f"{served.group_by.meta_data.clean_name}_RESPONSE", response.fields)
    return GroupBySchema(
        served.name,
        served.key_codec.type,
        value_type,
        served.key_schema,
        avro.schema_text(value_type),
        served.info.input_avro_schema,
        served.info.selected_avro_schema,
        served.batch_end,
    )
