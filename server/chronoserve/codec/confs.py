"""Chronon's configuration objects from the JSON that uploads left (spec/aggregation-and-codecs.md §4, online-fetch.md §4.1).

Lenient as the fetcher has to be: a newer Chronon's unknown fields are dropped. What serving needs must be there and of its
type; an absent list stays apart from an empty one.
"""

from collections.abc import Mapping
from typing import Any

from chronoserve.codec import thrift
from chronoserve.codec.thrift import DataKind
from chronoserve.model import confs, types
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import DataType, Field, ListType, MapType, StructType

Tree = Mapping[str, Any]


def join(text: str | bytes) -> confs.Join:
    """A join's conf. Raises InvalidRequest that names the path of what is wrong or missing."""
    return _join(thrift.read("Join", thrift.parsed(text)), "")


def group_by(text: str | bytes) -> confs.GroupBy:
    """A group by's conf; raises as ``join`` does."""
    return _group_by(thrift.read("GroupBy", thrift.parsed(text)), "")


def serving_info(text: str | bytes) -> confs.GroupByServingInfo:
    """What an upload stored under ``group_by_serving_info``; raises as ``join`` does."""
    tree = thrift.read("GroupByServingInfo", thrift.parsed(text))
    return confs.GroupByServingInfo(
        group_by=_group_by(_needed(tree, "groupBy", ""), "groupBy"),
        selected_avro_schema=tree.get("selectedAvroSchema"),
        key_avro_schema=tree.get("keyAvroSchema"),
        batch_end_date=tree.get("batchEndDate"),
        input_avro_schema=tree.get("inputAvroSchema"),
        date_format=tree.get("dateFormat"),
    )


def meta_data(text: str | bytes) -> confs.MetaData:
    """The ``metaData`` of a join's, a group by's or a staging query's conf, whatever else is in it."""
    tree = thrift.parsed(text)
    inside = tree.get("metaData") if isinstance(tree, dict) else None
    return _meta_data(thrift.read("MetaData", inside if inside is not None else {}), "metaData")


def _needed(tree: Tree, name: str, path: str) -> Any:
    if name not in tree:
        where = f"{path}.{name}" if path else name
        raise InvalidRequest(f"in the configuration, {where[:200]} is missing", field=where)
    return tree[name]


def _texts(tree: Tree, name: str) -> tuple[str, ...] | None:
    return tuple(tree[name]) if name in tree else None


def _meta_data(tree: Tree, path: str) -> confs.MetaData:
    return confs.MetaData(
        name=_needed(tree, "name", path),
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
        setups=tuple(tree.get("setups", ())),
        mutation_time_column=tree.get("mutationTimeColumn"),
        reversal_column=tree.get("reversalColumn"),
        partition_column=tree.get("partitionColumn"),
    )


def _source(tree: Tree, path: str) -> confs.Source:
    """A source of the one kind that is set. A table that is absent is empty: serving reads none."""
    match tree:
        case {"events": events, **others} if not others:
            return confs.EventSource(
                table=events.get("table", ""),
                topic=events.get("topic"),
                query=_query(events.get("query", {})),
                is_cumulative=events.get("isCumulative", False),
            )
        case {"entities": entities, **others} if not others:
            return confs.EntitySource(
                snapshot_table=entities.get("snapshotTable", ""),
                mutation_table=entities.get("mutationTable"),
                mutation_topic=entities.get("mutationTopic"),
                query=_query(entities.get("query", {})),
            )
        case {"joinSource": source, **others} if not others:
            inner = f"{path}.joinSource"
            return confs.JoinSource(join=_join(_needed(source, "join", inner), f"{inner}.join"), query=_query(source.get("query", {})))
        case _:
            raise InvalidRequest(f"in the configuration, {path[:200]} must be one of events, entities or joinSource", field=path)


def _aggregation(tree: Tree, path: str) -> confs.Aggregation:
    return confs.Aggregation(
        input_column=_needed(tree, "inputColumn", path),
        operation=_needed(tree, "operation", path),
        arg_map=tree.get("argMap"),
        windows=tuple(_window(window, f"{path}.windows[{i}]") for i, window in enumerate(tree["windows"])) if "windows" in tree else None,
        buckets=_texts(tree, "buckets"),
        element_wise=tree.get("elementWise", False),
    )


def _window(tree: Tree, path: str) -> confs.Window:
    return confs.Window(tree.get("length", 0), _needed(tree, "timeUnit", path))


def _derivations(tree: Tree, path: str) -> tuple[confs.Derivation, ...] | None:
    if "derivations" not in tree:
        return None
    paths = ((derivation, f"{path}derivations[{index}]") for index, derivation in enumerate(tree["derivations"]))
    return tuple(
        confs.Derivation(name=_needed(derivation, "name", where), expression=_needed(derivation, "expression", where))
        for derivation, where in paths
    )


def _group_by(tree: Tree, path: str) -> confs.GroupBy:
    prefix = f"{path}." if path else ""
    aggregations = tree.get("aggregations")
    return confs.GroupBy(
        meta_data=_meta_data(_needed(tree, "metaData", path), f"{prefix}metaData"),
        sources=tuple(_source(source, f"{prefix}sources[{index}]") for index, source in enumerate(tree.get("sources", ()))),
        key_columns=tuple(tree.get("keyColumns", ())),
        aggregations=None
        if aggregations is None
        else tuple(_aggregation(each, f"{prefix}aggregations[{index}]") for index, each in enumerate(aggregations)),
        accuracy=tree.get("accuracy"),
        backfill_start_date=tree.get("backfillStartDate"),
        derivations=_derivations(tree, prefix),
        is_incremental=tree.get("isIncremental", False),
    )


def _join(tree: Tree, path: str) -> confs.Join:
    prefix = f"{path}." if path else ""
    external = tree.get("onlineExternalParts")
    return confs.Join(
        meta_data=_meta_data(_needed(tree, "metaData", path), f"{prefix}metaData"),
        left=_source(tree["left"], f"{prefix}left") if "left" in tree else None,
        join_parts=tuple(_join_part(part, f"{prefix}joinParts[{index}]") for index, part in enumerate(tree.get("joinParts", ()))),
        online_external_parts=None
        if external is None
        else tuple(_external_part(part, f"{prefix}onlineExternalParts[{index}]") for index, part in enumerate(external)),
        derivations=_derivations(tree, prefix),
        model_transforms=_model_transforms(tree["modelTransforms"], f"{prefix}modelTransforms") if "modelTransforms" in tree else None,
        row_ids=_texts(tree, "rowIds"),
    )


def _join_part(tree: Tree, path: str) -> confs.JoinPart:
    return confs.JoinPart(
        group_by=_group_by(_needed(tree, "groupBy", path), f"{path}.groupBy"),
        key_mapping=tree.get("keyMapping"),
        prefix=tree.get("prefix"),
    )


def _external_part(tree: Tree, path: str) -> confs.ExternalPart:
    return confs.ExternalPart(
        source=_external_source(_needed(tree, "source", path), f"{path}.source"),
        key_mapping=tree.get("keyMapping"),
        prefix=tree.get("prefix"),
    )


def _external_source(tree: Tree, path: str) -> confs.ExternalSource:
    factory = tree.get("factoryConfig", {})
    return confs.ExternalSource(
        meta_data=_meta_data(_needed(tree, "metadata", path), f"{path}.metadata"),
        key_schema=_schema(tree, "keySchema", path),
        value_schema=_schema(tree, "valueSchema", path),
        factory_name=factory.get("factoryName"),
        factory_params=factory.get("factoryParams"),
        offline_group_by=_group_by(tree["offlineGroupBy"], f"{path}.offlineGroupBy") if "offlineGroupBy" in tree else None,
    )


def _model_transforms(tree: Tree, path: str) -> confs.ModelTransforms:
    transforms = tree.get("transforms")
    return confs.ModelTransforms(
        transforms=None
        if transforms is None
        else tuple(_model_transform(each, f"{path}.transforms[{index}]") for index, each in enumerate(transforms)),
        passthrough_fields=_texts(tree, "passthroughFields"),
    )


def _model_transform(tree: Tree, path: str) -> confs.ModelTransform:
    return confs.ModelTransform(
        model=_model(_needed(tree, "model", path), f"{path}.model"),
        input_mappings=tree.get("inputMappings", {}),
        output_mappings=tree.get("outputMappings", {}),
        prefix=tree.get("prefix"),
    )


def _model(tree: Tree, path: str) -> confs.Model:
    inference = tree.get("inferenceSpec", {})
    return confs.Model(
        meta_data=_meta_data(_needed(tree, "metaData", path), f"{path}.metaData"),
        input_schema=_schema(tree, "inputSchema", path),
        output_schema=_schema(tree, "outputSchema", path),
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


def _schema(tree: Tree, name: str, path: str) -> StructType | None:
    if name not in tree:
        return None
    data_type = _data_type(tree[name], f"{path}.{name}")
    if not isinstance(data_type, StructType):
        raise InvalidRequest(
            f"in the configuration, {path[:200]}.{name} must be a struct (kind {int(DataKind.STRUCT)})", field=f"{path}.{name}"
        )
    return data_type


def _data_type(tree: Tree, path: str) -> DataType:
    """A TDataType: the parameters of a list are its element, those of a map its key and value, those of a struct its fields."""
    kind = _needed(tree, "kind", path)
    if kind in _PRIMITIVES:
        return _PRIMITIVES[kind]
    params = [
        (param.get("name", ""), _data_type(_needed(param, "dataType", where), f"{where}.dataType"))
        for param, where in ((param, f"{path}.params[{index}]") for index, param in enumerate(tree.get("params", ())))
    ]
    match kind, [data_type for _, data_type in params]:
        case DataKind.STRUCT, _:
            return StructType(tree.get("name", ""), tuple(Field(name, data_type) for name, data_type in params))
        case DataKind.LIST, [element]:
            return ListType(element)
        case DataKind.MAP, [key, value]:
            return MapType(key, value)
        case _:
            raise InvalidRequest(
                f"in the configuration, {path[:200]} has {len(params)} params, which is not what a {kind.name} has", field=path
            )
