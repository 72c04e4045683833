"""Servers in the test's own loop run on both transports as well."""

import pytest

from tests.server.inside import serving


@pytest.fixture(autouse=True)
def _served_by(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "TRANSPORT", transport)
