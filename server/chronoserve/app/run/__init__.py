"""``chronoserve run``: Chronon's run.py contract (spec/integration.md §4), natively or through the user's jar."""

from chronoserve.app.run.cli import run

__all__ = ["run"]
