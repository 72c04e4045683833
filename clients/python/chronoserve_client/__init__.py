"""Client of chronoserve: timed byte values by dataset and key, over gRPC, for asyncio and for threads."""

from chronoserve import __version__
from chronoserve_client._async_client import AsyncClient
from chronoserve_client._async_stream import AsyncMultiGetStream, AsyncMultiPutStream
from chronoserve_client._errors import (
    AlreadyExists,
    ChronoserveError,
    CorruptValue,
    DeadlinePassed,
    FailedPrecondition,
    Internal,
    InvalidRequest,
    PermissionDenied,
    Throttled,
    Unauthenticated,
    Unavailable,
    UnknownDataset,
    Unsupported,
    WriteOutcomeUnknown,
)
from chronoserve_client._sync_client import Client
from chronoserve_client._sync_stream import MultiGetStream, MultiPutStream
from chronoserve_client._values import (
    BulkProgress,
    BulkResult,
    Capabilities,
    Dataset,
    Get,
    GetResult,
    Kind,
    Put,
    PutResult,
    ScanEntry,
    StoreCapability,
    TimedValue,
)

__all__ = [
    "AlreadyExists",
    "AsyncClient",
    "AsyncMultiGetStream",
    "AsyncMultiPutStream",
    "BulkProgress",
    "BulkResult",
    "Capabilities",
    "ChronoserveError",
    "Client",
    "CorruptValue",
    "Dataset",
    "DeadlinePassed",
    "FailedPrecondition",
    "Get",
    "GetResult",
    "Internal",
    "InvalidRequest",
    "Kind",
    "MultiGetStream",
    "MultiPutStream",
    "PermissionDenied",
    "Put",
    "PutResult",
    "ScanEntry",
    "StoreCapability",
    "Throttled",
    "TimedValue",
    "Unauthenticated",
    "Unavailable",
    "UnknownDataset",
    "Unsupported",
    "WriteOutcomeUnknown",
    "__version__",
]

for _name in __all__:
    if isinstance(globals()[_name], type):
        # users meet these names in tracebacks and pickles: they are where one imports them from
        globals()[_name].__module__ = __name__
