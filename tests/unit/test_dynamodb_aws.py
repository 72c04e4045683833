"""Signed calls: the signature against botocore's, and what is said of calls that fail at each point."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import botocore.auth
import pytest
import pytest_asyncio
from aiohttp import web
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from chronoserve.kvstore.backends.dynamodb.aws import Caller, Identity, Refused, Service, Signer, chain_identity, fixed_identity
from chronoserve.model.errors import DeadlinePassed, FailedPrecondition, KVError, Unavailable, WriteOutcomeUnknown
from chronoserve.testing.clock import ManualClock

SERVICE = Service("DynamoDB", "dynamodb", "DynamoDB_20120810")
MILLIS = 1_790_000_000_123
Answer = Callable[[web.Request], Awaitable[web.Response]]


class Server:
    """Answers as ``answer`` says, on a loopback port."""

    def __init__(self) -> None:
        self.answer: Answer = self.fine
        self.endpoint = ""
        self.arrived = asyncio.Event()
        self.requests_total = 0

    @staticmethod
    async def fine(request: web.Request) -> web.Response:
        return web.Response(body=b"{}")

    async def handle(self, request: web.Request) -> web.Response:
        self.requests_total += 1
        await request.read()
        self.arrived.set()
        return await self.answer(request)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    application = web.Application(client_max_size=32 << 20)
    application.router.add_post("/", server.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    server.endpoint = f"http://{host}:{port}"
    yield server
    await runner.cleanup()


def new_caller(endpoint: str, connections_max: int = 4) -> Caller:
    identity = fixed_identity(Identity("key", "secret"))
    return Caller(
        SERVICE,
        endpoint=endpoint,
        region="eu-west-1",
        identity=identity,
        clock=ManualClock(),
        connections_max=connections_max,
        connect_seconds=1.0,
    )


@pytest_asyncio.fixture
async def caller(server: Server) -> AsyncIterator[Caller]:
    caller = new_caller(server.endpoint)
    yield caller
    await caller.close()


def soon(seconds: float = 10.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def both(caller: Caller, seconds: float = 10.0) -> list[type[Exception] | bytes]:
    """What becomes of a read and of a write."""
    outcomes: list[type[Exception] | bytes] = []
    for writes in (False, True):
        try:
            outcomes.append(await caller.call("Operation", b"{}", deadline=soon(seconds), writes=writes))
        except (KVError, Refused) as error:
            outcomes.append(type(error))
    return outcomes


@pytest.mark.parametrize("token", [None, "session-token"])
def test_the_signature_is_botocores(token: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"TableName": "t"}'
    headers = Signer(region="eu-west-1", signing_name="dynamodb", host="localhost:8000").headers(
        Identity("AKIA", "secret", token), "DynamoDB_20120810.GetItem", body, MILLIS
    )
    moment = datetime.fromtimestamp(MILLIS // 1000, UTC)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: moment)
    theirs = AWSRequest(
        "POST", "http://localhost:8000/", data=body, headers={name: headers[name] for name in ("content-type", "x-amz-target")}
    )
    botocore.auth.SigV4Auth(Credentials("AKIA", "secret", token), "dynamodb", "eu-west-1").add_auth(theirs)
    assert headers["authorization"] == theirs.headers["Authorization"]
    assert headers["x-amz-date"] == theirs.headers["X-Amz-Date"]
    assert headers.get("x-amz-security-token") == token


async def test_an_answer_is_the_body(caller: Caller) -> None:
    assert await both(caller) == [b"{}", b"{}"]


async def test_a_large_body_arrives_whole(server: Server, caller: Caller) -> None:
    async def size(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    server.answer = size
    assert await caller.call("Operation", b"x" * (3 << 20), deadline=soon(), writes=True) == b"%d" % (3 << 20)


async def test_a_refusal_has_the_services_code(server: Server, caller: Caller) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException"}, status=400)

    server.answer = refuse
    with pytest.raises(Refused, match=r"^ThrottlingException$"):
        await caller.call("Operation", b"{}", deadline=soon(), writes=True)


async def test_a_refusal_by_something_in_between_has_the_status(server: Server, caller: Caller) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=403, body=b"<html>\xff")

    server.answer = refuse
    with pytest.raises(Refused, match=r"^HTTP 403$"):
        await caller.call("Operation", b"{}", deadline=soon(), writes=False)


async def test_k7_a_server_error_leaves_a_write_unknown(server: Server, caller: Caller) -> None:
    async def fail(request: web.Request) -> web.Response:
        return web.json_response({"__type": "InternalServerError"}, status=500)

    server.answer = fail
    assert await both(caller) == [Unavailable, WriteOutcomeUnknown]


async def test_k7_a_connection_cut_before_the_answer_leaves_a_write_unknown(server: Server, caller: Caller) -> None:
    async def cut(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    server.answer = cut
    assert await both(caller) == [Unavailable, WriteOutcomeUnknown]


async def test_k7_an_answer_with_a_wrong_checksum_is_none(server: Server, caller: Caller) -> None:
    async def damaged(request: web.Request) -> web.Response:
        return web.Response(body=b"{}", headers={"x-amz-crc32": "1"})

    server.answer = damaged
    assert await both(caller) == [Unavailable, WriteOutcomeUnknown]


async def test_k7_silence_until_the_deadline_leaves_a_write_unknown(server: Server, caller: Caller) -> None:
    async def stay_silent(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    server.answer = stay_silent
    assert await both(caller, seconds=0.1) == [DeadlinePassed, WriteOutcomeUnknown]


async def test_k7_what_never_left_was_not_applied(unused_tcp_port: int) -> None:
    caller = new_caller(f"http://127.0.0.1:{unused_tcp_port}")
    assert await both(caller) == [Unavailable, Unavailable]
    await caller.close()


async def test_a_call_after_its_deadline_is_not_sent(server: Server, caller: Caller) -> None:
    assert await both(caller, seconds=-1.0) == [DeadlinePassed, DeadlinePassed]
    assert server.requests_total == 0


async def test_k7_a_write_that_waits_for_its_turn_until_the_deadline_was_not_applied(server: Server) -> None:
    async def stay_silent(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    server.answer = stay_silent
    caller = new_caller(server.endpoint, connections_max=1)
    first = asyncio.create_task(caller.call("Operation", b"{}", deadline=soon(), writes=True))
    await server.arrived.wait()
    with pytest.raises(DeadlinePassed):
        await caller.call("Operation", b"{}", deadline=soon(0.1), writes=True)
    await caller.close()
    with pytest.raises(WriteOutcomeUnknown):
        await first
    with pytest.raises(Unavailable, match="closed"):
        await caller.call("Operation", b"{}", deadline=soon(), writes=True)


async def test_a_cancelled_call_takes_its_connection_with_it(server: Server, caller: Caller) -> None:
    async def answer_late(request: web.Request) -> web.Response:
        await asyncio.sleep(0.05)
        return web.Response(body=b"for somebody else")

    server.answer = answer_late
    call = asyncio.create_task(caller.call("Operation", b"{}", deadline=soon(), writes=False))
    await server.arrived.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    server.answer = server.fine
    assert await both(caller) == [b"{}", b"{}"]


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine on which AWS's chain finds nothing."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return monkeypatch


async def test_the_identity_comes_from_the_ordinary_chain(no_aws: pytest.MonkeyPatch) -> None:
    no_aws.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    no_aws.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    no_aws.setenv("AWS_SESSION_TOKEN", "token")
    assert await chain_identity()() == Identity("AKIA", "secret", "token")


async def test_no_identity_says_what_to_set(no_aws: pytest.MonkeyPatch) -> None:
    with pytest.raises(FailedPrecondition, match="AWS_PROFILE"):
        await chain_identity()()


async def test_a_profile_that_is_not_there_is_an_error_of_ours(no_aws: pytest.MonkeyPatch) -> None:
    no_aws.setenv("AWS_PROFILE", "absent")
    with pytest.raises(Unavailable, match="profile"):
        await chain_identity()()
