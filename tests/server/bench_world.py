"""A small part of the recorded benchmark store, for tests that fetch from a server: five users, four joins, six group bys."""

import gzip
import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from chronoserve.codec.tagged import untag
from chronoserve_client import Client, Put
from tests.recordings import GOLDEN

USERS = 5
AT_MILLIS = 1_692_079_200_000
BATCH_END_MILLIS = 1_692_057_600_000
JOINS = ("bench_w1_small", "bench_w2_typical", "bench_w4_heavy")
"""Those whose features need no derivation."""


@dataclass(frozen=True)
class World:
    puts: list[Put]
    samples: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]]
    """Keys and features by join, as plain values."""


@cache
def world() -> World:
    keys = tuple(f'"key":"{key}"' for key in _keys())
    puts: list[Put] = []
    samples: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    with gzip.open(GOLDEN / "bench" / "workloads.jsonl.gz", "rt") as lines:
        for line in lines:
            if line.startswith('{"kind":"put"'):
                if '"dataset":"ZIPLINE_METADATA"' in line or any(key in line for key in keys):
                    put = json.loads(line)
                    token = b"%d" % len(puts)
                    puts.append(Put(put["dataset"], bytes.fromhex(put["key"]), bytes.fromhex(put["value"]), put["ts"], token))
            elif line.startswith('{"kind":"sample_response"'):
                sample = json.loads(line)
                plain = ({name: untag(value) for name, value in sample[part].items()} for part in ("keys", "values"))
                found, features = plain
                if len(samples.setdefault(sample["workload"], [])) < USERS:
                    samples[sample["workload"]].append((found, features))
    return World(puts, samples)


def _keys() -> list[str]:
    """Avro keys of the users and items, and that of the serving infos, in hex."""
    users = [b"\x02" + bytes([2 * len(name)]) + name for name in (b"user_%d" % n for n in range(USERS))]
    items = [b"\x02" + _zigzag(1000 + n) for n in range(USERS)]
    return [key.hex() for key in (b"group_by_serving_info", *users, *items)]


def _zigzag(number: int) -> bytes:
    number *= 2
    return bytes((number & 0x7F | 0x80, number >> 7))


def load(target: str, **settings: Any) -> None:
    """Put the world into a server's store."""
    with Client(target, timeout=30, write_timeout=30, **settings) as client:
        for dataset in sorted({put.dataset for put in world().puts}):
            client.create(dataset)
        assert all(result.ok for result in client.multi_put(world().puts))
