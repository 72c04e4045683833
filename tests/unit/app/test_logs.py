"""Logs: one JSON object a line whoever speaks, and no secret, key or value in any of them."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from chronoserve.app import logs
from chronoserve.model.errors import Unavailable

CANARY = "canary-5f1d"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize(
    "event",
    [
        {"password": CANARY},
        {"Authorization": f"Bearer {CANARY}"},
        {"client_secret": CANARY},
        {"idempotency_token": CANARY.encode()},
        {"key_bytes": CANARY.encode()},
        {"value_bytes": CANARY},
        {"key": CANARY.encode()},
        {"keys": [CANARY.encode(), CANARY.encode()]},
        {"url": f"redis://user:{CANARY}@host:6379/0"},
        {"urls": [f"mongodb://user:{CANARY}@host"]},
        {"stores": {"main": {"url": f"cassandra://:{CANARY}@host"}}},
        {"headers": {"authorization": CANARY, "more": ({"token": CANARY},)}},
        {"message": f"cannot reach rediss://u:{CANARY}@h, nor redis://:{CANARY}@h"},
    ],
    ids=str,
)
def test_a_secret_is_hidden_wherever_it_stands(event: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    structlog.get_logger("x").info("something", **event)
    err = capsys.readouterr().err
    assert CANARY not in err
    assert json.loads(err)["event"] == "something"


def fail_with(key: bytes) -> None:
    try:
        raise KeyError(key)  # noqa: TRY301 - its way is what is looked at
    except KeyError as inner:
        raise Unavailable("the store is away") from inner


def test_the_way_of_an_error_is_told_without_the_texts_of_others(capsys: pytest.CaptureFixture[str]) -> None:
    """A KeyError quotes the key."""
    logs.configure("info")
    log = structlog.get_logger("x")
    for error in (Unavailable("x"), ExceptionGroup(CANARY, [ValueError(CANARY), KeyError(CANARY)])):
        log.error("broken", exc_info=error)
    try:
        fail_with(CANARY.encode())
    except Unavailable:
        log.exception("broken")
    log.info("fine", exc_info=None)
    _, group, chain, fine = said(capsys)
    assert CANARY not in json.dumps([group, chain])
    assert group["exception"].splitlines() == ["ValueError", "KeyError", "ExceptionGroup"]
    lines = chain["exception"].splitlines()
    assert "fail_with" in lines[0]
    assert lines[-1] == "Unavailable: the store is away"
    assert "KeyError" in lines
    assert "exception" not in fine


def test_what_libraries_log_takes_the_same_shape(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().handlers[:] = []  # pytest's own
    logs.configure("info")
    logging.getLogger("grpc").info("not shown")
    logging.getLogger("grpc").error("cannot reach %s", f"redis://u:{CANARY}@h")
    try:
        raise KeyError(CANARY)  # noqa: TRY301 - as above
    except KeyError:
        logging.getLogger("asyncio").exception("Task exception was never retrieved")
    first, second = said(capsys)
    assert (first["logger"], first["level"], first["event"]) == ("grpc", "error", "cannot reach redis://u:***@h")
    assert CANARY not in json.dumps(second)
    assert "KeyError" in second["exception"]


def test_levels_below_the_configured_one_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("WARNING")
    log = structlog.get_logger("x")
    log.info("no")
    log.warning("yes")
    assert [entry["event"] for entry in said(capsys)] == ["yes"]


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, 1 + 2j, float("nan"), {1: {b"x": 2}}, "\ud800", "\x00\n\x1b[31m"],
    ids=["object", "set", "complex", "nan", "keys of bytes", "surrogate", "control characters"],
)
def test_anything_can_be_logged(value: Any, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    structlog.get_logger("x").info("something", value=value)
    (entry,) = said(capsys)
    assert entry["event"] == "something"
