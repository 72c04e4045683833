"""What compile.py said, read: its exit code alone says little (spec/integration.md §3.1)."""

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

FOLDERS = {"GroupBy": "group_bys", "Join": "joins", "StagingQuery": "staging_queries"}
"""Chronon's classes and the folders of their confs."""

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
QUESTION = re.compile(r"Do you want to [^\n]*? \[[yn]/[yn]\]: ", re.IGNORECASE)
"""The answer is not echoed, so that the next line begins behind it."""
SAID = re.compile(r"^\s*(?P<kind>GroupBy|Join|StagingQuery) (?P<what>Team|Name) - (?P<value>.+)$")
WRITING = re.compile(r"^\s*Writing (?P<kind>GroupBy|Join|StagingQuery) to - ")
SKIPPING = re.compile(r"^Skipping (?:GroupBy|Join|StagingQuery) \S+: (?P<reason>.*)$")
INVALID = re.compile(r"^\s*Could not write (?:GroupBy|Join|StagingQuery) \S+ - (?P<reason>.*)$")
ONLINE = re.compile(r"^Cannot overwrite (?:GroupBy|Join|StagingQuery) \S+ with existing online conf")
WARNING = re.compile(r"^\s*Deprecation Warning: - (?P<text>.*)$")
UNREAD = re.compile(r"^ERROR:root:Failed to extract: (?P<path>.*)$")
TRACEBACK = "Traceback (most recent call last):"
FRAME = re.compile(r'^ +File "(?P<path>[^"]+)", line (?P<line>\d+)')
INSTALLED = "/site-packages/"
"""In paths of packages, also of an environment that is kept inside of the repository."""
PARTS_OFFLINE = re.compile(r"make your join \[.*\] `online`")
"""Said of a join after it was written."""
DEPENDENTS = re.compile(r"Detected dependencies are as follows: \[(?P<names>.*)\]")


class Verdict(enum.IntEnum):
    """What compile.py did with a conf, in the order of what counts where it took it up twice."""

    BEGUN = 0
    SKIPPED = 1
    WRITTEN = 2
    ONLINE = 3
    """Not overwritten, because the compiled one is online and differs."""
    INVALID = 4


@dataclass(frozen=True, slots=True)
class Fault:
    """An exception. ``file``: the source file that it concerns, where one is known; ``where``: that with the line."""

    text: str
    file: Path | None = None
    where: str = ""


@dataclass(slots=True)
class Said:
    """About one conf; ``key`` as ``joins/team/file.name``."""

    key: str
    verdict: Verdict = Verdict.BEGUN
    reason: str = ""


@dataclass(slots=True)
class Transcript:
    """``unread``: source files of a folder that were passed over. ``stopped``: the run was not through, because of ``end`` or,
    where there is none, because of the conf taken up last.
    """

    said: list[Said] = field(default_factory=list)
    unread: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    dependents: tuple[str, ...] = ()
    end: Fault | None = None
    stopped: bool = False


def read(output: str, code: int, root: Path) -> Transcript:
    """What a run's output and exit code mean."""
    lines = QUESTION.sub("\n", COLOUR.sub("", output)).splitlines()
    found = _Reader(root).read(lines)
    if code == 0:
        found.end = None
        return found
    if found.end is None:
        found.end = Fault(
            next((line.strip() for line in reversed(lines) if line.strip()), f"compile.py ended with {code} and said nothing")
        )
    if listed := DEPENDENTS.search(found.end.text):
        found.dependents = tuple(re.findall(r"'([^']+)'", listed["names"]))
        found.end = None
        return found
    found.stopped = True
    if PARTS_OFFLINE.search(found.end.text) and found.said:
        found.said[-1].verdict, found.said[-1].reason = Verdict.INVALID, found.end.text
        found.end = None
    return found


class _Reader:
    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._found = Transcript()
        self._team = ""
        self._passed_over: str | None = None

    def read(self, lines: Sequence[str]) -> Transcript:
        at = 0
        while at < len(lines):
            if lines[at] == TRACEBACK:
                at = self._traceback(lines, at + 1)
            else:
                self._line(lines[at])
                at += 1
        return self._found

    def _line(self, line: str) -> None:
        if match := UNREAD.match(line):
            self._passed_over = match["path"]
        elif match := SAID.match(line):
            self._passed_over = None
            self._named(match["kind"], match["what"], match["value"])
        elif match := WARNING.match(line):
            self._found.warnings.append(match["text"])
        else:
            self._judged(line)

    def _named(self, kind: str, what: str, value: str) -> None:
        if what == "Team":
            self._team = value
        else:
            self._found.said.append(Said(f"{FOLDERS[kind]}/{self._team}/{value}"))

    def _judged(self, line: str) -> None:
        for verdict, pattern in (
            (Verdict.WRITTEN, WRITING),
            (Verdict.SKIPPED, SKIPPING),
            (Verdict.INVALID, INVALID),
            (Verdict.ONLINE, ONLINE),
        ):
            match = pattern.match(line)
            if match and self._found.said:
                self._found.said[-1].verdict = verdict
                self._found.said[-1].reason = match.groupdict().get("reason", "")

    def _traceback(self, lines: Sequence[str], at: int) -> int:
        """The line after it. The innermost frame below the root is where an author looks; of chained ones the last counts."""
        where = ""
        while at < len(lines) and (not lines[at] or lines[at].startswith(" ")):
            frame = FRAME.match(lines[at])
            if frame and frame["path"].startswith(f"{self._root}/") and INSTALLED not in frame["path"]:
                where = f"{frame['path'].removeprefix(f'{self._root}/')}:{frame['line']}"
            at += 1
        text = lines[at] if at < len(lines) else "an exception without a text"
        self._keep(text, where)
        return at + 1

    def _keep(self, text: str, where: str) -> None:
        if self._passed_over is None:
            self._found.end = Fault(text, where=where)
            return
        file = Path(self._passed_over)
        if self._found.unread and self._found.unread[-1].file == file:
            self._found.unread.pop()
        self._found.unread.append(Fault(text, file, where))
