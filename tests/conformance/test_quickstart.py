"""The quickstart on every store that outlives a process: the same raw tables, the same row of features."""

from pathlib import Path

import pytest

from tests.conformance.conftest import running_engine
from tests.conformance.stores import Store
from tests.engines.engine import Engine
from tests.unit.app.shell import run_process

PROCESS_ONLY = "memory"
EXPECTED = {
    "quickstart_purchases_v1_price_count_30d": 66,
    "quickstart_purchases_v1_price_last5": [35.51, 105.37, 22.67, 26.35, 25.66],
    "quickstart_returns_v1_refund_count_30d": 16,
    "quickstart_returns_v1_refund_sum_6h": None,
    "quickstart_users_v1_email_verified": True,
}


def test_raw_tables_become_features(
    store_line: Store, engines: dict[str, Engine], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if store_line.name.startswith(PROCESS_ONLY):
        pytest.skip("a memory store ends with the process that fills it")
    engine = running_engine(store_line.engine, engines, tmp_path_factory) if store_line.engine else None
    url = (engine.url if engine else store_line.url.format(directory=tmp_path)) + store_line.options
    answer = run_process("quickstart", "--no-stay", "--json", "--store", url, cwd=tmp_path)
    assert answer.code == 0, answer.err
    row = answer.objects[-1]
    assert (row["status"], len(row["features"])) == ("OK", 20)
    assert {name: row["features"][name] for name in EXPECTED} == EXPECTED
