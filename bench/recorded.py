"""What ``golden/bench`` recorded: a store, four joins over it, and what Chronon's JVM took for them (tests/golden/bench/README.md)."""

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from bench import tools
from chronoserve.codec.tagged import untag
from chronoserve_client import Client, Put
from chronoserve_client._features import FetchLike

GOLDEN = tools.ROOT / "tests" / "golden" / "bench" / "workloads.jsonl.gz"
PUTS_OF_CALL = 2000
BYTES_OF_CALL = 2 << 20
CALL_SECONDS = 30.0

JVM_HTTP_OF_GO = {"bench_w1_small": 12.6, "bench_w2_typical": 24.2, "bench_w3_derived": 26.3, "bench_w4_heavy": 45.0}
"""CPU of a request of one row at the JVM's HTTP service, as a multiple of the Go peer's MultiGet of 10 on the same machine."""
JVM_IN_PROCESS_OF_GO = {"bench_w1_small": 2.3, "bench_w2_typical": 7.6, "bench_w3_derived": 8.2, "bench_w4_heavy": 28.0}
"""The same for each row of a call of ten rows of the JVM's fetcher in process, without any server."""


@dataclass(slots=True)
class Workload:
    """A join with the keys to draw from, and 40 rows as the JVM answered them."""

    name: str
    description: str
    at_millis: int
    keys: list[dict[str, Any]]
    samples: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)

    @property
    def features(self) -> int:
        return len(self.samples[0][1])

    def requests(self, keys: Iterable[dict[str, Any]]) -> list[FetchLike]:
        return [(self.name, each, self.at_millis) for each in keys]


@dataclass(frozen=True, slots=True)
class Recorded:
    puts: list[Put]
    workloads: list[Workload]


@cache
def recorded() -> Recorded:
    """Everything of the file. Each put has a token of its own: equal values at one time are two values."""
    puts: list[Put] = []
    workloads: dict[str, Workload] = {}
    with gzip.open(GOLDEN, "rt") as lines:
        for line in lines:
            record = json.loads(line)
            if record["kind"] == "put":
                token = b"%d" % len(puts)
                puts.append(Put(record["dataset"], bytes.fromhex(record["key"]), bytes.fromhex(record["value"]), record["ts"], token))
            elif record["kind"] == "workload":
                keys = [_plain(each) for each in record["requests"]]
                workloads[record["name"]] = Workload(record["name"], record["description"], record["at_millis"], keys)
            else:
                workloads[record["workload"]].samples.append((_plain(record["keys"]), _plain(record["values"])))
    return Recorded(puts, list(workloads.values()))


def _plain(tagged: dict[str, Any]) -> dict[str, Any]:
    return {name: untag(value) for name, value in tagged.items()}


def load(target: str, puts: Sequence[Put]) -> None:
    """Write the puts through a running server, as a user would.

    Raises:
        ChronoserveError: the server did not take one.
    """
    with Client(target, timeout=CALL_SECONDS, write_timeout=CALL_SECONDS) as client:
        for dataset in sorted({put.dataset for put in puts}):
            client.create(dataset)
        for batch in _batches(puts):
            for result in client.multi_put(batch):
                result.unwrap()


def _batches(puts: Iterable[Put]) -> Iterator[list[Put]]:
    """As many puts as a message takes."""
    batch: list[Put] = []
    size = 0
    for put in puts:
        if batch and (len(batch) == PUTS_OF_CALL or size + len(put.value) > BYTES_OF_CALL):
            yield batch
            batch, size = [], 0
        batch.append(put)
        size += len(put.key) + len(put.value)
    yield batch


def check(target: str, workloads: Iterable[Workload]) -> int:
    """Compare what a server answers with what the JVM answered; the number of rows.

    Raises:
        RuntimeError: some row is not equal: speed without the right answers is no result.
    """
    rows = 0
    with Client(target, timeout=CALL_SECONDS) as client:
        for workload in workloads:
            answers = client.fetch_joins(workload.requests(keys for keys, _ in workload.samples))
            for answer, (_, wanted) in zip(answers, workload.samples, strict=True):
                if answer.features != wanted:
                    wrong = sorted(name for name in {*wanted, *answer.features} if answer.features.get(name) != wanted.get(name))
                    raise RuntimeError(f"{workload.name}: {len(wrong)} features are not what the JVM answered: {', '.join(wrong[:5])}")
            rows += len(answers)
    return rows


def keep_questions(path: Path, questions: Iterable[tuple[bytes, bytes]]) -> Path:
    """Write requests with their answers for the load client (load/file.go)."""
    with path.open("wb") as file:
        for piece in (piece for question in questions for piece in question):
            file.write(len(piece).to_bytes(4, "big") + piece)
    return path
