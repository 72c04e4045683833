"""What every test of this folder needs: the environment with PySpark."""

import pytest

from tests.conformance.conftest import installed
from tests.engines.environments import Spark


@pytest.fixture(scope="package", autouse=True)
def _spark() -> None:
    """Where it is not installed: skip, or fail if it is required."""
    installed(Spark)
