"""FetchResponse as joined bytes, in each encoding."""

from collections.abc import Sequence

from chronoserve.model.errors import KVError
from chronoserve.model.features import FeatureRow, Freshness, RowStatus
from chronoserve.service.avro_rows import Written
from chronoserve.v1 import fetcher_pb2
from chronoserve.wire.feature_columns import ColumnEncoder
from chronoserve.wire.feature_rows import RowEncoder
from chronoserve.wire.feature_values import length
from chronoserve.wire.replies import header
from chronoserve.wire.status import status

STATUS_TAG = b"\x10"
AVRO_TAG, HASH_TAG = b"2", b":"
_STATUSES = tuple(STATUS_TAG + bytes((code,)) for code in range(max(RowStatus) + 1))


class ReplyEncoder:
    """Encodes rows; remembers layouts. One a process."""

    def __init__(self) -> None:
        self._rows = RowEncoder()
        self._columns = ColumnEncoder()

    def response(self, row: FeatureRow, *, freshness: bool) -> bytes:
        """A FeatureResponse in ENCODING_MAP."""
        tail = _tail(row, freshness=freshness)
        return self._rows.encode(row.features, row.types) + tail if row.features else tail

    def maps(self, rows: Sequence[FeatureRow], *, freshness: bool) -> bytes:
        """A FetchResponse in ENCODING_MAP."""
        pieces: list[bytes] = []
        for row in rows:
            body = self.response(row, freshness=freshness)
            pieces += (header(len(body)), body)
        return b"".join(pieces)

    def packed(self, rows: Sequence[FeatureRow], *, freshness: bool) -> bytes:
        """A FetchResponse in ENCODING_PACKED."""
        pieces: list[bytes] = []
        for row in rows:
            body = _tail(row, freshness=freshness)
            pieces += (header(len(body)), body)
        pieces.append(self._columns.encode(rows))
        return b"".join(pieces)

    def avro(self, rows: Sequence[FeatureRow], written: Sequence[Written], *, freshness: bool) -> bytes:
        """A FetchResponse in ENCODING_AVRO. ``written``: of each row. One whose values do not fit their schema is an ERROR that says so."""
        pieces: list[bytes] = []
        for row, data in zip(rows, written, strict=True):
            body = _avro(row, data, freshness=freshness)
            pieces += (header(len(body)), body)
        return b"".join(pieces)


def _avro(row: FeatureRow, written: Written, *, freshness: bool) -> bytes:
    if row.features is None:
        return _tail(row, freshness=freshness)
    if isinstance(written, KVError):
        return _tail(FeatureRow(RowStatus.ERROR, None, {}, row.keys, written, row.part_errors, row.freshness), freshness=freshness)
    data, schema_hash = written
    hash_bytes = schema_hash.encode()
    pieces = (AVRO_TAG, length(len(data)), data, HASH_TAG, length(len(hash_bytes)), hash_bytes, _tail(row, freshness=freshness))
    return b"".join(pieces)


def _tail(row: FeatureRow, *, freshness: bool) -> bytes:
    """Everything but the features."""
    if row.error is None and not row.part_errors and not freshness:
        return _STATUSES[row.status]
    return fetcher_pb2.FeatureResponse(
        status=int(row.status),  # type: ignore[arg-type] # the numbers are the same
        error=status(row.error) if row.error else None,
        part_errors={stem: status(error) for stem, error in row.part_errors.items()},
        freshness={part: fresh(found) for part, found in row.freshness.items()} if freshness else {},
    ).SerializeToString()


def fresh(found: Freshness) -> fetcher_pb2.Freshness:
    return fetcher_pb2.Freshness(batch_end_millis=found.batch_end_millis, stream_millis=found.stream_millis)
