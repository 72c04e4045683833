"""APPROX_UNIQUE_COUNT: CPC sketches of DataSketches (§5.5).

Their own compressed image is the stored IR. Copies and merges go through a union, as Chronon's do: what comes out of one
estimates by another formula than a sketch that saw its values itself.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, ClassVar

from chronoserve.aggregate import cpc_image
from chronoserve.aggregate.aggregator import Aggregator
from chronoserve.aggregate.sketches import library
from chronoserve.model.confs import Operation
from chronoserve.model.errors import CorruptValue, InvalidRequest
from chronoserve.model.types import BINARY, INTEGRAL, LONG, DataType

_UNSIGNED = 0xFFFFFFFFFFFFFFFF.__and__
"""A negative number would pick another overload of the library, and another hash."""


class ApproxUniqueCount(Aggregator):
    """``lg_k``: the logarithm of the sketch's size. IR: a sketch, or the image of one that nobody has changed yet."""

    ir_type = BINARY
    output_type = LONG
    plain: ClassVar[bool] = False

    def __init__(self, data_type: DataType, lg_k: int) -> None:
        if lg_k not in cpc_image.LG_K:
            raise InvalidRequest(f"k of APPROX_UNIQUE_COUNT is a logarithm between 4 and 26, not {lg_k}", field="argMap")
        sketches = library(Operation.APPROX_UNIQUE_COUNT)
        self._sketch, self._union = sketches.cpc_sketch, sketches.cpc_union
        self._lg_k = lg_k
        self._integral, self._binary = data_type in INTEGRAL, data_type == BINARY

    def prepare(self, value: Any, ts: int) -> Any:
        return self._add(self._sketch(self._lg_k), value)

    def update(self, ir: Any, value: Any, ts: int) -> Any:
        return self._add(self._united([ir]) if isinstance(ir, bytes) else ir, value)

    def of_all(self, values: Sequence[Any]) -> Any:
        """The sketch of many values, at least one."""
        sketch = self._sketch(self._lg_k)
        if self._binary:
            for value in values:
                sketch = self._add_binary(sketch, value)
        else:
            deque(map(sketch.update, map(_UNSIGNED, values) if self._integral else values), maxlen=0)
        return sketch

    def merge(self, ir: Any, other: Any) -> Any:
        return self.merge_all([ir, other])

    def merge_all(self, irs: list[Any]) -> Any:
        sketch = self._united(irs)
        return cpc_image.empty(self._lg_k) if sketch.is_empty() else sketch  # Java's empty union has another image than the library's

    def clone(self, ir: Any) -> Any:
        return self.merge_all([ir])

    def finalize(self, ir: Any) -> int:
        return int((self._parsed(ir) if isinstance(ir, bytes) else ir).get_estimate())

    def stored(self, ir: Any) -> bytes:
        return ir if isinstance(ir, bytes) else bytes(ir.serialize())

    def _united(self, irs: list[Any]) -> Any:
        union = self._union(self._lg_k)
        for ir in irs:
            union.update(self._parsed(ir) if isinstance(ir, bytes) else ir)
        return union.get_result()

    def _add(self, sketch: Any, value: Any) -> Any:
        if self._binary:
            return self._add_binary(sketch, value)
        sketch.update(_UNSIGNED(value) if self._integral else value)
        return sketch

    def _add_binary(self, sketch: Any, value: bytes) -> Any:
        """The library takes no bytes. Those that are text hash as that text; others come in as a sketch of their own."""
        try:
            sketch.update(value.decode())
        except UnicodeDecodeError:
            return self._united([sketch, self._sketch.deserialize(cpc_image.singleton(value, self._lg_k))])
        return sketch

    def _parsed(self, image: bytes) -> Any:
        try:
            return self._sketch.deserialize(cpc_image.checked(image))
        except (RuntimeError, ValueError, IndexError, MemoryError) as refused:
            raise CorruptValue("an APPROX_UNIQUE_COUNT is no CPC sketch that its library can read") from refused
