"""Differences from Chronon that are meant, by the number of their note in docs/parity.md.

Each note here tells exactly which differences it explains: anything beside them is a difference like any other.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chronoserve.app.replay.compare import ABSENT, Difference
from chronoserve.app.replay.faces import Answers, Response
from chronoserve.app.replay.recording import Record, aligned

EXCEPTION = "_exception"
CODEC_EXCEPTION = "join_codec_fetch_exception"
EMPTY_METADATA = "java.lang.UnsupportedOperationException"
"""What the JVM raises where a store answers a missing key of metadata with an empty success (its text may be blanked)."""
RESPONSE = re.compile(r"responses\[(\d+)\](\..*)?")


@dataclass(frozen=True, slots=True)
class Case:
    """What a difference belongs to. ``answers`` is None for records that stand alone."""

    record: Record
    answers: Answers | None = None

    def response(self, difference: Difference) -> int | None:
        """Which response a difference is in."""
        found = RESPONSE.fullmatch(difference.place)
        return int(found[1]) if found else None

    @property
    def failed(self) -> bool:
        """Whether the recorded call failed as a whole, and ours did not."""
        return self.record.get("call_error") is not None and self.answers is not None and self.answers.call_error is None

    @property
    def told(self) -> bool:
        """Whether some row of ours says what is wrong."""
        return self.answers is not None and any(map(tells_of_failure, self.answers.responses))


@dataclass(frozen=True, slots=True)
class Note:
    """``number`` and ``title`` are those of the heading ``## P<number>. <title>`` in docs/parity.md."""

    number: int
    title: str
    explains: Callable[[Case, Difference], bool]


def explained(case: Case, differences: Sequence[Difference]) -> list[int | None]:
    """For each difference the note that explains it; None: it has no excuse."""
    return [next((note.number for note in NOTES if note.explains(case, difference)), None) for difference in differences]


def tells_of_failure(response: Response) -> bool:
    """Whether an answer has an error, or an entry that tells of one."""
    return "error" in response or any(name.endswith(EXCEPTION) for name in response.get("values") or {})


def _one_row(case: Case, difference: Difference) -> bool:
    return case.failed and case.told and difference.place in ("call_error", "log")


def _empty_metadata(case: Case, difference: Difference) -> bool:
    if case.failed:
        return case.record["call_error"]["root_class"] == EMPTY_METADATA and _one_row(case, difference)
    if case.answers is None:
        return False
    if difference.place.startswith("log"):
        return any(_codec_was_empty(response) for response in case.record.get("responses") or ())
    at = case.response(difference)
    recorded = aligned(case.record)[at] if at is not None else None
    return at is not None and recorded is not None and _codec_was_empty(recorded) and "values" in case.answers.responses[at]


def _codec_was_empty(response: Mapping[str, Any]) -> bool:
    values = response.get("values") or {}
    return list(values) == [CODEC_EXCEPTION] and str(values[CODEC_EXCEPTION]).startswith(EMPTY_METADATA)


def _null_key(case: Case, difference: Difference) -> bool:
    at = case.response(difference)
    if at is None or case.answers is None or case.record["api"] != "fetchGroupBys" or difference.expected is not ABSENT:
        return False
    nothing = case.answers.responses[at].get("values", ABSENT) is None
    return nothing and any(value is None for value in case.record["requests"][at]["keys"].values())


def _missing_number(case: Case, difference: Difference) -> bool:
    at = case.response(difference)
    if at is None or case.answers is None or case.record["api"] != "fetchGroupBys":
        return False
    error = case.answers.responses[at].get("error") or {}
    return error.get("class") == "INVALID_REQUEST" and str(error.get("message")).startswith("the keys of the request lack ")


def _full_bounded_count(case: Case, difference: Difference) -> bool:
    refused = case.record.get("operation") == "BOUNDED_UNIQUE_COUNT" and difference.place == "error" and difference.got is ABSENT
    return refused and case.record["error"]["root_class"] == "java.lang.ClassCastException"


NOTES: tuple[Note, ...] = (
    Note(2, "An empty answer of the store for metadata means that there is none", _empty_metadata),
    Note(1, "What is wrong with one request fails that row, not the call", _one_row),
    Note(3, "A group-by request with a null key is answered in its place", _null_key),
    Note(5, "A group-by request that lacks a number among its keys is refused", _missing_number),
    Note(4, "A full BOUNDED_UNIQUE_COUNT over numbers or bytes can be stored", _full_bounded_count),
)
"""In the order in which they are asked: the first that explains a difference has it."""
