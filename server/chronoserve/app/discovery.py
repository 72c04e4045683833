"""Calls without stubs: what a server says of itself by reflection is all that is known here, as with grpcurl."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from chronoserve.model.errors import Unsupported

REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
"""v1 has the messages of v1alpha, whose stubs grpcio ships."""
SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Reflection:
    """A server seen through its reflection service."""

    channel: grpc.aio.Channel

    async def services(self) -> list[str]:
        """Full names, in the server's order."""
        answer = await self._ask(ServerReflectionRequest(list_services=""))
        return [service.name for service in answer.list_services_response.service]

    async def service(self, name: str) -> ServiceDescriptor:
        """The description of a service, with all that its messages need, in a pool of its own.

        Raises:
            Unsupported: the server does not describe it.
        """
        answer = await self._ask(ServerReflectionRequest(file_containing_symbol=name))
        files = {file.name: file for file in _files(answer)}
        while missing := _missing(files):
            answer = await self._ask(ServerReflectionRequest(file_by_filename=missing[0]))
            files |= {file.name: file for file in _files(answer)}
        pool = descriptor_pool.DescriptorPool()
        for file in _in_order(files):
            pool.Add(file)
        return pool.FindServiceByName(name)

    async def _ask(self, request: ServerReflectionRequest) -> ServerReflectionResponse:
        call = self.channel.stream_stream(
            REFLECTION,
            request_serializer=ServerReflectionRequest.SerializeToString,
            response_deserializer=ServerReflectionResponse.FromString,
        )
        async for answer in call(iter([request]), timeout=SECONDS):
            if answer.HasField("error_response"):
                raise Unsupported(f"reflection: {answer.error_response.error_message}")
            return answer
        raise Unsupported("reflection ended without an answer")


def request_of(method: MethodDescriptor, **fields: Any) -> Message:
    """A request message of the method."""
    return message_factory.GetMessageClass(method.input_type)(**fields)


async def call(channel: grpc.aio.Channel, method: MethodDescriptor, request: Message) -> Message:
    """A unary call, with the message classes that its description implies."""
    service = method.containing_service
    assert service is not None, "a method belongs to a service"
    unary = channel.unary_unary(
        f"/{service.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    answer: Message = await unary(request, timeout=SECONDS)
    return answer


def _files(answer: ServerReflectionResponse) -> list[descriptor_pb2.FileDescriptorProto]:
    found = answer.file_descriptor_response.file_descriptor_proto
    return [descriptor_pb2.FileDescriptorProto.FromString(data) for data in found]


def _missing(files: dict[str, descriptor_pb2.FileDescriptorProto]) -> list[str]:
    return [needed for file in files.values() for needed in file.dependency if needed not in files]


def _in_order(files: dict[str, descriptor_pb2.FileDescriptorProto]) -> Sequence[descriptor_pb2.FileDescriptorProto]:
    """Each file after those that it imports, as a pool wants them."""
    ordered: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def visit(name: str) -> None:
        for needed in files[name].dependency:
            if needed not in ordered:
                visit(needed)
        ordered[name] = files[name]

    for name in files:
        visit(name)
    return list(ordered.values())
