"""Every fetch that was recorded from the JVM, answered from the same bytes: values, types, failures and log rows are equal."""

from collections import Counter

import pytest

from chronoserve.app.replay.file import replay
from chronoserve.app.replay.memory_face import MemoryFace
from chronoserve.app.replay.outcome import Verdict
from tests.recordings import GOLDEN

NOTED = {2, 3}
"""docs/parity.md: stores that answer empty metadata, null keys in their place."""


@pytest.mark.parametrize(("name", "cases"), [("b_group_by_temporal", 639), ("f_e2e", 2435), ("f2_newer_batch", 252), ("g_quickstart", 295)])
async def test_every_recorded_fetch_is_equal(name: str, cases: int) -> None:
    (path,) = GOLDEN.glob(f"{name}.jsonl*")
    found: Counter[Verdict] = Counter()
    async for outcome in replay(path, MemoryFace.open, Counter(), worlds_only=True):
        found[outcome.verdict] += 1
        assert outcome.verdict is not Verdict.DIFFERENT, (outcome.id, [difference.record() for difference in outcome.differences][:3])
        assert set(outcome.notes) <= NOTED | {1}
    assert found.total() == cases
    assert found[Verdict.EQUAL] >= 0.9 * cases
