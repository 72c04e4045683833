"""The response log on a real broker: every row once, in the columns of the log table, and a broker that goes away and comes back."""

import asyncio
import json
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer

from chronoserve.ingest.response_log.kafka import KafkaSettings, KafkaSink, connect
from chronoserve.ingest.response_log.queue import QueuedResponseLog
from chronoserve.model.logged import LoggedResponse
from tests.conformance.conftest import running_engine
from tests.engines.engine import Engine
from tests.engines.kafka import Kafka
from tests.unit.response_log.rows import control, eventually, row

SECONDS = 60.0


@pytest.fixture(scope="module")
def broker(engines: dict[str, Engine], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    found = running_engine("kafka", engines, tmp_path_factory)
    assert isinstance(found, Kafka)
    yield found
    found.stop()
    engines.pop("kafka")


def log_to(broker: Kafka, topic: str, **options: str | int) -> tuple[QueuedResponseLog, KafkaSink]:
    settings = KafkaSettings(topic=topic, options={"bootstrap.servers": broker.bootstrap_servers, "log_level": 0, **options})
    sink = KafkaSink(settings, connect(settings.options))
    log = QueuedResponseLog(sink, clock=lambda: 0)
    log.start()
    return log, sink


def read(broker: Kafka, topic: str, count: int) -> list[dict[str, object]]:
    """The messages of the topic: ``count``, and what comes right behind them."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    found: list[dict[str, object]] = []
    while len(found) < count:
        messages = consumer.consume(count - len(found), timeout=SECONDS)
        assert messages, f"{len(found)} of {count} messages came"
        found += [json.loads(message.value() or b"") for message in messages if message.error() is None]
    found += [json.loads(message.value() or b"") for message in consumer.consume(count, timeout=0.5)]
    consumer.close()
    return found


def columns(logged: LoggedResponse) -> dict[str, object]:
    return {
        "key_base64": logged.key_base64,
        "value_base64": logged.value_base64,
        "name": logged.join_name,
        "ts_millis": logged.ts_millis,
        "schema_hash": logged.schema_hash,
    }


async def test_every_row_is_there_once_and_the_schema_before_its_rows(broker: Kafka) -> None:
    log, _ = log_to(broker, "log-of-rows")
    rows = [row(at) for at in range(2_500)]
    log.offer(control())
    for each in rows:
        log.offer(each)
    await log.close(SECONDS)
    assert (log.metrics.written, log.metrics.dropped.total()) == (2_501, 0)
    found = await asyncio.to_thread(read, broker, "log-of-rows", 2_501)
    assert found[0] == columns(control())
    assert sorted(map(str, found)) == sorted(map(str, map(columns, [control(), *rows])))


async def test_a_broker_that_is_away_for_a_moment_loses_no_row(broker: Kafka) -> None:
    """A row whose delivery was given up may have been taken all the same, and then comes twice."""
    log, sink = log_to(broker, "log-of-outage", **{"reconnect.backoff.max.ms": 200})
    log.offer(row(0))
    await eventually(lambda: log.metrics.written == 1)
    await asyncio.to_thread(broker.kill)
    log.offer(control())
    log.offer(row(1))
    await asyncio.to_thread(broker.start)
    await log.close(SECONDS)
    assert (log.metrics.written, log.metrics.dropped.total()) == (3, 0), (log.metrics, sink.errors)
    found = await asyncio.to_thread(read, broker, "log-of-outage", 3)
    assert set(map(str, found)) == set(map(str, map(columns, [row(0), control(), row(1)])))
