"""The confs and serving infos that a world puts into its store, as far as comparing its answers needs them."""

from contextlib import suppress
from dataclasses import dataclass, field

from chronoserve.app.replay.faces import RecordedPut
from chronoserve.app.replay.shapes import Shapes, of_group_by, of_join
from chronoserve.codec import confs
from chronoserve.codec.avro import type_of
from chronoserve.model import naming
from chronoserve.model.confs import GroupByServingInfo, Join
from chronoserve.model.errors import InvalidRequest
from chronoserve.model.types import StructType

JOINS = "joins/"


@dataclass(slots=True)
class StoredConfs:
    """Learns from puts. What cannot be read says nothing here; the fetcher will say so."""

    _served: dict[str, GroupByServingInfo] = field(default_factory=dict)
    _joins: dict[str, bytes] = field(default_factory=dict)
    _shapes: dict[tuple[str, str], Shapes] = field(default_factory=dict)

    def learn(self, put: RecordedPut) -> None:
        """Take what a put says of a conf, if it does."""
        if put.key == naming.SERVING_INFO_KEY:
            self._shapes.clear()
            with suppress(InvalidRequest):
                served = confs.serving_info(put.value)
                self._served[served.group_by.meta_data.clean_name] = served
        elif put.dataset == naming.METADATA_DATASET:
            self._shapes.clear()
            self._joins[put.key.decode(errors="replace").removeprefix(JOINS)] = put.value

    def served(self, group_by: str) -> GroupByServingInfo | None:
        """By any spelling of the name."""
        return self._served.get(naming.sanitize(group_by))

    def join(self, name: str) -> Join | None:
        """By the name of a request."""
        with suppress(InvalidRequest, KeyError):
            return confs.join(self._joins[name])
        return None

    def key_type(self, group_by: str) -> StructType | None:
        """The type of a group by's keys, whose names are sanitised; None where there is none."""
        served = self.served(group_by)
        if served is None or served.key_avro_schema is None:
            return None
        with suppress(InvalidRequest):
            return type_of(served.key_avro_schema)
        return None

    def group_bys(self, api: str, name: str) -> list[GroupByServingInfo]:
        """What a request reads: the group by itself, or those of the join's parts that are served."""
        if api != "fetchJoin":
            names = [name]
        else:
            join = self.join(name)
            names = [part.group_by.meta_data.name for part in join.join_parts] if join is not None else []
        return [served for each in names if (served := self.served(each)) is not None]

    def shapes(self, api: str, name: str) -> Shapes:
        """Which features are heaps, for a join or group by as it is requested."""
        known = self._shapes.get((api, name))
        if known is None:
            known = self._shapes[api, name] = self._find_shapes(api, name)
        return known

    def _find_shapes(self, api: str, name: str) -> Shapes:
        with suppress(InvalidRequest):
            if api != "fetchJoin":
                served = self.served(name)
                return {} if served is None else of_group_by(served.group_by)
            join = self.join(name)
            if join is not None:
                return of_join(join, {clean: self._of_group_by(clean) for clean in self._served})
        return {}

    def _of_group_by(self, clean_name: str) -> Shapes:
        with suppress(InvalidRequest):
            return of_group_by(self._served[clean_name].group_by)
        return {}
