"""Reads that keep what they hold in bounds: a batch is asked for in portions that are small where values are large.

An engine answers what it is asked for, and what that weighs is known when it is here. So a store remembers how much a key has
weighed lately: batches of ordinary values are one portion, and one round trip, and the first of a new store are two.
"""

from collections.abc import Awaitable, Callable, Sequence
from itertools import accumulate

from chronoserve.kvstore.port import ANSWER_BYTES_MAX, GetRequest, GetResult, too_much
from chronoserve.model.errors import AnswerTooLarge, KVError

UNKNOWN_BYTES = 1 << 20
"""So much at first that a store of ordinary values is asked for few keys, once."""
SHARE = 4
"""A portion is expected to take at most this part of the bytes that are left: keys may weigh more than those before."""
FORGETTING = 0.25
"""What is left, after a whole portion, of a weight that is not met any more; after less than that, accordingly more is left."""


class Portions:
    """The weight of the keys of one store. ``bytes_max``: of all answers of one batch."""

    def __init__(self, key_bytes: int = UNKNOWN_BYTES) -> None:
        """``key_bytes``: what a key is taken to weigh before the first has come."""
        self.bytes_max = ANSWER_BYTES_MAX
        self._key_bytes = float(key_bytes)

    def fits(self, keys: int) -> bool:
        """Whether so many keys are one portion."""
        return keys * self._key_bytes * SHARE <= self.bytes_max

    def taken(self, results: list[GetResult], left: int) -> tuple[list[GetResult], int]:
        """What of ``results`` fits into ``left`` bytes, up to the first that does not, and the bytes left then; below 0: some did not fit.

        From now on the keys of this store are taken to weigh as much as these; what failed tells nothing of its weight.
        """
        sizes = [len(result) if isinstance(result, bytes) else left + 1 if isinstance(result, AnswerTooLarge) else 0 for result in results]
        total = sum(sizes)
        self._weigh(total, len(results) - (_failed(results) if 0 in sizes else 0), left)
        if total <= left:
            return results, left - total
        fitting = sum(1 for total in accumulate(sizes) if total <= left)
        return results[:fitting], -1

    def _weigh(self, size: int, keys: int, left: int) -> None:
        """Learn that ``keys`` weighed ``size`` bytes, when a portion was of what may be in ``left``."""
        if keys:
            of_a_portion = min(1.0, keys * self._key_bytes * SHARE / max(1, left))
            self._key_bytes = max(1.0, size / keys, self._key_bytes * (1 - (1 - FORGETTING) * of_a_portion))

    async def read(
        self, requests: Sequence[GetRequest], ask: Callable[[Sequence[GetRequest]], Awaitable[list[GetResult]]]
    ) -> list[GetResult]:
        """What ``ask`` answers to all of the requests, in order; the first that is beyond ``bytes_max`` and all after it are refused.

        What was held beyond them was at most one portion.
        """
        results: list[GetResult] = []
        left = self.bytes_max
        while True:
            keys = max(1, int(left / (self._key_bytes * SHARE)))
            found, left = self.taken(await ask(requests[len(results) : len(results) + keys]), left)
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


def _failed(results: list[GetResult]) -> int:
    return sum([isinstance(result, KVError) and not isinstance(result, AnswerTooLarge) for result in results])
