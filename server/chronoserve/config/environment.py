"""Which environment a job of Chronon gets, and from where each variable comes (spec/integration.md §2.2).

The order, first one wins: the process's own environment; the conf's ``modeToEnvMap``; the team in the given context;
the team in production; the default team in production; ``default.common_env``; what the arguments imply.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chronoserve.config.teams import NOTHING, PRODUCTION, Teams, Variables
from chronoserve.model import naming
from chronoserve.model.errors import InvalidRequest

STREAMING = "streaming"
MODES_WITH_ADDITIONAL_ARGS = frozenset({"backfill", "backfill-left", "backfill-final", "upload", "model-transform-batch"})
"""Modes whose driver gets ``customJson.additional_args``."""

ADDITIONAL_ARGS = "CHRONON_CONFIG_ADDITIONAL_ARGS"
CONF_BYTES_MAX = 64 << 20


@dataclass(frozen=True, slots=True)
class Setting:
    """One variable with the place that it comes from, as ``team_a.production.backfill``."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True)
class ConfPlace:
    """A conf's path taken apart: ``…/production/joins/team/name`` (the last four segments)."""

    path: str
    kind: str
    team: str
    name: str

    @classmethod
    def of(cls, path: str) -> "ConfPlace":
        """Raises InvalidRequest where the path has too few segments to say kind and team."""
        segments = path.split("/")[-4:]
        if len(segments) < 4:
            raise InvalidRequest(f"{path} does not say which team it is of: give it as production/group_bys/<team>/<name>")
        _, kind, team, name = segments
        return cls(path, kind, team, name)


@dataclass(frozen=True, slots=True)
class Conf:
    """A compiled conf as far as running jobs needs it: its ``metaData``."""

    meta_data: Mapping[str, object]

    @property
    def name(self) -> str:
        return str(self.meta_data.get("name", ""))

    def mode_env(self, mode: str) -> Variables:
        """What ``metaData.modeToEnvMap`` says for the mode."""
        modes = self.meta_data.get("modeToEnvMap")
        found = modes.get(mode, NOTHING) if isinstance(modes, dict) else NOTHING
        return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else NOTHING

    def additional_args(self, mode: str) -> str | None:
        """The driver's further arguments; None where the mode takes none or ``customJson`` is empty."""
        custom = self.meta_data.get("customJson")
        if mode not in MODES_WITH_ADDITIONAL_ARGS or not isinstance(custom, str) or custom.strip() in ("", "{}"):
            return None
        given = naming.custom(custom, "additional_args")
        return " ".join(map(str, given)) if isinstance(given, list) else ""


def read_conf(path: Path) -> Conf:
    """Raises InvalidRequest where the file is no compiled conf."""
    try:
        if path.stat().st_size > CONF_BYTES_MAX:
            raise InvalidRequest(f"{path} has more than {CONF_BYTES_MAX >> 20} MiB; is it a compiled conf?")
        parsed = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as broken:
        raise InvalidRequest(f"{path} cannot be read as a compiled conf (JSON with metaData): {type(broken).__name__}") from broken
    if not isinstance(parsed, dict) or not isinstance(parsed.get("metaData"), dict):
        raise InvalidRequest(f"{path} is no compiled conf: it has no metaData; compile it first")
    return Conf(parsed["metaData"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the arguments of ``run`` say of a job."""

    mode: str | None
    env: str
    repo: str
    conf: str | None
    implied: Mapping[str, str | None]
    """Variables that arguments imply, as CHRONON_DRIVER_JAR; None: the argument was not given."""


def effective_mode(mode: str | None) -> str | None:
    """Every kind of streaming is looked up as ``streaming``."""
    return STREAMING if mode and STREAMING in mode else mode


def app_name(job: Job, place: ConfPlace | None, conf: Conf | None) -> str:
    """What the job is called on the cluster."""
    mode = effective_mode(job.mode) or ""
    if place is not None and conf is not None:
        return f"chronon_{place.kind}_{mode}_{job.env}_{conf.name}"
    kind = f"{place.kind}_" if place else ""
    return f"chronon_{kind}{mode.replace('-', '_')}"


def resolve(job: Job, teams: Teams | None, process: Mapping[str, str]) -> list[Setting]:
    """Every variable that the job's environment gets beyond the process's own, and those of its own that win, sorted by name.

    Raises:
        InvalidRequest: the conf's path or text is not what it must be.
        UnknownConf: teams.json does not know the conf's team.
    """
    found: dict[str, Setting] = {}
    for origin, variables in _layers(job, teams):
        for name, value in variables.items():
            if name not in found:
                found[name] = Setting(name, process[name], "the process's environment") if name in process else Setting(name, value, origin)
    return [found[name] for name in sorted(found)]


def _layers(job: Job, teams: Teams | None) -> Sequence[tuple[str, Variables]]:
    """The places of the order above but the first, with what they say."""
    mode = effective_mode(job.mode)
    place = ConfPlace.of(job.conf) if job.conf and mode else None
    conf = read_conf(Path(job.conf)) if job.conf and Path(job.conf).is_file() else None
    layers: list[tuple[str, Variables]] = []
    if conf is not None and mode and teams is not None:
        layers += _of_conf(conf, mode)
    if teams is not None and place is not None and mode:
        layers += _of_teams(teams, place.team, job.env, mode)
    if teams is not None:
        layers.append(("default.common_env", teams.default.common_env))
    layers.append(("the arguments", _implied(job, place, conf)))
    return layers


def _of_conf(conf: Conf, mode: str) -> list[tuple[str, Variables]]:
    additional = conf.additional_args(mode)
    layers: list[tuple[str, Variables]] = (
        [("the conf's customJson.additional_args", {ADDITIONAL_ARGS: additional})] if additional is not None else []
    )
    return [*layers, (f"the conf's modeToEnvMap.{mode}", conf.mode_env(mode))]


def _of_teams(teams: Teams, team: str, env: str, mode: str) -> list[tuple[str, Variables]]:
    own = teams.team(team)
    return [
        (f"{own.name}.{env}.{mode}", own.mode(env, mode)),
        (f"{own.name}.{PRODUCTION}.{mode}", own.mode(PRODUCTION, mode)),
        (f"default.{PRODUCTION}.{mode}", teams.default.mode(PRODUCTION, mode)),
    ]


def _implied(job: Job, place: ConfPlace | None, conf: Conf | None) -> Variables:
    implied = {name: value for name, value in job.implied.items() if value is not None}
    implied["APP_NAME"] = app_name(job, place, conf)
    if job.conf:
        implied["CHRONON_CONF_PATH"] = f"{job.repo}/{job.conf}"
    return implied
