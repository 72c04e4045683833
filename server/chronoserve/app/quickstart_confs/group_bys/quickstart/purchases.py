"""What a user bought: how often, for how much, and the last five prices."""

from ai.chronon.api.ttypes import EventSource, Source
from ai.chronon.group_by import Aggregation, GroupBy, Operation, TimeUnit, Window
from ai.chronon.query import Query, select

WINDOWS = [Window(length=days, timeUnit=TimeUnit.DAYS) for days in (3, 14, 30)]

v1 = GroupBy(
    sources=[
        Source(
            events=EventSource(
                table="shop.purchases",
                query=Query(
                    selects=select("user_id", price="purchase_price / 100.0D"),
                    wheres=["purchase_price > 0"],
                    time_column="ts",
                ),
            )
        )
    ],
    keys=["user_id"],
    aggregations=[
        *(
            Aggregation(input_column="price", operation=operation, windows=WINDOWS)
            for operation in (Operation.SUM, Operation.COUNT, Operation.AVERAGE)
        ),
        Aggregation(input_column="price", operation=Operation.LAST_K(5)),
    ],
    online=True,
)
