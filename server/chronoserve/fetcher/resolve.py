"""From the store's answers to what each group by says of each row, and what is to be said of reads that failed."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from chronoserve.fetcher.asks import NOT_READ, Ask
from chronoserve.fetcher.defects import defect
from chronoserve.fetcher.last_good import LastGood
from chronoserve.fetcher.observe import Call, Phase
from chronoserve.fetcher.plan import GroupByPlan
from chronoserve.fetcher.ports import Read
from chronoserve.fetcher.reply import Batch, Reply, load_batch, load_stream, merge
from chronoserve.fetcher.served import ServedGroupBy
from chronoserve.fetcher.settings import FailedReadPolicy, FetchSettings
from chronoserve.model.errors import KVError, LateBatch, UnknownDataset

NOTHING = b""


class Resolved(NamedTuple):
    """``error``: the group by has no reply. ``fault``: it has one that is not what it should be, and why."""

    reply: Reply | None
    error: KVError | None = None
    fault: KVError | None = None


class Resolver:
    """Resolves the asks of one call."""

    def __init__(
        self,
        reads: Sequence[Read],
        answers: Sequence[bytes | KVError],
        settings: FetchSettings,
        call: Call,
        *,
        repeated: bool,
        last_good: LastGood | None,
        newer_batch: Callable[[str], None],
    ) -> None:
        """``newer_batch`` is told the group by of each batch value that is newer than its serving info."""
        self._reads = reads
        self._answers = answers
        self._settings = settings
        self._call = call
        self._memo: dict[tuple[bytes, int, int, int, int], Resolved] | None = {} if repeated else None
        self._last_good = last_good
        self._newer_batch = newer_batch

    def resolve(self, group: GroupByPlan, ask: Ask, query_ts: int) -> Resolved:
        """What the group by says. Never raises: an error of the row is in its place."""
        memo = self._memo
        if memo is None:
            return self._resolve(group, ask, query_ts)
        key = (ask.key, ask.batch, ask.stream, id(group), query_ts)
        found = memo.get(key)
        if found is None:
            found = memo[key] = self._resolve(group, ask, query_ts)
        return found

    def _resolve(self, group: GroupByPlan, ask: Ask, query_ts: int) -> Resolved:
        try:
            return self._resolved(group, ask, query_ts)
        except KVError as error:
            return Resolved(None, error)
        except Exception:  # noqa: BLE001 - logged by ``defect``
            return Resolved(None, defect("a group by could not be answered", group.served.name))

    def _resolved(self, group: GroupByPlan, ask: Ask, query_ts: int) -> Resolved:
        served = group.served
        fault: KVError | None = None
        stream: bytes | KVError = NOTHING if ask.stream == NOT_READ else self._answers[ask.stream]
        if isinstance(stream, KVError):
            stream, fault = self._failed(served, ask.stream, stream)
        batch = ask.cached
        if batch is None:
            stored = self._answers[ask.batch]
            if isinstance(stored, KVError):
                stored, fault = self._failed(served, ask.batch, stored)
            batch = self._load(group, ask, stored)
        rows = load_stream(served, stream, query_ts, skip_undecodable=group.skip)
        self._call.lap(Phase.DECODE)
        found = merge(served, batch, rows, query_ts)
        self._call.lap(Phase.MERGE)
        if found.late and fault is None:
            fault = LateBatch(
                f"the batch data of {served.name} ends at {served.batch_end}, more than two days before the time that was asked for: "
                "windows longer than two days hold values that should have left them"
            )
        return Resolved(found, None, fault)

    def _load(self, group: GroupByPlan, ask: Ask, stored: bytes) -> Batch:
        served = group.served
        batch = load_batch(served, stored)
        if batch.max_millis is not None and batch.max_millis > served.batch_end:
            self._newer_batch(served.name)
        if group.cache is not None and batch.content is not None:
            group.cache.put(served, ask.key, batch, len(stored))
        return batch

    def _failed(self, served: ServedGroupBy, at: int, error: KVError) -> tuple[bytes, KVError | None]:
        """What stands in for a failed read, and what is said of it. Raises the error where the policy is to fail."""
        if isinstance(error, UnknownDataset):  # nothing was ever stored there: no data, and not a failure
            return NOTHING, None
        policy = self._settings.policy_of(served.name)
        if policy is FailedReadPolicy.FAIL:
            raise error.with_traceback(None)
        if policy is FailedReadPolicy.LAST_GOOD and self._last_good is not None:
            return self._last_good.get(self._reads[at]) or NOTHING, error
        return NOTHING, error
