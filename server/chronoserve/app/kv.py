"""``chronoserve kv``: the KV store from a shell, with the same verbs and output for a server and for a store's URL."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import click

from chronoserve.app.bulk_meter import BulkMeter
from chronoserve.app.connection import Place, place_from, place_options, tell_failure
from chronoserve.app.kv_client import KVClient
from chronoserve.app.notation import Form, Notation, duration, reads, show_time, time_millis
from chronoserve.app.rows import BadRow, read_gets, read_puts
from chronoserve.app.terminal import Item, Screen
from chronoserve.model.errors import KVError
from chronoserve_client import (
    ChronoserveError,
    Dataset,
    GetResult,
    Kind,
    Put,
    PutResult,
    StoreCapability,
    TimedValue,
)

SCAN_PAGE_KEYS = 500

VALUE_COLUMNS = ("dataset", "key", "time", "value")
DATASET_COLUMNS = ("dataset", "kind", "ttl", "store")


@dataclass(frozen=True, slots=True)
class Session:
    """What a verb works with."""

    client: KVClient
    screen: Screen
    notation: Notation

    def key(self, text: str) -> bytes:
        """Raises click.BadParameter."""
        return self._bytes(text, "KEY")

    def value(self, text: str) -> bytes:
        """``-`` stands for standard input. Raises click.BadParameter."""
        return sys.stdin.buffer.read() if text == "-" else self._bytes(text, "VALUE")

    def token(self, text: str) -> bytes:
        """Raises click.BadParameter."""
        return self._bytes(text, "--idempotency-token")

    def _bytes(self, text: str, name: str) -> bytes:
        try:
            return self.notation.parse(text)
        except ValueError as wrong:
            raise click.BadParameter(str(wrong), param_hint=name) from wrong

    def values(self, dataset: str, key: bytes, found: Sequence[TimedValue]) -> Item:
        """A key with its values."""
        shown = self.notation.show(key)
        record = [{"value": self.notation.show(value), "ts": millis} for value, millis in found]
        rows = [(dataset, shown, self.time(millis), self.notation.show(value)) for value, millis in found]
        return Item({"dataset": dataset, "key": shown, "values": record}, rows)

    def time(self, millis: int) -> str:
        """Readable on a terminal, a number in a pipe."""
        return show_time(millis) if self.screen.terminal else str(millis)

    def result(self, dataset: str, key: bytes, result: GetResult) -> Item:
        """An answer of a batch: values, a miss or an error."""
        if result.error is None:
            return self.values(dataset, key, result.values)
        error = {"reason": result.error.reason, "message": result.error.message}
        return Item({"dataset": dataset, "key": self.notation.show(key), "error": error}, ())


Verb = Callable[..., Awaitable[bool]]


@click.group()
def kv() -> None:
    """The KV store from a shell: on a server, or with --store on a store itself.

    Keys and values are text; hex:0aff and base64:Cv8= say otherwise, and so do --hex and --base64 for all of them. What is
    not printable is shown as hex:…. Times are epoch milliseconds or ISO 8601. The exit code is 0 only if all was done.
    """


def verb(name: str) -> Callable[[Verb], click.Command]:
    """Makes a command of an async function that takes a ``Session`` and tells whether all was done."""

    def decorate(body: Verb) -> click.Command:
        def run(*, json_lines: bool, form: str | None, **given: Any) -> None:
            screen = Screen(json_lines=json_lines)
            place = place_from(given)
            done = asyncio.run(
                _run(name, place, screen, lambda client: body(Session(client, screen, Notation(Form(form or Form.TEXT))), **given))
            )
            if not done:
                click.get_current_context().exit(1)

        command = kv.command(name, help=body.__doc__)(place_options(_form_options(run)))
        command.params[:0] = reversed(getattr(body, "__click_params__", []))  # the verb's own come first in its help
        return command

    return decorate


def _form_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--json", "json_lines", is_flag=True, help="One JSON object a line."),
        click.option("--text", "form", flag_value="text", help="Keys and values are text.  [default]"),
        click.option("--base64", "form", flag_value="base64", help="Keys and values are base64."),
        click.option("--hex", "form", flag_value="hex", help="Keys and values are hexadecimal."),
    ):
        command = option(command)
    return command


async def _run(name: str, place: Place, screen: Screen, body: Callable[[KVClient], Awaitable[bool]]) -> bool:
    """The verb on an open client; whether all was done."""
    try:
        async with place.open(may_be_new=name == "create") as client:
            return await body(client)
    except (ChronoserveError, KVError) as error:
        tell_failure(screen, error, place.asked_server)
        return False


# datasets


@verb("create")
@click.argument("dataset")
@click.option("--kind", type=click.Choice(["latest", "timed"]), help="latest: the newest value of a key; timed: every value.  [by name]")
@click.option(
    "--ttl",
    metavar="DURATION",
    callback=reads(duration),
    help="Values expire this long after they were written: 90s, 12h, 7d.  [default: never]",
)
async def create(session: Session, dataset: str, kind: str | None, ttl: timedelta | None) -> bool:
    """Make a dataset.

    Repeated with the same properties that is fine. Without --kind names that end in _STREAMING are timed, all others
    latest.
    """
    made = await session.client.create(dataset, Kind[kind.upper()] if kind else None, ttl)
    session.screen.show(DATASET_COLUMNS, [_dataset(made)])
    return True


@verb("describe")
@click.argument("dataset", default="")
async def describe(session: Session, dataset: str) -> bool:
    """Describe a dataset, or every one."""
    session.screen.show(DATASET_COLUMNS, [_dataset(found) for found in await session.client.describe(dataset)])
    return True


@verb("capabilities")
async def capabilities(session: Session) -> bool:
    """What the stores can do, and the bounds of one call."""
    found = await session.client.capabilities()
    session.screen.show(
        ("store", "engine", "datasets", "can", "bounds", "an acknowledged write is"), [_store(each) for each in found.stores]
    )
    size = f" and {found.message_bytes_max} bytes" if found.message_bytes_max else ""
    bounds = {"keys_per_call_max": found.keys_per_call_max, "message_bytes_max": found.message_bytes_max}
    session.screen.tell(bounds, f"at most {found.keys_per_call_max} keys{size} a call")
    return True


# reads


@verb("get")
@click.argument("dataset")
@click.argument("key")
@click.option("--after", metavar="TIME", callback=reads(time_millis), help="Only values at or after this time.")
@click.option("--fail-on-miss", is_flag=True, help="Exit code 1 where the key has no value.")
async def get(session: Session, dataset: str, key: str, after: int | None, *, fail_on_miss: bool) -> bool:
    """Read the values of a key.

    A line is a value, oldest first. A key without a value is an answer too: nothing on standard output ("values": [] with
    --json), "no value" on standard error, exit code 0.
    """
    key_bytes = session.key(key)
    found = await session.client.get(dataset, key_bytes, after)
    item = session.values(dataset, key_bytes, found)
    session.screen.show(VALUE_COLUMNS[2:], [Item(item.record, [row[2:] for row in item.rows])])
    if not found:
        session.screen.note("no value")
    return bool(found) or not fail_on_miss


@verb("multi-get")
@click.option("-f", "--file", "source", type=click.File("rb"), required=True, help="JSON lines; - is standard input.")
@click.option("--fail-on-miss", is_flag=True, help="Exit code 1 where a key has no value.")
async def multi_get(session: Session, source: IO[bytes], *, fail_on_miss: bool) -> bool:
    """Read many keys of any datasets.

    A line is {"dataset": "D", "key": "K", "after": 0}; "after" may be left out. Answers come in the order of the lines.
    With --json each line has its answer: "values", which are [] for a miss, or "error".
    """
    failed = missed = 0
    for batch in read_gets(source, session.notation):
        failed += _report_bad(session.screen, batch.bad)
        results = await session.client.multi_get(batch.good) if batch.good else []
        asked = list(zip(batch.lines, batch.good, results, strict=True))
        session.screen.show(VALUE_COLUMNS, [session.result(get.dataset, get.key, result) for _, get, result in asked])
        for line, get, result in asked:
            if result.error is not None:
                failed += 1
                session.screen.fail(result.error.message, reason=result.error.reason, place=f"line {line}")
            elif not result.values:
                missed += 1
                session.screen.note(f"line {line}: no value for {session.notation.show(get.key)} in {get.dataset}")
    return not failed and not (missed and fail_on_miss)


@verb("scan")
@click.argument("dataset")
@click.option("--limit", type=click.IntRange(min=1), help="Stop after so many keys.  [default: all]")
async def scan(session: Session, dataset: str, limit: int | None) -> bool:
    """Print every key of a dataset with its values.

    The order is the store's own. With --json a line is one value, in the form that multi-put reads: scan A --json |
    multi-put -f - copies.
    """
    page: list[Item] = []
    keys = 0
    async for entry in session.client.scan(dataset, page_size=min(limit or SCAN_PAGE_KEYS, SCAN_PAGE_KEYS)):
        page += _scanned(session, dataset, session.values(dataset, entry.key, entry.values))
        keys += 1
        if keys == limit:
            break
        if keys % SCAN_PAGE_KEYS == 0:
            session.screen.show(VALUE_COLUMNS[1:], page)
            page.clear()
    session.screen.show(VALUE_COLUMNS[1:], page)
    session.screen.note(f"{keys} {'key' if keys == 1 else 'keys'}{', stopped at --limit' if keys == limit else ''}")
    return True


def _scanned(session: Session, dataset: str, item: Item) -> list[Item]:
    if not session.screen.json_lines:
        return [Item({}, [row[1:] for row in item.rows])]
    return [Item({"dataset": dataset, "key": item.record["key"], **value}, ()) for value in item.record["values"]]


# writes


@verb("put")
@click.argument("dataset")
@click.argument("key")
@click.argument("value")
@click.option("--ts", metavar="TIME", callback=reads(time_millis), help="Event time.  [default: the clock of the server]")
@click.option("--idempotency-token", default="", help="Names this write, so that repeating it changes nothing; at most 64 bytes.")
async def put(session: Session, dataset: str, key: str, value: str, *, ts: int | None, idempotency_token: str) -> bool:
    """Write one value.

    A VALUE of - is read from standard input.
    """
    request = Put(dataset, session.key(key), session.value(value), ts, session.token(idempotency_token))
    await session.client.put(dataset, request.key, request.value, millis=ts, idempotency_token=request.idempotency_token)
    session.screen.tell({"dataset": dataset, "key": session.notation.show(request.key), "ok": True}, "ok")
    return True


@verb("multi-put")
@click.option("-f", "--file", "source", type=click.File("rb"), required=True, help="JSON lines; - is standard input.")
async def multi_put(session: Session, source: IO[bytes]) -> bool:
    """Write many values, each on its own.

    A line is {"dataset": "D", "key": "K", "value": "V", "ts": 1700000000000, "token": "T"}; "ts" and "token" may be left
    out. Each line has its own outcome; those that failed are named on standard error.
    """
    written = failed = 0
    for batch in read_puts(source, session.notation):
        failed += _report_bad(session.screen, batch.bad)
        try:
            results = await session.client.multi_put(batch.good) if batch.good else []
        except ChronoserveError:
            session.screen.note(f"{written} written before line {batch.lines[0]}")
            raise
        outcomes = [(f"line {line}", result) for line, result in zip(batch.lines, results, strict=True)]
        refused = _report_failed(session.screen, outcomes)
        failed += refused
        written += len(results) - refused
    session.screen.tell({"written": written, "failed": failed}, f"{written} written, {failed} failed")
    return not failed


@verb("delete")
@click.argument("dataset")
@click.argument("keys", nargs=-1, required=True)
async def delete(session: Session, dataset: str, keys: tuple[str, ...]) -> bool:
    """Remove keys with all their values.

    An absent key is fine.
    """
    results = await session.client.delete(dataset, [session.key(key) for key in keys])
    failed = _report_failed(session.screen, list(zip(keys, results, strict=True)))
    removed = len(results) - failed
    session.screen.tell({"deleted": removed, "failed": failed}, f"{removed} deleted, {failed} failed")
    return not failed


@verb("bulk-put")
@click.argument("source", metavar="FILE")
@click.argument("dataset")
@click.option(
    "--partition", default="", metavar="DATE", help="yyyy-MM-dd: reads ds=DATE of a folder; rows without ts get the end of that day."
)
@click.option("--resume", default="", metavar="TOKEN", help="Continue a load that was broken off.")
async def bulk_put(session: Session, source: str, dataset: str, partition: str, resume: str) -> bool:
    """Load Parquet or Avro files.

    FILE, or the files of a folder, have the columns key_bytes, value_bytes and maybe ts. A server reads the file itself:
    it must see the same path. Where a load is broken off it is taken up again by itself a few times; after that the token
    to continue with is printed.
    """
    meter = BulkMeter(session.screen)
    load = session.client.bulk_put(_source_path(source), dataset, partition=partition, resume_token=resume)
    token = resume
    try:
        with meter:
            async for progress in _flowing(load):
                meter.show(progress)
                token = progress.resume_token or token
    except BaseException:
        if token:
            session.screen.note(f"Continue with: --resume {token}")
        raise
    return meter.finish()


def _source_path(text: str) -> str:
    """A source as a server on this machine finds it: absolute where it is here, as given where it is not."""
    path = Path(text.removeprefix("file://"))
    return str(path.resolve()) if path.exists() else text


async def _flowing(load: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """``load``, closed when the loop over it is left: the server stops then, too."""
    try:
        async for progress in load:
            yield progress
    finally:
        close = getattr(load, "aclose", None)
        if close is not None:
            await close()


# shapes


def _dataset(found: Dataset) -> Item:
    ttl_millis = found.ttl // timedelta(milliseconds=1) if found.ttl else 0
    record = {"name": found.name, "kind": found.kind.name, "ttl_millis": ttl_millis, "store": found.store}
    return Item(record, [(found.name, found.kind.name, f"{ttl_millis / 1000:g} s" if ttl_millis else "never expires", found.store)])


def _store(found: StoreCapability) -> Item:
    flags = ("timed", "ttl", "scan", "delete", "durable", "linearizable")
    can = " ".join(flag for flag in flags if getattr(found, flag))
    bounds = f"keys {found.key_bytes_max} B, values {found.value_bytes_max} B"
    row = (found.store, found.engine, " ".join(found.datasets), can, bounds, found.durability)
    return Item({name: getattr(found, name) for name in found.__slots__}, [row])


def _report_bad(screen: Screen, bad: Sequence[BadRow]) -> int:
    for line, message in bad:
        screen.fail(message, reason="INVALID_REQUEST", place=f"line {line}")
    return len(bad)


def _report_failed(screen: Screen, outcomes: Sequence[tuple[str, PutResult]]) -> int:
    """Name each write that was not acknowledged; how many there are."""
    failed = [(place, result.error) for place, result in outcomes if result.error is not None]
    for place, error in failed:
        screen.fail(error.message, reason=error.reason, place=place)
    return len(failed)
