"""From a ``mongodb://`` URL to connections: MongoDB's own options, our defaults, and what the engine must have before it is used."""

import asyncio
import re
from dataclasses import dataclass
from typing import Any

import pymongo
import structlog
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConfigurationError, OperationFailure

from chronoserve.kvstore.backends.mongodb import layout
from chronoserve.kvstore.backends.mongodb.calls import Calls, SentWrites
from chronoserve.kvstore.backends.mongodb.layout import Document
from chronoserve.kvstore.registry import StoreURL
from chronoserve.model.errors import InvalidRequest

log = structlog.get_logger("chronoserve.kvstore.mongodb")

DATABASE = "chronoserve"

CLOSE_SECONDS_MAX = 1.0

DATABASE_PATH = re.compile(r"/?|/[A-Za-z0-9_-]{1,63}")

OPTIONS = (
    "appName",
    "authMechanism",
    "authSource",
    "compressors",
    "connectTimeoutMS",
    "directConnection",
    "heartbeatFrequencyMS",
    "journal",
    "loadBalanced",
    "localThresholdMS",
    "maxConnecting",
    "maxIdleTimeMS",
    "maxPoolSize",
    "maxStalenessSeconds",
    "minPoolSize",
    "readConcernLevel",
    "readPreference",
    "replicaSet",
    "serverMonitoringMode",
    "srvMaxHosts",
    "srvServiceName",
    "tls",
    "tlsAllowInvalidCertificates",
    "tlsAllowInvalidHostnames",
    "tlsCAFile",
    "tlsCRLFile",
    "tlsCertificateKeyFile",
    "tlsDisableOCSPEndpointCheck",
    "w",
    "zlibCompressionLevel",
)
"""MongoDB's own connection string options that are handed on."""

OURS = ("retryReads", "retryWrites", "serverSelectionTimeoutMS", "socketTimeoutMS", "timeoutMS", "waitQueueTimeoutMS", "wTimeoutMS")
"""MongoDB's options that are refused: what they set follows from each call's deadline and from the retry layer."""

DEFAULTS = {
    "appName": "chronoserve",
    "connectTimeoutMS": "5000",
    "journal": "true",
    "readConcernLevel": "majority",
    "w": "majority",
}

TTL_REFUSED = frozenset({67, 115, 197, 238})
"""Codes of engines without TTL indexes: CannotCreateIndex, CommandNotSupported, InvalidIndexSpecificationOption, NotImplemented."""


@dataclass(frozen=True, slots=True)
class Databases:
    """The database through two clients with a pool each: a connection carries one command at a time, so a burst of slow
    writes in a common pool would keep reads waiting.
    """

    reads: AsyncDatabase[Document]
    writes: AsyncDatabase[Document]
    calls: Calls

    async def close(self) -> None:
        """Also where the engine does not answer: the driver says good-bye to it first."""
        self.calls.end()
        with pymongo.timeout(CLOSE_SECONDS_MAX):
            await asyncio.gather(self.reads.client.close(), self.writes.client.close())


def connect(url: StoreURL) -> Databases:
    """Clients that have not dialled yet. Raises InvalidRequest for a URL that MongoDB's rules or ours do not allow."""
    check_options(url)
    name = url.path.strip("/") or DATABASE
    reads, writes = _client(url)[name], _client(url, event_listeners=[SentWrites()])[name]
    return Databases(reads, writes, Calls(lambda: reads.client.topology_description.has_readable_server(reads.read_preference)))


def _client(url: StoreURL, **more: Any) -> AsyncMongoClient[Document]:
    hosts = ",".join(host_text(host, port) for host, port in url.hosts) or "localhost"
    options: dict[str, Any] = {**DEFAULTS, **url.options, "retryReads": False, "retryWrites": False, **more}
    try:
        return AsyncMongoClient(f"{url.scheme}://{hosts}{url.path}", username=url.username, password=url.password, **options)
    except OSError as error:
        raise InvalidRequest(f"a file that {url.scheme}:// names for TLS cannot be read: {error.strerror}") from error
    except (ConfigurationError, TypeError, ValueError) as error:
        raise InvalidRequest(f"the MongoDB driver does not accept this {url.scheme}:// URL: {error}") from error


def check_options(url: StoreURL) -> None:
    """Raises InvalidRequest for what is misspelt, ours to set, or would leave writes without an answer."""
    for name in OURS:
        if name in url.options:
            raise InvalidRequest(
                f"leave {name} out of the {url.scheme}:// URL: it follows from each call's deadline and chronoserve's own retries"
            )
    url.expect(*OPTIONS)
    if url.options.get("w") == "0":
        raise InvalidRequest("w=0 acknowledges nothing, so nobody could say whether a write was applied: leave it out")
    if not DATABASE_PATH.fullmatch(url.path):
        raise InvalidRequest(f"the path of a {url.scheme}:// URL is a database of at most 63 of the characters A-Z a-z 0-9 _ -")


def host_text(host: str, port: int | None) -> str:
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if port is None else f"{bracketed}:{port}"


async def is_ferretdb_1(databases: Databases, deadline: float) -> bool:
    """Raises KVError where the engine does not answer."""
    async with databases.calls.reading(deadline):
        built = await databases.reads.command("buildInfo")
    return str(built.get("ferretdbVersion", "")).startswith("v1.")


async def make_indexes(databases: Databases, deadline: float) -> None:
    """Raises KVError where they cannot be made."""
    async with databases.calls.reading(deadline):
        await databases.writes[layout.TIMED].create_index(layout.BY_IDENTITY, name="identity", unique=True)
        for collection in (layout.LATEST, layout.TIMED):
            try:
                await databases.writes[collection].create_index([("x", 1)], name="expiry", expireAfterSeconds=0)
            except OperationFailure as error:
                if error.code not in TTL_REFUSED:
                    raise
                log.warning(
                    "no_ttl_index", advice="expired values are not returned, but this engine keeps them: delete them by the field x"
                )
                return
