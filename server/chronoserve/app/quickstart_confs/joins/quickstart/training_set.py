"""For each checkout, what was known about its user at that time."""

from ai.chronon.api.ttypes import EventSource, Source
from ai.chronon.group_by import Derivation
from ai.chronon.join import Join, JoinPart
from ai.chronon.query import Query, select
from group_bys.quickstart import purchases, returns, users

v1 = Join(
    left=Source(events=EventSource(table="shop.checkouts", query=Query(selects=select("user_id"), time_column="ts"))),
    right_parts=[JoinPart(group_by=group_by) for group_by in (purchases.v1, returns.v1, users.v1)],
    derivations=[
        Derivation(
            name="refunded_30d",
            expression="coalesce(quickstart_returns_v1_refund_sum_30d, 0.0D) / quickstart_purchases_v1_price_sum_30d",
        ),
        Derivation(name="*", expression="*"),
    ],
    sample_percent=100.0,
    online=True,
)
