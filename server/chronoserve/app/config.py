"""``chronoserve config``: what teams.json and the environment come to for a job."""

import os
from typing import Any

import click

from chronoserve.app.run.cli import settle
from chronoserve.app.run.modes import MODES
from chronoserve.app.terminal import Item, Screen

COLUMNS = ("setting", "value", "from")


@click.group()
def config() -> None:
    """Where each setting of a job comes from."""


@config.command()
@click.option("--conf", metavar="PATH", help="A compiled conf, as production/joins/<team>/<name>.")
@click.option("--mode", type=click.Choice(list(MODES)), default="backfill", show_default=True)
@click.option("--env", default="dev", show_default=True, help="Context in teams.json.")
@click.option("--repo", metavar="DIR", help="Folder of teams.json.  [env: CHRONON_REPO_PATH; default: .]")
@click.option("--json", "json_lines", is_flag=True, help="One JSON object a line.")
def explain(*, json_lines: bool, **given: Any) -> None:
    """Each variable that a job's environment gets, with its place of origin; values that look secret are hidden."""
    asked = {"chronon_jar": None, "online_jar": None, "online_class": None, **given}
    found = settle(asked, dict(os.environ))
    Screen(json_lines=json_lines).show(COLUMNS, [_item(each.name, redacted(each.name, each.value), each.origin) for each in found])


def _item(name: str, value: str, origin: str) -> Item:
    return Item({"name": name, "value": value, "origin": origin}, [(name, value, origin)])


SECRET_WORDS = ("PASSWORD", "SECRET", "TOKEN", "CREDENTIAL", "_KEY")


def redacted(name: str, value: str) -> str:
    """``value``, or dots where its name or a ``-Zname=`` in it says that it is secret."""
    if any(word in name.upper() for word in SECRET_WORDS):
        return "•••"
    return " ".join(_redacted_pair(word) for word in value.split(" "))


def _redacted_pair(word: str) -> str:
    name, equals, _ = word.partition("=")
    secret = equals and any(each in name.upper() for each in SECRET_WORDS)
    return f"{name}=•••" if secret else word
