"""From ``package.module:Class`` to an instance of a deployment's Api."""

import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from chronoserve.api import Api
from chronoserve.model.errors import InvalidRequest, KVError


def load_api(name: str | None, user_conf: Mapping[str, str]) -> Api:
    """The deployment's Api, or the plain one where ``name`` is None. Modules beside the working directory are found.

    Raises:
        InvalidRequest: there is no such class, or it cannot be made; the text says why.
    """
    if name is None:
        return Api(user_conf)
    module_name, _, class_name = name.partition(":")
    found = getattr(_module(module_name), class_name, None)
    if not isinstance(found, type) or not issubclass(found, Api):
        what = "nothing" if found is None else "no subclass of chronoserve.api.Api"
        raise InvalidRequest(f"api = {name!r}: {class_name} in {module_name} is {what}")
    try:
        made = found(user_conf)
    except KVError:
        raise
    except Exception as raised:
        raise InvalidRequest(f"api = {name!r}: {class_name} could not be made: {_described(raised)}") from raised
    if not hasattr(made, "user_conf"):
        raise InvalidRequest(f"api = {name!r}: __init__ of {class_name} has to call super().__init__(user_conf)")
    return made


def _module(name: str) -> object:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name is not None and (name == missing.name or name.startswith(f"{missing.name}.")):
            raise InvalidRequest(f"api: there is no module {name}, neither installed nor in the working directory") from missing
        raise InvalidRequest(f"api: {name} imports {missing.name}, which is not installed") from missing
    except Exception as raised:
        raise InvalidRequest(f"api: {name} cannot be imported: {_described(raised)}") from raised


def _described(raised: Exception) -> str:
    """At start there are no keys that an error could quote, and who starts the server needs its text."""
    return f"{type(raised).__name__}: {raised}"
