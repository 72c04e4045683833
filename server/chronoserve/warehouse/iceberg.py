"""Iceberg tables through pyiceberg: the current snapshot as the catalog, or the table's own folder, names it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from chronoserve.model.errors import FailedPrecondition
from chronoserve.warehouse.port import BATCH_ROWS, Condition, line_of, missing_column, naming, needs, split_name


@dataclass(frozen=True, slots=True)
class IcebergTable:
    """One snapshot of a table."""

    name: str
    _table: Any

    @classmethod
    def of_folder(cls, name: str, location: str) -> "IcebergTable":
        """A table without a catalog (a Hadoop table). Raises FailedPrecondition where the folder holds no readable one."""
        try:
            from pyiceberg.table import StaticTable  # noqa: PLC0415 - large, and only Iceberg tables need it
        except ModuleNotFoundError as missing:
            raise needs("pyiceberg") from missing
        try:
            return cls(name, StaticTable.from_metadata(location))
        except Exception as wrong:  # damaged metadata raises whatever the damage leads to
            hint = "a commit may be half written: look at metadata/version-hint.text"
            raise FailedPrecondition(f"{name} is no readable Iceberg table ({line_of(wrong)}); {hint}") from wrong

    @property
    def format(self) -> str:
        return "iceberg"

    def schema(self, conditions: Sequence[Condition] = ()) -> pa.Schema:
        found: pa.Schema = self._table.schema().as_arrow()
        return pa.schema([pa.field(field.name, _plain(field.type), field.nullable) for field in found])

    def partition_columns(self) -> tuple[str, ...]:
        schema = self._table.schema()
        return tuple(str(schema.find_column_name(field.source_id)) for field in self._table.spec().fields)

    def partitions(self, column: str) -> list[str]:
        with naming(self.name, "listing its partitions"):
            if self._table.current_snapshot() is None:
                return []
            found = self._table.inspect.partitions().column("partition").to_pylist() if self._table.spec().fields else []
        return sorted({str(each[column]) for each in found if each.get(column) is not None})

    def fingerprint(self, conditions: Sequence[Condition] = ()) -> str:
        snapshot = self._table.current_snapshot()
        return f"{self._table.metadata.table_uuid}@{snapshot.snapshot_id if snapshot else 0}"

    def read(self, columns: Sequence[str] | None = None, conditions: Sequence[Condition] = ()) -> Iterator[pa.RecordBatch]:
        known = self.schema().names
        for column in [*(columns or ()), *(each.column for each in conditions)]:
            if column not in known:
                raise missing_column(self.name, column, known)
        with naming(self.name, "reading the current snapshot"):
            wanted = tuple(columns) if columns is not None else ("*",)
            reader = self._table.scan(row_filter=_filter(conditions), selected_fields=wanted).to_arrow_batch_reader()
            target = pa.schema([pa.field(field.name, _plain(field.type), field.nullable) for field in reader.schema])
            order = list(columns) if columns is not None else target.names
            for batch in reader:
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    yield batch.slice(start, BATCH_ROWS).cast(target).select(order)


def _plain(found: pa.DataType) -> pa.DataType:
    """Pyiceberg reads texts and bytes as Arrow's large types; ours are the plain ones, as Parquet gives them."""
    if pa.types.is_large_string(found):
        return pa.string()
    if pa.types.is_large_binary(found):
        return pa.binary()
    if pa.types.is_large_list(found) or pa.types.is_list(found):
        return pa.list_(pa.field(found.value_field.name, _plain(found.value_type), found.value_field.nullable))
    if pa.types.is_map(found):
        return pa.map_(_plain(found.key_type), _plain(found.item_type))
    if pa.types.is_struct(found):
        return pa.struct([pa.field(each.name, _plain(each.type), each.nullable) for each in found])
    return found


def _filter(conditions: Sequence[Condition]) -> Any:
    from pyiceberg import expressions as on  # noqa: PLC0415 - as above

    found: Any = on.AlwaysTrue()
    kinds: Mapping[str, Any] = {"==": on.EqualTo, ">=": on.GreaterThanOrEqual, "<=": on.LessThanOrEqual}
    for each in conditions:
        found = on.And(found, kinds[each.operator](each.column, each.value))
    return found


@dataclass(frozen=True, slots=True)
class IcebergWarehouse:
    """A catalog of any kind that pyiceberg knows."""

    catalog: Any

    @classmethod
    def open(cls, name: str, properties: Mapping[str, str]) -> "IcebergWarehouse":
        """``name`` must be the catalog's name on Spark's side: a SQL catalog keeps tables under it.

        Raises:
            FailedPrecondition: the catalog cannot be opened.
        """
        try:
            from pyiceberg.catalog import load_catalog  # noqa: PLC0415 - as above
        except ModuleNotFoundError as missing:
            raise needs("pyiceberg") from missing
        try:
            return cls(load_catalog(name, **dict(properties)))
        except Exception as failed:  # each kind of catalog raises what its client raises
            raise FailedPrecondition(
                f"the Iceberg catalog {name} cannot be opened ({type(failed).__name__}): is its uri right?"
            ) from failed

    def has(self, name: str) -> bool:
        """Whether the catalog has the table. Raises FailedPrecondition where it cannot be asked."""
        clean, _ = split_name(name)
        try:
            return bool(self.catalog.table_exists(clean))
        except Exception as failed:  # as above
            raise FailedPrecondition(f"the Iceberg catalog cannot be asked for {clean}: {type(failed).__name__}") from failed

    def table(self, name: str) -> IcebergTable:
        from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError  # noqa: PLC0415 - as above

        clean, _ = split_name(name)
        try:
            return IcebergTable(clean, self.catalog.load_table(clean))
        except (NoSuchTableError, NoSuchNamespaceError) as missing:
            raise FailedPrecondition(f"the Iceberg catalog has no table {clean}; has its job run?") from missing
        except Exception as failed:  # as above
            raise FailedPrecondition(f"{clean} cannot be read from the Iceberg catalog: {type(failed).__name__}") from failed
