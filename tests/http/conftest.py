"""All tests of http run twice: with requests that are reused, and, as slow tests, with the plain way."""

import pytest

from akapulu_async.http import reused_request


@pytest.fixture(autouse=True, params=["reused", pytest.param("plain", marks=pytest.mark.slow)])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Send GETs the one way, or the one that is taken when aiohttp does not let requests be reused."""
    way: str = request.param
    if way == "plain":
        monkeypatch.setattr(reused_request, "reuse_works", lambda: False)
    return way
