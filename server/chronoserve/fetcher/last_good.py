"""What reads answered last, for group bys whose policy is to serve that where a read fails (spec/online-fetch.md §7.4)."""

from cachebox import LRUCache

from chronoserve.fetcher.ports import Read

ENTRY_BYTES = 300
"""An entry without its value: keys, times, the cache's own."""


class LastGood:
    """Answers by read, within a budget of bytes; the least recently used go."""

    def __init__(self, bytes_max: int) -> None:
        self._kept: LRUCache[tuple[str, bytes], bytes] = LRUCache(
            max(1, bytes_max), getsizeof=lambda key, value: ENTRY_BYTES + len(key[1]) + len(value)
        )
        self._bytes_max = bytes_max

    def put(self, read: Read, answer: bytes) -> None:
        """A miss is an answer too."""
        if ENTRY_BYTES + len(read.key_bytes) + len(answer) <= self._bytes_max:
            self._kept[read.dataset, read.key_bytes] = answer

    def get(self, read: Read) -> bytes | None:
        """The last answer for the dataset and key, whatever time it was asked for; None: there was none."""
        return self._kept.get((read.dataset, read.key_bytes))
