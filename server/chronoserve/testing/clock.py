"""A clock that tests move by hand."""

import time


class ManualClock:
    """Epoch milliseconds. Starts at the machine's time, because engines expire values by their own clock, and stands still."""

    def __init__(self, now: int | None = None) -> None:
        self.now = time.time_ns() // 1_000_000 if now is None else now

    def __call__(self) -> int:
        return self.now

    def advance(self, millis: int) -> None:
        self.now += millis

    def reset(self) -> None:
        """Back to the machine's time."""
        self.now = time.time_ns() // 1_000_000
