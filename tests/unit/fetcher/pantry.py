"""A small world for tests of the fetcher: confs and values written as Chronon writes them, a store that can be made to fail."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chronoserve.codec import avro, strings
from chronoserve.codec.compiled import encoder
from chronoserve.codec.keys import KeyCodec
from chronoserve.fetcher.external import ExternalRegistry
from chronoserve.fetcher.fetch import Fetcher
from chronoserve.fetcher.ports import FlagStore, ModelBackend, Read
from chronoserve.fetcher.response_log import LoggedResponse
from chronoserve.fetcher.served import ServedGroupBy
from chronoserve.fetcher.settings import FetchSettings
from chronoserve.kvstore.registry import open_store
from chronoserve.kvstore.router import Route, Router
from chronoserve.model import naming, types
from chronoserve.model.confs import GroupByServingInfo
from chronoserve.model.errors import KVError
from chronoserve.model.features import FeatureRequest, FeatureRow
from chronoserve.model.types import DataType, Field, StructType
from chronoserve.service.gateway import Gateway, Limits, NamedPut
from chronoserve.testing.clock import ManualClock

NOW = 1_700_000_000_000
DAY = 86_400_000
BATCH_END = 1_699_920_000_000
"""2023-11-14 00:00 UTC, the day of NOW."""
BATCH_END_DATE = "2023-11-14"
POINT = StructType("point", (Field("x", types.DOUBLE), Field("tag", types.STRING)))


class FlakyReads:
    """The gateway's reads, except for datasets that were told to fail. ``calls`` holds what was asked, call by call."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.failing: dict[str, KVError] = {}
        self.calls: list[list[Read]] = []
        self.gate: asyncio.Event | None = None
        """Every call waits for it."""

    async def multi_get(self, requests: Sequence[Read], *, deadline: float) -> list[bytes | KVError]:
        self.calls.append(list(requests))
        if self.gate is not None:
            await self.gate.wait()
        answers = await self._gateway.multi_get(requests, deadline=deadline)
        return [self.failing.get(request.dataset, answer) for request, answer in zip(requests, answers, strict=True)]

    def data_calls(self) -> list[list[Read]]:
        """Those calls that read no metadata."""
        return [call for call in self.calls if call[0].dataset != naming.METADATA_DATASET and call[0].key_bytes != naming.SERVING_INFO_KEY]


@dataclass
class KeptLog:
    rows: list[LoggedResponse] = field(default_factory=list)

    def offer(self, response: LoggedResponse) -> None:
        self.rows.append(response)


class SetFlags:
    """Flags by name; ``only``: group bys that a flag is set for, where it is not set for all."""

    def __init__(self, *names: str, only: str | None = None) -> None:
        self.names = set(names)
        self.only = only

    def is_set(self, flag: str, attributes: Mapping[str, str]) -> bool:
        return flag in self.names and (self.only is None or self.only in attributes.values())


def columns(**fields: DataType) -> StructType:
    return StructType("Value", tuple(Field(name, data_type) for name, data_type in fields.items()))


@dataclass
class GroupBy:
    """A group by as its upload describes it. Without ``aggregations`` its values are the selected columns."""

    name: str = "team.gb.v1"
    keys: StructType = field(default_factory=lambda: StructType("Key", (Field("user", types.STRING),)))
    selected: StructType = field(default_factory=lambda: columns(price=types.DOUBLE, title=types.STRING))
    aggregations: list[dict[str, Any]] | None = None
    temporal: bool = False
    derivations: dict[str, str] | None = None
    batch_end_date: str = BATCH_END_DATE
    key_columns: tuple[str, ...] = ()
    team: str = "team"
    source: dict[str, Any] = field(default_factory=lambda: {"events": {"table": "ns.t", "query": {"setups": []}}})
    inferred: bool = False
    """The conf says nothing of its accuracy."""

    def conf(self) -> dict[str, Any]:
        conf: dict[str, Any] = {
            "metaData": {"name": self.name, "team": self.team},
            "sources": [self.source],
            "keyColumns": list(self.key_columns or self.keys.names),
        }
        if not self.inferred:
            conf["accuracy"] = 0 if self.temporal else 1
        if self.aggregations is not None:
            conf["aggregations"] = self.aggregations
        if self.derivations is not None:
            conf["derivations"] = [{"name": name, "expression": expression} for name, expression in self.derivations.items()]
        return conf

    def serving_info(self) -> bytes:
        info = {
            "groupBy": self.conf(),
            "keyAvroSchema": avro.schema_text(self.keys),
            "selectedAvroSchema": avro.schema_text(self.selected),
            "batchEndDate": self.batch_end_date,
        }
        return json.dumps(info).encode()

    def served(self) -> ServedGroupBy:
        from chronoserve.codec import confs

        info: GroupByServingInfo = confs.serving_info(self.serving_info())
        return ServedGroupBy(info, partition_format="yyyy-MM-dd")

    def key(self, **keys: object) -> bytes:
        return KeyCodec(avro.schema_text(self.keys), self.key_columns).encode(keys)

    def batch(self, *values: object) -> bytes:
        """The stored batch value; of a TEMPORAL group by these are the collapsed IRs, and there are no hops."""
        kind = self.served().batch_decoder.type
        return encoder(kind).encode((values, [[], [], []]) if self.temporal and self.aggregations is not None else values)

    def streamed(self, *values: object) -> bytes:
        decoder = self.served().stream_decoder
        assert decoder is not None
        return encoder(decoder.type).encode(values)


SUM = [{"inputColumn": "price", "operation": 7}]
SUM_7D = [{"inputColumn": "price", "operation": 7, "windows": [{"length": 7, "timeUnit": 1}]}]


def sums(name: str = "team.sums.v1", aggregations: list[dict[str, Any]] | None = None) -> GroupBy:
    """A TEMPORAL group by with one feature, ``price_sum``."""
    return GroupBy(name, selected=columns(price=types.DOUBLE), aggregations=aggregations or SUM, temporal=True)


def join_conf(name: str, *parts: GroupBy | dict[str, Any], **more: Any) -> dict[str, Any]:
    """A join of group bys, or of whole parts."""
    meta = {"name": name, "team": "team", "samplePercent": more.pop("sample_percent", 0)}
    listed = [{"groupBy": part.conf()} if isinstance(part, GroupBy) else part for part in parts]
    derivations = more.pop("derivations", None)
    if derivations is not None:
        more["derivations"] = [{"name": name, "expression": expression} for name, expression in derivations.items()]
    return {"metaData": meta, "left": {"events": {"table": "ns.left", "query": {"setups": []}}}, "joinParts": listed, **more}


def external_part(name: str, keys: dict[str, int], values: dict[str, int], **more: Any) -> dict[str, Any]:
    """``keys`` and ``values``: names with their thrift kinds (4 long, 6 double, 7 string)."""
    schemas = {
        schema: {"kind": 13, "name": schema, "params": [{"name": each, "dataType": {"kind": kind}} for each, kind in fields.items()]}
        for schema, fields in (("keySchema", keys), ("valueSchema", values))
    }
    return {"source": {"metadata": {"name": name}, **schemas}, **more}


class Pantry:
    """A memory store with a fetcher on it, and the writing side."""

    def __init__(self, gateway: Gateway, clock: ManualClock) -> None:
        self.gateway = gateway
        self.clock = clock
        self.reads = FlakyReads(gateway)
        self.log = KeptLog()
        self.registry = ExternalRegistry()
        self._tokens = 0
        self.fetcher = self.build()

    @classmethod
    async def open(cls) -> "Pantry":
        clock = ManualClock(NOW)
        router = Router({"memory": await open_store("memory://", clock=clock)}, [Route("*", "memory")])
        return cls(Gateway(router, router, clock=clock, limits=Limits(create_on_put=True)), clock)

    def build(
        self, *, flags: FlagStore | None = None, settings: FetchSettings | None = None, models: ModelBackend | None = None
    ) -> Fetcher:
        """A fetcher of its own on the same store; it is also the one that ``joins`` and ``group_bys`` ask from now on."""
        self.fetcher = Fetcher(
            self.reads,
            clock=self.clock,
            registry=self.registry,
            log=self.log,
            flags=flags,
            settings=settings,
            models=models,
            lists=self.gateway,
        )
        return self.fetcher

    @property
    def deadline(self) -> float:
        return asyncio.get_running_loop().time() + 5

    async def put(self, dataset: str, key: bytes, value: bytes, millis: int = 1) -> None:
        self._tokens += 1
        put = NamedPut(dataset, key, value, millis, str(self._tokens).encode())
        assert await self.gateway.multi_put([put], deadline=self.deadline) == [None]

    async def upload(self, group_by: GroupBy, *, millis: int = BATCH_END) -> GroupBy:
        await self.put(naming.batch_dataset(group_by.name), naming.SERVING_INFO_KEY, group_by.serving_info(), millis)
        return group_by

    async def batch(self, group_by: GroupBy, keys: Mapping[str, object], *values: object, millis: int = BATCH_END) -> None:
        await self.put(naming.batch_dataset(group_by.name), group_by.key(**keys), group_by.batch(*values), millis)

    async def stream(self, group_by: GroupBy, keys: Mapping[str, object], *values: object, millis: int = NOW - 1000) -> None:
        await self.put(naming.streaming_dataset(group_by.name), group_by.key(**keys), group_by.streamed(*values), millis)

    async def upload_join(self, name: str, *parts: GroupBy | dict[str, Any], **more: Any) -> None:
        """``name`` as it is requested: ``team/join.v1``."""
        await self.put(naming.METADATA_DATASET, f"joins/{name}".encode(), json.dumps(join_conf(name, *parts, **more)).encode())

    async def upload_team(self, key: str, *members: str) -> None:
        await self.put(naming.ENTITIES_BY_TEAM_DATASET, key.encode(), strings.encode(members))

    async def joins(self, *requests: FeatureRequest, **more: Any) -> list[FeatureRow]:
        return await self.fetcher.fetch_joins(requests, deadline=self.deadline, **more)

    async def join(self, name: str, keys: Mapping[str, object], at_millis: int | None = NOW, **more: Any) -> FeatureRow:
        (row,) = await self.joins(FeatureRequest(name, keys, at_millis), **more)
        return row

    async def group_bys(self, *requests: FeatureRequest, **more: Any) -> list[FeatureRow]:
        return await self.fetcher.fetch_group_bys(requests, deadline=self.deadline, **more)

    async def group_by(self, name: str, keys: Mapping[str, object], at_millis: int | None = NOW, **more: Any) -> FeatureRow:
        (row,) = await self.group_bys(FeatureRequest(name, keys, at_millis), **more)
        return row
