"""A server with a deployment's Api, external sources, a response log and metrics out: all of it in processes of its own."""

import base64
import io
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fastavro
import pyarrow.dataset as ds
import pytest
import xxhash

from chronoserve_client import Client, Put, RowStatus
from tests.server.conftest import StartServer
from tests.server.running import RunningServer, eventually

SECONDS = 20
SECRET = "s3cret"

DEPLOYMENT = """
import asyncio
from chronoserve.api import Api, ExternalFailed, ExternalRegistry, KVStore, TimedValue

class Memory(KVStore):
    def __init__(self):
        self.rows = {}

    async def multi_get(self, requests):
        return [self.rows.get((request.dataset, request.key_bytes)) for request in requests]

    async def multi_put(self, requests):
        for put in requests:
            self.rows.setdefault((put.dataset, put.key_bytes), []).append(TimedValue(put.value_bytes, put.ts_millis))
        return [True] * len(requests)

async def city_of(rows):
    return [{"city": CITIES[row["user"]]} if row["user"] in CITIES else ExternalFailed("no such user") for row in rows]

CITIES = {}

class Online(Api):
    def __init__(self, user_conf):
        super().__init__(user_conf)
        CITIES["ann"] = user_conf["city"]

    def external_registry(self):
        registry = ExternalRegistry()
        registry.add("geo", city_of)
        return registry

class Bare(Api):
    def gen_kv_store(self):
        return Memory()
"""

TEXT = {"kind": 7}
LONG = {"kind": 4}


def part(name: str, key: str, value: str, data_type: dict[str, int]) -> dict[str, Any]:
    def schema(field: str, of: dict[str, int]) -> dict[str, Any]:
        return {"kind": 13, "name": name, "params": [{"name": field, "dataType": of}]}

    return {"source": {"metadata": {"name": name}, "keySchema": schema(key, TEXT), "valueSchema": schema(value, data_type)}}


JOIN = {
    "metaData": {"name": "team.j.v1", "team": "team", "online": 1, "samplePercent": 100.0},
    "left": {"events": {"table": "ns.left", "query": {"selects": {"user": "user"}, "timeColumn": "ts", "setups": []}, "isCumulative": 0}},
    "joinParts": [],
    "onlineExternalParts": [part("geo", "user", "city", TEXT), part("risk", "user", "score", LONG)],
}
CONF = Put("ZIPLINE_METADATA", b"joins/team/j.v1", json.dumps(JOIN).encode(), 1_600_000_000_000, b"conf")


class Risk(BaseHTTPRequestHandler):
    """An external source of somebody else's."""

    def do_POST(self) -> None:
        rows = json.loads(self.rfile.read(int(self.headers["content-length"])))
        allowed = self.headers["authorization"] == f"Bearer {SECRET}" and self.path == "/risk?source=risk"
        body = json.dumps({"results": [{"features": {"score": len(row["user"])}} for row in rows]}).encode()
        self.send_response(200 if allowed else 403)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quietly."""


@pytest.fixture(scope="module")
def risk() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Risk)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/risk"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def agent() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(SECONDS)
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("deployment")
    (made / "online_of_tests.py").write_text(DEPLOYMENT)
    return made


@pytest.fixture(scope="module")
def server(start_server: StartServer, folder: Path, risk: str, agent: socket.socket) -> RunningServer:
    config = f"""
api = "online_of_tests:Online"
create_on_put = true
[api_conf]
password = "{SECRET}"
[stores.default]
url = "lmdb://{folder}/store-of-the-server"
[external_sources.risk]
url = "{risk}"
headers = {{ authorization = "Bearer ${{RISK_TOKEN}}" }}
timeout_seconds = 10.0
[response_log.files]
path = "{folder}/log"
[statsd]
host = "127.0.0.1"
port = {agent.getsockname()[1]}
"""
    environment = {"PYTHONPATH": str(folder), "RISK_TOKEN": SECRET}
    started = start_server("-Z", "city=Basel", "--workers", "2", config=config, environment=environment)
    with Client(started.address, timeout=SECONDS) as client:
        (put,) = client.multi_put([CONF])
        put.unwrap()
    return started


def fetch(server: RunningServer, *users: str) -> list[Any]:
    with Client(server.address, timeout=SECONDS) as client:
        return list(client.fetch_joins([("team/j.v1", {"user": user}) for user in users]))


def test_sources_of_code_and_of_configuration_answer_beside_each_other(server: RunningServer) -> None:
    ann, bob = fetch(server, "ann", "bob")
    assert (ann.status, ann.features) == (RowStatus.OK, {"ext_geo_city": "Basel", "ext_risk_score": 3})
    assert (bob.status, bob.features) == (RowStatus.DEGRADED, {"ext_risk_score": 3})
    (error,) = bob.part_errors.values()
    assert "no such user" in str(error)


def test_what_they_did_is_in_the_metrics(server: RunningServer) -> None:
    before = server.metric("chronoserve_external_rows_total", source="geo")
    fetch(server, "ann", "cid")
    assert server.metric("chronoserve_external_rows_total", source="geo") == before + 2
    assert server.metric("chronoserve_fetch_rows_total", kind="join", status="degraded") >= 1
    assert server.metric("chronoserve_fetch_phase_seconds_count", kind="join", phase="encode") >= 1
    assert server.metric("chronoserve_response_log_offered_total") >= 2


def test_an_agent_hears_chronon_s_names(server: RunningServer, agent: socket.socket) -> None:
    fetch(server, "ann")
    found = ""
    while "ai.zipline.join.fetch.join_request.count" not in found:
        found += agent.recv(65536).decode() + "\n"
    assert "join:team/j.v1" in found


def test_hot_keys_of_all_workers_are_on_one_page(server: RunningServer) -> None:
    key = b"k" * 20
    with Client(server.address, timeout=SECONDS) as client:
        client.multi_put([Put("HOT", key, b"v", 1_600_000_000_000, b"t")])
        for _ in range(8):
            client.multi_get([("HOT", key)] * 31)
    status, body = server.get("/hotkeys?top=1")
    (hottest,) = json.loads(body)["keys"]
    assert status == 200
    assert (hottest["dataset"], hottest["key_hash"]) == ("HOT", xxhash.xxh3_64(key).hexdigest())
    assert hottest["reads"] == 8 * 31
    assert 0 < hottest["share"] <= 1
    assert server.get("/hotkeys?top=x")[0] == 400


def test_no_secret_is_shown(server: RunningServer) -> None:
    assert SECRET not in server.log
    assert SECRET not in server.get("/config")[1]
    assert SECRET not in server.get("/metrics")[1]


def test_the_log_is_complete_when_the_server_has_ended(server: RunningServer, folder: Path) -> None:
    """The last test of this server."""
    fetch(server, *(f"user{at}" for at in range(50)))
    assert server.stop() == 0
    rows = ds.dataset(folder / "log", partitioning="hive").to_table().to_pylist()
    controls = {row["key_base64"]: row for row in rows if row["name"] == "SCHEMA_PUBLISH_EVENT"}
    logged = [row for row in rows if row["name"] == "team/j.v1"]
    assert {base64.b64encode(row["schema_hash"].encode()).decode() for row in logged} == set(controls)
    (published,) = controls.values()
    schemas = json.loads(base64.b64decode(published["value_base64"]))
    keys = [decoded(schemas["key_schema"], row["key_base64"])["user"] for row in logged]
    assert set(keys) >= {f"user{at}" for at in range(50)}
    values = {key: decoded(schemas["value_schema"], row["value_base64"]) for key, row in zip(keys, logged, strict=True)}
    assert values["ann"] == {"ext_geo_city": "Basel", "ext_risk_score": 3}
    assert values["user7"] == {"ext_geo_city": None, "ext_risk_score": 5}


def decoded(schema: str, value: str) -> dict[str, Any]:
    parsed = fastavro.parse_schema(json.loads(schema))
    found = fastavro.schemaless_reader(io.BytesIO(base64.b64decode(value)), parsed, None)
    assert isinstance(found, dict)
    return found


def test_a_deployment_s_store_serves_every_dataset(start_server: StartServer, folder: Path) -> None:
    server = start_server("--api", "online_of_tests:Bare", environment={"PYTHONPATH": str(folder)})
    with Client(server.address, timeout=SECONDS) as client:
        client.multi_put([CONF, Put("ANY_STREAMING", b"k", b"1", 10, b""), Put("ANY_STREAMING", b"k", b"2", 20, b"")])
        (found,) = client.multi_get([("ANY_STREAMING", b"k")])
        assert [value.value for value in found.unwrap()] == [b"1", b"2"]
        (row,) = client.fetch_joins([("team/j.v1", {"user": "ann"})])
    assert row.status is RowStatus.ERROR or row.part_errors, "its sources are not registered here"
    assert server.stop() == 0


def test_the_log_may_be_a_dataset(start_server: StartServer, folder: Path) -> None:
    config = f"""
create_on_put = true
[stores.default]
url = "lmdb://{folder}/store-with-log"
[response_log.kv]
dataset = "JOIN_LOG"
"""
    server = start_server(config=config)
    with Client(server.address, timeout=SECONDS) as client:
        client.multi_put([CONF])
        client.fetch_joins([("team/j.v1", {"user": "ann"})])
        eventually(lambda: server.metric("chronoserve_response_log_written_total") >= 2, "the log to be written")
        rows = [json.loads(value.value) for entry in client.scan("JOIN_LOG") for value in entry.values]
    assert {row["name"] for row in rows} == {"SCHEMA_PUBLISH_EVENT", "team/j.v1"}
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--api", "no_such_module:Online"), "there is no module no_such_module"),
        (("--api", "online"), "api is package.module:Class"),
        (("-Z", "city"), "-Z takes KEY=VALUE"),
    ],
)
def test_what_is_not_right_is_said_before_a_port_opens(start_server: StartServer, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        start_server(*words)
