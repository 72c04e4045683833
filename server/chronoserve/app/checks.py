"""What ``doctor`` looks at. Every check answers findings and raises nothing; a finding that is not ok says what to do."""

import asyncio
import enum
import errno
import http.client
import importlib.metadata
import os
import re
import resource
import shutil
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from chronoserve.app.compiling import environment
from chronoserve.app.connection import Server, embedded_directory
from chronoserve.app.settings import AuthSettings, Settings, TLSSettings, policy
from chronoserve.app.terminal import seconds_text, size_text
from chronoserve.kvstore.registry import StoreURL, backend, open_store
from chronoserve.model.errors import FailedPrecondition, KVError
from chronoserve.wire import transports
from chronoserve_client import ChronoserveError

STORE_SECONDS = 5.0
"""How long a store has to open and answer."""
HTTP_SECONDS = 2.0
OPEN_FILES_MIN = 1024
DISK_BYTES_WARN = 1 << 30
DISK_BYTES_MIN = 64 << 20
SKEW_SECONDS_WARN = 2.0
"""HTTP dates are whole seconds, so less cannot be told."""
SLOW_STORE_SECONDS = 0.1

REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[^]]*\])?\s*([^;]*)(?:;\s*(.*))?")
BOUND = re.compile(r"(>=|<=|==|!=|<|>)\s*([\d.]+)")
SHOWN_PACKAGES = frozenset({"grpcio", "protobuf", "uvloop", "lmdb"})
TRANSPORTS = {
    True: "native, which `auto` takes; grpcio is there as well",
    False: "grpcio, because the native one is not built (make native); small calls cost several times the CPU",
}
COSTS_SPEED_ONLY = {"uvloop": "the server runs without it, with a sixth more CPU a call"}


class Status(enum.Enum):
    """How bad a finding is; only FAIL makes doctor's exit code 1."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """``advice``: what to do; empty where nothing is to be done."""

    check: str
    status: Status
    found: str
    advice: str = ""


def ok(check: str, found: str) -> Finding:
    return Finding(check, Status.OK, found)


def warn(check: str, found: str, advice: str) -> Finding:
    return Finding(check, Status.WARN, found, advice)


def fail(check: str, found: str, advice: str) -> Finding:
    return Finding(check, Status.FAIL, found, advice)


# this installation


def installation() -> Iterator[Finding]:
    """Python, the packages that this distribution asks for, and how protobuf works here."""
    yield ok("python", f"{sys.version.split()[0]} on {sys.platform}")
    fitting = []
    for requirement in importlib.metadata.requires("chronoserve") or ():
        if "extra ==" in requirement:
            continue
        finding = _package(requirement)
        if finding.status is Status.OK:
            fitting.append(finding)
        else:
            yield finding
    named = ", ".join(f"{each.check} {each.found}" for each in fitting if each.check in SHOWN_PACKAGES)
    yield ok("packages", f"{len(fitting)} fit, among them {named}")
    yield _protobuf()
    yield ok("transport", TRANSPORTS[transports.is_native("auto")])


def _package(requirement: str) -> Finding:
    matched = REQUIREMENT.match(requirement)
    assert matched is not None, "metadata holds requirements"
    name, bounds, _ = matched.groups()
    wanted = f"pip install '{name}{bounds}'"
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        if name in COSTS_SPEED_ONLY:
            return warn(name, f"not installed; {COSTS_SPEED_ONLY[name]}", wanted)
        return fail(name, "not installed", wanted)
    if within(version, bounds):
        return ok(name, version)
    return fail(name, f"{version} is not the {bounds.strip()} that chronoserve is tested with", wanted)


def within(version: str, bounds: str) -> bool:
    """Whether a version satisfies bounds such as ``>=1.75.1,<1.79``; what follows its numbers does not count."""
    have = _numbers(version)
    for operator, bound in BOUND.findall(bounds):
        want = _numbers(bound)
        width = max(len(have), len(want))
        left, right = (numbers + (0,) * (width - len(numbers)) for numbers in (have, want))
        fits = {">=": left >= right, "<=": left <= right, "==": left == right, "!=": left != right, "<": left < right, ">": left > right}
        if not fits[operator]:
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    leading = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in leading[0].split(".")) if leading else ()


def _protobuf() -> Finding:
    from google.protobuf.internal import api_implementation

    kind = api_implementation.Type()
    if kind == "upb":
        return ok("protobuf", "upb, the fast implementation in C")
    return warn(
        "protobuf",
        f"the implementation in {kind} is at work: calls cost several times as much",
        "unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION, and install a protobuf wheel of this platform",
    )


def machine() -> Iterator[Finding]:
    """Bounds that the operating system sets."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES_MIN:
        yield warn("open files", f"at most {soft}; every connection takes one", f"ulimit -n {OPEN_FILES_MIN} or more")
    else:
        yield ok("open files", "no limit" if soft == resource.RLIM_INFINITY else f"at most {soft}")


def compiling() -> Finding:
    """Whether confs can be compiled here. No server needs that, so that only a broken environment is to be looked at."""
    if not environment.is_chosen():
        return ok("compile", f"no chronon-ai, which only compiling needs ({environment.REMEDY})")
    try:
        found = environment.find(None)
    except FailedPrecondition as broken:
        said, _, advice = broken.message.partition(": ")
        return warn("compile", said, advice)
    return ok("compile", f"chronon-ai {found.version} in {found.directory}")


# the configuration


def configuration(settings: Settings) -> Iterator[Finding]:
    """What the settings mean together, beyond what ``load`` refuses."""
    routes = len(settings.routes)
    yield ok("configuration", f"{len(settings.stores)} stores, {routes} routes" if routes else f"{len(settings.stores)} store")
    if not settings.local_only:
        yield from _exposure(settings)
    if settings.tls is not None:
        yield _tls(settings.tls)
    if settings.auth is not None:
        yield _auth(settings.auth)
    for root in settings.bulk_roots:
        if not Path(root).is_dir():
            yield warn("bulk_roots", f"{root} is no folder", "make it, or take it out of the configuration")


def _exposure(settings: Settings) -> Iterator[Finding]:
    if settings.tls is None:
        yield warn("listen", "other machines can connect, without TLS", "give [tls] certificate and key, or listen on 127.0.0.1")
    if settings.auth is None:
        yield warn(
            "listen", "other machines can connect, and everybody may do everything", "give [auth] tokens or jwt, and [[auth.policy]]"
        )


def _tls(tls: TLSSettings) -> Finding:
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        if tls.client_ca is not None:
            context.load_verify_locations(tls.client_ca)
    except (OSError, ssl.SSLError) as wrong:
        return fail(
            "tls", f"the files cannot be used: {wrong}", "certificate and key are PEM files that belong together; client_ca is one, too"
        )
    return ok("tls", "mutual" if tls.client_ca else "server certificate and key belong together")


def _auth(auth: AuthSettings) -> Finding:
    try:
        rules = policy(auth)
    except KVError as wrong:
        return fail("auth", wrong.message, "mend the policy file")
    if not rules.rules:
        return warn("auth", "there is no rule, so everything is denied", "add [[auth.policy]] with identities, verbs and datasets")
    return ok("auth", f"{len(rules.rules)} rules, {len(auth.tokens)} tokens{', JWT' if auth.jwt else ''}")


def ports(settings: Settings) -> Iterator[Finding]:
    """Whether the server could listen where it is told to."""
    addresses = [*settings.listen, *filter(None, [settings.http, settings.admin])]
    for address in addresses:
        yield _unix_socket(address) if address.startswith("unix:") else _port(address)


def _port(address: str) -> Finding:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    check = f"listen {address}"
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, int(port)))
    except OSError as refused:
        return _refused_port(check, address, refused)
    except ValueError:
        return fail(check, "no port in it", "an address is HOST:PORT or unix:PATH")
    return ok(check, "free")


def _refused_port(check: str, address: str, refused: OSError) -> Finding:
    if refused.errno == errno.EADDRINUSE:
        return warn(
            check, "something listens on it", f"if it is a chronoserve, ask it: doctor --server {address}; else choose another port"
        )
    if refused.errno == errno.EACCES:
        return fail(check, "this user may not listen on it", "choose a port from 1024 on")
    return fail(
        check, f"not an address of this machine: {refused.strerror or refused}", "choose 127.0.0.1, or an address that `ip addr` shows"
    )


def _unix_socket(address: str) -> Finding:
    path = Path(address.removeprefix("unix:"))
    check = f"listen {address}"
    if path.exists() and not path.is_socket():
        return fail(check, "there is a file of this name that is no socket", "move it away, or choose another path")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return fail(check, f"{path.parent} is no folder that this user can write to", "make it, or choose another path")
    return ok(check, "in use or left behind by a server" if path.exists() else "free")


# stores


async def store(name: str, url: str) -> list[Finding]:
    """The driver, what the engine needs on this machine, and whether it answers."""
    check = f"store {name}"
    try:
        parsed = StoreURL.parse(url)
        backend(parsed.scheme)
        directory = embedded_directory(url)
    except KVError as wrong:
        return [fail(check, wrong.message, "see docs/reference/stores for each engine's URL")]
    found = [] if directory is None else [_directory(check, directory)]
    if directory is not None and (found[0].status is Status.FAIL or not directory.exists()):
        return found  # opening it would make it, and doctor makes nothing
    return [*found, await _answer(check, url, parsed.redacted)]


async def _answer(check: str, url: str, shown: str) -> Finding:
    loop = asyncio.get_running_loop()
    began = loop.time()
    deadline = began + STORE_SECONDS
    try:
        async with asyncio.timeout_at(deadline):
            opened = await open_store(url, clock=lambda: time.time_ns() // 1_000_000)
            try:
                datasets = await opened.load_datasets(deadline=deadline)
                asked = loop.time()
                await opened.check(deadline=deadline)
                took = loop.time() - asked
            finally:
                await opened.close()
    except KVError as error:
        return fail(check, f"{shown}: {error.message}", "start the engine, or correct the URL")
    except TimeoutError:
        return fail(check, f"{shown}: no answer within {STORE_SECONDS:g} s", "start the engine, or see what keeps it busy")
    found = f"{shown}: {len(datasets)} dataset{'' if len(datasets) == 1 else 's'}, answers in {seconds_text(took)}"
    if took > SLOW_STORE_SECONDS:
        return warn(check, found, "reads have 1 s by default: see what slows it down")
    return ok(check, found)


def _directory(check: str, folder: Path) -> Finding:
    """An embedded store's folder: writable, and on a disk with room."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return fail(check, f"{there} is no folder that this user can write to", "chown it, or name another in the store's URL")
    free = shutil.disk_usage(there).free
    room = f"{size_text(free)} free on its disk"
    if free < DISK_BYTES_MIN:
        return fail(check, room, "make room: writes fail when the disk is full")
    if free < DISK_BYTES_WARN:
        return warn(check, room, "make room soon: writes fail when the disk is full")
    return ok(check, f"{folder}: {'writable' if there == folder else 'made at the first start'}, {room}")


# a running server


async def server(server: Server) -> list[Finding]:
    """Health, stores and datasets of a running server."""
    check = f"server {server.target}"
    loop = asyncio.get_running_loop()
    client = server.client()
    try:
        began = loop.time()
        serving = await client.health()
        took = seconds_text(loop.time() - began)
        if not serving:
            return [fail(check, f"NOT_SERVING, in {took}", "it is starting or draining, or no store answers: see its log and /readyz")]
        stores = ", ".join(f"{each.store} ({each.engine})" for each in (await client.capabilities()).stores)
        datasets = await client.describe()
    except ChronoserveError as error:
        return [fail(check, error.message, "start it with `chronoserve serve`, or correct --server, --token and the TLS options")]
    finally:
        await client.aclose()
    return [ok(check, f"SERVING, in {took}"), ok(check, f"stores {stores}; {len(datasets)} datasets")]


async def admin_port(address: str, *, skew_seconds_max: float) -> list[Finding]:
    """Readiness and clock of a running server, by its HTTP admin port."""
    check = f"admin {address}"
    try:
        status, date, body = await asyncio.to_thread(_readiness, address)
    except (OSError, http.client.HTTPException, ValueError) as silent:
        advice = "--http names the admin port; without it clocks cannot be compared"
        return [warn(check, f"no answer: {silent}", advice)]
    ready = ok(check, "ready") if status == http.client.OK else fail(check, f"not ready: {body}", "bring the store back that it names")
    return [ready, _skew(check, date, time.time(), skew_seconds_max)]


def _readiness(address: str) -> tuple[int, str, str]:
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=HTTP_SECONDS)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, answer.getheader("Date", ""), answer.read().decode()
    finally:
        connection.close()


def _skew(check: str, date: str, now: float, seconds_max: float) -> Finding:
    try:
        skew = parsedate_to_datetime(date).timestamp() + 0.5 - now
    except ValueError:
        return warn(check, "its answer has no date", "is it chronoserve's admin port?")
    if abs(skew) <= SKEW_SECONDS_WARN:
        return ok(check, f"clocks agree within {SKEW_SECONDS_WARN:g} s")
    found = f"its clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
    advice = "synchronise both machines (chrony, systemd-timesyncd): the newest event time wins, and times ahead of the server are refused"
    return fail(check, found, advice) if abs(skew) > seconds_max else warn(check, found, advice)
