"""What every test of this folder needs: the environment with PySpark."""

import pytest

from tests.conformance.conftest import REQUIRED
from tests.engines.environments import Spark


@pytest.fixture(scope="package", autouse=True)
def _spark() -> None:
    """Where it is not installed: skip, or fail if it is required."""
    if not Spark.installed():
        message = "the environment spark is not installed: make engines ONLY=spark"
        if REQUIRED & {"all", "spark"}:
            pytest.fail(message)
        pytest.skip(message)
