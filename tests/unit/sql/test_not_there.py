"""What Spark has and we have not is refused when it is compiled, by name (docs/parity.md P20)."""

import pytest

from chronoserve.model.errors import Unsupported
from chronoserve.model.types import DOUBLE, STRING, Field, StructType
from chronoserve.sql.compile import expression

INPUTS = StructType("in", (Field("s", STRING), Field("d", DOUBLE)))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("xpath_string(s, 'a/b')", "xpath_string"),
        ("from_csv(s, 'a INT')", "from_csv"),
        ("to_csv(struct(d))", "to_csv"),
        ("to_char(d, '999')", "to_char"),
        ("coalesce(to_number(s, '999'), 0)", "to_number"),
        ("aes_encrypt(s, s)", "aes_encrypt"),
        ("make_interval(1)", "make_interval"),
        ("convert_timezone('UTC', 'Asia/Tokyo', s)", "convert_timezone"),
        ("cast(s as timestamp_ntz)", "timestamp_ntz"),
    ],
)
def test_the_error_names_what_is_missing(text: str, named: str) -> None:
    with pytest.raises(Unsupported, match=named):
        expression(text, INPUTS)
