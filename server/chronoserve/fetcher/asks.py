"""What a call asks of the store: for each (row, group by) a batch read and perhaps a stream's, each once (spec/online-fetch.md §7.1)."""

from typing import NamedTuple

from chronoserve.fetcher.ports import Read
from chronoserve.fetcher.reply import Batch
from chronoserve.fetcher.served import ServedGroupBy

NOT_READ = -1
"""Stands for a read that is not made: no stream is read for a SNAPSHOT, no batch where a cache has it."""

_read = tuple.__new__  # a NamedTuple's own constructor costs twice as much


class Ask(NamedTuple):
    """Positions of a group by's reads among those of the call; NOT_READ where there is none. ``cached``: the batch that a cache had."""

    key: bytes
    batch: int
    stream: int
    cached: Batch | None = None


class Asks:
    """The reads of one call. ``repeated``: some were asked for more than once, so replies repeat too."""

    __slots__ = ("_at", "reads", "repeated")

    def __init__(self) -> None:
        self.reads: list[Read] = []
        self._at: dict[Read, int] = {}
        self.repeated = False

    def ask(self, served: ServedGroupBy, key: bytes, cached: Batch | None, *, stream: bool) -> Ask:
        """``cached``: the key's batch, where a cache has it. ``stream``: there is a stream to read."""
        batch = NOT_READ if cached is not None else self._add(_read(Read, (served.batch_dataset, key, 0)))
        streamed = self._add(_read(Read, (served.streaming_dataset, key, served.batch_end))) if stream else NOT_READ
        return Ask(key, batch, streamed, cached)

    def _add(self, read: Read) -> int:
        reads = self.reads
        at = self._at.setdefault(read, len(reads))
        if at == len(reads):
            reads.append(read)
        else:
            self.repeated = True
        return at
