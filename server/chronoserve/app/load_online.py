"""What every way to load asks of the store before and after it: that the upload is not an old one, and that the rows are there."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chronoserve.ingest.source import Row
from chronoserve.model import naming, values
from chronoserve.model.errors import FailedPrecondition, KVError
from chronoserve.service.gateway import Gateway

READ_SECONDS = 10.0
READ_KEYS = 1_000


@dataclass(frozen=True, slots=True)
class _Get:
    dataset: str
    key_bytes: bytes
    after_ts_millis: int = 0


def deadline() -> float:
    return asyncio.get_running_loop().time() + READ_SECONDS


async def expect_newer(gateway: Gateway, dataset: str, partition: str, end_millis: int) -> None:
    """Raises FailedPrecondition where what is online is newer than the upload of ``partition``, which ends at ``end_millis``."""
    (found,) = await read(gateway, dataset, [naming.SERVING_INFO_KEY])
    online = values.latest(found) if isinstance(found, bytes) else None
    if online is not None and online.millis > end_millis:
        raise FailedPrecondition(f"{dataset} has a newer upload than {partition}; --force loads it all the same")


async def expect_written(gateway: Gateway, dataset: str, rows: Iterable[Row], end_millis: int) -> int:
    """How many rows were compared. Raises FailedPrecondition where one is not online: something else writes or removes there."""
    sample = list(rows)
    found = await read(gateway, dataset, [row.key for row in sample]) if sample else []
    for (_, value, ts), answer in zip(sample, found, strict=True):
        newest = values.latest(answer) if isinstance(answer, bytes) else None
        millis = end_millis if ts is None else ts
        if newest is None or newest.millis < millis or (newest.millis == millis and newest.bytes != value):
            raise FailedPrecondition(f"{dataset} does not hold what was written; does another job load or delete there?")
    return len(sample)


async def read(gateway: Gateway, dataset: str, keys: Sequence[bytes]) -> list[bytes | KVError]:
    """What is online for each key, in as many calls as it takes."""
    found: list[bytes | KVError] = []
    for at in range(0, len(keys), READ_KEYS):
        found += await gateway.multi_get([_Get(dataset, key) for key in keys[at : at + READ_KEYS]], deadline=deadline())
    return found
