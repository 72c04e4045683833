"""The codec of a join: types of keys and features, and how rows are written to the response log (spec/online-fetch.md §12.7, §16)."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from chronoserve.codec import avro, join_log
from chronoserve.codec.compiled import Encoder, encoder
from chronoserve.fetcher.plan import PartPlan, external_pairs
from chronoserve.fetcher.served import ServedGroupBy
from chronoserve.model.confs import Join
from chronoserve.model.errors import KVError
from chronoserve.model.types import Field, StructType
from chronoserve.sql.derive import Derivations

SAMPLES = 100_000
"""The share of keys that are logged is counted in parts of this."""


@dataclass(frozen=True, slots=True)
class JoinTypes:
    """``base_type``: of the features before derivations; those of a part that cannot be served now are missing.

    ``loose``: features whose values no decoder has typed: external ones, and structs of derived group bys, which come by name.
    """

    key_type: StructType
    base_type: StructType
    loose: frozenset[str]


def join_types(conf: Join, parts: Sequence[PartPlan]) -> JoinTypes:
    """Types of keys and base features, in the order of the conf; a part that cannot be typed is left out, as Chronon does.

    Raises:
        KVError: a part's derivations have no type, so that nothing of the join has a codec.
    """
    name = conf.meta_data.name
    keys: dict[Field, None] = {}
    base: list[Field] = []
    loose: set[str] = set()
    for part in parts:
        if isinstance(part.group, KVError):
            continue
        served = part.group.served
        key_fields = _key_fields(part, served)
        if key_fields is None:
            continue
        keys.update(dict.fromkeys(key_fields))
        fields = [Field(f"{part.stem}_{field.name}", field.type) for field in served.response_type().fields]
        base += fields
        loose.update(field.name for field in fields if served.derivations is not None)
    for external_part in conf.online_external_parts or ():
        lefts = [left for _, left in external_pairs(external_part)]
        source = external_part.source
        key_types = source.key_schema.fields if source.key_schema is not None else ()
        keys.update(dict.fromkeys(Field(left, field.type) for left, field in zip(lefts, key_types, strict=True)))
        values = source.value_schema.fields if source.value_schema is not None else ()
        external = [Field(f"{external_part.full_name}_{field.name}", field.type) for field in values]
        base += external
        loose.update(field.name for field in external)
    return JoinTypes(
        StructType(join_log.key_record_name(name), tuple(keys)),
        StructType(join_log.base_record_name(name), tuple({field.name: field for field in base}.values())),
        frozenset(loose),
    )


def _key_fields(part: PartPlan, served: ServedGroupBy) -> list[Field] | None:
    """The left keys with the types of their right ones; None where a key is none of the group by (Addendum 2)."""
    found: list[Field] = []
    for right, left in part.pairs:
        data_type = served.key_codec.type.type_of(right)
        if data_type is None:
            return None
        found.append(Field(left, data_type))
    return found


class JoinLog:
    """Writes rows of one version of a join to the response log. ``hash`` names both schemas; ``threshold`` None: no row is logged.

    Raises InvalidRequest where a type has no Avro form.
    """

    def __init__(self, conf: Join, key_type: StructType, value_fields: Sequence[Field]) -> None:
        name = conf.meta_data.name
        self.join_name = name
        self.key_type = key_type
        self.value_type = StructType(join_log.value_record_name(name), tuple(value_fields))
        self.key_schema = avro.schema_text(key_type)
        self.value_schema = avro.schema_text(self.value_type)
        self.hash = join_log.schema_hash(name, self.key_schema, self.value_schema)
        self.complained_at: int | None = None
        percent = conf.meta_data.sample_percent
        self.threshold = None if not percent else percent * 1000

    @property
    def schema(self) -> str:
        """The text that publishes both schemas."""
        return join_log.logging_schema(self.join_name, self.key_schema, self.value_schema)

    @cached_property
    def _key_encoder(self) -> Encoder:
        return encoder(self.key_type)

    @cached_property
    def _value_encoder(self) -> Encoder:
        return encoder(self.value_type)

    def key_bytes(self, keys: Mapping[str, object]) -> bytes:
        """Raises InvalidRequest for a key that its type cannot hold."""
        return self._key_encoder.encode(keys)

    def value_bytes(self, features: Mapping[str, object]) -> bytes:
        """``features``: base, derived and model values together. What is absent is written as null."""
        return self._value_encoder.encode(features)

    def sampled(self, key_bytes: bytes) -> bool:
        """Whether rows of these keys are logged: always or never (spec/online-fetch.md §16.1)."""
        if self.threshold is None:
            return False
        number = abs(int.from_bytes(hashlib.md5(key_bytes, usedforsecurity=False).digest()[:8], "big", signed=True))
        return number > 0 and number % SAMPLES <= self.threshold


def derivations_of(conf: Join, types: JoinTypes) -> Derivations | None:
    """The join's derivations; None where it has none."""
    return Derivations(conf.derivations, types.key_type, types.base_type, loose=types.loose) if conf.derivations else None
