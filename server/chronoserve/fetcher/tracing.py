"""Fills a Trace after a fetch: costs nothing where nobody asked for one."""

from collections.abc import Mapping, Sequence
from typing import Any

from chronoserve.fetcher import timed
from chronoserve.fetcher.asks import NOT_READ, Ask
from chronoserve.fetcher.join_plan import JoinPlan
from chronoserve.fetcher.join_rows import Made, PartAsk
from chronoserve.fetcher.observe import Call, Phase
from chronoserve.fetcher.plan import GroupByPlan
from chronoserve.fetcher.ports import Read
from chronoserve.fetcher.trace import Trace, TracedRead
from chronoserve.model.errors import KVError
from chronoserve.model.features import FeatureRow

DERIVATIONS = "derivations"


def trace_joins(
    trace: Trace,
    call: Call,
    plans: Sequence[JoinPlan | KVError],
    asked: Sequence[Sequence[PartAsk]],
    made: Sequence[Made],
    *,
    reads: Sequence[Read],
    answers: Sequence[bytes | KVError],
) -> None:
    """Phases, the reads of every row's parts, and where the features of the first row came from."""
    _add_seconds(trace, call)
    for plan, row_asks in zip(plans, asked, strict=True):
        if isinstance(plan, JoinPlan):
            for part, ask in zip(plan.parts.parts, row_asks, strict=False):
                if isinstance(ask, Ask) and isinstance(part.group, GroupByPlan):
                    trace.reads += _traced(part.stem, part.group, ask, reads, answers)
    if made and isinstance(plans[0], JoinPlan) and not trace.feature_parts:
        trace.feature_parts.update(_parts_of(plans[0], made[0].row.features or {}))


def trace_groups(
    trace: Trace,
    call: Call,
    plans: Sequence[GroupByPlan | KVError],
    asked: Sequence[PartAsk],
    rows: Sequence[FeatureRow],
    *,
    reads: Sequence[Read],
    answers: Sequence[bytes | KVError],
) -> None:
    """The same for group bys."""
    _add_seconds(trace, call)
    for plan, ask in zip(plans, asked, strict=True):
        if isinstance(ask, Ask) and isinstance(plan, GroupByPlan):
            trace.reads += _traced(plan.stem, plan, ask, reads, answers)
    if rows and isinstance(plans[0], GroupByPlan) and not trace.feature_parts:
        trace.feature_parts.update(dict.fromkeys(rows[0].features or {}, plans[0].stem))


def _add_seconds(trace: Trace, call: Call) -> None:
    for phase in Phase:
        if call.seconds[phase]:
            trace.seconds[phase] = trace.seconds.get(phase, 0.0) + call.seconds[phase]


def _traced(stem: str, group: GroupByPlan, ask: Ask, reads: Sequence[Read], answers: Sequence[bytes | KVError]) -> list[TracedRead]:
    served = group.served
    found = []
    if ask.batch == NOT_READ:
        found.append(TracedRead(stem, Read(served.batch_dataset, ask.key), cached=True))
    else:
        found.append(_read(stem, reads[ask.batch], answers[ask.batch]))
    if ask.stream != NOT_READ:
        found.append(_read(stem, reads[ask.stream], answers[ask.stream]))
    return found


def _read(stem: str, read: Read, answer: bytes | KVError) -> TracedRead:
    if isinstance(answer, KVError):
        return TracedRead(stem, read, error=answer)
    try:
        rows = timed.rows(answer)
    except KVError as error:
        return TracedRead(stem, read, error=error)
    return TracedRead(stem, read, len(rows.times), max(rows.times, default=0))


def _parts_of(plan: JoinPlan, features: Mapping[str, Any]) -> dict[str, str]:
    stems = [part.stem for part in plan.parts.parts] + [part.full_name for part in plan.conf.online_external_parts or ()]
    own = {name: stem for stem in stems for name in features if name.startswith(f"{stem}_")}
    base = frozenset(plan.join_types.base_type.names) if plan.join_types is not None else frozenset()
    return {name: own[name] if name in own and (name in base or plan.derivations is None) else DERIVATIONS for name in features}
