import json

import pytest

from chronoserve.codec import join_log, strings
from chronoserve.codec.hashes import md5_base64_10, md5_long, sampled
from chronoserve.model.errors import CorruptValue
from tests.recordings import records


def test_recorded_logging_schemas_hashes_and_record_names() -> None:
    codecs = [record for record in records("f_e2e") if record.get("codec")]
    assert codecs
    for record in codecs:
        codec = record["codec"]
        schemas = (record["name"], codec["key_schema"], codec["value_schema"])
        assert join_log.logging_schema(*schemas) == codec["logging_schema"]
        assert join_log.schema_hash(*schemas) == codec["logging_schema_hash"]
        assert json.loads(codec["key_schema"])["name"] == join_log.key_record_name(record["name"])
        assert json.loads(codec["value_schema"])["name"] == join_log.value_record_name(record["name"])


def test_recorded_control_events() -> None:
    events = [record for record in records("f_e2e") if record["kind"] == "log" and record["join_name"] == "SCHEMA_PUBLISH_EVENT"]
    assert events
    for recorded in events:
        published = json.loads(bytes.fromhex(recorded["value"]))
        event = join_log.control_event(published["join_name"], published["key_schema"], published["value_schema"])
        assert (event.join_name, event.key_bytes.hex(), event.value_bytes.hex()) == (
            recorded["join_name"],
            recorded["key"],
            recorded["value"],
        )


def test_characters_of_html_are_escaped_as_gson_does() -> None:
    assert join_log.logging_schema("a<b>&='ü\"\u2028", "k", "v") == (
        '{"join_name":"a\\u003cb\\u003e\\u0026\\u003d\\u0027ü\\"\\u2028","key_schema":"k","value_schema":"v"}'
    )
    assert join_log.base_record_name("team.join-x.v1") == "team_join_x_v1_value"


@pytest.mark.parametrize("record", list(records("d_naming")), ids=lambda record: record["name"])
def test_recorded_hashes(record: dict[str, object]) -> None:
    name = str(record["name"])
    assert md5_base64_10(name) == record["md5_base64_10"]
    assert md5_long(name.encode()) == record["md5_long"]


def test_recorded_requests_are_sampled_as_they_were() -> None:
    """Every key that was logged at less than 100 percent is one that the rule logs."""
    percents = {(r["world"], r["name"].replace(".", "/", 1)): json.loads(r["conf_json"])["metaData"].get("samplePercent") for r in _joins()}
    logged = [
        r for r in records("f_e2e") if r["kind"] == "log" and r["schema_hash"] and (percents.get((r["world"], r["join_name"])) or 100) < 100
    ]
    assert logged
    for row in logged:
        assert sampled(bytes.fromhex(row["key"]), percents[row["world"], row["join_name"]])


def _joins() -> list[dict[str, str]]:
    return [record for record in records("f_e2e") if record["kind"] == "join"]


def test_the_sample_is_the_percent_that_was_asked_for() -> None:
    keys = [f"key {number}".encode() for number in range(20_000)]
    for percent in (0.1, 5, 50):
        share = sum(sampled(key, percent) for key in keys) / len(keys) * 100
        assert abs(share - percent) < 1.2
    assert all(sampled(key, 100) for key in keys)
    assert not any(sampled(key, percent) for percent in (None, 0, 0.0) for key in keys[:100])


def test_lists_of_texts() -> None:
    assert strings.encode(["joins/team/x.v1", "ü"]) == b"am9pbnMvdGVhbS94LnYx,w7w="
    assert strings.decode(strings.encode(["a", "", "b,c"])) == ["a", "", "b,c"]
    assert strings.encode([]) == b""
    assert strings.decode(b"") == []
    for data in (b"a", b"w7w=;", b"//8=", "ü".encode(), b"w7w=\n"):
        with pytest.raises(CorruptValue):
            strings.decode(data)
