"""Settings of sources, models, the response log and metrics out: what is refused, and what is never shown."""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chronoserve.api import Api
from chronoserve.app.api_class import load_api
from chronoserve.app.extension_settings import ExtensionSettings
from chronoserve.app.sections import dereferenced, without_secrets
from chronoserve.model.errors import FailedPrecondition, InvalidRequest


def settings(**tables: Any) -> ExtensionSettings:
    made = msgspec.convert(tables, ExtensionSettings)
    made.verify_extensions()
    return made


FILES = {"files": {"path": "/tmp/log"}}
KV = {"kv": {"dataset": "LOG"}}


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"external_sources": {"geo": {"url": "ftp://x"}}}, r"external_sources\.geo\.url begins with"),
        ({"external_factories": {"geo": {"url": "localhost:80"}}}, r"external_factories\.geo\.url begins with"),
        ({"external_sources": {"contextual": {"url": "http://x"}}}, "built in"),
        ({"model_backends": {"m": {"url": "grpc://x"}}}, r"model_backends\.m\.url begins with http"),
        ({"response_log": {}}, "has one place"),
        ({"response_log": {**FILES, **KV}}, "has one place"),
        ({"warehouse": {"url": "lake"}}, r"warehouse\.url is /dir"),
        ({"warehouse": {"url": "/lake", "partition_format": "yyyy"}}, "PARTITION_FORMAT 'yyyy'"),
        ({"tracing": {"ratio": 1.5}}, r"tracing\.ratio is from 0 to 1"),
        *[({"api": name}, r"api is package\.module:Class") for name in ("", "module", "a:b:c", "a.b", ":C", "a/b:C", "a..b:C")],
    ],
)
def test_what_is_not_right_is_refused_with_words(tables: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        settings(**tables)


@pytest.mark.parametrize(
    "tables",
    [
        {"external_sources": {"geo": {"url": "http://x", "unknown": 1}}},
        {"external_sources": {"geo": {"url": "http://x", "timeout_seconds": 0}}},
        {"external_sources": {"geo": {"url": "http://x", "calls_max": 0}}},
        {"response_log": {"files": {"path": "x", "format": "csv"}}},
        {"response_log": {"kv": {"dataset": "X", "ttl_hours": -1}}},
        {"statsd": {"port": -1}},
    ],
)
def test_what_is_no_setting_is_refused(tables: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        settings(**tables)


def test_no_secret_is_shown() -> None:
    made = settings(
        api_conf={"password": "s3cret"},
        external_sources={"geo": {"url": "https://user:s3cret@geo.example.com/x?key=s3cret&v=1", "headers": {"authorization": "s3cret"}}},
        external_factories={"f": {"url": "grpc://h:1", "headers": {"x-token": "s3cret"}}},
        model_backends={"m": {"url": "http://h/s", "headers": {"a": "s3cret"}}},
        response_log={"kafka": {"topic": "t", "options": {"bootstrap.servers": "h:1", "sasl.password": "s3cret", "ssl.key.pem": "s3cret"}}},
        warehouse={"url": "iceberg://lake?type=sql&uri=postgresql://u:s3cret@h/db"},
        tracing={"endpoint": "http://u:s3cret@h:1/v1", "headers": {"a": "s3cret"}},
    )
    shown = json.dumps(made.redacted_extensions())
    assert "s3cret" not in shown
    assert "geo.example.com/x" in shown
    assert '"bootstrap.servers": "h:1"' in shown
    assert without_secrets("http://h:1/p") == "http://h:1/p"


def test_secrets_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "t0")
    assert dereferenced({"a": ["x ${TOKEN}", 1, {"b": "${TOKEN}"}], "c": None}, "w") == {"a": ["x t0", 1, {"b": "t0"}], "c": None}
    with pytest.raises(InvalidRequest, match="external_sources refers to the environment variable NOT_SET, which is not set"):
        dereferenced("${NOT_SET}", "external_sources")


DEPLOYMENT = """
from chronoserve.api import Api
class Online(Api):
    pass
class Broken(Api):
    def __init__(self, user_conf):
        raise ValueError("region is missing")
class Forgetful(Api):
    def __init__(self, user_conf):
        pass
other = 5
"""


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the working directory."""
    name = f"deployment_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(DEPLOYMENT)
    (tmp_path / f"{name}_needs.py").write_text("import a_module_that_is_not_there")
    (tmp_path / f"{name}_wrong.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return name


def test_a_class_is_made_with_its_settings(deployment: str) -> None:
    made = load_api(f"{deployment}:Online", {"region": "eu"})
    assert type(made).__name__ == "Online"
    assert made.user_conf == {"region": "eu"}
    assert type(load_api(None, {})) is Api


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (":Missing", "Missing in .* is nothing"),
        (":other", "other in .* is no subclass of"),
        (":Broken", "Broken could not be made: ValueError: region is missing"),
        (":Forgetful", r"__init__ of Forgetful has to call super\(\)"),
        ("_none:Online", "there is no module .*_none, neither installed nor in the working directory"),
        ("_needs:Online", "_needs imports a_module_that_is_not_there, which is not installed"),
        ("_wrong:Online", "_wrong cannot be imported: ZeroDivisionError: division by zero"),
    ],
)
def test_a_class_that_is_not_there_is_told_apart_from_one_that_fails(deployment: str, name: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        load_api(deployment + name, {})


def test_an_error_of_our_own_stays_what_it_is(tmp_path: Path, deployment: str) -> None:
    (tmp_path / f"{deployment}_own.py").write_text(
        "from chronoserve.api import Api\nfrom chronoserve.model.errors import FailedPrecondition\n"
        "class Online(Api):\n    def __init__(self, user_conf):\n        raise FailedPrecondition('set region')\n"
    )
    with pytest.raises(FailedPrecondition, match="set region"):
        load_api(f"{deployment}_own:Online", {})
