"""The engines by name, and environments of other tools; each is a class that ``ENGINES`` or ``ENVIRONMENTS`` names."""

import importlib

from tests.engines.engine import Engine, Installable

ENGINES = {
    "redis": "tests.engines.redis:Redis",
    "redis-cluster": "tests.engines.redis:RedisCluster",
    "cassandra": "tests.engines.cassandra:Cassandra",
    "dynamodb": "tests.engines.dynamodb:DynamoDB",
    "mongodb": "tests.engines.mongodb:MongoDB",
    "hive": "tests.engines.hive:HiveMetastore",
    "kafka": "tests.engines.kafka:Kafka",
}

ENVIRONMENTS = {
    "airflow2": "tests.engines.environments:Airflow2",
    "airflow3": "tests.engines.environments:Airflow3",
    "chronon": "tests.engines.environments:Chronon",
    "dagster": "tests.engines.environments:Dagster",
    "prefect": "tests.engines.environments:Prefect",
    "spark": "tests.engines.environments:Spark",
}


def engine_class(name: str) -> type[Engine]:
    found = installable(name)
    assert issubclass(found, Engine)
    return found


def installable(name: str) -> type[Installable]:
    """An engine or an environment by name."""
    module, _, attribute = {**ENGINES, **ENVIRONMENTS}[name].partition(":")
    found: type[Installable] = getattr(importlib.import_module(module), attribute)
    return found
