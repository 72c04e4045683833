"""What every operation does to the values of one column (spec/aggregation-and-codecs.md §5)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import DataType


class Aggregator(ABC):
    """One operation over non-null values of one type.

    An intermediate result (IR) belongs to whoever made it: ``update``, ``delete`` and ``merge`` may change ``ir`` and give
    back the one that counts; they leave ``other`` as it is and keep no part of it that can change. Absent IRs are None and
    never come here. ``ts`` is the row's epoch milliseconds.
    """

    ir_type: DataType
    output_type: DataType
    deletable: ClassVar[bool] = False
    plain: ClassVar[bool] = True
    """Whether the stored form of an IR is the IR itself, and no operation changes it in place."""

    @abstractmethod
    def prepare(self, value: Any, ts: int) -> Any:
        """The IR of one value."""

    @abstractmethod
    def update(self, ir: Any, value: Any, ts: int) -> Any: ...

    def update_all(self, ir: Any, values: Sequence[Any], times: Sequence[int]) -> Any:
        """As ``update`` with each of ``values`` in order; ``times`` go with them."""
        for value, ts in zip(values, times, strict=True):
            ir = self.update(ir, value, ts)
        return ir

    @abstractmethod
    def merge(self, ir: Any, other: Any) -> Any: ...

    def merge_all(self, irs: list[Any]) -> Any:
        """All of ``irs`` in order, at least one; the first may change, the others do not."""
        merged = irs[0]
        for other in irs[1:]:
            merged = self.merge(merged, other)
        return merged

    def delete(self, ir: Any, value: Any, ts: int) -> Any:
        """Takes a value back.

        Raises:
            InvalidRequest: the operation cannot; ask ``deletable`` first.
        """
        raise InvalidRequest(f"{type(self).__name__} cannot take values back: a reversal has no meaning for it")

    def inverse(self, value: Any, ts: int) -> Any:
        """The IR of one value taken back from nothing: its negative element (§5.1)."""
        return self.delete(self.delete(self.prepare(value, ts), value, ts), value, ts)

    def clone(self, ir: Any) -> Any:
        """A copy that can be changed without changing ``ir``."""
        return ir

    @abstractmethod
    def finalize(self, ir: Any) -> Any:
        """The feature value; ``ir`` stays usable."""

    def stored(self, ir: Any) -> Any:
        """The value to encode with ``ir_type``."""
        return ir

    def loaded(self, stored: Any) -> Any:
        """The IR of a decoded value, which may share parts with it.

        Raises:
            CorruptValue: it is none that Chronon writes.
        """
        return stored
