"""The engines by name; each module here holds one ``Engine`` class named in ``ENGINES``."""

import importlib

from tests.engines.engine import Engine

ENGINES = {
    "redis": "tests.engines.redis:Redis",
    "redis-cluster": "tests.engines.redis:RedisCluster",
    "cassandra": "tests.engines.cassandra:Cassandra",
    "dynamodb": "tests.engines.dynamodb:DynamoDB",
    "mongodb": "tests.engines.mongodb:MongoDB",
}


def engine_class(name: str) -> type[Engine]:
    module, _, attribute = ENGINES[name].partition(":")
    found: type[Engine] = getattr(importlib.import_module(module), attribute)
    return found
