"""What a conf alone tells about serving it."""

import json
from pathlib import Path
from typing import Any

import pytest

from chronoserve.app.compiling.servable import Judgement, judged

CONFS = Path("server/chronoserve/app/quickstart_confs/production")
ROOT = Path(__file__).parents[4]


def conf(key: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / CONFS / key).read_text())
    return found


def group_by(**changed: Any) -> dict[str, Any]:
    return conf("group_bys/quickstart/purchases.v1") | changed


def selecting(expression: str) -> dict[str, Any]:
    found = group_by()
    found["sources"][0]["events"]["query"]["selects"]["price"] = expression
    return found


def join_with(expression: str) -> dict[str, Any]:
    return conf("joins/quickstart/training_set.v1") | {"derivations": [{"name": "x", "expression": expression}]}


def judge(kind: str, tree: dict[str, Any]) -> Judgement:
    return judged(kind, json.dumps(tree))


@pytest.mark.parametrize("key", ["group_bys/quickstart/purchases.v1", "group_bys/quickstart/users.v1", "joins/quickstart/training_set.v1"])
def test_what_is_served_every_day(key: str) -> None:
    assert judge(key.partition("/")[0], conf(key)) == Judgement()


def test_a_field_that_chronon_does_not_know() -> None:
    (error,) = judge("group_bys", group_by(colour="red")).errors
    assert "colour" in error


def test_a_derivation_that_is_no_sql() -> None:
    (error,) = judge("joins", join_with("1 +")).errors
    assert error.startswith("derivation x: ")


def test_a_derivation_of_a_function_that_we_do_not_have() -> None:
    (error,) = judge("joins", join_with("coalesce(a, if(b, no_such_function(c), 1))")).errors
    assert "no_such_function" in error


@pytest.mark.parametrize("expression", ["struct(a as b, 1)", "transform(a, x -> x + 1)", "a between 1 and 2", "current_date", "now()", "*"])
def test_a_derivation_of_what_we_have(expression: str) -> None:
    tree = join_with(expression)
    if expression == "*":
        tree["derivations"] = [{"name": "*", "expression": "*"}]
    assert judge("joins", tree) == Judgement()


def test_a_select_for_spark_alone() -> None:
    found = judge("group_bys", selecting("no_such_function(price)"))
    assert found.errors == []
    assert "only be uploaded on Spark" in found.warnings[0]


def test_selects_may_explode() -> None:
    assert judge("group_bys", selecting("explode(prices)")) == Judgement()


def test_a_select_that_spark_would_refuse() -> None:
    (error,) = judge("group_bys", selecting("purchase_price /")).errors
    assert error.startswith("sources[0].selects.price: ")


def test_events_without_aggregations() -> None:
    tree = group_by()
    del tree["aggregations"]
    (error,) = judge("group_bys", tree).errors
    assert "no aggregations" in error


def test_functions_set_up_are_for_spark() -> None:
    tree = group_by()
    tree["sources"][0]["events"]["query"]["setups"] = ["create temporary function f as 'x'"]
    assert "setups" in judge("group_bys", tree).warnings[0]


def test_what_is_not_online_is_warned_of() -> None:
    tree = join_with("1 +")
    del tree["metaData"]["online"]
    found = judge("joins", tree)
    assert found.errors == []
    assert found.warnings[0].startswith("derivation x: ")
