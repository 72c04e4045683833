"""Outcomes and their sum: a difference is never taken for none, and nothing compared is not good."""

from collections import Counter

from chronoserve.app.replay.compare import ABSENT, Difference
from chronoserve.app.replay.outcome import Outcome, Tally, Verdict

ONE = Difference("a", None, ABSENT)
TWO = Difference("b", {"int": 1}, {"int": 2})


def test_the_verdict_asks_for_a_note_of_every_difference() -> None:
    assert Outcome("w", "r").verdict is Verdict.EQUAL
    assert Outcome("w", "r", {}, [ONE, TWO], [1, 2]).verdict is Verdict.NOTED
    assert Outcome("w", "r", {}, [ONE, TWO], [1, None]).verdict is Verdict.DIFFERENT
    assert Outcome("w", "r", {}, [ONE]).verdict is Verdict.DIFFERENT


def test_the_line_has_the_members_of_the_contract() -> None:
    assert Outcome("w", "r", {"responses": []}).record() == {"world": "w", "id": "r", "equal": True, "diff": [], "responses": []}
    noted = Outcome(None, "r", {"responses": []}, [ONE, TWO], [3, None]).record()
    assert noted == {
        "world": None,
        "id": "r",
        "equal": False,
        "diff": [{"place": "a", "expected": None, "note": 3}, {"place": "b", "expected": {"int": 1}, "got": {"int": 2}}],
        "responses": [],
        "notes": [3],
    }


def tally_of(*outcomes: Outcome, skipped: int = 0) -> Tally:
    tally = Tally()
    tally.skipped["upload"] += skipped
    for outcome in outcomes:
        tally.add(outcome)
    return tally


EQUAL, NOTED, DIFFERENT = Outcome("w", "1"), Outcome("w", "2", {}, [ONE, TWO], [3, 3]), Outcome("w", "3", {}, [ONE], [None])


def test_the_sum_is_good_only_if_something_was_compared_and_nothing_is_different() -> None:
    assert not tally_of().good
    assert not tally_of(skipped=5).good
    assert tally_of(EQUAL, NOTED, skipped=5).good
    assert not tally_of(EQUAL, NOTED, DIFFERENT).good


def test_the_sum_counts() -> None:
    tally = tally_of(EQUAL, NOTED, DIFFERENT, skipped=5)
    assert tally.counts == Counter({Verdict.EQUAL: 1, Verdict.NOTED: 1, Verdict.DIFFERENT: 1})
    assert tally.record() == {"cases": 3, "equal": 1, "noted": 1, "different": 1, "notes": {"3": 1}, "skipped": {"upload": 5}}
