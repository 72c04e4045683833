"""Who may connect, who may call what, and that no secret shows anywhere."""

import datetime as dt
import hashlib
import socket
import ssl
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chronoserve.v1 import fetcher_pb2, kv_pb2
from chronoserve.wire.reflection import SERVICES as REFLECTION_SERVICES
from tests.server.certificates import DAY, Authority, Signed, private_pem, public_pem
from tests.server.conftest import StartServer
from tests.server.running import RunningServer, eventually, kv_stub

SECONDS = 10
DENIED = grpc.StatusCode.PERMISSION_DENIED
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED

TOKENS = {name: f"canary-token-of-{name}" for name in ("reader", "writer", "owner", "nobody")}
CANARY_PASSWORD = "canary-password"
CANARY_KEY = b"canary-key-bytes"
CANARY_VALUE = b"canary-value-bytes"
AUDIENCE, ISSUER = "chronoserve", "https://login.example.com"


def outcome(call: Any, *words: Any, **named: Any) -> grpc.StatusCode:
    """How a call ended."""
    try:
        answer = call(*words, timeout=SECONDS, **named)
        if isinstance(answer, Iterator):
            list(answer)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


# TLS


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("ours")


def tls_words(certificate: Path, key: Path, client_ca: Path | None = None) -> list[str]:
    return ["--tls-cert", str(certificate), "--tls-key", str(key), *(["--tls-client-ca", str(client_ca)] if client_ca else [])]


def serial_shown(server: RunningServer) -> int:
    """The serial number of the certificate that a new handshake shows."""
    host, _, port = server.address.rpartition(":")
    return x509.load_pem_x509_certificate(ssl.get_server_certificate((host, int(port)), timeout=SECONDS).encode()).serial_number


def serial_of(signed: Signed) -> int:
    return x509.load_pem_x509_certificate(signed.certificate).serial_number


def describe(server: RunningServer, credentials: grpc.ChannelCredentials | None) -> grpc.StatusCode:
    """How a call over a new connection ends."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    channel = grpc.secure_channel(server.address, credentials, options) if credentials else grpc.insecure_channel(server.address, options)
    with channel:
        return outcome(kv_stub(channel).Describe, kv_pb2.DescribeRequest())


def test_tls_serves_those_who_trust_its_authority_and_nobody_in_plain_text(
    start_server: StartServer, authority: Authority, tmp_path: Path
) -> None:
    server = start_server(*tls_words(*authority.sign("server").write(tmp_path, "server")))
    assert describe(server, grpc.ssl_channel_credentials(authority.certificate)) is grpc.StatusCode.OK
    assert describe(server, grpc.ssl_channel_credentials(Authority("other").certificate)) is grpc.StatusCode.UNAVAILABLE
    assert describe(server, None) is grpc.StatusCode.UNAVAILABLE
    assert server.stop() == 0


@pytest.mark.parametrize(("version", "spoken"), [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)])
def test_tls_below_1_2_is_not_spoken(tls_server: RunningServer, version: str, spoken: bool) -> None:
    host, _, port = tls_server.address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the old version is what is asked for
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    try:
        with socket.create_connection((host, int(port)), timeout=SECONDS) as plain, context.wrap_socket(plain) as secure:
            assert secure.selected_alpn_protocol() == "h2"
    except (ssl.SSLError, ConnectionError):
        assert not spoken
    else:
        assert spoken


@pytest.fixture(scope="module")
def tls_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def tls_server(start_server: StartServer, authority: Authority, tls_folder: Path) -> RunningServer:
    return start_server(*tls_words(*authority.sign("server").write(tls_folder, "server")))


def test_a_new_handshake_shows_the_certificate_that_the_files_hold(
    tls_server: RunningServer, authority: Authority, tls_folder: Path
) -> None:
    with grpc.secure_channel(tls_server.address, grpc.ssl_channel_credentials(authority.certificate)) as connected_before:
        assert outcome(kv_stub(connected_before).Describe, kv_pb2.DescribeRequest()) is grpc.StatusCode.OK
        for _ in range(3):
            renewed = authority.sign("server")
            renewed.write(tls_folder, "server")
            assert serial_shown(tls_server) == serial_of(renewed)
            assert outcome(kv_stub(connected_before).Describe, kv_pb2.DescribeRequest()) is grpc.StatusCode.OK
    assert len(tls_server.events("certificate reloaded")) >= 3


def test_while_a_certificate_is_being_replaced_the_old_one_is_shown(
    tls_server: RunningServer, authority: Authority, tls_folder: Path
) -> None:
    """Files that are gone, or half of a pair, or no certificate at all, end no handshake."""
    current = authority.sign("server")
    certificate, key = current.write(tls_folder, "server")
    assert serial_shown(tls_server) == serial_of(current)
    certificate.unlink()
    assert serial_shown(tls_server) == serial_of(current)
    for broken in (b"", b"not a certificate", current.certificate[:100]):
        certificate.write_bytes(broken)
        assert serial_shown(tls_server) == serial_of(current), broken
    renewed = authority.sign("server")
    certificate.write_bytes(renewed.certificate)  # the key still is the old one's
    assert serial_shown(tls_server) == serial_of(current)
    key.write_bytes(renewed.key)
    assert serial_shown(tls_server) == serial_of(renewed)


def test_mtls_refuses_everybody_without_a_certificate_of_its_authority(
    start_server: StartServer, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "clients.crt").write_bytes(authority.certificate)
    server = start_server(*tls_words(*authority.sign("server").write(tmp_path, "server"), tmp_path / "clients.crt"))
    shown: dict[str, tuple[Signed | None, bool]] = {
        "ours": (authority.sign("client"), True),
        "none": (None, False),
        "expired": (authority.sign("client", begins=-2 * DAY, ends=-DAY), False),
        "not yet": (authority.sign("client", begins=DAY, ends=2 * DAY), False),
        "another authority's": (Authority("ours").sign("client"), False),
    }
    for name, (signed, accepted) in shown.items():
        pair = (signed.key, signed.certificate) if signed else (None, None)
        code = describe(server, grpc.ssl_channel_credentials(authority.certificate, *pair))
        assert code is (grpc.StatusCode.OK if accepted else grpc.StatusCode.UNAVAILABLE), name
    assert server.stop() == 0


# identities and policy


def rule(identity: str, verbs: Sequence[str], dataset: str) -> str:
    return f'[[policy]]\nidentities = ["{identity}"]\nverbs = {list(verbs)}\ndatasets = ["{dataset}"]\n'


POLICY = rule("reader", ["read"], "OPEN*") + rule("writer", ["write"], "OPEN*") + rule("owner", ["read", "write", "admin"], "*")


@pytest.fixture(scope="module")
def jwt_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def policy_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("auth") / "policy.toml"
    path.write_text(POLICY)
    return path


@pytest.fixture(scope="module")
def server(start_server: StartServer, policy_file: Path, jwt_key: ec.EllipticCurvePrivateKey) -> RunningServer:
    """With tokens, JWTs, a policy, and a store whose password comes from the environment."""
    (policy_file.parent / "jwt.pem").write_bytes(public_pem(jwt_key))
    tokens = "".join(f'"{hashlib.sha256(token.encode()).hexdigest()}" = "{name}"\n' for name, token in TOKENS.items())
    config = f"""
log_level = "debug"
[stores.hot]
url = "lmdb://user:${{PASSWORD}}@{policy_file.parent}/store"
[auth]
policy_file = "{policy_file}"
[auth.tokens]
{tokens}
[auth.jwt]
key_file = "{policy_file.parent}/jwt.pem"
algorithms = ["ES256"]
audience = "{AUDIENCE}"
issuer = "{ISSUER}"
"""
    started = start_server(config=config, environment={"PASSWORD": CANARY_PASSWORD})
    with grpc.insecure_channel(started.address) as channel:
        for name in ("OPEN", "CLOSED"):
            assert outcome(kv_stub(channel).Create, kv_pb2.CreateRequest(dataset=name), metadata=bearer("owner")) is grpc.StatusCode.OK
    return started


def bearer(name: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {TOKENS[name]}")]


def verbs_of(kv: Any, dataset: str, metadata: list[tuple[str, str]]) -> dict[str, grpc.StatusCode]:
    """How each kind of call on the dataset ends for a caller."""
    get = kv_pb2.GetRequest(dataset=dataset, key_bytes=CANARY_KEY)
    put = kv_pb2.PutRequest(dataset=dataset, key_bytes=CANARY_KEY, value_bytes=CANARY_VALUE)
    calls: dict[str, tuple[Any, Any]] = {
        "read Get": (kv.Get, get),
        "read Scan": (kv.Scan, kv_pb2.ScanRequest(dataset=dataset)),
        "read Describe": (kv.Describe, kv_pb2.DescribeRequest(dataset=dataset)),
        "write Put": (kv.Put, put),
        "write Delete": (kv.Delete, kv_pb2.DeleteRequest(dataset=dataset, key_bytes=[b"other"])),
        "admin Create": (kv.Create, kv_pb2.CreateRequest(dataset=dataset)),
    }
    found = {name: outcome(call, request, metadata=metadata) for name, (call, request) in calls.items()}
    (read,) = kv.MultiGet(kv_pb2.MultiGetRequest(requests=[get]), metadata=metadata, timeout=SECONDS).responses
    (written,) = kv.MultiPut(kv_pb2.MultiPutRequest(requests=[put]), metadata=metadata, timeout=SECONDS).responses
    by_number = {code.value[0]: code for code in grpc.StatusCode}
    return {**found, "read MultiGet": by_number[read.error.code], "write MultiPut": by_number[written.error.code]}


@pytest.mark.parametrize(
    ("identity", "dataset", "allowed"),
    [
        ("reader", "OPEN", {"read"}),
        ("reader", "CLOSED", set()),
        ("writer", "OPEN", {"write"}),
        ("writer", "CLOSED", set()),
        ("owner", "CLOSED", {"read", "write", "admin"}),
        ("nobody", "OPEN", set()),
        ("nobody", "NOT_THERE", set()),
    ],
)
def test_what_no_rule_allows_is_denied(kv: Any, identity: str, dataset: str, allowed: set[str]) -> None:
    for name, code in verbs_of(kv, dataset, bearer(identity)).items():
        assert code is (grpc.StatusCode.OK if name.split()[0] in allowed else DENIED), name


def test_bulk_loads_are_for_administrators(kv: Any) -> None:
    load = kv_pb2.BulkPutRequest(source_offline_table="/nowhere.parquet", destination_online_dataset="OPEN")
    assert outcome(kv.BulkPut, load, metadata=bearer("writer")) is DENIED
    assert outcome(kv.BulkPut, load, metadata=bearer("owner")) is grpc.StatusCode.INVALID_ARGUMENT, "there is no such file"


def test_describe_of_everything_names_only_what_the_caller_may_read(kv: Any) -> None:
    for identity, names in (("reader", ["OPEN"]), ("nobody", []), ("owner", ["CLOSED", "OPEN"])):
        found = kv.Describe(kv_pb2.DescribeRequest(), metadata=bearer(identity), timeout=SECONDS).datasets
        assert [dataset.name for dataset in found] == names


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic " + TOKENS["owner"], TOKENS["owner"], "Bearer a.b.c"])
def test_a_token_that_is_none_identifies_nobody(kv: Any, value: str) -> None:
    assert outcome(kv.Describe, kv_pb2.DescribeRequest(), metadata=[("authorization", value)]) is UNAUTHENTICATED


def test_jwts_count_if_they_are_signed_current_and_for_us(kv: Any, jwt_key: ec.EllipticCurvePrivateKey) -> None:
    now = dt.datetime.now(dt.UTC)
    right = {"sub": "owner", "aud": AUDIENCE, "iss": ISSUER, "exp": now + DAY}
    key = private_pem(jwt_key)
    cases: dict[str, tuple[dict[str, Any], Any, str, bool]] = {
        "right": (right, key, "ES256", True),
        "expired": ({**right, "exp": now - DAY}, key, "ES256", False),
        "not yet": ({**right, "nbf": now + DAY}, key, "ES256", False),
        "for others": ({**right, "aud": "others"}, key, "ES256", False),
        "from others": ({**right, "iss": "https://evil.example.com"}, key, "ES256", False),
        "without end": ({name: value for name, value in right.items() if name != "exp"}, key, "ES256", False),
        "without name": ({name: value for name, value in right.items() if name != "sub"}, key, "ES256", False),
        "of another key": (right, private_pem(ec.generate_private_key(ec.SECP256R1())), "ES256", False),
        "unsigned": (right, None, "none", False),
        "with a shared secret": (right, "s" * 64, "HS256", False),
    }
    for name, (claims, signer, algorithm, counts) in cases.items():
        token = jwt.encode(claims, signer, algorithm=algorithm)
        code = outcome(kv.Describe, kv_pb2.DescribeRequest(), metadata=[("authorization", f"Bearer {token}")])
        assert code is (grpc.StatusCode.OK if counts else UNAUTHENTICATED), name


def methods_of_all_services() -> list[tuple[str, Any]]:
    """Path and descriptor of every method that the server has."""
    services = [
        kv_pb2.DESCRIPTOR.services_by_name["KVStore"],
        fetcher_pb2.DESCRIPTOR.services_by_name["Fetcher"],
        health_pb2.DESCRIPTOR.services_by_name["Health"],
    ]
    reflection = descriptor_pool.Default().FindServiceByName(REFLECTION_SERVICES[1])
    found = [(f"/{service.full_name}/{method.name}", method) for service in services for method in service.methods]
    return found + [(f"/{service}/ServerReflectionInfo", reflection.methods[0]) for service in REFLECTION_SERVICES]


def call_any(channel: Any, path: str, method: Any, metadata: Sequence[tuple[str, str]] = ()) -> grpc.StatusCode:
    """How a call with an empty message ends; a stream is left after its first answer."""
    if method.client_streaming:
        return outcome(lambda **words: [next(channel.stream_stream(path)(iter([b""]), **words))], metadata=metadata)
    if method.server_streaming:
        return outcome(lambda **words: [next(channel.unary_stream(path)(b"", **words))], metadata=metadata)
    return outcome(channel.unary_unary(path), b"", metadata=metadata)


def test_without_identity_no_method_but_health_answers(channel: Any) -> None:
    methods = methods_of_all_services()
    assert len(methods) >= 12 + 8 + 2 + 2
    for path, method in methods:
        expected = grpc.StatusCode.OK if path.startswith("/grpc.health.v1.Health/") else UNAUTHENTICATED
        assert call_any(channel, path, method) is expected, path
        if expected is UNAUTHENTICATED:
            assert call_any(channel, path, method, bearer("owner")) is not UNAUTHENTICATED, path


def test_health_answers_without_identity(channel: Any) -> None:
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_changed_policy_file_counts_soon_and_a_broken_one_changes_nothing(server: RunningServer, kv: Any, policy_file: Path) -> None:
    def may_read(identity: str) -> bool:
        return outcome(kv.Get, kv_pb2.GetRequest(dataset="OPEN", key_bytes=b"k"), metadata=bearer(identity)) is grpc.StatusCode.OK

    assert (may_read("reader"), may_read("nobody")) == (True, False)
    policy_file.write_text(rule("nobody", ["read"], "*") + "# now another one\n")
    eventually(lambda: may_read("nobody"), "the new policy")
    assert not may_read("reader")
    policy_file.write_text("[[policy]]\nidentities = 7\n")
    server.event("keeping the old policy")
    assert (may_read("reader"), may_read("nobody")) == (False, True)
    policy_file.write_text(POLICY)
    eventually(lambda: may_read("reader"), "the old policy again")


def test_no_secret_shows_in_logs_metrics_configuration_or_errors(server: RunningServer, channel: Any, kv: Any) -> None:
    owner = bearer("owner")
    for identity in TOKENS:
        verbs_of(kv, "OPEN", bearer(identity))
    texts = []
    long_key, long_value = CANARY_KEY * 100_000, CANARY_VALUE
    for call, request in (
        (kv.Get, kv_pb2.GetRequest(dataset="OPEN", key_bytes=long_key)),
        (kv.Put, kv_pb2.PutRequest(dataset="OPEN", key_bytes=long_key, value_bytes=long_value)),
        (kv.Put, kv_pb2.PutRequest(dataset="OPEN", key_bytes=CANARY_KEY, value_bytes=long_value, ts_millis=-1)),
        (kv.Get, kv_pb2.GetRequest(dataset="NOT_THERE", key_bytes=CANARY_KEY)),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            call(request, metadata=owner, timeout=SECONDS)
        texts.append(repr(refused.value))
    with pytest.raises(grpc.RpcError) as malformed:
        channel.unary_unary("/chronoserve.v1.KVStore/Get")(b"\xff" + CANARY_VALUE, metadata=owner, timeout=SECONDS)
    texts.append(repr(malformed.value))
    texts += [server.get("/config")[1], server.get("/metrics")[1], server.get("/readyz")[1]]
    assert server.stop() == 0
    texts.append(server.log)
    assert "effective configuration" in server.log
    hashes = [hashlib.sha256(token.encode()).hexdigest() for token in TOKENS.values()]
    for secret in ("canary", *hashes, "BEGIN "):
        for text in texts:
            assert secret not in text, text[max(0, text.find(secret) - 200) :][:400]
