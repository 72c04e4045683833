"""The gateway over a store equals a dict of lists, whatever is done to it in whatever order."""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable
from dataclasses import replace
from types import SimpleNamespace
from typing import TypeVar, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from chronoserve.app.compose import layered
from chronoserve.kvstore.port import GetResult
from chronoserve.kvstore.registry import backend, built_in, open_store
from chronoserve.kvstore.router import Route, Router
from chronoserve.model import values
from chronoserve.model.dataset import Kind
from chronoserve.model.errors import KVError
from chronoserve.model.values import TimedValue
from chronoserve.service.gateway import Gateway, Limits, NamedGet, NamedPut
from chronoserve.testing.clock import ManualClock
from tests.model import Model, in_order

T = TypeVar("T")

KEY_BYTES_MAX = 40
VALUE_BYTES_MAX = 64
SKEW_MILLIS = 1000
START = 1_700_000_000_000

NAMES = st.sampled_from(["PLAIN", "SHORT", "EVENTS_STREAMING", "SHORT_STREAMING"] * 3 + ["LATER", "LATER_STREAMING", "no such", ""])
KEYS = st.sampled_from([b"a", b"aa", b"a\x00", b"\xff"] * 5 + [b"k" * KEY_BYTES_MAX, b"", b"k" * (KEY_BYTES_MAX + 1)])
VALUES = st.sampled_from([b"1", b"2", b"", b"\x00\xff"] * 3 + [b"v" * VALUE_BYTES_MAX, b"v" * (VALUE_BYTES_MAX + 1)])
TIMES = st.sampled_from([1, 2, START, START + 1] * 3 + [-1, 0, START + SKEW_MILLIS, START + SKEW_MILLIS + 1])
TOKENS = st.sampled_from([b"", b"one"] * 5 + [b"t" * 64, b"t" * 65])
PUTS = st.builds(NamedPut, NAMES, KEYS, VALUES, st.none() | TIMES, TOKENS)
GETS = st.builds(lambda dataset, key, after: SimpleNamespace(dataset=dataset, key_bytes=key, after_ts_millis=after), NAMES, KEYS, TIMES)


def answer(result: GetResult) -> list[TimedValue] | type[KVError]:
    return type(result) if isinstance(result, KVError) else in_order(values.decode(result))


class StoreMachine(RuleBasedStateMachine):
    """Subclasses say where the store is."""

    url = ""
    layers = True
    create_on_put = False

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = tempfile.mkdtemp(prefix="machine-")
        self.clock = ManualClock(START)
        self.model = Model(KEY_BYTES_MAX, VALUE_BYTES_MAX, SKEW_MILLIS, self.create_on_put)
        self.run(self.open())

    def run(self, call: Awaitable[T]) -> T:
        async def main() -> T:
            return await call

        return self.runner.run(main())

    @property
    def deadline(self) -> float:
        return self.runner.get_loop().time() + 30

    async def open(self) -> None:
        store = await open_store(self.url.format(directory=self.directory), clock=self.clock)
        store.capability = replace(store.capability, key_bytes_max=KEY_BYTES_MAX, value_bytes_max=VALUE_BYTES_MAX)
        self.router = Router({"main": layered(store, "main") if self.layers else store}, [Route("*", "main")])
        limits = Limits(skew_ahead_millis_max=SKEW_MILLIS, create_on_put=self.create_on_put)
        self.gateway = Gateway(self.router, self.router, clock=self.clock, limits=limits)
        await self.gateway.start(deadline=asyncio.get_running_loop().time() + 30)

    @initialize()
    def make_datasets(self) -> None:
        for name, kind, ttl in (
            ("PLAIN", None, 0),
            ("SHORT", Kind.LATEST, 5000),
            ("EVENTS_STREAMING", None, 0),
            ("SHORT_STREAMING", Kind.TIMED, 5000),
        ):
            self.create(name, kind, ttl)

    @rule(
        name=st.sampled_from(["PLAIN", "LATER", "LATER_STREAMING"]), kind=st.none() | st.sampled_from(Kind), ttl=st.sampled_from([0, 7000])
    )
    def create(self, name: str, kind: Kind | None, ttl: int) -> None:
        expected = self.model.create(name, kind, ttl)
        try:
            made = self.run(self.gateway.create(name, kind, ttl, deadline=self.deadline))
        except KVError as error:
            outcome: type[KVError] | None = type(error)
        else:
            outcome = None
            assert made.properties == self.model.datasets[name]
        assert outcome is expected

    @rule(puts=st.lists(PUTS, max_size=12))
    def put(self, puts: list[NamedPut]) -> None:
        expected = [self.model.put(put, self.clock()) for put in puts]
        results = self.run(self.gateway.multi_put(puts, deadline=self.deadline))
        assert [None if result is None else type(result) for result in results] == expected
        self.get([SimpleNamespace(dataset=put.dataset, key_bytes=put.key, after_ts_millis=0) for put in puts])

    @rule(gets=st.lists(GETS, max_size=10))
    def read(self, gets: list[SimpleNamespace]) -> None:
        self.get(gets)

    def get(self, gets: list[SimpleNamespace]) -> None:
        results = self.run(self.gateway.multi_get(cast("list[NamedGet]", gets), deadline=self.deadline))
        expected = [self.model.get(get.dataset, get.key_bytes, get.after_ts_millis, self.clock()) for get in gets]
        assert [answer(result) for result in results] == expected

    @rule(
        name=st.sampled_from(["PLAIN", "SHORT", "EVENTS_STREAMING"]), keys=st.lists(KEYS.filter(lambda key: 0 < len(key) < 41), max_size=3)
    )
    def delete(self, name: str, keys: list[bytes]) -> None:
        assert self.run(self.gateway.delete(name, keys, deadline=self.deadline)) == [None] * len(keys)
        self.model.delete(name, keys)

    @rule(millis=st.sampled_from([1, 999, 4000, 5000, 5001]))
    def wait(self, millis: int) -> None:
        self.clock.advance(millis)

    @rule(name=st.sampled_from(["PLAIN", "SHORT", "EVENTS_STREAMING", "SHORT_STREAMING"]), size=st.integers(1, 4))
    def scan(self, name: str, size: int) -> None:
        found: dict[bytes, list[TimedValue]] = {}
        token = b""
        while True:
            page = self.run(self.gateway.scan(name, token, keys_max=size, deadline=self.deadline))
            assert len(page.entries) <= size
            assert not found.keys() & {key for key, _ in page.entries}
            found.update((key, in_order(values.decode(row))) for key, row in page.entries)
            token = page.next_token
            if not token:
                break
        assert found == self.model.scan(name, self.clock())

    @invariant()
    def every_dataset_is_described(self) -> None:
        described = self.run(self.gateway.describe("", deadline=self.deadline))
        assert {dataset.name: dataset.properties for dataset in described} == self.model.datasets

    def teardown(self) -> None:
        self.run(self.router.close())
        self.runner.close()
        shutil.rmtree(self.directory)


class MemoryMachine(StoreMachine):
    url = "memory://"


class BareMemoryMachine(StoreMachine):
    url = "memory://"
    layers = False
    create_on_put = True


class LMDBMachine(StoreMachine):
    url = "lmdb://{directory}/store?sync=false"

    @rule()
    def restart(self) -> None:
        """K11: a store on disk is the same after it was closed and opened."""
        self.run(self.router.close())
        self.run(self.open())


@pytest.mark.parametrize(
    ("machine", "examples"), [(MemoryMachine, 60), (BareMemoryMachine, 60), (LMDBMachine, 40)], ids=["memory", "bare", "lmdb"]
)
def test_a_store_equals_a_dict_of_lists(machine: type[StoreMachine], examples: int) -> None:
    scheme = machine.url.partition(":")[0]
    if scheme not in built_in():
        pytest.skip(f"no {scheme} back end here")
    backend(scheme)
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=30))
