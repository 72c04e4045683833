"""The serving info of an upload: the definition and the schemas that its bytes have (spec/aggregation-and-codecs.md §11)."""

import json
from typing import Any, Final

import pyarrow as pa

from chronoserve.codec import conf_json
from chronoserve.codec.avro import schema_text
from chronoserve.model.confs import EntitySource, EventSource, JoinSource, Query, Source, topic_of
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import Field, StructType
from chronoserve.sql.parser import parse
from chronoserve.upload import arrow
from chronoserve.upload.names import columns_named
from chronoserve.upload.plan import TIME, java_order
from chronoserve.upload.schemas import UploadSchemas
from chronoserve.warehouse.port import Warehouse

MAPS: Final = frozenset({"selects", "argMap", "tableProperties"})
"""Members of a group by that are maps."""


def serving_info(upload: UploadSchemas, conf: str, warehouse: Warehouse) -> str:
    """The JSON text as Chronon writes it. ``conf``: the compiled group by.

    Raises:
        InvalidRequest: a column of the stream has no Avro type.
        FailedPrecondition: the table that the stream belongs to is missing.
    """
    plan = upload.plan
    info: dict[str, object] = {
        "groupBy": _in_java_order(json.loads(conf)),
        "selectedAvroSchema": upload.selected_schema,
        "keyAvroSchema": upload.key_schema,
        "batchEndDate": plan.spec.shift(plan.ds, 1),
    }
    streaming = next((source for source in plan.group_by.sources if topic_of(source) is not None), None)
    if streaming is not None:
        info["inputAvroSchema"] = _input_schema(streaming, warehouse)
    return conf_json.normalise("group_by_serving_info", json.dumps(info))


def _in_java_order(tree: Any) -> Any:
    """The conf with its maps as Thrift's own copies of them iterate."""
    if isinstance(tree, list):
        return [_in_java_order(each) for each in tree]
    if not isinstance(tree, dict):
        return tree
    maps = {
        name: {key: value[key] for key in java_order(value)} for name, value in tree.items() if name in MAPS and isinstance(value, dict)
    }
    return {name: maps.get(name) or _in_java_order(value) for name, value in tree.items()}


def _input_schema(source: Source, warehouse: Warehouse) -> str:
    root = _root(source)
    table = root.table if isinstance(root, EventSource) else root.snapshot_table
    columns = arrow.struct_of(_schema(warehouse, table))
    kept = columns.fields if root.query.selects is None else _used(columns, root.query)
    return schema_text(StructType("Input", tuple(kept)), pretty=True)


def _root(source: Source) -> EventSource | EntitySource:
    """The source of events or entities at the beginning: the left of a join source, however deep."""
    while isinstance(source, JoinSource):
        if source.join.left is None:
            raise InvalidRequest(f"join {source.join.meta_data.name} has no left", field="left")
        source = source.join.left
    return source


def _schema(warehouse: Warehouse, table: str) -> pa.Schema:
    return warehouse.table(table).schema()


def _used(columns: StructType, query: Query) -> list[Field]:
    """Columns that selects, time and wheres name by themselves, in the table's order."""
    by_lower = {name.lower(): name for name in columns.names}
    texts = [*(query.selects or {}).values(), query.time_column or TIME, *(query.wheres or ())]
    used = {name for text in texts for name in columns_named(parse(text), by_lower, whole_only=True)}
    return [field for field in columns.fields if field.name in used]
