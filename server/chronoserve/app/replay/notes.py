"""Differences from Chronon that are meant, by the number of their note in docs/parity.md.

Each note here tells exactly which differences it explains: anything beside them is a difference like any other.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chronoserve.app.replay.compare import ABSENT, Difference
from chronoserve.app.replay.faces import Response
from chronoserve.app.replay.recording import Record, aligned
from chronoserve.app.replay.stored_confs import StoredConfs
from chronoserve.model import naming
from chronoserve.model.confs import JoinPart
from chronoserve.model.types import BINARY, NUMERIC

EXCEPTION = "_exception"
CODEC_EXCEPTION = "join_codec_fetch_exception"
EMPTY_METADATA = "java.lang.UnsupportedOperationException"
"""What the JVM raises where a store answers a missing key of metadata with an empty success (its text may be blanked)."""
RESPONSE = re.compile(r"responses\[(\d+)\](\..*)?")
RESULT = re.compile(r"results\[(\d+)\]")
DERIVATION_EXCEPTION = "derivation_fetch_exception"
DUPLICATE_KEY = "Duplicate map key"


@dataclass(frozen=True, slots=True)
class Case:
    """What a difference belongs to. ``ours``: our answers by the recording's names. ``confs``: of the case's world, if it has one."""

    record: Record
    ours: Mapping[str, Any] = field(default_factory=dict)
    confs: StoredConfs | None = None

    @property
    def responses(self) -> Sequence[Response]:
        return self.ours.get("responses") or ()

    def request(self, difference: Difference) -> "Asked | None":
        """The request whose response a difference is in, where both sides have one for it."""
        found = RESPONSE.fullmatch(difference.place)
        if found is None or int(found[1]) >= len(self.responses):
            return None
        at = int(found[1])
        return Asked(self.record["requests"][at], aligned(self.record)[at], self.responses[at], found[2] or "")

    @property
    def failed(self) -> bool:
        """Whether the recorded call failed as a whole, and ours did not."""
        return self.record.get("call_error") is not None and "call_error" not in self.ours

    @property
    def told(self) -> bool:
        """Whether some row of ours says what is wrong."""
        return any(map(tells_of_failure, self.responses))


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a call, with its recorded response, if it has one, and ours. ``within``: the place in the response."""

    request: Record
    recorded: Record | None
    ours: Response
    within: str

    @property
    def values(self) -> Mapping[str, Any]:
        """Those that were recorded."""
        return (self.recorded or {}).get("values") or {}


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
    if difference.place.startswith("log"):
        return any(_codec_was_empty(response.get("values") or {}) for response in case.record.get("responses") or ())
    asked = case.request(difference)
    return asked is not None and _codec_was_empty(asked.values) and "values" in asked.ours


def _codec_was_empty(values: Mapping[str, Any]) -> bool:
    return list(values) == [CODEC_EXCEPTION] and str(values[CODEC_EXCEPTION]).startswith(EMPTY_METADATA)


def _null_key(case: Case, difference: Difference) -> bool:
    asked = case.request(difference)
    if asked is None or case.record["api"] != "fetchGroupBys" or difference.expected is not ABSENT:
        return False
    return asked.ours.get("values", ABSENT) is None and any(value is None for value in asked.request["keys"].values())


def _full_bounded_count(case: Case, difference: Difference) -> bool:
    refused = case.record.get("operation") == "BOUNDED_UNIQUE_COUNT" and difference.place == "error" and difference.got is ABSENT
    return refused and case.record["error"]["root_class"] == "java.lang.ClassCastException"


def _missing_number(case: Case, difference: Difference) -> bool:
    asked = case.request(difference)
    if asked is None or case.confs is None or case.record["api"] != "fetchGroupBys" or asked.within or "error" not in asked.ours:
        return False
    key_type = case.confs.key_type(asked.request["name"])
    given = {naming.sanitize(name) for name in asked.request["keys"]}
    return key_type is not None and any(key.name not in given and key.type in NUMERIC for key in key_type.fields)


def _two_columns_of_one_key(case: Case, difference: Difference) -> bool:
    """In a part whose mapping gives two key columns one left name: its features, and its failure."""
    asked = case.request(difference)
    if asked is None or case.confs is None or case.record["api"] != "fetchJoin":
        return False
    join = case.confs.join(asked.request["name"])
    shared = [part.full_prefix for part in join.join_parts if _shares_a_left_name(part)] if join is not None else []
    return any(asked.within.startswith(f".values.{stem}_") for stem in shared)


def _shares_a_left_name(part: JoinPart) -> bool:
    left = {name: name for name in part.group_by.key_columns} | {right: left for left, right in (part.key_mapping or {}).items()}
    return len(set(left.values())) < len(left)


def _binary_key(case: Case, difference: Difference) -> bool:
    """A recorded failure of derivations, where a key is binary."""
    asked = case.request(difference)
    if asked is None or case.confs is None or not any(name.endswith(DERIVATION_EXCEPTION) for name in asked.values):
        return False
    served = case.confs.group_bys(case.record["api"], asked.request["name"])
    key_types = [case.confs.key_type(each.group_by.meta_data.name) for each in served]
    return any(key.type == BINARY for key_type in key_types if key_type is not None for key in key_type.fields)


def _after_a_failure(case: Case, difference: Difference) -> bool:
    """A row of an expression that the JVM fails on, after one that it failed on for a key that a map has twice, as we did."""
    found = RESULT.fullmatch(difference.place)
    if found is None or not isinstance(difference.expected, Mapping) or "error" not in difference.expected:
        return False
    rows = zip(case.record["results"][: int(found[1])], case.ours["results"], strict=False)
    return any("error" in theirs and "error" in ours and DUPLICATE_KEY in str(theirs["error"]) for theirs, ours in rows)


def _merged_keys(case: Case, difference: Difference) -> bool:
    """Keys of an upload that the replay found to be one key by Chronon's hash."""
    return case.record.get("kind") == "upload" and difference.place.startswith("merged[")


def _odd_key_name(case: Case, difference: Difference) -> bool:
    """Answers of a group by one of whose key columns Avro cannot spell."""
    asked = case.request(difference)
    if asked is None or case.confs is None:
        return False
    served = case.confs.group_bys(case.record["api"], asked.request["name"])
    odd = [each.group_by for each in served if any(naming.sanitize(column) != column for column in each.group_by.key_columns)]
    if case.record["api"] != "fetchJoin":
        return bool(odd)
    return any(f"{group_by.meta_data.clean_name}_" in asked.within for group_by in odd)


NOTES: tuple[Note, ...] = (
    Note(2, "An empty answer of the store for metadata means that there is none", _empty_metadata),
    Note(1, "What is wrong with one request fails that row, not the call", _one_row),
    Note(3, "A group-by request with a null key is answered in its place", _null_key),
    Note(5, "A group-by request that lacks a number among its keys is refused", _missing_number),
    Note(4, "A full BOUNDED_UNIQUE_COUNT over numbers or bytes can be stored", _full_bounded_count),
    Note(6, "Two key columns may take their value from one left name", _two_columns_of_one_key),
    Note(7, "Binary keys and SQL derivations go together", _binary_key),
    Note(9, "Rows stand alone after a failed expression", _after_a_failure),
    Note(10, "Keys whose columns read the same when set end to end stay apart", _merged_keys),
    Note(13, "A key column may have any name", _odd_key_name),
)
"""In the order in which they are asked: the first that explains a difference has it."""
