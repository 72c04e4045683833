"""The modes of run.py: which confs they take, which subcommand of the driver they are, who starts it (spec/integration.md §4.2)."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from chronoserve.model.errors import InvalidRequest

GROUP_BYS, JOINS, STAGING_QUERIES = "group_bys", "joins", "staging_queries"


class Runner(enum.Enum):
    """Who starts the driver."""

    SUBMIT = "submit"
    STREAMING_SUBMIT = "streaming submit"
    JAVA = "java"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """``subcommands``: the driver's subcommand by kind of conf. The flags say which arguments the command line gets."""

    subcommands: Mapping[str, str]
    runner: Runner = Runner.SUBMIT
    conf: bool = True
    end_date: bool = True
    online: bool = False
    flags: str = ""


def _same(subcommand: str, *kinds: str) -> Mapping[str, str]:
    return dict.fromkeys(kinds, subcommand)


def _of_join(subcommand: str) -> Mode:
    return Mode(subcommands={JOINS: subcommand})


MODES: Mapping[str, Mode] = {
    "backfill": Mode(subcommands={GROUP_BYS: "group-by-backfill", JOINS: "join", STAGING_QUERIES: "staging-query-backfill"}),
    "backfill-left": _of_join("join-left"),
    "backfill-final": _of_join("join-final"),
    "upload": Mode(subcommands={GROUP_BYS: "group-by-upload"}),
    "streaming": Mode(subcommands={GROUP_BYS: "group-by-streaming"}, runner=Runner.STREAMING_SUBMIT, end_date=False, online=True),
    "local-streaming": Mode(subcommands={GROUP_BYS: "group-by-streaming"}, runner=Runner.JAVA, end_date=False, online=True, flags=" -d"),
    "metadata-upload": Mode(subcommands=_same("metadata-upload", GROUP_BYS, JOINS), runner=Runner.JAVA, end_date=False, online=True),
    "fetch": Mode(subcommands=_same("fetch", GROUP_BYS, JOINS), runner=Runner.JAVA, conf=False, end_date=False, online=True),
    "consistency-metrics-compute": _of_join("consistency-metrics-compute"),
    "compare": _of_join("compare-join-query"),
    "stats-summary": _of_join("stats-summary"),
    "log-summary": _of_join("log-summary"),
    "log-flattener": _of_join("log-flattener"),
    "label-join": _of_join("label-join"),
    "analyze": Mode(subcommands=_same("analyze", GROUP_BYS, JOINS)),
    "metadata-export": Mode(subcommands=_same("metadata-export", GROUP_BYS, JOINS, STAGING_QUERIES)),
    "model-transform-batch": Mode(subcommands={JOINS: "model-transform-batch"}, online=True),
    "info": Mode(subcommands=_same("info", GROUP_BYS, JOINS, STAGING_QUERIES), runner=Runner.INFO),
}


def subcommand(mode: str, kind: str, conf: str | None) -> str:
    """The driver's subcommand for a mode and a kind of conf. Raises InvalidRequest with the modes that the kind has."""
    found = MODES[mode].subcommands.get(kind)
    if found is None:
        known = ", ".join(name for name, each in MODES.items() if kind in each.subcommands)
        what = f"{conf}, which is of {kind}" if conf else kind
        raise InvalidRequest(f"mode {mode} does not fit {what}; " + (f"choose from: {known}" if known else "no mode takes these"))
    return found
