"""Handlers of external sources that need no code: JSON over HTTP.

The messages are those of Chronon's feature service, so that one deployment can be a source of another. A POST has the rows
as a JSON list of key objects, and in its query the source's name and the factory's parameters::

    POST /geo?source=geo
    [{"user_id": 5}, {"user_id": 6}]

    {"results": [{"features": {"city": "Basel", "distance": 1.5}}, {"error": "no such user"}]}

One result for each row, in order. A result without ``features`` is a row without an answer; other names in it are ignored.
Bytes are Base64 in both directions.
"""

import math
from collections.abc import Mapping, Sequence

from chronoserve.fetcher.boxing import from_json
from chronoserve.fetcher.endpoint import Endpoint
from chronoserve.fetcher.external import OUTGOING_HEADERS, Answer, Row
from chronoserve.fetcher.http_json import HttpJson
from chronoserve.model.confs import ExternalSource
from chronoserve.model.errors import ExternalFailed

ERROR_CHARS_MAX = 200
"""What is told of a service's own error text."""


class HttpSource:
    """Asks one URL for every source that it is registered for."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._http = HttpJson(endpoint)

    async def fetch(self, source: ExternalSource, rows: Sequence[Row], *, deadline: float) -> list[Answer | None]:
        """One answer for each row. Raises ExternalFailed where the service gave none that can be understood."""
        sent = [at for at, row in enumerate(rows) if _sendable(row)]
        answers: list[Answer | None] = [ExternalFailed("a key of this row has no JSON form: it is not a finite number")] * len(rows)
        if not sent:
            return answers
        params = {**(source.factory_params or {}), "source": source.meta_data.name}
        found = await self._http.post([rows[at] for at in sent], params=params, headers=OUTGOING_HEADERS.get())
        results = found.get("results") if isinstance(found, dict) else None
        if not isinstance(results, list):
            raise ExternalFailed("its service answered JSON that is not an object with a list of results")
        if len(results) != len(sent):
            raise ExternalFailed(f"its service gave {len(results)} results to {len(sent)} rows")
        for at, result in zip(sent, results, strict=True):
            answers[at] = _answer(source, result)
        return answers

    async def close(self) -> None:
        await self._http.close()


def _sendable(value: object) -> bool:
    """JSON has no infinity and no NaN, and its encoder would write null in their place."""
    match value:
        case float():
            return math.isfinite(value)
        case Mapping():
            return all(map(_sendable, value.values()))
        case list() | tuple():
            return all(map(_sendable, value))
        case _:
            return True


def _answer(source: ExternalSource, result: object) -> Answer | None:
    if result is None:
        return None
    if not isinstance(result, dict):
        return ExternalFailed(f"its service answered a {type(result).__name__} where an object with features was due")
    features = result.get("features")
    if isinstance(features, dict):
        return from_json(features, source.value_schema)
    error = result.get("error")
    return ExternalFailed(error[:ERROR_CHARS_MAX]) if isinstance(error, str) and error else None
