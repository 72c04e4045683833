"""An acknowledged write survives ``kill -9`` at any moment (K11)."""

import random
from pathlib import Path

import pytest

from chronoserve.kvstore.backends.lmdb.rows import Verdict
from chronoserve.model import values
from tests.unit.lmdb_child import deadline, opened, start, value_of

DATASETS = ("A_BATCH", "B_STREAMING", "C_BATCH")


def acknowledged_before_a_kill(url: str, acknowledgements: int) -> list[int]:
    """Start a writer, kill it after so many acknowledged batches; the numbers that it had acknowledged by then."""
    numbers: list[int] = []
    with start("write", url) as writer:
        assert writer.stdout
        for seen, line in enumerate(writer.stdout, 1):
            _, first, last = line.split()
            numbers += range(int(first), int(last) + 1)
            if seen == acknowledgements:
                writer.kill()
    return numbers


@pytest.mark.parametrize("seed", range(5))
async def test_acknowledged_writes_survive_a_kill(seed: int, tmp_path: Path) -> None:
    url = f"lmdb://{tmp_path}/store?map_size_mib=1"
    rng = random.Random(seed)
    for _ in range(2):
        numbers = acknowledged_before_a_kill(url, rng.randint(1, 120))
        async with opened(url) as store:
            datasets = await store.load_datasets(deadline=deadline())
            requests = [(datasets[DATASETS[n % 3]], b"%d" % n, 0) for n in numbers]
            results = await store.multi_get(requests, deadline=deadline())
            assert results == [values.encode(value_of(n), n + 1) for n in numbers]
            verdict = await store.verify(deadline=deadline())
            assert verdict == Verdict(rows=verdict.rows)
            assert verdict.rows >= len(numbers)
