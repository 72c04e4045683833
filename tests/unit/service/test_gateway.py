"""The gateway: clauses K1-K10 of spec/product.md §4, above a store that keeps its own."""

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoserve.model.dataset import Kind
from chronoserve.model.errors import (
    AlreadyExists,
    InvalidRequest,
    KVError,
    PermissionDenied,
    Unavailable,
    UnknownDataset,
    Unsupported,
    WriteOutcomeUnknown,
)
from chronoserve.model.values import TimedValue
from chronoserve.service.access import Caller, Policy, Rule, Verb
from chronoserve.service.gateway import TTL_MILLIS_MAX, NamedPut
from tests.model import Model, in_order
from tests.unit.service.bench import KEY_BYTES_MAX, SKEW_MILLIS, START, VALUE_BYTES_MAX, Bench, errors, get
from tests.virtual_time import in_virtual_time

HOSTILE_NAMES = [
    "",
    " ",
    "a b",
    "a/b",
    "../etc",
    "a\x00b",
    "ä",
    "a'; DROP TABLE x; --",
    "{$gt: 1}",
    "a\n",
    "\r\nFLUSHALL\r\n",
    "x" * 201,
    "x" * 100_000,
]

NAMES = st.sampled_from(["A", "B_STREAMING", "A", "B_STREAMING", "MISSING", "", "no such"])
KEYS = st.sampled_from([b"a", b"b", b"c", b"", b"k" * KEY_BYTES_MAX, b"k" * (KEY_BYTES_MAX + 1)])
VALUES = st.sampled_from([b"", b"1", b"2", b"v" * VALUE_BYTES_MAX, b"v" * (VALUE_BYTES_MAX + 1)])
TIMES = st.none() | st.sampled_from([-(2**63), -1, 0, 1, START, START + SKEW_MILLIS, START + SKEW_MILLIS + 1, 2**63 - 1])
PUTS = st.lists(st.builds(NamedPut, NAMES, KEYS, VALUES, TIMES, st.sampled_from([b"", b"t", b"t" * 64, b"t" * 65])), max_size=30)
GETS = st.lists(st.builds(get, NAMES, KEYS, st.sampled_from([-(2**63), -1, 0, 1, START, 2**63 - 1])), max_size=30)


@given(PUTS, GETS, st.booleans())
def test_every_request_of_a_batch_gets_its_own_answer_in_its_place(puts: list[NamedPut], gets: list[SimpleNamespace], create: bool) -> None:
    async def main() -> None:
        bench = Bench.make(limits={"create_on_put": create})
        model = Model(KEY_BYTES_MAX, VALUE_BYTES_MAX, SKEW_MILLIS, create)
        for name in ("A", "B_STREAMING"):
            await bench.gateway.create(name, None, 0, deadline=bench.deadline)
            model.create(name, None, 0)
        assert await bench.put(*puts) == [model.put(put, START) for put in puts]
        found = await bench.get(*gets)
        expected = [model.get(each.dataset, each.key_bytes, each.after_ts_millis, START) for each in gets]
        assert [in_order(row) if isinstance(row, list) else row for row in found] == expected

    asyncio.run(main())


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
@in_virtual_time
async def test_a_name_that_is_none_is_refused_everywhere_and_never_repeated(name: str) -> None:
    bench = Bench.make(limits={"create_on_put": True})
    gateway = bench.gateway
    found = [*await gateway.multi_get([get(name, b"k")], deadline=bench.deadline), *await errors(bench, [NamedPut(name, b"k", b"v")])]
    for call in (
        gateway.create(name, None, 0, deadline=bench.deadline),
        gateway.delete(name, [b"k"], deadline=bench.deadline),
        gateway.scan(name, b"", deadline=bench.deadline),
        gateway.authorize(name, Verb.READ, deadline=bench.deadline),
    ):
        with pytest.raises(InvalidRequest) as caught:
            await call
        found.append(caught.value)
    for error in found:
        assert isinstance(error, InvalidRequest)
        assert error.field == "dataset"
        assert len(name) < 2 or name not in error.message
    assert await gateway.describe("", deadline=bench.deadline) == []


@in_virtual_time
async def test_a_call_has_at_most_so_many_keys() -> None:
    bench = Bench.make()
    await bench.gateway.create("A", None, 0, deadline=bench.deadline)
    assert await bench.get(*[get("A", b"k")] * 50) == [[]] * 50
    assert await bench.put(*[NamedPut("A", b"k", b"v")] * 50) == [None] * 50
    assert await bench.gateway.delete("A", [b"k"] * 50, deadline=bench.deadline) == [None] * 50
    for call in (
        bench.get(*[get("A", b"k")] * 51),
        bench.put(*[NamedPut("A", b"k", b"v")] * 51),
        bench.gateway.delete("A", [b"k"] * 51, deadline=bench.deadline),
        bench.gateway.scan("A", b"", keys_max=51, deadline=bench.deadline),
        bench.gateway.scan("A", b"", keys_max=-1, deadline=bench.deadline),
    ):
        with pytest.raises(InvalidRequest, match="50"):
            await call


@in_virtual_time
async def test_creating_again_is_fine_with_equal_properties_only() -> None:
    gateway, deadline = Bench.make().gateway, asyncio.get_running_loop().time() + 1
    first = await gateway.create("X", Kind.TIMED, 1000, deadline=deadline)
    assert await gateway.create("X", Kind.TIMED, 1000, deadline=deadline) is first
    for kind, ttl in ((Kind.LATEST, 1000), (Kind.TIMED, 999), (None, 1000)):
        with pytest.raises(AlreadyExists, match="TIMED with a ttl of 1000 ms"):
            await gateway.create("X", kind, ttl, deadline=deadline)
    assert (await gateway.describe("X", deadline=deadline))[0] is first


@in_virtual_time
async def test_the_name_decides_the_kind_where_nothing_else_does() -> None:
    gateway, deadline = Bench.make().gateway, asyncio.get_running_loop().time() + 1
    for name, kind in (("X_STREAMING", Kind.TIMED), ("X_STREAMING_BATCH", Kind.LATEST), ("X", Kind.LATEST), ("x_streaming", Kind.LATEST)):
        assert (await gateway.create(name, None, 0, deadline=deadline)).properties.kind is kind


@pytest.mark.parametrize("ttl", [-1, TTL_MILLIS_MAX + 1])
@in_virtual_time
async def test_a_ttl_has_its_bounds(ttl: int) -> None:
    bench = Bench.make()
    with pytest.raises(InvalidRequest) as caught:
        await bench.gateway.create("X", None, ttl, deadline=bench.deadline)
    assert caught.value.field == "properties.ttl"


@in_virtual_time
async def test_what_the_store_cannot_do_is_refused_before_anything_is_written() -> None:
    bench = Bench.make(timed=False, ttl=False, scan=False, delete=False, limits={"create_on_put": True})
    gateway, deadline = bench.gateway, bench.deadline
    for kind, ttl in ((Kind.TIMED, 0), (Kind.LATEST, 5)):
        with pytest.raises(Unsupported):
            await gateway.create("X", kind, ttl, deadline=deadline)
    assert await bench.put(NamedPut("X_STREAMING", b"k", b"v"), NamedPut("X", b"k", b"v")) == [Unsupported, None]
    with pytest.raises(Unsupported):
        await gateway.delete("X", [b"k"], deadline=deadline)
    with pytest.raises(Unsupported):
        await gateway.scan("X", b"", deadline=deadline)
    assert [dataset.name for dataset in await gateway.describe("", deadline=deadline)] == ["X"]


@in_virtual_time
async def test_a_put_creates_the_dataset_only_where_that_is_configured() -> None:
    assert await Bench.make().put(NamedPut("X_STREAMING", b"k", b"v")) == [UnknownDataset]
    bench = Bench.make(limits={"create_on_put": True})
    assert await bench.put(NamedPut("X_STREAMING", b"k", b"v")) == [None]
    (made,) = await bench.gateway.describe("X_STREAMING", deadline=bench.deadline)
    assert made.properties.kind is Kind.TIMED


@in_virtual_time
async def test_a_put_whose_dataset_was_perhaps_not_created_was_certainly_not_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench.make(limits={"create_on_put": True})

    async def create(*_: object, **__: object) -> None:
        raise WriteOutcomeUnknown("no answer")

    monkeypatch.setattr(bench.store, "create", create)
    assert await bench.put(NamedPut("X", b"k", b"v")) == [Unavailable]


@pytest.mark.parametrize(
    ("put", "field"),
    [
        (NamedPut("A", b"", b"v"), "key_bytes"),
        (NamedPut("A", b"k" * (KEY_BYTES_MAX + 1), b"v"), "key_bytes"),
        (NamedPut("A", b"k", b"v" * (VALUE_BYTES_MAX + 1)), "value_bytes"),
        (NamedPut("A", b"k", b"v", -1), "ts_millis"),
        (NamedPut("A", b"k", b"v", START + SKEW_MILLIS + 1), "ts_millis"),
        (NamedPut("A", b"k", b"v", 1, b"t" * 65), "idempotency_token"),
    ],
)
@in_virtual_time
async def test_a_refused_put_names_its_field_and_limit_and_not_its_content(put: NamedPut, field: str) -> None:
    bench = Bench.make()
    await bench.gateway.create("A", None, 0, deadline=bench.deadline)
    (error,) = await errors(bench, [put])
    assert isinstance(error, InvalidRequest)
    assert error.field == field
    assert not any(secret in error.message for secret in ("kkk", "vvv", "ttt"))
    assert await bench.get(get("A", b"k")) == [[]]


@in_virtual_time
async def test_a_put_without_time_takes_the_server_s() -> None:
    bench = Bench.make()
    await bench.gateway.create("A", None, 0, deadline=bench.deadline)
    bench.clock.advance(77)
    await bench.put(NamedPut("A", b"k", b"v"))
    assert await bench.get(get("A", b"k")) == [[TimedValue(b"v", START + 77)]]


@in_virtual_time
async def test_tokens_tell_equal_values_of_one_millisecond_apart() -> None:
    bench = Bench.make()
    await bench.gateway.create("T", Kind.TIMED, 0, deadline=bench.deadline)
    puts = [NamedPut("T", b"k", b"v", 5, token) for token in (b"", b"1", b"2", b"1", b"")]
    assert await bench.put(*puts) == [None] * 5
    assert await bench.get(get("T", b"k")) == [[TimedValue(b"v", 5)] * 3]


@in_virtual_time
async def test_a_value_and_a_token_of_the_same_bytes_are_two_identities() -> None:
    bench = Bench.make()
    await bench.gateway.create("T", Kind.TIMED, 0, deadline=bench.deadline)
    await bench.put(NamedPut("T", b"k", b"x", 5), NamedPut("T", b"k", b"y", 5, b"x"))
    assert await bench.get(get("T", b"k")) == [[TimedValue(b"x", 5), TimedValue(b"y", 5)]] or await bench.get(get("T", b"k")) == [
        [TimedValue(b"y", 5), TimedValue(b"x", 5)]
    ]


@in_virtual_time
async def test_values_expire_so_long_after_they_were_written() -> None:
    bench = Bench.make()
    await bench.gateway.create("S", None, 1000, deadline=bench.deadline)
    await bench.put(NamedPut("S", b"k", b"v", 1))
    bench.clock.advance(999)
    assert await bench.get(get("S", b"k")) == [[TimedValue(b"v", 1)]]
    bench.clock.advance(1)
    assert await bench.get(get("S", b"k")) == [[]]


@in_virtual_time
async def test_one_bad_key_keeps_a_delete_from_removing_anything() -> None:
    bench = Bench.make()
    await bench.gateway.create("A", None, 0, deadline=bench.deadline)
    await bench.put(NamedPut("A", b"k", b"v", 1))
    for keys in ([b"k", b""], [b"k", b"k" * 99]):
        with pytest.raises(InvalidRequest):
            await bench.gateway.delete("A", keys, deadline=bench.deadline)
    assert await bench.get(get("A", b"k")) == [[TimedValue(b"v", 1)]]


READER = Caller("reader", Policy([Rule(("reader",), frozenset({Verb.READ}), ("A*",))]))
WRITER = Caller("writer", Policy([Rule(("writer",), frozenset({Verb.WRITE}), ("A*",))]))


@in_virtual_time
async def test_permissions_are_checked_item_by_item_and_before_existence() -> None:
    bench = Bench.make(limits={"create_on_put": True})
    for name in ("A", "B"):
        await bench.gateway.create(name, None, 0, deadline=bench.deadline)
    gets = [get("A", b"k"), get("B", b"k"), get("B_MISSING", b"k"), get("A_MISSING", b"k"), get("A", b"")]
    assert await bench.get(*gets, caller=READER) == [[], PermissionDenied, PermissionDenied, UnknownDataset, InvalidRequest]
    puts = [NamedPut("A", b"k", b"v"), NamedPut("B", b"k", b"v"), NamedPut("B_NEW", b"k", b"v"), NamedPut("A_NEW", b"k", b"v")]
    assert await bench.put(*puts, caller=WRITER) == [None, PermissionDenied, PermissionDenied, None]
    assert await bench.put(*puts, caller=READER) == [PermissionDenied] * 4
    assert await bench.get(*gets[:1], caller=WRITER) == [PermissionDenied]
    assert await bench.get(get("B", b"k")) == [[]]


@in_virtual_time
async def test_every_other_call_is_checked_too() -> None:
    bench = Bench.make()
    await bench.gateway.create("A", None, 0, deadline=bench.deadline)
    await bench.gateway.create("B", None, 0, deadline=bench.deadline)
    for call in (
        bench.gateway.create("A_2", None, 0, deadline=bench.deadline, caller=WRITER),
        bench.gateway.delete("A", [b"k"], deadline=bench.deadline, caller=READER),
        bench.gateway.scan("A", b"", deadline=bench.deadline, caller=WRITER),
        bench.gateway.describe("B", deadline=bench.deadline, caller=READER),
        bench.gateway.authorize("A", Verb.ADMIN, deadline=bench.deadline, caller=WRITER),
    ):
        with pytest.raises(PermissionDenied):
            await call
    shown = await bench.gateway.describe("", deadline=bench.deadline, caller=READER)
    assert [dataset.name for dataset in shown] == ["A"]


@in_virtual_time
async def test_a_refused_identity_reads_nothing_of_its_hostile_name_back() -> None:
    bench = Bench.make()
    (error,) = await bench.gateway.multi_get([get("x" * 1000, b"k")], deadline=bench.deadline, caller=WRITER)
    assert isinstance(error, KVError)
    assert len(error.message) < 200
