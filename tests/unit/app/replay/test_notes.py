"""Numbered notes: what they explain, and that they explain nothing else; and that docs/parity.md has the same ones."""

import re
from pathlib import Path
from typing import Any

import pytest

from chronoserve.app.replay.compare import ABSENT, Difference
from chronoserve.app.replay.faces import Answers
from chronoserve.app.replay.notes import NOTES, Case, explained

PARITY = Path(__file__).parents[4] / "docs" / "parity.md"
EMPTY = {"class": "x", "root_class": "java.lang.UnsupportedOperationException", "root_message": "empty.maxBy"}
MISSING = {"class": "x", "root_class": "java.lang.RuntimeException", "root_message": "missing key"}
ERROR_ROW = {"status": "ERROR", "error": {"class": "UNKNOWN_CONF", "message": "no"}}


def request(**members: Any) -> dict[str, Any]:
    return {"api": "fetchJoin", "requests": [{"keys": {"k": "1"}}], **members}


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
    case = Case(request(call_error=MISSING), Answers([ERROR_ROW]))
    assert only(case, Difference("call_error", MISSING, ABSENT)) == 1
    assert only(case, Difference("log", "0 rows", "1 rows")) == 1


def test_a_call_that_failed_is_not_noted_where_ours_says_nothing() -> None:
    case = Case(request(call_error=MISSING), Answers([{"status": "OK", "values": {"x": None}}]))
    assert only(case, Difference("call_error", MISSING, ABSENT)) is None


def test_a_call_that_fails_with_us_alone_is_not_noted() -> None:
    case = Case(request(responses=[{"values": {}}]), Answers(call_error={"class": "UNAVAILABLE", "message": ""}))
    assert only(case, Difference("call_error", ABSENT, {})) is None


def test_empty_metadata_is_noted_as_call_and_as_codec() -> None:
    codec = {"values": {"join_codec_fetch_exception": "java.lang.UnsupportedOperationException: empty.maxBy"}}
    failed = Case(request(call_error=EMPTY), Answers([ERROR_ROW]))
    assert only(failed, Difference("call_error", EMPTY, ABSENT)) == 2
    case = Case(request(responses=[codec]), Answers([{"values": {"a_exception": "no"}}]))
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
    case = Case(request(responses=[{"values": values}]), Answers([{"values": {"x": None}}]))
    assert only(case, Difference("responses[0].values.x", ABSENT, None)) is None
    assert only(case, Difference("log", "0 rows", "1 rows")) is None


def test_a_null_key_in_its_place_is_noted() -> None:
    record = {"api": "fetchGroupBys", "requests": [{"keys": {"k": None}}, {"keys": {"k": "1"}}], "responses": [{}]}
    case = Case(record, Answers([{"values": None}, {"values": {}}]))
    assert only(case, Difference("responses[0]", ABSENT, {})) == 3
    assert only(case, Difference("responses[1]", ABSENT, {})) is None
    assert only(case, Difference("responses[0].values.x", {"int": 1}, {"int": 2})) is None
    assert only(Case({**record, "api": "fetchJoin"}, case.answers), Difference("responses[0]", ABSENT, {})) is None
    answered = Case(record, Answers([{"values": {"x": None}}, {"values": {}}]))
    assert only(answered, Difference("responses[0]", ABSENT, {})) is None


def test_a_full_bounded_count_is_noted_and_no_other_refusal() -> None:
    error = {"class": "java.lang.ClassCastException", "root_class": "java.lang.ClassCastException"}
    record = {"operation": "BOUNDED_UNIQUE_COUNT", "error": error}
    assert only(Case(record), Difference("error", error, ABSENT)) == 4
    assert only(Case({**record, "operation": "UNIQUE_COUNT"}), Difference("error", error, ABSENT)) is None
    assert only(Case(record), Difference("output_all", {"long": 1}, {"long": 2})) is None
    other = {"class": "x", "root_class": "java.lang.IllegalArgumentException"}
    assert only(Case({**record, "error": other}), Difference("error", other, ABSENT)) is None


def test_a_group_by_request_that_lacks_a_number_is_noted_and_no_other_refusal() -> None:
    record = request(api="fetchGroupBys", responses=[{"values": {"a": None}}])
    for message, note in (("the keys of the request lack 'n'", 5), ("key 'n' is a String where a Long belongs", None)):
        case = Case(record, Answers([{"status": "ERROR", "error": {"class": "INVALID_REQUEST", "message": message}}]))
        assert only(case, Difference("responses[0]", {"a": None}, "an error")) == note
