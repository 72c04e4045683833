"""Numbered notes: what they explain, and that they explain nothing else; and that docs/parity.md has the same ones."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from chronoserve.app.replay.compare import ABSENT, Difference
from chronoserve.app.replay.faces import RecordedPut
from chronoserve.app.replay.notes import NOTES, Case, explained
from chronoserve.app.replay.stored_confs import StoredConfs

PARITY = Path(__file__).parents[4] / "docs" / "parity.md"
EMPTY = {"class": "x", "root_class": "java.lang.UnsupportedOperationException", "root_message": "empty.maxBy"}
MISSING = {"class": "x", "root_class": "java.lang.RuntimeException", "root_message": "missing key"}
ERROR_ROW = {"status": "ERROR", "error": {"class": "UNKNOWN_CONF", "message": "no"}}


def request(**members: Any) -> dict[str, Any]:
    return {"api": "fetchJoin", "requests": [{"keys": {"k": "1"}}], **members}


def answers(responses: list[dict[str, Any]]) -> dict[str, Any]:
    return {"responses": responses}


def only(case: Case, difference: Difference) -> int | None:
    (note,) = explained(case, [difference])
    return note


def test_the_notes_are_those_of_the_document() -> None:
    headings = re.findall(r"^## P(\d+)\. (.+)$", PARITY.read_text(), re.MULTILINE)
    documented = {int(number): title for number, title in headings}
    assert len(documented) == len(headings)
    assert {note.number: note.title for note in NOTES}.items() <= documented.items()
    assert sorted(documented) == list(range(1, len(documented) + 1))


def test_a_call_that_failed_for_one_row_is_noted_where_ours_names_the_row() -> None:
    case = Case(request(call_error=MISSING), answers([ERROR_ROW]))
    assert only(case, Difference("call_error", MISSING, ABSENT)) == 1
    assert only(case, Difference("log", "0 rows", "1 rows")) == 1


def test_a_call_that_failed_is_not_noted_where_ours_says_nothing() -> None:
    case = Case(request(call_error=MISSING), answers([{"status": "OK", "values": {"x": None}}]))
    assert only(case, Difference("call_error", MISSING, ABSENT)) is None


def test_a_call_that_fails_with_us_alone_is_not_noted() -> None:
    case = Case(request(responses=[{"values": {}}]), {"call_error": {"class": "UNAVAILABLE", "message": ""}})
    assert only(case, Difference("call_error", ABSENT, {})) is None


def test_empty_metadata_is_noted_as_call_and_as_codec() -> None:
    codec = {"values": {"join_codec_fetch_exception": "java.lang.UnsupportedOperationException: empty.maxBy"}}
    failed = Case(request(call_error=EMPTY), answers([ERROR_ROW]))
    assert only(failed, Difference("call_error", EMPTY, ABSENT)) == 2
    case = Case(request(responses=[codec]), answers([{"values": {"a_exception": "no"}}]))
    for place in ("responses[0].values.a_exception", "responses[0].values.join_codec_fetch_exception", "log"):
        assert only(case, Difference(place, "one", "other")) == 2


@pytest.mark.parametrize(
    "values",
    [
        {"join_codec_fetch_exception": "org.apache.spark.sql.AnalysisException: cannot resolve"},
        {"join_codec_fetch_exception": "java.lang.UnsupportedOperationException: empty.maxBy", "x": None},
        {"x": {"int": 1}},
    ],
)
def test_other_codec_failures_are_not_noted(values: dict[str, Any]) -> None:
    case = Case(request(responses=[{"values": values}]), answers([{"values": {"x": None}}]))
    assert only(case, Difference("responses[0].values.x", ABSENT, None)) is None
    assert only(case, Difference("log", "0 rows", "1 rows")) is None


def test_a_null_key_in_its_place_is_noted() -> None:
    record = {"api": "fetchGroupBys", "requests": [{"keys": {"k": None}}, {"keys": {"k": "1"}}], "responses": [{}]}
    case = Case(record, answers([{"values": None}, {"values": {}}]))
    assert only(case, Difference("responses[0]", ABSENT, {})) == 3
    assert only(case, Difference("responses[1]", ABSENT, {})) is None
    assert only(case, Difference("responses[0].values.x", {"int": 1}, {"int": 2})) is None
    assert only(Case({**record, "api": "fetchJoin"}, case.ours), Difference("responses[0]", ABSENT, {})) is None
    answered = Case(record, answers([{"values": {"x": None}}, {"values": {}}]))
    assert only(answered, Difference("responses[0]", ABSENT, {})) is None


def test_a_full_bounded_count_is_noted_and_no_other_refusal() -> None:
    error = {"class": "java.lang.ClassCastException", "root_class": "java.lang.ClassCastException"}
    record = {"operation": "BOUNDED_UNIQUE_COUNT", "error": error}
    assert only(Case(record), Difference("error", error, ABSENT)) == 4
    assert only(Case({**record, "operation": "UNIQUE_COUNT"}), Difference("error", error, ABSENT)) is None
    assert only(Case(record), Difference("output_all", {"long": 1}, {"long": 2})) is None
    other = {"class": "x", "root_class": "java.lang.IllegalArgumentException"}
    assert only(Case({**record, "error": other}), Difference("error", other, ABSENT)) is None


# notes that ask the confs of the world

KEY_SCHEMA = {"type": "record", "name": "Key", "namespace": "ai.chronon.data", "doc": "", "fields": []}


def stored(*, columns: tuple[str, ...] = ("user", "item"), types: tuple[str, ...] = ("string", "long"), join: Any = None) -> StoredConfs:
    """A group by ``team.gb.v1`` with these key columns; and a join ``team/j.v1`` over it, with this in its part."""
    group_by = {"metaData": {"name": "team.gb.v1"}, "keyColumns": list(columns)}
    fields = [{"name": re.sub(r"\W", "_", column), "type": ["null", avro], "doc": ""} for column, avro in zip(columns, types, strict=True)]
    info = {"groupBy": group_by, "keyAvroSchema": json.dumps({**KEY_SCHEMA, "fields": fields}), "batchEndDate": "2024-01-01"}
    confs = StoredConfs()
    confs.learn(RecordedPut("TEAM_GB_V1_BATCH", b"group_by_serving_info", json.dumps(info).encode(), 1, b"1"))
    conf = {"metaData": {"name": "team.j.v1"}, "joinParts": [{"groupBy": group_by, **(join or {})}]}
    confs.learn(RecordedPut("ZIPLINE_METADATA", b"joins/team/j.v1", json.dumps(conf).encode(), 1, b"2"))
    return confs


def asked(name: str, keys: dict[str, Any], recorded: dict[str, Any], ours: dict[str, Any], confs: StoredConfs) -> Case:
    api = "fetchJoin" if "/" in name else "fetchGroupBys"
    return Case({"api": api, "requests": [{"name": name, "keys": keys}], "responses": [recorded]}, answers([ours]), confs)


FAILED = {"error": {"class": "INVALID_REQUEST", "message": "the key 'item' is missing"}}
ROW = Difference("responses[0]", {"values": None}, FAILED)


def test_a_missing_number_is_noted_and_no_other_refusal() -> None:
    def case(keys: dict[str, Any], ours: dict[str, Any] = FAILED) -> Case:
        return asked("team.gb.v1", keys, {"values": None}, ours, stored())

    assert only(case({"user": "u"}), ROW) == 5
    assert only(case({"user": "u", "item": {"long": 1}}), ROW) is None
    assert only(case({"item": {"long": 1}}), ROW) is None
    assert only(case({"user": "u"}, {"values": None}), ROW) is None
    assert only(asked("team.other.v1", {}, {"values": None}, FAILED, stored()), ROW) is None


def test_two_columns_of_one_left_name_are_noted_in_their_part_alone() -> None:
    def case(mapping: dict[str, str]) -> Case:
        confs = stored(types=("string", "string"), join={"keyMapping": mapping, "prefix": "p"})
        return asked("team/j.v1", {"user": "u"}, {"values": {"x": None}}, {"values": {}}, confs)

    feature = Difference("responses[0].values.p_team_gb_v1_x", None, {"int": 1})
    assert only(case({"user": "item"}), feature) == 6
    assert only(case({"thing": "item"}), feature) is None
    assert only(case({"user": "item"}), Difference("responses[0].values.other_x", None, {"int": 1})) is None


def test_binary_keys_under_derivations_are_noted() -> None:
    failed = {"values": {"derivation_fetch_exception": "java.lang.ClassCastException"}}
    place = Difference("responses[0].values.derived", ABSENT, {"int": 1})

    def case(types: tuple[str, str], recorded: dict[str, Any]) -> Case:
        return asked("team/j.v1", {}, recorded, {"values": {"derived": {"int": 1}}}, stored(types=types))

    assert only(case(("bytes", "long"), failed), place) == 7
    assert only(case(("string", "long"), failed), place) is None
    assert only(case(("bytes", "long"), {"values": {"x": None}}), place) is None


def test_rows_after_a_broken_evaluator_are_noted() -> None:
    broken = {"error": {"root_message": "Duplicate map key a was found"}}
    other = {"error": {"root_message": "boom"}}

    def case(theirs: list[Any], ours: list[Any]) -> Case:
        return Case({"kind": "expression", "results": theirs}, {"results": ours})

    value = {"value": {"int": 1}}
    later = Difference("results[1]", other, value)
    assert only(case([broken, other], [broken, value]), later) == 9
    assert only(case([other, other], [other, value]), later) is None
    assert only(case([broken, other], [value, value]), later) is None
    assert only(case([broken, value], [broken, value]), Difference("results[1].value", {"int": 2}, {"int": 1})) is None


def test_keys_that_avro_cannot_spell_are_noted() -> None:
    found = {"values": {"x": {"int": 1}}}
    place = Difference("responses[0].values", None, {"x": {"int": 1}})
    assert only(asked("team.gb.v1", {"user-id": "u"}, {"values": None}, found, stored(columns=("user-id", "item"))), place) == 13
    assert only(asked("team.gb.v1", {"user": "u"}, {"values": None}, found, stored()), place) is None
    feature = Difference("responses[0].values.team_gb_v1_x", ABSENT, {"int": 1})
    assert only(asked("team/j.v1", {}, {"values": {}}, found, stored(columns=("user-id", "item"))), feature) == 13
    assert only(asked("team/j.v1", {}, {"values": {}}, found, stored()), feature) is None


def test_keys_that_chronon_takes_for_one_are_noted() -> None:
    assert only(Case({"kind": "upload"}), Difference("merged[0a]", "one", "other")) == 10
    assert only(Case({"kind": "upload"}), Difference("rows[0a]", "one", "other")) is None
