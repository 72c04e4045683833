"""Dialling, Sentinel, redirections and paging, against servers in this process that answer by a script."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import hiredis
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from chronoserve.kvstore.backends.redis.connection import pack
from chronoserve.kvstore.backends.redis.layout import encode_properties
from chronoserve.kvstore.backends.redis.node import Access, Address, Node, at, named_by_sentinel
from chronoserve.kvstore.backends.redis.routes import SLOTS, Cluster, Single
from chronoserve.kvstore.backends.redis.store import OneServerStore
from chronoserve.model.dataset import Kind, Properties
from chronoserve.model.errors import DeadlinePassed, FailedPrecondition, KVError, Unavailable
from chronoserve.testing.clock import ManualClock
from chronoserve.testing.conformance import eventually
from tests.unit.layers.stores import CAPABILITY

Words = tuple[bytes, ...]
Start = Callable[..., Awaitable["Fake"]]


class Fake:
    """A server that answers what ``answers`` says for the first word of a command, else +OK, and keeps what it was asked."""

    def __init__(self, answers: dict[bytes, bytes]) -> None:
        self.answers = {b"ROLE": b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n", **answers}
        self.asked: list[Words] = []
        self.dials = 0
        self.asked_on: list[tuple[int, bytes]] = []
        """The number of a dial, and the first word of a command that came on it."""
        self.tasks: list[asyncio.Task[None] | None] = []
        self.address: Address = ("127.0.0.1", 0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.dials += 1
        dial = self.dials
        self.tasks.append(asyncio.current_task())
        commands = hiredis.Reader()
        while data := await reader.read(1 << 16):
            commands.feed(data)
            while words := commands.gets():
                self.asked.append(tuple(words))
                self.asked_on.append((dial, words[0]))
                writer.write(self.answers.get(words[0], b"+OK\r\n"))
        writer.close()

    def commands(self, word: bytes) -> list[Words]:
        return [words for words in self.asked if words[0] == word]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def start_one(answers: dict[bytes, bytes] | None = None, tls: ssl.SSLContext | None = None) -> Fake:
            fake = Fake(answers or {})
            server = await stack.enter_async_context(await asyncio.start_server(fake.serve, "127.0.0.1", 0, ssl=tls))
            stack.callback(server.close)
            fake.address = server.sockets[0].getsockname()
            return fake

        yield start_one


def soon(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


def bulk(*words: str | int) -> bytes:
    return pack(*words)


def slots_table(*nodes: Fake) -> bytes:
    """CLUSTER SLOTS: the slots shared evenly among ``nodes``."""
    share = SLOTS // len(nodes)
    rows = b"".join(
        b"*3\r\n:%d\r\n:%d\r\n*2\r\n$0\r\n\r\n:%d\r\n" % (n * share, (n + 1) * share - 1, node.address[1]) for n, node in enumerate(nodes)
    )
    return b"*%d\r\n%b" % (len(nodes), rows)


async def test_the_greeting_logs_in_selects_and_loads_scripts_before_anything_else(start: Start) -> None:
    fake = await start()
    node = Node(at(fake.address), Access(username="u", password="p", database=3, scripts=("return 1",)))
    assert await node.ask([pack(b"GET", b"k")], deadline=soon()) == [b"OK"]
    await node.close()
    assert [words[0] for words in fake.asked] == [b"AUTH", b"SELECT", b"CLIENT", b"SCRIPT", b"ROLE", b"GET"]
    assert fake.asked[0] == (b"AUTH", b"u", b"p")


async def test_refused_credentials_say_so(start: Start) -> None:
    for answers in ({b"AUTH": b"-WRONGPASS invalid\r\n"}, {b"ROLE": b"-NOAUTH Authentication required.\r\n"}):
        fake = await start(answers)
        node = Node(at(fake.address), Access(password="p"))
        with pytest.raises(FailedPrecondition):
            await node.connect(soon())
        await node.close()


async def test_a_server_that_is_away_is_dialled_at_most_five_times_a_second(start: Start) -> None:
    fake = await start({b"ROLE": b"-NOAUTH no\r\n"})
    node = Node(at(fake.address), Access())
    end = soon(0.9)
    while asyncio.get_running_loop().time() < end:
        with pytest.raises(KVError):
            await node.connect(soon(0.05))
        await asyncio.sleep(0.001)
    assert 2 <= fake.dials <= 5
    fake.answers[b"ROLE"] = b"*1\r\n$6\r\nmaster\r\n"

    async def connected() -> bool:
        return node.ready() is not None

    await eventually(connected, "the connection after the server is back", seconds=0.9)
    await node.close()


async def test_a_server_that_accepts_and_is_silent_does_not_hold_callers(start: Start) -> None:
    fake = await start({b"ROLE": b""})
    node = Node(at(fake.address), Access(dial_seconds=0.5))
    with pytest.raises(DeadlinePassed):
        await node.connect(soon(0.01))
    with pytest.raises(Unavailable):
        await node.connect(soon())
    await node.close()


async def test_lost_connections_are_replaced_up_to_the_number_asked_for(start: Start) -> None:
    fake = await start()
    node = Node(at(fake.address), Access(connections=2))
    first = await node.connect(soon())

    async def both() -> bool:
        return node.ready() is not node.ready()

    await eventually(both, "a second connection")
    first.abort("lost")
    await eventually(both, "a new second connection")
    await node.close()
    assert fake.dials == 3


async def test_reads_take_turns_on_all_connections(start: Start) -> None:
    fake = await start({b"HGET": pack(encode_properties(Properties(Kind.LATEST))).partition(b"\r\n")[2], b"MGET": b"*1\r\n$-1\r\n"})
    node = Node(at(fake.address), Access(connections=2))
    store = OneServerStore(Single(node, replicated=False), ManualClock(), CAPABILITY)
    dataset = await store.create("D_BATCH", Properties(Kind.LATEST), deadline=soon())

    async def both() -> bool:
        return node.ready() is not node.ready()

    await eventually(both, "a second connection")
    for _ in range(8):
        assert await store.multi_get([(dataset, b"k", 0)], deadline=soon()) == [b""]
    reads = Counter(dial for dial, word in fake.asked_on if word == b"MGET")
    assert sorted(reads.values()) == [4, 4]
    await store.close()


async def test_the_first_sentinel_that_knows_names_the_primary(start: Start) -> None:
    primary = await start()
    ignorant, knowing = await start({b"SENTINEL": b"*-1\r\n"}), await start()
    knowing.answers[b"SENTINEL"] = bulk(*map(str, primary.address))
    locate = named_by_sentinel([("127.0.0.1", 1), ignorant.address, knowing.address], "main", Access())
    assert await locate(soon()) == primary.address
    assert await locate(soon()) == primary.address
    assert (ignorant.dials, knowing.dials) == (1, 2), "the last good one is asked first"
    with pytest.raises(Unavailable, match="'main'"):
        await named_by_sentinel([ignorant.address], "main", Access())(soon())


async def test_a_demoted_server_is_not_taken_for_the_primary(start: Start) -> None:
    fake = await start({b"ROLE": b"*1\r\n$5\r\nslave\r\n"})
    node = Node(at(fake.address), Access(), must_be_primary=True)
    with pytest.raises(Unavailable, match="not the primary"):
        await node.connect(soon())
    await node.close()


async def cluster_of(*nodes: Fake) -> Cluster:
    for node in nodes:
        node.answers[b"CLUSTER"] = slots_table(*nodes)
    cluster = Cluster([nodes[0].address], Access())
    await cluster.open(soon())
    return cluster


async def get(cluster: Cluster, *keys: bytes) -> list[object]:
    return await cluster.ask(keys, [pack(b"GET", key) for key in keys], deadline=soon(), write=False)


async def test_a_batch_goes_to_each_node_once_and_comes_back_in_order(start: Start) -> None:
    one, other = await start({b"GET": b"$1\r\n1\r\n"}), await start({b"GET": b"$1\r\n2\r\n"})
    cluster = await cluster_of(one, other)
    assert await get(cluster, b"foo", b"bar", b"foo", b"hello") == [b"2", b"1", b"2", b"1"]  # slots 12182, 5061, 866
    assert [words[1] for words in other.commands(b"GET")] == [b"foo", b"foo"]
    await cluster.close()


async def test_moved_is_followed_and_remembered(start: Start) -> None:
    one, other = await start({b"GET": b"$1\r\n1\r\n"}), await start()
    cluster = await cluster_of(one, other)
    other.answers[b"GET"] = b"-MOVED 12182 127.0.0.1:%d\r\n" % one.address[1]
    one.answers[b"CLUSTER"] = other.answers[b"CLUSTER"] = slots_table(one)
    assert await get(cluster, b"foo") == [b"1"]
    assert await get(cluster, b"foo") == [b"1"]
    assert len(other.commands(b"GET")) == 1

    async def refreshed() -> bool:
        return len(cluster.nodes()) == 1

    await eventually(refreshed, "the refresh that MOVED asked for")
    await cluster.close()


async def test_ask_is_followed_once_and_not_remembered(start: Start) -> None:
    one, other = await start({b"GET": b"$1\r\n1\r\n"}), await start()
    cluster = await cluster_of(one, other)
    other.answers[b"GET"] = b"-ASK 12182 :%d\r\n" % one.address[1]  # without a host: the one that was asked
    assert await get(cluster, b"foo", b"foo") == [b"1", b"1"]
    assert [words[0] for words in one.asked[-4:]] == [b"ASKING", b"GET"] * 2
    assert await get(cluster, b"foo") == [b"1"]
    assert len(other.commands(b"GET")) == 3
    await cluster.close()


async def test_redirections_in_a_circle_end(start: Start) -> None:
    one, other = await start(), await start()
    cluster = await cluster_of(one, other)
    one.answers[b"GET"] = b"-MOVED 12182 127.0.0.1:%d\r\n" % other.address[1]
    other.answers[b"GET"] = b"-MOVED 12182 127.0.0.1:%d\r\n" % one.address[1]
    (reply,) = await get(cluster, b"foo")
    assert getattr(reply, "code", "") == "MOVED"
    await cluster.close()


async def test_a_node_that_is_away_fails_its_own_keys_only(start: Start) -> None:
    one, gone = await start({b"GET": b"$1\r\n1\r\n"}), Fake({})
    gone.address = ("127.0.0.1", 1)
    cluster = await cluster_of(one, gone)
    answers = await get(cluster, b"foo", b"bar")
    assert isinstance(answers[0], Unavailable)
    assert answers[1] == b"1"
    await cluster.close()


async def test_nothing_goes_on_after_close(start: Start) -> None:
    one, other = await start({b"GET": b""}), await start({b"GET": b""})
    cluster = await cluster_of(one, other)
    waiting = asyncio.create_task(get(cluster, b"foo", b"bar"))

    async def asked() -> bool:
        return bool(one.commands(b"GET") and other.commands(b"GET"))

    await eventually(asked, "the question")
    await cluster.close()
    for answers in (await waiting, await get(cluster, b"foo", b"bar")):
        assert all(isinstance(answer, Unavailable) for answer in answers)
    assert asyncio.all_tasks() - {*one.tasks, *other.tasks} == {asyncio.current_task()}


def certificate(directory: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
    cert_file, key_file = directory / "cert.pem", directory / "key.pem"
    cert_file.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key_file.write_bytes(key.private_bytes(*form))
    return cert_file, key_file


async def test_tls_takes_the_named_authority_and_no_other(start: Start, tmp_path: Path) -> None:
    cert_file, key_file = certificate(tmp_path)
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(cert_file, key_file)
    fake = await start(tls=server_side)
    node = Node(at(fake.address), Access(tls=ssl.create_default_context(cafile=str(cert_file))))
    assert await node.ask([pack(b"PING")], deadline=soon()) == [b"OK"]
    await node.close()
    stranger = Node(at(fake.address), Access(tls=ssl.create_default_context()))
    with pytest.raises(Unavailable, match="TLS"):
        await stranger.connect(soon())
    await stranger.close()
