"""``chronoserve partition`` as a scheduler's sensor: landed, not yet, and what cannot be known are three exit codes."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.app.shell import run


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    for place in ("ds=2023-11-30/name=a", "ds=2023-12-01/name=b"):
        (tmp_path / "ns.db" / "t" / place).mkdir(parents=True)
        pq.write_table(pa.table({"n": [1]}), tmp_path / "ns.db" / "t" / place / "x.parquet")
    (tmp_path / "flat").mkdir()
    pq.write_table(pa.table({"ds": ["2023-11-30"], "n": [1]}), tmp_path / "flat" / "x.parquet")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["ns.t/ds=2023-11-30"], 0),
        (["ns.t/ds=2023-11-29"], 1),
        (["ns.t/ds=2023-11-30/name=a"], 0),
        (["ns.t/ds=2023-11-30/name=b"], 1),
        (["default.flat/ds=2023-11-30"], 0),
        (["default.flat/ds=2023-12-01"], 1),
        (["ns.nothing/ds=2023-11-30"], 1),
        (["ns.t"], 2),
        (["ns.t/ds=2024-01-01", "--end", "2023-12-01", "--ds", "2024-01-01"], 0),
        (["ns.t/ds=2024-01-01", "--end", "2024-12-01", "--ds", "2024-01-01"], 1),
    ],
)
def test_exit_codes(warehouse: Path, words: list[str], code: int) -> None:
    answer = run("partition", *words, "--warehouse", warehouse)
    assert answer.code == code, answer
    as_json = run("partition", *words, "--warehouse", warehouse, "--json")
    assert as_json.code == code
    if code != 2:
        assert as_json.objects[0]["landed"] is (code == 0)


def test_a_metastore_that_does_not_answer_is_not_a_partition_that_has_not_landed() -> None:
    answer = run("partition", "ns.t/ds=2023-11-30", "--warehouse", "hive://127.0.0.1:1")
    assert answer.code == 2
    assert "does not answer" in answer.err
