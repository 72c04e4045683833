"""CPU microseconds per merge of batch and stream, for the shapes of golden/bench, decoding apart.

python bench/merge.py golden/bench/workloads.jsonl.gz [--rounds 5] [--reference]
"""

import argparse
import gzip
import json
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

from chronoserve.aggregate.serving import Sawtooth
from chronoserve.codec import avro, compiled, confs

DATASETS = ("BENCH_SMALL", "BENCH_EVENTS", "BENCH_MUT", "BENCH_HEAVY")
AT = 1_692_079_200_000
BATCH_END = 1_692_057_600_000
KEYS = 200
Merge = Callable[[], object]


def stored(path: str) -> tuple[dict[str, str], dict[tuple[str, str], list[tuple[int, bytes]]]]:
    """Serving info by dataset, values by dataset and key."""
    infos: dict[str, str] = {}
    values: dict[tuple[str, str], list[tuple[int, bytes]]] = defaultdict(list)
    with gzip.open(path, "rt") as lines:
        for line in lines:
            record = json.loads(line)
            if record["kind"] == "put" and bytes.fromhex(record["key"]) == b"group_by_serving_info":
                infos[record["dataset"].removesuffix("_BATCH")] = bytes.fromhex(record["value"]).decode()
            elif record["kind"] == "put":
                values[record["dataset"], record["key"]].append((record["ts"], bytes.fromhex(record["value"])))
    return infos, values


def merges(dataset: str, info: str, values: dict[tuple[str, str], list[tuple[int, bytes]]], *, reference: bool) -> dict[str, list[Merge]]:
    served = confs.serving_info(info)
    sawtooth = Sawtooth(served.group_by, avro.type_of(served.selected_avro_schema or "", clean=True))
    batches, rows = (
        compiled.decoder(sawtooth.batch_type),
        compiled.decoder(sawtooth.mutation_type if sawtooth.mutated else sawtooth.row_type),
    )
    plan = sawtooth.merge_plainly if reference else sawtooth.merge
    merge = partial(plan, query_ts=AT, batch_end=BATCH_END, batch_max_ts=BATCH_END)

    def fresh(decoded: Any, streamed: Any, times: Any) -> object:
        return merge(sawtooth.load_batch(decoded), streamed, times)

    made: dict[str, list[Merge]] = {"fresh batch": [], "kept batch": []}
    for key in [key for name, key in values if name == f"{dataset}_BATCH"][:KEYS]:
        decoded = batches.decode(values[f"{dataset}_BATCH", key][-1][1])
        stream = sorted(values[f"{dataset}_STREAMING", key], key=lambda stamped: stamped[0])
        streamed, times = rows.decode_rows([value for _, value in stream]), [ts for ts, _ in stream]
        kept = sawtooth.load_batch(decoded)
        made["fresh batch"].append(partial(fresh, decoded, streamed, times))
        made["kept batch"].append(partial(merge, kept, streamed, times))
    return made


def cpu_us(calls: list[Merge], rounds: int) -> float:
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time_ns()
        for call in calls:
            call()
        best = min(best, (time.process_time_ns() - start) / len(calls) / 1000)
    return best


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("workloads")
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--reference", action="store_true", help="measure the plain merge instead")
    given = arguments.parse_args()
    infos, values = stored(given.workloads)
    for dataset in DATASETS:
        made = merges(dataset, infos[dataset], values, reference=given.reference)
        print(f"{dataset:14}", *(f"{kind}: {cpu_us(calls, given.rounds):8.1f} us" for kind, calls in made.items()), sep="  ")


if __name__ == "__main__":
    main()
