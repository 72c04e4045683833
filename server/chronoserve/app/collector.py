"""When the garbage collector looks: seldom, in processes that handle batches."""

import gc

GC_ALLOCATIONS = 50_000
"""Containers made and not yet freed that make the collector look: a few MiB at most."""


def settle_garbage_collector() -> None:
    """Take what start-up made out of the collector's sight, and let it look less often.

    A batch is thousands of short-lived tuples, which reference counting frees. With the default of 700 allocations the
    collector walks them several times a call, and that was a third of the cost of a MultiGet of 100 keys. Of a bulk load,
    which has tens of thousands of rows under way, it was a sixth.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 20, 50)
