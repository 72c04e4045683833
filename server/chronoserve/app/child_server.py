"""A server of our own as a child process, for verbs that bring one along."""

import asyncio
import json
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from chronoserve.model.errors import Unavailable

START_SECONDS = 30.0
STOP_SECONDS = 15.0
"""How long the server has to drain before it is killed."""
LOG_LINES_KEPT = 20
SETTINGS_EVENT = "effective configuration"
"""Not why a server did not start, and a page long."""


@asynccontextmanager
async def child_server(store_url: str) -> AsyncIterator[str]:
    """The address of a server on a free port of the loopback, which ends with the context.

    Raises:
        Unavailable: it did not start; the text ends with what it said.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "chronoserve", "serve", "--store", store_url, "--listen", "127.0.0.1:0", "--http", "off",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is ours: the server drains when it is told to
    )  # fmt: skip
    assert process.stderr is not None
    reading: asyncio.Task[None] | None = None
    try:
        address = await _address(process.stderr)
        reading = asyncio.create_task(_drain(process.stderr))  # a full pipe would stop the server
        yield address
    finally:
        await _stop(process)
        if reading is not None:
            await asyncio.wait([reading], timeout=STOP_SECONDS)  # who else has the pipe must not hold us


async def _address(log: asyncio.StreamReader) -> str:
    """Where the server listens, from the line of its log that says so."""
    said: deque[str] = deque(maxlen=LOG_LINES_KEPT)
    with suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS):
            async for line in log:
                entry = _entry(line)
                if entry.get("event") == "serving":
                    return str(entry["listen"][0])
                if entry.get("event") != SETTINGS_EVENT:
                    said.append(line.decode(errors="replace").strip().removeprefix("error: "))
    raise Unavailable("the server did not start: " + (" | ".join(said) or "it said nothing"))


def _entry(line: bytes) -> dict[str, Any]:
    """Empty for a line that is no entry of the log, as the error is that ``serve`` ends with."""
    with suppress(ValueError):
        entry = json.loads(line)
        return entry if isinstance(entry, dict) else {}
    return {}


async def _drain(log: asyncio.StreamReader) -> None:
    while await log.read(1 << 16):
        pass


async def _stop(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
