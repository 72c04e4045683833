"""Every recorded aggregation of the JVM: IRs as stored, outputs, merges, deletions, refusals."""

from typing import Any

import pytest

from chronoserve.codec.tagged import alike, type_from, untag
from chronoserve.model.confs import Operation
from chronoserve.model.errors import InvalidRequest
from tests.recordings import records
from tests.unit.aggregate.recorded import Recorded, fold

RECORDED = [Recorded(record) for record in records("a_aggregations")]
ANSWERED = [recorded for recorded in RECORDED if "error" not in recorded.record]
REFUSED = [recorded for recorded in RECORDED if "error" in recorded.record]
OPERATIONS = sorted(Operation, key=lambda operation: operation.name)
of_each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)

NOT_THE_AGGREGATION = "Unknown datum type"
"""The recording's own row of a byte or short could not be encoded (§3.4); the aggregation may be fine."""
UNENCODABLE_SENTINEL = (Operation.BOUNDED_UNIQUE_COUNT, "ClassCastException")
"""Upstream defect 5 of the specification: ours stores what such a set has, which answers the same."""
INTEL_POW = {"a-s-895"}
"""Java's pow is the last bit off there, or the C library's is."""


def randomised(recorded: Recorded) -> bool:
    return "compaction is randomised" in recorded.record["note"]


def wrong(operation: Operation, check: Any) -> list[str]:
    """The ids of the operation's records that a check finds fault with."""
    return [recorded.record["id"] for recorded in ANSWERED if recorded.operation is operation and not check(recorded)]


@of_each_operation
def test_names_and_types_are_the_jvms(operation: Operation) -> None:
    def check(recorded: Recorded) -> bool:
        aggregator = recorded.aggregator()
        (ir,), (output,) = aggregator.ir_type.fields, aggregator.output_type.fields
        named = ir.name == output.name == recorded.record["column_name"]
        typed = (ir.type, output.type) == (type_from(recorded.record["ir_type"]), type_from(recorded.record["output_type"]))
        return named and typed and aggregator.columns[0].aggregator.deletable == recorded.record["deletable"]

    assert wrong(operation, check) == []


@of_each_operation
def test_stored_irs_are_the_jvms(operation: Operation) -> None:
    def check(recorded: Recorded) -> bool:
        aggregator = recorded.aggregator()
        return randomised(recorded) or all(
            recorded.same(aggregator.stored(aggregator.clone(fold(aggregator, rows)))[0], recorded.ir(which)[0])
            for which, rows in recorded.folds().items()
        )

    assert wrong(operation, check) == []


@of_each_operation
def test_outputs_of_stored_irs_are_the_jvms(operation: Operation) -> None:
    def check(recorded: Recorded) -> bool:
        aggregator = recorded.aggregator()
        pairs = [
            (aggregator.finalize(aggregator.loaded(recorded.ir(which)))[0], untag(recorded.record[f"output_{which}"]))
            for which in ("first", "all")
        ]
        near = recorded.record["id"] in INTEL_POW
        return all(alike(got, want, tolerance=1e-15) if near else recorded.same(got, want) for got, want in pairs)

    assert wrong(operation, check) == []


@of_each_operation
def test_merged_irs_answer_as_the_jvms(operation: Operation) -> None:
    def check(recorded: Recorded) -> bool:
        aggregator = recorded.aggregator()
        merged = aggregator.merge(aggregator.loaded(recorded.ir("first")), aggregator.loaded(recorded.ir("second")))
        return randomised(recorded) or recorded.same(aggregator.finalize(merged)[0], untag(recorded.record["output_merged"]))

    assert wrong(operation, check) == []


@of_each_operation
def test_rows_taken_back_leave_what_the_jvm_leaves(operation: Operation) -> None:
    def check(recorded: Recorded) -> bool:
        taken = recorded.record["delete"]
        if taken is None:
            return True
        aggregator = recorded.aggregator()
        rows = {row: (values, ts) for values, ts, row in recorded.rows}
        ir = fold(aggregator, recorded.rows)
        for row in taken["deleted_rows"]:
            aggregator.delete(ir, *rows[row])
        stored = recorded.same(aggregator.stored(ir)[0], recorded.decoded(taken["ir"])[0])
        return stored and recorded.same(aggregator.finalize(ir)[0], untag(taken["output"]))

    assert wrong(operation, check) == []


def outcome(recorded: Recorded) -> str:
    error = recorded.record["error"]
    if error["message"].startswith(NOT_THE_AGGREGATION):
        return "not the aggregation"
    if recorded.operation is UNENCODABLE_SENTINEL[0] and UNENCODABLE_SENTINEL[1] in error["class"]:
        return "sentinel"
    return "plan" if "Failed to create" in error["message"] or "Must use elementWise" in error["message"] else "run"


def test_combinations_that_the_jvm_cannot_make_are_refused_when_they_are_planned() -> None:
    planned = [recorded for recorded in REFUSED if outcome(recorded) == "plan"]
    assert len(planned) > 500
    for recorded in planned:
        with pytest.raises(InvalidRequest):
            recorded.aggregator()


def test_values_that_make_the_jvm_fail_are_refused_when_they_come() -> None:
    """Those records keep no rows: a non-string for HISTOGRAM, lists of unequal length element by element."""
    failing = [recorded for recorded in REFUSED if outcome(recorded) == "run"]
    assert {recorded.operation for recorded in failing} == {Operation.HISTOGRAM, Operation.SUM, Operation.AVERAGE}
    for recorded in failing:
        aggregator = recorded.aggregator()
        ir = aggregator.init()
        if recorded.operation is Operation.HISTOGRAM:
            value: Any = 7
            value = (
                [value] if "list" in recorded.record["input_type"] else {"k": value} if "map" in recorded.record["input_type"] else value
            )
            with pytest.raises(InvalidRequest):
                aggregator.update(ir, (value, "p"), 0)
        else:
            aggregator.update(ir, ([1, 2, 3], "p"), 0)
            with pytest.raises(InvalidRequest):
                aggregator.update(ir, ([1], "p"), 0)


def test_a_full_set_that_the_jvm_cannot_store_is_stored_as_its_members() -> None:
    full = [recorded for recorded in REFUSED if outcome(recorded) == "sentinel"]
    assert full
    for recorded in full:
        element = type_from(recorded.record["input_type"])
        if recorded.record["bucket"] or recorded.record["element_wise"] or recorded.record["input_type"] not in ("int", "long"):
            continue
        aggregator = recorded.aggregator()
        k = int(dict(map(tuple, recorded.record["arg_map"] or [("k", "8")]))["k"])
        ir = aggregator.init()
        for value in range(2 * k):
            aggregator.update(ir, (value, "p"), 0)
        assert sorted(aggregator.stored(ir)[0]) == list(range(k)), element
        assert aggregator.finalize(aggregator.loaded(aggregator.stored(ir))) == (k,)
