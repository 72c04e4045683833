"""Chronon's DAGs for Airflow 2.11 and 3 (spec/integration.md §5), from a folder of compiled confs.

A DAG file in full:

    from chronoserve.airflow import dags

    globals().update(dags(repository="/srv/chronon"))

What is scheduled, and after what, is decided in ``plan`` without Airflow; ``build`` turns that into operators. Every task
calls ``chronoserve run``, so any other scheduler can do the same.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chronoserve.airflow.build import dags

__all__ = ["dags"]


def __getattr__(name: str) -> Any:
    """``build`` needs Airflow, ``plan`` does not: it is imported when it is asked for."""
    if name == "dags":
        from chronoserve.airflow.build import dags  # noqa: PLC0415

        return dags
    raise AttributeError(name)
