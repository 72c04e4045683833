"""Tables of the configuration for what a server talks to beside its stores: sources, models, response log, warehouse, metrics out."""

import re
from pathlib import Path
from typing import Any, Literal

import msgspec

from chronoserve.app.sections import NotNegative, Positive, Seconds, Section, hidden, without_secrets
from chronoserve.fetcher.endpoint import RESPONSE_BYTES_MAX, Endpoint
from chronoserve.fetcher.external import CALLS_MAX, ROWS_PER_CALL_MAX, TIMEOUT_SECONDS, Policy
from chronoserve.ingest.response_log.files import FileSettings
from chronoserve.ingest.response_log.kafka import KafkaSettings
from chronoserve.ingest.response_log.queue import QueueLimits
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.naming import CONTEXTUAL
from chronoserve.model.partitions import PartitionSpec

API_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
HTTP = ("http://", "https://")
WAREHOUSE = re.compile(r"[a-z][a-z0-9+.-]*:", re.ASCII)
"""A URL; a scheme that nothing reads is refused when a table is asked for."""
DAYS = PartitionSpec()
GRPC = ("grpc://", "grpcs://")


class EndpointSettings(Section, frozen=True):
    """Somebody else's service. ``${NAME}`` in ``url`` and ``headers`` stands for an environment variable."""

    url: str
    """http(s)://… for JSON, grpc(s)://HOST:PORT for chronoserve.v1.ExternalSource."""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    ca_file: str | None = None
    """PEM; none: the system's."""
    timeout_seconds: Seconds = TIMEOUT_SECONDS
    response_bytes_max: Positive = RESPONSE_BYTES_MAX

    @property
    def grpc(self) -> bool:
        return self.url.startswith(GRPC)

    def endpoint(self) -> Endpoint:
        """Raises InvalidRequest where the URL is not one of HTTP."""
        return Endpoint(url=self.url, headers=self.headers, ca_file=self.ca_file, response_bytes_max=self.response_bytes_max)

    def redacted(self) -> dict[str, Any]:
        return {**msgspec.to_builtins(self), "url": without_secrets(self.url), "headers": hidden(dict(self.headers))}


class ExternalSettings(EndpointSettings, frozen=True):
    """An external source, or every source that names a factory."""

    calls_max: Positive = CALLS_MAX
    """Calls under way at once; more wait for their time."""
    rows_per_call_max: Positive = ROWS_PER_CALL_MAX

    def policy(self) -> Policy:
        return Policy(timeout_seconds=self.timeout_seconds, calls_max=self.calls_max, rows_per_call_max=self.rows_per_call_max)

    def verify(self, where: str) -> None:
        """Raises InvalidRequest where this is nowhere to ask."""
        if not self.url.startswith((*HTTP, *GRPC)):
            raise InvalidRequest(f"{where}.url begins with http://, https://, grpc:// or grpcs://")


class FileLogSettings(Section, frozen=True):
    path: str
    format: Literal["parquet", "avro"] = "parquet"
    roll_seconds: Seconds = 60.0
    roll_bytes: Positive = 64 << 20

    def settings(self) -> FileSettings:
        return FileSettings(path=Path(self.path), format=self.format, roll_seconds=self.roll_seconds, roll_bytes=self.roll_bytes)


class KafkaLogSettings(Section, frozen=True):
    topic: str
    options: dict[str, str | int | float | bool]
    """librdkafka's own; ``bootstrap.servers`` must be among them."""
    encoding: Literal["json", "avro"] = "json"

    def settings(self) -> KafkaSettings:
        return KafkaSettings(topic=self.topic, options=self.options, encoding=self.encoding)


class KVLogSettings(Section, frozen=True):
    dataset: str
    ttl_hours: NotNegative = 7 * 24
    """How long rows are kept, where the server makes the dataset and its store expires values; 0: for ever."""


class ResponseLogSettings(Section, frozen=True):
    """Where fetched joins are logged; one of ``files``, ``kafka`` and ``kv``. Which rows are, the joins' confs say."""

    rows_max: Positive = 20_000
    bytes_max: Positive = 64 << 20
    files: FileLogSettings | None = None
    kafka: KafkaLogSettings | None = None
    kv: KVLogSettings | None = None

    def verify(self) -> None:
        """Raises InvalidRequest where there is not one place to log to."""
        if sum(place is not None for place in (self.files, self.kafka, self.kv)) != 1:
            raise InvalidRequest("response_log has one place: [response_log.files], [response_log.kafka] or [response_log.kv]")

    def limits(self) -> QueueLimits:
        return QueueLimits(rows_max=self.rows_max, bytes_max=self.bytes_max)

    def redacted(self) -> dict[str, Any]:
        shown: dict[str, Any] = msgspec.to_builtins(self)
        if self.kafka is not None:
            shown["kafka"]["options"] = hidden(dict(self.kafka.options), all_of_them=False)
        return shown


class StatsdSettings(Section, frozen=True):
    """Present: Chronon's metric names are sent. ``port`` 0: ``host`` is the path of a Unix socket."""

    host: str = "localhost"
    port: NotNegative = 8125


class TracingSettings(Section, frozen=True):
    """Present: spans are sent by OTLP over HTTP. Without ``endpoint`` the environment says where (OTEL_EXPORTER_OTLP_ENDPOINT)."""

    endpoint: str | None = None
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    ratio: float = 0.01
    """Share of the calls that begin a trace; calls that come with one follow its decision."""
    service: str = "chronoserve"

    def verify(self) -> None:
        """Raises InvalidRequest where the ratio is none."""
        if not 0.0 <= self.ratio <= 1.0:
            raise InvalidRequest(f"tracing.ratio is from 0 to 1; got {self.ratio}")

    def redacted(self) -> dict[str, Any]:
        endpoint = None if self.endpoint is None else without_secrets(self.endpoint)
        return {**msgspec.to_builtins(self), "endpoint": endpoint, "headers": hidden(dict(self.headers))}


class WarehouseSettings(Section, frozen=True):
    """Present: BulkPut takes the names of tables, which this warehouse has (``chronoserve.warehouse.places``)."""

    url: str
    partition_column: str = DAYS.column
    partition_format: str = DAYS.format

    def partitions(self) -> PartitionSpec:
        """Raises InvalidRequest where the format is none."""
        return PartitionSpec(self.partition_column, self.partition_format)

    def verify(self) -> None:
        """Raises InvalidRequest where this names no warehouse. The URL, which may hold a secret, is not told."""
        if not self.url.startswith(("/", "./", "../")) and not WAREHOUSE.match(self.url):
            raise InvalidRequest("warehouse.url is /dir, s3://bucket/dir, hive://host:9083 or iceberg://NAME?type=…")
        self.partitions()

    def redacted(self) -> dict[str, Any]:
        return {**msgspec.to_builtins(self), "url": without_secrets(self.url)}


class ExtensionSettings(Section, frozen=True):
    """The tables above, as they stand at the top of the configuration."""

    api: str | None = None
    """``package.module:Class``, a chronoserve.api.Api."""
    api_conf: dict[str, str] = msgspec.field(default_factory=dict)
    """Given to that class."""
    external_sources: dict[str, ExternalSettings] = msgspec.field(default_factory=dict)
    external_factories: dict[str, ExternalSettings] = msgspec.field(default_factory=dict)
    model_backends: dict[str, EndpointSettings] = msgspec.field(default_factory=dict)
    response_log: ResponseLogSettings | None = None
    warehouse: WarehouseSettings | None = None
    statsd: StatsdSettings | None = None
    tracing: TracingSettings | None = None

    def verify_extensions(self) -> None:
        """The rules between them.

        Raises:
            InvalidRequest: one is broken.
        """
        if self.api is not None and not API_NAME.fullmatch(self.api):
            raise InvalidRequest(f"api is package.module:Class; got {self.api!r}")
        for table, sources in (("external_sources", self.external_sources), ("external_factories", self.external_factories)):
            for name, source in sources.items():
                source.verify(f"{table}.{name}")
        if CONTEXTUAL in self.external_sources:
            raise InvalidRequest(f"external_sources.{CONTEXTUAL} is built in and cannot be configured")
        for name, backend in self.model_backends.items():
            if not backend.url.startswith(HTTP):
                raise InvalidRequest(f"model_backends.{name}.url begins with http:// or https://")
        if self.response_log is not None:
            self.response_log.verify()
        if self.warehouse is not None:
            self.warehouse.verify()
        if self.tracing is not None:
            self.tracing.verify()

    def redacted_extensions(self) -> dict[str, Any]:
        """What may be printed of them."""
        return {
            "api_conf": hidden(dict(self.api_conf)),
            "external_sources": {name: source.redacted() for name, source in self.external_sources.items()},
            "external_factories": {name: source.redacted() for name, source in self.external_factories.items()},
            "model_backends": {name: backend.redacted() for name, backend in self.model_backends.items()},
            "response_log": None if self.response_log is None else self.response_log.redacted(),
            "warehouse": None if self.warehouse is None else self.warehouse.redacted(),
            "tracing": None if self.tracing is None else self.tracing.redacted(),
        }


DEREFERENCED = ("api_conf", "external_sources", "external_factories", "model_backends", "response_log", "warehouse", "tracing")
"""Tables in whose texts ``${NAME}`` stands for an environment variable."""
