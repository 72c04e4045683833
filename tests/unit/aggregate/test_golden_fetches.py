"""Every recorded fetch of a TEMPORAL group by: bytes of the store in, the JVM's features out, by both ways of merging."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from chronoserve.aggregate.serving import Sawtooth
from chronoserve.codec import avro, compiled, confs
from chronoserve.codec.tagged import untag
from chronoserve.model.errors import TimeBeforeBatch
from tests.recordings import records
from tests.unit.aggregate.recorded import same

SHAPES = ("temporal", "mutations", "tiled")


@dataclass
class World:
    """One group by of the recording and what was in its store."""

    group_by: dict[str, Any]
    values: dict[tuple[str, bytes], list[tuple[int, bytes]]] = field(default_factory=lambda: defaultdict(list))
    requests: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        served = confs.serving_info(self.group_by["serving_info_json"])
        self.sawtooth = sawtooth = Sawtooth(served.group_by, avro.type_of(served.selected_avro_schema or "", clean=True))
        self.batches = compiled.decoder(sawtooth.batch_type)
        self.rows = compiled.decoder(
            sawtooth.tile_type if sawtooth.tiled else sawtooth.mutation_type if sawtooth.mutated else sawtooth.row_type
        )
        self.keys = compiled.encoder(avro.type_of(served.key_avro_schema or ""))

    @property
    def batch_end(self) -> int:
        return int(self.group_by["batch_end_millis"])

    def of(self, side: str, key: bytes) -> list[tuple[int, bytes]]:
        return sorted(self.values[self.group_by[f"{side}_dataset"], key], key=lambda stamped: stamped[0])

    def fetched(self, request: dict[str, Any], *, plainly: bool) -> dict[str, Any] | None:
        """As the fetcher does it, the key's nulls and casts aside: these requests have none."""
        key = self.keys.encode({name: untag(value) for name, value in request["keys"].items()})
        stored, stream = self.of("batch", key), [stamped for stamped in self.of("streaming", key) if stamped[0] >= self.batch_end]
        newest = max((ts for ts, _ in stored), default=None)
        batch = None
        if newest is not None and newest >= self.batch_end:
            batch = self.sawtooth.load_batch(self.batches.decode(stored[-1][1]))
        if batch is None and not stream:
            return None
        merge = self.sawtooth.merge_plainly if plainly else self.sawtooth.merge
        rows = self.rows.decode_rows([value for _, value in stream])
        times = [ts for ts, _ in stream]
        outputs = merge(batch, rows, times, query_ts=request["at_millis"], batch_end=self.batch_end, batch_max_ts=newest)
        return dict(zip(self.sawtooth.output_type.names, outputs, strict=True))


def worlds() -> Iterator[World]:
    world: World | None = None
    puts: list[dict[str, Any]] = []
    for record in records("b_group_by_temporal"):
        if record["kind"] == "world":
            if world is not None:
                yield world
            world, puts = None, []
        elif record["kind"] == "put":
            puts.append(record)
        elif record["kind"] == "group_by":
            world = World(record)
        elif world is not None:
            world.requests += zip(record["requests"], record["responses"], strict=True)
        if world is not None:
            for put in puts:
                world.values[put["dataset"], bytes.fromhex(put["key"])].append((put["ts"], bytes.fromhex(put["value"])))
            puts = []
    if world is not None:
        yield world


WORLDS = list(worlds())


def test_schemas_are_the_jvms() -> None:
    assert {world.group_by["shape"] for world in WORLDS} == set(SHAPES)
    for world in WORLDS:
        sawtooth = world.sawtooth
        made = {
            "ir": sawtooth.batch_type,
            "output": sawtooth.output_type,
            "tile": sawtooth.tile_type,
            "value": sawtooth.row_type,
            "mutation": sawtooth.mutation_type,
        }
        for name, data_type in made.items():
            assert avro.schema_text(data_type) == world.group_by[f"{name}_avro_schema"]


@pytest.mark.parametrize("plainly", [False, True], ids=["compiled", "plain"])
@pytest.mark.parametrize("shape", SHAPES)
def test_features_are_the_jvms(shape: str, *, plainly: bool) -> None:
    answered = 0
    for world in WORLDS:
        if world.group_by["shape"] != shape:
            continue
        for request, response in world.requests:
            if "error" in response:
                with pytest.raises(TimeBeforeBatch):
                    world.fetched(request, plainly=plainly)
                continue
            want = response["values"]
            want = None if want is None else {name: untag(value) for name, value in want.items()}
            got = world.fetched(request, plainly=plainly)
            assert same(got, want), (request, got, want)
            answered += want is not None
    assert answered > 100
