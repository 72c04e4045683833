"""``python -m tests.conformance.mortal_loader``: ``chronoserve load`` as often as asked, each in a process that may die at any instruction.

Each line of standard input is ``{"words": […], "seconds": s, "of_writes": b}``; its answer is ``[exit code, seconds that it
lived]``, the code negative where it died. The child is forked, so a load costs no imports, and ended by the kernel after
``seconds``, counted from its start or from its first write: nothing of ours runs after that, as with ``kill -9``.
"""

import json
import os
import signal
import sys
import time
from typing import Any

from chronoserve.app.load import load
from chronoserve.ingest import source
from chronoserve.service.gateway import Gateway
from chronoserve.warehouse import places

ROWS_PER_BATCH = 9
"""Few, so that a small table takes many writes."""


def run(words: list[str], seconds: float, *, of_writes: bool) -> tuple[int, float]:
    """The exit code of a child that does the load, and how long it lived."""
    began = time.perf_counter()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), time.perf_counter() - began
    code = 2
    try:
        source.ROWS_PER_BATCH = ROWS_PER_BATCH
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        if of_writes:
            count_from_the_first_write(seconds)
        else:
            signal.setitimer(signal.ITIMER_REAL, seconds)
        load.main(words, standalone_mode=False)
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        os._exit(code)


def count_from_the_first_write(seconds: float) -> None:
    write = Gateway.put_complete

    async def counted(self: Gateway, puts: Any, **options: Any) -> Any:
        if Gateway.put_complete is counted:
            setattr(Gateway, "put_complete", write)  # noqa: B010 - mypy knows that a method is no variable
            signal.setitimer(signal.ITIMER_REAL, seconds)
        return await write(self, puts, **options)

    setattr(Gateway, "put_complete", counted)  # noqa: B010 - as above


def main() -> None:
    assert places, "imported before the forks"
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        answers.write(json.dumps(run(**json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
