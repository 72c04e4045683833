"""Days and the texts of their partitions."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoserve.model.errors import InvalidRequest
from chronoserve.model.partitions import DAY_MILLIS, PartitionSpec

FORMATS = ("yyyy-MM-dd", "yyyyMMdd", "dd/MM/yyyy", "yyyy_MM_dd", "'d'yyyy.MM.dd", "%yyyy-MM%dd")


@given(st.dates(), st.sampled_from(FORMATS))
def test_a_day_survives_its_text(day: dt.date, form: str) -> None:
    spec = PartitionSpec("ds", form)
    assert spec.day(spec.of(day)) == day


def test_the_end_of_a_day_is_the_start_of_the_next() -> None:
    spec = PartitionSpec()
    assert spec.start_millis("1970-01-02") == DAY_MILLIS
    assert spec.end_millis("2023-11-30") == spec.start_millis("2023-12-01") == 1_701_388_800_000
    assert spec.shift("2024-02-28", 1) == "2024-02-29"


@pytest.mark.parametrize("text", ["2023-1-1", "2023-13-01", "20231130", "2023-11-30 ", "", "2023-02-30", "x"])
def test_a_text_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="yyyy-MM-dd"):
        PartitionSpec().day(text)


@pytest.mark.parametrize("form", ["", "yyyy", "yyyy-MM", "yyyy-MM-dd-dd", "yy-MM-dd", "yyyy-MM-ddTHH", "YYYY-MM-dd"])
def test_a_form_without_year_month_or_day_is_refused(form: str) -> None:
    with pytest.raises(InvalidRequest, match="PARTITION_FORMAT"):
        PartitionSpec("ds", form)


@pytest.mark.parametrize(("day", "days"), [("9999-12-31", 1), ("0001-01-01", -1)])
def test_a_day_beyond_the_calendar_is_an_error_of_the_request(day: str, days: int) -> None:
    with pytest.raises(InvalidRequest, match="there is no day"):
        PartitionSpec().shift(day, days)
