"""``chronoserve compile`` with the real compile.py: what it compiles is what we ship and serve, and its failures are failures."""

import shutil

import pytest

from chronoserve.app.compiling.stage import digest
from tests.conformance.chronon.conftest import SHIPPED, Repository
from tests.unit.app.shell import run_process

PURCHASES, RETURNS, USERS = (f"group_bys/quickstart/{name}.v1" for name in ("purchases", "returns", "users"))
JOIN = "joins/quickstart/training_set.v1"
SOURCE = "group_bys/quickstart/purchases.py"
ALL = (PURCHASES, RETURNS, USERS, JOIN)


def test_the_quickstart_s_confs_are_what_its_sources_give(repository: Repository) -> None:
    shutil.rmtree(repository.root / "production")
    assert repository.outcomes() == dict.fromkeys(ALL, "new")
    compiled = repository.compiled()
    assert set(compiled) == set(ALL)
    for key, text in compiled.items():
        kind = key.partition("/")[0]
        assert digest(kind, text) == digest(kind, (SHIPPED / "production" / key).read_text()) is not None


def test_one_join_brings_its_group_bys(repository: Repository) -> None:
    shutil.rmtree(repository.root / "production")
    assert repository.outcomes("--conf", "joins/quickstart/training_set.py") == dict.fromkeys(ALL, "new")


def test_compiling_again_changes_nothing(repository: Repository) -> None:
    before = repository.compiled()
    answer = repository.compile()
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[-1].startswith("4 unchanged; chronon-ai ")
    assert repository.compiled() == before


def test_an_unchanged_group_by_of_a_join_is_no_failure(repository: Repository) -> None:
    assert repository.outcomes("--conf", SOURCE) == {PURCHASES: "unchanged"}
    assert repository.compile("--conf", SOURCE).code == 0


def test_what_is_online_changes_by_force_alone(repository: Repository) -> None:
    before = repository.compiled()
    repository.replace(SOURCE, "LAST_K(5)", "LAST_K(6)")
    refused = repository.compile()
    assert refused.code == 1
    assert f"error: {PURCHASES}: it is online and differs" in refused.err
    assert "--force-overwrite" in refused.err
    assert repository.compiled() == before
    forced = repository.compile("--force-overwrite", "--json")
    assert forced.code == 0
    changes = {each["conf"]: each["changes"] for each in forced.objects[:-1] if each["outcome"] == "changed"}
    assert changes[PURCHASES] == [{"field": "aggregations[3].argMap.k", "before": '"5"', "after": '"6"'}]
    assert {"field": "joinParts[0].groupBy.aggregations[3].argMap.k", "before": '"5"', "after": '"6"'} in changes[JOIN]


def test_a_join_that_holds_a_former_group_by_is_stale(repository: Repository) -> None:
    repository.replace(SOURCE, "online=True", 'backfill_start_date="2024-01-01"')
    repository.replace("joins/quickstart/training_set.py", "online=True", "online=False")
    shutil.rmtree(repository.root / "production")
    assert set(repository.outcomes().values()) == {"new"}
    repository.replace(SOURCE, "LAST_K(5)", "LAST_K(6)")
    answer = repository.compile("--conf", SOURCE)
    assert answer.code == 1
    assert answer.err.startswith(f"error: {JOIN}: it holds the former quickstart.purchases.v1")
    assert repository.outcomes() == {PURCHASES: "unchanged", RETURNS: "unchanged", USERS: "unchanged", JOIN: "changed"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = (\n", "group_bys/quickstart/broken.py:1: SyntaxError: '(' was never closed"),
        ("import no_such_package\n", "-m pip install"),
        ("import group_bys.quickstart.gone\n", "imports begin at"),
    ],
)
def test_a_file_that_cannot_be_imported(repository: Repository, text: str, said: str) -> None:
    broken = "group_bys/quickstart/broken.py"
    repository.write(broken, text)
    alone = repository.compile("--conf", broken)
    assert alone.code == 1
    assert alone.err.startswith(f"error: {broken}: ")
    assert said in alone.err
    in_folder = repository.compile()
    assert in_folder.code == 1
    assert said in in_folder.err
    assert repository.outcomes() == {**dict.fromkeys(ALL, "unchanged"), broken: "failed"}


def test_a_team_that_teams_json_does_not_have(repository: Repository) -> None:
    repository.write("group_bys/nobody/users.py", (repository.root / "group_bys/quickstart/users.py").read_text())
    answer = repository.compile("--conf", "group_bys/nobody/users.py")
    assert answer.code == 1
    assert "team nobody does not exist" in answer.err
    assert "add the team to teams.json" in answer.err


def test_a_team_without_table_properties(repository: Repository) -> None:
    repository.replace("teams.json", '"table_properties": {\n      "source": "chronon"\n    },', "")
    answer = repository.compile("--conf", SOURCE)
    assert answer.code == 1
    assert 'teams.json gives the team no table_properties, and neither does "default"' in answer.err


def test_an_online_join_of_a_group_by_that_is_not(repository: Repository) -> None:
    before = repository.compiled()
    repository.replace("group_bys/quickstart/users.py", "online=True", "online=None")
    answer = repository.compile("--force-overwrite", "--conf", "joins")
    assert answer.code == 1
    assert "quickstart.users.v1" in answer.err
    assert repository.compiled() == before


def test_what_nobody_needs_is_skipped_and_its_former_conf_named(repository: Repository) -> None:
    repository.replace("group_bys/quickstart/users.py", "online=True", "online=False")
    answer = repository.compile("--conf", "group_bys/quickstart/users.py")
    assert answer.code == 1
    assert "its former conf stays where it is" in answer.out
    assert "nothing was compiled" in answer.err


def test_a_log_that_ends_is_warned_of_and_can_be_kept(repository: Repository) -> None:
    repository.replace("joins/quickstart/training_set.py", "    sample_percent=100.0,\n", "")
    assert repository.outcomes("--keep-sample-percent", "--conf", "joins")[JOIN] == "unchanged"
    answer = repository.compile("--conf", "joins")
    assert answer.code == 0
    assert "no longer logged" in answer.out


def test_a_derivation_that_cannot_be_served(repository: Repository) -> None:
    repository.replace("joins/quickstart/training_set.py", "coalesce(", "no_such_function(")
    answer = repository.compile("--force-overwrite", "--conf", "joins/quickstart/training_set.py")
    assert answer.code == 1
    assert f"error: {JOIN}: derivation refunded_30d: the function no_such_function is not supported" in answer.err


def test_a_compiled_conf_is_uploaded_by_run(repository: Repository) -> None:
    shop = repository.root.parent / "shop"
    assert run_process("quickstart", "--no-stay", "--dir", shop).code == 0
    confs = shop / "confs"
    shutil.rmtree(confs / "production")
    compiled = Repository(confs).compile()
    assert compiled.code == 0, compiled.err
    words = ("--repo", confs, "--mode", "upload", "--conf", f"production/{PURCHASES}", "--ds", "2024-03-31")
    answer = run_process("run", *words, env={"CHRONOSERVE_WAREHOUSE": str(shop / "warehouse")})
    assert answer.code == 0, answer.err
