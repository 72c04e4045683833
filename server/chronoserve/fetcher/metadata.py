"""Join confs, serving infos and team lists, as they are stored and kept (spec/online-fetch.md §4, §5)."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter
from typing import TypeVar

import structlog
import xxhash

from chronoserve.codec import confs, strings
from chronoserve.fetcher import timed
from chronoserve.fetcher.kept import Kept, Loaded, Loader
from chronoserve.fetcher.ports import Clock, Read, Reads
from chronoserve.fetcher.served import ServedGroupBy
from chronoserve.fetcher.settings import FetchSettings
from chronoserve.model import naming
from chronoserve.model.confs import GroupBy, Join, MetaData
from chronoserve.model.errors import Internal, InvalidRequest, KVError, UnknownConf, UnknownDataset

log = structlog.get_logger("chronoserve.fetcher")

T = TypeVar("T")

PARSE_INLINE_BYTES = 4 << 10
"""Confs above this are parsed on a thread, so that others are served meanwhile: a group by takes some 10 ms, a huge one 500."""
NAME_CHARACTERS_MAX = 200
"""A longer name is not repeated in an error."""


def shown(name: str) -> str:
    """The name as an error may quote it."""
    return name if len(name) <= NAME_CHARACTERS_MAX and name.isprintable() else "of that name"


class Metadata:
    """Three caches over the store. What they answer is an object that stays the same until what is stored changes.

    ``joins`` by name as requested, ``served`` by batch dataset (where names that differ in punctuation meet), ``teams`` by
    ``joins/<team>`` or ``group_bys/<team>``.
    """

    def __init__(self, reads: Reads, clock: Clock, settings: FetchSettings) -> None:
        self._reads = reads
        self._settings = settings
        self.joins: Kept[Join] = self._kept(self._loader(_join_read, _parse_join, _no_join), clock, settings.conf_fresh_millis)
        self.served: Kept[ServedGroupBy] = self._kept(
            self._loader(_serving_info_read, self._parse_served, _no_group_by), clock, settings.serving_info_fresh_millis
        )
        self.teams: Kept[frozenset[str]] = self._kept(self._loader(_team_read, _parse_team, _no_team), clock, settings.conf_fresh_millis)

    def _kept(self, load: Loader[T], clock: Clock, fresh_millis: int) -> Kept[T]:
        settings = self._settings
        return Kept(
            load,
            clock,
            fresh_millis=fresh_millis,
            stale_factor=settings.stale_factor,
            failure_millis=settings.failure_millis,
            entries_max=settings.metadata_entries_max,
        )

    def _parse_served(self, dataset: str, text: bytes) -> ServedGroupBy:
        info = confs.serving_info(text)
        entry = self.served.entry(dataset)
        known = entry.value if entry is not None else None
        later = known.moved(info, partition_format=self._settings.partition_format) if isinstance(known, ServedGroupBy) else None
        return later or ServedGroupBy(info, partition_format=self._settings.partition_format)

    def _loader(self, read: Callable[[str], Read], parse: Callable[[str, bytes], T], absent: Callable[[str], UnknownConf]) -> Loader[T]:
        """Reads several keys in one multi_get, and parses those whose text has changed."""

        async def load(known: Sequence[tuple[str, bytes]], deadline: float) -> list[Loaded[T]]:
            answers = await self._reads.multi_get([read(key) for key, _ in known], deadline=deadline)
            found: list[Loaded[T]] = []
            for (key, digest), answer in zip(known, answers, strict=True):
                if isinstance(answer, bytes) and len(answer) > PARSE_INLINE_BYTES:
                    found.append(await asyncio.to_thread(self._loaded, key, digest, answer, parse, absent))
                else:
                    found.append(self._loaded(key, digest, answer, parse, absent))
            return found

        return load

    def _loaded(
        self, key: str, digest: bytes, answer: bytes | KVError, parse: Callable[[str, bytes], T], absent: Callable[[str], UnknownConf]
    ) -> Loaded[T]:
        try:
            if isinstance(answer, UnknownDataset):
                return Loaded(absent(key))
            if isinstance(answer, KVError):
                return Loaded(answer)
            newest = timed.newest(answer)
            if newest is None:
                return Loaded(absent(key))
            return self._parsed(key, newest[0], digest, parse)
        except KVError as error:
            return Loaded(error)
        except Exception:
            log.exception("a conf could not be parsed", conf=shown(key))
            return Loaded(Internal(f"the conf {shown(key)} could not be understood: a defect of this server, which its log shows"))

    def _parsed(self, key: str, text: bytes, digest: bytes, parse: Callable[[str, bytes], T]) -> Loaded[T]:
        if len(text) > self._settings.conf_bytes_max:
            return Loaded(InvalidRequest(f"a conf of {len(text)} bytes is over the limit of {self._settings.conf_bytes_max}"))
        found = xxhash.xxh3_128_digest(text)
        if found == digest:
            return Loaded(None, digest)
        began = perf_counter()
        value = parse(key, text)
        if (took := perf_counter() - began) > 0.25:
            log.info("a conf took long to parse", seconds=round(took, 3), bytes=len(text))
        return Loaded(value, found)

    async def close(self) -> None:
        await asyncio.gather(self.joins.close(), self.served.close(), self.teams.close())


def _join_read(name: str) -> Read:
    return Read(naming.METADATA_DATASET, naming.join_conf_key(name).encode("utf-8", "surrogatepass"))


def _serving_info_read(dataset: str) -> Read:
    return Read(dataset, naming.SERVING_INFO_KEY)


def _team_read(key: str) -> Read:
    return Read(naming.ENTITIES_BY_TEAM_DATASET, key.encode("utf-8", "surrogatepass"))


def _parse_join(_: str, text: bytes) -> Join:
    return slim(confs.join(text))


def slim(join: Join) -> Join:
    """The join without what serving never asks of it: its left, and all of its group bys but their names and keys.

    What a group by computes is said by its serving info (§10); the copies in join confs would fill the memory.
    """
    parts = tuple(replace(part, group_by=_slim(part.group_by)) for part in join.join_parts)
    externals = join.online_external_parts
    if externals is not None:
        externals = tuple(replace(part, source=replace(part.source, offline_group_by=None)) for part in externals)
    return replace(join, left=None, join_parts=parts, online_external_parts=externals)


def _slim(group_by: GroupBy) -> GroupBy:
    meta_data = group_by.meta_data
    kept = MetaData(name=sys.intern(meta_data.name), team=meta_data.team, custom_json=meta_data.custom_json)
    return GroupBy(meta_data=kept, key_columns=group_by.key_columns)


def _parse_team(_: str, text: bytes) -> frozenset[str]:
    return frozenset(strings.decode(text))


def _no_join(name: str) -> UnknownConf:
    return UnknownConf(f"there is no join {shown(name)}: upload its conf with metadata-upload, and name it as team/join.v1")


def _no_group_by(dataset: str) -> UnknownConf:
    return UnknownConf(f"no group by is online as {shown(dataset)}: run its upload and load the table into that dataset")


def _no_team(key: str) -> UnknownConf:
    return UnknownConf(f"there is no list {shown(key)}: run metadata-upload for the team's folder")
