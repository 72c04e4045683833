"""Recordings read: kinds of records, worlds, files that are none."""

import gzip
import json
from pathlib import Path

import pytest

from chronoserve.app.replay.recording import LATER, Kind, Single, World, kind_of, parts, read, requests_of
from chronoserve.model.errors import InvalidRequest
from tests.recordings import GOLDEN, records


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("a_aggregations", {Kind.AGGREGATION}),
        ("b_group_by_temporal", {Kind.WORLD}),
        ("c_avro", {Kind.SCHEMA, Kind.KEY_ENCODING, Kind.CAST}),
        ("d_naming", {Kind.NAMING}),
        ("e_derivations", {Kind.INPUTS, Kind.EXPRESSION, Kind.DERIVATION_GROUP}),
        ("f2_newer_batch", {Kind.WORLD}),
        ("g_quickstart", {Kind.QUICKSTART}),
    ],
)
def test_every_record_has_its_kind(name: str, kinds: set[Kind]) -> None:
    assert {kind_of(record) for record in records(name)} == kinds


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "upload_row", "world": "k-1"},
        {"kind": "world", "world": "h-1"},
        {"kind": "group_by", "stream_type": {}},
        {"kind": "event"},
        {"kind": "join_rows", "world": "h-1"},
        {"kind": "metrics", "world": "i-1"},
    ],
)
def test_what_is_not_replayed_yet_is_known(record: dict[str, object]) -> None:
    assert kind_of(record) is Kind.LATER
    assert record["kind"] in LATER


@pytest.mark.parametrize("record", [{}, {"kind": "novelty"}, {"kind": None, "x": 1}])
def test_what_is_not_known_is_told_apart(record: dict[str, object]) -> None:
    assert kind_of(record) is Kind.UNKNOWN


def test_a_recording_is_cut_into_worlds() -> None:
    found = list(parts(records("f2_newer_batch")))
    assert all(isinstance(part, World) for part in found)
    worlds = [part for part in found if isinstance(part, World)]
    assert [world.name for world in worlds] == [f"f2-s-{at}" for at in range(len(worlds))] or len({world.name for world in worlds}) == 9
    assert sum(len(requests_of(world)) for world in worlds) == 252


def test_the_quickstart_is_one_world_without_a_name() -> None:
    (world,) = parts(records("g_quickstart"))
    assert isinstance(world, World)
    assert world.name is None
    assert len(requests_of(world)) == 295


def test_records_that_stand_alone_end_a_world() -> None:
    world = {"kind": "world", "world": "w", "missing_key_is_failure": True}
    again = {"kind": "world", "world": "w", "missing_key_is_failure": False}
    request = {"kind": "request", "world": "w", "id": "r"}
    found = list(parts([world, request, {"kind": "cast_to"}, request, again, request]))
    assert [type(part) for part in found] == [World, Single, World, World]


def test_gzip_is_seen_by_its_bytes(tmp_path: Path) -> None:
    lines = b'{"kind": "cast_to"}\n\n{"kind": "inputs"}\n'
    (tmp_path / "plain").write_bytes(lines)
    (tmp_path / "packed").write_bytes(gzip.compress(lines))
    expected = [{"kind": "cast_to"}, {"kind": "inputs"}]
    assert [list(read(tmp_path / name)) for name in ("plain", "packed")] == [expected, expected]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'{"kind": 1}\n{"kind"', "line 2 is no JSON"),
        (b"[1]\n", "line 1 is not a JSON object"),
        (b"\xff\xfe\n", "line 1 is no JSON"),
        (gzip.compress(b'{"kind": 1}\n' * 1000, mtime=0)[:30], "cannot be read"),
        (b"\x1f\x8bnothing", "cannot be read"),
    ],
)
def test_a_file_that_is_no_recording_is_told(tmp_path: Path, data: bytes, told: str) -> None:
    (tmp_path / "x.jsonl").write_bytes(data)
    with pytest.raises(InvalidRequest, match=told):
        list(read(tmp_path / "x.jsonl"))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read"):
        list(read(tmp_path / "nothing"))


def test_the_recordings_are_those_of_the_readme() -> None:
    assert sum(1 for _ in records("d_naming")) == len((GOLDEN / "d_naming.jsonl").read_text().splitlines())
    assert json.loads((GOLDEN / "d_naming.jsonl").read_text().splitlines()[0])["name"] == "team.gb.v1"
