"""``chronoserve quickstart``: from raw tables to a row of features, the whole way, on any store.

Tables of a small shop are generated, the shipped group bys are uploaded from them without a JVM, loaded into the store,
a server is started on it, and the training-set join is fetched for one checkout.
"""

import asyncio
import shutil
import tempfile
import time
from contextlib import ExitStack, aclosing, suppress
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import click

from chronoserve import __version__
from chronoserve.app import logs
from chronoserve.app.child_server import child_server
from chronoserve.app.connection import SERVER, Place, Server
from chronoserve.app.demo import Report, end_on_signals, program_name
from chronoserve.app.feature_table import Answered, heading, lines, record, types_of
from chronoserve.app.notation import show_time
from chronoserve.app.terminal import Screen, seconds_text
from chronoserve.app.upload import DUCKDB, UploadJob
from chronoserve.app.upload_meter import UploadMeter
from chronoserve.model.errors import KVError
from chronoserve.model.partitions import PartitionSpec
from chronoserve_client import AsyncClient, ChronoserveError, Fetch, Kind, Put

CONFS = "quickstart_confs"
JOIN = "quickstart/training_set.v1"
GROUP_BYS = ("purchases.v1", "returns.v1", "users.v1")
CALL_SECONDS = 10.0


@click.command()
@click.option("--store", metavar="URL", help="redis://host, cassandra://host, lmdb:///dir, …  [default: an embedded one]")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep tables, confs and store here.  [default: a temporary folder]",
)
@click.option("--stay/--no-stay", default=None, help="Go on serving until Ctrl-C.  [default: on a terminal]")
@click.option("--json", "json_lines", is_flag=True, help="One JSON object a step.")
def quickstart(*, store: str | None, directory: Path | None, stay: bool | None, json_lines: bool) -> None:
    """Show the whole way: raw tables, uploads, a load, a server, a row of features.

    Nothing has to be installed beside chronoserve: uploads are made in this process, and the store is embedded unless
    another one is named. Ends with commands to try.
    """
    logs.configure("error")
    screen = Screen(json_lines=json_lines)
    stay = screen.terminal if stay is None else stay
    try:
        with ExitStack() as stack:
            folder = directory or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chronoserve-quickstart-")))
            shop = Shop(folder.resolve(), store or f"lmdb://{folder.resolve()}/store", kept=directory is not None)
            asyncio.run(_Quickstart(screen, shop, stay=stay).run())
    except (ChronoserveError, KVError) as error:
        screen.fail(error.message, reason=error.reason)
        click.get_current_context().exit(1)
    except asyncio.CancelledError:
        click.get_current_context().exit(1)


@dataclass(frozen=True, slots=True)
class Shop:
    """Where everything is: tables in ``warehouse``, confs in ``repo``, values in ``store``."""

    folder: Path
    store: str
    kept: bool

    @property
    def warehouse(self) -> Path:
        return self.folder / "warehouse"

    @property
    def repo(self) -> Path:
        return self.folder / "confs"

    def conf(self, name: str) -> Path:
        return self.repo / "production" / "group_bys" / "quickstart" / name


class _Quickstart:
    """One run of the verb."""

    def __init__(self, screen: Screen, shop: Shop, *, stay: bool) -> None:
        self._screen = screen
        self._shop = shop
        self._stay = stay
        self._report = Report(screen)

    async def run(self) -> None:
        """Raises KVError or ChronoserveError where a step fails."""
        from chronoserve.app.quickstart_data import LAST_DAY

        end_on_signals()
        began = time.monotonic()
        self._screen.say(f"\nchronoserve {__version__}: from raw tables to online features\n")
        await asyncio.to_thread(self._tables)
        tables = [await asyncio.to_thread(self._upload, name, str(LAST_DAY)) for name in GROUP_BYS]
        await self._load(tables, str(LAST_DAY))
        await self._metadata()
        served = time.perf_counter()
        async with child_server(self._shop.store) as address:
            self._report.done("server", f"listens on {address}", time.perf_counter() - served)
            await self._fetch(address)
            self._screen.say(f"\n  {seconds_text(time.monotonic() - began)} from nothing to features.")
            self._show_next(address)
            if self._stay:
                self._screen.note(f"Serving on {address} until Ctrl-C.")
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()

    def _tables(self) -> None:
        from chronoserve.app.quickstart_data import DAYS, write_tables

        with self._report.step("tables") as said:
            shutil.rmtree(self._shop.warehouse / "shop.db", ignore_errors=True)
            counts = write_tables(self._shop.warehouse)
            said.append(f"{sum(counts.values())} rows of {DAYS} days: {', '.join(counts)}")
        with self._report.step("confs") as said, as_file(files("chronoserve.app").joinpath(CONFS)) as shipped:
            shutil.copytree(shipped, self._shop.repo, dirs_exist_ok=True)
            said.append(f"{len(GROUP_BYS)} group bys and a join, as compile.py writes them")

    def _upload(self, name: str, ds: str) -> str:
        """Make one group by's upload table; its name."""
        spec = PartitionSpec()
        with self._report.step("upload") as said:
            job = UploadJob.of(
                conf=self._shop.conf(name), ds=ds, warehouse=str(self._shop.warehouse), output=None, engine=DUCKDB, table_format=None,
                memory_mb=512, partition_column=spec.column, partition_format=spec.format,
            )  # fmt: skip
            done = job.run(UploadMeter(self._screen, job.table))
            kind = f"{job.group_by.inferred_accuracy.name.lower()} {job.group_by.data_model.value}"
            said.append(f"{name} ({kind}): {done.rows_read} rows, {done.rows - 1} keys")
        return done.table

    async def _load(self, tables: list[str], ds: str) -> None:
        from chronoserve.app.compose import clock, compose
        from chronoserve.app.settings import load
        from chronoserve.ingest.upload_table import dataset_of
        from chronoserve.service.bulk import BulkLoader, Load
        from chronoserve.warehouse.places import open_warehouse

        warehouse = open_warehouse(str(self._shop.warehouse))
        composed = await compose(load(None, {"stores": {"default": {"url": self._shop.store}}}))
        try:
            loader = BulkLoader(composed.gateway, roots=None, clock=clock, warehouse=lambda: warehouse, partitions=PartitionSpec())
            with self._report.step("load") as said:
                rows = 0
                for table in tables:
                    deadline = asyncio.get_running_loop().time() + CALL_SECONDS
                    await composed.gateway.create(dataset_of(table), None, 0, deadline=deadline)
                    async with aclosing(loader.run(Load(table, dataset_of(table), ds, "", 0))) as running:
                        async for progress in running:
                            rows += progress.rows_written if progress.done else 0
                said.append(f"{rows} rows into {len(tables)} datasets of {self._shop.store.partition(':')[0]}, each as a whole")
        finally:
            await composed.close()

    async def _metadata(self) -> None:
        from chronoserve.ingest.metadata import Conf, Endpoint, conf_puts, team_lists, team_puts, walk

        confs = [found for found in walk(self._shop.repo / "production") if isinstance(found, Conf)]
        puts = [*conf_puts(confs), *team_puts(team_lists(confs), {})]
        with self._report.step("metadata") as said:
            place = Place(server=Server(target=SERVER), store=self._shop.store)
            async with place.open(may_be_new=True) as client:
                for endpoint in Endpoint:
                    await client.create(endpoint.value, Kind.LATEST)
                for result in await client.multi_put([Put(put.dataset, put.key, put.value) for put in puts]):
                    result.unwrap()
            said.append(f"{len(confs)} confs: joins can be fetched by name")

    async def _fetch(self, address: str) -> None:
        from chronoserve.app.quickstart_data import shown_checkout

        user, at = shown_checkout()
        request = Fetch(JOIN, {"user_id": user}, at)
        async with AsyncClient(address, timeout=CALL_SECONDS, write_timeout=CALL_SECONDS) as client:
            with self._report.step("FetchJoins") as said:
                (row,) = await client.fetch_joins([request], freshness=True)
                said.append(f"{len(row.features)} features of {len(row.freshness)} group bys, for one checkout")
            schema = await client.join_schema(JOIN)
        self._show(Answered(request, row, types_of(schema.value_schema), at))

    def _show(self, answered: Answered) -> None:
        if self._screen.json_lines:
            self._screen.tell(record(answered), "")
            return
        self._screen.say(f"\n  {heading(answered)}\n")
        for style, line in lines(answered):
            self._screen.say(f"    {line}", style=style or None)

    def _show_next(self, address: str) -> None:
        """Commands that work as they stand: on the server while it stays, on a store that stays, or after a run that keeps one."""
        program, shop = program_name(), self._shop
        lasting = shop.kept or not shop.store.startswith(f"lmdb://{shop.folder}")
        place = f"--server {address}" if self._stay else f"--store {shop.store}"
        user, at = _words()
        commands = [f"{program} fetch join {JOIN} -k user_id={user} --at {at} {place}", f"{program} schema join {JOIN} {place}"]
        if shop.kept:
            conf = shop.conf("purchases.v1")
            commands.append(f"{program} upload --conf {conf} --ds 2024-03-30 --warehouse {shop.warehouse} --dry-run")
        if not lasting and not self._stay:
            commands = [f"{program} quickstart --dir {Path.cwd() / 'chronoserve-quickstart'}"]
        self._screen.say("\n  Try next:\n")
        for command in commands:
            self._screen.say(f"    {command}", style="cyan")
        self._screen.say("")


def _words() -> tuple[str, str]:
    from chronoserve.app.quickstart_data import shown_checkout

    user, at = shown_checkout()
    return user, show_time(at)
