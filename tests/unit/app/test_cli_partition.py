"""``chronoserve partition`` as a scheduler's sensor: landed, not yet, and what cannot be known are three exit codes."""

import json
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
        ([], 2),
        (["ns.t/ds=2023-11-30", "ns.t/ds=2023-12-01"], 0),
        (["ns.t/ds=2023-11-30", "ns.t/ds=2023-12-02"], 1),
        (["ns.t/ds=2023-12-02", "ns.t"], 2),
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
        assert all(each["landed"] for each in as_json.objects) is (code == 0)


def test_a_metastore_that_does_not_answer_is_not_a_partition_that_has_not_landed() -> None:
    answer = run("partition", "ns.t/ds=2023-11-30", "--warehouse", "hive://127.0.0.1:1")
    assert answer.code == 2
    assert "does not answer" in answer.err


def conf(place: Path, *dependencies: object) -> Path:
    path = place / "gb.v1"
    texts = [each if isinstance(each, str) else json.dumps(each) for each in dependencies]
    path.write_text(json.dumps({"metaData": {"name": "team.gb.v1", "dependencies": texts}}))
    return path


@pytest.mark.parametrize(
    ("dependencies", "ds", "code", "said"),
    [
        ([{"spec": "ns.t/ds={{ ds }}"}], "2023-12-01", 0, "ns.t/ds=2023-12-01: landed"),
        ([{"spec": "ns.t/ds={{ ds }}"}], "2023-12-02", 1, "ns.t/ds=2023-12-02: not yet"),
        ([{"spec": "ns.t/ds={{ macros.ds_add(ds, -2) }}"}], "2023-12-02", 0, "ns.t/ds=2023-11-30: landed"),
        ([{"spec": "ns.t/ds={{ ds }}"}, {"spec": "ns.nothing/ds={{ ds }}"}], "2023-12-01", 1, "ns.nothing/ds=2023-12-01: not yet"),
        ([{"spec": "ns.nothing/ds={{ ds }}", "end": "2023-01-31"}], "2023-12-01", 0, "ended on 2023-01-31"),
        (["ns.t/ds={{ ds }}/name=b"], "2023-12-01", 0, "ns.t/ds=2023-12-01/name=b: landed"),
        ([], "2023-12-01", 0, ""),
        (["ns.t/ds={{ ds_nodash }}"], "2023-12-01", 2, "only Airflow fills in"),
        ([{"table": "ns.t"}], "2023-12-01", 2, "compile it again"),
        ([{"spec": "ns.t/ds={{ ds }}"}], "20231201", 2, "no day"),
    ],
)
def test_what_a_conf_depends_on(warehouse: Path, dependencies: list[object], ds: str, code: int, said: str) -> None:
    answer = run("partition", "--conf", conf(warehouse, *dependencies), "--ds", ds, "--warehouse", warehouse)
    assert answer.code == code, answer
    assert said in answer.out + answer.err


def test_a_conf_is_asked_about_for_a_day(warehouse: Path) -> None:
    answer = run("partition", "--conf", conf(warehouse), "--warehouse", warehouse)
    assert answer.code == 2
    assert "give the day as --ds" in answer.err
