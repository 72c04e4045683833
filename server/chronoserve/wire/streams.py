"""Streams of batches: what has come of a stream when its handler looks is one call of the store, and each message has its answer.

A client that keeps several messages under way pays for the layers, the store's round trip and the turns of the loop once for
all of them. Nothing waits for a batch to fill: it is what was there. Answers are those of one message after the other.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar

from chronoserve.kvstore.layers.layer import Flawless
from chronoserve.kvstore.port import is_too_much
from chronoserve.model.errors import KVError
from chronoserve.wire.seam import Conversation

MESSAGES_OF_BATCH_MAX = 64
"""Messages that are taken at a time. Their bytes are bounded by what the transport lets wait for a handler: 64 KiB."""
KEYS_OF_BATCH_MAX = 1000
"""Keys that are asked for together: about a millisecond of the loop. A message with more than that goes alone."""

Request = TypeVar("Request")
Result = TypeVar("Result")


async def answer_stream(
    stream: Conversation,
    parse: Callable[[bytes], Sequence[Request]],
    ask: Callable[[list[Request]], Awaitable[list[Result]]],
    reply: Callable[[Sequence[Result]], bytes],
    *,
    keys_max: int,
) -> None:
    """Answer every message of ``stream``, in order, until its client has no more.

    Raises:
        KVError: of the first message that is at fault, once those before it have their answers.
    """
    while messages := await stream.take(MESSAGES_OF_BATCH_MAX):
        if len(messages) == 1:
            await stream.answer([reply(await ask(list(parse(messages[0]))))])
            continue
        for batch in _batches(messages, parse, keys_max):
            await _answer(stream, batch, ask, reply)


def _batches(messages: Sequence[bytes], parse: Callable[[bytes], Sequence[Request]], keys_max: int) -> Iterator[list[Sequence[Request]]]:
    """The requests of each message, as many messages together as have ``keys_max`` keys.

    Raises:
        InvalidRequest: a message is none; those before it have been given.
    """
    batch: list[Sequence[Request]] = []
    keys = 0
    for data in messages:
        try:
            requests = parse(data)
        except KVError:
            if batch:
                yield batch
            raise
        if batch and keys + len(requests) > keys_max:
            yield batch
            batch, keys = [], 0
        batch.append(requests)
        keys += len(requests)
    yield batch


async def _answer(
    stream: Conversation,
    batch: list[Sequence[Request]],
    ask: Callable[[list[Request]], Awaitable[list[Result]]],
    reply: Callable[[Sequence[Result]], bytes],
) -> None:
    """Answer each message. Large answers are sent one by one: a client that does not read them must not have them all held for it."""
    results = await ask(list(chain.from_iterable(batch)))
    if len(batch) > 1 and _crowded(results):
        for requests in batch:
            await stream.answer([reply(await ask(list(requests)))])
        return
    replies: list[bytes] = []
    start = 0
    try:
        for requests in batch:
            end = start + len(requests)
            replies.append(reply(results[start:end]))
            start = end
    except KVError:
        if replies:
            await stream.answer(replies)
        raise
    await stream.answer(replies)


def _crowded(results: Sequence[Any]) -> bool:
    """Whether something was refused for the size of all answers together, which would not happen to a message alone."""
    return results.__class__ is not Flawless and any(map(is_too_much, results))
