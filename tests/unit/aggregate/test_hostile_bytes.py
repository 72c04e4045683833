"""Stored sketches and objects that nobody wrote: an answer or CorruptValue, within the room that they have."""

import random
from typing import Any

import pytest

from chronoserve.aggregate import cpc_image, kll, parts
from chronoserve.aggregate.operations import aggregator
from chronoserve.aggregate.rows import RowAggregator
from chronoserve.model.confs import Aggregation, Operation
from chronoserve.model.errors import CorruptValue, InvalidRequest
from chronoserve.model.types import BINARY, DOUBLE, LONG, STRING, Field, StructType

datasketches = pytest.importorskip("datasketches")


def cpc_images() -> list[bytes]:
    images = []
    for lg_k in (4, 8, 11):
        for values in (0, 1, 3, 20, 100, 400, 3000):
            raw, union = datasketches.cpc_sketch(lg_k), datasketches.cpc_union(lg_k)
            for value in range(values):
                raw.update(value)
            union.update(raw)
            images += [bytes(raw.serialize()), bytes(union.get_result().serialize())]
    return images


def kll_images() -> list[bytes]:
    images = []
    for values in (0, 1, 2, 50, 500, 3000):
        sketch = datasketches.kll_floats_sketch(128)
        for value in range(values):
            sketch.update(float(value))
        images.append(bytes(sketch.serialize()))
    return images


def histograms() -> list[bytes]:
    operation = aggregator(Operation.APPROX_HISTOGRAM_K, LONG, {"k": "8"})
    irs: list[bytes] = []
    for values in (1, 5, 40):
        ir = operation.prepare(0, 0)
        for value in range(values):
            ir = operation.update(ir, value * value, 0)
        irs.append(operation.stored(ir))
    return irs


CPC, KLL, HISTOGRAMS = cpc_images(), kll_images(), histograms()


def mangled(image: bytes, chance: random.Random) -> bytes:
    changed = bytearray(image)
    for _ in range(chance.randrange(1, 6)):
        changed[chance.randrange(len(changed))] = chance.choice((0, 1, 127, 255, chance.randrange(256)))
    return bytes(changed[: chance.randrange(len(changed))] if chance.random() < 0.2 else changed)


@pytest.mark.parametrize("image", CPC, ids=len)
def test_a_checked_cpc_image_reads_to_the_same_sketch(image: bytes) -> None:
    assert datasketches.cpc_sketch.deserialize(cpc_image.checked(image)).serialize() == image


@pytest.mark.parametrize("image", KLL, ids=len)
def test_kll_images_pass(image: bytes) -> None:
    kll.check(image)


@pytest.mark.parametrize(
    ("operation", "images"),
    [(Operation.APPROX_UNIQUE_COUNT, CPC), (Operation.APPROX_PERCENTILE, KLL), (Operation.APPROX_HISTOGRAM_K, HISTOGRAMS)],
    ids=lambda case: case.name if isinstance(case, Operation) else "",
)
def test_mangled_images_answer_or_are_corrupt(operation: Operation, images: list[bytes]) -> None:
    row = RowAggregator(
        parts.unpacked([Aggregation(input_column="v", operation=operation, arg_map={"k": "8"})]), StructType("R", (Field("v", LONG),))
    )
    chance = random.Random(operation.value)
    outcomes = {True: 0, False: 0}
    for _ in range(3000):
        outcomes[answers(row, mangled(chance.choice(images), chance))] += 1
    assert min(outcomes.values()) > 100


def answers(row: RowAggregator, image: bytes) -> bool:
    try:
        ir = row.loaded((image,))
        row.update(ir, (5,), 0)
        row.finalize(row.merge(row.loaded((image,)), row.clone(ir)))
        row.stored(ir)
    except CorruptValue:
        return False
    return True


def header(*, lg_k: int = 8, flags: int = 10, coupons: int = 1, words: int = 1, data: bytes = bytes(4)) -> bytes:
    return bytes((4, 1, 16, lg_k, 0, flags)) + b"\xcc\x93" + coupons.to_bytes(4, "little") + words.to_bytes(4, "little") + data


@pytest.mark.parametrize(
    "image",
    [
        header(lg_k=3),
        header(lg_k=27),
        header(flags=2),
        header(flags=8),
        header(coupons=0),
        header(coupons=1 << 31),
        header(coupons=17),
        header(words=2),
        header(words=0),
        header(lg_k=26, flags=18, coupons=1 << 26),
        header(data=b"\xff\xff\xff\xff"),
        b"",
        bytes(8),
    ],
)
def test_cpc_images_that_announce_more_than_they_have(image: bytes) -> None:
    with pytest.raises(CorruptValue):
        cpc_image.checked(image)


def test_a_single_value_in_an_image_is_the_librarys_own() -> None:
    for lg_k in (4, 8, 11, 16, 26):
        for value in range(200):
            sketch, union = datasketches.cpc_sketch(lg_k), datasketches.cpc_union(lg_k)
            sketch.update(value)
            union.update(sketch)
            assert cpc_image.singleton(value.to_bytes(8, "little"), lg_k) == union.get_result().serialize()


@pytest.mark.parametrize("value", [b"\xff", b"\x80abc", bytes(range(128, 160)), b"\xff" * 33])
def test_bytes_that_are_no_text_count_once(value: bytes) -> None:
    operation = aggregator(Operation.APPROX_UNIQUE_COUNT, BINARY, None)
    ir: Any = operation.prepare(value, 0)
    for other in (value, b"text", value):
        ir = operation.update(ir, other, 0)
    assert operation.finalize(ir) == 2


def test_text_and_its_bytes_count_alike() -> None:
    texts, data = (aggregator(Operation.APPROX_UNIQUE_COUNT, data_type, None) for data_type in (STRING, BINARY))
    merged = texts.merge(texts.prepare("zürich", 0), data.prepare("zürich".encode(), 0))
    assert texts.finalize(merged) == 1


@pytest.mark.parametrize(
    ("operation", "args"),
    [
        (Operation.APPROX_UNIQUE_COUNT, {"k": "3"}),
        (Operation.APPROX_UNIQUE_COUNT, {"k": "27"}),
        (Operation.APPROX_PERCENTILE, {"k": "7"}),
        (Operation.APPROX_PERCENTILE, {"percentiles": "[1.5]"}),
        (Operation.APPROX_PERCENTILE, {"percentiles": "0.5"}),
        (Operation.APPROX_PERCENTILE, {"percentiles": '["0.5"]'}),
        (Operation.APPROX_PERCENTILE, {"percentiles": "[" * 100_000}),
        (Operation.APPROX_HISTOGRAM_K, {"k": "0"}),
        (Operation.TOP_K, {"k": "1e3"}),
    ],
)
def test_absurd_arguments_are_refused_when_they_are_planned(operation: Operation, args: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        aggregator(operation, DOUBLE, args)
