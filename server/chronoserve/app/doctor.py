"""``chronoserve doctor``: look at everything that a server needs, and say what to do."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from chronoserve.app import checks
from chronoserve.app.checks import Finding, Status
from chronoserve.app.connection import Server, server_from, server_options
from chronoserve.app.settings import LimitSettings, Settings, default_stores, load
from chronoserve.app.terminal import Item, Screen
from chronoserve.model.errors import KVError

ADMIN_PORT = 9000
STYLES = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red"}


@click.command()
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="The TOML file that `serve` would get.")
@click.option("--store", metavar="URL", help="The store that `serve` would get.  [default: lmdb in ./chronoserve-data]")
@click.option("--http", metavar="ADDRESS", help=f"Admin port of --server, to compare clocks.  [default: its host, port {ADMIN_PORT}]")
@click.option("--json", "json_lines", is_flag=True, help="One JSON object a line.")
@server_options
def doctor(*, config: Path | None, store: str | None, http: str | None, json_lines: bool, **given: Any) -> None:
    """Check what a server needs and say what to do.

    Looks at this installation, the configuration with its stores and ports, and with --server at a running server. The exit
    code is 1 if any check failed. Nothing is written; the configuration is shown without its secrets.
    """
    screen = Screen(json_lines=json_lines)
    running = given["server"] is not None
    server = server_from(given)
    findings = [*checks.installation(), checks.compiling(), *checks.machine()]
    settings = None
    if config or store or not running:
        settings, found = _settings(config, store)
        findings += found
    findings += asyncio.run(_ask(settings, server if running else None, http, free_ports=not running))
    screen.show(("", "check", "found", "what to do"), map(_item, findings))
    if settings is not None:
        _show_configuration(screen, settings)
    failed = sum(finding.status is Status.FAIL for finding in findings)
    warned = sum(finding.status is Status.WARN for finding in findings)
    screen.say(f"{len(findings) - failed - warned} ok, {warned} to look at, {failed} failed", style="red" if failed else "green")
    if failed:
        click.get_current_context().exit(1)


def _settings(config: Path | None, store: str | None) -> tuple[Settings | None, list[Finding]]:
    overrides: dict[str, Any] = {}
    if store or not config:
        overrides = {"stores": {"default": {"url": store}} if store else default_stores(), "routes": []}
    try:
        settings = load(config, overrides)
    except KVError as wrong:
        return None, [checks.fail("configuration", wrong.message, "mend it; `serve` refuses it, too")]
    return settings, list(checks.configuration(settings))


async def _ask(settings: Settings | None, server: Server | None, http: str | None, *, free_ports: bool) -> list[Finding]:
    """The checks that wait for somebody, all at once."""
    asked = []
    if settings is not None:
        asked += [checks.store(name, store.url) for name, store in settings.stores.items()]
    if server is not None:
        limits = settings.limits if settings else LimitSettings()
        asked.append(checks.server(server))
        address = http or _admin_address(server.target)
        if address:
            asked.append(checks.admin_port(address, skew_seconds_max=limits.skew_ahead_millis_max / 1000))
    found = [finding for answer in await asyncio.gather(*asked) for finding in answer]
    return [*found, *(checks.ports(settings) if settings is not None and free_ports else ())]


def _admin_address(target: str) -> str:
    """Empty where the target tells no host."""
    host, _, port = target.removeprefix("dns:///").rpartition(":")
    return "" if target.startswith("unix:") or not port.isdigit() else f"{host}:{ADMIN_PORT}"


def _item(finding: Finding) -> Item:
    record = {"check": finding.check, "status": finding.status.value, "found": finding.found, "advice": finding.advice}
    return Item(record, [(finding.status.value, finding.check, finding.found, finding.advice)], STYLES[finding.status])


def _show_configuration(screen: Screen, settings: Settings) -> None:
    redacted = settings.redacted()
    if screen.json_lines:
        screen.tell({"configuration": redacted}, "")
        return
    screen.say("\neffective configuration")
    for line in _lines(redacted):
        screen.say(f"  {line}")
    screen.say("")


def _lines(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _lines(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name} = {json.dumps(value)}"
