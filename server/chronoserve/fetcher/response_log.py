"""Where fetched joins are logged for the comparison with what is computed offline (spec/online-fetch.md §16)."""

from typing import Protocol

from chronoserve.model.logged import LoggedResponse

__all__ = ["LoggedResponse", "ResponseLog"]


class ResponseLog(Protocol):
    """Takes rows off the request's path."""

    def offer(self, response: LoggedResponse) -> None:
        """Take the row, or drop and count it. Never waits, never raises. A control event comes before its first row."""
