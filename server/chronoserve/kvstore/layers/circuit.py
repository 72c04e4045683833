"""When something that fails is left alone, and when it is tried again: the decision alone, for stores and external sources."""

import enum

FAILURES_TO_OPEN = 5
"""Failed calls in a row, with no good one between them, that open the circuit."""
OPEN_SECONDS = 0.5
"""How long an open circuit refuses before it lets one call try."""
PATIENCE_SECONDS = 0.1
"""A call that had less time than this says nothing of the other side when it runs out: one hasty caller must not cut off the rest."""
PROBE_AGAIN_SECONDS = 0.01
"""What those are told to wait who come while a call tries."""


class State(enum.Enum):
    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


class Circuit:
    """Closed: all pass. Open: all are refused. Probing: one call passes and its outcome decides. Times are of one clock, in seconds."""

    __slots__ = ("_try_at", "failures", "opened_total", "state")

    def __init__(self) -> None:
        self.state = State.CLOSED
        self.opened_total = 0
        self.failures = 0
        self._try_at = 0.0

    def wait(self, now: float) -> float:
        """Of a circuit that is not closed: 0.0 lets this call decide; else the seconds until another may try, and this one is refused."""
        if self.state is State.PROBING or now < self._try_at:
            return max(self._try_at - now, PROBE_AGAIN_SECONDS)
        self.state = State.PROBING
        return 0.0

    def succeeded(self) -> None:
        self.failures = 0
        self.state = State.CLOSED

    def failed(self, *, began: float, now: float, deadline: float, probe: bool) -> None:
        """A call from ``began`` to ``now`` that had until ``deadline`` failed; ``probe``: it was the one that decides."""
        if now >= deadline and now - began < PATIENCE_SECONDS:
            if probe:
                self.abandoned()
            return
        self.failures += 1
        if probe or self.failures >= FAILURES_TO_OPEN:
            if self.state is not State.OPEN:
                self.opened_total += 1
            self.state = State.OPEN
            self._try_at = now + OPEN_SECONDS

    def abandoned(self) -> None:
        """A probe without an outcome: the next call probes again."""
        if self.state is State.PROBING:
            self.state = State.OPEN
