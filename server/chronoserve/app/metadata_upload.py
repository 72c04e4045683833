"""``chronoserve metadata-upload``: compiled confs into a store, so that joins can be fetched by name."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from chronoserve.app.connection import Place, place_from, place_options, tell_failure
from chronoserve.app.kv_client import KVClient
from chronoserve.app.terminal import Item, Screen
from chronoserve.ingest.metadata import (
    GROUP_PUTS,
    Conf,
    Endpoint,
    MetadataPut,
    Refused,
    Skipped,
    conf_puts,
    groups,
    team_lists,
    team_puts,
    walk,
)
from chronoserve.model.errors import KVError
from chronoserve_client import ChronoserveError, Get, Kind, Put

COLUMNS = ("key", "team", "file", "outcome")
BOTH = tuple(endpoint.value for endpoint in Endpoint)


@click.command("metadata-upload")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--end-point-name", "endpoints", type=click.Choice(BOTH), multiple=True, help="Write only this dataset.  [default: both]")
@click.option("--batch-size", type=click.IntRange(1, 1000), default=GROUP_PUTS, show_default=True, help="Puts in one call.")
@click.option("--replace-lists", is_flag=True, help="The lists by team become what PATH holds, as Chronon has it; for whole folders.")
@click.option("--lenient", is_flag=True, help="Exit with 0 although files were refused.")
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@click.option("--json", "json_lines", is_flag=True, help="One JSON object a file, then one with the sum.")
@place_options
def metadata_upload(*, path: Path, endpoints: Sequence[str], batch_size: int, replace_lists: bool, lenient: bool, dry_run: bool,
                    json_lines: bool, **given: Any) -> None:  # fmt: skip
    """Write the confs of PATH, a file or a folder, to ZIPLINE_METADATA, and the lists by team to CHRONON_ENTITY_BY_TEAM.

    A conf's key is the last three segments of its path, as joins/team/name.v1. A file with a field that Chronon does not
    know is refused and named; the others are written all the same, and the exit code is 1. Lists by team are merged with
    those in the store.
    """
    screen = Screen(json_lines=json_lines)
    place = place_from(given)
    upload = _Upload(screen, endpoints or BOTH, batch_size, merge=not replace_lists, dry_run=dry_run)
    try:
        done = asyncio.run(upload.run(place, path))
    except (ChronoserveError, KVError) as error:
        tell_failure(screen, error, place.asked_server)
        done = False
    else:
        done = done and (lenient or not upload.refused)
    if not done:
        click.get_current_context().exit(1)


@dataclass(slots=True)
class _Upload:
    screen: Screen
    endpoints: Sequence[str]
    batch_size: int
    merge: bool
    dry_run: bool
    confs: list[Conf] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    async def run(self, place: Place, path: Path) -> bool:
        """Whether everything that could be written was, and there was something."""
        self._examine(path)
        written = failed = 0
        if self.confs and not self.dry_run:
            async with place.open(may_be_new=True) as client:
                written, failed = await self._write(client)
        self._show_sum(written, failed)
        return bool(self.confs) and not failed

    def _examine(self, path: Path) -> None:
        for found in walk(path):
            match found:
                case Conf():
                    self.confs.append(found)
                case Refused():
                    self.refused.append(found)
                    self.screen.fail(found.reason, reason="REFUSED", place=str(found.path))
                case Skipped():
                    self.skipped.append(found)
        self.screen.show(COLUMNS, [self._item(conf) for conf in self.confs])

    def _item(self, conf: Conf) -> Item:
        outcome = "would be written" if self.dry_run else "accepted"
        record = {"key": conf.key, "kind": conf.kind.value, "team": conf.team, "file": str(conf.path), "dry_run": self.dry_run}
        return Item(record, [(conf.key, conf.team or "", str(conf.path), outcome)])

    async def _write(self, client: KVClient) -> tuple[int, int]:
        """How many puts were written, and how many were not."""
        for endpoint in self.endpoints:
            await client.create(endpoint, Kind.LATEST)
        puts = [*self._conf_puts(), *await self._team_puts(client)]
        written = failed = 0
        for group in groups(puts, self.batch_size):
            results = await client.multi_put([Put(put.dataset, put.key, put.value) for put in group])
            for put, result in zip(group, results, strict=True):
                if result.error is None:
                    written += 1
                else:
                    failed += 1
                    self.screen.fail(result.error.message, reason=result.error.reason, place=put.key.decode())
            self.screen.note(
                f"{written + failed} of {len(puts)} entries written" if not failed else f"{failed} of {len(puts)} entries failed"
            )
        return written, failed

    def _conf_puts(self) -> Iterable[MetadataPut]:
        return conf_puts(self.confs) if Endpoint.CONFS.value in self.endpoints else ()

    async def _team_puts(self, client: KVClient) -> Iterable[MetadataPut]:
        if Endpoint.TEAMS.value not in self.endpoints:
            return ()
        lists = team_lists(self.confs)
        return team_puts(lists, await self._stored(client, list(lists)) if self.merge else {})

    async def _stored(self, client: KVClient, keys: Sequence[str]) -> dict[str, bytes]:
        """Raises ChronoserveError where a list cannot be read: merging with nothing would lose what it holds."""
        found = await client.multi_get([Get(Endpoint.TEAMS.value, key.encode()) for key in keys])
        values = {key: result.unwrap() for key, result in zip(keys, found, strict=True)}
        return {key: timed[-1].value for key, timed in values.items() if timed}

    def _show_sum(self, written: int, failed: int) -> None:
        record = {
            "accepted": len(self.confs), "refused": len(self.refused), "skipped": len(self.skipped), "written": written, "failed": failed,
        }  # fmt: skip
        text = f"{len(self.confs)} confs accepted, {len(self.refused)} refused, {len(self.skipped)} other files; {written} entries written"
        self.screen.tell(record, text if not failed else f"{text}, {failed} failed")
