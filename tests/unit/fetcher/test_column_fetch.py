"""Single columns (spec/online-fetch.md §7.6)."""

from chronoserve.fetcher.column_fetch import ColumnSpec, fetch_columns
from chronoserve.model import types
from chronoserve.model.errors import UnknownConf
from chronoserve.model.features import RowStatus
from tests.unit.fetcher.pantry import GroupBy, Pantry, columns, sums


async def test_each_column_is_a_group_by_of_its_own() -> None:
    pantry = await Pantry.open()
    price = await pantry.upload(GroupBy("team.gb.price", selected=columns(price=types.DOUBLE)))
    total = await pantry.upload(sums("team.gb.total"))
    await pantry.batch(price, {"user": "u"}, 1.5)
    await pantry.stream(total, {"user": "u"}, 3.0)
    specs = [
        ColumnSpec("team.gb", "price", {"user": "u"}),
        ColumnSpec("team.gb", "total", {"user": "u"}, prefix="p"),
        ColumnSpec("team.gb", "price", {"user": "x"}, prefix="q"),
        ColumnSpec("team.gb", "gone", {"user": "u"}),
    ]
    rows = await fetch_columns(pantry.fetcher, specs, deadline=pantry.deadline)
    assert [row.features for row in rows] == [{"price": 1.5}, {"p_price_sum": 3.0}, {}, None]
    assert [row.status for row in rows] == [RowStatus.OK, RowStatus.OK, RowStatus.MISSING, RowStatus.ERROR]
    assert dict(rows[1].types) == {"p_price_sum": types.DOUBLE}
    assert isinstance(rows[3].error, UnknownConf)
    assert await fetch_columns(pantry.fetcher, [], deadline=pantry.deadline) == []
