"""The verb itself: parse, settle the environment, let its values become defaults of arguments, start the job."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from chronoserve.app.run import jobs, native
from chronoserve.app.run.command import Arguments, command_line, ranges, shown
from chronoserve.app.run.modes import GROUP_BYS, MODES, Runner, subcommand
from chronoserve.config import teams as teams_file
from chronoserve.config.environment import Job, Setting, resolve

TEAMS_FILE = "teams.json"
ONLINE_JAR = "CHRONON_ONLINE_JAR"

PASSED_ON = {"ignore_unknown_options": True, "help_option_names": ["--help"]}
"""``-k`` and ``-h`` may be the driver's own."""


@click.command(context_settings=PASSED_ON)
@click.option("--mode", type=click.Choice(list(MODES)), default="backfill", show_default=True)
@click.option("--conf", metavar="PATH", help="A compiled conf, as production/joins/<team>/<name>.")
@click.option("--env", default="dev", show_default=True, help="Context in teams.json.")
@click.option("--ds", metavar="DATE", help="End partition.  [default: today]")
@click.option("--start-ds", metavar="DATE", help="First partition, instead of the one after what is there.")
@click.option("--end-ds", metavar="DATE", help="Wins over --ds.")
@click.option("--parallelism", type=click.IntRange(min=1), default=1, show_default=True, help="Ranges of days that run side by side.")
@click.option("--repo", metavar="DIR", help="Folder of teams.json and scripts/.  [env: CHRONON_REPO_PATH; default: .]")
@click.option("--app-name", metavar="NAME", help="[env: APP_NAME]")
@click.option("--chronon-jar", metavar="FILE", help="Chronon's own jar.  [env: CHRONON_DRIVER_JAR]")
@click.option("--online-jar", metavar="FILE", help="[env: CHRONON_ONLINE_JAR]")
@click.option("--online-class", metavar="CLASS", help="[env: CHRONON_ONLINE_CLASS]")
@click.option("--online-args", metavar="TEXT", help="As '-Zkey=value -Z…'.  [env: CHRONON_ONLINE_ARGS]")
@click.option("--online-jar-fetch", metavar="FILE", help="Prints the path of the online jar.  [default: scripts/fetch_online_jar.py]")
@click.option("--spark-submit-path", metavar="FILE", help="[default: scripts/spark_submit.sh]")
@click.option("--spark-streaming-submit-path", metavar="FILE", help="[default: scripts/spark_streaming.sh]")
@click.option("--list-apps", metavar="COMMAND", help="Prints running applications.  [default: python3 scripts/yarn_list.py]")
@click.option("--render-info", metavar="FILE", help="[default: scripts/render_info.py]")
@click.option("--conf-type", default=GROUP_BYS, show_default=True, help="Where there is no conf to say it.")
@click.option("--version", hidden=True)
@click.option("--release-tag", hidden=True)
@click.option("--spark-version", hidden=True)
@click.option("--sub-help", is_flag=True, help="The driver's help for this mode.")
@click.option("--render", is_flag=True, help="Print the command and its environment; start nothing.")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def run(ctx: click.Context, /, **given: Any) -> None:
    """One job of Chronon: --mode, --conf and --ds as its run.py takes them. What it does not know goes to the driver.

    Without a jar of Chronon's, upload, metadata-upload and fetch run natively; --bulk-load --store URL loads an upload as one step.
    """
    process = dict(os.environ)
    settings = settle(given, process)
    environment = {**process, **{setting.name: setting.value for setting in settings}}
    arguments = complete(given, environment)
    subcommand(arguments.mode, arguments.kind, arguments.conf)
    show(settings)
    if native.is_native(arguments):
        if given["render"]:
            click.echo(shlex.join(["chronoserve", *native.words(arguments)]))
            return
        ctx.exit(native.run(arguments, environment))
    if given["render"]:
        for each in ranges(arguments):
            click.echo(shown(command_line(each, environment)))
        return
    ctx.exit(start(arguments, environment, given["online_jar_fetch"] or f"{arguments.repo}/scripts/fetch_online_jar.py"))


def settle(given: Mapping[str, Any], process: Mapping[str, str]) -> list[Setting]:
    """The job's environment (``config.environment``)."""
    repo = _repo(given, process)
    path = Path(repo) / TEAMS_FILE
    found = teams_file.load(path) if path.exists() else None
    if found is None:
        click.echo(f"there is no {path}, so nothing comes from it; --repo names the folder that has it", err=True)
    implied = {
        "CHRONON_DRIVER_JAR": given["chronon_jar"] or process.get("CHRONON_DRIVER_JAR"),
        ONLINE_JAR: given["online_jar"] or process.get(ONLINE_JAR),
        "CHRONON_ONLINE_CLASS": given["online_class"] or process.get("CHRONON_ONLINE_CLASS"),
    }
    job = Job(mode=given["mode"], env=given["env"], repo=repo, conf=given["conf"], implied=implied)
    return resolve(job, found, process)


def complete(given: Mapping[str, Any], environment: Mapping[str, str]) -> Arguments:
    """What was asked, with the environment's values where nothing was."""
    repo = _repo(given, environment)
    return Arguments(
        mode=given["mode"],
        conf=given["conf"],
        env=given["env"],
        ds=given["ds"] or f"{datetime.now().astimezone():%Y-%m-%d}",
        start_ds=given["start_ds"],
        end_ds=given["end_ds"],
        parallelism=given["parallelism"],
        repo=repo,
        conf_type=given["conf_type"],
        jar=given["chronon_jar"] or environment.get("CHRONON_DRIVER_JAR"),
        online_jar=given["online_jar"] or environment.get(ONLINE_JAR),
        online_class=given["online_class"] or environment.get("CHRONON_ONLINE_CLASS"),
        online_args=given["online_args"] if given["online_args"] is not None else environment.get("CHRONON_ONLINE_ARGS", ""),
        submit_script=given["spark_submit_path"] or f"{repo}/scripts/spark_submit.sh",
        streaming_script=given["spark_streaming_submit_path"] or f"{repo}/scripts/spark_streaming.sh",
        list_apps=given["list_apps"] or f"python3 {repo}/scripts/yarn_list.py",
        render_script=given["render_info"] or f"{repo}/scripts/render_info.py",
        sub_help=given["sub_help"],
        rest=given["rest"],
    )


def _repo(given: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    return given["repo"] or environment.get("CHRONON_REPO_PATH") or "."


def show(settings: list[Setting]) -> None:
    """What the job's environment is, on standard error: names and origins, no values, which may be secret."""
    for setting in settings:
        click.secho(f"{setting.name}: from {setting.origin}", dim=True, err=True)


def start(arguments: Arguments, environment: Mapping[str, str], jar_script: str) -> int:
    """Run the job; the exit code that a scheduler gets.

    Raises:
        KVError: it could not be started as asked.
    """
    environment = dict(environment)
    if arguments.runs_online and not arguments.sub_help and not (arguments.online_jar and Path(arguments.online_jar).exists()):
        arguments = replace(arguments, online_jar=jobs.fetched_jar(jar_script, environment))
        environment[ONLINE_JAR] = arguments.online_jar or ""
    if MODES[arguments.mode].runner is Runner.STREAMING_SUBMIT and not arguments.sub_help:
        name = environment["APP_NAME"]
        if jobs.running(arguments.list_apps, name, environment):
            click.echo(f"{name} runs already")
            return 0
    load = native.load_words(arguments) if arguments.mode == native.UPLOAD and native.BULK_LOAD in arguments.rest else None
    if load is not None:
        arguments = replace(arguments, rest=native.for_the_driver(arguments.rest))
    commands = [command_line(each, environment) for each in ranges(arguments)]
    for command in commands:
        click.echo(command)
    code = jobs.call_all(commands, jobs.without_named_jar(environment, " ".join(commands)))
    return code if code or load is None else jobs.call([*native.PROGRAM, *load], environment)
