"""A check that cannot fail is none: each kind of recording is altered, and the alteration must be seen; and damaged, and must be told."""

import copy
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from chronoserve.app.replay.memory_face import MemoryFace
from chronoserve.app.replay.outcome import Outcome, Verdict
from chronoserve.app.replay.recording import Single, World, parts
from chronoserve.app.replay.singles import Singles
from chronoserve.app.replay.worlds import replay
from tests.recordings import records

Record = dict[str, Any]


def altered(value: Any) -> Iterator[Any]:
    """A value with one of its leaves changed, every way to change one."""
    match value:
        case {"int": number} | {"long": number} | {"short": number} | {"byte": number}:
            (box,) = value
            yield {box: number + 1}
            yield {"long" if box == "int" else "int": number}
            yield None
        case {"float": _} | {"double": _}:
            (box,) = value
            yield {box: "12345.75"}
            yield {"double" if box == "float" else "float": value[box]}
        case {"bytes": data}:
            yield {"bytes": data + "00"}
        case {"map": list(pairs)}:
            yield {"map": [*pairs, ["a key that is new", None]]}
            for at, (key, inner) in enumerate(pairs):
                yield {"map": pairs[:at] + pairs[at + 1 :]}
                yield from ({"map": [*pairs[:at], [key, each], *pairs[at + 1 :]]} for each in altered(inner))
        case {"struct": list(values)}:
            yield {"map": [[str(at), each] for at, each in enumerate(values)]}
            for at, inner in enumerate(values):
                yield from ({"struct": [*values[:at], each, *values[at + 1 :]]} for each in altered(inner))
        case list():
            yield [*value, "one more"]
            for at, inner in enumerate(value):
                yield from ([*value[:at], each, *value[at + 1 :]] for each in altered(inner))
        case str():
            yield value + "x"
            yield None
        case bool():
            yield not value
            yield str(value).lower()
        case None:
            yield {"int": 0}
            yield False
        case _:
            raise AssertionError(value)


def some(alterations: Iterable[Any], count: int = 12) -> list[Any]:
    """A few of them, the same on every run."""
    found = list(alterations)
    return random.Random(7).sample(found, min(count, len(found)))


# worlds


async def outcomes(world: World) -> list[Outcome]:
    return [outcome async for outcome in replay(world, MemoryFace.open, Counter())]


def first_world(name: str) -> World:
    world = next(iter(parts(records(name))))
    assert isinstance(world, World)
    return world


@pytest.fixture(scope="module")
def world() -> World:
    """Joins of every kind, from f."""
    return first_world("f_e2e")


def with_requests(world: World, change: Callable[[Record], object], *, count: int = 40) -> World:
    """The world with ``change`` made to some of its requests; the others are left out, and so is what was logged."""
    chosen = {id(record) for record in some([record for record in world.records if _has_values(record)], count)}
    kept = []
    for record in world.records:
        if id(record) in chosen:
            planted = copy.deepcopy(record)
            change(planted)
            kept.append(planted)
        elif record["kind"] not in ("request", "log"):
            kept.append(record)
    return World(world.name, kept)


def _has_values(record: Record) -> bool:
    if record["kind"] != "request":
        return False
    plain = [values for response in record.get("responses") or () if (values := response.get("values"))]
    return len(plain) == len(record["requests"]) and not any(name.endswith("_exception") for values in plain for name in values)


def _pick(record: Record) -> tuple[dict[str, Any], str]:
    """A feature of the record's first response, the same one on every run."""
    values = record["responses"][0]["values"]
    return values, random.Random(len(values)).choice(sorted(values))


def change_value(record: Record) -> None:
    values, name = _pick(record)
    values[name] = some(altered(values[name]), 1)[0]


def drop_feature(record: Record) -> None:
    values, name = _pick(record)
    del values[name]


def add_feature(record: Record) -> None:
    record["responses"][0]["values"]["a_feature_that_is_new"] = None


def null_map(record: Record) -> None:
    record["responses"][0]["values"] = None


def add_exception(record: Record) -> None:
    record["responses"][0]["values"]["test_ev_temporal_0_v1_exception"] = "boom"


def fail_row(record: Record) -> None:
    record["responses"][0].pop("values")
    record["responses"][0]["error"] = {"class": "x", "message": "boom"}


def fail_call(record: Record) -> None:
    del record["responses"]
    record["call_error"] = {"class": "x", "message": "boom", "root_class": "x", "root_message": "boom"}


def lose_response(record: Record) -> None:
    record["responses"].pop()


def more_responses(record: Record) -> None:
    record["responses"].append(copy.deepcopy(record["responses"][0]))


def change_keys(record: Record) -> None:
    record["responses"][0]["keys"]["a_key_that_is_new"] = None


@pytest.mark.parametrize(
    "change",
    [
        change_value,
        drop_feature,
        add_feature,
        null_map,
        add_exception,
        fail_row,
        fail_call,
        lose_response,
        more_responses,
        change_keys,
    ],
)
async def test_an_altered_answer_is_different(world: World, change: Any) -> None:
    planted = with_requests(world, change)
    found = await outcomes(planted)
    assert len(found) > 10
    assert {outcome.verdict for outcome in found} == {Verdict.DIFFERENT}


async def test_the_same_requests_unaltered_are_equal(world: World) -> None:
    found = await outcomes(with_requests(world, lambda record: record))
    assert {outcome.verdict for outcome in found} == {Verdict.EQUAL}


async def test_a_lost_put_is_different(world: World) -> None:
    """The answers follow from what is stored, and not from the recording."""
    without = World(world.name, [record for record in world.records if not _is_batch_value(record)])
    found = Counter(outcome.verdict for outcome in await outcomes(without))
    assert found[Verdict.DIFFERENT] > 50


def _is_batch_value(record: Record) -> bool:
    return record["kind"] == "put" and record["dataset"].endswith("_BATCH") and not record["key"].startswith(b"group".hex())


async def test_an_altered_log_is_different(world: World) -> None:
    at = next(at for at, record in enumerate(world.records) if record["kind"] == "log" and record["schema"] is None)
    for member, value in (("ts", 1), ("join_name", "other"), ("value", world.records[at]["value"][:-2] + "7e")):
        planted = copy.copy(world.records)
        planted[at] = {**planted[at], member: value}
        found = {outcome.id: outcome for outcome in await outcomes(World(world.name, planted[: at + 2]))}
        assert found[world.records[at]["request"]].verdict is Verdict.DIFFERENT, member


@pytest.mark.parametrize(
    "damage",
    [
        {"requests": None},
        {"requests": [{"name": 5, "keys": {"k": {"int": "x"}}, "at_millis": "late"}]},
        {"responses": [5]},
        {"responses": None},
        {"responses": [{"values": {"x": {"unknown": 1}}}]},
        {"api": None},
        {"api": "fetchSomething", "requests": []},
        {"call_error": 5},
    ],
)
async def test_a_damaged_request_is_different_and_the_others_go_on(world: World, damage: Record) -> None:
    at = next(at for at, record in enumerate(world.records) if record["kind"] == "request")
    planted = [*world.records[:at], {**world.records[at], **damage}, *world.records[at + 1 : at + 20]]
    first, *others = await outcomes(World(world.name, planted))
    assert first.verdict is Verdict.DIFFERENT or damage.get("requests") == []
    assert {outcome.verdict for outcome in others} <= {Verdict.EQUAL, Verdict.NOTED}


@pytest.mark.parametrize("damage", [{"key": "zz"}, {"ts": "soon"}, {"value": None}, {"ts": -5}, {"dataset": "no such name!"}, {"key": ""}])
async def test_a_damaged_put_is_told(world: World, damage: Record) -> None:
    at = next(at for at, record in enumerate(world.records) if record["kind"] == "put")
    request = next(at for at, record in enumerate(world.records) if record["kind"] == "request")
    planted = [*world.records[:at], {**world.records[at], **damage}, *world.records[at + 1 : request + 1]]
    found = await outcomes(World(world.name, planted))
    assert Verdict.DIFFERENT in {outcome.verdict for outcome in found}


# records that stand alone


def single_outcome(record: Record, inputs: Record | None = None) -> Outcome:
    singles = Singles()
    for each in ([inputs] if inputs else []) + [record]:
        (part,) = parts([each])
        assert isinstance(part, Single)
        outcome = singles.outcome(part)
    assert outcome is not None
    return outcome


A_MEMBERS = ("output_first", "output_all", "output_merged", "ir_first_value", "ir_second_value", "ir_all_value")


@pytest.mark.parametrize("member", A_MEMBERS)
def test_an_altered_aggregation_is_different(member: str) -> None:
    chosen = some([record for record in records("a_aggregations") if "error" not in record and "randomised" not in record["note"]], 60)
    for record in chosen:
        for value in some(altered(record[member]), 3):
            if not _reordered(record[member], value):
                assert single_outcome({**record, member: value}).verdict is Verdict.DIFFERENT, (record["id"], member, value)


def _reordered(one: Any, other: Any) -> bool:
    return json.dumps(one) == json.dumps(other)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("column_name", "other"),
        ("ir_type", "string?"),
        ("output_type", {"list": "byte"}),
        ("ir_avro_schema", "{}"),
        ("output_avro_schema", "{}"),
        ("row_avro_schema", "{}"),
        ("deletable", "maybe"),
        ("ir_all", "ff"),
        ("rows", [[1, None, None, "zz"]]),
        ("operation", "NOTHING"),
        ("error", {"class": "x", "root_class": "x"}),
    ],
)
def test_an_altered_description_of_an_aggregation_is_different(member: str, value: object) -> None:
    for record in some([record for record in records("a_aggregations") if "error" not in record], 20):
        assert single_outcome({**record, member: value}).verdict is Verdict.DIFFERENT, record["id"]


def test_an_aggregation_that_the_jvm_refuses_and_we_do_not_is_different() -> None:
    for record in some([record for record in records("a_aggregations") if "error" not in record and record["operation"] == "SUM"], 10):
        refused = {name: record[name] for name in ("id", "operation", "input_type", "arg_map", "bucket", "element_wise", "note")}
        error = {"class": "x", "root_class": "java.lang.IllegalArgumentException"}
        assert single_outcome({**refused, "error": error}).verdict is Verdict.DIFFERENT


@pytest.mark.parametrize("kind", ["schema", "key_encode", "cast_to"])
def test_an_altered_codec_record_is_different(kind: str) -> None:
    error = {"class": "x", "message": "boom"}
    for record in some([record for record in records("c_avro") if record["kind"] == kind and not record.get("error")], 20):
        changes: list[Record] = [{"error": error}]
        match kind:
            case "schema":
                first = record["rows"][0]
                changes += [
                    {"avro_schema": "{}"},
                    {"avro_schema_pretty": "{}"},
                    {"back_to_chronon": "int"},
                    {"back_to_chronon_clean": "int"},
                ]
                changes += [{"rows": [{**first, "decoded": value}]} for value in some(altered(first["decoded"]), 4)]
                changes += [{"rows": [{**first, "decoded_map": {"other": None}}]}]
            case "key_encode":
                changes += [{"result": "00"}]
            case _:
                changes += [{"result": value} for value in altered(record["result"])]
        for change in changes:
            assert single_outcome({**record, **change}).verdict is Verdict.DIFFERENT, (record["id"], change)


def test_an_altered_name_is_different() -> None:
    for record in records("d_naming"):
        for member in record:
            planted = {**record, member: "other" if isinstance(record[member], str) else 5}
            assert single_outcome(planted).verdict is Verdict.DIFFERENT, member
        assert single_outcome({**record, "a_member_that_is_new": 1}).verdict is Verdict.DIFFERENT


def test_an_altered_expression_is_different() -> None:
    inputs, *rest = records("e_derivations")
    expressions = [record for record in rest if record["kind"] == "expression" and "results" in record and record["deterministic"]]
    for record in some(expressions, 60):
        at = random.Random(3).randrange(len(record["results"]))
        result = record["results"][at]
        changed = [{"error": {"class": "x"}}] if "value" in result else [{"value": None}]
        changed += [{"value": value} for value in some(altered(result["value"]), 3)] if "value" in result and not _foreign(result) else []
        for change in changed:
            planted = {**record, "results": [*record["results"][:at], change, *record["results"][at + 1 :]]}
            assert single_outcome(planted, inputs).verdict is Verdict.DIFFERENT, (record["id"], change)
        for member in ("spark_type", "output_type"):
            assert single_outcome({**record, member: "other"}, inputs).verdict is Verdict.DIFFERENT
        assert single_outcome({**record, "error": {"class": "x"}}, inputs).verdict is Verdict.DIFFERENT


def _foreign(result: Record) -> bool:
    return "other" in json.dumps(result["value"])


def test_an_altered_derivation_group_is_different() -> None:
    for record in [record for record in records("e_derivations") if record["kind"] == "derivation_group"]:
        for at, case in enumerate(record["cases"]):
            change = {"error": {"class": "x"}} if "derived" in case else {"derived": {}}
            changes = [{"base": case["base"], **change}]
            if "derived" in case:
                changes.append({**case, "derived": {**case["derived"], "a_name_that_is_new": None}})
            for each in changes:
                planted = {**record, "cases": [*record["cases"][:at], each, *record["cases"][at + 1 :]]}
                assert single_outcome(planted).verdict is Verdict.DIFFERENT, (record["id"], each)
        if "derived_fields" in record:
            assert single_outcome({**record, "derived_fields": [["x", "byte"]]}).verdict is Verdict.DIFFERENT


@pytest.mark.parametrize("name", ["a_aggregations", "c_avro", "d_naming", "e_derivations"])
def test_a_damaged_record_never_ends_the_run(name: str) -> None:
    """Members lost or of another type: told as a difference, or the record asks for less than before; never an exception."""
    inputs = next((record for record in records(name) if record.get("kind") == "inputs"), None)
    chosen = some([record for record in records(name) if record.get("kind") != "inputs"], 15)
    for record in chosen:
        for member in record:
            for junk in (None, 5, "x", [], {}, [None], {"int": "x"}):
                for planted in ({**record, member: junk}, {key: value for key, value in record.items() if key != member}):
                    for part in parts([planted]):
                        if isinstance(part, Single) and part.kind.name not in ("UNKNOWN", "LATER", "INPUTS"):
                            single_outcome(planted, inputs)
