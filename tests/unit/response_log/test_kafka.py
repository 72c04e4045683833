"""The Kafka sink with a scripted producer: messages, deliveries that fail, a full queue, a broker that says nothing."""

import io
import json
from collections.abc import Callable
from typing import Any

import fastavro
import pytest

from chronoserve.ingest.response_log.kafka import DELIVERY_SECONDS, Delivered, KafkaSettings, KafkaSink, connect
from chronoserve.ingest.response_log.sink import AVRO_SCHEMA
from chronoserve.model.errors import InvalidRequest, Unavailable
from tests.unit.response_log.rows import control, row


class Failure:
    """A delivery error."""

    def __init__(self, name: str) -> None:
        self._name = name

    def name(self) -> str:
        return self._name


class ScriptedProducer:
    """Reports each message's outcome on flush: the script's next entry, delivered where it has none. ``room``: of its queue."""

    def __init__(self, *script: str | None, room: int = 1000) -> None:
        self.script = list(script)
        self.messages: list[bytes] = []
        self.topics: set[str] = set()
        self.room = room
        self.refuses: str | None = None
        self.silent = False
        self.flushed_with: list[float] = []
        self.now = 0.0
        self._pending: list[Delivered] = []

    def produce(self, topic: str, value: bytes, on_delivery: Delivered) -> None:
        if self.refuses:
            raise Unavailable(self.refuses)
        if len(self._pending) >= self.room:
            raise BufferError
        self.topics.add(topic)
        self.messages.append(value)
        self._pending.append(on_delivery)

    def poll(self, timeout: float) -> int:
        self.now += timeout
        if not self.silent and self._pending:
            self._report(self._pending.pop(0))
        return 0

    def flush(self, timeout: float) -> int:
        self.flushed_with.append(timeout)
        while self._pending and not self.silent:
            self._report(self._pending.pop(0))
        return len(self._pending)

    def _report(self, delivered: Delivered) -> None:
        name = self.script.pop(0) if self.script else None
        delivered(Failure(name) if name else None, object())


def sink(producer: ScriptedProducer, **settings: Any) -> KafkaSink:
    return KafkaSink(KafkaSettings(topic="log", options={}, **settings), producer, now=lambda: producer.now)


def from_avro(value: bytes) -> Any:
    return fastavro.schemaless_reader(io.BytesIO(value), AVRO_SCHEMA, None)


@pytest.mark.parametrize(("encoding", "read"), [("json", json.loads), ("avro", from_avro)])
async def test_a_message_has_the_columns_of_the_log_table(encoding: str, read: Callable[[bytes], Any]) -> None:
    producer = ScriptedProducer()
    assert await sink(producer, encoding=encoding).write([control(), row(1)]) == []
    assert producer.topics == {"log"}
    assert [read(message) for message in producer.messages] == [
        {
            "key_base64": each.key_base64,
            "value_base64": each.value_base64,
            "name": each.join_name,
            "ts_millis": each.ts_millis,
            "schema_hash": each.schema_hash,
        }
        for each in (control(), row(1))
    ]


async def test_deliveries_that_fail_are_rows_refused() -> None:
    made = sink(ScriptedProducer(None, "_MSG_TIMED_OUT", None, "MSG_SIZE_TOO_LARGE"))
    rows = [row(at) for at in range(4)]
    assert await made.write(rows) == [rows[1], rows[3]]
    assert made.errors == {"_MSG_TIMED_OUT": 1, "MSG_SIZE_TOO_LARGE": 1}


async def test_where_none_is_delivered_the_reason_is_told() -> None:
    with pytest.raises(Unavailable, match="_MSG_TIMED_OUT, _TRANSPORT"):
        await sink(ScriptedProducer("_TRANSPORT", "_MSG_TIMED_OUT")).write([row(0), row(1)])


async def test_a_full_queue_is_waited_for() -> None:
    producer = ScriptedProducer(room=2)
    assert await sink(producer).write([row(at) for at in range(5)]) == []
    assert len(producer.messages) == 5


async def test_a_queue_that_stays_full_refuses_the_rest() -> None:
    producer = ScriptedProducer(room=2)
    producer.silent = True
    made = sink(producer)
    with pytest.raises(Unavailable, match="_QUEUE_FULL, _TIMED_OUT"):
        await made.write([row(at) for at in range(3)])
    assert producer.now == pytest.approx(DELIVERY_SECONDS)
    assert made.errors == {"_QUEUE_FULL": 1, "_TIMED_OUT": 2}


async def test_a_message_that_the_driver_refuses() -> None:
    producer = ScriptedProducer()
    producer.refuses = "MSG_SIZE_TOO_LARGE"
    with pytest.raises(Unavailable, match="MSG_SIZE_TOO_LARGE"):
        await sink(producer).write([row()])


async def test_closing_flushes_in_the_time_given() -> None:
    producer = ScriptedProducer()
    await sink(producer).close(seconds=3)
    assert producer.flushed_with == [3]


async def test_the_real_driver_without_a_broker() -> None:
    """Nobody listens on port 1: each message fails by its own timeout, in librdkafka's words."""
    producer = connect({"bootstrap.servers": "127.0.0.1:1", "message.timeout.ms": 100, "log_level": 0, "reconnect.backoff.ms": 10})
    made = KafkaSink(KafkaSettings(topic="log", options={}), producer)
    with pytest.raises(Unavailable, match="Kafka did not take the rows: _MSG_TIMED_OUT"):
        await made.write([row(0), control()])
    await made.close(seconds=1)


async def test_the_real_driver_names_what_it_refuses() -> None:
    producer = connect({"bootstrap.servers": "127.0.0.1:1", "message.max.bytes": 1000, "log_level": 0})
    with pytest.raises(Unavailable, match="MSG_SIZE_TOO_LARGE"):
        await KafkaSink(KafkaSettings(topic="log", options={}), producer).write([row(0, size=5000)])


@pytest.mark.parametrize("options", [{}, {"bootstrap.servers": "h:1", "no.such.option": "secret"}])
def test_options_that_are_not_right(options: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest, match="options") as refused:
        connect(options)
    assert "secret" not in refused.value.message
