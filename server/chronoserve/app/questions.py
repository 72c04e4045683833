"""One line of a question, all of an answer, over Unix sockets: how a supervisor and its workers talk. No grpc here."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

ANSWER_SECONDS = 2.0
"""What a worker gets to answer."""
END = b"# EOF\n"
"""The last line of metrics: without it, whoever was asked died over them."""

Answers = Mapping[bytes, Callable[[], Awaitable[bytes]]]
"""By question."""


async def ask(socket: str, question: str, seconds: float) -> bytes | None:
    """The answer; None where there is none in time."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_unix_connection(socket)
            with contextlib.closing(writer):
                writer.write(question.encode() + b"\n")
                return await reader.read()
    except (OSError, TimeoutError):
        return None


async def answer(socket: str, answers: Answers) -> asyncio.Server:
    """Answer questions on ``socket`` until the server is closed. What is not known gets no answer."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found = answers.get((await reader.readline()).strip())
        if found is not None:
            writer.write(await found())
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(connected, socket)
