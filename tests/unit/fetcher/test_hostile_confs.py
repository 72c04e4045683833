"""Confs that nobody wrote: cut off, mistyped, swollen, with hostile SQL. Each is refused or served in its own row, soon, and others are
served meanwhile (issue 4: 100 ms each)."""

import gc
import json
import random
import time
from typing import Any

import pytest

from chronoserve.model import naming
from chronoserve.model.errors import Internal
from chronoserve.model.features import FeatureRequest, RowStatus
from tests.recordings import records
from tests.unit.fetcher.pantry import NOW, GroupBy, Pantry

MUTANTS = 240
REFUSED_SECONDS = 0.1
SERVED_SECONDS = 1.0
"""What is larger than life and valid is served; its compilation does not hold up others."""

HOSTILE_SQL = [
    "(" * 5_000 + "1" + ")" * 5_000,
    "1" + "+1" * 20_000,
    "transform(" * 200 + "array(1)" + ",x->x)" * 200,
    "rlike(user, '(((((a*)*)*)*)*)*b')",
    "repeat('x', 2000000000)",
    "sequence(1, 1000000000)",
    "__import__('os').system('true')",
    "java_method('java.lang.Runtime', 'exit')",
    "cast(1 as " + "array<" * 300 + "int" + ">" * 300 + ")",
    "9" * 10_000,
    "`" + "a" * 1_000,
    "/*",
    "select * from t",
    "not " * 5_000 + "true",
]
WRONG: list[Any] = [None, 5, -1, "x", [], {}, True, 1e308, 10**30, 10**400, [[[[]]]], "x" * 100_000, {"a": {"b": [1]}}]
TEXTS = ["../../etc/passwd", "\x00", "a" * 50_000, "'; drop table x", '{"type":"record"', "é" * 1_000, "{" * 3_000]

Path = tuple[str | int, ...]


def confs() -> list[tuple[str, str]]:
    found = []
    for record in records("f_e2e"):
        if record["kind"] == "join":
            found.append(("join", record["conf_json"]))
        elif record["kind"] == "group_by":
            found.append(("group by", record["serving_info_json"]))
        if len(found) == 60:
            break
    return found


def paths(tree: Any, path: Path = ()) -> list[Path]:
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(each for key, value in inside for each in paths(value, (*path, key)))]


def at(tree: Any, path: Path) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def put(tree: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    at(tree, path[:-1])[path[-1]] = value
    return tree


def mutant(chance: random.Random, text: str) -> bytes:
    how = chance.randrange(6)
    if how == 0:
        return text.encode()[: chance.randrange(len(text))]
    if how == 1:
        noise = bytearray(text.encode())
        for _ in range(chance.randrange(1, 20)):
            noise[chance.randrange(len(noise))] = chance.randrange(256)
        return bytes(noise)
    tree = json.loads(text)
    every = paths(tree)
    path = chance.choice(every)
    if how == 2:
        tree = put(tree, path, chance.choice(WRONG))
    elif how == 3:
        lists = [each for each in every if isinstance(at(tree, each), list) and at(tree, each)]
        swollen = at(tree, chance.choice(lists))
        swollen.extend(json.loads(json.dumps(swollen)) * chance.choice([10, 300]))
    elif how == 4:
        derivations = [{"name": f"d{each}", "expression": chance.choice(HOSTILE_SQL)} for each in range(chance.choice([1, 20]))]
        tree.get("groupBy", tree)["derivations"] = [*derivations, {"name": "*", "expression": "*"}]
    else:
        texts = [each for each in every if isinstance(at(tree, each), str)]
        tree = put(tree, chance.choice(texts), chance.choice(TEXTS))
    return json.dumps(tree).encode()


@pytest.mark.parametrize("seed", [1, 2])
async def test_each_is_told_in_its_row_and_soon_and_others_are_served(seed: int) -> None:
    chance = random.Random(seed)
    pantry = await Pantry.open()
    good = await pantry.upload(GroupBy())
    await pantry.batch(good, {"user": "u"}, 1.5, "t")
    await pantry.upload_join("team/good.v1", good)
    known = confs()
    for kind, text in known:
        if kind == "group by":
            name = json.loads(text)["groupBy"]["metaData"]["name"]
            await pantry.put(naming.batch_dataset(name), naming.SERVING_INFO_KEY, text.encode())
            await pantry.group_by(name, {"user": "u"})
    keys = {"user": "user_1", "item": 1001, "buyer": "a", "seller": "b", "listing": 3, "user_id": "x"}
    gc.collect()
    gc.disable()
    try:
        for number in range(MUTANTS // 2):
            kind, text = chance.choice(known)
            conf = mutant(chance, text)
            began = time.process_time()
            if kind == "join":
                await pantry.put(naming.METADATA_DATASET, f"joins/m/{number}".encode(), conf)
                row = await pantry.join(f"m/{number}", keys)
            else:
                await pantry.put(f"M{number}_BATCH", naming.SERVING_INFO_KEY, conf)
                row = await pantry.group_by(f"m{number}", keys)
            seconds = time.process_time() - began
            assert not isinstance(row.error, Internal), conf[:500]
            assert seconds < (REFUSED_SECONDS if row.status is RowStatus.ERROR else SERVED_SECONDS), (seconds, row.error, conf[:500])
            (served,) = await pantry.joins(FeatureRequest("team/good.v1", {"user": "u"}, NOW))
            assert served.features == {"team_gb_v1_price": 1.5, "team_gb_v1_title": "t"}
    finally:
        gc.enable()
