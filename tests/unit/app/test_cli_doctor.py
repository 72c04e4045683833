"""``chronoserve doctor``: findings, what to do about them, and the exit code."""

import socket
from pathlib import Path

import pytest

from chronoserve.app import checks
from chronoserve.app.checks import Finding, Status, within
from chronoserve.app.compiling.environment import VARIABLE
from tests.unit.app.compiling.fake import environment
from tests.unit.app.shell import Answer, RunningServer, run, run_process


def findings(answer: Answer) -> dict[str, tuple[str, str, str]]:
    """Status, finding and advice by check; of several under one name the worst."""
    found: dict[str, tuple[str, str, str]] = {}
    for each in answer.objects:
        if "check" in each and found.get(each["check"], ("ok",))[0] != "fail":
            found[each["check"]] = (each["status"], each["found"], each["advice"])
    return found


def test_a_sound_machine_passes_and_nothing_is_made(tmp_path: Path) -> None:
    answer = run_process("doctor", "--store", f"lmdb://{tmp_path}/store")
    assert answer.code == 0, answer.out
    assert "grpcio" in answer.out
    assert "made at the first start" in answer.out
    assert "limits.keys_per_call_max = 10000" in answer.out
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_asked(tmp_path: Path) -> None:
    url = f"lmdb://{tmp_path}/store"
    run("kv", "create", "D", "--store", url)
    status, found, _ = findings(run("doctor", "--store", url, "--json"))["store default"]
    assert status in {"ok", "warn"}
    assert "1 dataset, answers" in found


def test_a_store_that_does_not_answer_fails_without_its_secret() -> None:
    answer = run("doctor", "--store", "redis://user:hunter2@127.0.0.1:1", "--json")
    assert answer.code == 1
    assert findings(answer)["store default"][0] == "fail"
    assert "hunter2" not in answer.out + answer.err
    assert "redis://user:***@127.0.0.1:1" in answer.out


def test_whether_confs_can_be_compiled_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHRONOSERVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(VARIABLE, raising=False)
    assert checks.compiling().status is Status.OK, "a server needs none"
    assert "chronoserve compile --install" in checks.compiling().found
    monkeypatch.setenv(VARIABLE, str(environment(tmp_path / "chronon", "")))
    assert checks.compiling() == checks.ok("compile", f"chronon-ai 0.0.0 in {tmp_path}/chronon")
    (tmp_path / "chronon" / "bin" / "python").chmod(0o644)
    assert (checks.compiling().status, "has no chronon-ai" in checks.compiling().found) == (Status.WARN, True)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    status, found, advice = findings(run("doctor", "--store", "memory://", "--json"))["compile"]
    assert (status, "no virtual environment" in found, "--install" in advice) == ("warn", True, True)


def test_an_unknown_engine_fails() -> None:
    status, found, _ = findings(run("doctor", "--store", "nosuch://x", "--json"))["store default"]
    assert (status, "no store serves nosuch://" in found) == ("fail", True)


def test_a_file_where_the_folder_should_be_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, found, _ = findings(run("doctor", "--store", f"lmdb://{tmp_path}/file", "--json"))["store default"]
    assert (status, "no folder that this user can write to" in found) == ("fail", True)


def test_a_broken_configuration_fails(tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text("[stores.main]\nurl = 'memory://'\n[limits]\nkeys = 5\n")
    answer = run("doctor", "--config", config, "--json")
    assert answer.code == 1
    assert "keys" in findings(answer)["configuration"][1]
    assert not any("configuration" in each for each in answer.objects)


def test_what_a_configuration_means_is_told(tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text(
        "listen = ['0.0.0.0:0']\nhttp = '127.0.0.1:0'\nbulk_roots = ['/no/such/folder']\n[stores.main]\nurl = 'memory://'\n"
        "[tls]\ncertificate = '/no/such.pem'\nkey = '/no/such.key'\n[auth.tokens]\n" + "ab" * 32 + " = 'me'\n"
    )
    answer = run("doctor", "--config", config, "--json")
    told = findings(answer)
    assert {name: told[name][0] for name in ("tls", "auth", "bulk_roots")} == {"tls": "fail", "auth": "warn", "bulk_roots": "warn"}
    assert all(advice for status, _, advice in told.values() if status != "ok")
    assert "ab" * 32 not in answer.out


def test_an_open_address_is_warned_of(tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text("listen = ['0.0.0.0:0']\nhttp = '127.0.0.1:0'\n[stores.main]\nurl = 'memory://'\n")
    told = [each["found"] for each in run("doctor", "--config", config, "--json").objects if each.get("check") == "listen"]
    assert told == ["other machines can connect, without TLS", "other machines can connect, and everybody may do everything"]


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config = tmp_path / "server.toml"
        config.write_text(f"listen = ['{address}', 'unix:{tmp_path}/socket', 'unix:/no/folder/socket']\n[stores.main]\nurl = 'memory://'\n")
        told = findings(run("doctor", "--config", config, "--json"))
    assert told[f"listen {address}"][0] == "warn"
    assert told[f"listen unix:{tmp_path}/socket"][0] == "ok"
    assert told["listen unix:/no/folder/socket"][0] == "fail"


def test_a_running_server_is_asked(server: RunningServer) -> None:
    answer = run("doctor", "--server", server.address, "--http", server.http, "--json")
    assert answer.code == 0, answer.out
    told = findings(answer)
    assert "default (lmdb)" in told[f"server {server.address}"][1]
    assert told[f"admin {server.http}"] == ("ok", "clocks agree within 2 s", "")
    assert not any(name.startswith(("store", "listen")) for name in told)


def test_a_server_that_is_not_there_fails() -> None:
    answer = run("doctor", "--server", "127.0.0.1:1", "--http", "127.0.0.1:1", "--json")
    assert answer.code == 1
    told = findings(answer)
    assert (told["server 127.0.0.1:1"][0], told["admin 127.0.0.1:1"][0]) == ("fail", "warn")


@pytest.mark.parametrize(("ahead", "status"), [(0.0, Status.OK), (-10.0, Status.WARN), (10.0, Status.WARN), (100.0, Status.FAIL)])
def test_clocks_are_compared(ahead: float, status: Status) -> None:
    finding = checks._skew("admin", "Tue, 14 Nov 2023 22:13:20 GMT", 1_700_000_000.5 - ahead, 60.0)
    assert finding.status is status


@pytest.mark.parametrize(
    ("version", "bounds", "fits"),
    [
        ("1.75.1", ">=1.75.1,<1.79", True),
        ("1.79.0", ">=1.75.1,<1.79", False),
        ("1.9", ">=1.75.1", False),
        ("2.0rc1", ">=2", True),
        ("13.0.0", ">=13", True),
        ("5", "", True),
    ],
)
def test_versions_are_held_against_their_bounds(version: str, bounds: str, *, fits: bool) -> None:
    assert within(version, bounds) is fits


def test_a_missing_package_says_what_to_install() -> None:
    assert checks._package("no-such-package>=1.2") == Finding(
        "no-such-package", Status.FAIL, "not installed", "pip install 'no-such-package>=1.2'"
    )
    assert checks._package("click>=1000").status is Status.FAIL
    assert checks._package("click[extra]>=8; python_version > '3'").status is Status.OK
