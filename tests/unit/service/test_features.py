"""Fetching on behalf of a caller: every request has its row in its place, whoever may not fetch it and whatever is wrong with it."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronoserve.codec.compiled import decoder
from chronoserve.model import naming
from chronoserve.model.errors import DeadlinePassed, InvalidRequest, KVError, PermissionDenied, UnknownConf
from chronoserve.model.features import FeatureRequest, FeatureRow, RowStatus
from chronoserve.model.types import LONG, Field, StructType
from chronoserve.service.access import Caller, Policy, Rule, Verb
from chronoserve.service.features import ROWS_AT_ONCE, Asked, FeatureLimits, Features, Target
from tests.unit.fetcher.pantry import NOW, GroupBy, Pantry, sums
from tests.unit.service.fetching import TYPES, VALUE_TYPE, FakeFetcher, features

OPEN = Caller("me", Policy([Rule(("me",), frozenset({Verb.FETCH}), (), ("open/*", "open.*", "open_*"))]))


def soon() -> float:
    return asyncio.get_running_loop().time() + 10


def request(name: str, number: int, keys: Any = None) -> FeatureRequest:
    return FeatureRequest(name, {} if keys is None else keys, number)


def shown(rows: list[FeatureRow]) -> list[object]:
    """The number of the request that a row answers, or why it does not."""
    return [type(row.error) if row.error else (row.features or {}).get("count") for row in rows]


NAMES = st.sampled_from(["open/a", "closed/a", "", "open/b"])


@given(st.lists(NAMES | st.none(), max_size=40), st.booleans())
def test_rows_answer_their_requests(names: list[str | None], with_caller: bool) -> None:
    """None: a request that could not even be read."""

    async def main() -> None:
        asked: list[Asked] = [
            InvalidRequest("unreadable") if name is None else request(name, number) for number, name in enumerate(names, 1)
        ]
        rows = await features(FakeFetcher()).fetch(Target.JOINS, asked, deadline=soon(), caller=OPEN if with_caller else None)
        wanted: list[object] = [
            InvalidRequest if not name else PermissionDenied if with_caller and name.startswith("closed") else number
            for number, name in enumerate(names, 1)
        ]
        assert shown(rows) == wanted

    asyncio.run(main())


async def test_what_nobody_may_fetch_is_not_asked_of_the_fetcher() -> None:
    fetcher = FakeFetcher()
    rows = await features(fetcher).fetch(Target.JOINS, [request("closed/a", 1)], deadline=soon(), caller=OPEN)
    assert rows[0].status is RowStatus.ERROR
    assert fetcher.calls == []
    assert await features(fetcher).fetch(Target.GROUP_BYS, [], deadline=soon()) == []
    assert fetcher.calls == []


async def test_a_group_by_is_not_reached_under_a_name_that_only_sanitises_alike() -> None:
    fetcher = FakeFetcher()
    fetcher.own_names = {"OPEN_A_BATCH": "open.a", "OPEN_B_BATCH": "open_b", "OPEN_SECRET_BATCH": "open-secret"}
    asked = [request("open.a", 1), request("open_a", 2), request("open.b", 3), request("open_secret", 4), request("open.none", 5)]
    rows = await features(fetcher).fetch(Target.GROUP_BYS, asked, deadline=soon(), caller=OPEN)
    assert shown(rows) == [1, 2, 3, PermissionDenied, 5]


WORDS = st.sampled_from(["a.x", "a.y", "b.x", "a/j", "b/j", "a-x"])
RULES = st.lists(
    st.builds(
        Rule,
        st.just(("me",)) | st.just(("you",)),
        st.sets(st.sampled_from(Verb)).map(frozenset),
        st.just(("*",)),
        st.lists(WORDS | st.sampled_from(["a*", "*", "?.x"]), max_size=2).map(tuple),
    ),
    max_size=4,
)
PARTS = st.dictionaries(st.sampled_from(["a/j", "b/j"]), st.lists(st.sampled_from(["a.x", "a.y", "b.x", "a_x"]), max_size=3))


@settings(max_examples=500)
@given(RULES, PARTS, st.lists(st.sampled_from(["a/j", "b/j"]), max_size=6), st.lists(WORDS, max_size=6), st.booleans())
def test_a_join_needs_each_of_its_parts(
    rules: list[Rule], parts: dict[str, list[str]], joins: list[str], groups: list[str], renamed: bool
) -> None:
    """Against the plainest model of it (spec/reliability.md R24). ``renamed``: what is stored under A_X_BATCH calls itself a-x."""

    async def main() -> None:
        fetcher = FakeFetcher()
        fetcher.parts = parts
        fetcher.own_names = {"A_X_BATCH": "a-x"} if renamed else {}
        caller = Caller("me", Policy(rules))

        def may(name: str) -> bool:
            return caller.policy.allows("me", Verb.FETCH, name)

        def may_group_by(name: str) -> bool:
            return may("a-x" if renamed and naming.sanitize(name) == "a_x" else name)

        some = features(fetcher)
        found = shown(
            await some.fetch(Target.JOINS, [request(name, at) for at, name in enumerate(joins, 1)], deadline=soon(), caller=caller)
        )
        assert found == [
            at if may(name) and all(map(may_group_by, parts.get(name, []))) else PermissionDenied for at, name in enumerate(joins, 1)
        ]
        asked = [request(name, at) for at, name in enumerate(groups, 1)]
        found = shown(await some.fetch(Target.GROUP_BYS, asked, deadline=soon(), caller=caller))
        assert found == [at if may(name) and may_group_by(name) else PermissionDenied for at, name in enumerate(groups, 1)]
        for name in joins:
            try:
                await some.join_schema(name, deadline=soon(), caller=caller)
            except PermissionDenied:
                assert not (may(name) and all(map(may_group_by, parts.get(name, []))))
            else:
                assert may(name)

    asyncio.run(main())


async def test_a_call_has_a_bounded_number_of_rows_and_a_row_of_keys() -> None:
    few = features(FakeFetcher(), rows_per_call_max=2, keys_per_row_max=1)
    with pytest.raises(InvalidRequest, match="at most 2 rows, got 3"):
        await few.fetch(Target.JOINS, [request("a", 1)] * 3, deadline=soon())
    rows = await few.fetch(Target.JOINS, [request("a", 1, {"x": 1, "y": 2}), request("a", 2, {"x": 1})], deadline=soon())
    assert shown(rows) == [InvalidRequest, 2]


async def test_large_calls_are_fetched_in_parts_and_others_get_their_turn() -> None:
    fetcher = FakeFetcher()
    size = 2 * ROWS_AT_ONCE + 1
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(others())
    rows = await features(fetcher).fetch(Target.GROUP_BYS, [request("a", n) for n in range(1, size + 1)], deadline=soon())
    ticking.cancel()
    assert shown(rows) == list(range(1, size + 1))
    assert fetcher.calls == [("group by", ROWS_AT_ONCE), ("group by", ROWS_AT_ONCE), ("group by", 1)]
    assert turns >= 2


async def test_a_large_call_ends_with_its_time() -> None:
    with pytest.raises(DeadlinePassed, match=f"0 of {2 * ROWS_AT_ONCE} rows"):
        await features(FakeFetcher()).fetch(Target.JOINS, [request("a", 1)] * 2 * ROWS_AT_ONCE, deadline=0.0)


async def test_schemas_and_names_need_the_same_permission() -> None:
    fetcher = FakeFetcher()
    fetcher.join_names = ["open/a", "closed/a", "closed/b", "closed/c", "open/b"]
    fetcher.group_by_names = ["closed.a", "open.a"]
    some = features(fetcher)
    assert (await some.join_schema("open/a", deadline=soon(), caller=OPEN)).name == "open/a"
    assert (await some.group_by_schema("open.a", deadline=soon(), caller=OPEN)).name == "open.a"
    with pytest.raises(PermissionDenied, match="closed/a"):
        await some.join_schema("closed/a", deadline=soon(), caller=OPEN)
    with pytest.raises(PermissionDenied):
        await some.group_by_schema("closed.a", deadline=soon(), caller=OPEN)
    assert await some.all_names(Target.JOINS, deadline=soon(), caller=OPEN) == ["open/a", "open/b"]
    assert await some.all_names(Target.JOINS, deadline=soon()) == fetcher.join_names
    assert await some.all_names(Target.GROUP_BYS, deadline=soon(), caller=OPEN) == ["open.a"]
    page = await some.names(Target.JOINS, page_size=2, token=b"", deadline=soon())
    assert (page.names, page.next_token) == (("open/a", "closed/a"), b"2")
    with pytest.raises(InvalidRequest):
        await some.names(Target.JOINS, page_size=-1, token=b"", deadline=soon())


async def test_a_name_that_is_no_text_to_show_is_not_shown() -> None:
    for name in ("x" * 1000, "line\nbreak"):
        (row,) = await features(FakeFetcher()).fetch(Target.JOINS, [request(name, 1)], deadline=soon(), caller=OPEN)
        assert name not in str(row.error)


async def test_rows_as_avro_have_their_schema_s_fields_and_hash() -> None:
    some = features(FakeFetcher())
    decode = decoder(VALUE_TYPE).decode
    for target, hash_known in ((Target.JOINS, "hash"), (Target.GROUP_BYS, None)):
        row = FeatureRow(RowStatus.OK, {"average": 0.5, "more": 1}, TYPES, {})
        odd = FeatureRow(RowStatus.OK, {"count": "text"}, TYPES, {})
        names = ["team/a", "team/a", "team/none", "team/b"]
        first, misfit, unknown, last = await some.avro(target, names, [row, odd, row, row], deadline=soon())
        for written in (first, last):
            assert not isinstance(written, KVError)
            data, schema_hash = written
            assert decode(data) == (None, 0.5)
            assert schema_hash == hash_known or (hash_known is None and schema_hash)
        assert isinstance(misfit, InvalidRequest)
        assert "count" in misfit.message
        assert isinstance(unknown, UnknownConf) is (target is Target.JOINS)


@pytest.mark.parametrize(
    "derivations", [None, {"twice": "team_sums_v1_price_sum * 2"}, {"*": "*", "name": "team_items_v1_title"}], ids=repr
)
async def test_avro_has_the_bytes_and_the_hash_that_the_response_log_has(derivations: dict[str, str] | None) -> None:
    """Whatever derivations leave of the features: the log also holds those from before them."""
    pantry = await Pantry.open()
    sold = await pantry.upload(sums())
    listed = await pantry.upload(GroupBy("team.items.v1", keys=StructType("Key", (Field("item", LONG),))))
    await pantry.batch(sold, {"user": "u"}, 10.0)
    await pantry.batch(listed, {"item": 7}, 9.5, "lamp")
    await pantry.upload_join("team/j.v1", sold, listed, derivations=derivations, sample_percent=100)
    some = Features(pantry.fetcher, FeatureLimits())
    asked = [FeatureRequest("team/j.v1", {"user": "u", "item": 7}, NOW), FeatureRequest("team/j.v1", {"user": "u", "item": 8}, NOW)]
    rows = await some.fetch(Target.JOINS, asked, deadline=soon(), with_base=True)
    written = await some.avro(Target.JOINS, ["team/j.v1"] * 2, rows, deadline=soon())
    logged = [(each.value_bytes, each.schema_hash) for each in pantry.log.rows if not each.control]
    assert written == logged
    assert (await some.join_schema("team/j.v1", deadline=soon())).schema_hash == logged[0][1]
