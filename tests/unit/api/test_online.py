"""Api: what a subclass may bring, and a fetcher without a server."""

import asyncio
import json
from collections.abc import Mapping

import pytest

from chronoserve.api import (
    Api,
    FeatureRequest,
    GroupByServingInfo,
    LoggedResponse,
    Mutation,
    StreamDecoder,
    TimedValue,
    deadline_in,
    online,
)
from chronoserve.fetcher.settings import FetchSettings
from chronoserve.model.confs import GroupBy, MetaData
from chronoserve.model.errors import FailedPrecondition, InvalidRequest, Unsupported
from chronoserve.model.types import LONG, STRING, Field, StructType
from chronoserve.service.gateway import NamedPut
from tests.unit.api.deployment import Deployment

SERVING_INFO = GroupByServingInfo(
    group_by=GroupBy(meta_data=MetaData(name="team.g.v1")), selected_avro_schema=None, key_avro_schema=None, batch_end_date=None
)
ROW = LoggedResponse(b"k", b"v", "team/join.v1", 5, "hash")


async def test_a_fetcher_without_a_server_reads_the_deployment_s_store() -> None:
    api = Deployment({"region": "eu"})
    assert api.user_conf == {"region": "eu"}
    api.build_fetcher(caller_name="trainer")
    assert api._parts is not None
    gateway = api._parts.gateway
    deadline = asyncio.get_running_loop().time() + 5
    assert await gateway.multi_put([NamedPut("A_BATCH", b"k", b"v", 5)], deadline=deadline) == [None]
    assert api.store.values == {("A_BATCH", b"k"): [(b"v", 5)]}
    assert api._parts.log is not None
    api._parts.log.offer(ROW)
    assert set(api.registry.sources) == {"contextual", "geo"}
    assert api.registry is api.registry
    await api.close()
    assert api.logged == [ROW]
    assert api.store.closed


async def test_what_is_asked_of_a_fetcher_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[FetchSettings] = []
    monkeypatch.setattr(online, "Fetcher", lambda _, **given: made.append(given["settings"]))
    api = Deployment()
    api.build_fetcher(debug=True, disable_error_throws=True)
    api.build_fetcher()
    assert [(each.debug, each.skip_undecodable_stream) for each in made] == [(True, True), (False, False)]
    await api.close()


JOIN = {
    "metaData": {"name": "team.j.v1", "team": "team", "samplePercent": 0.001},
    "left": {"events": {"table": "l", "query": {"selects": {"user": "user"}, "timeColumn": "ts", "setups": []}, "isCumulative": 0}},
    "joinParts": [],
    "onlineExternalParts": [
        {
            "source": {
                "metadata": {"name": "geo"},
                "keySchema": {"kind": 13, "name": "k", "params": [{"name": "user", "dataType": {"kind": 7}}]},
                "valueSchema": {"kind": 13, "name": "v", "params": [{"name": "city", "dataType": {"kind": 7}}]},
            }
        }
    ],
}


@pytest.mark.parametrize(("debug", "logged"), [(False, 0), (True, 20)])
async def test_debug_logs_rows_whatever_the_sample(*, debug: bool, logged: int) -> None:
    api = Deployment()
    api.store.values["ZIPLINE_METADATA", b"joins/team/j.v1"] = [TimedValue(json.dumps(JOIN).encode(), 5)]
    fetcher = api.build_fetcher(debug)
    rows = await fetcher.fetch_joins([FeatureRequest("team/j.v1", {"user": f"u{at}"}) for at in range(20)], deadline=deadline_in(5))
    assert [row.features for row in rows] == [{"ext_geo_city": "Basel"}] * 20
    await api.close()
    assert len([row for row in api.logged if not row.control]) == logged


class Bare(Api):
    pass


async def test_what_is_not_overridden_is_the_configuration_s() -> None:
    api = Bare()
    assert api.gen_kv_store() is None
    assert api.gen_model_backend() is None
    assert api.gen_flag_store() is None
    assert not api.logs_responses
    assert Deployment().logs_responses
    assert set(api.registry.sources) == {"contextual"}
    with pytest.raises(FailedPrecondition, match="gen_kv_store of Bare gives no store"):
        api.build_fetcher()
    with pytest.raises(Unsupported, match=r"the stream of team\.g\.v1 cannot be read"):
        api.stream_decoder(SERVING_INFO)
    await api.close()


def test_a_registry_that_is_none() -> None:
    class Wrong(Api):
        def external_registry(self) -> Mapping[str, str]:  # type: ignore[override]
            return {}

    with pytest.raises(InvalidRequest, match="external_registry of Wrong gave a dict"):
        _ = Wrong().registry


SCHEMA = StructType("Purchase", (Field("user", STRING), Field("ts", LONG)))


def test_mutations_have_rows_that_fit_their_schema() -> None:
    assert Mutation(SCHEMA, None, ("u", 5)).after == ("u", 5)
    with pytest.raises(ValueError, match="before it, after it, or both"):
        Mutation(SCHEMA, None, None)
    with pytest.raises(ValueError, match="before has 1 values; the schema Purchase has 2 fields"):
        Mutation(SCHEMA, ("u",), ("u", 5))


def test_a_stream_decoder_is_given_by_the_deployment() -> None:
    class Lines(StreamDecoder):
        @property
        def schema(self) -> StructType:
            return SCHEMA

        def decode(self, message: bytes) -> Mutation | None:
            user, _, ts = message.decode().partition(",")
            return Mutation(SCHEMA, None, (user, int(ts))) if user else None

    class Streaming(Api):
        def stream_decoder(self, serving_info: GroupByServingInfo) -> StreamDecoder:
            return Lines()

    decoder = Streaming().stream_decoder(SERVING_INFO)
    assert decoder.decode(b"u,5") == Mutation(SCHEMA, None, ("u", 5))
    assert decoder.decode(b",") is None
