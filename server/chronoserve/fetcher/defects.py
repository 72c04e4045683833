"""Errors that nobody foresaw: logged whole, told in general terms, and not once for each row of a flood."""

from collections import Counter

import structlog

from chronoserve.model.errors import Internal

log = structlog.get_logger("chronoserve.fetcher")

NAMES_MAX = 1_000

_seen: Counter[str] = Counter()


def defect(what: str, name: str) -> Internal:
    """The error for a row, from within an ``except`` clause. ``what``: the sentence that is logged with the trace, the 1st, 2nd,
    4th, 8th … time that it happens to this name.
    """
    if len(_seen) >= NAMES_MAX:
        _seen.clear()
    _seen[name] += 1
    if _seen[name] & (_seen[name] - 1) == 0:
        log.exception(what, name=name, times=_seen[name])  # noqa: LOG004 - the callers' clauses are the handlers
    return Internal("this row could not be answered: a defect of this server, which its log shows")
