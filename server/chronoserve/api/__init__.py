"""The online API in Python: what a deployment imports to bring its own store, sources, models, log and streams.

``Api`` is Chronon's abstract class of that name. Give a subclass of it to ``chronoserve serve --api package.module:Class``.
"""

from chronoserve.api.kv import Found, GetRequest, KVStore, PutRequest, TimedValue
from chronoserve.api.online import Api, deadline_in
from chronoserve.api.streams import Mutation, StreamDecoder
from chronoserve.fetcher.column_fetch import ColumnSpec, fetch_columns
from chronoserve.fetcher.external import Answer, ExternalRegistry, Handler, Policy, Row
from chronoserve.fetcher.fetch import Fetcher
from chronoserve.fetcher.ports import FlagStore, ModelBackend
from chronoserve.model.confs import ExternalSource, GroupByServingInfo, Model
from chronoserve.model.errors import ExternalFailed, KVError
from chronoserve.model.features import FeatureRequest, FeatureRow, RowStatus
from chronoserve.model.logged import LoggedResponse

__all__ = [
    "Answer",
    "Api",
    "ColumnSpec",
    "ExternalFailed",
    "ExternalRegistry",
    "ExternalSource",
    "FeatureRequest",
    "FeatureRow",
    "Fetcher",
    "FlagStore",
    "Found",
    "GetRequest",
    "GroupByServingInfo",
    "Handler",
    "KVError",
    "KVStore",
    "LoggedResponse",
    "Model",
    "ModelBackend",
    "Mutation",
    "Policy",
    "PutRequest",
    "Row",
    "RowStatus",
    "StreamDecoder",
    "TimedValue",
    "deadline_in",
    "fetch_columns",
]
