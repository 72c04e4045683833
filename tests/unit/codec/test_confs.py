import json
from typing import Any

import pytest

from chronoserve.codec import confs, thrift
from chronoserve.model import types
from chronoserve.model.confs import UNBOUNDED, Accuracy, EntitySource, EventSource, JoinSource, Operation, Query, TimeUnit, Window
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import Field, ListType, MapType, StructType
from tests.recordings import records

GROUP_BY = {
    "metaData": {
        "name": "team.gb.v1",
        "online": 1,
        "production": 0,
        "customJson": '{"enable_tiling": true}',
        "team": "team",
        "samplePercent": 5,
    },
    "sources": [
        {
            "events": {
                "table": "ns.ev",
                "topic": "t",
                "query": {"selects": {"a": "b"}, "wheres": ["x"], "timeColumn": "ts"},
                "isCumulative": 1,
            }
        },
        {"entities": {"snapshotTable": "ns.s", "mutationTable": "ns.m", "mutationTopic": "mt", "query": {"setups": []}}},
    ],
    "keyColumns": ["user"],
    "aggregations": [
        {
            "inputColumn": "a",
            "operation": 13,
            "argMap": {"k": "3"},
            "windows": [{"length": 7, "timeUnit": 1}, {"length": 3, "timeUnit": 0}],
        },
        {"inputColumn": "b", "operation": 7, "buckets": ["c"], "elementWise": 1},
        {"inputColumn": "d", "operation": 0, "windows": [], "buckets": []},
    ],
    "accuracy": 0,
    "derivations": [{"name": "*", "expression": "*"}],
}
EXTERNAL = {
    "source": {
        "metadata": {"name": "ext.source"},
        "keySchema": {"kind": 13, "name": "k", "params": [{"name": "id", "dataType": {"kind": 4}}]},
        "valueSchema": {
            "kind": 13,
            "name": "v",
            "params": [
                {"name": "l", "dataType": {"kind": 12, "params": [{"name": "element", "dataType": {"kind": 7}}]}},
                {"name": "m", "dataType": {"kind": 11, "params": [{"dataType": {"kind": 7}}, {"dataType": {"kind": 6}}]}},
            ],
        },
        "factoryConfig": {"factoryName": "f", "factoryParams": {"url": "u"}},
        "offlineGroupBy": GROUP_BY,
    },
    "keyMapping": {"left": "id"},
    "prefix": "p",
}
MODEL = {"metaData": {"name": "m"}, "inferenceSpec": {"modelBackend": "b", "modelBackendParams": {"x": "y"}}, "inputSchema": {"kind": 13}}
JOIN: dict[str, Any] = {
    "metaData": {"name": "team.join.v1"},
    "left": {"events": {"table": "ns.left"}},
    "joinParts": [{"groupBy": GROUP_BY, "keyMapping": {"l": "user"}, "prefix": "p"}],
    "onlineExternalParts": [EXTERNAL],
    "derivations": [],
    "rowIds": ["id"],
    "modelTransforms": {"transforms": [{"model": MODEL, "inputMappings": {"a": "b"}, "prefix": "mp"}], "passthroughFields": ["q"]},
}


def changed(conf: dict[str, Any], *path: str | int, to: object) -> str:
    """``conf`` with one field replaced, or removed where ``to`` is ``...``."""
    copy = json.loads(json.dumps(conf))
    inside = copy
    for step in path[:-1]:
        inside = inside[step]
    if to is ...:
        del inside[path[-1]]
    else:
        inside[path[-1]] = to
    return json.dumps(copy)


def test_every_recorded_conf_and_serving_info_is_read() -> None:
    for name in ("b_group_by_temporal", "f_e2e", "g_quickstart"):
        for record in records(name):
            if record["kind"] == "group_by" and "serving_info_json" in record:
                info = confs.serving_info(record["serving_info_json"])
                assert info.group_by.meta_data.name == record["name"]
                assert info.group_by.inferred_accuracy.name == record["accuracy"]
                assert info.group_by.batch_dataset == record["batch_dataset"]
                assert info.group_by.tiled == (record["shape"] == "tiled")
            if record["kind"] == "join":
                assert confs.join(record["conf_json"]).meta_data == confs.meta_data(record["conf_json"].encode())


def test_a_group_by_in_full() -> None:
    read = confs.group_by(json.dumps(GROUP_BY))
    assert read.meta_data.sample_percent == 5.0
    assert (read.meta_data.online, read.meta_data.production, read.meta_data.consistency_check, read.meta_data.historical_backfill) == (
        *(True, False, False, None),
    )
    events, entities = read.sources
    assert events == EventSource(
        table="ns.ev", topic="t", query=Query(selects={"a": "b"}, wheres=("x",), time_column="ts"), is_cumulative=True
    )
    assert entities == EntitySource(snapshot_table="ns.s", mutation_table="ns.m", mutation_topic="mt", query=Query())
    assert read.aggregations is not None
    last, total, least = read.aggregations
    assert (last.operation, last.arg_map, last.windows, last.buckets) == (
        *(Operation.LAST_K, {"k": "3"}, (Window(7, TimeUnit.DAYS), Window(3, TimeUnit.HOURS)), None),
    )
    assert (total.windows, total.buckets, total.element_wise) == (None, ("c",), True)
    assert (least.windows, least.buckets, least.arg_map) == ((), (), None)
    assert (read.accuracy, read.key_columns, read.tiled) == (Accuracy.TEMPORAL, ("user",), True)


def test_a_join_in_full() -> None:
    read = confs.join(json.dumps(JOIN))
    assert read.left == EventSource(table="ns.left", query=Query())
    assert read.join_parts[0].full_prefix == "p_team_gb_v1"
    assert (read.derivations, read.row_ids) == ((), ("id",))
    assert read.online_external_parts is not None
    part = read.online_external_parts[0]
    assert part.full_name == "ext_p_ext_source"
    assert part.source.key_schema == StructType("k", (Field("id", types.LONG),))
    assert part.source.value_schema == StructType(
        "v", (Field("l", ListType(types.STRING)), Field("m", MapType(types.STRING, types.DOUBLE)))
    )
    assert (part.source.factory_name, part.source.factory_params) == ("f", {"url": "u"})
    assert part.source.offline_group_by == read.join_parts[0].group_by
    assert read.model_transforms is not None
    assert read.model_transforms.transforms is not None
    transform = read.model_transforms.transforms[0]
    assert (transform.model.backend, transform.model.backend_params, transform.model.input_schema) == ("b", {"x": "y"}, StructType("", ()))
    assert (transform.model.output_schema, transform.output_mappings, transform.prefix) == (None, {}, "mp")
    assert read.model_transforms.passthrough_fields == ("q",)


def test_a_join_source_is_read_with_the_join_within() -> None:
    chained = changed(GROUP_BY, "sources", to=[{"joinSource": {"join": JOIN, "query": {"selects": {"a": "a"}}}}])
    (source,) = confs.group_by(chained).sources
    assert isinstance(source, JoinSource)
    assert source.join.meta_data.name == "team.join.v1"
    assert confs.join(changed(JOIN, "left", to=...)).left is None


def test_what_newer_versions_add_and_what_is_null_is_passed_over() -> None:
    more = changed(GROUP_BY, "notYetKnown", to={"a": [1]})
    assert confs.group_by(more) == confs.group_by(json.dumps(GROUP_BY))
    assert confs.group_by(changed(GROUP_BY, "derivations", to=None)).derivations is None
    assert confs.group_by(changed(GROUP_BY, "aggregations", to=[])).aggregations == ()
    assert confs.group_by(changed(GROUP_BY, "aggregations", to=...)).aggregations is None


def test_names_of_enums_and_booleans_of_both_kinds() -> None:
    assert confs.group_by(changed(GROUP_BY, "accuracy", to="SNAPSHOT")).accuracy is Accuracy.SNAPSHOT
    by_name = changed(GROUP_BY, "aggregations", 0, "windows", 0, "timeUnit", to="HOURS")
    assert confs.group_by(by_name).aggregations[0].windows[0] == Window(7, TimeUnit.HOURS)  # type: ignore[index]
    assert confs.group_by(changed(GROUP_BY, "metaData", "online", to=True)).meta_data.online
    assert confs.group_by(changed(GROUP_BY, "aggregations", 0, "windows", 0, "length", to=UNBOUNDED.length)).aggregations is not None


@pytest.mark.parametrize(
    ("path", "to", "field"),
    [
        (("metaData",), ..., "metaData"),
        (("metaData", "name"), ..., "metaData.name"),
        (("metaData", "name"), 5, "metaData.name"),
        (("metaData", "online"), 2, "metaData.online"),
        (("metaData", "online"), "true", "metaData.online"),
        (("metaData", "samplePercent"), "5", "metaData.samplePercent"),
        (("metaData", "samplePercent"), True, "metaData.samplePercent"),
        (("metaData", "modeToEnvMap"), {"a": "b"}, "metaData.modeToEnvMap['a']"),
        (("left",), {}, "left"),
        (("left",), {"events": {}, "entities": {}}, "left"),
        (("left",), [], "left"),
        (("left",), {"joinSource": {}}, "left.joinSource.join"),
        (("joinParts",), {}, "joinParts"),
        (("joinParts", 0), None, "joinParts[0]"),
        (("joinParts", 0, "groupBy"), ..., "joinParts[0].groupBy"),
        (("joinParts", 0, "keyMapping"), ["a"], "joinParts[0].keyMapping"),
        (("joinParts", 0, "keyMapping"), {"a": 1}, "joinParts[0].keyMapping['a']"),
        (("joinParts", 0, "groupBy", "keyColumns"), ["a", 1], "joinParts[0].groupBy.keyColumns[1]"),
        (("joinParts", 0, "groupBy", "accuracy"), 2, "joinParts[0].groupBy.accuracy"),
        (("joinParts", 0, "groupBy", "accuracy"), True, "joinParts[0].groupBy.accuracy"),
        (("joinParts", 0, "groupBy", "accuracy"), 0.0, "joinParts[0].groupBy.accuracy"),
        (("joinParts", 0, "groupBy", "aggregations", 1, "operation"), 20, "joinParts[0].groupBy.aggregations[1].operation"),
        (("joinParts", 0, "groupBy", "aggregations", 1, "operation"), ..., "joinParts[0].groupBy.aggregations[1].operation"),
        (("joinParts", 0, "groupBy", "aggregations", 1, "inputColumn"), ..., "joinParts[0].groupBy.aggregations[1].inputColumn"),
        (
            ("joinParts", 0, "groupBy", "aggregations", 0, "windows", 1, "length"),
            *("7", "joinParts[0].groupBy.aggregations[0].windows[1].length"),
        ),
        (
            ("joinParts", 0, "groupBy", "aggregations", 0, "windows", 1, "length"),
            *(1 << 31, "joinParts[0].groupBy.aggregations[0].windows[1].length"),
        ),
        (
            ("joinParts", 0, "groupBy", "aggregations", 0, "windows", 1, "timeUnit"),
            *(..., "joinParts[0].groupBy.aggregations[0].windows[1].timeUnit"),
        ),
        (("joinParts", 0, "groupBy", "derivations", 0, "expression"), ..., "joinParts[0].groupBy.derivations[0].expression"),
        (("onlineExternalParts", 0, "source", "metadata"), ..., "onlineExternalParts[0].source.metadata"),
        (("onlineExternalParts", 0, "source", "keySchema"), {"kind": 4}, "onlineExternalParts[0].source.keySchema"),
        (("onlineExternalParts", 0, "source", "keySchema"), {}, "onlineExternalParts[0].source.keySchema.kind"),
        (
            ("onlineExternalParts", 0, "source", "valueSchema", "params", 0, "dataType", "params"),
            *([], "onlineExternalParts[0].source.valueSchema.params[0].dataType"),
        ),
        (
            ("onlineExternalParts", 0, "source", "valueSchema", "params", 1),
            *({"name": "x"}, "onlineExternalParts[0].source.valueSchema.params[1].dataType"),
        ),
        (("modelTransforms", "transforms", 0, "model"), ..., "modelTransforms.transforms[0].model"),
    ],
    ids=str,
)
def test_what_is_wrong_or_missing_is_refused_by_its_path(path: tuple[str | int, ...], to: object, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        confs.join(changed(JOIN, *path, to=to))
    assert refused.value.field == field
    assert field in refused.value.message


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "5", '{"metaData":', "nonsense", b"\xff\xfe", "[" * 50_000, '{"a":' * 50_000])
def test_what_is_no_conf_is_refused(text: str | bytes) -> None:
    with pytest.raises(InvalidRequest):
        confs.join(text)


def test_confs_are_bounded_in_size_in_parts_and_in_depth() -> None:
    with pytest.raises(InvalidRequest, match="too long"):
        confs.join(" " * (thrift.BYTES_MAX + 1))
    with pytest.raises(InvalidRequest, match="so many parts"):
        confs.join('{"joinParts":[' + "{}," * thrift.CONTAINERS_MAX + "{}]}")
    with pytest.raises(InvalidRequest, match="so many parts"):
        confs.join('{"rowIds":[' + "0," * (thrift.SEPARATORS_MAX + 1) + "0]}")
    nested: dict[str, object] = {"metaData": {"name": "j"}}
    for _ in range(30):
        nested = {"metaData": {"name": "j"}, "left": {"joinSource": {"join": nested}}}
    with pytest.raises(InvalidRequest, match="nested deeper"):
        confs.join(json.dumps(nested))


def test_messages_do_not_grow_with_the_conf() -> None:
    with pytest.raises(InvalidRequest) as refused:
        confs.join(changed(JOIN, "joinParts", 0, "keyMapping", to={"k" * 100_000: 1}))
    assert len(refused.value.message) < 400


def test_the_meta_data_of_any_conf() -> None:
    assert confs.meta_data('{"metaData": {"name": "q", "team": "t"}, "query": ["whatever"]}').team == "t"
    for text, missing in (("{}", "metaData"), ("[]", "metaData"), ('{"metaData": {}}', "metaData.name")):
        with pytest.raises(InvalidRequest, match=f"{missing} is missing") as refused:
            confs.meta_data(text)
        assert refused.value.field == missing
    with pytest.raises(InvalidRequest, match="must be an object"):
        confs.meta_data('{"metaData": []}')


def test_a_serving_info_needs_its_group_by_only() -> None:
    info = confs.serving_info(json.dumps({"groupBy": GROUP_BY, "batchEndDate": "2023-08-15"}))
    assert (info.batch_end_date, info.key_avro_schema, info.selected_avro_schema, info.input_avro_schema, info.date_format) == (
        *("2023-08-15", None, None, None, None),
    )
    with pytest.raises(InvalidRequest, match="groupBy is missing"):
        confs.serving_info("{}")
