"""Plans of joins and group bys, kept while what they were made of does not change (spec/online-fetch.md §5)."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from chronoserve.fetcher.batch_cache import BatchCache
from chronoserve.fetcher.join_plan import JoinPlan
from chronoserve.fetcher.metadata import Metadata, shown
from chronoserve.fetcher.observe import FetchMetrics
from chronoserve.fetcher.plan import GroupByPlan
from chronoserve.fetcher.ports import BATCH_IR_CACHE, ENTITY_VALIDITY_CHECK, GROUP_BY_ATTRIBUTE, SKIP_UNDECODABLE_STREAM, FlagStore
from chronoserve.fetcher.served import ServedGroupBy
from chronoserve.fetcher.settings import FetchSettings
from chronoserve.model import naming
from chronoserve.model.confs import Join
from chronoserve.model.errors import FailedPrecondition, Internal, KVError

log = structlog.get_logger("chronoserve.fetcher")

NEWER_BATCH_MILLIS = 1_000
"""A serving info younger than this is not loaded again because a newer batch value was seen: uploads take longer than that."""
PLAN_INLINE_SIZE = 1_000
DERIVATION_SIZE = 20
"""Larger plans are made on a thread of their own, so that others are served meanwhile."""
CONF_PLANS_MAX = 64
"""Plans kept of confs that callers bring along."""


@dataclass(slots=True)
class _Kept:
    """A plan, or why there is none, and until when it is used without looking."""

    plan: JoinPlan | KVError
    until: int


@dataclass(slots=True)
class _KeptGroup:
    plan: GroupByPlan | KVError
    until: int


class Plans:
    """Plans by name as requested. Looking one up costs a comparison; what they are made of is looked at about once a second."""

    def __init__(
        self, metadata: Metadata, settings: FetchSettings, flags: FlagStore | None, metrics: FetchMetrics, cache: BatchCache | None
    ) -> None:
        """``cache``: for the batches of group bys whose flag is set."""
        self._metadata = metadata
        self._cache = cache
        self._settings = settings
        self._flags = flags
        self._metrics = metrics
        self._joins: dict[str, _Kept] = {}
        self._groups: dict[str, _KeptGroup] = {}
        self._by_dataset: dict[str, GroupByPlan] = {}
        self._of_confs: dict[int, JoinPlan] = {}
        self._planning = asyncio.Lock()

    def newer_batch(self, group_by: str) -> None:
        """A batch value newer than the serving info was read: the rest of the upload should be there soon."""
        self._metadata.served.hint(naming.batch_dataset(group_by), NEWER_BATCH_MILLIS)

    # joins

    async def joins(self, names: Iterable[str], now: int, *, deadline: float) -> dict[str, JoinPlan | KVError]:
        """A plan for each name, or why there is none."""
        found: dict[str, JoinPlan | KVError] = {}
        look: list[str] = []
        for name in names:
            kept = self._joins.get(name)
            if kept is not None and now < kept.until:
                found[name] = kept.plan
            else:
                look.append(name)
        if look:
            found.update(await self._look_up(look, now, deadline))
        return found

    async def _look_up(self, names: Sequence[str], now: int, deadline: float) -> dict[str, JoinPlan | KVError]:
        confs = dict(zip(names, await self._metadata.joins.get(names, deadline=deadline), strict=True))
        good = [conf for conf in confs.values() if isinstance(conf, Join)]
        groups = await self._of_group_bys({part.group_by.meta_data.name for conf in good for part in conf.join_parts}, deadline)
        invalid = await self._invalid(
            {name: (f"joins/{conf.meta_data.owning_team}", f"joins/{name}") for name, conf in confs.items() if isinstance(conf, Join)},
            deadline,
        )
        found: dict[str, JoinPlan | KVError] = {}
        for name, conf in confs.items():
            found[name] = await self._join_plan(name, conf, groups, invalid.get(name), now)
        return found

    async def _join_plan(
        self, name: str, conf: Join | KVError, groups: Mapping[str, GroupByPlan | KVError], invalid: KVError | None, now: int
    ) -> JoinPlan | KVError:
        """The plan that is kept from now on: the one before, where it was made of the same, or a new one."""
        plan: JoinPlan | KVError | None = conf if isinstance(conf, KVError) else None
        if not isinstance(conf, KVError):
            mine = {part.group_by.meta_data.name: groups[part.group_by.meta_data.name] for part in conf.join_parts}
            plan = self._planned_before(name, conf, mine, invalid)
            if plan is None and plan_size(conf, mine) > PLAN_INLINE_SIZE:
                return await self._plan_on_thread(name, conf, mine, invalid, now)
            plan = plan or _planned(name, conf, mine, invalid)
        assert plan is not None
        self._keep(name, plan, now)
        return plan

    def _planned_before(
        self, name: str, conf: Join, groups: Mapping[str, GroupByPlan | KVError], invalid: KVError | None
    ) -> JoinPlan | None:
        kept = self._joins.get(name)
        if kept is None or isinstance(kept.plan, KVError):
            return None
        return kept.plan if kept.plan.made_of(conf, groups, invalid) else kept.plan.moved(conf, groups, invalid)

    async def _plan_on_thread(
        self, name: str, conf: Join, groups: Mapping[str, GroupByPlan | KVError], invalid: KVError | None, now: int
    ) -> JoinPlan | KVError:
        """One large plan at a time: those who wait for the same one find it made."""
        async with self._planning:
            plan: JoinPlan | KVError | None = self._planned_before(name, conf, groups, invalid)
            if plan is None:
                plan = await asyncio.to_thread(_planned, name, conf, groups, invalid)
            self._keep(name, plan, now)
            return plan

    def _keep(self, name: str, plan: JoinPlan | KVError, now: int) -> None:
        dues = [self._metadata.joins.due_at(name)]
        if isinstance(plan, JoinPlan):
            dues += [self._metadata.served.due_at(naming.batch_dataset(group_by)) for group_by in plan.groups]
        until = max(now, min(dues))
        self._joins.pop(name, None)
        self._joins[name] = _Kept(plan, until)
        if len(self._joins) > self._settings.metadata_entries_max:
            del self._joins[next(iter(self._joins))]

    async def of_conf(self, conf: Join, *, deadline: float) -> JoinPlan:
        """The plan of a conf that the caller brings along."""
        groups = await self._of_group_bys({part.group_by.meta_data.name for part in conf.join_parts}, deadline)
        kept = self._of_confs.get(id(conf))
        if kept is None or not kept.made_of(conf, groups, None):
            if len(self._of_confs) >= CONF_PLANS_MAX:
                self._of_confs.clear()
            kept = self._of_confs[id(conf)] = JoinPlan(conf, groups, None)
        return kept

    # group bys

    async def group_bys(self, names: Iterable[str], now: int, *, deadline: float) -> dict[str, GroupByPlan | KVError]:
        """A plan for each name, or why there is none."""
        found: dict[str, GroupByPlan | KVError] = {}
        look: list[str] = []
        for name in names:
            kept = self._groups.get(name)
            if kept is not None and now < kept.until:
                found[name] = kept.plan
            else:
                look.append(name)
        if look:
            plans = await self._of_group_bys(look, deadline)
            plans |= await self._invalid_group_bys(plans, deadline)
            for name in look:
                found[name] = plans[name]
                self._keep_group(name, plans[name], now)
        return found

    def _keep_group(self, name: str, plan: GroupByPlan | KVError, now: int) -> None:
        self._groups.pop(name, None)
        self._groups[name] = _KeptGroup(plan, max(now, self._metadata.served.due_at(naming.batch_dataset(name))))
        if len(self._groups) > self._settings.metadata_entries_max:
            del self._groups[next(iter(self._groups))]

    async def _of_group_bys(self, names: Iterable[str], deadline: float) -> dict[str, GroupByPlan | KVError]:
        datasets = {name: naming.batch_dataset(name) for name in names}
        served = await self._metadata.served.get(list(datasets.values()), deadline=deadline)
        return {name: self._group_plan(dataset, each) for (name, dataset), each in zip(datasets.items(), served, strict=True)}

    def _group_plan(self, dataset: str, served: ServedGroupBy | KVError) -> GroupByPlan | KVError:
        if isinstance(served, KVError):
            return served
        cache = self._cache if self._flag(BATCH_IR_CACHE, served.name) else None
        skip = self._flag(SKIP_UNDECODABLE_STREAM, served.name) if self._flags is not None else self._settings.skip_undecodable_stream
        kept = self._by_dataset.get(dataset)
        if kept is None or kept.served is not served or kept.cache is not cache or kept.skip != skip:
            if len(self._by_dataset) >= self._settings.metadata_entries_max:
                self._by_dataset.clear()
            metrics = self._metrics.part(served.name, served.group_by.meta_data.owning_team)
            stem = served.group_by.meta_data.clean_name
            kept = self._by_dataset[dataset] = GroupByPlan(served, cache, skip, metrics, stem, served.types())
        return kept

    def _flag(self, flag: str, group_by: str) -> bool:
        return self._flags is not None and self._flags.is_set(flag, {GROUP_BY_ATTRIBUTE: group_by})

    # validity

    async def _invalid_group_bys(self, plans: dict[str, GroupByPlan | KVError], deadline: float) -> dict[str, KVError]:
        wanted = {
            name: (
                f"group_bys/{plan.served.group_by.meta_data.owning_team}",
                f"group_bys/{name if '/' in name else name.replace('.', '/', 1)}",
            )
            for name, plan in plans.items()
            if isinstance(plan, GroupByPlan)
        }
        return await self._invalid(wanted, deadline)

    async def _invalid(self, wanted: dict[str, tuple[str, str]], deadline: float) -> dict[str, KVError]:
        """Those of the names that are in no list of their team, where the check is on (spec/online-fetch.md §4.3).

        ``wanted``: (list, entry) by name. A list that cannot be read has nobody in it.
        """
        if self._flags is None or not wanted or not self._flags.is_set(ENTITY_VALIDITY_CHECK, {}):
            return {}
        keys = list({key for key, _ in wanted.values()})
        lists = dict(zip(keys, await self._metadata.teams.get(keys, deadline=deadline), strict=True))
        return {name: _invalid(name, lists[key]) for name, (key, entry) in wanted.items() if not _listed(entry, lists[key])}


def plan_size(conf: Join, groups: Mapping[str, GroupByPlan | KVError]) -> int:
    """About how much there is to plan: features, and derivations, each of which costs as much as a few of them."""
    features = sum(len(group.types) for group in groups.values() if isinstance(group, GroupByPlan))
    return features + DERIVATION_SIZE * len(conf.derivations or ())


def _planned(name: str, conf: Join, groups: Mapping[str, GroupByPlan | KVError], invalid: KVError | None) -> JoinPlan | KVError:
    try:
        return JoinPlan(conf, groups, invalid)
    except KVError as error:
        return error
    except Exception:
        log.exception("a join could not be planned", join=shown(name))
        return Internal(f"the join {shown(name)} could not be planned: a defect of this server, which its log shows")


def _listed(entry: str, members: frozenset[str] | KVError) -> bool:
    return not isinstance(members, KVError) and entry in members


def _invalid(name: str, members: frozenset[str] | KVError) -> KVError:
    why = "its list cannot be read" if isinstance(members, KVError) else "its list lacks it"
    return FailedPrecondition(f"{shown(name)} is not active in its team: {why}; run metadata-upload for the team's folder")
