"""What is tried again, by whom.

gRPC repeats reads by the service config (gRFC A6): on UNAVAILABLE, with backoff, inside the call's deadline and a budget.
A service config knows methods, not requests, so it cannot tell a write that may be repeated from one that may not. Those
that may (every item has a time and an idempotency token; Create) are repeated here, by the same rules.
"""

import random
import time
from typing import Any

import grpc
from google.protobuf.message import Message

from chronoserve.v1 import kv_pb2
from chronoserve_client._calls import Call, progress
from chronoserve_client._errors import ChronoserveError, Internal, WriteOutcomeUnknown, interrupted, of_call
from chronoserve_client._values import BulkProgress

READS = {
    "chronoserve.v1.KVStore": ("Get", "MultiGet", "Scan", "Describe", "GetCapabilities"),
    "chronoserve.v1.Fetcher": (
        "FetchJoins", "FetchGroupBys", "GetJoinSchema", "GetGroupBySchema", "ListJoins", "ListGroupBys", "Explain",
    ),
}  # fmt: skip
"""By service."""

BACKOFF_SECONDS = 0.02
BACKOFF_SECONDS_MAX = 0.5
BUDGET_MAX = 20
"""Failures that can be saved up; retrying stops when half of it is used."""
BUDGET_RATIO = 0.1
"""What a success earns: retries stay at a tenth of the traffic."""
RESUMES_MAX = 5
"""Times that a bulk load is taken up again without having come any further."""


def service_config(attempts_max: int) -> dict[str, Any]:
    """What gRPC itself does: spread calls over the addresses of the target, repeat reads."""
    names = [{"service": service, "method": method} for service, methods in READS.items() for method in methods]
    reads: dict[str, Any] = {"name": names}
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": [reads]}
    if attempts_max > 1:
        config["retryThrottling"] = {"maxTokens": BUDGET_MAX, "tokenRatio": BUDGET_RATIO}
        reads["retryPolicy"] = {
            "maxAttempts": attempts_max,
            "initialBackoff": f"{BACKOFF_SECONDS}s",
            "maxBackoff": f"{BACKOFF_SECONDS_MAX}s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
    return config


def backoff(failures: int) -> float:
    """Seconds to wait after that many failures in a row, drawn evenly below a bound that doubles."""
    bound: float = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS * 2 ** (failures - 1))
    return bound * random.random()  # noqa: S311 jitter is no secret


class Budget:
    """gRPC's retry throttling for the calls that this client repeats itself."""

    def __init__(self) -> None:
        self._tokens: float = BUDGET_MAX

    def earn(self) -> None:
        self._tokens = min(BUDGET_MAX, self._tokens + BUDGET_RATIO)

    def spend(self) -> bool:
        """Count a failure. True: another attempt may be made."""
        self._tokens = max(0, self._tokens - 1)
        return self._tokens > BUDGET_MAX / 2


class Attempts:
    """The attempts of one call, all inside one deadline."""

    def __init__(self, call: Call[Any], timeout: float, attempts_max: int, budget: Budget) -> None:
        """``timeout``: seconds for all attempts together."""
        self._call = call
        self._deadline = time.monotonic() + timeout
        self._attempts_max = attempts_max if call.replayable else 1
        self._budget = budget
        self._failures = 0
        self._perhaps_applied = False

    def remaining(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self._deadline - time.monotonic())

    def succeeded(self) -> None:
        if self._call.replayable:
            self._budget.earn()

    def pause_after(self, failure: grpc.RpcError) -> float:
        """Seconds to wait before the next attempt.

        Raises:
            ChronoserveError: there is to be none. Of unknown outcome if any attempt was.
        """
        self._failures += 1
        error = self._call.error(failure)
        self._perhaps_applied |= isinstance(error, WriteOutcomeUnknown)
        pause = backoff(self._failures)
        if self._failures < self._attempts_max and _unavailable(failure) and self._budget.spend() and pause < self.remaining():
            return pause
        raise self._outcome(error) from failure

    def _outcome(self, error: ChronoserveError) -> ChronoserveError:
        if self._perhaps_applied and not isinstance(error, WriteOutcomeUnknown):
            return WriteOutcomeUnknown(f"{error.message}; an earlier attempt may have been applied")
        return error


class BulkLoad:
    """A bulk load that is taken up again where it was broken off.

    Repeating rows is safe: they have their own times, and the value is their token. So nothing here is of unknown outcome.
    """

    def __init__(self, source: str, dataset: str, partition: str, resume_token: str, timeout: float | None) -> None:
        """``timeout``: seconds for the whole load; None: no limit."""
        self._request = kv_pb2.BulkPutRequest(
            source_offline_table=source, destination_online_dataset=dataset, partition=partition, resume_token=resume_token
        )
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._failures = 0
        self.done = False

    def remaining(self) -> float | None:
        """Seconds until the deadline; None where there is none."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def request(self) -> Message:
        """The load from where it stands."""
        request = kv_pb2.BulkPutRequest()
        request.CopyFrom(self._request)
        return request

    def advance(self, message: kv_pb2.BulkPutResponse) -> BulkProgress:
        """Note how far the load is."""
        if message.resume_token and message.resume_token != self._request.resume_token:
            self._request.resume_token = message.resume_token
            self._failures = 0
        self.done = message.done
        return progress(message)

    def pause_after(self, failure: grpc.RpcError) -> float:
        """Seconds to wait before taking the load up again.

        Raises:
            ChronoserveError: it is not taken up again. The last ``resume_token`` still continues it.
        """
        self._failures += 1
        pause = backoff(self._failures)
        remaining = self.remaining()
        if _unavailable(failure) and self._failures <= RESUMES_MAX and (remaining is None or pause < remaining):
            return pause
        raise of_call(failure, write=False) from failure

    def interrupted(self, message: str) -> ChronoserveError:
        return interrupted(message, write=False)

    def check_done(self) -> None:
        """Raises: Internal: the server ended the load without saying how it went."""
        if not self.done:
            raise Internal("the load ended without a result; continue it from the last resume_token")


def _unavailable(failure: grpc.RpcError) -> bool:
    return bool(failure.code() is grpc.StatusCode.UNAVAILABLE)
