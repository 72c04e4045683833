"""Single columns, each of which is uploaded as a group by of its own (Chronon's ``fetchColumns``, spec/online-fetch.md §7.6)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from chronoserve.fetcher.fetch import Fetcher
from chronoserve.model.features import FeatureRequest, FeatureRow


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """A column that is asked for: the group by ``<group_by>.<column>`` serves it. ``prefix``: goes before its features' names."""

    group_by: str
    column: str
    keys: Mapping[str, object]
    prefix: str | None = None

    @property
    def name(self) -> str:
        """Of the group by that serves it."""
        return f"{self.group_by}.{self.column}"


async def fetch_columns(fetcher: Fetcher, specs: Sequence[ColumnSpec], *, deadline: float) -> list[FeatureRow]:
    """One row for each spec, in order, as of now; what is not found has no features, and is MISSING.

    ``deadline``: absolute, of the running loop's clock. Raises KVError where no read could be attempted.
    """
    rows = await fetcher.fetch_group_bys([FeatureRequest(spec.name, spec.keys) for spec in specs], deadline=deadline)
    return [_named(row, spec.prefix) for spec, row in zip(specs, rows, strict=True)]


def _named(row: FeatureRow, prefix: str | None) -> FeatureRow:
    """An ERROR has no features; a row that is not found has an empty map of them, where a group by has none."""
    features = row.features if row.features is not None or row.error is not None else {}
    if not prefix or not features:
        return replace(row, features=features)
    types = {f"{prefix}_{name}": data_type for name, data_type in row.types.items()}
    return replace(row, features={f"{prefix}_{name}": value for name, value in features.items()}, types=types)
