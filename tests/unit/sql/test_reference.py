"""The reference is what the registry says."""

from pathlib import Path

from chronoserve.sql.functions import FUNCTIONS, GROUPS, REFUSED
from chronoserve.sql.reference import markdown

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "derivations.md"


def test_the_reference_is_up_to_date() -> None:
    assert REFERENCE.read_text(encoding="utf-8") == markdown(), "run `make reference`"


def test_every_function_is_documented_once() -> None:
    names = [function.name for _, group in GROUPS for function in group]
    assert len(names) == len(set(names)) == len(FUNCTIONS)
    assert all(function.doc.endswith(".") for function in FUNCTIONS.values())


def test_nothing_is_both_supported_and_refused() -> None:
    assert not FUNCTIONS.keys() & REFUSED.keys()
