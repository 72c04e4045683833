"""The words that the verbs about features share: which kind of name, and where to go."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from chronoserve.app.connection import place_options

F = TypeVar("F", bound=Callable[..., Any])

JOIN, GROUP_BY = "join", "group-by"


def named(command: F) -> F:
    """The arguments ``join|group-by NAME`` and the options of a place, with ``--json``."""
    for option in (
        place_options,
        click.option("--json", "json_lines", is_flag=True, help="One JSON object a line."),
        click.argument("name"),
        click.argument("kind", type=click.Choice([JOIN, GROUP_BY])),
    ):
        command = option(command)
    return command
