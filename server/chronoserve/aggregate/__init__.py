"""Chronon's aggregations: from rows to intermediate results (IRs) to features. Pure functions; no bytes of Avro here.

parts      which columns a group by's aggregations make, their names, windows and hops
operations the operation of each column, chosen and refused as Chronon does
columns    direct, bucketed, map, vector and element-wise columns over an operation
rows       a row of such columns
batch_ir   what an upload stores for a key: collapsed IRs and tail hops
batch_columns the same for many keys at once, by ``segments`` of columns: for uploads, with NumPy
serving    what the fetcher merges: batch IR, streamed rows, tiles, at a query time
daily      windows of whole days, for snapshot uploads
"""
