"""Every recording of ``tests/golden`` in process, and two of them over the wire: equal, or explained by a numbered note."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chronoserve.app.replay.file import replay
from chronoserve.app.replay.grpc_face import GrpcFace
from chronoserve.app.replay.http_face import HttpFace
from chronoserve.app.replay.memory_face import MemoryFace
from chronoserve.app.replay.outcome import Tally, Verdict
from tests.recordings import GOLDEN

CASES = {
    "a_aggregations": 2236,
    "b_group_by_temporal": 639,
    "c_avro": 199,
    "d_naming": 9,
    "e_derivations": 194,
    "f2_newer_batch": 252,
    "f_e2e": 2435,
    "g_quickstart": 308,
    "k_upload": 89,
}
"""Cases of each recording: one that falls out of sight must not look like one that is equal."""

OVER_THE_WIRE = {"f2_newer_batch": 252, "g_quickstart": 295}
NOTES = {"a_aggregations": {4: 46}, "f_e2e": {1: 39, 2: 132, 3: 26}, "k_upload": {10: 1}}
"""Cases that a numbered note explains: a note that explains more than it did has to be looked at."""


async def tally(name: str, open_face: Callable[[], Awaitable[Any]], *, worlds_only: bool = False) -> Tally:
    found = Tally()
    (path,) = GOLDEN.glob(f"{name}.jsonl*")
    async for outcome in replay(path, open_face, found.skipped, worlds_only=worlds_only):
        assert outcome.verdict is not Verdict.DIFFERENT, (outcome.world, outcome.id, [str(each) for each in outcome.differences][:5])
        found.add(outcome)
    return found


@pytest.mark.parametrize(("name", "cases"), CASES.items())
async def test_everything_is_equal_or_noted(name: str, cases: int) -> None:
    found = await tally(name, MemoryFace.open)
    assert found.cases == cases
    assert set(found.skipped) <= {"incremental_table"}
    assert found.notes == NOTES.get(name, {})


@pytest.mark.parametrize("face", [GrpcFace, HttpFace])
@pytest.mark.parametrize(("name", "cases"), OVER_THE_WIRE.items())
async def test_the_wire_changes_nothing(name: str, cases: int, face: type[Any]) -> None:
    found = await tally(name, face.open, worlds_only=True)
    assert found.counts == Counter({Verdict.EQUAL: cases})
