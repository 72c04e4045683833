"""Worlds replayed: puts in the order of the file, and each request where it stands among them."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from chronoserve.app.replay import shapes
from chronoserve.app.replay.compare import ABSENT, Difference, entry_differences
from chronoserve.app.replay.faces import Answers, CannotAsk, Face, RecordedPut, Tagged
from chronoserve.app.replay.logs import LogReader
from chronoserve.app.replay.notes import Case, explained
from chronoserve.app.replay.outcome import Outcome
from chronoserve.app.replay.recording import Record, World, aligned
from chronoserve.app.replay.stored_confs import StoredConfs
from chronoserve.app.replay.tokens import rising_tokens
from chronoserve.codec.tagged import untag
from chronoserve.model import naming
from chronoserve.model.errors import InvalidRequest, KVError
from chronoserve.model.features import FeatureRequest
from chronoserve_client import ChronoserveError

EXCEPTION = "_exception"
DAY_MILLIS = 86_400_000
PUTS_PER_CALL = 1000
BYTES_PER_CALL = 1 << 20
UNASKED = "request"
"""Under this name requests are counted that could not be put into words."""

OpenFace = Callable[[], Awaitable[Face]]


async def replay(world: World, open_face: OpenFace, skipped: Counter[str]) -> AsyncIterator[Outcome]:
    """One outcome for each request of the world, in order. A request that cannot be replayed is a difference, not the end.

    ``skipped`` counts requests that the face has no words for.
    """
    face = await open_face()
    try:
        async for outcome in _Replay(world, face, skipped).outcomes():
            yield outcome
    finally:
        await face.close()


class _Replay:
    """A world under way: puts wait until a request asks for what they wrote."""

    def __init__(self, world: World, face: Face, skipped: Counter[str]) -> None:
        self._world = world
        self._face = face
        self._skipped = skipped
        self._tokens = iter(rising_tokens(sum(record.get("kind") in PUTS for record in world.records)))
        self._waiting: list[RecordedPut] = []
        self._confs = StoredConfs()
        self._uploads: dict[str, Record] = {}
        self._logs = LogReader()
        self._logged = any(record.get("kind") == "log" for record in world.records)
        """Whether the recording tells what was logged; one that never does was made without a log."""

    async def outcomes(self) -> AsyncIterator[Outcome]:
        records = self._world.records
        for at, record in enumerate(records):
            if record.get("kind") != "request":
                if (unreadable := self._take(record)) is not None:
                    yield unreadable
                continue
            try:
                yield await self._outcome(record, list(_logged_with(record, records[at + 1 :])))
            except CannotAsk:
                self._skipped[UNASKED] += 1

    def _take(self, record: Record) -> Outcome | None:
        """Keep the write that a record stands for, if it does. A record that cannot be read is a difference of its own."""
        try:
            put = self._put_of(record)
        except InvalidRequest as wrong:
            found = Difference(str(record.get("kind")), "a record that can be read", wrong.message)
            return Outcome(self._world.name, str(record.get("id")), {}, [found], [None])
        if put is not None:
            self._confs.learn(put)
            self._waiting.append(put)
        return None

    def _put_of(self, record: Record) -> RecordedPut | None:
        """The write that a record stands for, if any. Raises InvalidRequest where it cannot be read."""
        kind = str(record.get("kind"))
        try:
            if kind == "upload":
                self._uploads[record["group_by"]] = record
            if kind not in PUTS:
                return None
            dataset, key, value, millis = PUTS[kind](record, self._uploads)
            return RecordedPut(dataset, key, value, millis, next(self._tokens))
        except (KeyError, ValueError, TypeError, AttributeError) as wrong:
            raise InvalidRequest(f"a {kind} of world {self._world.name} cannot be read: {wrong!r}") from wrong

    async def _outcome(self, record: Record, logged: Sequence[Record]) -> Outcome:
        name, case_id = self._world.name, str(record.get("id"))
        try:
            self._logs.learn_recorded(logged)
            answers = await self._ask(record)
            self._logs.learn_ours(answers.log)
            found = [*self._differences(record, answers), *self._logs.differences(logged, answers.log if self._logged else None)]
            return Outcome(name, case_id, answers.record(), found, explained(Case(record, answers.record(), self._confs), found))
        except CannotAsk:
            raise
        except (KVError, ChronoserveError) as error:
            wrong = error.message
        except (KeyError, ValueError, TypeError, AttributeError) as malformed:
            wrong = f"the record cannot be replayed: {malformed!r}"
        except Exception as defect:  # noqa: BLE001 - a defect of ours is a difference of this request, and of it alone
            wrong = f"our own defect: {defect!r}"
        return Outcome(name, case_id, {"responses": None}, [Difference("", "an answer", wrong)], [None])

    async def _ask(self, record: Record) -> Answers:
        waiting, self._waiting = self._waiting, []
        for puts in _calls(waiting):
            await self._face.put(puts)
        return await self._face.fetch(record["api"], [_request(each) for each in record["requests"]], _guide(record))

    def _differences(self, record: Record, answers: Answers) -> Iterator[Difference]:
        recorded_error = record.get("call_error")
        if recorded_error is not None or answers.call_error is not None:
            if recorded_error is None or answers.call_error is None:
                yield Difference("call_error", recorded_error or ABSENT, answers.call_error or ABSENT)
            return
        if len(record["responses"]) != len(record["requests"]) - sum(expected is None for expected in aligned(record)):
            yield Difference("responses", f"{len(record['responses'])} responses", f"{len(record['requests'])} requests")
        for at, expected in enumerate(aligned(record)):
            place = f"responses[{at}]"
            got = answers.responses[at] if at < len(answers.responses) else None
            if expected is None or got is None:
                yield Difference(place, ABSENT if expected is None else expected, ABSENT if got is None else got)
            else:
                shape = self._confs.shapes(record["api"], str(record["requests"][at]["name"]))
                yield from response_differences(expected, got, place, shape)


def _calls(puts: Sequence[RecordedPut]) -> Iterator[list[RecordedPut]]:
    """Puts that go together: no more of them, and no more bytes, than any server takes in a call."""
    call: list[RecordedPut] = []
    size_bytes = 0
    for put in puts:
        size = len(put.key) + len(put.value)
        if call and (len(call) == PUTS_PER_CALL or size_bytes + size > BYTES_PER_CALL):
            yield call
            call, size_bytes = [], 0
        call.append(put)
        size_bytes += size
    if call:
        yield call


def response_differences(
    expected: Mapping[str, Tagged], got: Mapping[str, Tagged], place: str, shape: shapes.Shapes
) -> Iterator[Difference]:
    if "keys" in expected and "keys" in got:
        yield from entry_differences(expected["keys"] or {}, got["keys"] or {}, f"{place}.keys")
    if "error" in expected or "error" in got:
        if ("error" in expected) != ("error" in got):
            yield Difference(place, _outcome_of(expected), _outcome_of(got))
        return
    one, other = expected["values"], got["values"]
    if one is None or other is None:
        if one is not other:
            yield Difference(f"{place}.values", one, other)
        return
    yield from entry_differences(presence(one), presence(other), f"{place}.values", shape)


def presence(values: Mapping[str, Tagged]) -> dict[str, Tagged]:
    """Entries that tell of an exception compare by being there: their texts are the JVM's own."""
    return {name: "an exception" if name.endswith(EXCEPTION) else value for name, value in values.items()}


def _outcome_of(response: Mapping[str, Tagged]) -> Tagged:
    return {"error": response["error"]} if "error" in response else {"values": response["values"]}


def _guide(record: Record) -> list[Record | None]:
    return aligned(record) if record.get("responses") is not None else [None] * len(record["requests"])


def _request(record: Record) -> FeatureRequest:
    return FeatureRequest(record["name"], {name: untag(value) for name, value in (record["keys"] or {}).items()}, record["at_millis"])


def _logged_with(request: Record, following: Iterable[Record]) -> Iterator[Record]:
    for record in following:
        if record.get("kind") != "log" or record.get("request") != request.get("id"):
            return
        yield record


# puts

Uploads = Mapping[str, Record]
Written = tuple[str, bytes, bytes, int]


def _plain_put(record: Record, _: Uploads) -> Written:
    return record["dataset"], bytes.fromhex(record["key"]), bytes.fromhex(record["value"]), record["ts"]


def _upload_row(record: Record, uploads: Uploads) -> Written:
    dataset = uploads[record["group_by"]]["batch_dataset"]
    return dataset, bytes.fromhex(record["key_bytes"]), bytes.fromhex(record["value_bytes"]), batch_end_millis(record["ds"])


def _stream_put(record: Record, _: Uploads) -> Written:
    return record["dataset"], bytes.fromhex(record["key_bytes"]), bytes.fromhex(record["value_bytes"]), record["ts"]


def _join_conf(record: Record, _: Uploads) -> Written:
    return naming.METADATA_DATASET, record["key"].encode(), record["conf_json"].encode(), 1


PUTS: Mapping[str, Callable[[Record, Uploads], Written]] = {
    "put": _plain_put,
    "upload_row": _upload_row,
    "stream_put": _stream_put,
    "join_conf": _join_conf,
}


def batch_end_millis(ds: str) -> int:
    """The end of the day ``ds``, when a batch value of it counts from."""
    day = datetime.strptime(ds, "%Y-%m-%d").replace(tzinfo=UTC)
    return int(day.timestamp()) * 1000 + DAY_MILLIS
