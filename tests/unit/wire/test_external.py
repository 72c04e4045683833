"""The gRPC handler against a server of the generated stubs, in this process and over a socket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2

from chronoserve.fetcher.external import Answer, ExternalRegistry, Policy
from chronoserve.model.boxed import Float, Int
from chronoserve.model.confs import ExternalSource
from chronoserve.model.errors import ExternalFailed, InvalidRequest
from chronoserve.model.types import BINARY, DOUBLE, INT, LONG, STRING
from chronoserve.v1 import external_pb2, external_pb2_grpc, fetcher_pb2
from chronoserve.wire.external import GrpcSource, Target, request
from tests.unit.fetcher.sources import source

Request = external_pb2.ExternalSourceFetchRequest
Response = external_pb2.ExternalSourceFetchResponse
Serve = Callable[[Request, Any], Awaitable[Response]]
Ask = Callable[..., Awaitable[list[Answer]]]


@asynccontextmanager
async def asking(serve: Serve, **target: Any) -> AsyncIterator[Ask]:
    """``ask(rows, source)`` of a registry whose source ``geo`` is a server that answers with ``serve``."""

    class Servicer(external_pb2_grpc.ExternalSourceServicer):
        async def Fetch(self, request: Request, context: Any) -> Response:  # noqa: N802 - gRPC's name
            return await serve(request, context)

    server = grpc.aio.server()
    external_pb2_grpc.add_ExternalSourceServicer_to_server(Servicer(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    registry = ExternalRegistry()
    registry.add("geo", GrpcSource(Target(url=f"grpc://127.0.0.1:{port}", **target)), policy=Policy(timeout_seconds=10))

    async def ask(rows: list[dict[str, object]], of: ExternalSource | None = None, seconds: float = 20) -> list[Answer]:
        return await registry.fetch(of or source(), rows, deadline=asyncio.get_running_loop().time() + seconds)

    try:
        yield ask
    finally:
        await registry.close()
        await server.stop(0)


def answer(**values: fetcher_pb2.Value) -> external_pb2.ExternalAnswer:
    return external_pb2.ExternalAnswer(values=values)


def message(found: Answer) -> str:
    assert type(found) is ExternalFailed
    return found.message


async def test_rows_and_answers_cross_with_their_boxes() -> None:
    heard: list[Any] = []

    async def serve(request: Request, context: Any) -> Response:
        heard.append((request.source, dict(request.factory_params), dict(context.invocation_metadata())["authorization"]))
        heard.append([dict(row.keys) for row in request.rows])
        values = [
            answer(
                n=fetcher_pb2.Value(int_value=5),
                d=fetcher_pb2.Value(int_value=5),
                long=fetcher_pb2.Value(int_value=5),
                b=fetcher_pb2.Value(bytes_value=b"\x00"),
                f=fetcher_pb2.Value(float_value=1.5),
                null=fetcher_pb2.Value(null_value="NULL_VALUE"),
                more=fetcher_pb2.Value(list_value=fetcher_pb2.ListValue(values=[fetcher_pb2.Value(string_value="x")])),
            ),
            external_pb2.ExternalAnswer(error=status_pb2.Status(code=5, message="no such user")),
        ]
        return Response(answers=values)

    of = source(params={"region": "eu"}, n=INT, d=DOUBLE, long=LONG, b=BINARY, null=STRING)
    rows: list[dict[str, object]] = [{"user": Int(5), "name": "é", "x": None}, {"user": 1 << 40, "m": {"k": [1.5, b"z"]}}]
    async with asking(serve, headers={"Authorization": "Bearer s3cret"}) as ask:
        good, bad = await ask(rows, of)
    assert heard[0] == ("geo", {"region": "eu"}, "Bearer s3cret")
    first, second = heard[1]
    assert (first["user"].int_value, first["name"].string_value, first["x"].WhichOneof("kind")) == (5, "é", "null_value")
    assert second["user"].int_value == 1 << 40
    assert [each.WhichOneof("kind") for each in second["m"].map_value.entries["k"].list_value.values] == ["double_value", "bytes_value"]
    expected = {"n": Int(5), "d": 5.0, "long": 5, "b": b"\x00", "f": Float(1.5), "null": None, "more": ["x"]}
    assert good == expected
    assert isinstance(good, dict)
    assert {name: type(value) for name, value in good.items()} == {name: type(value) for name, value in expected.items()}
    assert message(bad) == "no such user"


def test_the_request_made_by_hand_is_the_message() -> None:
    rows: list[dict[str, object]] = [{"user": Int(5), "text": "x" * 300}, {}, {"flag": True}]
    made = Request(
        source="geo",
        rows=[
            external_pb2.ExternalRow(keys={"user": fetcher_pb2.Value(int_value=5), "text": fetcher_pb2.Value(string_value="x" * 300)}),
            external_pb2.ExternalRow(),
            external_pb2.ExternalRow(keys={"flag": fetcher_pb2.Value(bool_value=True)}),
        ],
    )
    assert Request.FromString(request(source(), rows)) == made


async def abort(_: Request, context: Any) -> Response:
    await context.abort(grpc.StatusCode.PERMISSION_DENIED, "user=secret")
    raise AssertionError


async def too_few(_: Request, __: Any) -> Response:
    return Response(answers=[answer()])


async def empty_value(_: Request, __: Any) -> Response:
    return Response(answers=[answer(x=fetcher_pb2.Value()), answer()])


async def too_large(_: Request, __: Any) -> Response:
    return Response(answers=[answer(x=fetcher_pb2.Value(string_value="y" * 5000)), answer()])


@pytest.mark.parametrize(
    ("serve", "said", "failing"),
    [
        (abort, "failed: its service answered PERMISSION_DENIED", 2),
        (too_few, "gave 1 answers to 2 rows", 2),
        (too_large, "failed: its service answered RESOURCE_EXHAUSTED", 2),
        (empty_value, "a value that cannot be read", 1),
    ],
)
async def test_a_service_that_misbehaves(serve: Serve, said: str, failing: int) -> None:
    async with asking(serve, response_bytes_max=4096) as ask:
        found = await ask([{"user": "secret"}, {}])
    errors = [message(each) for each in found if not isinstance(each, dict)]
    assert len(errors) == failing
    assert all(said in each and "secret" not in each for each in errors), errors


async def test_bytes_that_are_no_message() -> None:
    server = grpc.aio.server()

    async def garbage(_: bytes, __: Any) -> bytes:
        return b"\xff\xff"

    handler = grpc.unary_unary_rpc_method_handler(garbage)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("chronoserve.v1.ExternalSource", {"Fetch": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    asked = GrpcSource(Target(url=f"grpc://127.0.0.1:{port}"))
    with pytest.raises(ExternalFailed, match="is not an ExternalSourceFetchResponse"):
        await asked.fetch(source(), [{}], deadline=asyncio.get_running_loop().time() + 20)
    await asked.close()
    await asked.close()
    await server.stop(0)


async def test_the_service_hears_how_long_it_has() -> None:
    heard: list[float] = []

    async def serve(request: Request, context: Any) -> Response:
        heard.append(context.time_remaining())
        return Response(answers=[answer()] * len(request.rows))

    async with asking(serve) as ask:
        assert await ask([{}], seconds=2.0) == [{}]
    assert 0 < heard[0] <= 2.0


@pytest.mark.parametrize("url", ["", "localhost:50051", "grpc://", "http://localhost"])
def test_a_target_is_one_of_grpc(url: str) -> None:
    with pytest.raises(InvalidRequest, match="grpc://HOST:PORT"):
        Target(url=url)


async def test_a_ca_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="CA file"):
        Target(url="grpcs://localhost:1", ca_file=str(tmp_path / "none.pem")).channel()
