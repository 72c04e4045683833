"""The command lines that run.py builds, to the letter (golden/quickstart/run_commands.json)."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from chronoserve.app.run.modes import MODES, Runner, subcommand
from chronoserve.config.environment import ADDITIONAL_ARGS, ConfPlace
from chronoserve.model.errors import InvalidRequest

DRIVER = "ai.chronon.spark.Driver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What ``run`` was asked, with the defaults that the environment gives filled in."""

    mode: str
    conf: str | None
    env: str
    ds: str
    start_ds: str | None
    end_ds: str | None
    parallelism: int
    repo: str
    conf_type: str
    jar: str | None
    online_jar: str | None
    online_class: str | None
    online_args: str
    submit_script: str
    streaming_script: str
    list_apps: str
    render_script: str
    sub_help: bool
    rest: Sequence[str]
    """Arguments that are none of ours: they go to the driver unchanged."""

    @property
    def kind(self) -> str:
        """The kind of conf that is routed by."""
        return ConfPlace.of(self.conf).kind if self.conf else self.conf_type

    @property
    def runs_online(self) -> bool:
        return MODES[self.mode].online


def driver_arguments(arguments: Arguments, environment: Mapping[str, str]) -> str:
    """What follows the subcommand. The spaces are Chronon's own."""
    if arguments.sub_help:
        return "--help"
    mode = MODES[arguments.mode]
    given = "".join(
        (
            f"--conf-path={arguments.conf} " if mode.conf else "",
            f"--end-date={arguments.end_ds or arguments.ds} " if mode.end_date else "",
            f"--online-jar={arguments.online_jar} --online-class={arguments.online_class} " if mode.online else "",
        )
    )
    override = f"--start-partition-override={arguments.start_ds}" if arguments.start_ds else ""
    last = (override, environment.get(ADDITIONAL_ARGS, ""), arguments.online_args if mode.online else "")
    return " ".join([given + mode.flags, " ".join(arguments.rest), " ".join(filter(None, last))]).rstrip()


def command_line(arguments: Arguments, environment: Mapping[str, str]) -> str:
    """The whole command as one text.

    Raises:
        InvalidRequest: the mode does not fit the conf, or needs a jar and has none.
    """
    runner = MODES[arguments.mode].runner
    if runner is Runner.INFO:
        subcommand(arguments.mode, arguments.kind, arguments.conf)
        return f"python3 {arguments.render_script} --conf {arguments.conf} --ds {arguments.ds} --repo {arguments.repo}"
    action = subcommand(arguments.mode, arguments.kind, arguments.conf)
    if arguments.jar is None:
        raise InvalidRequest(f"mode {arguments.mode} runs Chronon's jar on Spark: name it by --chronon-jar or CHRONON_DRIVER_JAR")
    tail = f"{action} {driver_arguments(arguments, environment)}"
    if runner is Runner.JAVA:
        return f"java -cp {arguments.jar} {DRIVER} {tail}"
    script = arguments.streaming_script if runner is Runner.STREAMING_SUBMIT else arguments.submit_script
    return f"bash {script} --class {DRIVER} {arguments.jar} {tail}"


def words(command: str) -> list[str]:
    """The command as run.py starts it: split at white space, quotes mean nothing to it."""
    return command.split()


def shown(command: str) -> str:
    """The command for a person's shell."""
    return shlex.join(words(command))


def ranges(arguments: Arguments) -> list[Arguments]:
    """The runs that ``--parallelism`` makes of one: the days split evenly, the last range takes the rest.

    Raises:
        InvalidRequest: a range is needed and not given, or its ends are no dates.
    """
    if arguments.parallelism <= 1:
        return [arguments]
    if not arguments.start_ds or not arguments.end_ds:
        raise InvalidRequest("--parallelism needs --start-ds and --end-ds: they are what is split")
    first, last = _day(arguments.start_ds, "--start-ds"), _day(arguments.end_ds, "--end-ds")
    days = (last - first).days + 1
    if days < 1:
        raise InvalidRequest("--end-ds lies before --start-ds")
    count = min(arguments.parallelism, days)
    step = days // count
    starts = [first + timedelta(step * n) for n in range(count)]
    ends = [*(start - timedelta(1) for start in starts[1:]), last]
    return [replace(arguments, start_ds=str(start), end_ds=str(end)) for start, end in zip(starts, ends, strict=True)]


def _day(text: str, option: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as wrong:
        raise InvalidRequest(f"{option} {text!r} is no date: give it as 2024-01-31") from wrong
