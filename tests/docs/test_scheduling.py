"""docs/operating/scheduling.md: what cron and systemd run, on the quickstart's tables. Other schedulers: tests/conformance/scheduling."""

import fcntl
import re
import shlex
from pathlib import Path

import pytest

from tests.docs.scheduling import DAY, NEVER, Srv, crontab


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Srv:
    srv = Srv.made(tmp_path_factory.mktemp("srv"))
    script = srv.place / "chronon/upload.sh"
    script.write_text(srv.block("sh"))
    script.chmod(0o755)
    return srv


@pytest.fixture
def srv(made: Srv) -> Srv:
    made.today(DAY)
    made.calls()
    return made


def test_the_two_commands(srv: Srv) -> None:
    settings = {"CHRONOSERVE_WAREHOUSE": f"{srv.place}/warehouse", "CHRONON_ONLINE_ARGS": f"-Zstore=lmdb://{srv.place}/online"}
    done = srv.run(["sh", "-ec", srv.block("bash")], settings)
    assert done.returncode == 0, done.stderr
    assert "landed" in done.stdout
    assert srv.end_of_upload("purchases") == "2024-04-01"


def test_cron_does_a_day_once(srv: Srv) -> None:
    env, (users, returns, sweep) = crontab(srv.block("crontab"))
    for command, group_by in ((users, "users"), (returns, "returns")):
        assert srv.end_of_upload(group_by) is None
        done = srv.run(["sh", "-c", command], env)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), "nothing is mailed"
        assert srv.end_of_upload(group_by) == "2024-04-01"
    assert [call[0] for call in srv.calls()] == ["partition", "run", "partition", "run"]

    assert srv.run(["sh", "-c", users], env).returncode == 0
    assert srv.calls() == [], "it is done"
    assert srv.run(["sh", "-c", sweep], env).returncode == 0


def test_cron_waits_for_a_partition_without_a_word(srv: Srv) -> None:
    env, (users, *_) = crontab(srv.block("crontab"))
    srv.today(NEVER)
    done = srv.run(["sh", "-c", users], env)
    assert (done.returncode, done.stdout) == (0, "")
    assert [call[0] for call in srv.calls()] == ["partition"]


def test_cron_mails_what_fails(srv: Srv) -> None:
    env, (users, *_) = crontab(srv.block("crontab"))
    srv.today(NEVER)
    done = srv.run(["sh", "-c", users], env | {"CHRONOSERVE_WAREHOUSE": "hive://127.0.0.1:1"})
    assert "does not answer" in done.stdout
    assert [call[0] for call in srv.calls()] == ["partition"]


def test_cron_leaves_a_run_under_way_alone(srv: Srv) -> None:
    env, (users, *_) = crontab(srv.block("crontab"))
    srv.today(NEVER)
    with (srv.place / "chronon/users.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert srv.run(["sh", "-c", users], env).returncode == 0
    assert srv.calls() == []


def test_systemd_starts_an_instance(srv: Srv) -> None:
    unit, timer = srv.block("systemd", 0), srv.block("systemd", 1)
    env = dict(word.split("=", 1) for line in re.findall(r"^Environment=(.*)$", unit, re.MULTILINE) for word in shlex.split(line))
    (command,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    done = srv.run(shlex.split(command.replace("%i", "purchases.v1")), env)
    assert done.returncode == 0, done.stderr
    assert srv.calls()[-1][:5] == ["run", "--env", "production", "--mode", "upload"]
    assert srv.end_of_upload("purchases") == "2024-04-01"
    assert Path(srv.place / f"chronon/done/purchases.v1-{DAY}").exists()
    for section in ("[Unit]", "[Service]", "Type=oneshot"):
        assert section in unit
    assert "OnCalendar=*:0/10" in timer
