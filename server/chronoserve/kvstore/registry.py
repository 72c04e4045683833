"""From a store's URL to an open store: the scheme names the module, a plug-in is found by its entry point.

``redis+cluster://`` is the module ``redis`` (what follows ``+`` is that module's business), ``rediss://`` is its TLS
form. A third party registers its module under the entry point group ``chronoserve.kvstore``.
"""

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import Protocol, cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from chronoserve.kvstore import backends
from chronoserve.kvstore.port import KVStore
from chronoserve.model.errors import InvalidRequest

ENTRY_POINTS = "chronoserve.kvstore"
TLS_FORMS = {"rediss": "redis"}
SECRET_OPTIONS = frozenset(
    {"password", "secret_key", "session_token", "access_key", "auth", "token", "tlscertificatekeyfilepassword", "authmechanismproperties"}
)
"""Options whose values are never printed, in lower case."""

Clock = Callable[[], int]
"""Epoch milliseconds."""


@dataclass(frozen=True, slots=True)
class StoreURL:
    """A parsed store URL. ``options`` are the query's, unknown ones refused by ``expect``."""

    scheme: str
    username: str | None
    password: str | None = field(repr=False)
    hosts: tuple[tuple[str, int | None], ...]
    path: str
    options: dict[str, str] = field(repr=False)
    redacted: str

    @classmethod
    def parse(cls, url: str) -> "StoreURL":
        """Raises InvalidRequest where ``url`` has no scheme or a malformed port."""
        parts = urlsplit(url)
        if not parts.scheme or "://" not in url:
            raise InvalidRequest(
                f"a store URL begins with its engine, as lmdb:///dir or redis://host; got {_without_secrets(parts).removeprefix('://')!r}"
            )
        _, _, hosts = parts.netloc.rpartition("@")
        userinfo = parts.netloc[: -len(hosts) - 1] if "@" in parts.netloc else ""
        username, colon, password = userinfo.partition(":")
        return cls(
            scheme=parts.scheme,
            username=unquote(username) or None,
            password=unquote(password) if colon else None,
            hosts=tuple(_host(host) for host in hosts.split(",") if host),
            path=unquote(parts.path),
            options=dict(parse_qsl(parts.query, keep_blank_values=True)),
            redacted=_without_secrets(parts),
        )

    def expect(self, *names: str) -> None:
        """Raises InvalidRequest for an option that is not among ``names``: a misspelt option must not be ignored."""
        for unknown in self.options.keys() - set(names):
            raise InvalidRequest(f"{self.scheme}:// does not know the option {unknown!r}; it knows {', '.join(sorted(names)) or 'none'}")

    def number(self, name: str, default: float, *, least: float = 0) -> float:
        """An option as a number of at least ``least``. Raises InvalidRequest where it is none."""
        text = self.options.get(name)
        try:
            value = default if text is None else float(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise InvalidRequest(f"the option {name} of {self.scheme}:// is a number of at least {least:g}")
        return value


class Backend(Protocol):
    """What a back end's module offers."""

    async def open_store(self, url: StoreURL, *, clock: Clock) -> KVStore: ...


def _host(text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        name, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    else:
        name, _, port = text.partition(":")
    if port and not port.isdigit():
        raise InvalidRequest("the store URL has a port that is not a number; a / in a password is written %2F")
    return name, int(port) if port else None


def _without_secrets(parts: SplitResult) -> str:
    netloc = parts.netloc
    if "@" in netloc:
        user, _, hosts = netloc.rpartition("@")
        netloc = f"{user.partition(':')[0]}:***@{hosts}" if ":" in user else f"{user}@{hosts}"
    query = "&".join(f"{k}={'***' if k.lower() in SECRET_OPTIONS else v}" for k, v in parse_qsl(parts.query, keep_blank_values=True))
    return f"{parts.scheme}://{netloc}{parts.path}{'?' + query if query else ''}"


def backend(scheme: str) -> Backend:
    """The module that serves ``scheme``.

    Raises:
        InvalidRequest: no module has that name, or its driver is not installed; the message says what to install.
    """
    engine = scheme.partition("+")[0]
    name = TLS_FORMS.get(engine, engine)
    module = f"chronoserve.kvstore.backends.{name}"
    if name.isidentifier() and importlib.util.find_spec(module):
        try:
            return cast("Backend", importlib.import_module(module))
        except ModuleNotFoundError as missing:
            raise InvalidRequest(f"{scheme}:// needs a driver that is not installed: pip install 'chronoserve[{name}]'") from missing
    for plugin in entry_points(group=ENTRY_POINTS, name=name):
        return cast("Backend", plugin.load())
    near = get_close_matches(engine, [*built_in(), *TLS_FORMS], n=1)
    meant = f"did you mean {near[0]}://? " if near else ""
    raise InvalidRequest(f"no store serves {scheme}://; {meant}built in are {', '.join(sorted(built_in()))}")


def built_in() -> list[str]:
    """Names of the back ends that ship with chronoserve."""
    return [module.name for module in iter_modules(backends.__path__)]


async def open_store(url: str, *, clock: Clock) -> KVStore:
    """An open store. Raises InvalidRequest for a bad URL and Unavailable where the engine does not answer."""
    parsed = StoreURL.parse(url)
    return await backend(parsed.scheme).open_store(parsed, clock=clock)
