"""Who a user is: columns of a daily snapshot, as they are."""

from ai.chronon.api.ttypes import EntitySource, Source
from ai.chronon.group_by import GroupBy
from ai.chronon.query import Query, select

v1 = GroupBy(
    sources=[
        Source(
            entities=EntitySource(
                snapshotTable="shop.users",
                query=Query(selects=select("user_id", "account_created_ds", "email_verified")),
            )
        )
    ],
    keys=["user_id"],
    aggregations=None,
    online=True,
)
