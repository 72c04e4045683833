"""The examples of docs/operating/scheduling.md, in a folder that has what they expect of ``/srv``: the quickstart's tables and confs."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.docs.test_examples import COMMAND, blocks

DOCUMENT = "docs/operating/scheduling.md"
DAY, NEVER = "2024-03-31", "2030-01-01"
"""The last day of the quickstart's tables, and one that they do not have."""
SECONDS = 240


@dataclass(frozen=True, slots=True)
class Srv:
    """``/srv`` somewhere else. Commands find ``bin`` first: yesterday is ``DAY`` there, and calls of chronoserve are written down."""

    place: Path

    @classmethod
    def made(cls, place: Path) -> "Srv":
        subprocess.run([*COMMAND, "quickstart", "--no-stay", "--dir", place / "shop"], check=True, capture_output=True, timeout=SECONDS)
        (place / "shop/confs").rename(place / "chronon")
        (place / "shop/warehouse").rename(place / "warehouse")
        srv = cls(place)
        srv.program("chronoserve", f'echo "$@" >> {place}/calls\nexec {shlex.join(COMMAND)} "$@"')
        srv.today(DAY)
        return srv

    def program(self, name: str, script: str) -> None:
        (self.place / "bin").mkdir(exist_ok=True)
        path = self.place / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def today(self, yesterday: str) -> None:
        """``date -d yesterday`` prints this."""
        self.program("date", f"echo {yesterday}")

    def block(self, language: str, number: int = 0) -> str:
        """An example as it would be written for this folder."""
        text = blocks(DOCUMENT, language)[number]
        return text.replace("/srv/", f"{self.place}/").replace("/usr/local/bin:", f"{self.place}/bin:").replace('"/srv', f'"{self.place}')

    def env(self, more: Mapping[str, str]) -> dict[str, str]:
        """No more than a scheduler gives, and where Python is."""
        return {"PATH": f"{self.place}/bin:{os.environ['PATH']}", "HOME": str(self.place), **more}

    def run(self, words: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, env=self.env(env), cwd=self.place / "chronon", capture_output=True, text=True, timeout=SECONDS, check=False
        )

    def calls(self) -> list[list[str]]:
        """The words of every call of chronoserve since the last look."""
        path = self.place / "calls"
        found = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    def end_of_upload(self, group_by: str) -> str | None:
        """Until when the upload that is online goes; None: there is none."""
        dataset = f"QUICKSTART_{group_by.upper()}_V1_BATCH"
        words = [*COMMAND, "kv", "get", dataset, "group_by_serving_info", "--store", f"lmdb://{self.place}/online", "--json"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
        found = json.loads(done.stdout)["values"] if done.returncode == 0 and done.stdout else []
        return str(json.loads(found[-1]["value"])["batchEndDate"]) if found else None


def crontab(text: str) -> tuple[dict[str, str], list[str]]:
    """A crontab's settings and commands; ``\\%`` is cron's way to write ``%``."""
    env, commands = {}, []
    for line in text.splitlines():
        if setting := re.fullmatch(r"([A-Z_]+)=(.*)", line):
            env[setting[1]] = setting[2]
        elif line:
            schedule = line.split(None, 5)
            assert all(re.fullmatch(r"[\d*/,-]+", each) for each in schedule[:5]), line
            assert not re.search(r"(?<!\\)%", schedule[5]), "cron takes a bare % for a new line"
            commands.append(schedule[5].replace(r"\%", "%"))
    return env, commands
