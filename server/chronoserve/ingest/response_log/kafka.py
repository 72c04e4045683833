"""Logged rows to a Kafka topic: a message for each row, as JSON or as Avro, with the column names of the log table."""

import asyncio
import io
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec

from chronoserve.ingest.response_log.sink import AVRO_SCHEMA, as_base64, as_json
from chronoserve.model.errors import FailedPrecondition, InvalidRequest, Unavailable
from chronoserve.model.logged import LoggedResponse

DEFAULTS: Mapping[str, object] = {
    "enable.idempotence": True,
    "linger.ms": 5,
    "message.timeout.ms": 10_000,
    "compression.type": "lz4",
}
"""What librdkafka is told unless the configuration says otherwise: a message is delivered once, or its failure is known in 10 s."""
DELIVERY_SECONDS = 12.0
"""What a batch waits for its deliveries: a little longer than messages last."""
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """``options``: librdkafka's own, ``bootstrap.servers`` among them; they may hold secrets."""

    topic: str
    options: Mapping[str, str | int | float | bool] = field(repr=False)
    encoding: Literal["json", "avro"] = "json"


class DeliveryError(Protocol):
    def name(self) -> str: ...


Delivered = Callable[[DeliveryError | None, Any], None]


class Producer(Protocol):
    """The part of a Kafka producer that is used."""

    def produce(self, topic: str, value: bytes, on_delivery: Delivered) -> None:
        """Queue a message. Raises BufferError where the queue is full, Unavailable with Kafka's name of any other reason."""

    def poll(self, timeout: float) -> int:
        """Wait that many seconds for outcomes at most, and report them."""

    def flush(self, timeout: float) -> int:
        """Wait until nothing is under way; what is still left after that many seconds."""


class _Driver:
    """confluent_kafka.Producer with the server's errors."""

    def __init__(self, options: Mapping[str, object]) -> None:
        try:
            import confluent_kafka  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as missing:
            raise FailedPrecondition("a response log on Kafka needs its driver: pip install 'chronoserve[kafka]'") from missing
        self._refusal = confluent_kafka.KafkaException
        try:
            self._producer = confluent_kafka.Producer({**DEFAULTS, **options}, logger=logging.getLogger("chronoserve.kafka"))
        except (self._refusal, TypeError, ValueError) as refused:
            raise InvalidRequest("response_log.kafka.options has one that librdkafka does not take") from refused
        self.poll = self._producer.poll
        self.flush = self._producer.flush

    def produce(self, topic: str, value: bytes, on_delivery: Delivered) -> None:
        try:
            self._producer.produce(topic, value, on_delivery=on_delivery)
        except self._refusal as refused:
            raise Unavailable(refused.args[0].name()) from refused


def connect(options: Mapping[str, object]) -> Producer:
    """A producer; it connects by itself.

    Raises:
        FailedPrecondition: the driver is not installed.
        InvalidRequest: it does not take the options.
    """
    if "bootstrap.servers" not in options:
        raise InvalidRequest("response_log.kafka.options needs bootstrap.servers")
    return _Driver(options)


class KafkaSink:
    """Produces each batch and waits for its deliveries. ``errors`` counts failed ones by Kafka's name of the reason."""

    def __init__(self, settings: KafkaSettings, producer: Producer, *, now: Callable[[], float] = time.monotonic) -> None:
        self.lost = 0
        self.errors: Counter[str] = Counter()
        self._topic = settings.topic
        self._encode = as_json if settings.encoding == "json" else _avro()
        self._producer = producer
        self._now = now

    async def write(self, rows: Sequence[LoggedResponse]) -> list[LoggedResponse]:
        return await asyncio.to_thread(self._write, rows)

    async def settle(self, *, now_millis: int) -> None:
        """Nothing is under way between batches."""

    async def close(self, *, seconds: float) -> None:
        await asyncio.to_thread(self._producer.flush, seconds)

    # in a thread

    def _write(self, rows: Sequence[LoggedResponse]) -> list[LoggedResponse]:
        outcomes: list[str | None] = ["_TIMED_OUT"] * len(rows)
        until = self._now() + DELIVERY_SECONDS
        for at, row in enumerate(rows):
            outcomes[at] = self._produce(row, at, outcomes, until)
        self._producer.flush(max(0.0, until - self._now()))
        refused = [row for row, outcome in zip(rows, outcomes, strict=True) if outcome is not None]
        self.errors.update(outcome for outcome in outcomes if outcome is not None)
        if refused and len(refused) == len(rows):
            raise Unavailable(f"Kafka did not take the rows: {', '.join(sorted(set(filter(None, outcomes))))}")
        return refused

    def _produce(self, row: LoggedResponse, at: int, outcomes: list[str | None], until: float) -> str | None:
        """Hand the row to the driver, waiting for a place in its queue; what is known of its outcome then."""

        def delivered(error: DeliveryError | None, _: object) -> None:
            outcomes[at] = None if error is None else error.name()

        value = self._encode(row)
        while True:
            try:
                self._producer.produce(self._topic, value, delivered)
            except BufferError:
                if self._now() >= until:
                    return "_QUEUE_FULL"
                self._producer.poll(POLL_SECONDS)
            except Unavailable as refused:
                return refused.message
            else:
                return outcomes[at]


def _avro() -> Callable[[LoggedResponse], bytes]:
    from fastavro import parse_schema, schemaless_writer  # noqa: PLC0415 - only this encoding needs it

    schema = parse_schema(AVRO_SCHEMA)

    def encode(row: LoggedResponse) -> bytes:
        out = io.BytesIO()
        schemaless_writer(out, schema, msgspec.structs.asdict(as_base64(row)))
        return out.getvalue()

    return encode
