"""Jobs that need no jar: upload, metadata-upload and fetch as our own verbs, where no Chronon jar is named.

Arguments keep run.py's form. ``-Zstore=URL`` or ``-Zserver=HOST:PORT`` among the online arguments say where values go and
come from; ``--online-jar`` and ``--online-class`` are accepted and mean nothing here. A jar that is named runs the job, as ever.
"""

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from chronoserve.app.run import jobs
from chronoserve.app.run.command import Arguments
from chronoserve.model.errors import InvalidRequest, Unsupported

PROGRAM: Final = (sys.executable, "-P", "-m", "chronoserve")
UPLOAD = "upload"
BULK_LOAD = "--bulk-load"
WAREHOUSE = "CHRONOSERVE_WAREHOUSE"
LATER: Final = frozenset({"streaming", "local-streaming"})


def is_native(arguments: Arguments) -> bool:
    """Whether no jar runs the job, and we can, or can say that we cannot yet."""
    return not arguments.jar and (arguments.mode in _WORDS or arguments.mode in LATER)


def words(arguments: Arguments) -> list[str]:
    """The verb and its words.

    Raises:
        InvalidRequest: something is missing, or means nothing for a native job.
        Unsupported: there is no native job for the mode yet.
    """
    if arguments.mode in LATER:
        raise Unsupported(
            f"mode {arguments.mode} is not native yet: name Chronon's jar by --chronon-jar or CHRONON_DRIVER_JAR, which runs it on Spark"
        )
    if arguments.sub_help:
        return [arguments.mode, "--help"]
    return _WORDS[arguments.mode](arguments)


def run(arguments: Arguments, environment: Mapping[str, str]) -> int:
    """The exit code of the job, which is a process of its own with the job's environment. Raises as ``words`` does."""
    command = words(arguments)
    click.echo(shlex.join(["chronoserve", *command]))
    return jobs.call([*PROGRAM, *command], environment)


def load_words(arguments: Arguments) -> list[str]:
    """Those of ``load`` after an upload that a jar has run. Raises InvalidRequest where no store is named."""
    _, rest = without_bulk_load(arguments.rest)
    place = _placed(rest, online(arguments.online_args))
    if "--store" not in place:
        raise InvalidRequest(f"{BULK_LOAD} needs a store: --store URL, or -Zstore=URL among the online arguments")
    at = place.index("--store")
    return ["load", "--conf", _conf(arguments), "--partition", arguments.end_ds or arguments.ds, *place[at : at + 2]]


def without_bulk_load(rest: Sequence[str]) -> tuple[bool, tuple[str, ...]]:
    """Whether an upload is to be loaded, and the arguments without saying so."""
    return BULK_LOAD in rest, tuple(word for word in rest if word != BULK_LOAD)


def for_the_driver(rest: Sequence[str]) -> tuple[str, ...]:
    """The arguments without those of a load, which the driver does not know."""
    _, kept = without_bulk_load(rest)
    if "--store" not in kept:
        return kept
    at = kept.index("--store")
    return kept[:at] + kept[at + 2 :]


def online(text: str) -> dict[str, str]:
    """The ``-Zkey=value`` pairs of the online arguments.

    Raises:
        InvalidRequest: a pair has no ``=``.
    """
    found = {}
    for word in text.split():
        if word.startswith("-Z"):
            key, equals, value = word[2:].partition("=")
            if not equals:
                raise InvalidRequest(f"{word} among the online arguments is no -Zkey=value")
            found[key] = value
    return found


def _upload(arguments: Arguments) -> list[str]:
    if arguments.start_ds:
        raise InvalidRequest("an upload is of one day: give it as --ds")
    load, rest = without_bulk_load(arguments.rest)
    given = ["upload", "--conf", _conf(arguments), "--ds", arguments.end_ds or arguments.ds]
    place = _placed(rest, online(arguments.online_args)) if load else list(rest)
    return [*given, *place, *([BULK_LOAD] if load else [])]


def _metadata_upload(arguments: Arguments) -> list[str]:
    return ["metadata-upload", _conf(arguments), *_placed(arguments.rest, online(arguments.online_args))]


def _fetch(arguments: Arguments) -> list[str]:
    rest = _placed(arguments.rest, online(arguments.online_args))
    return ["fetch", *rest]


_WORDS: Final[Mapping[str, Callable[[Arguments], list[str]]]] = {UPLOAD: _upload, "metadata-upload": _metadata_upload, "fetch": _fetch}


def _placed(rest: Sequence[str], pairs: Mapping[str, str]) -> list[str]:
    """The arguments, with the place that the online arguments name where they name none themselves."""
    if "--store" in rest or "--server" in rest:
        return list(rest)
    return [*rest, *(word for name in ("store", "server") if name in pairs for word in (f"--{name}", pairs[name]))]


def _conf(arguments: Arguments) -> str:
    """Where the conf is: as it is given, or below the repository."""
    if not arguments.conf:
        raise InvalidRequest(f"mode {arguments.mode} needs --conf")
    given, below = Path(arguments.conf), Path(arguments.repo) / arguments.conf
    return str(given if given.exists() or not below.exists() else below)
