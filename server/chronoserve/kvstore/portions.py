"""Reads that keep what they hold in bounds: a batch is asked for in portions that are small where values are large.

An engine answers what it is asked for, and what that weighs is known when it is here. So a store remembers how much a key has
weighed lately, for each dataset of large values and for all others: batches of ordinary values are one portion, and one round trip,
and the first of a new store are two.
"""

from collections.abc import Awaitable, Callable, Sequence
from itertools import accumulate

from chronoserve.kvstore.port import ANSWER_BYTES_MAX, GetRequest, GetResult, too_much
from chronoserve.model.dataset import Dataset
from chronoserve.model.errors import AnswerTooLarge, KVError

UNKNOWN_BYTES = 1 << 20
"""So much at first that a store of ordinary values is asked for few keys, once."""
SHARE = 4
"""A portion is expected to take at most this part of the bytes that are left: keys may weigh more than those before."""
FORGETTING = 0.25
"""What is left, after a whole portion, of a weight that is not met any more; after less than that, accordingly more is left."""
HEAVY_KEYS = 256
"""A dataset of which a portion has fewer keys is heavy, and has a weight of its own: reads of others must not make it forgotten,
nor be cut for it."""
WEIGHED_PART = 64
"""Answers of less than this part of what a call may have are of no heavy dataset, or of few of its keys."""


class Portions:
    """The weight of the keys of one store. ``bytes_max``: of all answers of one batch."""

    def __init__(self, key_bytes: int = UNKNOWN_BYTES) -> None:
        """``key_bytes``: what a key is taken to weigh before the first has come."""
        self.bytes_max = ANSWER_BYTES_MAX
        self._key_bytes = float(key_bytes)
        self._heavy: dict[Dataset, float] = {}
        """What a key of a heavy dataset weighs; ``_key_bytes`` is for all others."""

    def fits(self, requests: Sequence[GetRequest]) -> bool:
        """Whether they are one portion."""
        if not self._heavy:  # every call of some stores asks this
            return len(requests) * self._key_bytes * SHARE <= self.bytes_max
        return self._portion(requests, self.bytes_max) == len(requests)

    def _portion(self, requests: Sequence[GetRequest], left: int) -> int:
        """How many of ``requests`` are asked for where ``left`` bytes are left: at least one, if there is any."""
        heavy, room = self._heavy, left / SHARE
        if not heavy:
            return min(len(requests), max(1, int(room / self._key_bytes)))
        if len(requests) * max(self._key_bytes, *heavy.values()) <= room:
            return len(requests)
        weights = accumulate([heavy.get(dataset, self._key_bytes) for dataset, _, _ in requests])
        return max(1, sum(1 for weight in weights if weight <= room))

    def taken(self, requests: Sequence[GetRequest], results: list[GetResult], left: int) -> tuple[list[GetResult], int]:
        """What of ``results`` fits into ``left`` bytes, up to the first that does not, and the bytes left then; below 0: some did not fit.

        From now on the keys of these datasets are taken to weigh as much as these; what failed tells nothing of its weight.
        """
        sizes = [len(result) if isinstance(result, bytes) else left + 1 if isinstance(result, AnswerTooLarge) else 0 for result in results]
        total = sum(sizes)
        if self._heavy or total * WEIGHED_PART > self.bytes_max:
            self._weigh_datasets(requests, results, sizes, left)
        else:
            self._key_bytes = _weight(self._key_bytes, total, len(results) - (_failed(results) if 0 in sizes else 0), left)
        if total <= left:
            return results, left - total
        fitting = sum(1 for total in accumulate(sizes) if total <= left)
        return results[:fitting], -1

    def _weigh_datasets(self, requests: Sequence[GetRequest], results: list[GetResult], sizes: list[int], left: int) -> None:
        of_datasets: dict[Dataset, list[int]] = {}
        for (dataset, _, _), result, size in zip(requests, results, sizes, strict=True):
            if size or not isinstance(result, KVError):
                of_datasets.setdefault(dataset, []).append(size)
        light: list[int] = []
        for dataset, known in of_datasets.items():
            weight = _weight(self._heavy.pop(dataset, 1.0), sum(known), len(known), left)
            if weight * SHARE * HEAVY_KEYS > self.bytes_max:
                self._heavy[dataset] = weight
            else:
                light += known
        self._key_bytes = _weight(self._key_bytes, sum(light), len(light), left)

    async def read(
        self, requests: Sequence[GetRequest], ask: Callable[[Sequence[GetRequest]], Awaitable[list[GetResult]]]
    ) -> list[GetResult]:
        """What ``ask`` answers to all of the requests, in order; the first that is beyond ``bytes_max`` and all after it are refused.

        An error that ``ask`` raises is raised if nothing has been answered before, else it is the answer of the rest.
        What is held beyond ``bytes_max`` is at most one portion.
        """
        results: list[GetResult] = []
        left = self.bytes_max
        while True:
            asked = requests[len(results) :] if results else requests
            asked = asked[: self._portion(asked, left)]
            try:
                found, left = self.taken(asked, await ask(asked), left)
            except KVError as error:
                if not results:
                    raise
                return [*results, *[error] * (len(requests) - len(results))]
            results = [*results, *found] if results else found
            if left < 0 or len(results) == len(requests):
                return self.refuse_rest(results, len(requests))

    def refuse_rest(self, results: list[GetResult], requests: int) -> list[GetResult]:
        """``results`` with a refusal for each of ``requests`` that has none."""
        missing = requests - len(results)
        return [*results, *[too_much(self.bytes_max)] * missing] if missing else results


class Budget:
    """Bytes that the answers of one call may have, counted where several reads bring them at once."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = self._left = bytes_max

    def take(self, size: int) -> None:
        """Raises AnswerTooLarge where ``size`` more bytes are too many, as any more are from then on."""
        self._left -= size
        if self._left < 0:
            raise too_much(self._bytes_max)


def _weight(before: float, size: int, keys: int, left: int) -> float:
    """What a key is taken to weigh after ``keys`` weighed ``size`` bytes, where a portion was of what may be in ``left``."""
    if not keys:
        return before
    of_a_portion = min(1.0, keys * before * SHARE / max(1, left))
    return max(1.0, size / keys, before * (1 - (1 - FORGETTING) * of_a_portion))


def _failed(results: list[GetResult]) -> int:
    return sum([isinstance(result, KVError) and not isinstance(result, AnswerTooLarge) for result in results])
