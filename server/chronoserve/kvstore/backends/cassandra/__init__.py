"""``cassandra://``: Apache Cassandra 4 or later. The stored layout is described in docs/reference/stores/cassandra.md.

``courier`` carries requests to the driver and answers back to the event loop, ``layout`` knows the tables, ``connection``
opens the driver, ``store`` is the port.
"""

import asyncio
import logging

from chronoserve.kvstore.backends.cassandra.connection import Connection, Settings
from chronoserve.kvstore.backends.cassandra.store import CassandraStore
from chronoserve.kvstore.port import KVStore
from chronoserve.kvstore.registry import Clock, StoreURL


async def open_store(url: StoreURL, *, clock: Clock) -> KVStore:
    settings = Settings.parse(url)
    logger = logging.getLogger("cassandra")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.ERROR)  # it reports every attempt to reconnect; the store's errors say the same once a call
    return CassandraStore(await asyncio.to_thread(Connection.open, settings), clock)
