"""The quickstart on every store that outlives a process: the same raw tables, the same row of features."""

import asyncio
from pathlib import Path

import pytest

from chronoserve.kvstore.registry import open_store
from chronoserve.model import naming
from chronoserve.testing.clock import ManualClock
from tests.conformance.conftest import running_engine
from tests.conformance.stores import STORES, Store
from tests.engines.engine import Engine
from tests.unit.app.shell import run_process

OUTLIVING = [store for store in STORES if store.name != "memory"]
"""A memory store ends with the process that fills it."""

OF_CONFS = (naming.METADATA_DATASET, naming.ENTITIES_BY_TEAM_DATASET)
SECONDS = 60.0
EXPECTED = {
    "quickstart_purchases_v1_price_count_30d": 66,
    "quickstart_purchases_v1_price_last5": [35.51, 105.37, 22.67, 26.35, 25.66],
    "quickstart_returns_v1_refund_count_30d": 16,
    "quickstart_returns_v1_refund_sum_6h": None,
    "quickstart_users_v1_email_verified": True,
}


async def forget(url: str) -> None:
    """Remove what the quickstart wrote: other tests load group bys of these names, for days before, into the same engine."""
    store = await open_store(url, clock=ManualClock())
    deadline = asyncio.get_running_loop().time() + SECONDS
    found = await store.load_datasets(deadline=deadline)
    for dataset in [dataset for name, dataset in found.items() if name.startswith("QUICKSTART_") or name in OF_CONFS]:
        token, more = b"", True
        while more:
            page = await store.scan(dataset, token, keys_max=500, bytes_max=1 << 20, deadline=deadline)
            removed = await store.delete([(dataset, key) for key, _ in page.entries], deadline=deadline)
            assert removed == [None] * len(page.entries)
            token, more = page.next_token, bool(page.next_token)
    await store.close()


@pytest.mark.parametrize("store_line", OUTLIVING, ids=lambda store: store.name, indirect=True, scope="session")
async def test_raw_tables_become_features(
    store_line: Store, engines: dict[str, Engine], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    engine = running_engine(store_line.engine, engines, tmp_path_factory) if store_line.engine else None
    url = (engine.url if engine else store_line.url.format(directory=tmp_path)) + store_line.options
    try:
        answer = await asyncio.to_thread(run_process, "quickstart", "--no-stay", "--json", "--store", url, cwd=tmp_path)
    finally:
        await forget(url)
    assert answer.code == 0, answer.err
    row = answer.objects[-1]
    assert (row["status"], len(row["features"])) == ("OK", 20)
    assert {name: row["features"][name] for name in EXPECTED} == EXPECTED
