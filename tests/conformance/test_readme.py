"""The README says of each back end what the back end says of itself."""

import os

import pytest

from chronoserve.testing.conformance import StoreBench
from tests.conformance import readme
from tests.conformance.stores import Store

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_readme_has_the_store_s_own_line(session_bench: StoreBench, store_line: Store) -> None:
    line = readme.row(store_line.name, session_bench.store.capability)
    if os.environ.get("CHRONOSERVE_WRITE_README"):
        readme.write(store_line.name, line)
    assert readme.rows()[store_line.name] == line
