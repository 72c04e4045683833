"""A fetcher that answers what its test wants, for those who stand above it."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

from chronoserve.fetcher.fetch import Fetcher, GroupBySchema, JoinSchema, Names
from chronoserve.fetcher.observe import FetchMetrics
from chronoserve.fetcher.schemas import ValueInfo
from chronoserve.fetcher.trace import Trace
from chronoserve.model.confs import GroupBy, Join, JoinPart, MetaData
from chronoserve.model.errors import InvalidRequest, UnknownConf
from chronoserve.model.features import FeatureRequest, FeatureRow, RowStatus
from chronoserve.model.types import DOUBLE, LONG, STRING, DataType, Field, StructType
from chronoserve.service.features import FeatureLimits, Features

KEY_TYPE = StructType("Key", (Field("user", STRING),))
VALUE_TYPE = StructType("Value", (Field("count", LONG), Field("average", DOUBLE)))
TYPES: dict[str, DataType] = {field.name: field.type for field in VALUE_TYPE.fields}

Answer = Callable[[FeatureRequest], FeatureRow]


def full_row(request: FeatureRequest) -> FeatureRow:
    """Features that tell which request they answer."""
    return FeatureRow(RowStatus.OK, {"count": request.at_millis or 0, "average": 0.5}, TYPES, request.keys)


class FakeFetcher:
    """``answer`` makes each row. ``calls``: the sizes of the calls that came, by kind. ``names``: what is online, three a page."""

    def __init__(self, answer: Answer = full_row) -> None:
        self.answer = answer
        self.calls: list[tuple[str, int]] = []
        self.metrics = FetchMetrics()
        self.join_names = [f"team/join_{n}" for n in range(7)]
        self.group_by_names = [f"team.group_{n}" for n in range(4)]
        self.metadata = SimpleNamespace(served=SimpleNamespace(get=self._served), joins=SimpleNamespace(get=self._joins))
        self.own_names: dict[str, str] = {}
        """A group by's name as uploaded, by dataset; others are unknown."""
        self.parts: dict[str, list[str]] = {}
        """Group bys by join; other joins are unknown."""
        self.traced: Callable[[Trace], None] = lambda _: None

    async def fetch_joins(
        self, requests: Sequence[FeatureRequest], *, deadline: float, trace: Trace | None = None, with_base: bool = False
    ) -> list[FeatureRow]:
        self.calls.append(("join", len(requests)))
        if trace is not None:
            self.traced(trace)
        return [self.answer(request) for request in requests]

    async def fetch_group_bys(self, requests: Sequence[FeatureRequest], *, deadline: float, trace: Trace | None = None) -> list[FeatureRow]:
        self.calls.append(("group by", len(requests)))
        return [self.answer(request) for request in requests]

    async def _joins(self, names: Sequence[str], *, deadline: float) -> list[Any]:
        return [
            Join(meta_data=MetaData(name=name), join_parts=tuple(map(_part, self.parts[name]))) if name in self.parts else UnknownConf("no")
            for name in names
        ]

    async def _served(self, datasets: Sequence[str], *, deadline: float) -> list[Any]:
        return [
            SimpleNamespace(name=self.own_names[dataset]) if dataset in self.own_names else UnknownConf("never uploaded")
            for dataset in datasets
        ]

    async def join_schema(self, name: str, *, deadline: float) -> JoinSchema:
        if name == "team/none":
            raise UnknownConf("never uploaded")
        infos = (ValueInfo("count", "team.group_0", "p", ("user",), "long"),)
        return JoinSchema(name, KEY_TYPE, VALUE_TYPE, '{"key": 1}', '{"value": 1}', "hash", infos)

    async def group_by_schema(self, name: str, *, deadline: float) -> GroupBySchema:
        return GroupBySchema(name, KEY_TYPE, VALUE_TYPE, '{"key": 2}', '{"value": 2}', None, '{"selected": 2}', 86_400_000)

    async def list_joins(self, *, page_size: int = 0, token: bytes = b"", deadline: float) -> Names:
        return self._page(self.join_names, page_size, token)

    async def list_group_bys(self, *, page_size: int = 0, token: bytes = b"", deadline: float) -> Names:
        return self._page(self.group_by_names, page_size, token)

    def _page(self, names: list[str], page_size: int, token: bytes) -> Names:
        if token and not token.isdigit():
            raise InvalidRequest("this page_token was not given", field="page_token")
        start, end = int(token or b"0"), int(token or b"0") + (page_size or 3)
        return Names(tuple(names[start:end]), b"%d" % end if end < len(names) else b"")


def _part(name: str) -> JoinPart:
    return JoinPart(group_by=GroupBy(meta_data=MetaData(name=name)))


def features(fetcher: FakeFetcher, **limits: int) -> Features:
    return Features(cast("Fetcher", fetcher), FeatureLimits(**limits))
