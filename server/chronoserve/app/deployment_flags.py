"""What ``serve --api``, ``-Z`` and ``--teams`` say, in the shape of the configuration."""

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from chronoserve.model.errors import InvalidRequest

SETTING = re.compile(r"([^=\s]+)=(.*)", re.DOTALL)
ONLINE_ARGS = "CHRONON_ONLINE_ARGS"


def deployment_overrides(api: str | None, given: Iterable[str], teams: Path | None) -> dict[str, Any]:
    """``given``: ``KEY=VALUE`` of each ``-Z``; they win over those of the teams' CHRONON_ONLINE_ARGS.

    Variables of the default team's ``common_env`` that the environment lacks are set in it, so that ``${NAME}`` finds them.

    Raises:
        InvalidRequest: a setting has no value, or teams.json is not right.
    """
    shared = _adopted(teams) if teams is not None else {}
    conf = {**_settings_of(shlex.split(shared.get(ONLINE_ARGS, ""))), **dict(map(_setting, given))}
    return {**({"api": api} if api else {}), **({"api_conf": conf} if conf else {})}


def _adopted(teams: Path) -> Mapping[str, str]:
    from chronoserve.config.teams import load

    shared = load(teams).default.common_env
    for name, value in shared.items():
        os.environ.setdefault(name, value)
    return shared


def _settings_of(words: Iterable[str]) -> dict[str, str]:
    """Those of ``-Zkey=value``; what else is there is for Chronon's own jars."""
    return dict(_setting(word.removeprefix("-Z")) for word in words if word.startswith("-Z"))


def _setting(text: str) -> tuple[str, str]:
    found = SETTING.fullmatch(text)
    if found is None:
        raise InvalidRequest(f"-Z takes KEY=VALUE; got {text.partition('=')[0]!r} without one")
    return found[1], found[2]
