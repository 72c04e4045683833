"""What a user sent back. The topic makes it fresh to the second, where something streams into the store."""

from ai.chronon.api.ttypes import EventSource, Source
from ai.chronon.group_by import Aggregation, GroupBy, Operation, TimeUnit, Window
from ai.chronon.query import Query, select

MONTH = Window(length=30, timeUnit=TimeUnit.DAYS)
WINDOWS = [Window(length=6, timeUnit=TimeUnit.HOURS), Window(length=7, timeUnit=TimeUnit.DAYS), MONTH]

v1 = GroupBy(
    sources=[
        Source(
            events=EventSource(
                table="shop.returns",
                topic="events.returns",
                query=Query(selects=select("user_id", refund="refund_amt / 100.0D"), time_column="ts"),
            )
        )
    ],
    keys=["user_id"],
    aggregations=[
        Aggregation(input_column="refund", operation=Operation.SUM, windows=WINDOWS),
        Aggregation(input_column="refund", operation=Operation.COUNT, windows=WINDOWS),
        Aggregation(input_column="refund", operation=Operation.MAX, windows=[MONTH]),
    ],
    online=True,
)
