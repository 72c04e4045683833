"""Tables of a warehouse that is partitioned by date: Hive layout, Hive metastore, Iceberg, Delta. Blocking; run it in a thread.

``port`` is what readers of tables need and imports nothing large; ``places.open_warehouse`` opens one and needs pyarrow.
"""
