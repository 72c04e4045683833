"""Rows of joins: keys out of requests, parts united, derivations, and how far each row can be trusted (spec/online-fetch.md §10, §12)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chronoserve.codec.keys import cast_to
from chronoserve.fetcher.asks import Ask, Asks
from chronoserve.fetcher.defects import defect
from chronoserve.fetcher.external import Answer
from chronoserve.fetcher.group_rows import derived
from chronoserve.fetcher.join_plan import JoinPlan
from chronoserve.fetcher.plan import GroupByPlan, KeySlot, PartPlan
from chronoserve.fetcher.reply import Values
from chronoserve.fetcher.resolve import Resolver
from chronoserve.fetcher.served import ServedGroupBy
from chronoserve.model.errors import InvalidRequest, KVError
from chronoserve.model.features import FeatureRequest, FeatureRow, Freshness, RowStatus
from chronoserve.model.types import DataType

CODEC = "join_codec_fetch"
"""Chronon's stem for a join whose codec cannot be built."""

_ABSENT = object()

PartAsk = Ask | KVError | None
"""What is asked of the store for a part of a row, or why nothing is; None: a key is null, so the part contributes nothing."""


def part_asks(plan: JoinPlan, keys: Mapping[str, object], asks: Asks, streams: Callable[[str], bool]) -> list[PartAsk]:
    """One for each part of the join. ``streams``: whether a dataset may have values."""
    encoded = [_encoded(slot, keys) for slot in plan.parts.slots]
    return [_part_ask(part, encoded[part.slot], asks, streams) for part in plan.parts.parts]


def _encoded(slot: KeySlot, keys: Mapping[str, object]) -> bytes | KVError | None:
    """The key bytes of a slot; None for a null key; ``b""`` where nothing can be encoded for want of a group by."""
    null = False
    for _, left in slot.pairs:
        value = keys.get(left, _ABSENT)
        if value is None:
            null = True
        elif value is _ABSENT:
            return _missing(slot, keys)
    if null:
        return None
    if slot.codec is None:
        return b""
    try:
        return slot.codec.encode(keys if slot.plain else {right: keys[left] for right, left in slot.pairs})
    except KVError as error:
        return error


def _missing(slot: KeySlot, keys: Mapping[str, object]) -> InvalidRequest:
    names = ", ".join(repr(left) for _, left in slot.pairs if left not in keys)
    return InvalidRequest(f"the keys of the request lack {names}", field="keys")


def _part_ask(part: PartPlan, encoded: bytes | KVError | None, asks: Asks, streams: Callable[[str], bool]) -> PartAsk:
    if encoded is None or isinstance(encoded, KVError):
        return encoded
    group = part.group
    if isinstance(group, KVError):
        return group
    served = group.served
    return asks.ask(served, encoded, group.cached_batch(encoded), stream=served.sawtooth is not None and streams(served.streaming_dataset))


@dataclass(slots=True)
class _Row:
    """A row in the making. ``errors``: parts without an answer; ``faults``: parts whose answer is not what it should be."""

    features: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, KVError] = field(default_factory=dict)
    faults: dict[str, KVError] = field(default_factory=dict)
    freshness: dict[str, Freshness] = field(default_factory=dict)
    tried: int = 0
    """Parts that were asked, or should have been."""
    failed: int = 0
    """Parts without an answer."""
    found: int = 0
    """Parts that had something for the row."""

    def fail(self, stem: str, error: KVError) -> None:
        self.failed += 1
        self.errors[stem] = error


@dataclass(slots=True)
class Made:
    """A row with what derivations, models and the log still need of it. ``base``: the features before derivations."""

    row: FeatureRow
    base: Mapping[str, Any]
    loggable: bool = False


def join_row(
    plan: JoinPlan,
    request: FeatureRequest,
    asked: Sequence[PartAsk],
    *,
    resolver: Resolver,
    external: Sequence[Answer | None],
    now: int,
) -> Made:
    """``external``: for each external part its answer; None where the handler was not asked because a key was missing.

    Never raises: what is wrong with one row is that row's error.
    """
    try:
        return _join_row(plan, request, asked, resolver=resolver, external=external, now=now)
    except Exception:  # noqa: BLE001 - logged by ``defect``
        error = defect("a row of a join could not be answered", plan.conf.meta_data.name)
        return Made(FeatureRow(RowStatus.ERROR, None, plan.types, request.keys, error), {})


def _join_row(
    plan: JoinPlan,
    request: FeatureRequest,
    asked: Sequence[PartAsk],
    *,
    resolver: Resolver,
    external: Sequence[Answer | None],
    now: int,
) -> Made:
    query_ts = now if request.at_millis is None else request.at_millis
    made = _Row()
    for part, ask in zip(plan.parts.parts, asked, strict=True):
        if ask is None:
            continue
        made.tried += 1
        if isinstance(ask, KVError):
            made.fail(part.stem, ask)
            _count_error(part)
        else:
            _add_part(made, part, ask, request.keys, resolver=resolver, query_ts=query_ts)
    if plan.parts.externals or plan.parts.contextual:
        _add_externals(made, plan, request.keys, external)
    return _finished(plan, request, made, query_ts)


def unplanned_row(plan: JoinPlan | KVError, request: FeatureRequest) -> FeatureRow:
    """The row of a join that there is not, or that is not active in its team (§4.3)."""
    if isinstance(plan, KVError):
        return FeatureRow(RowStatus.ERROR, None, {}, request.keys, plan)
    assert plan.invalid is not None
    return FeatureRow(RowStatus.ERROR, None, {}, request.keys, plan.invalid, {request.name: plan.invalid})


def _count_error(part: PartPlan) -> None:
    if not isinstance(part.group, KVError):
        part.group.metrics.errors += 1


def _add_part(made: _Row, part: PartPlan, ask: Ask, keys: Mapping[str, object], *, resolver: Resolver, query_ts: int) -> None:
    group = part.group
    assert isinstance(group, GroupByPlan)
    reply, error, fault = resolver.resolve(group, ask, query_ts)
    if reply is None:
        assert error is not None
        made.fail(part.stem, error)
        group.metrics.errors += 1
        return
    if fault is not None:
        made.faults[part.stem] = fault
    batch_end = group.served.batch_end
    made.freshness[part.stem] = Freshness(batch_end, reply.stream_millis)
    values = reply.values
    if values is None:
        group.metrics.misses += 1
    else:
        made.found += 1
        group.metrics.seen(batch_end, reply.stream_millis)
    if group.served.derivations is not None:
        _add_derived(made, part, group.served, {right: keys[left] for right, left in part.pairs}, values, query_ts=query_ts)
    elif values is not None:
        made.features.update(zip(part.names, values))  # noqa: B905 - both come from the schema; a check would cost a tenth


def _add_derived(
    made: _Row, part: PartPlan, served: ServedGroupBy, keys: Mapping[str, object], values: Values | None, *, query_ts: int
) -> None:
    features, failures = derived(served, keys, values, query_ts)
    for name, value in features.items():
        made.features[part.prefix + name] = value
    for stem, failure in failures.items():
        made.errors[part.prefix + stem] = failure
    made.failed += bool(failures)


def _add_externals(made: _Row, plan: JoinPlan, keys: Mapping[str, object], external: Sequence[Answer | None]) -> None:
    features = made.features
    for left, name in plan.parts.contextual:
        features[name] = keys.get(left)
    for part, answer in zip(plan.parts.externals, external, strict=True):
        made.tried += 1
        if answer is None:
            lacking = ", ".join(repr(left) for _, left in part.pairs if left not in keys)
            made.fail(part.stem, InvalidRequest(f"the keys of the request lack {lacking}", field="keys"))
        elif isinstance(answer, KVError):
            made.fail(part.stem, answer)
        else:
            made.found += 1
            for name, value in answer.items():
                features[f"{part.stem}_{name}"] = value


def _finished(plan: JoinPlan, request: FeatureRequest, made: _Row, query_ts: int) -> Made:
    """The codec's part: casts, derivations, what failures take with them; then the status."""
    if plan.codec_error is not None:
        row = FeatureRow(RowStatus.ERROR, None, plan.types, request.keys, plan.codec_error, {CODEC: plan.codec_error}, made.freshness)
        return Made(row, {})
    try:
        keys = _cast(plan.casts, request.keys)
    except KVError as error:
        return Made(FeatureRow(RowStatus.ERROR, None, plan.types, request.keys, error), {})
    base = features = made.features
    failed: KVError | None = None
    errors = made.errors
    if plan.derivations is not None:
        features, failures = plan.derivations.derive(keys, base, query_ts)
        if failures:
            failed = next(iter(failures.values()))
            errors = errors | failures
        if made.errors:
            features = _without_stems(features, made.errors)
    status, cause = _status(plan, made, failed)
    shown = features if features or cause is None else None
    row = FeatureRow(status, shown, plan.types, keys, cause, errors | made.faults if made.faults else errors, made.freshness)
    return Made(row, base, loggable=True)


def _cast(casts: Iterable[tuple[str, DataType]], keys: Mapping[str, object]) -> Mapping[str, object]:
    """Keys as derivations, the log and the caller see them. Raises InvalidRequest for a text that is no number."""
    changed: dict[str, object] | None = None
    for name, data_type in casts:
        given = keys.get(name)
        if given is not None and (found := _cast_key(name, given, data_type)) is not given:
            changed = dict(keys) if changed is None else changed
            changed[name] = found
    return keys if changed is None else changed


def _cast_key(name: str, given: object, data_type: DataType) -> object:
    try:
        return cast_to(given, data_type)
    except InvalidRequest as refused:
        raise InvalidRequest(f"key {name!r}: {refused.message}", field="keys") from None


def _without_stems(features: Mapping[str, Any], errors: Iterable[str]) -> dict[str, Any]:
    """Less the features whose names begin as a failed part's do: a textual test, and so Chronon's, of what derivations gave (§12.6)."""
    stems = tuple(errors)
    return {name: value for name, value in features.items() if not name.startswith(stems)}


def _status(plan: JoinPlan, made: _Row, failed: KVError | None) -> tuple[RowStatus, KVError | None]:
    """How far the row can be trusted, and why it is an ERROR. ``failed``: its derivations did."""
    if failed is not None:
        return RowStatus.ERROR, failed
    if made.errors:
        nothing = made.failed == made.tried
        return (RowStatus.ERROR, next(iter(made.errors.values()))) if nothing else (RowStatus.DEGRADED, None)
    if made.faults:
        return RowStatus.DEGRADED, None
    whole = made.found or not (plan.parts.parts or plan.parts.externals)
    return (RowStatus.OK if whole else RowStatus.MISSING), None
