"""The demo's recorded world, for verbs that fetch features: put into a server or a store."""

import asyncio

from chronoserve.app.connection import Place, Server
from chronoserve.app.demo import load_puts

AT = "2023-08-16T00:00:00Z"
AT_MILLIS = 1692144000000
JOIN = "test/j_multi_4.v1"
GROUP_BY = "test.dim_noagg_4.v1"


async def _fill(place: Place) -> None:
    puts = load_puts()
    async with place.open(may_be_new=True) as client:
        for dataset in dict.fromkeys(put.dataset for put in puts):
            await client.create(dataset)
        for result in await client.multi_put(puts):
            result.unwrap()


def fill(*, server: str | None = None, store: str | None = None) -> None:
    asyncio.run(_fill(Place(server=Server(target=server or ""), store=store)))
