"""``chronoserve bench``: closed-loop reads against a running server, from one process of Python.

``make bench`` measures with a client in Go; this one needs nothing but the installation. It says when it was itself the
limit.
"""

import math
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import click
import grpc

from chronoserve.app.closed_loop import MULTI_GET, Channel, Load, Question, Tally
from chronoserve.app.connection import Server, server_from, server_options, tell_failure
from chronoserve.app.serve import run
from chronoserve.app.terminal import Item, Screen, seconds_text
from chronoserve.v1 import kv_pb2
from chronoserve_client import AsyncClient, ChronoserveError, FailedPrecondition, Kind, Put

DATASET = "CHRONOSERVE_BENCH"
POPULATION = 10_000
"""Keys in the benchmark's own dataset, and at most so many are taken of another."""
VALUE_BYTES = 200
MILLIS = 1_700_000_000_000
FILL_KEYS = 500
QUESTIONS = 256
"""Different requests, made before the clock starts."""
WARM_UP_SECONDS = 1.0
BUSY_CORES = 0.9
"""A client that uses more of a core than this is itself the limit."""

COLUMNS = ("mode", "keys", "callers", "calls/s", "keys/s", "p50", "p99", "max", "errors")


@click.command()
@click.option("--keys", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Keys of one call.")
@click.option("--callers", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Calls under way at once.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True, help="Measured; one more to warm up.")
@click.option("--mode", type=click.Choice(["unary", "stream"]), default="unary", show_default=True, help="MultiGet or StreamMultiGet.")
@click.option("--connections", type=click.IntRange(1, 1000), default=4, show_default=True, help="Callers are spread over so many.")
@click.option("--dataset", metavar="NAME", help=f"Read this one; nothing is written.  [default: {DATASET}, made and filled if need be]")
@click.option("--json", "json_lines", is_flag=True, help="One JSON object.")
@server_options
def bench(*, json_lines: bool, **given: Any) -> None:
    """Load a running server with reads.

    Each caller sends its next call when the last one is answered. Without --dataset a dataset of 10,000 keys with values of
    200 bytes is made on the server and stays there, and every answer is checked.
    """
    screen = Screen(json_lines=json_lines)
    server = server_from(given)
    try:
        code = run(_bench(screen, server, **given))
    except ChronoserveError as error:
        tell_failure(screen, error, server)
        code = 1
    click.get_current_context().exit(code)


async def _bench(
    screen: Screen, server: Server, *, keys: int, callers: int, seconds: float, mode: str, connections: int, dataset: str | None
) -> int:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(server.client())
        population = await (_some_keys(client, dataset) if dataset else _own_keys(client, screen))
        channels = [await stack.enter_async_context(_channel(server)) for _ in range(min(connections, callers))]
        metadata = (("authorization", f"Bearer {server.token}"),) if server.token else None
        requests = [_request(dataset or DATASET, random.choices(population, k=keys)) for _ in range(QUESTIONS)]  # noqa: S311 no secret
        answers = [await channels[0].unary_unary(MULTI_GET)(request, metadata=metadata, timeout=server.timeout) for request in requests]
        _check(answers)
        questions = [Question(request, None if dataset else answer) for request, answer in zip(requests, answers, strict=True)]
        streaming = mode == "stream"
        await Load(questions, callers, WARM_UP_SECONDS, streaming, metadata).run(channels)
        screen.note(f"{callers} callers for {seconds:g} s …")
        cpu = time.process_time()
        tally = await Load(questions, callers, seconds, streaming, metadata).run(channels)
        cores = (time.process_time() - cpu) / tally.seconds
    screen.show(COLUMNS, [_item(tally, mode, keys, callers, cores)])
    _explain(screen, tally, cores)
    return 0 if tally.latencies and not tally.failures and not tally.wrong else 1


def _channel(server: Server) -> Channel:
    """Without serialisers: its messages are bytes."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    credentials = server.credentials()
    if credentials is None:
        return grpc.aio.insecure_channel(server.target, options=options)
    return grpc.aio.secure_channel(server.target, credentials, options=options)


async def _own_keys(client: AsyncClient, screen: Screen) -> list[bytes]:
    """The keys of the benchmark's own dataset, which is filled unless its last key is there."""
    keys = [b"user_%08d" % number for number in range(POPULATION)]
    await client.create(DATASET, Kind.LATEST)
    if await client.get(DATASET, keys[-1]):
        return keys
    screen.note(f"filling {DATASET} with {POPULATION} keys …")
    for start in range(0, POPULATION, FILL_KEYS):
        puts = [Put(DATASET, key, (key * VALUE_BYTES)[:VALUE_BYTES], MILLIS, key) for key in keys[start : start + FILL_KEYS]]
        for result in await client.multi_put(puts):
            result.unwrap()
    return keys


async def _some_keys(client: AsyncClient, dataset: str) -> list[bytes]:
    """Raises FailedPrecondition where the dataset is empty."""
    keys: list[bytes] = []
    async for entry in client.scan(dataset, page_size=FILL_KEYS):
        keys.append(entry.key)
        if len(keys) == POPULATION:
            break
    if not keys:
        raise FailedPrecondition(f"{dataset} has no keys to read; leave --dataset out to use one of the benchmark's own")
    return keys


def _request(dataset: str, keys: Sequence[bytes]) -> bytes:
    requests = [kv_pb2.GetRequest(dataset=dataset, key_bytes=key) for key in keys]
    return kv_pb2.MultiGetRequest(requests=requests).SerializeToString()


def _check(answers: Sequence[bytes]) -> None:
    """Raises FailedPrecondition where the server does not answer what is asked: its speed would say nothing."""
    for answer in answers:
        for response in kv_pb2.MultiGetResponse.FromString(answer).responses:
            if response.HasField("error"):
                raise FailedPrecondition(f"the server answers an error: {response.error.message}")
            if not response.values:
                raise FailedPrecondition("the server has no value for a key of the benchmark; delete its dataset's keys and try again")


def _item(tally: Tally, mode: str, keys: int, callers: int, cores: float) -> Item:
    calls = len(tally.latencies) / tally.seconds
    spans = {name: tally.percentile(percent) for name, percent in (("p50", 50), ("p99", 99), ("max", 100))}
    errors = sum(tally.failures.values()) + tally.wrong
    record = {
        "mode": mode,
        "keys": keys,
        "callers": callers,
        "seconds": round(tally.seconds, 3),
        "calls_per_s": round(calls, 1),
        "keys_per_s": round(calls * keys, 1),
        **{f"{name}_us": None if math.isnan(span) else round(span * 1e6, 1) for name, span in spans.items()},
        "errors": errors,
        "wrong": tally.wrong,
        "failures": dict(tally.failures),
        "client_cores": round(cores, 2),
    }
    shown = ["-" if math.isnan(span) else seconds_text(span) for span in spans.values()]
    return Item(record, [(mode, str(keys), str(callers), f"{calls:.0f}", f"{calls * keys:.0f}", *shown, str(errors))])


def _explain(screen: Screen, tally: Tally, cores: float) -> None:
    for name, count in tally.failures.most_common():
        screen.note(f"{count} calls ended with {name}")
    if tally.wrong:
        screen.note(f"{tally.wrong} answers were not the bytes that were written")
    if cores > BUSY_CORES:
        screen.note(f"This client used {cores:.2f} cores and was the limit itself: the server can do more. `make bench` has a faster one.")
