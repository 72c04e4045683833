"""Records that stand alone: schemas and codecs (c), names (d), expressions and derivations (e), aggregations (a), uploads (k).

Each replay makes its own answers under the recording's names, then compares them with the recorded ones.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from chronoserve.app.replay import aggregations, derivations, naming_rules, schemas
from chronoserve.app.replay.compare import Difference
from chronoserve.app.replay.notes import Case, explained
from chronoserve.app.replay.outcome import Outcome
from chronoserve.app.replay.recording import Kind, Record, Single
from chronoserve.model.errors import KVError

if TYPE_CHECKING:
    from chronoserve.app.replay.uploads import Uploads

Replayed = tuple[Mapping[str, object], Iterator[Difference]]
"""Our answers, and how they differ."""


class Singles:
    """Replays records that stand alone; the typed rows of an e recording are remembered for the expressions after them, and
    the source tables of a k recording for its uploads.
    """

    def __init__(self) -> None:
        self._expressions = derivations.Expressions()
        self._replays: Mapping[Kind, Callable[[Record], Replayed]] = {
            Kind.AGGREGATION: aggregations.replay,
            Kind.SCHEMA: schemas.replay_schema,
            Kind.KEY_ENCODING: schemas.replay_key_encoding,
            Kind.CAST: schemas.replay_cast,
            Kind.NAMING: naming_rules.replay,
            Kind.EXPRESSION: self._expressions.replay,
            Kind.DERIVATION_GROUP: derivations.replay_group,
            Kind.UPLOAD: self._replay_upload,
        }

    @cached_property
    def _uploads(self) -> "Uploads":
        """What it needs is large, and an extra."""
        from chronoserve.app.replay.uploads import Uploads

        return Uploads()

    def _replay_upload(self, record: Record) -> Replayed:
        return self._uploads.replay(record)

    def outcome(self, single: Single) -> Outcome | None:
        """None for a record that asks for nothing. One that cannot be replayed is a difference."""
        record = single.record
        name = _id_of(record)
        try:
            if single.kind is Kind.INPUTS:
                self._expressions.take_inputs(record)
                return None
            if single.kind is Kind.TABLES:
                self._uploads.take(record)
                return None
            answers, differences = self._replays[single.kind](record)
            found = list(differences)
            return Outcome(record.get("world"), name, answers, found, explained(Case(record, answers), found))
        except KVError as error:
            wrong = error.message
        except (KeyError, ValueError, TypeError, AttributeError) as malformed:
            wrong = f"the record cannot be replayed: {malformed!r}"
        except Exception as defect:  # noqa: BLE001 - a defect of ours is a difference of this record, and of it alone
            wrong = f"our own defect: {defect!r}"
        return Outcome(None, name, {}, [Difference("", "an answer", wrong)], [None])


def _id_of(record: Mapping[str, Any]) -> str:
    if "end_ds" in record:
        return f"{record.get('group_by')} {record['end_ds']}"
    return str(record.get("id") or record.get("name"))
