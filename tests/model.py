"""What the store must equal: a dict of lists, in the plainest words (spec/product.md §4, K1-K9)."""

from dataclasses import dataclass, field
from typing import NamedTuple

from chronoserve.model.dataset import DATASET_NAME, Kind, Properties
from chronoserve.model.errors import AlreadyExists, InvalidRequest, KVError, UnknownDataset
from chronoserve.model.values import TimedValue
from chronoserve.service.gateway import TOKEN_BYTES_MAX, NamedPut

Outcome = type[KVError] | None


class Row(NamedTuple):
    """One value of a key."""

    millis: int
    identity: bytes
    value: bytes
    expires_at: int


@dataclass
class Model:
    """Answers and outcomes by the contract; errors as their classes."""

    key_bytes_max: int
    value_bytes_max: int
    skew_ahead_millis_max: int
    create_on_put: bool = False
    datasets: dict[str, Properties] = field(default_factory=dict)
    rows: dict[tuple[str, bytes], list[Row]] = field(default_factory=dict)

    def create(self, name: str, kind: Kind | None, ttl_millis: int) -> Outcome:
        wanted = Properties(kind or Kind.of_name(name), ttl_millis)
        return None if self.datasets.setdefault(name, wanted) == wanted else AlreadyExists

    def put(self, put: NamedPut, now: int) -> Outcome:
        name, key, value, ts_millis, token = put
        if not DATASET_NAME.fullmatch(name):
            return InvalidRequest
        if name not in self.datasets and self.create_on_put:
            self.create(name, None, 0)
        if name not in self.datasets:
            return UnknownDataset
        millis = now if ts_millis is None else ts_millis
        if not 0 <= millis <= now + self.skew_ahead_millis_max or not self._fits(key, value, token):
            return InvalidRequest
        properties = self.datasets[name]
        rows = self.rows[name, key] = self._living(name, key, now)
        row = Row(millis, b"t" + token if token else b"v" + value, value, now + properties.ttl_millis if properties.ttl_millis else 0)
        if properties.kind is Kind.LATEST:
            if not rows or rows[0].millis <= millis:
                rows[:] = [row]
        elif all((row.millis, row.identity) != (other.millis, other.identity) for other in rows):
            rows.append(row)
        return None

    def _fits(self, key: bytes, value: bytes, token: bytes) -> bool:
        return 0 < len(key) <= self.key_bytes_max and len(value) <= self.value_bytes_max and len(token) <= TOKEN_BYTES_MAX

    def _living(self, name: str, key: bytes, now: int) -> list[Row]:
        return [row for row in self.rows.get((name, key), []) if not row.expires_at or row.expires_at > now]

    def get(self, name: str, key: bytes, after: int, now: int) -> list[TimedValue] | type[KVError]:
        """The values by time, those of one millisecond by themselves: their order is the store's."""
        if not DATASET_NAME.fullmatch(name):
            return InvalidRequest
        if name not in self.datasets:
            return UnknownDataset
        if not 0 < len(key) <= self.key_bytes_max:
            return InvalidRequest
        return sorted((TimedValue(row.value, row.millis) for row in self._living(name, key, now) if row.millis >= after), key=_order)

    def delete(self, name: str, keys: list[bytes]) -> None:
        for key in keys:
            self.rows.pop((name, key), None)

    def scan(self, name: str, now: int) -> dict[bytes, list[TimedValue]]:
        """Every key that has a value."""
        found = {key: self.get(name, key, 0, now) for dataset, key in self.rows if dataset == name}
        return {key: row for key, row in found.items() if isinstance(row, list) and row}


def _order(value: TimedValue) -> tuple[int, bytes]:
    return value.millis, value.bytes


def in_order(found: list[TimedValue]) -> list[TimedValue]:
    """A store's answer as the model puts it. Fails where it is not oldest first."""
    assert [value.millis for value in found] == sorted(value.millis for value in found)
    return sorted(found, key=_order)
