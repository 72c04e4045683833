"""The shipped conformance suite on every store."""

import pytest

from chronoserve.testing.conformance import KVStoreConformance

pytestmark = pytest.mark.asyncio(loop_scope="session")


class TestKVStore(KVStoreConformance):
    """Runs once for each line of ``stores.py``."""
