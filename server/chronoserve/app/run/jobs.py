"""Starts what ``run`` decided, and tells schedulers the truth about how it ended."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import click

from chronoserve.app.run.command import words
from chronoserve.model.errors import FailedPrecondition

COMMAND_NOT_FOUND = 127


def call(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command with our own input and output; its exit code. A signal that ended it counts as 128 + its number."""
    try:
        code = subprocess.call(command, env=dict(environment))  # noqa: S603 - running what the operator configured is the purpose
    except OSError as failed:
        click.secho(f"error: {command[0]} cannot be started: {failed.strerror}", fg="red", err=True)
        return COMMAND_NOT_FOUND
    return code if code >= 0 else 128 - code


def output(command: Sequence[str], environment: Mapping[str, str], what: str) -> str:
    """A command's standard output. Raises FailedPrecondition where it fails; ``what`` names its purpose."""
    try:
        done = subprocess.run(command, env=dict(environment), check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 - as above
    except OSError as failed:
        raise FailedPrecondition(f"{what}: {command[0]} cannot be started: {failed.strerror}") from failed
    except subprocess.CalledProcessError as failed:
        raise FailedPrecondition(f"{what}: {command[0]} ended with exit code {failed.returncode}") from failed
    return done.stdout


def call_all(commands: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run commands side by side; the worst of their exit codes."""
    with ThreadPoolExecutor(len(commands)) as pool:
        return max(pool.map(lambda command: call(words(command), environment), commands))


def running(list_command: str, app_name: str, environment: Mapping[str, str]) -> bool:
    """Whether the cluster runs a job of this name.

    Each line that ``list_command`` prints is an application as a JSON object with ``app_name``; other lines are shown.

    Raises:
        FailedPrecondition: the command fails, or the job runs more than once.
    """
    click.echo(list_command)
    found = 0
    for line in output(words(list_command), environment, "the list of running applications").splitlines():
        try:
            found += json.loads(line)["app_name"] == app_name
        except (ValueError, KeyError, TypeError):
            click.echo(line, err=True)
    if found > 1:
        raise FailedPrecondition(f"{app_name} runs {found} times on the cluster: stop all but one of them")
    return found == 1


def fetched_jar(script: str, environment: Mapping[str, str]) -> str:
    """The path of the online jar, as the user's own script prints it. Raises FailedPrecondition where it prints none."""
    click.echo(script)
    path = output([script], environment, "fetching the online jar").strip()
    if not path:
        raise FailedPrecondition(f"fetching the online jar: {script} printed no path")
    return path


def without_named_jar(environment: Mapping[str, str], command: str) -> dict[str, str]:
    """The environment less the online jar where the command names it already: the submit script would add it twice."""
    jar = environment.get("CHRONON_ONLINE_JAR")
    return {name: value for name, value in environment.items() if name != "CHRONON_ONLINE_JAR" or not jar or jar not in command}
