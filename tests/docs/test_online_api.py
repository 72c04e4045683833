"""The pages about the online API, external sources, the response log and metrics: their examples run, their settings are settings."""

import asyncio
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from chronoserve.app.extension_settings import ExtensionSettings
from chronoserve.app.sections import dereferenced
from chronoserve.fetcher.endpoint import Endpoint
from chronoserve.fetcher.external import ExternalRegistry
from chronoserve.fetcher.sources import HttpSource
from chronoserve.model.errors import ExternalFailed
from tests.docs.test_examples import ROOT, blocks
from tests.unit.fetcher.sources import source

PAGES = ("external-sources", "response-log", "metrics")


def page(name: str) -> str:
    return f"docs/operating/{name}.md"


def test_the_deployment_shown_is_one_and_its_fetcher_answers(tmp_path: Path) -> None:
    deployment, program = blocks(page("online-api"), "python")
    (tmp_path / "online.py").write_text(deployment)
    (tmp_path / "program.py").write_text("from online import Online\n" + program)
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("ERROR None"), "an empty store knows no join"


@pytest.mark.parametrize("name", PAGES)
def test_the_tables_shown_are_configuration(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEO_TOKEN", "t")
    monkeypatch.setenv("KAFKA_PASSWORD", "p")
    shown = blocks(page(name), "toml")
    assert shown
    for table in shown:
        settings = msgspec.convert(dereferenced(tomllib.loads(table), name), ExtensionSettings)
        settings.verify_extensions()


def test_the_defaults_shown_are_the_defaults() -> None:
    first, *_ = blocks(page("response-log"), "toml")
    shown = tomllib.loads(first)["response_log"]
    settings = msgspec.convert(tomllib.loads(first), ExtensionSettings).response_log
    assert settings is not None
    assert settings.files is not None
    files = msgspec.structs.replace(type(settings.files)(path=settings.files.path))
    assert shown == {"rows_max": settings.rows_max, "bytes_max": settings.bytes_max, "files": msgspec.to_builtins(files)}
    assert type(settings)().limits() == settings.limits()


async def test_the_messages_shown_are_those_of_the_handler() -> None:
    text = (ROOT / page("external-sources")).read_text()
    match = re.search(r"^```\nPOST (\S+)\n(\[.*\])\n\n(\{.*\})\n```", text, re.MULTILINE)
    assert match is not None
    target, sent, answered = match.groups()
    heard: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        heard.extend([request.path_qs, await request.json()])
        return web.Response(text=answered)

    app = web.Application()
    app.router.add_post("/city", answer)
    async with TestServer(app) as server:
        registry = ExternalRegistry()
        registry.add("geo.city", HttpSource(Endpoint(url=str(server.make_url("/city")))))
        rows = msgspec.json.decode(sent)
        good, bad = await registry.fetch(source("geo.city"), rows, deadline=asyncio.get_running_loop().time() + 10)
        await registry.close()
    assert heard == [target, rows]
    assert good == {"city": "Basel"}
    assert isinstance(bad, ExternalFailed)
    assert bad.message == "no such user"


def test_the_hash_shown_is_that_of_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = blocks(page("metrics"), "python")
    exec(compile(example, "metrics.md", "exec"), {})
    assert re.fullmatch(r"[0-9a-f]{16}\n", capsys.readouterr().out)


@pytest.mark.parametrize("name", ["online-api", *PAGES])
def test_links_lead_somewhere(name: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", (ROOT / page(name)).read_text()):
        assert (ROOT / "docs/operating" / link).exists(), link
