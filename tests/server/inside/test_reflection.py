"""Reflection by a client that knows nothing: what it is told is enough to call every method."""

from typing import Any

import grpc
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2

from chronoserve.wire.reflection import SERVICES
from tests.server.inside.serving import SECONDS, raw, serving

Request = reflection_pb2.ServerReflectionRequest


async def ask(channel: grpc.aio.Channel, service: str, *requests: Any) -> list[Any]:
    """The two versions differ in the name of their package only, so the messages of one serve for both."""
    call = raw(channel, f"/{service}/ServerReflectionInfo", client_streaming=True, server_streaming=True)
    stream = call(iter([request.SerializeToString() for request in requests]), timeout=SECONDS)
    return [reflection_pb2.ServerReflectionResponse.FromString(reply) async for reply in stream]


def files(reply: Any) -> list[descriptor_pb2.FileDescriptorProto]:
    assert not reply.HasField("error_response"), reply
    return [descriptor_pb2.FileDescriptorProto.FromString(data) for data in reply.file_descriptor_response.file_descriptor_proto]


async def test_the_files_of_a_service_are_complete_for_a_client_that_knows_nothing() -> None:
    async with serving() as server:
        known: dict[str, descriptor_pb2.FileDescriptorProto] = {}
        (reply,) = await ask(server.channel, SERVICES[0], Request(file_containing_symbol="chronoserve.v1.KVStore.MultiGet"))
        missing = {file.name: file for file in files(reply)}
        while missing:
            known.update(missing)
            wanted = {name for file in known.values() for name in file.dependency} - known.keys()
            replies = await ask(server.channel, SERVICES[0], *(Request(file_by_filename=name) for name in sorted(wanted)))
            missing = {file.name: file for reply in replies for file in files(reply) if file.name not in known}
        assert {"chronoserve/v1/kv.proto", "google/rpc/status.proto", "google/protobuf/duration.proto"} <= known.keys()
