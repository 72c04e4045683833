"""The stored data: key n is ``user_<n>``, its value the eight digits of n over and over, its time a fixed one plus n.

The load client (``load/questions.go``) knows the same rule and checks answers by it.
"""

from collections.abc import Iterator

import grpc
import redis

from chronoserve.v1 import kv_pb2, kv_pb2_grpc

NAME = "bench"
KEYS = 100_000
VALUE_BYTES = 200
MILLIS_OF_FIRST = 1_700_000_000_000
KEYS_OF_WRITE = 500
CALL_SECONDS = 30.0


def key(number: int) -> bytes:
    return b"user_%08d" % number


def value(number: int) -> bytes:
    digits = b"%08d" % number
    return (digits * (VALUE_BYTES // len(digits) + 1))[:VALUE_BYTES]


def millis(number: int) -> int:
    return MILLIS_OF_FIRST + number


def _batches() -> Iterator[range]:
    for start in range(0, KEYS, KEYS_OF_WRITE):
        yield range(start, min(start + KEYS_OF_WRITE, KEYS))


def load_peers(redis_port: int) -> None:
    """Write what the Go peer and the naive servers read, straight into Redis."""
    with redis.Redis(host="127.0.0.1", port=redis_port) as client:
        for batch in _batches():
            client.mset({b"peer:%s:%s" % (NAME.encode(), key(n)): millis(n).to_bytes(8, "big") + value(n) for n in batch})


def _put(number: int) -> kv_pb2.PutRequest:
    return kv_pb2.PutRequest(key_bytes=key(number), value_bytes=value(number), dataset=NAME, ts_millis=millis(number))


def load_server(target: str) -> None:
    """Write the data through a running server, as a user would.

    Raises:
        RuntimeError: the server did not take a value.
    """
    with grpc.insecure_channel(target) as channel:
        stub = kv_pb2_grpc.KVStoreStub(channel)  # type: ignore[no-untyped-call]  # generated
        kind = kv_pb2.DatasetProperties(kind=kv_pb2.DATASET_KIND_LATEST)
        stub.Create(kv_pb2.CreateRequest(dataset=NAME, properties=kind), timeout=CALL_SECONDS)
        for batch in _batches():
            answer = stub.MultiPut(kv_pb2.MultiPutRequest(requests=[_put(n) for n in batch]), timeout=CALL_SECONDS)
            refused = next((put for put in answer.responses if not put.ok), None)
            if refused is not None:
                raise RuntimeError(f"the server did not take a value: {refused.error.message}")
