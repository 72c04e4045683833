"""Settings of the fetcher, with their units and why their defaults are what they are."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class FailedReadPolicy(enum.Enum):
    """What a row says where a read of one group by failed; Chronon says "no data" (spec/online-fetch.md §7.4)."""

    FAIL = "fail"
    """The part fails: its features are absent, as with any other error of the part."""
    DEGRADE = "degrade"
    """The part is answered from what could be read, and named with the reason."""
    LAST_GOOD = "last good"
    """As DEGRADE, with the last answer of this process for the same read in place of the failed one, where it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSettings:
    serving_info_fresh_millis: int = 1_000
    """A serving info younger than this is used as it is; an older one is used and reloaded meanwhile, so that a new upload is
    picked up within two seconds (issue 4)."""
    conf_fresh_millis: int = 5_000
    """The same for join confs and team lists."""
    stale_factor: float = 2.0
    """Metadata older than this many times its fresh age is reloaded before it is used; the last good is kept if that fails."""
    failure_millis: int = 2_000
    """How long a failed look-up of metadata is answered from memory; with jitter never more than 5 s."""
    metadata_entries_max: int = 20_000
    """Confs kept in memory, the least recently used go; also what unknown names can fill."""
    conf_bytes_max: int = 4 << 20
    """A conf above this is refused without being parsed."""
    reads_per_call_max: int = 10_000
    """Reads that go to the store in one multi_get; a larger plan makes several, one after the other."""
    batch_ir_cache_bytes: int = 64 << 20
    """Decoded batch values kept; 0 keeps none. Used for group bys whose flag ``enable_fetcher_batch_ir_cache`` is set."""
    batch_ir_ttl_millis: int = 60_000
    """A cached batch is read again after this long: an upload for the same day would not be seen otherwise."""
    last_good_bytes: int = 16 << 20
    """Read answers kept for group bys with the policy LAST_GOOD."""
    failed_reads: FailedReadPolicy = FailedReadPolicy.DEGRADE
    failed_reads_of: Mapping[str, FailedReadPolicy] = field(default_factory=dict)
    """By group by name; others have ``failed_reads``."""
    skip_undecodable_stream: bool = False
    """Chronon's ``disableErrorThrows``: without a flag store, a streamed value that cannot be decoded is left out."""
    partition_format: str = "yyyy-MM-dd"
    """How batch end dates are written (Chronon's setPartitionMeta)."""
    model_attempts: int = 3
    """How often a model is tried before its outputs are null (spec/online-fetch.md §13)."""

    debug: bool = False
    """Chronon's ``debug``: every row of a join that has a sample is logged, whatever its keys (spec/online-fetch.md §16.1)."""

    def policy_of(self, group_by: str) -> FailedReadPolicy:
        return self.failed_reads_of.get(group_by, self.failed_reads)
