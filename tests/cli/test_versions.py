"""Which versions are at work."""

import platform

import aiohttp
import pytest

from akapulu_async.cli import versions
from akapulu_async.cli.findings import Status
from akapulu_async.cli.versions import version_findings
from akapulu_async.version import __version__


def test_versions() -> None:
    """Python and what was installed are told with their versions."""
    python, packages = version_findings()
    assert python.found.startswith(platform.python_version())
    assert packages.found.startswith(f"akapulu-async {__version__}, aiohttp {aiohttp.__version__}, ")
    assert {python.status, packages.status} == {Status.OK}


def test_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is optional and not there is left out."""
    monkeypatch.setattr(versions, "OPTIONAL", ("no-such-distribution", "attrs"))
    *_, packages = version_findings()
    names = [package.split()[0] for package in packages.found.split(", ")]
    assert "no-such-distribution" not in names
    assert names[-1] == "attrs"
