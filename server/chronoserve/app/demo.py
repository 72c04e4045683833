"""``chronoserve demo``: a real server on the embedded store, Chronon's recorded bytes in, the same bytes and a join's features out.

The bytes are the puts of one recorded world of Chronon's JVM (uploads, streaming events, tiles, join configurations), and
the features are compared with what the JVM answered in that world.
"""

import asyncio
import gzip
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import click
import grpc

from chronoserve import __version__
from chronoserve.app.child_server import child_server
from chronoserve.app.connection import Server
from chronoserve.app.discovery import Reflection, call, request_of
from chronoserve.app.feature_table import Answered, heading, lines, record, types_of
from chronoserve.app.notation import Notation, show_time
from chronoserve.app.replay.compare import entry_differences
from chronoserve.app.replay.grpc_face import GrpcAnswers
from chronoserve.app.terminal import Screen, seconds_text, size_text
from chronoserve.codec.tagged import untag
from chronoserve.model.errors import Internal, KVError
from chronoserve.model.features import FeatureRequest
from chronoserve_client import AsyncClient, ChronoserveError, Dataset, Fetch, Get, Kind, Put, TimedValue

DATA = "demo_data.jsonl.gz"
ANSWER = "demo_answer.json"
"""A request of the same world, with what the JVM answered."""
SERVICE = "chronoserve.v1.KVStore"
CALL_SECONDS = 10.0
VALUES_SHOWN_MAX = 3
SHOWN_KEY = b"\x02\x0cuser_0"
"""A key that people can read in its hex: Avro of {"user": "user_0"}."""

Key = tuple[str, bytes]
Expected = Mapping[Key, Sequence[TimedValue]]


class Report:
    """Prints each step when it is done."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Times the block; what the block appends is its outcome."""
        said: list[str] = []
        began = time.perf_counter()
        yield said
        self.done(name, "".join(said), time.perf_counter() - began)

    def done(self, name: str, outcome: str, seconds: float) -> None:
        line = f"  {click.style('✓', fg='green')} {name:<11} {outcome:<64} {seconds_text(seconds):>9}"
        self._screen.tell({"step": name, "outcome": outcome, "seconds": round(seconds, 6)}, line)


@click.command()
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path, file_okay=False), help="Keep the store here.  [default: a temporary folder]"
)
@click.option("--stay/--no-stay", default=None, help="Go on serving until Ctrl-C.  [default: on a terminal]")
@click.option("--json", "json_lines", is_flag=True, help="One JSON object a step.")
def demo(*, directory: Path | None, stay: bool | None, json_lines: bool) -> None:
    """Show the whole way of the bytes.

    Starts a server on the embedded store, writes what Chronon's own jobs wrote, reads it back with the client and by
    reflection without any stubs, and compares every byte. Ends with commands to try.
    """
    screen = Screen(json_lines=json_lines)
    stay = screen.terminal if stay is None else stay
    try:
        with ExitStack() as stack:
            kept = directory is not None
            folder = directory or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chronoserve-demo-")))
            asyncio.run(_demo(screen, folder.resolve(), kept=kept, stay=stay))
    except (ChronoserveError, KVError) as error:
        screen.fail(error.message, reason=error.reason)
        click.get_current_context().exit(1)
    except asyncio.CancelledError:
        click.get_current_context().exit(1)


async def _demo(screen: Screen, folder: Path, *, kept: bool, stay: bool) -> None:
    end_on_signals()
    report = Report(screen)
    puts = load_puts()
    expected = expect(puts)
    screen.say(f"\nchronoserve {__version__}: what Chronon's JVM wrote, through a server and back\n")
    began = time.perf_counter()
    async with child_server(f"lmdb://{folder}") as address:
        report.done("server", f"listens on {address}, embedded store", time.perf_counter() - began)
        async with AsyncClient(address, timeout=CALL_SECONDS, write_timeout=CALL_SECONDS) as client:
            await _through_the_client(report, client, puts, expected)
            await _through_reflection(report, address, expected)
            fetched = await _fetched(report, client, address)
        screen.say("\n  Every byte came back. One key of them:\n")
        shown = next(key for key in expected if key[1] == SHOWN_KEY and key[0].endswith("_STREAMING"))
        _show_values(screen, shown, expected[shown])
        _show_features(screen, fetched)
        _show_next(screen, shown, _Ending(address if stay else None, folder if kept else None, _words(fetched.request)))
        if stay:
            screen.note(f"Serving on {address} until Ctrl-C.")
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()


def end_on_signals() -> None:
    """The server must not outlive the demo."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


async def _through_the_client(report: Report, client: AsyncClient, puts: Sequence[Put], expected: Expected) -> None:
    with report.step("Create") as said:
        made = [await client.create(dataset) for dataset in dict.fromkeys(put.dataset for put in puts)]
        said.append(f"{len(made)} datasets: {_count(made, Kind.LATEST)} LATEST, {_count(made, Kind.TIMED)} TIMED")
    with report.step("MultiPut") as said:
        for result in await client.multi_put(puts):
            result.unwrap()
        said.append(f"{len(puts)} values, {size_text(sum(len(put.value) for put in puts))}, each with a token of its own")
    with report.step("MultiPut") as said:
        for result in await client.multi_put(puts):
            result.unwrap()
        said.append("all of them once more: written twice is written once")
    with report.step("MultiGet") as said:
        results = await client.multi_get([Get(*key) for key in expected])
        found = {key: result.unwrap() for key, result in zip(expected, results, strict=True)}
        said.append(f"{_compare(found, expected)}: equal")


async def _through_reflection(report: Report, address: str, expected: Expected) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        with report.step("reflection") as said:
            reflection = Reflection(channel)
            services = await reflection.services()
            service = await reflection.service(SERVICE)
            said.append(f"{len(services)} services; {SERVICE} has {len(service.methods)} methods")
        with report.step("MultiGet") as said:
            method = service.methods_by_name["MultiGet"]
            request = request_of(method, requests=[{"dataset": dataset, "key_bytes": key} for dataset, key in expected])
            answer: Any = await call(channel, method, request)
            pairs = zip(expected, answer.responses, strict=True)
            found = {key: tuple(TimedValue(value.bytes, value.millis) for value in response.values) for key, response in pairs}
            said.append(f"{_compare(found, expected)}, from descriptors alone: equal")


async def _fetched(report: Report, client: AsyncClient, address: str) -> Answered:
    """The recorded request, asked of the server.

    Raises:
        Internal: it is answered otherwise than by the JVM.
    """
    answer = load_answer()
    request = Fetch(answer["name"], {name: untag(value) for name, value in answer["keys"].items()}, answer["at_millis"])
    with report.step("FetchJoins") as said:
        (row,) = await client.fetch_joins([request], freshness=True)
        await _compare_with_jvm(address, answer)
        said.append(f"{len(row.features)} features of {len(row.freshness)} group bys: equal to what the JVM answered")
    schema = await client.join_schema(request.name)
    return Answered(request, row, types_of(schema.value_schema), request.at or 0)


async def _compare_with_jvm(address: str, answer: Mapping[str, Any]) -> None:
    async with GrpcAnswers.to(Server(target=address)) as answers:
        request = FeatureRequest(answer["name"], {name: untag(value) for name, value in answer["keys"].items()}, answer["at_millis"])
        found = await answers.fetch("fetchJoin", [request], [dict(answer)])
    if found.call_error is not None:
        raise Internal(f"the features were not answered: {found.call_error['message']}")
    differences = list(entry_differences(answer["values"], found.responses[0].get("values") or {}, ""))
    if differences:
        raise Internal(f"{len(differences)} features are not what the JVM answered: {differences[0]}")


def load_answer() -> dict[str, Any]:
    """The recorded request: ``name``, tagged ``keys``, ``at_millis``, and the JVM's ``values``."""
    found: dict[str, Any] = json.loads(files("chronoserve.app").joinpath(ANSWER).read_bytes())
    return found


def load_puts() -> list[Put]:
    """The recorded puts in their order, each with a token of its own: equal values at one time stay two values."""
    data = gzip.decompress(files("chronoserve.app").joinpath(DATA).read_bytes())
    rows = [json.loads(line) for line in data.splitlines()]
    return [
        Put(row["dataset"], bytes.fromhex(row["key"]), bytes.fromhex(row["value"]), row["ts"], b"demo-%d" % number)
        for number, row in enumerate(rows)
    ]


def expect(puts: Sequence[Put]) -> dict[Key, list[TimedValue]]:
    """What a store must answer after ``puts``: of streaming datasets every value by time, of others the newest."""
    found: dict[Key, list[TimedValue]] = {}
    for put in puts:
        assert put.millis is not None, "recorded puts have times"
        values = found.setdefault((put.dataset, put.key), [])
        value = TimedValue(put.value, put.millis)
        if put.dataset.endswith("_STREAMING"):
            values.append(value)
        elif not values or values[0].millis <= put.millis:
            values[:] = [value]
    return {key: sorted(values, key=lambda value: value.millis) for key, values in found.items()}


def _compare(found: Mapping[Key, Sequence[TimedValue]], expected: Expected) -> str:
    """How much was compared.

    Raises:
        Internal: a key's values are not those that were written, or not oldest first. Values of one time have no order.
    """
    for key, values in expected.items():
        got = found[key]
        if [value.millis for value in got] != [value.millis for value in values] or sorted(got) != sorted(values):
            raise Internal(f"{key[0]} answers {len(got)} values that are not the {len(values)} written to hex:{key[1].hex()}")
    return f"{len(expected)} keys, {sum(map(len, expected.values()))} values"


def _count(made: Sequence[Dataset], kind: Kind) -> int:
    return sum(dataset.kind is kind for dataset in made)


def _show_values(screen: Screen, key: Key, values: Sequence[TimedValue]) -> None:
    notation = Notation()
    screen.say(f"  {key[0]}  {notation.show(key[1])}")
    for value, millis in values[:VALUES_SHOWN_MAX]:
        screen.say(f"    {show_time(millis)}  {notation.show(value)}")
    if len(values) > VALUES_SHOWN_MAX:
        screen.say(f"    … {len(values) - VALUES_SHOWN_MAX} more")


def _show_features(screen: Screen, fetched: Answered) -> None:
    if screen.json_lines:
        screen.tell(record(fetched), "")
        return
    screen.say(f"\n  {heading(fetched)}\n")
    for style, line in lines(fetched):
        screen.say(f"    {line}", style=style or None)


class _Ending(NamedTuple):
    """What is left when the demo has shown everything: a server that goes on at ``address``, a ``folder`` that stays."""

    address: str | None
    folder: Path | None
    fetch: str
    """The words that fetch what was shown."""

    def commands(self, dataset: str, key: str) -> list[str]:
        """What can be tried as it stands, in this order."""
        program = program_name()
        folder = self.folder or Path.cwd() / "chronoserve-demo"
        place = f"--server {self.address}" if self.address else f"--store lmdb://{folder}"
        commands = [
            f"{program} kv describe {place}",
            f"{program} kv get {dataset} {key} {place}",
            f"{program} kv scan ZIPLINE_METADATA --limit 1 {place}",
            f"{program} fetch join {self.fetch} {place}",
        ]
        if not self.address:
            commands.append(f"{program} serve --store lmdb://{folder}")
            if not self.folder:
                commands.insert(0, f"{program} demo --dir {folder}")
        served = self.address or "127.0.0.1:50051"
        return [*commands, f"grpcurl -plaintext {served} describe {SERVICE}", f"grpcurl -plaintext {served} {SERVICE}/GetCapabilities"]


def _words(request: Fetch) -> str:
    keys = " ".join(f"-k {name}={value}" for name, value in request.keys.items())
    return f"{request.name} {keys} --at {show_time(request.at or 0)}"


def program_name() -> str:
    """How this command is called from here: by name where the path finds it, else by the way that was taken."""
    if shutil.which("chronoserve"):
        return "chronoserve"
    invoked = Path(sys.argv[0])
    if invoked.name != "chronoserve":
        return "chronoserve"
    return min(str(invoked), os.path.relpath(invoked), key=len)


def _show_next(screen: Screen, shown: Key, ending: _Ending) -> None:
    screen.say("\n  Try next:\n")
    for command in ending.commands(shown[0], Notation().show(shown[1])):
        screen.say(f"    {command}", style="cyan")
    screen.say("")
