"""Runs inside the Dagster environment: the page's definitions on a day, and what came of it as JSON."""

import json
import runpy
import sys

import dagster as dg

example = runpy.run_path(sys.argv[1])
day, never = sys.argv[2:4]
globals_of_it = example["yesterday"].__globals__
definitions: dg.Definitions = example["defs"]
definitions.get_repository_def()

requests: dict[str, list[dict[str, str]]] = {}
for yesterday in (day, never):
    globals_of_it["yesterday"] = lambda at=yesterday: at
    found = example["landed"](dg.build_sensor_context(definitions=definitions))
    requests[yesterday] = [
        {"key": each.run_key, "day": each.partition_key, "asset": each.asset_selection[0].to_user_string()} for each in found
    ]
with dg.DagsterInstance.ephemeral() as instance:
    done = dg.materialize(list(example["UPLOADS"].values()), partition_key=day, instance=instance, raise_on_error=False)
    events = [event.asset_key.to_user_string() for event in done.get_asset_materialization_events()]
retries = {asset.op.name: asset.op.retry_policy.max_retries for asset in example["UPLOADS"].values()}
print("\n" + json.dumps({"success": done.success, "requests": requests, "materialized": sorted(events), "retries": retries}))
