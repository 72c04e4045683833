"""The configuration: read once, at the door. Unknown keys are refused, cross-field rules are checked before a port opens."""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from chronoserve.app.extension_settings import DEREFERENCED, ExtensionSettings
from chronoserve.app.sections import NotNegative, Positive, Seconds, Section, dereferenced
from chronoserve.fetcher.ports import BATCH_IR_CACHE, ENTITY_VALIDITY_CHECK, SKIP_UNDECODABLE_STREAM
from chronoserve.fetcher.settings import FailedReadPolicy, FetchSettings
from chronoserve.kvstore.registry import StoreURL
from chronoserve.kvstore.router import Route
from chronoserve.model.errors import InvalidRequest
from chronoserve.service.access import Policy, Rule, Verb
from chronoserve.wire import transports

LOOPBACK = ("127.", "localhost:", "[::1]:", "unix:")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
ADDRESS = re.compile(r"unix:.+|(\[[^\[\]\s]+\]|[^:\[\]\s]+):[0-9]{1,5}")
FLAGS = (BATCH_IR_CACHE, SKIP_UNDECODABLE_STREAM, ENTITY_VALIDITY_CHECK)
PORT_MAX = 65535
DIGEST = re.compile(r"[0-9a-f]{64}")


class LimitSettings(Section, frozen=True):
    """Bounds of one worker process."""

    keys_per_call_max: Positive = 10_000
    message_bytes_max: Positive = 4 << 20
    inflight_calls_max: Positive = 128
    inflight_keys_max: Positive = 200_000
    streams_per_connection_max: Positive = 100
    skew_ahead_millis_max: NotNegative = 60_000
    read_seconds_default: Seconds = 1.0
    write_seconds_default: Seconds = 5.0
    call_seconds_max: Seconds = 30.0
    drain_seconds: Seconds = 10.0


class StoreSettings(Section, frozen=True):
    """One store. ``${NAME}`` in the URL stands for an environment variable, so that a file holds no secret."""

    url: str


class RouteSettings(Section, frozen=True):
    """Datasets that match ``datasets`` (``*`` and ``?`` as in a shell) live in ``store``; the first match counts."""

    datasets: str
    store: str


class TLSSettings(Section, frozen=True):
    """PEM files; they are read again when they change. ``client_ca`` turns mTLS on."""

    certificate: str
    key: str
    client_ca: str | None = None


class JWTSettings(Section, frozen=True):
    """``key_file``: PEM public key, or the secret of an HS algorithm."""

    key_file: str
    algorithms: list[str]
    audience: str | None = None
    issuer: str | None = None


class RuleSettings(Section, frozen=True):
    """Allows ``verbs`` to ``identities``: read, write and admin on ``datasets``, fetch on ``features``; all three are patterns."""

    identities: list[str]
    verbs: list[Verb]
    datasets: list[str] = msgspec.field(default_factory=list)
    features: list[str] = msgspec.field(default_factory=list)
    """Names of joins (team/join.v1) and group bys (team.group_by.v1)."""

    def rule(self) -> Rule:
        """Raises InvalidRequest where a verb has nothing that it could allow, or names are given for no verb."""
        verbs = frozenset(self.verbs)
        if (Verb.FETCH in verbs) != bool(self.features):
            raise InvalidRequest("a rule of the policy has features, joins and group bys, where it has the verb fetch, and only there")
        if bool(verbs - {Verb.FETCH}) != bool(self.datasets):
            raise InvalidRequest("a rule of the policy has datasets where it has the verbs read, write or admin, and only there")
        return Rule(tuple(self.identities), verbs, tuple(self.datasets), tuple(self.features))


class PolicyFile(Section, frozen=True):
    """What a policy file holds."""

    policy: list[RuleSettings] = msgspec.field(default_factory=list)


class AuthSettings(Section, frozen=True):
    """Present: authentication is on, and what no rule allows is denied."""

    tokens: dict[str, str] = msgspec.field(default_factory=dict)
    """Identity by SHA-256 of its token, as lower-case hex."""
    jwt: JWTSettings | None = None
    policy: list[RuleSettings] = msgspec.field(default_factory=list)
    policy_file: str | None = None
    """A TOML file with ``[[policy]]`` tables; read again when it changes."""


class FetcherSettings(Section, frozen=True):
    """Fetching features; ``chronoserve.fetcher.settings`` says why the defaults are what they are."""

    rows_per_call_max: Positive = 10_000
    serving_info_fresh_millis: Positive = 1_000
    """How old the state of an upload may be before it is looked at again."""
    conf_fresh_millis: Positive = 5_000
    """The same for confs of joins."""
    batch_ir_cache_bytes: NotNegative = 64 << 20
    """Decoded batch values that are kept; 0: none."""
    last_good_bytes: NotNegative = 16 << 20
    """Answers of reads that are kept for group bys with the policy "last good"."""
    failed_reads: FailedReadPolicy = FailedReadPolicy.DEGRADE
    failed_reads_of: dict[str, FailedReadPolicy] = msgspec.field(default_factory=dict)
    """By the name of a group by; all others have ``failed_reads``."""
    flags: dict[str, list[str]] = msgspec.field(default_factory=lambda: {BATCH_IR_CACHE: ["*"]})
    """Chronon's flags: names of group bys, as patterns, for which each is set."""

    def verify(self) -> None:
        """Raises InvalidRequest for a flag that nothing asks for."""
        for flag in self.flags:
            if flag not in FLAGS:
                raise InvalidRequest(f"fetcher.flags has {flag!r}; the flags are {', '.join(FLAGS)}")

    def settings(self) -> FetchSettings:
        """What the fetcher is told."""
        return FetchSettings(
            serving_info_fresh_millis=self.serving_info_fresh_millis,
            conf_fresh_millis=self.conf_fresh_millis,
            batch_ir_cache_bytes=self.batch_ir_cache_bytes,
            last_good_bytes=self.last_good_bytes,
            failed_reads=self.failed_reads,
            failed_reads_of=self.failed_reads_of,
        )


class Settings(ExtensionSettings, frozen=True):
    """Everything ``serve`` needs to know."""

    listen: list[str] = msgspec.field(default_factory=lambda: ["127.0.0.1:50051"])
    http: str | None = "127.0.0.1:9000"
    admin: str | None = None
    """Address of the gRPC admin services (channelz); none by default."""
    workers: Positive = 1
    transport: transports.Choice = "auto"
    """What speaks HTTP/2: ``native`` (built by ``make native``), ``grpcio``, or ``auto``: the first of them that is there."""
    stores: dict[str, StoreSettings] = msgspec.field(default_factory=dict)
    routes: list[RouteSettings] = msgspec.field(default_factory=list)
    create_on_put: bool = False
    bulk_roots: list[str] = msgspec.field(default_factory=list)
    """Folders that BulkPut may read. Empty: any where every address is of this machine alone, else none."""
    limits: LimitSettings = LimitSettings()
    fetcher: FetcherSettings = FetcherSettings()
    tls: TLSSettings | None = None
    auth: AuthSettings | None = None
    log_level: str = "info"
    layers: bool = True
    """False leaves out every layer around the stores: only to measure what they cost."""

    def verify(self) -> None:
        """The rules between fields.

        Raises:
            InvalidRequest: one is broken; the text says which and what to do.
        """
        if not self.listen:
            raise InvalidRequest("listen names no address")
        if not self.stores and self.api is None:
            raise InvalidRequest("no store is configured")
        for route in self.routes:
            if route.store not in self.stores:
                raise InvalidRequest(f"a route sends {route.datasets} to the store {route.store!r}, which is not configured")
        if len(self.stores) > 1 and not self.routes:
            raise InvalidRequest("several stores need routes: [[routes]] with datasets and store")
        if self.auth is not None and not (self.auth.tokens or self.auth.jwt or (self.tls and self.tls.client_ca)):
            raise InvalidRequest("auth is on, but nothing can identify a caller: give tokens, jwt, or tls.client_ca")
        for store in self.stores.values():
            StoreURL.parse(store.url)
        self.fetcher.verify()
        self.verify_extensions()
        self._verify_words()
        transports.is_native(self.transport)
        if self.workers > 1 and any(StoreURL.parse(store.url).scheme == "memory" for store in self.stores.values()):
            raise InvalidRequest("memory:// lives in one process: use workers = 1 or another store")

    def _verify_words(self) -> None:
        """The values that have a form. An error shows none that may be a secret."""
        if self.log_level.upper() not in LOG_LEVELS:
            raise InvalidRequest(f"log_level is one of {', '.join(LOG_LEVELS).lower()}; got {self.log_level!r}")
        for address in (*self.listen, *filter(None, (self.http, self.admin))):
            if not ADDRESS.fullmatch(address) or (not address.startswith("unix:") and int(address.rpartition(":")[2]) > PORT_MAX):
                raise InvalidRequest(f"an address is HOST:PORT, or for listen unix:PATH; got {address!r}")
        if self.auth is not None and not all(DIGEST.fullmatch(digest) for digest in self.auth.tokens):
            raise InvalidRequest(
                "auth.tokens has the SHA-256 of each token as its key, 64 lower-case hex digits: printf %s TOKEN | sha256sum"
            )

        if self.workers > 1 and all(address.startswith("unix:") for address in self.listen):
            raise InvalidRequest("several workers cannot share a Unix socket: listen on a port as well, or use workers = 1")

    @property
    def local_only(self) -> bool:
        """Whether every address is of this machine alone."""
        return all(address.startswith(LOOPBACK) for address in self.listen)

    def of_worker(self, index: int) -> "Settings":
        """The settings of one of several workers: a Unix socket has one listener, and that is the first of them."""
        listen = [address for address in self.listen if index == 0 or not address.startswith("unix:")]
        return msgspec.structs.replace(self, listen=listen)

    def inflight_calls_max_of_store(self) -> int | None:
        """Of several stores, each gets half of the places: a silent one leaves the other half. None: there is only one."""
        return max(1, self.limits.inflight_calls_max // 2) if len(self.stores) > 1 else None

    def bulk_places(self) -> list[Path] | None:
        """Folders that BulkPut may read; None: any."""
        return None if self.local_only and not self.bulk_roots else [Path(root) for root in self.bulk_roots]

    def route_table(self) -> list[Route]:
        return [Route(route.datasets, route.store) for route in self.routes] or [Route("*", next(iter(self.stores)))]

    def redacted(self) -> dict[str, Any]:
        """What may be printed: passwords in URLs, tokens and keys are hidden."""
        shown: dict[str, Any] = {**msgspec.to_builtins(self), **self.redacted_extensions()}
        for name, store in self.stores.items():
            shown["stores"][name]["url"] = StoreURL.parse(store.url).redacted
        if self.auth is not None:
            shown["auth"]["tokens"] = {f"***{at}": identity for at, identity in enumerate(self.auth.tokens.values(), 1)}
        return shown


def default_stores() -> dict[str, Any]:
    """Where nothing names a store: the embedded one, in the working directory."""
    return {"default": {"url": f"lmdb://{Path.cwd()}/chronoserve-data"}}


def load(path: Path | None, overrides: dict[str, Any]) -> Settings:
    """Settings from a TOML file, if any, and what the command line adds; verified.

    Raises:
        InvalidRequest: the file or a value is wrong; the text names the key.
    """
    try:
        found = tomllib.loads(path.read_text()) if path else {}
        given = {**found, **overrides}
        if path and not {"stores", "api"} & given.keys():
            given["stores"] = default_stores()
        for table in ("api_conf", "warehouse"):
            if isinstance(conf := found.get(table), dict):
                given[table] = {**conf, **overrides.get(table, {})}
        given.update({table: dereferenced(given[table], table) for table in ("stores", *DEREFERENCED) if table in given})
        settings = msgspec.convert(given, Settings)
    except OSError as unreadable:
        raise InvalidRequest(f"the configuration cannot be read: {unreadable.strerror}: {path}") from unreadable
    except tomllib.TOMLDecodeError as malformed:
        raise InvalidRequest(f"{path} is not TOML: {malformed}") from malformed
    except msgspec.ValidationError as wrong:
        raise InvalidRequest(f"{path or 'the command line'}: {wrong}") from wrong
    settings.verify()
    return settings


def policy(auth: AuthSettings) -> Policy:
    """The rules of the configuration and of the policy file as it is now.

    Raises:
        InvalidRequest: the policy file is not right.
    """
    rules = list(auth.policy)
    if auth.policy_file:
        try:
            found = tomllib.loads(Path(auth.policy_file).read_text())
            rules += msgspec.convert(found, PolicyFile).policy
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as wrong:
            raise InvalidRequest(f"the policy file is not right: {wrong}") from wrong
    return Policy([rule.rule() for rule in rules])
