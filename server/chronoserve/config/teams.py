"""teams.json: what teams share and where they differ (spec/integration.md §2.1).

The file is read once and judged whole, so that a slip is named with its place before any job starts.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chronoserve.model.errors import InvalidRequest, UnknownConf

DEFAULT_TEAM = "default"
PRODUCTION = "production"
BYTES_MAX = 8 << 20

Variables = Mapping[str, str]

NOTHING: Variables = {}


@dataclass(frozen=True, slots=True)
class Team:
    """One object of the file. ``modes``: by context (``production``, ``dev``, …), then by mode, what a job's environment gets."""

    name: str
    namespace: str | None
    user: str | None
    table_properties: Mapping[str, str] | None
    common_env: Variables
    modes: Mapping[str, Mapping[str, Variables]]
    settings: Mapping[str, object]
    """Everything else, as ``airflow_queue`` or ``maintainer_emails``: orchestration reads it."""

    def mode(self, context: str, mode: str) -> Variables:
        """The variables of a mode in a context; empty where the file says nothing."""
        return self.modes.get(context, {}).get(mode, NOTHING)


@dataclass(frozen=True, slots=True)
class Teams:
    """The whole file. ``teams`` always holds ``default``."""

    path: Path
    teams: Mapping[str, Team]

    @property
    def default(self) -> Team:
        return self.teams[DEFAULT_TEAM]

    def team(self, name: str) -> Team:
        """A team by name; an empty one is ``default``. Raises UnknownConf, with the names that there are."""
        found = self.teams.get(name or DEFAULT_TEAM)
        if found is None:
            known = ", ".join(sorted(self.teams))
            raise UnknownConf(f"{self.path.name} has no team {name!r} (it has: {known}); add it, or move the conf to one of these folders")
        return found

    def namespace(self, team: str) -> str | None:
        """Where a team's tables are made: its own namespace, else the default's."""
        return self.team(team).namespace or self.default.namespace

    def table_properties(self, team: str) -> Mapping[str, str] | None:
        """A team's properties whole, else the default's: Chronon does not merge them."""
        own = self.team(team).table_properties
        return own if own is not None else self.default.table_properties


def load(path: Path) -> Teams:
    """Read and judge a teams.json.

    Raises:
        InvalidRequest: it cannot be read, is no JSON, or a key holds what it must not; the message names file and key.
    """
    try:
        if path.stat().st_size > BYTES_MAX:
            raise InvalidRequest(f"{path.name} has more than {BYTES_MAX >> 20} MiB; is it a teams.json?")
        parsed = json.loads(path.read_text(encoding="utf-8"))
    except OSError as unreadable:
        raise InvalidRequest(f"{path.name} cannot be read: {unreadable.strerror}; --repo names the folder that holds it") from unreadable
    except (ValueError, RecursionError) as broken:
        raise InvalidRequest(f"{path.name} is no JSON: {broken}") from broken
    judge = _Judge(path.name)
    teams = {name: judge.team(name, team) for name, team in judge.table(parsed, "the file").items()}
    teams.setdefault(DEFAULT_TEAM, judge.team(DEFAULT_TEAM, {}))
    return Teams(path, teams)


@dataclass(frozen=True, slots=True)
class _Judge:
    """Turns what the file says into ``Team``s, or names the key that is wrong."""

    file: str

    def team(self, name: str, given: object) -> Team:
        said = dict(self.table(given, name))
        return Team(
            name=name,
            namespace=self.text(said.pop("namespace", None), f"{name}.namespace"),
            user=self.text(said.pop("user", None), f"{name}.user"),
            table_properties=self.optional_texts(said.pop("table_properties", None), f"{name}.table_properties"),
            common_env=self.texts(said.pop("common_env", {}), f"{name}.common_env"),
            modes={key: self.context(said.pop(key), f"{name}.{key}") for key in list(said) if isinstance(said[key], dict)},
            settings=said,
        )

    def context(self, given: object, place: str) -> Mapping[str, Variables]:
        return {mode: self.texts(variables, f"{place}.{mode}") for mode, variables in self.table(given, place).items()}

    def texts(self, given: object, place: str) -> Variables:
        found = self.table(given, place)
        for key, value in found.items():
            if not isinstance(value, str):
                raise InvalidRequest(f"{self.file}: {place}.{key} must be a text: write {json.dumps(json.dumps(value))}")
        return {key: str(value) for key, value in found.items()}

    def optional_texts(self, given: object, place: str) -> Variables | None:
        return None if given is None else self.texts(given, place)

    def table(self, given: object, place: str) -> Mapping[str, object]:
        if not isinstance(given, dict):
            raise InvalidRequest(f'{self.file}: {place} must be an object, as {{"key": …}}')
        return given

    def text(self, given: object, place: str) -> str | None:
        if given is not None and not isinstance(given, str):
            raise InvalidRequest(f"{self.file}: {place} must be a text")
        return given
