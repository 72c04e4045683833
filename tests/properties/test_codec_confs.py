"""Damaged confs are refused or read, quickly, whatever the damage."""

import json
import random
import time
from collections.abc import Callable
from typing import Any

from chronoserve.codec import conf_json, confs
from chronoserve.model.errors import InvalidRequest
from tests.recordings import records

MUTANTS = 2_000
CPU_SECONDS_MAX = 0.100

ODD_VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    1 << 31,
    1 << 70,
    1.5,
    "",
    "x",
    "SUM",
    [],
    {},
    [None],
    {"a": None},
    [[]],
    "y" * 10_000,
    1e308,
]


def damaged_tree(tree: Any, draw: random.Random) -> Any:
    """One field somewhere replaced, removed, doubled or put in another's place."""
    if not isinstance(tree, dict | list) or not tree or draw.random() < 0.15:
        return draw.choice(ODD_VALUES)
    copy: Any = dict(tree) if isinstance(tree, dict) else list(tree)
    keys: list[Any] = list(copy) if isinstance(copy, dict) else list(range(len(copy)))
    at = draw.choice(keys)
    match draw.randrange(8):
        case 0:
            del copy[at]
        case 1:
            copy[at] = copy[draw.choice(keys)]
        case 2 if isinstance(copy, list):
            copy.extend(copy * draw.randrange(1, 30))
        case 2 if isinstance(copy, dict):
            copy[f"{at}s"] = copy[at]
        case _:
            copy[at] = damaged_tree(copy[at], draw)
    return copy


def damaged_text(text: str, draw: random.Random) -> bytes:
    damaged = bytearray(text.encode())
    for _ in range(draw.randrange(1, 4)):
        at = draw.randrange(len(damaged) + 1)
        match draw.randrange(4):
            case 0:
                damaged[at : at + 1] = draw.randbytes(1)
            case 1:
                del damaged[at:]
            case 2:
                damaged[at:at] = draw.choice((b"[" * 5_000, b'{"a":' * 5_000, b"\xff", b"1" * 5_000, b"\\ud800", b'"', b",", b"}"))
            case _:
                del damaged[at : at + draw.randrange(1, 200)]
    return bytes(damaged) or b" "


def outcome(read: Callable[[bytes], object], text: bytes) -> float:
    """Seconds of this process; any other error than the one that is meant for it is raised."""
    started = time.process_time()
    message = ""
    try:
        read(text)
    except InvalidRequest as refused:
        message = refused.message
    elapsed = time.process_time() - started
    assert len(message) < 1_000
    return elapsed


def test_damaged_confs_are_read_or_refused_quickly() -> None:
    draw = random.Random(22)
    texts: list[tuple[Callable[[bytes], object], str]] = [
        (confs.join, record["conf_json"]) for record in records("f_e2e") if "conf_json" in record
    ]
    texts += [(confs.serving_info, record["serving_info_json"]) for record in records("f_e2e") if record.get("serving_info_json")]
    for _ in range(MUTANTS):
        read, text = draw.choice(texts)
        broken = json.dumps(damaged_tree(json.loads(text), draw)).encode() if draw.random() < 0.6 else damaged_text(text, draw)
        if outcome(read, broken) > CPU_SECONDS_MAX:
            assert min(outcome(read, broken) for _ in range(3)) < CPU_SECONDS_MAX


def test_damaged_confs_are_written_or_refused_quickly() -> None:
    draw = random.Random(23)
    texts = [record["conf_json"] for record in records("f_e2e") if "conf_json" in record]

    def normalised_twice(text: bytes) -> None:
        once = conf_json.normalise("joins", text)
        assert conf_json.normalise("joins", once, check=True) == once

    for _ in range(MUTANTS // 4):
        broken = json.dumps(damaged_tree(json.loads(draw.choice(texts)), draw)).encode()
        if outcome(normalised_twice, broken) > CPU_SECONDS_MAX:
            assert min(outcome(normalised_twice, broken) for _ in range(3)) < CPU_SECONDS_MAX
