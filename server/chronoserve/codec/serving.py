"""What follows from a group by's serving info without knowing its aggregations' results (spec/aggregation-and-codecs.md §11)."""

from dataclasses import dataclass
from functools import cached_property

from chronoserve.codec.avro import type_of
from chronoserve.codec.keys import KeyCodec
from chronoserve.model import types
from chronoserve.model.confs import Aggregation, GroupByServingInfo
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import Field, StructType

MUTATION_FIELDS = (Field("ts", types.LONG), Field("is_before", types.BOOLEAN))
"""At the end of each streamed row of an entity."""
STREAM_FIELDS = (Field("mutation_ts", types.LONG), Field("is_before", types.BOOLEAN))
"""At the end of each row that a stream of an entity is decoded to."""


def aggregation_inputs(aggregations: tuple[Aggregation, ...]) -> tuple[str, ...]:
    """Names of the columns that aggregations read: of each its buckets, then its input; each once, as first seen."""
    return tuple(dict.fromkeys(name for each in aggregations for name in (*(each.buckets or ()), each.input_column)))


@dataclass(frozen=True)
class ServingSchemas:
    """The types of what is stored for one group by, and of what its streams are made of. Made once per serving info."""

    info: GroupByServingInfo

    @property
    def _clean_name(self) -> str:
        return self.info.group_by.meta_data.clean_name

    @cached_property
    def keys(self) -> KeyCodec:
        """Raises InvalidRequest where the serving info has no key schema."""
        return KeyCodec(_present(self.info.key_avro_schema, "keyAvroSchema"), self.info.group_by.key_columns)

    @cached_property
    def selected(self) -> StructType:
        """The columns after the selects, named as the conf names them."""
        return type_of(_present(self.info.selected_avro_schema, "selectedAvroSchema"), clean=True)

    @cached_property
    def selected_as_stored(self) -> StructType:
        """The same under their Avro names: what a group by without aggregations stores, and what its features are called."""
        return type_of(_present(self.info.selected_avro_schema, "selectedAvroSchema"))

    @cached_property
    def value(self) -> StructType:
        """A streamed event: the aggregations' inputs in order. An input that the selected columns lack is left out, as Chronon does."""
        names = aggregation_inputs(self.info.group_by.aggregations or ())
        return StructType(f"{self._clean_name}_INPUT_COLS", self._looked_up(names))

    @cached_property
    def mutation(self) -> StructType:
        """A streamed mutation: as ``value``, then the row's time in epoch millis and whether it is the row before the change."""
        return StructType(f"{self._clean_name}_MUTATION_COLS", self.value.fields + MUTATION_FIELDS)

    @cached_property
    def input(self) -> StructType | None:
        """The columns of the source that the query reads; None where nothing streams."""
        return None if self.info.input_avro_schema is None else type_of(self.info.input_avro_schema)

    @cached_property
    def mutation_stream(self) -> StructType | None:
        """As ``input``, then the mutation's time in epoch millis and whether a row is the one before it."""
        return None if self.input is None else StructType("MUTATION_SCHEMA", self.input.fields + STREAM_FIELDS)

    def _looked_up(self, names: tuple[str, ...]) -> tuple[Field, ...]:
        found = ((name, self.selected.type_of(name)) for name in names)
        return tuple(Field(name, data_type) for name, data_type in found if data_type is not None)


def _present(schema: str | None, name: str) -> str:
    if schema is None:
        raise InvalidRequest(f"the serving info has no {name}: upload the group by again", field=name)
    return schema
