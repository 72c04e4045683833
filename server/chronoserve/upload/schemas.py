"""The types of an upload: what follows from the queries' columns before a row is read (spec/aggregation-and-codecs.md §11, §12)."""

from collections.abc import Iterable, Sequence
from functools import cached_property

from chronoserve.codec.avro import schema_text
from chronoserve.codec.compiled import encoder
from chronoserve.codec.serving import aggregation_inputs
from chronoserve.model import types
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import DataType, Field, StructType
from chronoserve.sql.coercion import common
from chronoserve.sql.types import chronon_type, shape
from chronoserve.upload.plan import TIME, UploadPlan, output_columns
from chronoserve.upload.values import Values, values_of

KEY_BYTES = "__key"
SORTED_AS_THEY_ARE = frozenset({types.BOOLEAN, types.BYTE, types.SHORT, types.INT, types.LONG, types.STRING, types.BINARY})
"""Keys of other types come together by their encoded bytes."""


class UploadSchemas:
    """What an upload of one group by is made of: ``columns`` after the queries, keys, inputs, values. May be pickled.

    ``queried``: the columns of each source's query, as whatever runs the queries types them.

    Raises:
        InvalidRequest: the conf is one that Chronon refuses too.
        Unsupported: it needs a function or a library that is not there.
    """

    def __init__(self, plan: UploadPlan, queried: Sequence[StructType]) -> None:
        self.plan = plan
        self.columns = self._united(queried)
        self.key_type = StructType("Key", self._fields(plan.group_by.key_columns, "keyColumns"))
        self.selected_type = StructType("Value", self._fields(self._selected_names(), "aggregations"))
        self._expect_time()
        self.key_schema = schema_text(self.key_type, pretty=True)
        self.selected_schema = schema_text(self.selected_type, pretty=True)

    def _united(self, queried: Sequence[StructType]) -> StructType:
        """The columns that all sources have, by name, in the order of the first; types widen as in a union."""
        first, *rest = queried
        fields = [Field(field.name, self._widened(field, rest)) for field in first.fields]
        return StructType("", tuple(fields))

    def _widened(self, field: Field, rest: Sequence[StructType]) -> DataType:
        found = shape(field.type)
        for other in rest:
            theirs = other.type_of(field.name)
            if theirs is None:
                raise InvalidRequest(f"a source of {self._name} lacks column {field.name}, which its first has", field="sources")
            united = common(found, shape(theirs))
            if united is None:
                raise InvalidRequest(f"sources of {self._name} disagree on the type of column {field.name}", field="sources")
            found = united
        return chronon_type(field.name, found)

    def _fields(self, names: Iterable[str], where: str) -> tuple[Field, ...]:
        fields = []
        for name in names:
            known = self.columns.type_of(name)
            if known is None:
                raise InvalidRequest(f"{self._name} selects no column {name}: it has {', '.join(self.columns.names)}", field=where)
            fields.append(Field(name, known))
        return tuple(fields)

    def _selected_names(self) -> tuple[str, ...]:
        if self.plan.aggregations:
            return aggregation_inputs(self.plan.aggregations)
        return output_columns(self.plan, self.columns.names)

    def _expect_time(self) -> None:
        if self.plan.needs_time and self.columns.type_of(TIME) != types.LONG:
            raise InvalidRequest(
                f"{self._name} needs a time for each row: let query.timeColumn give epoch milliseconds as a long (bigint)",
                field="timeColumn",
            )

    @property
    def _name(self) -> str:
        return self.plan.group_by.meta_data.name

    @cached_property
    def values(self) -> Values:
        """Of a group by with aggregations."""
        return values_of(self.plan, self.selected_type)

    @property
    def value_type(self) -> StructType:
        """What value bytes are encoded as."""
        return self.values.type if self.plan.aggregations else self.selected_type

    @property
    def value_type_in_spark(self) -> StructType:
        """The same with the names that structs have in Spark, after their columns: they show in ``value_json`` alone."""
        fields = tuple(Field(field.name, chronon_type(field.name, shape(field.type))) for field in self.value_type.fields)
        return StructType("Value", fields)

    def prepare(self) -> None:
        """Look for everything that can be refused before a row is read. Raises as the class does."""
        encoder(self.value_type)

    @property
    def timed(self) -> bool:
        """Whether rows have a time."""
        return self.columns.type_of(TIME) == types.LONG

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that rows need beside their keys."""
        names = self.selected_type.names
        return (*names, TIME) if self.plan.aggregations and self.timed and TIME not in names else names

    @property
    def sort_keys(self) -> list[str]:
        """The columns that rows of one key have in common."""
        plain = all(field.type in SORTED_AS_THEY_ARE for field in self.key_type.fields)
        return list(self.key_type.names) if plain else [KEY_BYTES]

    def type_of(self, name: str) -> DataType:
        """The type of a column that is there."""
        known = types.BINARY if name == KEY_BYTES else self.columns.type_of(name)
        assert known is not None, "every wanted column was looked up before"
        return known
