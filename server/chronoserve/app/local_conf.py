"""A join fetched by a conf of this machine, on the data of a server or a store: nothing has to be uploaded for it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from chronoserve.app.compose import clock
from chronoserve.app.kv_client import KVClient
from chronoserve.app.store_features import asked, client_row
from chronoserve.codec import confs
from chronoserve.fetcher.fetch import Fetcher
from chronoserve.fetcher.ports import Read
from chronoserve.model import errors, values
from chronoserve.model.confs import Join
from chronoserve.model.errors import InvalidRequest, KVError
from chronoserve.model.types import short_name
from chronoserve_client import ChronoserveError, FeatureRow, Fetch, Get

SECONDS = 10.0


class ClientReads:
    """The fetcher's reads through a client: a server's, or that of a store in this process."""

    def __init__(self, client: KVClient) -> None:
        self._client = client

    async def multi_get(self, requests: Sequence[Read], *, deadline: float) -> list[bytes | KVError]:
        """See ``fetcher.ports.Reads``."""
        try:
            found = await self._client.multi_get([Get(read.dataset, read.key_bytes, read.after_ts_millis or None) for read in requests])
        except ChronoserveError as error:
            raise _own(error) from error
        return [_own(each.error) if each.error else _travelling(each.values) for each in found]


def _own(error: ChronoserveError) -> KVError:
    """Our error of the same name: the two trees have the same classes."""
    kind: type[KVError] = getattr(errors, type(error).__name__)
    return kind(error.message, retry_after=error.retry_after)


def _travelling(found: Sequence[tuple[bytes, int]]) -> bytes:
    return b"".join(values.encode(value, millis) for value, millis in found)


class LocalJoin:
    """Fetches by one conf. ``types``: of the features, by name; known once something was fetched."""

    def __init__(self, client: KVClient, conf: Join) -> None:
        self._conf = conf
        self._fetcher = Fetcher(ClientReads(client), clock=clock)
        self.types: dict[str, str] = {}

    async def fetch(self, requests: Sequence[Fetch]) -> list[FeatureRow]:
        """As the client does. Raises KVError where no row could be attempted."""
        deadline = asyncio.get_running_loop().time() + SECONDS
        rows = await self._fetcher.fetch_joins([asked(each) for each in requests], deadline=deadline, conf=self._conf, structured=True)
        for row in rows:
            self.types |= {name: short_name(data_type) for name, data_type in row.types.items()}
        return [client_row(row, freshness=True) for row in rows]


def local_join(client: KVClient, path: Path) -> LocalJoin:
    """Raises InvalidRequest where the file is no join's conf."""
    try:
        return LocalJoin(client, confs.join(path.read_bytes()))
    except OSError as unreadable:
        raise InvalidRequest(f"{path} cannot be read: {unreadable.strerror}") from unreadable
