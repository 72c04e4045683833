"""Encoders and decoders that the records of a recording share: making one costs more than using it."""

import functools

from chronoserve.codec import compiled
from chronoserve.codec.compiled import Decoder, Encoder
from chronoserve.model.types import StructType

KEPT_MAX = 256


@functools.lru_cache(KEPT_MAX)
def decoder(data_type: StructType) -> Decoder:
    """Raises InvalidRequest for a type without an Avro form."""
    return compiled.decoder(data_type)


@functools.lru_cache(KEPT_MAX)
def encoder(data_type: StructType) -> Encoder:
    """Raises InvalidRequest for a type without an Avro form."""
    return compiled.encoder(data_type)
