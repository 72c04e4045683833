"""CPU of fetches in one process: workloads w1-w4 of the golden set from the memory store, without a wire (golden/bench/README.md).

    .venv/bin/python -m bench.fetch_inprocess GOLDEN_BENCH [--workload w1] [--profile]

``GOLDEN_BENCH`` is the directory with ``workloads.jsonl.gz``. The recorded sample responses are compared first.
"""

import argparse
import asyncio
import cProfile
import gzip
import json
import pstats
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chronoserve.codec.tagged import alike, untag
from chronoserve.fetcher.chronon import chronon_features
from chronoserve.fetcher.fetch import Fetcher
from chronoserve.kvstore.registry import open_store
from chronoserve.kvstore.router import Route, Router
from chronoserve.model.features import FeatureRequest
from chronoserve.service.gateway import Gateway, Limits, NamedPut
from chronoserve.testing.clock import ManualClock

PUTS_AT_ONCE = 5_000
ROUNDS = 5
SEED = 7
BUDGET_MICROS = {"w1": (120, 120), "w2": (450, 450), "w3": (550, 550), "w4": (2200, 2200)}
"""For each row, in calls of 1 and of 10: what is left for this stage of the figures in issue 4."""


def records(folder: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(folder / "workloads.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


class Bench:
    """A fetcher over everything that the workloads read."""

    def __init__(self, gateway: Gateway, clock: ManualClock) -> None:
        self.gateway = gateway
        self.fetcher = Fetcher(gateway, clock=clock, lists=gateway)
        self.workloads: dict[str, dict[str, Any]] = {}
        self.samples: list[dict[str, Any]] = []

    @classmethod
    async def load(cls, folder: Path) -> "Bench":
        clock = ManualClock(1_800_000_000_000)
        router = Router({"memory": await open_store("memory://", clock=clock)}, [Route("*", "memory")])
        bench = cls(Gateway(router, router, clock=clock, limits=Limits(create_on_put=True)), clock)
        puts: list[NamedPut] = []
        for at, record in enumerate(records(folder)):
            match record["kind"]:
                case "put":
                    key, value = bytes.fromhex(record["key"]), bytes.fromhex(record["value"])
                    puts.append(NamedPut(record["dataset"], key, value, record["ts"], str(at).encode()))
                case "workload":
                    bench.workloads[record["name"].split("_")[1]] = record
                    puts.append(NamedPut("ZIPLINE_METADATA", f"joins/{record['name']}".encode(), record["join_json"].encode(), 1))
                case "sample_response":
                    bench.samples.append(record)
        for start in range(0, len(puts), PUTS_AT_ONCE):
            await bench.gateway.multi_put(puts[start : start + PUTS_AT_ONCE], deadline=bench.deadline())
        return bench

    def deadline(self) -> float:
        return asyncio.get_running_loop().time() + 60

    async def check(self) -> int:
        """How many of the recorded responses differ."""
        different = 0
        for sample in self.samples:
            request = FeatureRequest(sample["workload"], _untagged(sample["keys"]), sample["at_millis"])
            (row,) = await self.fetcher.fetch_joins([request], deadline=self.deadline())
            different += not alike(chronon_features(row), _untagged(sample["values"]), tolerance=1e-9)
        return different

    def requests(self, workload: str) -> list[FeatureRequest]:
        record = self.workloads[workload]
        return [FeatureRequest(record["name"], _untagged(keys), record["at_millis"]) for keys in record["requests"]]

    async def micros(self, workload: str, batch: int, calls: int) -> float:
        """CPU microseconds for each row."""
        requests = self.requests(workload)
        drawn = random.Random(SEED)
        drawn_calls = [drawn.choices(requests, k=batch) for _ in range(calls)]
        began = time.process_time()
        for rows in drawn_calls:
            await self.fetcher.fetch_joins(rows, deadline=self.deadline())
        return (time.process_time() - began) / (calls * batch) * 1e6


def _untagged(tagged: dict[str, Any]) -> dict[str, Any]:
    return {name: untag(value) for name, value in tagged.items()}


async def measure(bench: Bench, workload: str) -> None:
    for batch, budget in zip((1, 10), BUDGET_MICROS[workload], strict=True):
        calls = 300 if workload == "w4" else 1000
        rounds = [await bench.micros(workload, batch, max(20, calls // batch)) for _ in range(ROUNDS)]
        found = statistics.median(rounds)
        print(f"{workload}  batch {batch:2}  {found:8.1f} us a row  ({min(rounds):.1f} to {max(rounds):.1f}, budget {budget})")


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workload", action="append", choices=list(BUDGET_MICROS))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    bench = await Bench.load(given.folder)
    print(f"{len(bench.samples)} recorded responses, {await bench.check()} different")
    for workload in given.workload or BUDGET_MICROS:
        await measure(bench, workload)
        if given.profile:
            profile = cProfile.Profile()
            profile.enable()
            await bench.micros(workload, given.batch, 500)
            profile.disable()
            pstats.Stats(profile).sort_stats("tottime").print_stats(28)


if __name__ == "__main__":
    asyncio.run(main())
