"""Runs inside the Prefect environment, with its own server on the loopback for as long: the page's flow on a day, how it ended as JSON."""

import json
import runpy
import sys

example = runpy.run_path(sys.argv[1])
flow, landed = example["uploads"], example["landed"]
ended = flow(sys.argv[2], return_state=True)
print(
    "\n"
    + json.dumps({"state": ended.name, "waits_seconds": landed.retries * landed.retry_delay_seconds, "retries": example["upload"].retries})
)
