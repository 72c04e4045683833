"""External sources for tests."""

from collections.abc import Mapping

from chronoserve.model.confs import ExternalSource, MetaData
from chronoserve.model.types import DataType, Field, StructType


def source(name: str = "geo", *, factory: str | None = None, params: Mapping[str, str] | None = None, **values: DataType) -> ExternalSource:
    """A source whose value schema has the fields ``values``; none: no value schema."""
    schema = StructType("values", tuple(Field(each, data_type) for each, data_type in values.items())) if values else None
    return ExternalSource(meta_data=MetaData(name=name), key_schema=None, value_schema=schema, factory_name=factory, factory_params=params)
