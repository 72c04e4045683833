import json

import pytest

from chronoserve.codec import conf_json
from chronoserve.model.errors import InvalidRequest
from tests.recordings import records


def test_recorded_serving_infos_and_confs_are_written_again_as_the_jvm_wrote_them() -> None:
    seen = 0
    for name in ("b_group_by_temporal", "f_e2e", "g_quickstart"):
        for record in records(name):
            if record["kind"] == "group_by" and "serving_info_json" in record:
                text = record["serving_info_json"]
                assert conf_json.normalise("group_by_serving_info", text, check=True) == text
                seen += 1
            if "conf_json" in record:
                kind = "joins" if "joinParts" in record["conf_json"] else "group_bys"
                assert conf_json.normalise(kind, record["conf_json"], check=True) == record["conf_json"]
                seen += 1
    assert seen > 400


def test_fields_come_in_thrifts_order_with_defaults_numbers_and_without_what_is_unknown() -> None:
    text = """
    {"keyColumns": ["k"], "unknown": 1, "accuracy": "SNAPSHOT", "derivations": null,
     "sources": [{"events": {"query": {"timeColumn": "ts"}, "isCumulative": true, "table": "t"}}],
     "aggregations": [{"operation": "SUM", "inputColumn": "a", "windows": [{"timeUnit": "DAYS"}]}],
     "metaData": {"samplePercent": 5, "name": "gb", "online": false, "tableProperties": {"z": "1", "a": "2"}}}
    """
    assert conf_json.normalise("group_bys", text) == (
        '{"metaData":{"name":"gb","online":0,"tableProperties":{"z":"1","a":"2"},"samplePercent":5.0},'
        '"sources":[{"events":{"table":"t","query":{"timeColumn":"ts","setups":[]},"isCumulative":1}}],'
        '"keyColumns":["k"],'
        '"aggregations":[{"inputColumn":"a","operation":7,"windows":[{"length":0,"timeUnit":1}]}],'
        '"accuracy":1}'
    )


def test_texts_are_escaped_as_thrift_does() -> None:
    odd = 'a/b "c" \\ \n \t \x01 ü日😀 <&>'
    written = conf_json.normalise("staging_queries", json.dumps({"query": odd, "metaData": {"samplePercent": 1e-7}}))
    assert written == '{"metaData":{"samplePercent":1.0E-7},"query":"a/b \\"c\\" \\\\ \\n \\t \\u0001 ü日😀 <&>"}'


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"metaData":{"name":"j"},"new":1}', "new"),
        ('{"metaData":{"name":"j","newer":[1]}}', "metaData.newer"),
        ('{"metaData":{"name":"j","team":null}}', "metaData.team"),
        ('{"metaData":{"name":"j","online":true}}', "metaData.online"),
        ('{"metaData":{"name":"j","samplePercent":5}}', "metaData.samplePercent"),
        ('{"left":{"events":{"query":{}}}}', "left.events.query.setups"),
        ('{"joinParts":[{},{"groupBy":{"accuracy":"TEMPORAL"}}]}', "joinParts[1].groupBy.accuracy"),
    ],
)
def test_with_check_whatever_would_be_written_otherwise_is_refused_by_name(text: str, field: str) -> None:
    assert conf_json.normalise("joins", text)
    with pytest.raises(InvalidRequest) as refused:
        conf_json.normalise("joins", text, check=True)
    assert refused.value.field == field


def test_with_check_order_and_blanks_do_not_matter() -> None:
    text = '{ "rowIds": ["a"],\n "metaData": {"samplePercent": 1.0, "name": "j"} }'
    assert conf_json.normalise("joins", text, check=True) == '{"metaData":{"name":"j","samplePercent":1.0},"rowIds":["a"]}'


def test_wrong_types_are_refused_without_check_too() -> None:
    with pytest.raises(InvalidRequest) as refused:
        conf_json.normalise("joins", '{"rowIds":[1]}')
    assert refused.value.field == "rowIds[0]"


def test_the_layout_of_files_and_the_digest() -> None:
    normalised = conf_json.normalise("joins", '{"metaData":{"name":"ü"},"rowIds":[]}')
    assert conf_json.pretty(normalised) == '{\n  "metaData": {\n    "name": "\\u00fc"\n  },\n  "rowIds": []\n}'
    assert len(conf_json.md5_digest(normalised)) == 10
