"""What the package shows, what importing it loads, and that its README tells the truth."""

import asyncio
import inspect
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import chronoserve_client
from chronoserve_client import AsyncClient, Client, InvalidRequest, PutResult, Unavailable

PACKAGE = Path(chronoserve_client.__file__).parent
README = PACKAGE.parent / "README.md"
SAMPLES = re.findall(r"```python\n(.*?)```\n\n.*?```text\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_what_is_importable_is_what_is_exported() -> None:
    public = {name for name, value in vars(chronoserve_client).items() if not name.startswith("_") and not isinstance(value, ModuleType)}
    assert public | {"__version__"} == set(chronoserve_client.__all__)
    assert chronoserve_client.__all__ == sorted(chronoserve_client.__all__)


def test_modules_are_private() -> None:
    assert all(path.name.startswith("_") for path in PACKAGE.glob("*.py"))


def test_names_say_where_they_are_imported_from() -> None:
    for name in chronoserve_client.__all__:
        value = getattr(chronoserve_client, name)
        assert isinstance(value, str) or value.__module__ == "chronoserve_client"


def test_both_clients_have_the_same_methods() -> None:
    def surface(kind: type) -> dict[str, list[str]]:
        methods = {
            name.replace("aclose", "close"): value for name, value in vars(kind).items() if callable(value) and not name.startswith("_")
        }
        return {name: list(inspect.signature(value).parameters) for name, value in methods.items()}

    assert surface(AsyncClient) == surface(Client)
    settings = set(inspect.signature(AsyncClient).parameters) - {"coalesce"}
    assert settings == set(inspect.signature(Client).parameters)


def test_importing_loads_no_room_of_the_server() -> None:
    program = "import sys, chronoserve_client; print(*(name for name in sys.modules if name.startswith('chronoserve.')))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    stubs = {f"chronoserve.v1.{file}_pb2{kind}" for file in ("kv", "fetcher") for kind in ("", "_grpc")}
    assert set(loaded) == {"chronoserve.v1", *stubs}


@pytest.mark.parametrize("heavy", ["uvloop", "aiohttp", "click", "rich", "structlog", "msgspec", "numpy", "prometheus_client"])
def test_importing_loads_nothing_heavy(heavy: str) -> None:
    program = f"import sys, chronoserve_client; sys.exit({heavy!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``chronoserve serve`` on a socket of its own; its target."""
    directory = tmp_path_factory.mktemp("served")
    target = f"unix:{directory}/kv"
    program = str(Path(sys.executable).with_name("chronoserve"))
    command = [program, "serve", "--listen", target, "--http", "off", "--store", f"lmdb://{directory}/data"]
    with (directory / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            with Client(target, options=[("grpc.enable_retries", 0)]) as client:
                wait_until_healthy(client, process)
            yield target
        finally:
            process.terminate()


def wait_until_healthy(client: Client, process: "subprocess.Popen[bytes]") -> None:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up and process.poll() is None:
        try:
            if client.health(timeout=5):
                return
        except Unavailable:
            time.sleep(0.05)
    pytest.fail("chronoserve serve did not come up")


async def run(program: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-W", "error", "-c", program, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    return process.returncode, printed.decode()


async def test_the_samples_of_the_readme_print_what_it_says(served: str) -> None:
    assert len(SAMPLES) == 2
    for program, expected in SAMPLES:
        assert "127.0.0.1:50051" in program
        assert await run(program.replace("127.0.0.1:50051", served)) == (0, expected)


async def test_the_server_itself_answers_as_the_one_of_these_tests(served: str) -> None:
    async with AsyncClient(served, timeout=20, write_timeout=20, coalesce=True) as client:
        await client.create("names")
        await client.put("names", b"ada", b"x", millis=1, idempotency_token=b"t")
        value, miss = await asyncio.gather(client.get("names", b"ada"), client.get("names", b"ada", 2))
        assert (value, miss) == ([(b"x", 1)], [])
        with pytest.raises(InvalidRequest) as wrong:
            await client.get("names", b"")
        assert wrong.value.field == "key_bytes"
        async with client.stream_multi_put() as puts, client.stream_multi_get() as gets:
            assert [result.ok for result in await puts.multi_put([("names", b"bob", b"y", 1), ("none", b"bob", b"y")])] == [True, False]
            assert [result.found for result in await gets.multi_get([("names", b"bob"), ("names", b"eve")])] == [True, False]
        assert sorted([entry.key async for entry in client.scan("names", page_size=1)]) == [b"ada", b"bob"]
        assert [store.engine for store in (await client.capabilities()).stores] == ["lmdb"]
        assert await client.delete("names", [b"ada"]) == [PutResult()]
