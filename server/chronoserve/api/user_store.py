"""A user's KVStore behind the server's own port: batches in, travelling values out, and clear words where an answer is none."""

from collections.abc import Sequence

from chronoserve.api import kv
from chronoserve.kvstore.port import Capability, Catalog, GetRequest, GetResult, KVStore, PutRequest, PutResult
from chronoserve.model import values
from chronoserve.model.dataset import Dataset, Kind, Properties
from chronoserve.model.errors import FailedPrecondition, KVError, Unavailable, WriteOutcomeUnknown

DATASETS_MAX = 10_000
"""Names that are taken for datasets of the store: it has no catalogue to look them up in."""
BYTES_MAX = 4 << 20
MILLIS_MAX = (1 << 63) - 1


class UserStore(KVStore):
    """Any name is a dataset of it: LATEST, or TIMED where the name is that of a streaming dataset."""

    def __init__(self, store: kv.KVStore) -> None:
        """Raises FailedPrecondition where this is no KVStore."""
        self._name = type(store).__name__
        if not isinstance(store, kv.KVStore):
            raise FailedPrecondition(f"gen_kv_store gave a {self._name}: it has to be a chronoserve.api.KVStore, or None")
        self._store = store
        self._catalog = Catalog()
        self.capability = Capability(
            engine=self._name,
            key_bytes_max=BYTES_MAX,
            value_bytes_max=BYTES_MAX,
            multi_get_keys_max=10_000,
            multi_put_keys_max=10_000,
            ttl=False,
            scan=False,
            delete=False,
            durability="what the store of the deployment's Api promises",
        )

    async def load_datasets(self, *, deadline: float) -> dict[str, Dataset]:
        return dict(self._catalog.datasets)

    def imply(self, name: str) -> Dataset | None:
        known = self._catalog.datasets.get(name)
        if known is None and len(self._catalog.datasets) < DATASETS_MAX:
            known = self._catalog.intern(name, Properties(Kind.of_name(name)))
        return known

    async def create(self, name: str, properties: Properties, *, deadline: float) -> Dataset:
        try:
            await self._store.create(name)
        except Exception as raised:
            raise self._failure("create", raised) from raised
        return self._catalog.intern(name, properties)

    async def multi_get(self, requests: Sequence[GetRequest], *, deadline: float) -> list[GetResult]:
        asked = [kv.GetRequest(key, dataset.name, after or None) for dataset, key, after in requests]
        try:
            found = await self._store.multi_get(asked)
        except Exception as raised:
            raise self._failure("multi_get", raised) from raised
        answers = self._aligned("multi_get", found, len(requests))
        return [self._result(request, answer) for request, answer in zip(requests, answers, strict=True)]

    def _result(self, request: GetRequest, answer: object) -> GetResult:
        """The values in travelling form: of a LATEST dataset the newest, of a TIMED one all, oldest first."""
        if answer is None:
            return b""
        if isinstance(answer, Exception):
            return self._failure("multi_get", answer)
        dataset, _, after = request
        try:
            found = sorted((_timed_value(each) for each in _listed(answer)), key=lambda value: value.millis)
        except TypeError as wrong:
            return FailedPrecondition(f"multi_get of {self._name} answered {wrong} where a list of (bytes, millis) was due")
        kept = [value for value in found if value.millis >= after]
        return b"".join(values.encode(*value) for value in (kept if dataset.timed else kept[-1:]))

    async def multi_put(self, requests: Sequence[PutRequest], *, deadline: float) -> list[PutResult]:
        puts = [kv.PutRequest(put.key, values.decode(put.timed_value)[0].bytes, put.dataset.name, put.millis) for put in requests]
        try:
            found = await self._store.multi_put(puts)
        except KVError as refused:
            raise self._failure("multi_put", refused) from refused
        except Exception as raised:
            unknown = WriteOutcomeUnknown(f"multi_put of {self._name} raised {type(raised).__name__}: the writes may have been applied")
            raise unknown from raised
        answers = self._aligned("multi_put", found, len(requests))
        return [self._put_result(answer) for answer in answers]

    def _put_result(self, answer: object) -> PutResult:
        if answer is True:
            return None
        if answer is False:
            return Unavailable(f"{self._name} did not take the write")
        if isinstance(answer, Exception):
            return self._failure("multi_put", answer)
        return WriteOutcomeUnknown(f"multi_put of {self._name} answered {type(answer).__name__} where True or False was due")

    async def check(self, *, deadline: float) -> None:
        """A deployment's store has nothing to ask that would cost nothing."""

    async def close(self) -> None:
        await self._store.close()

    def _aligned(self, method: str, found: object, count: int) -> Sequence[object]:
        if not isinstance(found, Sequence) or isinstance(found, (str, bytes)):
            given = "nothing" if found is None else f"a {type(found).__name__}"
            raise FailedPrecondition(f"{method} of {self._name} gave {given}: it has to give a list with an answer for each request")
        if len(found) != count:
            raise FailedPrecondition(
                f"{method} of {self._name} gave {len(found)} answers to {count} requests: which is whose cannot be known"
            )
        return found

    def _failure(self, method: str, raised: Exception) -> KVError:
        """An error of the server's own kinds stays what it is; of others only the type is told, for their text may quote a key."""
        if isinstance(raised, KVError) and type(raised).__module__ == KVError.__module__:
            return raised
        return Unavailable(f"{method} of {self._name} failed: {type(raised).__name__}")


def _listed(answer: object) -> Sequence[object]:
    """Raises TypeError with the name of what it is instead."""
    if not isinstance(answer, (list, tuple)) or isinstance(answer, values.TimedValue):
        raise TypeError(f"a {type(answer).__name__}")
    return answer


def _timed_value(given: object) -> values.TimedValue:
    match given:
        case (bytes() | bytearray() | memoryview() as value, int(millis)) if not isinstance(millis, bool):
            if not 0 <= millis <= MILLIS_MAX:
                raise TypeError(f"a time of {millis}")
            return values.TimedValue(bytes(value), millis)
        case (value, millis):
            raise TypeError(f"({type(value).__name__}, {type(millis).__name__})")
        case _:
            raise TypeError(f"a {type(given).__name__}")
