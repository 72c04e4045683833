"""Bytes, times and durations as people write them."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoserve.app.notation import Form, Notation, duration, show_time, time_millis


@given(st.binary(), st.sampled_from(Form))
def test_what_is_shown_can_be_given_back(data: bytes, form: Form) -> None:
    assert Notation(form).parse(Notation(form).show(data)) == data


@given(st.text(alphabet="hexbas64t:0af\n", max_size=12))
def test_text_that_looks_like_a_prefix_is_given_back_too(text: str) -> None:
    data = text.encode()
    assert Notation().parse(Notation().show(data)) == data


@pytest.mark.parametrize(
    ("form", "text", "data"),
    [
        (Form.TEXT, "plain", b"plain"),
        (Form.TEXT, "hex:0aFF", b"\x0a\xff"),
        (Form.TEXT, "base64:Cv8=", b"\x0a\xff"),
        (Form.TEXT, "text:hex:0a", b"hex:0a"),
        (Form.TEXT, "grüße", "grüße".encode()),
        (Form.TEXT, "\udcff", b"\xff"),
        (Form.HEX, "0aff", b"\x0a\xff"),
        (Form.HEX, "text:k", b"k"),
        (Form.BASE64, "Cv8=", b"\x0a\xff"),
    ],
)
def test_bytes_are_read(form: Form, text: str, data: bytes) -> None:
    assert Notation(form).parse(text) == data


@pytest.mark.parametrize(("form", "text"), [(Form.TEXT, "hex:0"), (Form.HEX, "zz"), (Form.BASE64, "Cv8"), (Form.TEXT, "base64:?")])
def test_bytes_that_are_not_of_their_form_are_refused(form: Form, text: str) -> None:
    with pytest.raises(ValueError, match=r"pairs of|padding"):
        Notation(form).parse(text)


def test_only_printable_bytes_are_shown_as_text() -> None:
    shown = [Notation().show(data) for data in (b"key", b"", b"a\tb", b"\xff", b"hex:00", "日本".encode())]
    assert shown == ["key", "", "hex:610962", "hex:ff", "text:hex:00", "日本"]


@pytest.mark.parametrize(
    ("text", "millis"),
    [
        ("1700000000000", 1_700_000_000_000),
        ("0", 0),
        ("-5", -5),
        ("1970-01-01T00:00:01.5Z", 1500),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-02", 86_400_000),
        ("1970-01-01T00:00:01", 1000),
    ],
)
def test_times_are_read(text: str, millis: int) -> None:
    assert time_millis(text) == millis


def test_times_are_shown_in_utc_to_the_millisecond() -> None:
    assert show_time(1_692_070_185_074) == "2023-08-15T03:29:45.074Z"
    assert show_time(1 << 62) == str(1 << 62)


def test_durations_are_read() -> None:
    assert [duration(text) for text in ("500ms", "90s", "7d")] == [
        dt.timedelta(milliseconds=500),
        dt.timedelta(seconds=90),
        dt.timedelta(7),
    ]


@pytest.mark.parametrize(
    ("read", "text"), [(time_millis, "yesterday"), (time_millis, ""), (duration, "7"), (duration, "-1s"), (duration, "9" * 20 + "d")]
)
def test_what_is_no_time_is_refused(read: Callable[[str], Any], text: str) -> None:
    with pytest.raises(ValueError, match=r"neither|not a duration|too long"):
        read(text)
