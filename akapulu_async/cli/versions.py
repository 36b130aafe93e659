"""Which versions are at work."""

import platform
from collections.abc import Iterator
from importlib import metadata

from akapulu_async.cli.findings import Finding, Status

NEEDED = ("akapulu-async", "aiohttp", "anyio", "attrs", "cattrs", "typer", "rich")
OPTIONAL = ("uvloop",)


def version_findings() -> Iterator[Finding]:
    """Yield what is installed."""
    yield Finding("python", Status.OK, f"{platform.python_version()} on {platform.platform(terse=True)}")
    versions = [f"{name} {found}" for name in (*NEEDED, *OPTIONAL) if (found := _version(name)) is not None]
    yield Finding("packages", Status.OK, ", ".join(versions))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # uvloop, or a checkout that was never installed
        return None
