"""The README's block on the benchmark, out of the last complete run: ``python -m bench.summary`` writes it, as a complete run does."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import servers
from bench.bars import SIZES
from bench.recorded import JVM_HTTP_OF_GO
from bench.tools import ROOT

README, LATEST = ROOT / "README.md", ROOT / "bench" / "results" / "latest.json"
BEGIN, END = "<!-- benchmark -->", "<!-- /benchmark -->"

CALLS = {
    servers.OURS: "chronoserve, native transport",
    servers.ON_GRPCIO: "chronoserve on grpcio",
    servers.NAIVE: "naive Python (redis-py, protobuf objects, grpcio 1.85)",
    servers.GO: "Go peer (grpc-go, rueidis)",
}
"""Servers in the order of the table, as the README calls them."""
WORKLOADS = ("bench_w1_small", "bench_w2_typical", "bench_w3_derived", "bench_w4_heavy")


def block(document: dict[str, Any]) -> str:
    """The whole block, without its marks, of a run as ``bench.report`` keeps it."""
    bars = [bar for bar in document["bars"] if bar["held"] is not None]
    missed = sum(not bar["held"] for bar in bars)
    judged = f"all {len(bars)} bars are held" if not missed else f"{len(bars) - missed} of {len(bars)} bars are held"
    of = document["machine"]
    return "\n".join(
        [
            "Server CPU, `MultiGet` of 200-byte values from one Redis, one worker on one core, 50 callers, all layers on. Medians of one",
            f"run on a {of['cores']}-core virtual machine ([all figures](bench/results/latest.md): {judged}):",
            "",
            *_table(("µs a call", "1 key", "10 keys", "100 keys"), _calls(document)),
            "",
            "Features of the recorded joins from memory, µs a row, beside the JVM's HTTP service carried to this machine (`w4` aggregates",
            "300 historic and 200 streamed rows into 81 features):",
            "",
            *_table(("µs a row", "w1", "w2", "w3", "w4"), _features(document)),
            "",
            _sentences(document),
            "",
            "![CPU a call by server](docs/benchmark.svg)",
        ]
    )


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> list[str]:
    return ["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *("| " + " | ".join(row) + " |" for row in rows)]


def _calls(document: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    found = {
        (point["server"], point["keys"]): point["median"]["cpu_us"]
        for point in document["closed_loop"]
        if point["mode"] == "unary" and point["callers"] != 1
    }
    for server, label in CALLS.items():
        yield label, *(f"{found[server, keys]:.0f}" for keys in SIZES)


def _features(document: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    found = {tuple(each["load"].values()): each["cpu_us"] for each in document["features"]["figures"]}
    for transport, label in (("native", CALLS[servers.OURS]), ("grpcio", f"{CALLS[servers.ON_GRPCIO]}, pure Python")):
        yield label, *(f"{found[workload, 1, transport]:.0f}" for workload in WORKLOADS)
    go_us = document["features"]["go_us"]
    yield "JVM HTTP service", *(f"{JVM_HTTP_OF_GO[workload] * go_us:.0f}" for workload in WORKLOADS)


def _sentences(document: dict[str, Any]) -> str:
    restarts = document["restarts"]
    failed = sum(each["count"] for each in restarts["answer"]["failures"].values())
    calls = restarts["answer"]["ok"] + failed
    rates = {each["writer"]: each["rows"] / each["seconds"] for each in document["bulk"] if each["store"] == "redis"}
    share = rates["chronoserve load"] / rates["redis-py"]
    return (
        f"{restarts['restarts']} restarts by SIGTERM under load: {failed:,} of {calls:,} calls failed. "
        f"A bulk load into Redis runs at {100 * share:.0f} % of redis-py's pipelines."
    )


def write(document: dict[str, Any]) -> None:
    before, begin, rest = README.read_text().partition(BEGIN)
    assert begin, "the README has no place for the benchmark"
    README.write_text(f"{before}{BEGIN}\n{block(document)}\n{END}{rest.partition(END)[2]}")


def kept(path: Path = LATEST) -> dict[str, Any]:
    """What the last complete run has left."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


if __name__ == "__main__":
    write(kept())
