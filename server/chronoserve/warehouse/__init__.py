"""Tables of a warehouse that is partitioned by date: Hive layout, Hive metastore, Iceberg, Delta. Blocking; run it in a thread."""

from chronoserve.warehouse.places import open_warehouse
from chronoserve.warehouse.port import Condition, Table, Warehouse

__all__ = ["Condition", "Table", "Warehouse", "open_warehouse"]
