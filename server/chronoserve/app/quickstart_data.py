"""The tables of the quickstart: a small shop with users, purchases, returns and checkouts, made by a seeded generator.

The same rows every time, some forty thousand, in Hive layout: ``<root>/shop.db/<table>/ds=…/part-0.parquet``.
"""

import datetime as dt
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

LAST_DAY = dt.date(2024, 3, 31)
"""The day that uploads are made for."""
DAYS = 35
USERS = 1_000
PURCHASES_A_DAY = 900
RETURNS_A_DAY = 200
CHECKOUTS_A_DAY = 150
PRODUCTS = 400
SNAPSHOTS = 3
"""Days that the table of users has."""
SEED = 20_240_331
HOUR_MILLIS = 3_600_000
DAY_MILLIS = 24 * HOUR_MILLIS
NAMESPACE = "shop"

SCHEMAS = {
    "users": pa.schema([("user_id", pa.string()), ("account_created_ds", pa.string()), ("email_verified", pa.bool_())]),
    "purchases": pa.schema(
        [
            ("ts", pa.int64()),
            ("purchase_id", pa.string()),
            ("user_id", pa.string()),
            ("product_id", pa.string()),
            ("purchase_price", pa.int64()),
        ]
    ),
    "returns": pa.schema(
        [("ts", pa.int64()), ("return_id", pa.string()), ("user_id", pa.string()), ("product_id", pa.string()), ("refund_amt", pa.int64())]
    ),
    "checkouts": pa.schema([("ts", pa.int64()), ("checkout_id", pa.string()), ("user_id", pa.string()), ("product_id", pa.string())]),
}
"""Columns by table; money is in cents. Partitions are by ``ds``."""

Rows = list[tuple[Any, ...]]


def write_tables(root: Path) -> dict[str, int]:
    """Write every table; the number of rows of each."""
    counts = dict.fromkeys(SCHEMAS, 0)
    for table, day, rows in _partitions(random.Random(SEED)):  # noqa: S311 - sample data
        folder = root / f"{NAMESPACE}.db" / table / f"ds={day}"
        folder.mkdir(parents=True, exist_ok=True)
        columns = zip(*rows, strict=True)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMAS[table], strict=True)]
        pq.write_table(pa.Table.from_arrays(arrays, schema=SCHEMAS[table]), folder / "part-0.parquet")
        counts[table] += len(rows)
    return counts


def shown_checkout() -> tuple[str, int]:
    """The user and the time, in epoch milliseconds, for which the quickstart shows features: a checkout of the next morning."""
    return "42", _start(LAST_DAY + dt.timedelta(1)) + 9 * HOUR_MILLIS + HOUR_MILLIS // 2


def _partitions(chance: random.Random) -> Iterator[tuple[str, dt.date, Rows]]:
    users = _users(chance)
    events: dict[str, tuple[int, Callable[..., Rows]]] = {
        "purchases": (PURCHASES_A_DAY, _purchases),
        "returns": (RETURNS_A_DAY, _returns),
        "checkouts": (CHECKOUTS_A_DAY, _checkouts),
    }
    for back in range(DAYS - 1, -1, -1):
        day = LAST_DAY - dt.timedelta(back)
        for table, (count, make) in events.items():
            yield table, day, make(chance, day, count)
        if back < SNAPSHOTS:
            yield "users", day, [row for row in users if row[1] <= str(day)]


def _users(chance: random.Random) -> Rows:
    oldest = LAST_DAY.toordinal() - 2_000
    return [(str(number), str(dt.date.fromordinal(oldest + chance.randrange(2_000))), chance.random() < 0.8) for number in range(USERS)]


def _buyer(chance: random.Random) -> str:
    """Few users buy much."""
    return str(int(USERS * chance.random() ** 2))


def _time(chance: random.Random, day: dt.date) -> int:
    return _start(day) + chance.randrange(DAY_MILLIS)


def _start(day: dt.date) -> int:
    return (day.toordinal() - dt.date(1970, 1, 1).toordinal()) * DAY_MILLIS


def _price(chance: random.Random) -> int:
    return round(100 * chance.lognormvariate(3.2, 0.9)) + 99


def _purchases(chance: random.Random, day: dt.date, count: int) -> Rows:
    return [
        (_time(chance, day), f"p-{day:%m%d}-{number}", _buyer(chance), str(chance.randrange(PRODUCTS)), _price(chance))
        for number in range(count)
    ]


def _returns(chance: random.Random, day: dt.date, count: int) -> Rows:
    return [
        (_time(chance, day), f"r-{day:%m%d}-{number}", _buyer(chance), str(chance.randrange(PRODUCTS)), _price(chance))
        for number in range(count)
    ]


def _checkouts(chance: random.Random, day: dt.date, count: int) -> Rows:
    return [(_time(chance, day), f"c-{day:%m%d}-{number}", _buyer(chance), str(chance.randrange(PRODUCTS))) for number in range(count)]
