"""DAGs acted out, task by task, with Airflow's own database: from the quickstart's tables to features that are fetched."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.airflow.conftest import output
from tests.engines.environments import Environment

DAG_FILE = """from datetime import timedelta

from chronoserve.airflow import dags
from chronoserve.airflow.build import Patience

globals().update(
    dags(
        repository="{home}/shop/confs",
        warehouse="{home}/shop/warehouse",
        store="lmdb://{home}/online",
        checkpoints="{home}/loads",
        command="{home}/chronoserve",
        patience=Patience(poke=timedelta(0), skip_poke=timedelta(0), timeout=timedelta(seconds=2)),
        task_args={{"retry_delay": timedelta(0)}},
    )
)
"""
COMMAND = """#!/bin/sh
echo "$@" >> {home}/calls
exec {python} -P -m chronoserve "$@"
"""
BATCH = "chronon_group_by_batch_quickstart"
BROKEN = "broken.v1"
GROUP_BYS = ("purchases", "returns", "users")
TASKS = (
    "wait_for_shop__{}_ds",
    "custom_skip__quickstart__{}__v1",
    "group_by_batch__quickstart__{}__v1",
    "kv_upload__quickstart__{}__v1",
)
LAST, BEFORE, EARLIER = "2024-03-31", "2024-03-30", "2024-03-28"
"""The quickstart has no users of the earliest of them."""
AT = "2024-04-01T09:30:00Z"


@dataclass(frozen=True, slots=True)
class Acted:
    """What came of the steps, in their order."""

    home: Path
    last: dict[str, Any]
    before: dict[str, Any]
    again: dict[str, Any]
    earlier: dict[str, Any]

    def calls(self, *words: str) -> int:
        """How often the command line was called with these words."""
        return sum(all(word in line.split() for word in words) for line in (self.home / "calls").read_text().splitlines())


def chronoserve(*words: str | Path) -> str:
    return subprocess.run(
        [sys.executable, "-P", "-m", "chronoserve", *words], check=True, capture_output=True, text=True, timeout=60
    ).stdout


def states(step: dict[str, Any], group_by: str) -> list[str]:
    """Of sensor, skip, job and load."""
    return [step["tasks"][task.format(group_by)]["state"] for task in TASKS]


@pytest.fixture(scope="module")
def acted(airflow: type[Environment], tmp_path_factory: pytest.TempPathFactory) -> Acted:
    home = tmp_path_factory.mktemp("acted")
    chronoserve("quickstart", "--no-stay", "--dir", home / "shop")
    folder = home / "shop/confs/production/group_bys/quickstart"
    broken = (folder / "users.v1").read_text().replace("users.v1", BROKEN).replace('"email_verified":', '"no_column":')
    (folder / BROKEN).write_text(broken.replace(': "email_verified"', ': "no_column"'))
    (home / "chronoserve").write_text(COMMAND.format(home=home, python=sys.executable))
    (home / "chronoserve").chmod(0o755)
    (home / "dags").mkdir()
    (home / "dags" / "chronon.py").write_text(DAG_FILE.format(home=home))
    steps: list[dict[str, Any]] = [
        {"dag": BATCH, "day": LAST},
        {"dag": BATCH, "day": BEFORE},
        {"dag": BATCH, "day": BEFORE, "left": {TASKS[2].format("purchases"): "running", TASKS[3].format("returns"): "up_for_retry"}},
        {"dag": BATCH, "day": LAST},
        {"dag": BATCH, "day": EARLIER},
    ]
    output(airflow, home, "-m", "airflow", "db", "migrate")
    script = Path(__file__).parent / "acted.py"
    last, before, again, earlier = json.loads(output(airflow, home, script, home / "dags", json.dumps(steps), seconds=280).splitlines()[-1])
    return Acted(home, last, before, again, earlier)


def test_a_day_goes_from_tables_to_features(acted: Acted) -> None:
    for group_by in GROUP_BYS:
        assert states(acted.last, group_by) == ["success"] * 4
    store = f"lmdb://{acted.home}/online"
    chronoserve("metadata-upload", acted.home / "shop/confs/production", "--store", store)
    words = ("fetch", "join", "quickstart/training_set.v1", "-k", "user_id=42", "--at", AT, "--json", "--store")
    ours, expected = (json.loads(chronoserve(*words, each)) for each in (store, f"lmdb://{acted.home}/shop/store"))
    assert ours == expected
    assert ours["features"]["quickstart_purchases_v1_price_last5"]


def test_a_day_that_was_overtaken_is_skipped(acted: Acted) -> None:
    for group_by in GROUP_BYS:
        assert states(acted.before, group_by) == ["success", "skipped", "skipped", "skipped"]
    assert acted.calls("run", BEFORE) == acted.calls("load", BEFORE) == 0


def test_a_day_waits_for_the_jobs_of_the_day_before(acted: Acted) -> None:
    for group_by in ("purchases", "returns"):
        assert states(acted.again, group_by) == ["success", "failed", "upstream_failed", "upstream_failed"]
    assert states(acted.again, "users") == ["success"] * 4


def test_a_partition_that_does_not_come_is_waited_for_until_the_time_is_over(acted: Acted) -> None:
    assert states(acted.earlier, "users") == ["failed", "upstream_failed", "upstream_failed", "upstream_failed"]
    assert acted.earlier["tasks"][TASKS[0].format("users")]["tries"] == 1
    assert acted.calls("partition", f"shop.users/ds={EARLIER}") > 1
    assert acted.calls("run", EARLIER, f"{acted.home}/shop/confs/production/group_bys/quickstart/users.v1") == 0


def test_a_job_that_fails_is_tried_once_more_and_nothing_is_loaded(acted: Acted) -> None:
    skip, job, load = (acted.last["tasks"][task.format("users").replace("users__v1", "broken__v1")] for task in TASKS[1:])
    assert [each["state"] for each in (skip, job, load)] == ["success", "failed", "upstream_failed"]
    assert job["tries"] == 2
    assert acted.calls("run", LAST, f"{acted.home}/shop/confs/production/group_bys/quickstart/{BROKEN}") == 2 * len(
        (acted.last, acted.again)
    )
    assert acted.last["state"] == "failed"


def test_an_upload_older_than_the_one_online_is_not_loaded(acted: Acted) -> None:
    for group_by in ("purchases", "returns"):
        assert states(acted.earlier, group_by) == ["success", "success", "success", "failed"]
        assert acted.earlier["tasks"][TASKS[3].format(group_by)]["tries"] == 2
