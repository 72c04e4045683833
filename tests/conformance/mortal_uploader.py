"""``python -m tests.conformance.mortal_uploader``: ``chronoserve upload`` as often as asked, each in a process that may die anywhere.

Each line of standard input is ``{"words": […], "step": n, "published": b, "own": b, "seconds": s}``; its answer is ``[exit code,
steps, seconds that it lived]``, the code negative where it died. A child is forked, so an upload costs no imports. It kills itself
at its step number ``step`` (calls and returns of Python and of what Python calls, counted from the first row, or where
``published`` from the last one; where ``own`` those in the modules that write tables), or the kernel ends it ``seconds`` after its
first row: nothing of ours runs after either. Zero means never.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from chronoserve.app.upload import upload
from chronoserve.app.upload_meter import UploadMeter
from chronoserve.upload import build, engine, files, hive, rows, serving_info, spark, table
from chronoserve.warehouse import places

IMPORTED = (build, engine, hive, places, rows, serving_info, spark, table)
"""Before the forks."""
OWN = {module.__file__ for module in (files, hive, table)}


class Death:
    """At a step, or at none: then it counts."""

    def __init__(self, step: int, *, own: bool) -> None:
        self._step = step
        self._own = own
        self.steps = 0

    def watch(self) -> None:
        self.steps = 0
        sys.setprofile(self._count)

    def _count(self, frame: FrameType, _event: str, _argument: object) -> None:
        if self._own and frame.f_code.co_filename not in OWN:
            return
        self.steps += 1
        if self.steps == self._step:
            os.kill(os.getpid(), signal.SIGKILL)


def run(words: list[str], step: int, *, published: bool, own: bool, seconds: float) -> tuple[int, int, float]:
    """How a child ended, how many steps it took where it lived, and how long it lived."""
    reader, writer = os.pipe()
    began = time.perf_counter()
    child = os.fork()
    if not child:
        die(words, Death(step, own=own), writer, published=published, seconds=seconds)
    os.close(writer)
    with os.fdopen(reader) as told:
        steps = told.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, int(steps or 0), time.perf_counter() - began


def die(words: list[str], death: Death, told: int, *, published: bool, seconds: float) -> None:
    """The upload in this process, which ends with it at the latest."""
    watched = UploadMeter.watched

    def mortal(self: UploadMeter, batches: Any, read: Any) -> Iterator[Any]:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        if not published:
            death.watch()
        yield from watched(self, batches, read)
        if published:
            death.watch()

    setattr(UploadMeter, "watched", mortal)  # noqa: B010 - mypy knows that a method is no variable
    code = 2
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        code = int(upload.main(words, standalone_mode=False) or 0)
    finally:
        sys.setprofile(None)
        os.write(told, str(death.steps).encode())
        os._exit(code)


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        answers.write(json.dumps(run(**json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
