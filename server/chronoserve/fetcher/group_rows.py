"""Rows of group bys: names given to values, derivations applied, and how far each row can be trusted (spec/online-fetch.md §7.2, §12.6)."""

from collections.abc import Mapping
from typing import Any

from chronoserve.fetcher.asks import Ask, Asks
from chronoserve.fetcher.defects import defect
from chronoserve.fetcher.plan import GroupByPlan
from chronoserve.fetcher.reply import Values
from chronoserve.fetcher.resolve import Resolver
from chronoserve.fetcher.served import ServedGroupBy
from chronoserve.model.errors import InvalidRequest, KVError
from chronoserve.model.features import FeatureRequest, FeatureRow, Freshness, RowStatus
from chronoserve.model.types import NUMERIC

NO_TYPES: Mapping[str, Any] = {}


def derived(
    served: ServedGroupBy, keys: Mapping[str, object], values: Values | None, query_ts: int
) -> tuple[dict[str, Any], dict[str, KVError]]:
    """The features of a group by that has derivations, and failures by the stems of Chronon's entries. Derivations are applied
    where there is nothing for the key, too. ``keys``: by right names, as they were given.
    """
    assert served.derivations is not None
    base = None if values is None else dict(zip(served.base_names, values, strict=True))
    return served.derivations.derive(keys, base, query_ts)


def ask_of(plan: GroupByPlan, keys: Mapping[str, object], asks: Asks, *, stream: bool) -> Ask | KVError | None:
    """What is asked of the store; None where a key is null: there is nothing for it. Or why nothing can be asked."""
    served = plan.served
    missing = False
    for column, field in served.key_columns:
        value = keys.get(column, keys)
        if value is None:
            return None
        if value is keys and field.name not in keys:
            missing = missing or field.type in NUMERIC
    if missing:
        lacking = ", ".join(repr(column) for column, field in served.key_columns if column not in keys and field.name not in keys)
        return InvalidRequest(f"the keys of the request lack {lacking}", field="keys")
    try:
        key = served.key_codec.encode(keys)
    except KVError as error:
        return error
    return asks.ask(served, key, plan.cached_batch(key), stream=stream)


def group_row(plan: GroupByPlan | KVError, request: FeatureRequest, ask: Ask | KVError | None, resolver: Resolver, now: int) -> FeatureRow:
    """The answer to one request. Never raises: what is wrong with one row is that row's error."""
    try:
        return _group_row(plan, request, ask, resolver, now)
    except Exception:  # noqa: BLE001 - logged by ``defect``
        error = defect("a row of a group by could not be answered", plan.stem if isinstance(plan, GroupByPlan) else "")
        return FeatureRow(RowStatus.ERROR, None, NO_TYPES, request.keys, error)


def _group_row(plan: GroupByPlan | KVError, request: FeatureRequest, ask: Ask | KVError | None, resolver: Resolver, now: int) -> FeatureRow:
    if isinstance(plan, KVError):
        return FeatureRow(RowStatus.ERROR, None, NO_TYPES, request.keys, plan)
    if ask is None:
        return FeatureRow(RowStatus.MISSING, None, plan.types, request.keys)
    if isinstance(ask, KVError):
        plan.metrics.errors += 1
        return FeatureRow(RowStatus.ERROR, None, plan.types, request.keys, ask)
    query_ts = now if request.at_millis is None else request.at_millis
    reply, error, fault = resolver.resolve(plan, ask, query_ts)
    if reply is None:
        plan.metrics.errors += 1
        return FeatureRow(RowStatus.ERROR, None, plan.types, request.keys, error)
    served, values = plan.served, reply.values
    features: dict[str, Any] | None
    errors: dict[str, KVError] = {}
    if served.derivations is not None:
        features, errors = derived(served, request.keys, values, query_ts)
    else:
        features = None if values is None else dict(zip(served.base_names, values))  # noqa: B905 - both come from the schema
    if values is None:
        plan.metrics.misses += 1
    else:
        plan.metrics.seen(served.batch_end, reply.stream_millis)
    freshness = {plan.stem: Freshness(served.batch_end, reply.stream_millis)}
    if errors:
        failed = next(iter(errors.values()))
        return FeatureRow(RowStatus.ERROR, features or None, plan.types, request.keys, failed, errors, freshness)
    if fault is not None:
        return FeatureRow(RowStatus.DEGRADED, features, plan.types, request.keys, None, {plan.stem: fault}, freshness)
    status = RowStatus.MISSING if values is None else RowStatus.OK
    return FeatureRow(status, features, plan.types, request.keys, None, errors, freshness)
