"""Connections from the supervisor's port to its workers: who gets which, and that none is lost or left open."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from chronoserve.app import handover as module
from chronoserve.app.handover import FIRST_LINE_BYTES_MAX, Door, Guests
from chronoserve.app.supervisor import socket_directory
from chronoserve.model.errors import InvalidRequest
from chronoserve.wire.http import HttpServer
from tests.server.inside.serving import descriptors

WORKERS = 2


class Routes:
    """``/v1/who`` tells which worker answers."""

    def __init__(self, name: str) -> None:
        self.name = name

    def add_to(self, router: aiohttp.web.UrlDispatcher) -> None:
        router.add_post("/v1/who", self.who)

    async def who(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
        return aiohttp.web.json_response({"worker": self.name, "size": len(await request.read())})


@dataclass
class House:
    """A door, the supervisor's own server behind it, and workers that come and go."""

    door: Door
    directory: Path
    guests: dict[int, Guests] = field(default_factory=dict)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def enter(self, number: int) -> None:
        """A worker comes."""
        server = http(str(number), Routes(str(number)))
        await server.start()
        self.stack.push_async_callback(server.stop)
        self.guests[number] = Guests(self.directory / f"worker-{number}.http", server.adopt)
        await self.guests[number].start()

    def leave(self, number: int) -> None:
        self.guests.pop(number).stop()

    def leave_all(self) -> None:
        for number in list(self.guests):
            self.leave(number)

    @property
    def url(self) -> str:
        return f"http://{self.door.address}"


def http(name: str, routes: Routes | None = None) -> HttpServer:
    async def ready() -> dict[str, str]:
        return {}

    async def scrape() -> bytes:
        return f"scraped from {name}".encode()

    return HttpServer(ready=ready, scrape=scrape, configuration={"of": name}, routes=routes, one_request_each=routes is None)


@asynccontextmanager
async def opened(workers: int = WORKERS) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(socket_directory()))
        own = http("supervisor")
        await own.start()
        stack.push_async_callback(own.stop)
        door = Door("127.0.0.1:0", own=own.adopt, workers=[directory / f"worker-{number}.http" for number in range(WORKERS)])
        await door.start()
        stack.push_async_callback(door.stop)
        house = House(door, directory)
        stack.push_async_callback(house.stack.aclose)
        stack.callback(house.leave_all)
        for number in range(workers):
            await house.enter(number)
        yield house


async def who(house: House, body: bytes = b"x") -> str:
    """Which worker answers, over a connection of its own."""
    async with aiohttp.ClientSession() as session, session.post(f"{house.url}/v1/who", data=body) as reply:
        if reply.status != 200:
            return f"{reply.status} {(await reply.json())['errors'][0]}"
        found = await reply.json()
        assert found["size"] == len(body)
        return str(found["worker"])


async def test_workers_take_turns_and_the_supervisor_answers_for_itself() -> None:
    async with opened() as house:
        assert [await who(house) for _ in range(4)] == ["0", "1", "0", "1"]
        async with aiohttp.ClientSession() as session:
            for _ in range(2):
                async with session.get(f"{house.url}/metrics?x=1") as reply:
                    assert await reply.text() == "scraped from supervisor"
                    assert reply.headers["Connection"] == "close", "the next request may be for a worker"
            async with session.post(f"{house.url}/v1/who", data=b"x") as reply:
                assert reply.status == 200


async def test_a_connection_stays_with_its_worker() -> None:
    async with opened() as house, aiohttp.ClientSession() as session:
        answers = set()
        for _ in range(2):
            async with session.post(f"{house.url}/v1/who", data=b"x") as reply:
                answers.add((await reply.json())["worker"])
        async with session.get(f"{house.url}/ping") as reply:
            assert await reply.json() == "Pong!"
        assert len(answers) == 1


async def test_large_bodies_and_slow_first_lines_arrive_whole() -> None:
    async with opened() as house:
        assert await who(house, b"x" * (1 << 20)) in {"0", "1"}
        reader, writer = await asyncio.open_connection(*house.door.address.split(":"))
        for piece in (b"GET /m", b"etrics HT", b"TP/1.1\r\nHost: x\r\n\r\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        assert b"scraped from supervisor" in await reader.read()
        writer.close()


async def test_while_a_worker_is_away_the_others_serve_and_it_is_found_again() -> None:
    async with opened() as house:
        house.leave(0)
        assert {await who(house) for _ in range(4)} == {"1"}
        house.leave(1)
        assert (await who(house)).startswith("503 no worker")
        await house.enter(0)
        assert {await who(house) for _ in range(4)} == {"0"}


async def test_who_says_nothing_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_LINE_SECONDS", 0.05)
    async with opened() as house:
        reader, writer = await asyncio.open_connection(*house.door.address.split(":"))
        writer.write(b"GET /healthz")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_an_endless_first_line_is_a_worker_s_business() -> None:
    async with opened() as house:
        reader, writer = await asyncio.open_connection(*house.door.address.split(":"))
        writer.write(b"GET /" + b"x" * (FIRST_LINE_BYTES_MAX * 8) + b" HTTP/1.1\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"400"
        writer.close()


async def test_too_many_undecided_connections_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNDECIDED_MAX", 1)
    async with opened() as house:
        first = await asyncio.open_connection(*house.door.address.split(":"))
        async with asyncio.timeout(10):
            while not house.door._undecided:  # noqa: ASYNC110 - it stands before the door has taken it, and the door tells nobody
                await asyncio.sleep(0)
        second = await asyncio.open_connection(*house.door.address.split(":"))
        assert await second[0].read() == b""
        first[1].write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"ok" in await first[0].read()
        for _, writer in (first, second):
            writer.close()


async def test_an_address_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        async def own(_: socket.socket) -> None:
            raise AssertionError

        with pytest.raises(InvalidRequest, match=address):
            await Door(address, own=own, workers=[]).start()


async def test_nothing_is_left_open() -> None:
    async with opened() as house:
        await who(house)
    before = descriptors()
    async with opened() as house:
        for _ in range(10):
            await who(house)
        house.leave(0)
        await who(house)
    assert descriptors() == before
