"""``python -m bench.bulk_bare WRITER FOLDER PLACE``: what a load is measured against: ready bytes, handed to a client, and no more.

It reads the same files as the load and puts together the same bytes, but only the time in the client counts. Prints JSON.
"""

import json
import resource
import struct
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import hiredis
import lmdb
import pyarrow.parquet as pq
import redis
from xxhash import xxh3_64_digest

from chronoserve.model import values

ROWS = 10_000
"""Written together: one pipeline, one transaction."""
MAP_BYTES = 64 << 30
NEVER = (1 << 63) - 1
DATASET, BATCH_END = b"BENCH_BULK_V1_BATCH", 1_701_388_800_000

Pair = tuple[bytes, bytes]
Write = Callable[[Sequence[Pair]], None]


def redis_pair(key: bytes, value: bytes) -> Pair:
    return b"cs1:{}:%b:%b" % (DATASET, key), values.encode(value, BATCH_END)


def lmdb_pair(key: bytes, value: bytes) -> Pair:
    row = b"\0\0\0\1" + key
    content = struct.pack(">QQ", NEVER, BATCH_END) + values.encode(value, BATCH_END)
    return row, xxh3_64_digest(row + content) + content


def redis_py(port: str) -> Write:
    client = redis.Redis(port=int(port))

    def write(pairs: Sequence[Pair]) -> None:
        pipeline = client.pipeline(transaction=False)
        for key, value in pairs:
            pipeline.set(key, value)
        pipeline.execute()

    return write


def packed_by_hand(port: str) -> Write:
    """The least that a client in Python can do: hiredis packs and parses, and nothing is asked of a reply but that it comes."""
    import socket  # noqa: PLC0415 - one of three clients is at work

    connection = socket.create_connection(("127.0.0.1", int(port)))
    reader = hiredis.Reader()
    pack = cast("Callable[[tuple[bytes, ...]], bytes]", hiredis.pack_command)  # its stub knows tuples of one word

    def write(pairs: Sequence[Pair]) -> None:
        connection.sendall(b"".join([pack((b"SET", key, value)) for key, value in pairs]))
        left = len(pairs)
        while left:
            reader.feed(connection.recv(1 << 16))
            while reader.gets() is not False:
                left -= 1

    return write


def bare_lmdb(folder: str) -> Write:
    environment = lmdb.open(folder, map_size=MAP_BYTES, max_dbs=1)
    table = environment.open_db(b"records")

    def write(pairs: Sequence[Pair]) -> None:
        with environment.begin(write=True, db=table) as transaction:
            for key, value in pairs:
                transaction.put(key, value)

    return write


WRITERS = {"redis-py": (redis_py, redis_pair), "hiredis": (packed_by_hand, redis_pair), "lmdb": (bare_lmdb, lmdb_pair)}


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(writer: str, folder: str, place: str) -> None:
    opened, pair = WRITERS[writer]
    write = opened(place)
    rows, seconds, cpu = 0, 0.0, 0.0
    for path in sorted(Path(folder).rglob("*.parquet")):
        for batch in pq.ParquetFile(path, pre_buffer=False).iter_batches(ROWS, columns=["key_bytes", "value_bytes"]):
            pairs = list(map(pair, *(batch.column(at).to_pylist() for at in range(2))))
            began, began_cpu = time.perf_counter(), cpu_seconds()
            write(pairs)
            seconds, cpu = seconds + time.perf_counter() - began, cpu + cpu_seconds() - began_cpu
            rows += len(pairs)
    sys.stdout.write(json.dumps({"rows": rows, "seconds": seconds, "cpu_seconds": cpu}))


if __name__ == "__main__":
    main(*sys.argv[1:])
