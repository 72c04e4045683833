"""The short ways to read timed values answer what the general reader answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoserve.fetcher import timed
from chronoserve.model import values
from chronoserve.model.errors import CorruptValue

SIZES = [0, 1, 100, 119, 120, 126, 127, 128, 129, 300, 16_370, 16_400]
BYTES = st.binary(max_size=40) | st.sampled_from(SIZES).map(lambda size: b"v" * size)
MILLIS = st.sampled_from([0, 1, 127, 2**34, 2**35 - 1, 2**35, 2**42 - 1, 2**42]) | st.integers(1_500_000_000_000, 1_800_000_000_000)
TIMED = st.lists(st.tuples(BYTES, MILLIS), max_size=12)


def travelling(pairs: list[tuple[bytes, int]]) -> bytes:
    return b"".join(values.encode(value, millis) for value, millis in pairs)


@given(TIMED)
def test_rows_are_all_values_in_order(pairs: list[tuple[bytes, int]]) -> None:
    found = timed.rows(travelling(pairs))
    assert list(zip(found.values, found.times, strict=True)) == pairs


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=300), st.integers(2**35, 2**42 - 1)), min_size=1, max_size=400))
def test_many_values_of_usual_times_take_the_short_way(pairs: list[tuple[bytes, int]]) -> None:
    data = travelling(pairs)
    assert timed._small(data) == timed.rows(data)
    assert timed.rows(data).times == [millis for _, millis in pairs]


@given(TIMED)
def test_newest_is_the_latest(pairs: list[tuple[bytes, int]]) -> None:
    data = travelling(pairs)
    assert timed.newest(data) == (None if not pairs else values.latest(data))


@given(TIMED, st.data())
def test_damage_is_told_or_harmless(pairs: list[tuple[bytes, int]], data: st.DataObject) -> None:
    """Whatever is cut or changed, the answer is typed, and lengths that do not add up are never guessed at."""
    whole = bytearray(travelling(pairs) or values.encode(b"v", 1_700_000_000_000))
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        del whole[at:]
    else:
        whole[at] ^= data.draw(st.integers(1, 255))
    for read in (timed.rows, timed.newest):
        try:
            read(bytes(whole))
        except CorruptValue:
            continue


@pytest.mark.parametrize("data", [b"\n", b"\n\x80", b"\n\x05\n\x09abc", b"\x12\x00", b"\n\x03\n\x01a" + b"\n\x7f"])
def test_what_is_no_row_of_values_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptValue):
        timed.rows(data)
    with pytest.raises(CorruptValue):
        timed.newest(data)
