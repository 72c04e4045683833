"""Inputs to outcomes: which confs were compiled, what they say otherwise now, and what went wrong with the others."""

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chronoserve.app.compiling.compiler import Compiler, Ran
from chronoserve.app.compiling.servable import judged
from chronoserve.app.compiling.stage import Change, Stage, changes, digest, is_key, parsed
from chronoserve.app.compiling.transcript import Fault, Said, Transcript, Verdict, read
from chronoserve.model.errors import DeadlinePassed, FailedPrecondition

NEW, CHANGED, UNCHANGED, SKIPPED = "new", "changed", "unchanged", "skipped"
REFUSED, INVALID, FAILED, STALE, NOT_REACHED, EMPTY = "refused", "invalid", "failed", "stale", "not reached", "empty"
WRITTEN = (NEW, CHANGED, UNCHANGED)
FAILURES = (REFUSED, INVALID, FAILED, STALE, NOT_REACHED, EMPTY)
IT_IS_ONLINE = "it is online and differs, so it stays as it was: give the new definition a new name, or compile with --force-overwrite"
SAMPLE_PERCENT = "metaData.samplePercent"


@dataclass(slots=True)
class Outcome:
    """What became of a conf, or of a source file that gave none. ``key``: as ``joins/team/file.name``, or the source's path.

    ``errors``: why it failed, or why it cannot be served though it was written. ``digest``: of what is on disk now.
    """

    key: str
    outcome: str
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    digest: str | None = None
    before: str | None = None

    @property
    def written(self) -> bool:
        return self.outcome in WRITTEN

    @property
    def failed(self) -> bool:
        return self.outcome in FAILURES or bool(self.errors)


def compiled(compiler: Compiler, stage: Stage, inputs: Sequence[str], seconds: float) -> tuple[list[Outcome], list[str], str]:
    """Compile ``inputs``, files or folders, and put what can be read in its place: outcomes, warnings, all that was said.

    Raises:
        DeadlinePassed: it takes longer than ``seconds``; nothing was put in place.
        FailedPrecondition: compile.py was killed, so nothing was put in place; or a conf cannot be written.
    """
    end = time.monotonic() + seconds
    try:
        runs = [(each, compiler.run(each, seconds=max(end - time.monotonic(), 0.0))) for each in inputs]
    except TimeoutError as late:
        raise DeadlinePassed(
            f"compile.py took more than {seconds:g} s and was ended, nothing was written: --timeout gives it more"
        ) from late
    for _, ran in runs:
        _refuse_killed(ran)
    transcripts = [(each, read(ran.output, ran.code, compiler.root)) for each, ran in runs]
    outcomes = _Judge(compiler, stage).outcomes(transcripts)
    warnings = list(dict.fromkeys(text for _, transcript in transcripts for text in transcript.warnings))
    return outcomes, warnings, "".join(ran.output for _, ran in runs)


def _refuse_killed(ran: Ran) -> None:
    if ran.code < 0:
        raise FailedPrecondition(
            f"compile.py was killed by signal {-ran.code}, nothing was written: compile again, with more memory if it ran out"
        )


class _Judge:
    def __init__(self, compiler: Compiler, stage: Stage) -> None:
        self._compiler = compiler
        self._root = compiler.root
        self._stage = stage

    def outcomes(self, transcripts: Iterable[tuple[str, Transcript]]) -> list[Outcome]:
        """Sorted by key; what stopped a run comes after the confs."""
        pairs = list(transcripts)
        confs = {said.key: self._conf(said) for said in _foremost(said for _, transcript in pairs for said in transcript.said)}
        stale = self._stale(confs, frozenset(name for _, transcript in pairs for name in transcript.dependents))
        sources = [outcome for given, transcript in pairs for outcome in self._sources(given, transcript, confs)]
        return [*(confs[key] for key in sorted(confs)), *stale, *sources]

    def _conf(self, said: Said) -> Outcome:
        match said.verdict:
            case Verdict.WRITTEN:
                return self._written(said.key)
            case Verdict.SKIPPED:
                return self._skipped(said)
            case Verdict.ONLINE:
                return Outcome(said.key, REFUSED, errors=[IT_IS_ONLINE])
            case Verdict.INVALID:
                return Outcome(said.key, INVALID, errors=[f"{said.reason}; it stays as it was"])
            case Verdict.BEGUN:
                return Outcome(said.key, FAILED, errors=["compile.py ended before it was written"])

    def _written(self, key: str) -> Outcome:
        """Where a conf cannot be printed, compile.py leaves an empty file: the one before stays."""
        if not is_key(key):
            return Outcome(key, FAILED, errors=["it is no file of its team's folder, names have no /: give it another name"])
        kind = key.partition("/")[0]
        before, after = self._stage.before(key), self._stage.after(key)
        if after is None or parsed(after) is None:
            return Outcome(key, FAILED, errors=["compile.py could not print it whole; what was there before stays"])
        judgement = judged(kind, after)
        found = Outcome(key, NEW, judgement.errors, judgement.warnings, digest=digest(kind, after), before=digest(kind, before))
        if before is not None:
            found.outcome = UNCHANGED if found.before == found.digest is not None else CHANGED
            if found.before and found.digest:
                found.changes = changes(kind, before, after)
        if any(change.field == SAMPLE_PERCENT and change.after is None for change in found.changes):
            found.warnings.append("its responses are no longer logged: it lost its samplePercent, which --keep-sample-percent keeps")
        if before != after:
            self._stage.publish(key)
        return found

    def _skipped(self, said: Said) -> Outcome:
        found = Outcome(said.key, SKIPPED, warnings=[f"{said.reason}: set online=True or a backfill_start_date to have it compiled"])
        if self._stage.before(said.key) is not None:
            found.warnings.append("its former conf stays where it is: remove it if nothing uses it any more")
        return found

    def _stale(self, confs: dict[str, Outcome], dependents: frozenset[str]) -> Iterator[Outcome]:
        """Confs that hold a former version of what has changed. compile.py complains also where nothing has."""
        changed = frozenset(_name(key) for key, found in confs.items() if found.outcome == CHANGED)
        for key, held in self._stage.embedding(changed, dependents):
            if key not in confs:
                why = f"it holds the former {', '.join(held)}: compile it as well, or use --force-overwrite"
                yield Outcome(key, STALE, errors=[why])

    def _sources(self, given: str, transcript: Transcript, confs: dict[str, Outcome]) -> Iterator[Outcome]:
        """What is to be said of the source files of an input."""
        taken_up = [said.key for said in transcript.said]
        unread = {self._relative(fault.file): fault for fault in transcript.unread if fault.file is not None}
        for path in sorted(unread):
            yield Outcome(path, FAILED, errors=[self._explained(unread[path])])
        if transcript.stopped:
            if transcript.end is not None:
                yield self._stopped(given, transcript.said, transcript.end, confs)
            bare = [path for path in self._files(given) if path not in unread and not _gave(path, taken_up) and path != given]
            yield from (Outcome(path, NOT_REACHED, errors=["compile.py had stopped before it"]) for path in bare)
        elif not transcript.said and not unread:
            what = "no objects of Chronon at its top level" if given.endswith(".py") else "no Python files with objects of Chronon"
            yield Outcome(given, EMPTY, errors=[f"it has {what}: nothing was compiled"])

    def _stopped(self, given: str, said: Sequence[Said], end: Fault, confs: dict[str, Outcome]) -> Outcome:
        """The conf that was being compiled, where the run stopped in the midst of one; else the input."""
        why = self._explained(end)
        last = said[-1] if said else None
        if last is not None and confs[last.key].outcome == FAILED:
            del confs[last.key]
            return Outcome(last.key, FAILED, errors=[why])
        return Outcome(given, FAILED, errors=[why])

    def _files(self, given: str) -> Iterator[str]:
        folder = self._root / given
        return (
            (self._relative(path) for path in sorted(folder.rglob("*.py")) if path.name != "__init__.py") if folder.is_dir() else iter(())
        )

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix() if path.is_relative_to(self._root) else str(path)

    def _explained(self, fault: Fault) -> str:
        said = f"{fault.where}: {fault.text}" if fault.where else fault.text
        return f"{said}; {self._remedy(fault.text)}"

    def _remedy(self, text: str) -> str:
        if module := re.match(r"ModuleNotFoundError: No module named '([^'.]+)", text):
            return self._module_remedy(module[1])
        if missing := re.match(r"KeyError: '(namespace|table_properties)'", text):
            return f'teams.json gives the team no {missing[1]}, and neither does "default": add it there'
        if re.match(r"ValueError: team \S+ does not exist", text):
            return "add the team to teams.json, or move the file to the folder of one"
        return "correct it and compile again; --verbose shows all that compile.py said"

    def _module_remedy(self, module: str) -> str:
        if (self._root / module).exists():
            return f"{module} is there and this part of it is not: imports begin at {self._root}"
        python = self._compiler.environment.python
        return f"imports begin at {self._root}; for a package, `{python} -m pip install …`, or --environment with one that has it"


def _foremost(said: Iterable[Said]) -> Iterable[Said]:
    """Of each conf what counts: it is taken up for itself and for the joins that it is in."""
    found: dict[str, Said] = {}
    for each in said:
        if each.key not in found or each.verdict >= found[each.key].verdict:
            found[each.key] = each
    return found.values()


def _name(key: str) -> str:
    """``joins/team/file.name`` as ``team.file.name``."""
    return key.partition("/")[2].replace("/", ".", 1)


def _gave(path: str, keys: Iterable[str]) -> bool:
    """Whether a source file gave any conf: ``joins/team/sub/file.py`` gives ``joins/team/sub.file.…``."""
    kind, team, *rest = path.removesuffix(".py").split("/")
    return any(key.startswith(f"{kind}/{team}/{'.'.join(rest)}.") for key in keys)
