"""``chronoserve compile``: confs from the Python that authors write."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from chronoserve.app.compiling import environment as environments
from chronoserve.app.compiling.compiler import Compiler
from chronoserve.app.compiling.job import Outcome, compiled
from chronoserve.app.compiling.stage import KINDS, Change, staged
from chronoserve.app.terminal import Item, Screen
from chronoserve.config import teams
from chronoserve.model.errors import FailedPrecondition, InvalidRequest, KVError

COLUMNS = ("conf", "outcome", "what")
CHANGES_SHOWN = 5
STYLES = {"new": "green", "changed": "green", "unchanged": "dim", "skipped": "yellow"}
ROOT_VARIABLE = "CHRONON_ROOT"


@click.command("compile")
@click.option(
    "--chronon-root", envvar=ROOT_VARIABLE, type=click.Path(path_type=Path), help="Folder of teams.json.  [env: CHRONON_ROOT; default: .]"
)
@click.option(
    "--input-path",
    "--conf",
    "inputs",
    multiple=True,
    metavar="PATH",
    help="group_bys/…, joins/…, staging_queries/…: a file or folder; repeatable.  [default: all three]",
)
@click.option("--output-root", default="production", show_default=True, metavar="DIR", help="Where compiled confs are, below the root.")
@click.option("--force-overwrite", is_flag=True, help="Also confs that are online and differ, and those that hold them.")
@click.option("--keep-env", is_flag=True, help="Compiled confs keep their modeToEnvMap.")
@click.option("--keep-sample-percent", is_flag=True, help="Compiled joins keep a samplePercent that their source no longer has.")
@click.option(
    "--environment",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Virtual environment with chronon-ai.  [env: CHRONOSERVE_CHRONON_ENV; default: what --install installed]",
)
@click.option("--install", "installs", is_flag=True, help="Install chronon-ai first, where it is not; without --input-path, only that.")
@click.option("--timeout", type=click.FloatRange(min=1), default=600.0, show_default=True, help="Seconds for all of it.")
@click.option("--verbose", is_flag=True, help="Show what compile.py said, on standard error.")
@click.option("--json", "json_lines", is_flag=True, help="One JSON object a conf, then one with the sum.")
def compile_confs(*, chronon_root: Path | None, inputs: Sequence[str], output_root: str, force_overwrite: bool, keep_env: bool,
                  keep_sample_percent: bool, environment: Path | None, installs: bool, timeout: float, verbose: bool,
                  json_lines: bool) -> None:  # fmt: skip
    """Compile a repository's Python into confs, with the compile.py of chronon-ai, and say what became of each.

    Confs are compiled into a copy; those that can be read back are moved to DIR, each at once. Exit code 0: everything
    asked for was compiled, and what is online can be served. 1 otherwise: a file that cannot be imported, a definition that
    is refused, an online conf that changed, a join that holds a former group by, nothing compiled.
    """
    screen = Screen(json_lines=json_lines)
    try:
        if installs and _install(screen, alone=not inputs):
            return
        root = _repository(chronon_root or Path())
        wanted = _inputs(root, inputs)
        found = environments.find(environment)
        with staged(root / output_root) as stage:
            compiler = Compiler(found, root, stage.copy, force_overwrite, keep_env, keep_sample_percent)
            outcomes, warnings, said = compiled(compiler, stage, wanted, timeout)
    except KVError as error:
        screen.fail(error.message, reason=error.reason)
        click.get_current_context().exit(1)
    if verbose:
        click.echo(said, err=True)
    _Report(screen, root / output_root).show(outcomes, warnings, found.version)


def _install(screen: Screen, *, alone: bool) -> bool:
    """Whether that was all."""
    made = environments.install()
    if alone:
        screen.tell({"environment": str(made.directory), "chronon_ai": made.version}, f"{made.directory}\tchronon-ai {made.version}")
    return alone


def _repository(folder: Path) -> Path:
    """Raises InvalidRequest and FailedPrecondition where it is no repository of Chronon's, or its teams.json is broken."""
    root = folder.expanduser().resolve()
    if not (root / "teams.json").is_file():
        raise FailedPrecondition(f"{root} has no teams.json: --chronon-root or {ROOT_VARIABLE} name the folder of the repository")
    teams.load(root / "teams.json")
    return root


def _inputs(root: Path, given: Sequence[str]) -> list[str]:
    """Relative to the root, as compile.py takes them; without any, the folders that there are. Raises InvalidRequest."""
    if given:
        return [_input(root, each) for each in given]
    found = [kind for kind in KINDS if (root / kind).is_dir()]
    if not found:
        raise InvalidRequest(f"{root} has none of the folders {', '.join(KINDS)}: there is nothing to compile")
    return found


def _input(root: Path, given: str) -> str:
    path = next((path for path in (root / given, Path(given).absolute()) if path.exists()), None)
    if path is None:
        raise InvalidRequest(f"there is no {given} in {root}: give a file or folder as group_bys/<team>/<file>.py")
    resolved = path.resolve()
    relative = resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else ""
    if relative.partition("/")[0] not in KINDS:
        raise InvalidRequest(f"{given} is not below {', '.join(KINDS)} of {root}: compile what authors write, not what was compiled")
    if path.is_file() and path.suffix != ".py":
        raise InvalidRequest(f"{given} is no Python file")
    return relative


class _Report:
    def __init__(self, screen: Screen, place: Path) -> None:
        self._screen = screen
        self._place = place

    def show(self, outcomes: Sequence[Outcome], warnings: Sequence[str], version: str) -> None:
        """Confs on standard output, what failed on standard error, then the sum; ends with 1 where anything failed."""
        self._screen.show(COLUMNS, [self._item(each) for each in outcomes if not each.failed or self._screen.json_lines or each.written])
        for each in outcomes:
            for text in each.errors:
                self._screen.fail(text, reason=each.outcome.upper().replace(" ", "_"), place=each.key)
        for text in warnings:
            self._screen.note(f"warning: {text}")
        failed = sum(each.failed for each in outcomes)
        if not failed and not any(each.written for each in outcomes):
            self._screen.fail("nothing was compiled: everything was skipped", reason="SKIPPED")
            failed = len(outcomes)
        self._sum(outcomes, warnings, version, failed)
        if failed:
            click.get_current_context().exit(1)

    def _item(self, found: Outcome) -> Item:
        record = {
            "conf": found.key, "outcome": found.outcome, "digest": found.digest, "before": found.before,
            "changes": [{"field": each.field, "before": each.before, "after": each.after} for each in found.changes],
            "warnings": found.warnings, "errors": found.errors,
        }  # fmt: skip
        first, *others = [*_shown(found.changes), *(f"warning: {text}" for text in found.warnings)] or [""]
        repeated = ("", "") if self._screen.terminal else (found.key, found.outcome)
        rows = [(found.key, found.outcome, first), *((*repeated, other) for other in others)]
        return Item(record, rows, STYLES.get(found.outcome, "red"))

    def _sum(self, outcomes: Sequence[Outcome], warnings: Sequence[str], version: str, failed: int) -> None:
        counts = Counter(each.outcome for each in outcomes)
        record = {"confs": dict(counts), "failed": failed, "warnings": list(warnings), "chronon_ai": version, "output": str(self._place)}
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
        self._screen.tell(record, f"{told}; chronon-ai {version}, {self._place}")


def _shown(changes: Iterable[Change]) -> list[str]:
    told = [f"{each.field}: {_value(each.before)} → {_value(each.after)}" for each in changes]
    more = len(told) - CHANGES_SHOWN
    return told if more <= 0 else [*told[:CHANGES_SHOWN], f"and {more} more fields"]


def _value(text: str | None) -> str:
    return "absent" if text is None else text
