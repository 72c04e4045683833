"""teams.json is judged whole, and names the key that is wrong."""

import json
from pathlib import Path

import pytest

from chronoserve.config.teams import Teams, load
from chronoserve.model.errors import InvalidRequest, UnknownConf
from tests.recordings import GOLDEN


def teams(tmp_path: Path, content: object) -> Teams:
    path = tmp_path / "teams.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return load(path)


def test_the_recorded_file_is_read() -> None:
    found = load(GOLDEN / "quickstart" / "teams.json")
    assert found.team("team_a").mode("dev", "backfill") == {"EXECUTOR_CORES": "2", "DRIVER_MEMORY": "30G"}
    assert found.namespace("team_a") == "team_a_db"
    assert found.table_properties("team_a") == {"source": "chronon"}
    assert found.team("").name == "default"


def test_own_table_properties_replace_the_defaults_whole(tmp_path: Path) -> None:
    found = teams(
        tmp_path, {"default": {"table_properties": {"a": "1"}}, "x": {"table_properties": {"b": "2"}}, "y": {"table_properties": {}}}
    )
    assert found.table_properties("x") == {"b": "2"}
    assert found.table_properties("y") == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "no JSON"),
        ("[]", "the file must be an object"),
        ({"x": 1}, "x must be an object"),
        ({"x": {"namespace": 5}}, "x.namespace must be a text"),
        ({"default": {"common_env": {"A": 1}}}, 'default.common_env.A must be a text: write "1"'),
        ({"x": {"production": {"backfill": {"EXECUTOR_CORES": 4}}}}, 'x.production.backfill.EXECUTOR_CORES must be a text: write "4"'),
        ({"x": {"production": {"backfill": "all"}}}, "x.production.backfill must be an object"),
        ({"x": {"table_properties": ["a"]}}, "x.table_properties must be an object"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        teams(tmp_path, content)
    assert said in refused.value.message
    assert "teams.json" in refused.value.message


def test_a_missing_file_says_which_option_names_its_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="--repo"):
        load(tmp_path / "teams.json")


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest):
        teams(tmp_path, "[" * 100_000)


def test_an_unknown_team_is_answered_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(UnknownConf, match="it has: default, x"):
        teams(tmp_path, {"x": {}}).team("y")
