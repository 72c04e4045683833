"""Reads by the native module are those by the generated classes, or are left to them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import KVError
from chronoserve.v1 import kv_pb2
from chronoserve.wire import transports
from chronoserve.wire.reads import Reads

KEY_BYTES_MAX = 8
DATASETS = {name: Dataset(name, Properties(Kind.LATEST, 0)) for name in ("A", "B", "longer.name-1")}


class Gateway:
    """Answers each request with itself, by name."""

    known = DATASETS
    key_bytes_max = KEY_BYTES_MAX

    async def multi_get_known(self, requests: Any, *, deadline: float) -> Any:
        return [(dataset.name, key, after) for dataset, key, after in requests]

    async def multi_get(self, requests: Any, *, deadline: float, caller: Any) -> Any:
        return [(each.dataset, each.key_bytes, each.after_ts_millis) for each in requests]


NATIVE = pytest.mark.skipif(transports.native_module() is None, reason="the native module is not built: make native")

GETS = st.builds(
    kv_pb2.GetRequest,
    dataset=st.sampled_from([*DATASETS, "unknown", ""]),
    key_bytes=st.binary(max_size=KEY_BYTES_MAX + 2),
    after_ts_millis=st.none() | st.integers(-(2**63), 2**63 - 1),
)
PLAIN = st.builds(
    kv_pb2.GetRequest,
    dataset=st.sampled_from(list(DATASETS)),
    key_bytes=st.binary(min_size=1, max_size=KEY_BYTES_MAX),
    after_ts_millis=st.none() | st.integers(0, 2**63 - 1),
)

MESSAGES = st.lists(PLAIN, min_size=1, max_size=3).map(lambda gets: kv_pb2.MultiGetRequest(requests=gets).SerializeToString())


def reads(*, native: bool) -> Reads:
    return Reads(Gateway(), native=native)  # type: ignore[arg-type]


def named(message: kv_pb2.MultiGetRequest) -> list[tuple[str, bytes, int]]:
    return [(each.dataset, each.key_bytes, each.after_ts_millis) for each in message.requests]


@NATIVE
@given(requests=st.lists(PLAIN, max_size=20))
def test_plain_requests_are_read_natively(requests: list[kv_pb2.GetRequest]) -> None:
    message = kv_pb2.MultiGetRequest(requests=requests)
    found = reads(native=True).plain(message.SerializeToString())
    assert found is not None
    assert [(dataset.name, key, after) for dataset, key, after in found] == named(message)
    assert all(dataset is DATASETS[dataset.name] for dataset, _, _ in found)
    assert reads(native=False).plain(message.SerializeToString()) is None


@pytest.mark.parametrize("native", [pytest.param(True, marks=NATIVE), False])
@given(batches=st.lists(st.lists(GETS | PLAIN, max_size=4), max_size=4))
async def test_messages_of_any_form_are_read_together(native: bool, batches: list[list[kv_pb2.GetRequest]]) -> None:
    of = reads(native=native)
    messages = [kv_pb2.MultiGetRequest(requests=batch) for batch in batches]
    requests = [request for message in messages for request in of.parse(message.SerializeToString(), None)]
    found: list[Any] = list(await of.get(requests, 0.0, None))
    assert found == [each for message in messages for each in named(message)]


@NATIVE
@given(
    data=st.binary(max_size=60)
    | st.lists(PLAIN, min_size=1, max_size=3).map(lambda gets: kv_pb2.MultiGetRequest(requests=gets).SerializeToString()),
    at=st.integers(0, 60),
    byte=st.integers(0, 255),
)
def test_bytes_of_any_kind_are_read_as_the_generated_classes_do_or_not_at_all(data: bytes, at: int, byte: int) -> None:
    data = data[:at] + bytes([byte]) + data[at + 1 :]
    found = reads(native=True).plain(data)
    if found is None:
        return
    try:
        expected = named(kv_pb2.MultiGetRequest.FromString(data))
    except Exception as error:
        raise AssertionError("read what is no message") from error
    assert [(dataset.name, key, after) for dataset, key, after in found] == expected


def test_bytes_that_are_no_message_are_refused() -> None:
    for native in (True, False):
        with pytest.raises(KVError, match="MultiGetRequest"):
            reads(native=native).parse(b"\x0a\xff", None)
