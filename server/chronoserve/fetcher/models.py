"""Model transforms: models run over the features of a call, and rows become their outputs (spec/online-fetch.md §13)."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from chronoserve.fetcher.join_plan import JoinPlan, model_fields
from chronoserve.fetcher.join_rows import Made
from chronoserve.fetcher.ports import ModelBackend
from chronoserve.model.confs import Model, ModelTransform
from chronoserve.model.errors import DeadlinePassed, ExternalFailed, FailedPrecondition, KVError
from chronoserve.model.features import FeatureRow, RowStatus

log = structlog.get_logger("chronoserve.fetcher")

Outputs = Mapping[str, Any]


@dataclass(slots=True)
class _Run:
    """The inputs of one model in a call, equal ones once."""

    model: Model
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: Sequence[Outputs] | KVError = ()

    def place(self, given: dict[str, Any]) -> int:
        """Where the input stands among the run's. Inputs are few and may hold lists and maps: they are compared, not hashed."""
        for at, known in enumerate(self.inputs):
            if known == given and all(type(known[name]) is type(value) for name, value in given.items()):
                return at
        self.inputs.append(given)
        return len(self.inputs) - 1


async def run_models(
    backend: ModelBackend | None, plans: Sequence[JoinPlan | KVError], made: Sequence[Made], *, attempts: int, deadline: float
) -> None:
    """Replace the features of rows whose join has transforms by their models' outputs and the fields passed through.

    A model that fails leaves its outputs null and is named among the row's failures; other rows are as they were. Chronon
    shows neither (docs/parity.md). What an output lacks is null.
    """
    runs: dict[str, _Run] = {}
    places: list[tuple[Made, JoinPlan, list[int]]] = []
    for plan, each in zip(plans, made, strict=True):
        transforms = _transforms(plan)
        if transforms and isinstance(plan, JoinPlan) and each.loggable:
            places.append((each, plan, [_placed(runs, transform, each.row.features or {}) for transform in transforms]))
    await asyncio.gather(*(_run(backend, run, attempts, deadline) for run in runs.values()))
    for each, plan, at in places:
        each.row = _transformed(each.row, plan, runs, at)


def _transforms(plan: JoinPlan | KVError) -> tuple[ModelTransform, ...]:
    if isinstance(plan, KVError) or plan.conf.model_transforms is None:
        return ()
    return plan.conf.model_transforms.transforms or ()


def _placed(runs: dict[str, _Run], transform: ModelTransform, features: Mapping[str, Any]) -> int:
    model = transform.model
    run = runs.setdefault(model.meta_data.name, _Run(model))
    names = model.input_schema.names if model.input_schema is not None else ()
    return run.place({name: features.get(transform.input_mappings.get(name, name)) for name in names})


async def _run(backend: ModelBackend | None, run: _Run, attempts: int, deadline: float) -> None:
    name = run.model.meta_data.name
    if backend is None:
        run.outputs = FailedPrecondition(f"the join has the model {name}, and this server was given no model backend")
        return
    for _ in range(attempts):
        try:
            async with asyncio.timeout_at(deadline):
                outputs = await backend.run(run.model, run.inputs, deadline=deadline)
        except TimeoutError:
            run.outputs = DeadlinePassed(f"the model {name} did not answer in time")
            return
        except Exception as raised:  # noqa: BLE001 - whatever a model's client raises is that model's failure
            log.warning("a model failed", model=name, error=type(raised).__name__)
            run.outputs = ExternalFailed(
                f"the model {name} failed: {raised.message if isinstance(raised, KVError) else type(raised).__name__}"
            )
        else:
            run.outputs = outputs
            if not isinstance(outputs, Sequence) or len(outputs) != len(run.inputs):
                run.outputs = ExternalFailed(f"the model {name} did not give one output to each of {len(run.inputs)} inputs")
            elif not all(isinstance(output, Mapping) for output in outputs):
                run.outputs = ExternalFailed(f"the model {name} gave an output that has no names")
            return


def _transformed(row: FeatureRow, plan: JoinPlan, runs: Mapping[str, _Run], places: Sequence[int]) -> FeatureRow:
    features: dict[str, Any] = {}
    types = dict(plan.types)
    failures: dict[str, KVError] = {}
    for transform, at in zip(_transforms(plan), places, strict=True):
        name = transform.model.meta_data.name
        outputs = runs[name].outputs
        if isinstance(outputs, KVError):
            failures[name] = outputs
        given: Outputs = {} if isinstance(outputs, KVError) else outputs[at]
        schema = transform.model.output_schema
        for source, out in zip(schema.names if schema is not None else (), model_fields(transform), strict=True):
            features[out.name] = given.get(source)
            types[out.name] = out.type
    transforms = plan.conf.model_transforms
    for name in (transforms.passthrough_fields or ()) if transforms is not None else ():
        features[name] = (row.features or {}).get(name)
    status = RowStatus.DEGRADED if failures and row.status is not RowStatus.ERROR else row.status
    return FeatureRow(status, features, types, row.keys, row.error, row.part_errors | failures, row.freshness)
