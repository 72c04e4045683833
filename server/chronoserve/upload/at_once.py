"""The stored values of many keys at once: batch IRs made column by column, and their Avro bytes as well where every column is an array."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from chronoserve.aggregate import parts
from chronoserve.aggregate.batch_columns import BatchIrs, KeyedRows, Stored, all_kernels, batch_irs
from chronoserve.aggregate.batch_ir import BatchPlan
from chronoserve.codec import columnar
from chronoserve.codec.compiled import encoder
from chronoserve.model.types import StructType
from chronoserve.upload import arrow

Encoded = tuple[bytes, Callable[[], Sequence[Any]]]
"""A record's bytes, and what gives its values to those who ask for them."""


class AtOnce:
    """Batch IRs of a plan's keys as ``BatchPlan.builder`` gives them. ``end``: of the batch, in epoch milliseconds."""

    def __init__(self, plan: BatchPlan, end: int) -> None:
        self._plan = plan
        self._end = end
        self._encoder = encoder(plan.type)
        self._arrays = all_kernels(plan) and columnar.can_encode(plan.type)

    def encoded(self, rows: KeyedRows) -> list[Encoded]:
        """The values of the keys in their order. Raises what encoders do."""
        irs = batch_irs(self._plan, self._end, rows)
        if self._arrays:
            return encoded_rows(self._plan.type, self._records(irs, rows.keys))
        return [(self._encoder.encode(value), partial(_itself, value)) for value in self._values(irs)]

    def _records(self, irs: BatchIrs, keys: int) -> pa.StructArray:
        collapsed = pa.StructArray.from_arrays(irs.collapsed, self._plan.windowed.ir_type.names)
        hops = pa.StructArray.from_arrays([*irs.hops, pa.array(irs.hop_starts)], [*self._plan.base.ir_type.names, "ts"])
        of_size = pa.ListArray.from_arrays(pa.array(irs.hop_bounds.astype(np.int32)), hops)
        of_key = pa.ListArray.from_arrays(pa.array(np.arange(keys + 1, dtype=np.int32) * len(parts.HOP_SIZES)), of_size)
        return pa.StructArray.from_arrays([collapsed, of_key], self._plan.type.names)

    def _values(self, irs: BatchIrs) -> list[tuple[Any, ...]]:
        collapsed = zip(*_lists(irs.collapsed, self._plan.windowed.ir_type), strict=True)
        hops = list(zip(*_lists(irs.hops, self._plan.base.ir_type), irs.hop_starts.tolist(), strict=True))
        bounds, sizes = irs.hop_bounds.tolist(), len(parts.HOP_SIZES)
        of_size = [hops[start:end] for start, end in pairwise(bounds)]
        of_key = [of_size[at : at + sizes] for at in range(0, len(of_size), sizes)]
        return list(zip(collapsed if irs.collapsed else [()] * len(of_key), of_key, strict=True))


def encoded_rows(record: StructType, rows: pa.StructArray) -> list[Encoded]:
    """Records of a type that ``columnar`` takes."""
    return [(data, partial(_row, record, rows, at)) for at, data in enumerate(columnar.encoded(record, rows).to_pylist())]


def _lists(columns: Sequence[Stored], record: StructType) -> list[list[Any]]:
    return [
        column if isinstance(column, list) else arrow.values(column, field.type)
        for column, field in zip(columns, record.fields, strict=True)
    ]


def _itself(value: Sequence[Any]) -> Sequence[Any]:
    return value


def _row(record: StructType, rows: pa.StructArray, at: int) -> Sequence[Any]:
    (value,) = arrow.values(rows.take(pa.array([at])), record)
    return value  # type: ignore[no-any-return]
