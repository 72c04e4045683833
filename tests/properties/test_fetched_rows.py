"""Rows in one call do not touch each other: whatever their order, duplicates, nulls and mistakes, each is what it is alone."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chronoserve.fetcher.ports import BATCH_IR_CACHE
from chronoserve.model import boxed, types
from chronoserve.model.features import FeatureRequest, FeatureRow
from chronoserve.model.types import Field, StructType
from tests.unit.fetcher.pantry import BATCH_END, NOW, GroupBy, Pantry, SetFlags, columns, external_part, sums

USERS = ["u0", "u1", "u2", "nobody"]
ITEMS: list[object] = [0, 1, 2, 99, boxed.Int(1), "2", "no number", 1.0, True]
PAIR = StructType("Key", (Field("user", types.STRING), Field("item", types.LONG)))

KEYS = st.fixed_dictionaries(
    {},
    optional={
        "user": st.sampled_from([*USERS, None, 5]),
        "item": st.sampled_from([*ITEMS, None]),
        "buyer": st.sampled_from([*USERS, None]),
        "note": st.sampled_from(["a", None, 3]),
        "extra": st.sampled_from([None, 1]),
    },
)
TIMES = st.sampled_from([None, BATCH_END - 1, BATCH_END, BATCH_END + 3, NOW])
JOINS = st.builds(FeatureRequest, st.sampled_from(["team/plain.v1", "team/derived.v1", "team/broken.v1", "team/none.v1"]), KEYS, TIMES)
GROUP_BYS = st.builds(FeatureRequest, st.sampled_from(["team.sums.v1", "team/pairs.v1", "team.items.v1", "team.none.v1"]), KEYS, TIMES)


async def stocked() -> Pantry:
    pantry = await Pantry.open()
    sold, pairs = await pantry.upload(sums()), await pantry.upload(GroupBy("team.pairs.v1", keys=PAIR))
    item_key = StructType("Key", (Field("item", types.LONG),))
    described = GroupBy("team.items.v1", keys=item_key, selected=columns(n=types.LONG), derivations={"m": "n + 1", "*": "*"})
    items = await pantry.upload(described)
    for at, user in enumerate(USERS[:3]):
        await pantry.batch(sold, {"user": user}, float(at))
        await pantry.stream(sold, {"user": user}, 0.5, millis=BATCH_END + at)
        await pantry.batch(items, {"item": at}, at)
        for item in range(2):
            await pantry.batch(pairs, {"user": user, "item": item}, at + item / 10, f"{user}/{item}")
    buyer = {"groupBy": sold.conf(), "keyMapping": {"buyer": "user"}, "prefix": "buyer"}
    context = external_part("contextual", {"note": 7}, {"note": 7})
    source = external_part("shout", {"note": 7}, {"loud": 7})

    async def shout(rows: Any) -> list[dict[str, object]]:
        return [{"loud": f"{row['note']}!"} for row in rows]

    pantry.registry.add("shout", shout)
    parts = (sold, pairs, items, buyer)
    more = {"onlineExternalParts": [context, source]}
    await pantry.upload_join("team/plain.v1", *parts, **more)
    derivations = {"x": "team_sums_v1_price_sum + team_items_v1_m", "y": "note", "*": "*"}
    await pantry.upload_join("team/derived.v1", *parts, **more, derivations=derivations)
    await pantry.upload_join("team/broken.v1", *parts, sums("team.never.v1"), derivations={"z": "1 div team_items_v1_n", "*": "*"})
    return pantry


def told(row: FeatureRow) -> Any:
    """A row as it can be compared: errors by class and text, values with their Python types."""
    features = None if row.features is None else {name: (type(value), value) for name, value in row.features.items()}
    failures = {stem: (type(error), error.message) for stem, error in row.part_errors.items()}
    return row.status, features, dict(row.keys), type(row.error), str(row.error), failures, row.freshness


@settings(max_examples=60, deadline=None)
@given(st.lists(JOINS, max_size=25), st.lists(GROUP_BYS, max_size=25), st.randoms(use_true_random=False), st.booleans())
def test_a_row_is_the_same_alone_and_in_any_company(
    joins: list[FeatureRequest], group_bys: list[FeatureRequest], chance: Any, cached: bool
) -> None:
    async def main() -> None:
        pantry = await stocked()
        if cached:
            pantry.build(flags=SetFlags(BATCH_IR_CACHE))
        for fetch, requests in ((pantry.joins, joins), (pantry.group_bys, group_bys)):
            alone = [told((await fetch(request))[0]) for request in requests]
            order = list(range(len(requests)))
            chance.shuffle(order)
            together = await fetch(*(requests[at] for at in order))
            assert [told(row) for row in together] == [alone[at] for at in order]

    asyncio.run(main())
