"""Help is quick: it imports nothing that only a verb needs."""

import subprocess
import sys

import pytest

from tests.unit.app.shell import run

HEAVY = {"grpc", "rich", "lmdb", "asyncio", "msgspec", "google.protobuf"}


def test_help_names_every_verb() -> None:
    out = run("--help").out
    assert all(f"\n  {verb} " in out for verb in ("bench", "demo", "doctor", "kv", "serve"))


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom chronoserve.app.cli import main\n"
        "main(['--help'], standalone_mode=False)\nprint(' '.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stderr.split())


@pytest.mark.parametrize(
    "words",
    [
        ["kv"],
        ["bench"],
        ["compile"],
        ["demo"],
        ["doctor"],
        *(["kv", verb] for verb in ("get", "put", "multi-get", "multi-put", "bulk-put")),
    ],
)
def test_every_verb_has_help(words: list[str]) -> None:
    answer = run(*words, "--help")
    assert answer.code == 0
    assert "Usage: " in answer.out


def test_an_unknown_verb_is_wrong_usage() -> None:
    assert run("nosuch").code == 2
