"""Chronon's ``Api``: what a deployment brings along, and the fetcher that it gets for it (spec/online-fetch.md §19.1)."""

import asyncio
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import structlog

from chronoserve.api.kv import KVStore
from chronoserve.api.streams import StreamDecoder
from chronoserve.api.user_store import UserStore
from chronoserve.fetcher.external import ExternalRegistry
from chronoserve.fetcher.fetch import Fetcher
from chronoserve.fetcher.observe import FetchMetrics
from chronoserve.fetcher.ports import Clock, FlagStore, ModelBackend
from chronoserve.fetcher.response_log import ResponseLog
from chronoserve.fetcher.settings import FetchSettings
from chronoserve.ingest.response_log.others import FunctionSink
from chronoserve.ingest.response_log.queue import QueuedResponseLog
from chronoserve.kvstore.layers.breaker import Breaker
from chronoserve.kvstore.layers.coalesce import Coalesce
from chronoserve.kvstore.layers.deadline import Deadline
from chronoserve.kvstore.router import Route, Router
from chronoserve.model.confs import GroupByServingInfo
from chronoserve.model.errors import FailedPrecondition, InvalidRequest, Unsupported
from chronoserve.model.logged import LoggedResponse
from chronoserve.service.gateway import Gateway, Limits

log = structlog.get_logger("chronoserve.api")

STORE_NAME = "api"
CLOSE_SECONDS = 10.0


def clock() -> int:
    """The machine's time in epoch milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a fetcher is built of."""

    gateway: Gateway
    clock: Clock
    settings: FetchSettings
    registry: ExternalRegistry
    log: ResponseLog | None
    flags: FlagStore | None
    models: ModelBackend | None
    metrics: FetchMetrics

    def fetcher(self, settings: FetchSettings) -> Fetcher:
        return Fetcher(
            self.gateway,
            clock=self.clock,
            registry=self.registry,
            log=self.log,
            flags=self.flags,
            settings=settings,
            metrics=self.metrics,
            models=self.models,
            lists=self.gateway,
        )


class Api:
    """A deployment's subclass overrides what it brings; all the rest is as the server's configuration says.

    ``chronoserve serve --api package.module:Class -Z region=eu`` makes one instance in each process of the server, with the
    ``-Z`` settings as ``user_conf``. Without a server, ``build_fetcher`` works on the store of ``gen_kv_store``.
    """

    def __init__(self, user_conf: Mapping[str, str] | None = None) -> None:
        self.user_conf = dict(user_conf or {})
        self._parts: Parts | None = None
        self._log: QueuedResponseLog | None = None

    # what a deployment may bring

    def gen_kv_store(self) -> KVStore | None:
        """The store of every dataset that no route of the configuration sends elsewhere; None: the configured stores."""
        return None

    def stream_decoder(self, serving_info: GroupByServingInfo) -> StreamDecoder:
        """How the messages of this group by's stream are decoded; asked by writers of streaming data, never by the fetcher."""
        name = serving_info.group_by.meta_data.name
        raise Unsupported(f"{type(self).__name__} has no stream_decoder, so the stream of {name} cannot be read")

    def external_registry(self) -> ExternalRegistry:
        """Handlers of external sources; asked once. Sources of the configuration are added to it."""
        return ExternalRegistry()

    def log_response(self, response: LoggedResponse) -> Awaitable[None] | None:
        """Called for each logged row where it is overridden, off the request's path, in place of the configured log.

        It may be ``async``; a plain one runs in a thread. A row for which it raises is given to it again, a few times.
        """
        return None

    def gen_model_backend(self) -> ModelBackend | None:
        """What runs the models of joins with model transforms; None: the configured one."""
        return None

    def gen_flag_store(self) -> FlagStore | None:
        """Switches by group by; None: those of the configuration."""
        return None

    # what it gets

    def build_fetcher(self, debug: bool = False, caller_name: str | None = None, disable_error_throws: bool = False) -> Fetcher:
        """A fetcher on the server's parts, or without a server on ``gen_kv_store``; call it on the event loop that it shall serve.

        ``debug`` logs the response of each row, whatever the join's sample. ``caller_name`` tells the log who it is for.
        ``disable_error_throws``: streamed values that cannot be decoded are left out.

        Raises:
            FailedPrecondition: there is no store.
        """
        parts = self._parts or self._own_parts()
        log.info("fetcher built", caller=caller_name or "", api=type(self).__name__)
        skip = parts.settings.skip_undecodable_stream or disable_error_throws
        return parts.fetcher(replace(parts.settings, debug=parts.settings.debug or debug, skip_undecodable_stream=skip))

    @cached_property
    def fetcher(self) -> Fetcher:
        """One fetcher for everybody in this process."""
        return self.build_fetcher()

    @cached_property
    def registry(self) -> ExternalRegistry:
        """What ``external_registry`` gave. Raises InvalidRequest where that is none."""
        given = self.external_registry()
        if not isinstance(given, ExternalRegistry):
            raise InvalidRequest(f"external_registry of {type(self).__name__} gave a {type(given).__name__}, which is no ExternalRegistry")
        return given

    @property
    def logs_responses(self) -> bool:
        """Whether ``log_response`` is overridden."""
        return type(self).log_response is not Api.log_response

    def bind(self, parts: Parts) -> None:
        """Called by the server: fetchers are built of its parts from now on."""
        self._parts = parts

    async def close(self) -> None:
        """Without a server: write what is still to be logged, and close the store and the sources."""
        parts, self._parts = self._parts, None
        if self._log is not None:
            await self._log.close(CLOSE_SECONDS)
        if parts is not None:
            await parts.registry.close()
            await parts.gateway.router.close()

    def _own_parts(self) -> Parts:
        store = self.gen_kv_store()
        if store is None:
            raise FailedPrecondition(f"gen_kv_store of {type(self).__name__} gives no store, and no server has bound one: override it")
        router = Router({STORE_NAME: Deadline(Coalesce(Breaker(UserStore(store))))}, [Route("*", STORE_NAME)])
        if self.logs_responses:
            self._log = QueuedResponseLog(FunctionSink(self.log_response), clock=clock)
            self._log.start()
        self._parts = Parts(
            gateway=Gateway(router, router, clock=clock, limits=Limits()),
            clock=clock,
            settings=FetchSettings(),
            registry=self.registry,
            log=self._log,
            flags=self.gen_flag_store(),
            models=self.gen_model_backend(),
            metrics=FetchMetrics(),
        )
        return self._parts


def deadline_in(seconds: float) -> float:
    """An absolute deadline for a fetch, that many seconds from now. Call it on the event loop."""
    return asyncio.get_running_loop().time() + seconds
