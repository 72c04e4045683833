"""How Chronon turns names into datasets, keys and prefixes (spec/online-fetch.md §2; golden/d_naming.jsonl)."""

import json
import re

METADATA_DATASET = "ZIPLINE_METADATA"
ENTITIES_BY_TEAM_DATASET = "CHRONON_ENTITY_BY_TEAM"
STATS_DATASET = "CHRONON_STATS_BATCH"
LOG_STATS_DATASET = "CHRONON_LOG_STATS_BATCH"
CONSISTENCY_DATASET = "CHRONON_CONSISTENCY_METRICS_STATS_BATCH"
SERVING_INFO_KEY = b"group_by_serving_info"
CONTEXTUAL = "contextual"
SCHEMA_PUBLISH_EVENT = "SCHEMA_PUBLISH_EVENT"

_ILLEGAL = re.compile(r"[^a-zA-Z0-9_]")


def sanitize(name: str) -> str:
    """Each character outside ``[a-zA-Z0-9_]`` becomes ``_``."""
    return _ILLEGAL.sub("_", name)


def batch_dataset(group_by: str) -> str:
    return sanitize(group_by).upper() + "_BATCH"


def streaming_dataset(group_by: str) -> str:
    return sanitize(group_by).upper() + "_STREAMING"


def name_to_file_path(name: str) -> str:
    """``team.join.v1`` to ``team/join.v1``: the first dot becomes a slash."""
    return name.replace(".", "/", 1)


def conf_path_to_key(path: str) -> str:
    """The last three segments of a path, as ``joins/team/join.v1``."""
    return "/".join(path.split("/")[-3:])


def join_conf_key(name: str) -> str:
    """The key of a join's conf in ZIPLINE_METADATA. ``name`` as requested: ``team/join.v1``."""
    return f"joins/{name}"


def upload_table(namespace: str, name: str) -> str:
    return f"{namespace}.{sanitize(name)}_upload"


def custom(custom_json: str | None, key: str) -> object:
    """One value of a ``customJson`` text; None where the text is no JSON object or lacks it."""
    if not custom_json:
        return None
    try:
        parsed = json.loads(custom_json)
    except (ValueError, RecursionError):
        return None
    return parsed.get(key) if isinstance(parsed, dict) else None
