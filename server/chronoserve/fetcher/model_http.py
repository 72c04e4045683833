"""Model back ends that need no code: JSON over HTTP (spec/online-fetch.md §13).

The conf of a model names its back end, and the configuration says where that is. A POST has the inputs of one batch as a JSON
list, and in its query the model's name and the back end's parameters::

    POST /score?model=team.ranking.v1&version=7
    [{"user_clicks": 5, "item_price": 1.5}]

    {"outputs": [{"score": 0.25}]}

One output for each input, in order. Bytes are Base64 in both directions.
"""

import asyncio
from collections.abc import Mapping, Sequence

from chronoserve.fetcher.boxing import from_json
from chronoserve.fetcher.endpoint import Endpoint
from chronoserve.fetcher.http_json import HttpJson
from chronoserve.model.confs import Model
from chronoserve.model.errors import ExternalFailed


class HttpModel:
    """One back end."""

    def __init__(self, endpoint: Endpoint, *, timeout_seconds: float) -> None:
        self._http = HttpJson(endpoint)
        self._timeout_seconds = timeout_seconds

    async def run(self, model: Model, inputs: Sequence[Mapping[str, object]], *, deadline: float) -> list[Mapping[str, object]]:
        """One output for each input. Raises ExternalFailed where the service gave none that can be understood."""
        params = {**model.backend_params, "model": model.meta_data.name}
        try:
            async with asyncio.timeout_at(min(deadline, asyncio.get_running_loop().time() + self._timeout_seconds)):
                found = await self._http.post(list(inputs), params=params)
        except TimeoutError:
            raise ExternalFailed(f"the model {model.meta_data.name} did not answer in time") from None
        outputs = found.get("outputs") if isinstance(found, dict) else None
        if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
            raise ExternalFailed(f"the service of the model {model.meta_data.name} answered no list of outputs")
        if len(outputs) != len(inputs):
            raise ExternalFailed(f"the service of the model {model.meta_data.name} gave {len(outputs)} outputs to {len(inputs)} inputs")
        return [from_json(output, model.output_schema) for output in outputs]

    async def close(self) -> None:
        await self._http.close()


class ModelBackends:
    """A ModelBackend of several, by the name that a model's conf gives."""

    def __init__(self, backends: Mapping[str, HttpModel]) -> None:
        self._backends = dict(backends)

    async def run(self, model: Model, inputs: Sequence[Mapping[str, object]], *, deadline: float) -> Sequence[Mapping[str, object]]:
        """Raises ExternalFailed where no back end has the model's name of it, and what the back end raises."""
        backend = self._backends.get(model.backend or "")
        if backend is None:
            configured = ", ".join(sorted(self._backends)) or "none"
            raise ExternalFailed(
                f"the model {model.meta_data.name} names the back end {model.backend or '(none)'}; configured are: {configured}"
            )
        return await backend.run(model, inputs, deadline=deadline)

    async def close(self) -> None:
        for backend in self._backends.values():
            await backend.close()
