"""Where a job's variables come from: each place wins over all after it."""

import json
from pathlib import Path

import pytest

from chronoserve.config.environment import ConfPlace, Job, resolve
from chronoserve.config.teams import load
from chronoserve.model.errors import InvalidRequest

TEAMS = {
    "default": {"common_env": dict.fromkeys("ABCDEF", "common"), "production": {"upload": dict.fromkeys("ABCDE", "default")}},
    "x": {"production": {"upload": dict.fromkeys("ABCD", "team production")}, "staging": {"upload": dict.fromkeys("ABC", "team staging")}},
}


@pytest.fixture
def conf(tmp_path: Path) -> str:
    (tmp_path / "teams.json").write_text(json.dumps(TEAMS))
    path = tmp_path / "production" / "group_bys" / "x" / "g.v1"
    path.parent.mkdir(parents=True)
    custom = json.dumps({"additional_args": ["--one", "two"]})
    path.write_text(
        json.dumps({"metaData": {"name": "x.g.v1", "customJson": custom, "modeToEnvMap": {"upload": {"A": "conf", "B": "conf"}}}})
    )
    return str(path)


def resolved(conf: str, **process: str) -> dict[str, tuple[str, str]]:
    teams = load(Path(conf).parents[3] / "teams.json")
    job = Job(mode="upload", env="staging", repo=".", conf=conf, implied={"CHRONON_DRIVER_JAR": "j", "F": "arguments", "G": None})
    return {each.name: (each.value, each.origin) for each in resolve(job, teams, process)}


def test_each_place_wins_over_all_after_it(conf: str) -> None:
    found = resolved(conf, A="process", UNRELATED="process")
    assert found["A"] == ("process", "the process's environment")
    assert found["B"] == ("conf", "the conf's modeToEnvMap.upload")
    assert found["C"] == ("team staging", "x.staging.upload")
    assert found["D"] == ("team production", "x.production.upload")
    assert found["E"] == ("default", "default.production.upload")
    assert found["F"] == ("common", "default.common_env")
    assert found["CHRONON_DRIVER_JAR"] == ("j", "the arguments")
    assert found["CHRONON_CONFIG_ADDITIONAL_ARGS"][0] == "--one two"
    assert "UNRELATED" not in found
    assert "G" not in found


def test_an_empty_variable_of_the_process_wins_too(conf: str) -> None:
    assert resolved(conf, A="")["A"] == ("", "the process's environment")


def test_a_path_without_team_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="production/group_bys/<team>/<name>"):
        ConfPlace.of("group_bys/x/g.v1")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"metaData": 5}', "[" * 100_000])
def test_a_file_that_is_no_conf_is_refused(conf: str, content: str) -> None:
    Path(conf).write_text(content)
    with pytest.raises(InvalidRequest, match="compiled conf"):
        resolved(conf)
