import pytest

from chronoserve.aggregate import parts
from chronoserve.aggregate.parts import DAY, FIVE_MINUTES, HOUR
from chronoserve.model.confs import UNBOUNDED, UNBOUNDED_LENGTH, Aggregation, Operation, TimeUnit, Window
from chronoserve.model.errors import InvalidRequest


def days(length: int) -> Window:
    return Window(length, TimeUnit.DAYS)


def hours(length: int) -> Window:
    return Window(length, TimeUnit.HOURS)


def names(found: tuple[parts.Part, ...]) -> list[str]:
    return [part.output_name for part in found]


LAST5 = Aggregation(input_column="c", operation=Operation.LAST_K, arg_map={"k": "5"}, windows=(days(3), hours(5)), buckets=("bk", "x"))


def test_a_column_for_each_bucket_and_window_in_the_order_of_the_conf() -> None:
    assert names(parts.windowed([LAST5])) == ["c_last5_3d_by_bk", "c_last5_5h_by_bk", "c_last5_3d_by_x", "c_last5_5h_by_x"]
    assert names(parts.base([LAST5])) == ["c_last5_by_bk", "c_last5_by_x"]
    assert parts.base_of_windowed([LAST5, LAST5]) == (0, 0, 1, 1, 2, 2, 3, 3)


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (Operation.FIRST_K, "v_first7"),
        (Operation.TOP_K, "v_top7"),
        (Operation.BOTTOM_K, "v_bottom7"),
        (Operation.APPROX_HISTOGRAM_K, "v_approx_histogram_k"),
        (Operation.COUNT, "v_count"),
    ],
)
def test_only_ranks_have_their_k_in_the_name(operation: Operation, name: str) -> None:
    assert names(parts.windowed([Aggregation(input_column="v", operation=operation, arg_map={"k": "+07"})])) == [name]


def test_an_absent_list_of_windows_is_unbounded_and_an_empty_one_makes_no_column() -> None:
    absent = Aggregation(input_column="v", operation=Operation.SUM)
    no_windows = Aggregation(input_column="v", operation=Operation.SUM, windows=())
    no_buckets = Aggregation(input_column="v", operation=Operation.SUM, buckets=())
    assert [part.window for part in parts.windowed([absent, no_windows, no_buckets])] == [UNBOUNDED]
    assert parts.base_of_windowed([no_windows, absent]) == (1,)


def test_element_wise_is_lost_where_there_are_windows() -> None:
    aggregation = Aggregation(input_column="v", operation=Operation.SUM, element_wise=True)
    kept = [find([aggregation])[0].element_wise for find in (parts.windowed, parts.base, parts.unpacked, parts.unwindowed)]
    assert kept == [False, False, True, True]


@pytest.mark.parametrize("k", [None, "", "x", " 3", "3_0", "1.0", str(1 << 31), "0", "-1", "9" * 40])
def test_a_rank_needs_a_positive_32_bit_k(k: str | None) -> None:
    with pytest.raises(InvalidRequest):
        parts.windowed([Aggregation(input_column="v", operation=Operation.TOP_K, arg_map=None if k is None else {"k": k})])


@pytest.mark.parametrize(
    ("window", "hop"),
    [
        (hours(11), FIVE_MINUTES),
        (hours(12), HOUR),
        (hours(287), HOUR),
        (hours(288), DAY),
        (days(11), HOUR),
        (days(12), DAY),
        (days(0), FIVE_MINUTES),
        (UNBOUNDED, DAY),
        (Window(UNBOUNDED_LENGTH, TimeUnit.HOURS), DAY),
    ],
)
def test_tail_hops(window: Window, hop: int) -> None:
    assert parts.tail_hop(window) == hop


def test_time_is_rounded_toward_1970() -> None:
    assert [parts.floor(time, 10) for time in (-11, -10, -1, 0, 9, 10, 19)] == [-10, -10, 0, 0, 0, 10, 10]


def test_a_tile_spans_the_smallest_tail_hop() -> None:
    windows = [Aggregation(input_column="v", operation=Operation.SUM, windows=(window,)) for window in (days(30), days(1))]
    assert parts.tile_size(windows) == HOUR
    assert parts.tile_size([Aggregation(input_column="v", operation=Operation.SUM)]) is None


@pytest.mark.parametrize("operation", [Operation.TOP_K, Operation.BOTTOM_K, Operation.FIRST_K, Operation.LAST_K])
@pytest.mark.parametrize("k", ["0", "-1"])
def test_nothing_can_be_kept_by_a_k_below_one(operation: Operation, k: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{operation.name} needs a k of 1 or more, not {k}"):
        parts.rank_bound(operation, {"k": k})
