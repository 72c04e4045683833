"""Made-up joins: one of ten group bys with twenty features each, and two hundred of twenty, for what the recorded ones do not show."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chronoserve.aggregate.parts import windowed
from chronoserve.aggregate.rows import RowAggregator
from chronoserve.codec import confs
from chronoserve.codec.avro import schema_text
from chronoserve.codec.compiled import encoder
from chronoserve.model import naming
from chronoserve.model.types import DOUBLE, LONG, STRING, DataType, Field, StructType
from chronoserve_client import Put

BATCH_END_DATE = "2023-08-15"
BATCH_END_MILLIS = 1_692_057_600_000
AT_MILLIS = BATCH_END_MILLIS + 6 * 3_600_000

COLUMNS: dict[str, DataType] = {"amount": DOUBLE, "count": LONG}
OPERATIONS = {"sum": 7, "average": 8, "min": 0, "max": 1, "last": 3}
WINDOWS = (7, 30)
"""Days. Columns, operations and windows make twenty features."""
FEATURES_OF_GROUP_BY = len(COLUMNS) * len(OPERATIONS) * len(WINDOWS)


@dataclass(frozen=True, slots=True)
class GroupByShape:
    """What group bys of this kind store for a key."""

    key_type: StructType
    value_type: StructType


def conf(name: str) -> dict[str, Any]:
    """A group by over events with SNAPSHOT accuracy: its stored values are its features."""
    windows = [{"length": days, "timeUnit": 1} for days in WINDOWS]
    query = {"selects": {"user": "user", **{column: column for column in COLUMNS}}, "timeColumn": "ts", "setups": []}
    return {
        "metaData": {"name": name, "online": 1, "production": 0, "outputNamespace": "ns", "team": "wide"},
        "sources": [{"events": {"table": "ns.events", "query": query, "isCumulative": 0}}],
        "keyColumns": ["user"],
        "aggregations": [
            {"inputColumn": column, "operation": operation, "windows": windows} for column in COLUMNS for operation in OPERATIONS.values()
        ],
        "accuracy": 1,
    }


KEY_TYPE = StructType("Key", (Field("user", STRING),))
SELECTED_TYPE = StructType("Value", tuple(Field(name, kind) for name, kind in COLUMNS.items()))


def shape() -> GroupByShape:
    aggregations = confs.group_by(json.dumps(conf("wide.any"))).aggregations
    assert aggregations is not None
    return GroupByShape(KEY_TYPE, RowAggregator(windowed(aggregations), SELECTED_TYPE).output_type)


def serving_info(name: str) -> Put:
    text = json.dumps({
        "groupBy": conf(name),
        "selectedAvroSchema": schema_text(SELECTED_TYPE),
        "keyAvroSchema": schema_text(KEY_TYPE),
        "batchEndDate": BATCH_END_DATE,
    })  # fmt: skip
    return Put(naming.batch_dataset(name), naming.SERVING_INFO_KEY, text.encode(), BATCH_END_MILLIS, b"serving info")


def join(name: str, group_bys: list[str]) -> Put:
    left = {"events": {"table": "ns.left", "query": {"selects": {"user": "user"}, "timeColumn": "ts", "setups": []}, "isCumulative": 0}}
    meta = {"name": name, "online": 1, "production": 0, "outputNamespace": "ns", "team": "wide", "samplePercent": 0.0}
    text = json.dumps({"metaData": meta, "left": left, "joinParts": [{"groupBy": conf(each)} for each in group_bys]})
    return Put(naming.METADATA_DATASET, naming.join_conf_key(name).encode(), text.encode(), 1, b"conf")


def values(group_bys: list[str], users: int) -> Iterator[Put]:
    """A stored value of each group by for each user."""
    found = shape()
    encode_key, encode_value = encoder(found.key_type).encode, encoder(found.value_type).encode
    draw = random.Random(1)
    for name in group_bys:
        dataset = naming.batch_dataset(name)
        for user in range(users):
            row = [_value(field.type, draw) for field in found.value_type.fields]
            yield Put(dataset, encode_key([f"user_{user}"]), encode_value(row), BATCH_END_MILLIS, b"value")


def _value(data_type: DataType, draw: random.Random) -> object:
    return draw.uniform(0, 1000) if data_type == DOUBLE else draw.randrange(1 << 20)
