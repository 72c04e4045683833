"""Compiled confs on their way into the store: which files count, under which keys, in which lists."""

import json
from pathlib import Path
from typing import Any

import pytest

from chronoserve.codec import confs, strings
from chronoserve.ingest.metadata import (
    Conf,
    ConfKind,
    MetadataPut,
    Refused,
    Skipped,
    conf_puts,
    examine,
    groups,
    kind_of,
    merged,
    team_lists,
    team_puts,
    walk,
)
from chronoserve.model.errors import CorruptValue, InvalidRequest
from tests.recordings import GOLDEN

QUICKSTART = GOLDEN / "quickstart" / "production"
JOIN = QUICKSTART / "joins" / "quickstart" / "training_set.v2"


def written(path: Path, tree: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree))
    return path


def join_tree() -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(JOIN.read_text())
    return tree


def conf(key: str, team: str | None, kind: ConfKind = ConfKind.JOIN) -> Conf:
    return Conf(Path(key), kind, key, "{}", team)


def test_every_conf_of_a_compiled_folder_is_taken_in_the_order_of_the_paths() -> None:
    found = list(walk(GOLDEN / "quickstart"))
    keys = [each.key for each in found if isinstance(each, Conf)]
    assert keys == sorted(keys)
    assert "joins/quickstart/training_set.v2" in keys
    assert "group_bys/quickstart/purchases.v1" in keys
    assert "staging_queries/team_a/s.v1" in keys
    assert not [each for each in found if isinstance(each, Refused)]
    assert {each.path.name for each in found if isinstance(each, Skipped)} >= {"teams.json"}


def test_what_is_stored_is_what_the_fetcher_reads() -> None:
    found = examine(JOIN)
    assert isinstance(found, Conf)
    assert (found.key, found.kind, found.team) == ("joins/quickstart/training_set.v2", ConfKind.JOIN, "quickstart")
    assert "\n" not in found.text
    assert confs.join(found.text).meta_data.name == "quickstart.training_set.v2"
    assert json.loads(found.text) == join_tree()


def test_a_file_by_itself_has_the_key_of_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "joins" / "team" / "x.v1", join_tree())
    monkeypatch.chdir(tmp_path / "joins" / "team")
    (found,) = walk(Path("x.v1"))
    assert isinstance(found, Conf)
    assert found.key == "joins/team/x.v1"


def test_a_field_that_chronon_does_not_know_refuses_the_file_and_is_named(tmp_path: Path) -> None:
    tree = join_tree()
    tree["joinParts"][0]["groupBy"]["surprise"] = 1
    found = examine(written(tmp_path / "joins" / "team" / "x.v1", tree))
    assert isinstance(found, Refused)
    assert "joinParts[0].groupBy.surprise" in found.reason


def test_a_wrong_type_refuses_the_file(tmp_path: Path) -> None:
    found = examine(written(tmp_path / "joins" / "team" / "x.v1", {**join_tree(), "joinParts": "none"}))
    assert isinstance(found, Refused)
    assert "joinParts" in found.reason


@pytest.mark.parametrize(
    "text", ["", "no json", "[1]", "{}", '{"metaData": {}}', '{"metaData": {"name": 5}}', '{"metaData": []}', "[" * 100_000]
)
def test_other_files_are_skipped(tmp_path: Path, text: str) -> None:
    path = tmp_path / "joins" / "team" / "x.v1"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert isinstance(examine(path), Skipped)


def test_bytes_that_are_no_text_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "joins" / "team" / "x.v1"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff\xfe\x00")
    assert isinstance(examine(path), Skipped)


def test_a_conf_outside_the_folders_is_skipped_with_the_reason(tmp_path: Path) -> None:
    found = examine(written(tmp_path / "models" / "team" / "x.v1", join_tree()))
    assert isinstance(found, Skipped)
    assert "joins/" in found.reason


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("joins/t/x", ConfKind.JOIN),
        ("production/group_bys/t/x", ConfKind.GROUP_BY),
        ("staging_queries/t/x", ConfKind.STAGING_QUERY),
        ("joins/repo/group_bys/t/x", ConfKind.GROUP_BY),
        ("group_bys/t/deeper/x", ConfKind.GROUP_BY),
        ("group_bys/a/joins/x", ConfKind.JOIN),
        ("t/joins", None),
        ("t/x", None),
    ],
)
def test_the_kind_is_the_folder_of_the_key_or_the_first_in_the_path(tmp_path: Path, path: str, kind: ConfKind | None) -> None:
    assert kind_of(tmp_path / path) is kind


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no file or folder"):
        list(walk(tmp_path / "nothing"))


def test_lists_are_by_kind_and_owning_team() -> None:
    found = [
        conf("joins/a/x", "a"),
        conf("group_bys/a/g", "a", ConfKind.GROUP_BY),
        conf("joins/a/y", "a"),
        conf("joins/b/z", "b"),
        conf("joins/c/teamless", None),
    ]
    assert team_lists(found) == {"joins/a": ["joins/a/x", "joins/a/y"], "group_bys/a": ["group_bys/a/g"], "joins/b": ["joins/b/z"]}


def test_the_team_override_owns(tmp_path: Path) -> None:
    tree = join_tree()
    tree["metaData"]["customJson"] = json.dumps({"team_override": "owner"})
    found = examine(written(tmp_path / "joins" / "team" / "x.v1", tree))
    assert isinstance(found, Conf)
    assert found.team == "owner"


def test_lists_are_merged_with_what_the_store_has() -> None:
    stored = {"joins/a": strings.encode(["joins/a/old", "joins/a/x"])}
    (put,) = team_puts({"joins/a": ["joins/a/x", "joins/a/new"]}, stored)
    assert put == MetadataPut("CHRONON_ENTITY_BY_TEAM", b"joins/a", strings.encode(["joins/a/old", "joins/a/x", "joins/a/new"]))


def test_a_stored_list_that_cannot_be_read_is_not_lost() -> None:
    with pytest.raises(CorruptValue, match="joins/a"):
        team_puts({"joins/a": ["joins/a/x"]}, {"joins/a": b"!!!"})


def test_merging_keeps_order_and_has_each_once() -> None:
    assert merged(["b", "a"], ["a", "c", "c"]) == ["b", "a", "c"]


def test_puts_are_by_key_and_in_groups() -> None:
    puts = conf_puts([conf(f"joins/a/{number}", "a") for number in range(120)])
    assert puts[3] == MetadataPut("ZIPLINE_METADATA", b"joins/a/3", b"{}")
    assert [len(group) for group in groups(puts)] == [50, 50, 20]
    assert list(groups([])) == []
