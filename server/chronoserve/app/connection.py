"""The options that say where a verb goes, a server or a store, and what they open."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    import grpc

    from chronoserve.app.kv_client import KVClient
    from chronoserve.app.terminal import Screen
    from chronoserve.model.errors import KVError
    from chronoserve_client import AsyncClient, ChronoserveError

F = TypeVar("F", bound=Callable[..., Any])

SERVER = "127.0.0.1:50051"
MESSAGE_BYTES_MAX = 64 << 20
"""What the shell accepts as one answer: a page or a batch of large values. A server has its own limit for what it is sent."""
TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """How to reach a running server."""

    target: str
    token: str | None = field(default=None, repr=False)
    tls: bool = False
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    timeout: float = TIMEOUT_SECONDS

    def credentials(self) -> "grpc.ChannelCredentials | None":
        """None: plaintext.

        Raises:
            click.UsageError: a file cannot be read, or a certificate has no key.
        """
        if not (self.tls or self.ca or self.cert or self.key):
            return None
        if bool(self.cert) != bool(self.key):
            raise click.UsageError("--cert and --key belong together")
        import grpc

        return grpc.ssl_channel_credentials(_content(self.ca), _content(self.key), _content(self.cert))

    def client(self) -> "AsyncClient":
        """Not connected yet. Raises click.UsageError where the options do not go together."""
        from chronoserve_client import AsyncClient

        try:
            return AsyncClient(
                self.target,
                tls=self.credentials() or False,
                token=self.token,
                timeout=self.timeout,
                write_timeout=self.timeout,
                message_bytes_max=MESSAGE_BYTES_MAX,
            )
        except ValueError as wrong:
            raise click.UsageError(str(wrong)) from wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A server, or a store's URL where there is one."""

    server: Server
    store: str | None = None

    @property
    def asked_server(self) -> Server | None:
        """None: the store is opened without a server."""
        return self.server if self.store is None else None

    @asynccontextmanager
    async def open(self, *, may_be_new: bool) -> "AsyncIterator[KVClient]":
        """A client of the place, closed again.

        Raises:
            KVError: the store could not be opened, or there is none yet and it may not be new.
            click.UsageError: the options do not go together.
        """
        if self.store is not None and not may_be_new:
            _expect_store(self.store)
        client = self.server.client() if self.store is None else await _store_client(self.store, self.server.timeout)
        try:
            yield client
        finally:
            await client.aclose()


def embedded_directory(url: str) -> Path | None:
    """The folder of an embedded store; None for stores of other kinds. Raises InvalidRequest for a bad URL."""
    from chronoserve.kvstore.registry import StoreURL

    parsed = StoreURL.parse(url)
    if parsed.scheme != "lmdb":
        return None
    from chronoserve.kvstore.backends.lmdb.store import directory_of

    return directory_of(parsed)


def _expect_store(url: str) -> None:
    """Raises FailedPrecondition where opening ``url`` would make an empty store: a misspelt folder must not look like one."""
    from chronoserve.model.errors import FailedPrecondition

    directory = embedded_directory(url)
    if directory is not None and not directory.exists():
        raise FailedPrecondition(f"there is no store at {directory}; `kv create` makes one")


async def _store_client(url: str, seconds: float) -> "KVClient":
    from chronoserve.app.compose import compose
    from chronoserve.app.settings import load
    from chronoserve.app.store_client import StoreClient

    settings = load(None, {"stores": {"default": {"url": url}}})
    return StoreClient(await compose(settings), seconds=seconds)


def server_options(command: F) -> F:
    """The options of ``Server``, as the keywords that ``server_from`` takes."""
    file = click.Path(path_type=Path, dir_okay=False, exists=True)
    for option in (
        click.option("--timeout", type=click.FloatRange(0, min_open=True), default=TIMEOUT_SECONDS, metavar="SECONDS",
                     show_default=True, help="For each call."),
        click.option("--key", "tls_key", type=file, help="PEM private key of the client certificate."),
        click.option("--cert", "tls_cert", type=file, help="PEM client certificate, for mutual TLS."),
        click.option("--ca", "tls_ca", type=file, help="PEM CA that the server's certificate is checked with; turns TLS on."),
        click.option("--tls", is_flag=True, help="TLS with the system's CAs."),
        click.option("--token", envvar="CHRONOSERVE_TOKEN", metavar="TOKEN",
                     help="Bearer token; arguments are visible to others on this machine, so better in $CHRONOSERVE_TOKEN."),
        click.option("--server", envvar="CHRONOSERVE_SERVER", metavar="ADDRESS", help=f"HOST:PORT or unix:PATH.  [default: {SERVER}]"),
    ):  # fmt: skip
        command = option(command)
    return command


def server_from(given: dict[str, Any]) -> Server:
    """The server that the options name; they are taken out of ``given``.

    Raises:
        click.UsageError: its address has no port.
    """
    target = given.pop("server") or SERVER
    if ":" not in target:  # gRPC would knock at port 0
        raise click.UsageError(f"--server is HOST:PORT or unix:PATH; got {target!r}")
    return Server(
        target=target,
        token=given.pop("token"),
        tls=given.pop("tls"),
        ca=given.pop("tls_ca"),
        cert=given.pop("tls_cert"),
        key=given.pop("tls_key"),
        timeout=given.pop("timeout"),
    )


def place_options(command: F) -> F:
    """The options of ``Place``."""
    store = click.option("--store", metavar="URL", help="Go to this store without a server: lmdb:///dir, redis://host, …")
    return store(server_options(command))


def place_from(given: dict[str, Any]) -> Place:
    """The place that the options name; they are taken out of ``given``.

    Raises:
        click.UsageError: both a server and a store were asked for on the command line.
    """
    context = click.get_current_context()
    named = context.get_parameter_source("server") is click.core.ParameterSource.COMMANDLINE
    store = given.pop("store")
    if named and store is not None:
        raise click.UsageError("--server and --store exclude each other")
    return Place(server=server_from(given), store=store)


def tell_failure(screen: "Screen", error: "ChronoserveError | KVError", server: Server | None) -> None:
    """What failed, and the next step where no ``server`` answers. None: a store was asked directly."""
    from chronoserve_client import Unavailable

    screen.fail(error.message, reason=error.reason)
    if isinstance(error, Unavailable) and server is not None:
        screen.note(f"Is a server running at {server.target}? `chronoserve serve` starts one; --store URL needs none.")


def _content(file: Path | None) -> bytes | None:
    try:
        return file.read_bytes() if file else None
    except OSError as unreadable:
        raise click.UsageError(f"{file} cannot be read: {unreadable.strerror}") from unreadable
