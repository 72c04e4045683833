"""Chronon's configuration objects from the JSON that uploads left (spec/aggregation-and-codecs.md §4, online-fetch.md §4.1).

Lenient as the fetcher has to be: a newer Chronon's unknown fields are dropped. What serving needs must be there and of its
type; an absent list stays apart from an empty one.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from chronoserve.codec import thrift
from chronoserve.codec.thrift import DataKind, Misread
from chronoserve.model import confs, types
from chronoserve.model.types import DataType, Field, ListType, MapType, StructType

Tree = Mapping[str, Any]
T = TypeVar("T")


def join(text: str | bytes) -> confs.Join:
    """A join's conf. Raises InvalidRequest that names the path of what is wrong or missing."""
    return thrift.read("Join", thrift.parsed(text), _join)


def group_by(text: str | bytes) -> confs.GroupBy:
    """A group by's conf; raises as ``join`` does."""
    return thrift.read("GroupBy", thrift.parsed(text), _group_by)


def serving_info(text: str | bytes) -> confs.GroupByServingInfo:
    """What an upload stored under ``group_by_serving_info``; raises as ``join`` does."""
    return thrift.read("GroupByServingInfo", thrift.parsed(text), _serving_info)


def meta_data(text: str | bytes) -> confs.MetaData:
    """The ``metaData`` of a join's, a group by's or a staging query's conf, whatever else is in it."""
    tree = thrift.parsed(text)
    inside = tree.get("metaData") if isinstance(tree, dict) else None
    return thrift.read("StagingQuery", {"metaData": inside}, lambda read: _needed(_meta_data, read, "metaData"))


def _present(tree: Tree, name: str) -> Any:
    if name not in tree:
        raise Misread("is missing", name)
    return tree[name]


def _needed(build: Callable[[Tree], T], tree: Tree, name: str) -> T:
    inside = _present(tree, name)
    try:
        return build(inside)
    except Misread as misread:
        raise misread.within(name) from None


def _maybe(build: Callable[[Tree], T], tree: Tree, name: str) -> T | None:
    return _needed(build, tree, name) if name in tree else None


def _each(build: Callable[[Tree], T], tree: Tree, name: str) -> tuple[T, ...] | None:
    if name not in tree:
        return None
    index = 0
    built = []
    try:
        for index, inside in enumerate(tree[name]):  # noqa: B007 — the handler below needs it
            built.append(build(inside))
    except Misread as misread:
        raise misread.within(f"{name}[{index}]") from None
    return tuple(built)


def _texts(tree: Tree, name: str) -> tuple[str, ...] | None:
    return tuple(tree[name]) if name in tree else None


def _serving_info(tree: Tree) -> confs.GroupByServingInfo:
    return confs.GroupByServingInfo(
        group_by=_needed(_group_by, tree, "groupBy"),
        selected_avro_schema=tree.get("selectedAvroSchema"),
        key_avro_schema=tree.get("keyAvroSchema"),
        batch_end_date=tree.get("batchEndDate"),
        input_avro_schema=tree.get("inputAvroSchema"),
        date_format=tree.get("dateFormat"),
    )


def _meta_data(tree: Tree) -> confs.MetaData:
    return confs.MetaData(
        name=_present(tree, "name"),
        online=tree.get("online", False),
        production=tree.get("production", False),
        custom_json=tree.get("customJson"),
        dependencies=_texts(tree, "dependencies"),
        table_properties=tree.get("tableProperties"),
        output_namespace=tree.get("outputNamespace"),
        team=tree.get("team"),
        mode_to_env_map=tree.get("modeToEnvMap"),
        consistency_check=tree.get("consistencyCheck", False),
        sample_percent=tree.get("samplePercent"),
        offline_schedule=tree.get("offlineSchedule"),
        consistency_sample_percent=tree.get("consistencySamplePercent"),
        historical_backfill=tree.get("historicalBackfill"),
        deprecation_date=tree.get("deprecationDate"),
        description=tree.get("description"),
    )


def _query(tree: Tree) -> confs.Query:
    return confs.Query(
        selects=tree.get("selects"),
        wheres=_texts(tree, "wheres"),
        start_partition=tree.get("startPartition"),
        end_partition=tree.get("endPartition"),
        time_column=tree.get("timeColumn"),
        setups=_texts(tree, "setups") or (),
        mutation_time_column=tree.get("mutationTimeColumn"),
        reversal_column=tree.get("reversalColumn"),
        partition_column=tree.get("partitionColumn"),
    )


def _source(tree: Tree) -> confs.Source:
    """A source of the one kind that is set. A table that is absent is empty: serving reads none."""
    match tree:
        case {"events": _, **others} if not others:
            return _needed(_event_source, tree, "events")
        case {"entities": _, **others} if not others:
            return _needed(_entity_source, tree, "entities")
        case {"joinSource": _, **others} if not others:
            return _needed(_join_source, tree, "joinSource")
        case _:
            raise Misread("must be one of events, entities or joinSource")


def _event_source(tree: Tree) -> confs.EventSource:
    return confs.EventSource(
        table=tree.get("table", ""),
        topic=tree.get("topic"),
        query=_query(tree.get("query", {})),
        is_cumulative=tree.get("isCumulative", False),
    )


def _entity_source(tree: Tree) -> confs.EntitySource:
    return confs.EntitySource(
        snapshot_table=tree.get("snapshotTable", ""),
        mutation_table=tree.get("mutationTable"),
        mutation_topic=tree.get("mutationTopic"),
        query=_query(tree.get("query", {})),
    )


def _join_source(tree: Tree) -> confs.JoinSource:
    return confs.JoinSource(join=_needed(_join, tree, "join"), query=_query(tree.get("query", {})))


def _aggregation(tree: Tree) -> confs.Aggregation:
    return confs.Aggregation(
        input_column=_present(tree, "inputColumn"),
        operation=_present(tree, "operation"),
        arg_map=tree.get("argMap"),
        windows=_each(_window, tree, "windows"),
        buckets=_texts(tree, "buckets"),
        element_wise=tree.get("elementWise", False),
    )


def _window(tree: Tree) -> confs.Window:
    return confs.Window(tree.get("length", 0), _present(tree, "timeUnit"))


def _derivation(tree: Tree) -> confs.Derivation:
    return confs.Derivation(name=_present(tree, "name"), expression=_present(tree, "expression"))


def _group_by(tree: Tree) -> confs.GroupBy:
    return confs.GroupBy(
        meta_data=_needed(_meta_data, tree, "metaData"),
        sources=_each(_source, tree, "sources") or (),
        key_columns=_texts(tree, "keyColumns") or (),
        aggregations=_each(_aggregation, tree, "aggregations"),
        accuracy=tree.get("accuracy"),
        backfill_start_date=tree.get("backfillStartDate"),
        derivations=_each(_derivation, tree, "derivations"),
        is_incremental=tree.get("isIncremental", False),
    )


def _join(tree: Tree) -> confs.Join:
    return confs.Join(
        meta_data=_needed(_meta_data, tree, "metaData"),
        left=_maybe(_source, tree, "left"),
        join_parts=_each(_join_part, tree, "joinParts") or (),
        online_external_parts=_each(_external_part, tree, "onlineExternalParts"),
        derivations=_each(_derivation, tree, "derivations"),
        model_transforms=_maybe(_model_transforms, tree, "modelTransforms"),
        row_ids=_texts(tree, "rowIds"),
    )


def _join_part(tree: Tree) -> confs.JoinPart:
    return confs.JoinPart(
        group_by=_needed(_group_by, tree, "groupBy"),
        key_mapping=tree.get("keyMapping"),
        prefix=tree.get("prefix"),
    )


def _external_part(tree: Tree) -> confs.ExternalPart:
    return confs.ExternalPart(
        source=_needed(_external_source, tree, "source"),
        key_mapping=tree.get("keyMapping"),
        prefix=tree.get("prefix"),
    )


def _external_source(tree: Tree) -> confs.ExternalSource:
    factory = tree.get("factoryConfig", {})
    return confs.ExternalSource(
        meta_data=_needed(_meta_data, tree, "metadata"),
        key_schema=_maybe(_struct_type, tree, "keySchema"),
        value_schema=_maybe(_struct_type, tree, "valueSchema"),
        factory_name=factory.get("factoryName"),
        factory_params=factory.get("factoryParams"),
        offline_group_by=_maybe(_group_by, tree, "offlineGroupBy"),
    )


def _model_transforms(tree: Tree) -> confs.ModelTransforms:
    return confs.ModelTransforms(
        transforms=_each(_model_transform, tree, "transforms"),
        passthrough_fields=_texts(tree, "passthroughFields"),
    )


def _model_transform(tree: Tree) -> confs.ModelTransform:
    return confs.ModelTransform(
        model=_needed(_model, tree, "model"),
        input_mappings=tree.get("inputMappings", {}),
        output_mappings=tree.get("outputMappings", {}),
        prefix=tree.get("prefix"),
    )


def _model(tree: Tree) -> confs.Model:
    inference = tree.get("inferenceSpec", {})
    return confs.Model(
        meta_data=_needed(_meta_data, tree, "metaData"),
        input_schema=_maybe(_struct_type, tree, "inputSchema"),
        output_schema=_maybe(_struct_type, tree, "outputSchema"),
        backend=inference.get("modelBackend"),
        backend_params=inference.get("modelBackendParams", {}),
    )


_PRIMITIVES: Mapping[DataKind, DataType] = {
    DataKind.BOOLEAN: types.BOOLEAN,
    DataKind.BYTE: types.BYTE,
    DataKind.SHORT: types.SHORT,
    DataKind.INT: types.INT,
    DataKind.LONG: types.LONG,
    DataKind.FLOAT: types.FLOAT,
    DataKind.DOUBLE: types.DOUBLE,
    DataKind.STRING: types.STRING,
    DataKind.BINARY: types.BINARY,
    DataKind.DATE: types.DATE,
    DataKind.TIMESTAMP: types.TIMESTAMP,
}


def _struct_type(tree: Tree) -> StructType:
    data_type = _data_type(tree)
    if isinstance(data_type, StructType):
        return data_type
    raise Misread(f"must be a struct (kind {int(DataKind.STRUCT)})")


def _data_type(tree: Tree) -> DataType:
    """A TDataType: the parameters of a list are its element, those of a map its key and value, those of a struct its fields."""
    kind = _present(tree, "kind")
    if kind in _PRIMITIVES:
        return _PRIMITIVES[kind]
    fields = _each(_field, tree, "params") or ()
    match kind, fields:
        case DataKind.STRUCT, _:
            return StructType(tree.get("name", ""), fields)
        case DataKind.LIST, (element,):
            return ListType(element.type)
        case DataKind.MAP, (key, value):
            return MapType(key.type, value.type)
        case _:
            raise Misread(f"has {len(fields)} params, which is not what a {kind.name} has")


def _field(tree: Tree) -> Field:
    return Field(tree.get("name", ""), _needed(_data_type, tree, "dataType"))
