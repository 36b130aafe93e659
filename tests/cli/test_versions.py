"""Which versions are at work."""

import platform

import aiohttp

from akapulu_async.cli.findings import Status
from akapulu_async.cli.versions import version_findings
from akapulu_async.version import __version__


def test_versions() -> None:
    """Python and what was installed are told with their versions."""
    python, packages = version_findings()
    assert python.found.startswith(platform.python_version())
    assert packages.found.startswith(f"akapulu-async {__version__}, aiohttp {aiohttp.__version__}, ")
    assert {python.status, packages.status} == {Status.OK}
