"""The URL of a Cassandra store, and from it an open driver with the tables and statements that the store needs."""

import contextlib
import random
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import cassandra
from cassandra import ConsistencyLevel, DependencyException
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.policies import DCAwareRoundRobinPolicy, FallthroughRetryPolicy, ReconnectionPolicy, TokenAwarePolicy
from cassandra.protocol import ErrorMessage
from cassandra.query import tuple_factory

from chronoserve.kvstore.backends.cassandra.courier import opening_error
from chronoserve.kvstore.backends.cassandra.layout import (
    KEY_BYTES_MAX,
    READS,
    TABLES,
    TIMED_ROWS_PER_PAGE,
    VALUE_BYTES_MAX,
    WRITES,
    Statements,
)
from chronoserve.kvstore.port import Capability
from chronoserve.kvstore.registry import StoreURL
from chronoserve.model.errors import FailedPrecondition, InvalidRequest

PORT = 9042
PROTOCOL_VERSION = 4
"""Of CQL's native protocol. The driver computes version 5's checksums in Python: half as much CPU again for a read."""

REPLICATION = 3
OPEN_REQUEST_SECONDS = 10.0
"""Time limit of one request while the store is opened."""

DRIVER_ERRORS = (cassandra.DriverException, ErrorMessage, NoHostAvailable, ConnectionException, OSError)

KEYSPACE = re.compile(r"[A-Za-z0-9_]{1,48}")
OPTIONS = (
    *("consistency", "write_consistency", "local_dc", "replication"),
    *("connect_timeout_ms", "reconnect_ms", "heartbeat_ms"),
    *("tls", "ca", "cert", "key", "verify_hostname"),
)
FLAGS = {"on": True, "true": True, "off": False, "false": False}

QUORUMS = frozenset({ConsistencyLevel.QUORUM, ConsistencyLevel.LOCAL_QUORUM, ConsistencyLevel.EACH_QUORUM, ConsistencyLevel.ALL})
LEVEL_NAMES = ("local_quorum", "quorum", "each_quorum", "all", "local_one", "one", "two", "three")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A ``cassandra://`` URL, checked. Times are in seconds."""

    contact_points: tuple[tuple[str, int], ...]
    keyspace: str
    username: str | None
    password: str = field(repr=False)
    read_consistency: int
    write_consistency: int
    local_dc: str
    replication: int
    """Copies in a keyspace that this store creates; 0: three, or as many as there are nodes."""
    connect_seconds: float
    reconnect_seconds: float
    heartbeat_seconds: float
    tls: bool
    ca: str | None
    cert: str | None
    key: str | None
    verify_hostname: bool

    @classmethod
    def parse(cls, url: StoreURL) -> "Settings":
        """Raises InvalidRequest for what is missing, unknown or malformed."""
        url.expect(*OPTIONS)
        options = url.options
        keyspace = url.path.strip("/")
        if not url.hosts or not KEYSPACE.fullmatch(keyspace):
            raise InvalidRequest("a Cassandra store is cassandra://host[:port][,host…]/keyspace, the keyspace of letters, digits and _")
        port = next((port for _, port in url.hosts if port), PORT)
        consistency = options.get("consistency", "local_quorum")
        files = [options.get(name) for name in ("ca", "cert", "key")]
        if bool(files[1]) != bool(files[2]):
            raise InvalidRequest("the options cert and key of cassandra:// go together: the client's certificate and its key")
        return cls(
            contact_points=tuple((host, own or port) for host, own in url.hosts),
            keyspace=keyspace,
            username=url.username,
            password=url.password or "",
            read_consistency=_consistency("consistency", consistency),
            write_consistency=_consistency("write_consistency", options.get("write_consistency", consistency)),
            local_dc=options.get("local_dc", ""),
            replication=int(url.number("replication", 0)),
            connect_seconds=url.number("connect_timeout_ms", 5000, least=100) / 1000,
            reconnect_seconds=url.number("reconnect_ms", 400, least=50) / 1000,
            heartbeat_seconds=url.number("heartbeat_ms", 5000, least=1000) / 1000,
            tls=_flag(options, "tls", default=any(files)),
            ca=files[0],
            cert=files[1],
            key=files[2],
            verify_hostname=_flag(options, "verify_hostname", default=True),
        )

    def ssl_context(self) -> ssl.SSLContext | None:
        """Reads the named files. Raises InvalidRequest where they do not hold what they should."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert:
                context.load_cert_chain(self.cert, self.key)
        except OSError as exc:
            raise InvalidRequest("a file named by the options ca, cert or key of cassandra:// cannot be read as PEM") from exc
        context.check_hostname = self.verify_hostname
        return context


def _consistency(option: str, text: str) -> int:
    if text not in LEVEL_NAMES:
        raise InvalidRequest(f"the option {option} of cassandra:// is one of {', '.join(LEVEL_NAMES)}")
    return int(ConsistencyLevel.name_to_value[text.upper()])


def _flag(options: dict[str, str], name: str, *, default: bool) -> bool:
    text = options.get(name)
    if text is None:
        return default
    if text not in FLAGS:
        raise InvalidRequest(f"the option {name} of cassandra:// is on or off")
    return FLAGS[text]


class SteadyReconnection(ReconnectionPolicy):  # type: ignore[misc]  # the driver has no types
    """Tries at a steady pace for ever: a node that is back is used within a second. The spread keeps workers apart."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def new_schedule(self) -> Iterator[float]:
        while True:
            yield self._seconds * random.uniform(0.75, 1.0)  # noqa: S311 - not a secret


@dataclass(frozen=True, slots=True)
class Connection:
    """An open driver. All of it but ``session.execute_async`` blocks, and belongs on a thread of its own."""

    cluster: Any
    session: Any
    keyspace: str
    statements: Statements
    capability: Capability
    balancing: Any

    @property
    def lone_node(self) -> bool:
        return len(self.cluster.metadata.all_hosts()) == 1

    def owner(self, route: bytes) -> Any:
        """The first replica of a partition in the local data centre; None where the driver knows none."""
        replicas = self.cluster.metadata.get_replicas(self.keyspace, route)
        return next((host for host in replicas if host.datacenter == self.balancing.local_dc), None)

    def close(self) -> None:
        """Blocks until the driver's threads and connections are gone; requests under way fail."""
        self.cluster.shutdown()

    @classmethod
    def open(cls, settings: Settings) -> "Connection":
        """Connect, create what is missing, prepare the statements. Blocks.

        Raises:
            KVError: it could not be done; nothing is left open.
        """
        try:
            with contextlib.ExitStack() as undo:
                connection = cls._open(settings, undo)
                undo.pop_all()
                return connection
        except DRIVER_ERRORS as exc:
            raise opening_error(exc) from exc

    @classmethod
    def _open(cls, settings: Settings, undo: contextlib.ExitStack) -> "Connection":
        balancing = DCAwareRoundRobinPolicy(settings.local_dc)
        cluster = _cluster(settings, balancing)
        undo.callback(cluster.shutdown)
        session = cluster.connect()
        _create_missing(session, cluster.metadata, settings, balancing.local_dc)
        statements = _prepared(session, settings)
        capability = _capability(settings, _commitlog_sync(session))
        return cls(cluster, session, settings.keyspace, statements, capability, balancing)


def _cluster(settings: Settings, balancing: Any) -> Any:
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(balancing),
        retry_policy=FallthroughRetryPolicy(),  # the layers above retry, within one budget
        consistency_level=settings.write_consistency,
        serial_consistency_level=ConsistencyLevel.SERIAL,
        request_timeout=OPEN_REQUEST_SECONDS,
        row_factory=tuple_factory,
    )
    return Cluster(
        settings.contact_points,
        port=settings.contact_points[0][1],
        protocol_version=PROTOCOL_VERSION,
        connection_class=_libev_connection(),
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        auth_provider=PlainTextAuthProvider(settings.username, settings.password) if settings.username else None,
        ssl_context=settings.ssl_context(),
        compression=False,  # values are small and the network near: it would cost more time than it saves
        connect_timeout=settings.connect_seconds,
        control_connection_timeout=settings.connect_seconds,
        reconnection_policy=SteadyReconnection(settings.reconnect_seconds),
        idle_heartbeat_interval=settings.heartbeat_seconds,
        idle_heartbeat_timeout=settings.heartbeat_seconds,
    )


def _libev_connection() -> Any:
    """The driver's libev reactor, never another: its asyncio reactor halves the throughput and the rest need patched sockets."""
    try:
        from cassandra.io.libevreactor import LibevConnection  # noqa: PLC0415 - it fails where the wheel was built without libev
    except (DependencyException, ImportError) as exc:
        raise FailedPrecondition("this cassandra-driver was built without libev; install a binary wheel of it") from exc
    return LibevConnection


def _create_missing(session: Any, metadata: Any, settings: Settings, local_dc: str) -> None:
    """Create the keyspace and tables that are not there; where all are, no right to create anything is needed."""
    keyspace = metadata.keyspaces.get(settings.keyspace)
    if keyspace is None:
        nodes = sum(host.datacenter == local_dc for host in metadata.all_hosts())
        replication = {"class": "NetworkTopologyStrategy", local_dc: settings.replication or min(REPLICATION, nodes)}
        session.execute(f'CREATE KEYSPACE IF NOT EXISTS "{settings.keyspace}" WITH replication = {replication}')
    for name, table in TABLES.items():
        if keyspace is None or name not in keyspace.tables:
            session.execute(table.format(keyspace=f'"{settings.keyspace}"'))


def _prepared(session: Any, settings: Settings) -> Statements:
    statements: dict[str, Any] = {}
    for cql, consistency in ((READS, settings.read_consistency), (WRITES, settings.write_consistency)):
        for name, text in cql.items():
            statements[name] = session.prepare(text.format(keyspace=f'"{settings.keyspace}"'))
            statements[name].consistency_level = consistency
            statements[name].is_idempotent = name != "create"
    for name in ("read_latest", "read_latest_rows", "read_keys"):
        statements[name].fetch_size = None  # one page, bounded by the statement
    statements["read_timed"].fetch_size = TIMED_ROWS_PER_PAGE
    return Statements(**statements)


def _commitlog_sync(session: Any) -> str:
    """The node's ``commitlog_sync``; empty where it does not tell."""
    try:
        row = session.execute("SELECT value FROM system_views.settings WHERE name = 'commitlog_sync'").one()
    except (cassandra.InvalidRequest, cassandra.Unauthorized):
        return ""
    return str(row[0]) if row else ""


def _capability(settings: Settings, commitlog_sync: str) -> Capability:
    durable = commitlog_sync in {"batch", "group"}
    when = "before acknowledging" if durable else "later, every 10 s as Cassandra ships (commitlog_sync_period)"
    level = ConsistencyLevel.value_to_name[settings.write_consistency]
    return Capability(
        engine="cassandra",
        key_bytes_max=KEY_BYTES_MAX,
        value_bytes_max=VALUE_BYTES_MAX,
        multi_get_keys_max=100,
        multi_put_keys_max=100,
        inflight_batches_max=64,
        durable=durable,
        durability=f"in the commit log of as many replicas as {level} asks for; each syncs it to disk {when}",
        linearizable={settings.read_consistency, settings.write_consistency} <= QUORUMS,
    )
