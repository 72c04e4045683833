"""Bytes that Chronon reads with a shrug are corrupt (docs/parity.md P19)."""

import json

import pytest

from chronoserve.codec.avro import type_of
from chronoserve.codec.decoding import compile_decode
from chronoserve.model.errors import CorruptValue


@pytest.mark.parametrize(
    ("avro_type", "data"),
    [
        pytest.param("string", "0202ff", id="no UTF-8"),
        pytest.param("string", "020a61eda08062", id="a surrogate"),
        pytest.param("boolean", "0202", id="2 as a boolean"),
        pytest.param("boolean", "02ff", id="255 as a boolean"),
        pytest.param("int", "02ffffffff7f", id="35 bits as an int"),
        pytest.param("long", "0402", id="branch 2"),
        pytest.param("long", "0102", id="branch -1"),
    ],
)
def test_bytes_that_no_writer_of_avro_writes(avro_type: str, data: str) -> None:
    schema = {"type": "record", "name": "r", "fields": [{"name": "a", "type": ["null", avro_type]}]}
    with pytest.raises(CorruptValue):
        compile_decode(type_of(json.dumps(schema)))(bytes.fromhex(data))
