"""Find the newest Python of this machine. As a program, print it, or fail if this one is of the same version."""

# ruff: noqa: S603, T201 - a program that runs Python

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

OLDEST = (3, 11)
VERSION = "import sys, venv, ensurepip; print(*sys.version_info[:3], sys.version_info.releaselevel == 'final')"


def candidates() -> Iterator[Path]:
    """Yield what may be a Python: pythonX.Y in PATH, and the versions of pyenv."""
    for folder in os.get_exec_path():
        yield from (path for path in Path(folder).glob("python3.*") if re.fullmatch(r"python3\.\d+", path.name))
    yield from (Path.home() / ".pyenv" / "versions").glob("3.*/bin/python")


def version(python: Path | str) -> tuple[int, ...] | None:
    """Return the version of a Python that can make environments; None if it does not run, or is not a final release."""
    try:
        done = subprocess.run([python, "-c", VERSION], capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return None
    *numbers, final = done.stdout.split() or ["False"]
    return tuple(map(int, numbers)) if done.returncode == 0 and final == "True" else None


def newest() -> Path | None:
    """Return the newest Python that the library supports, or None."""
    found = {path: version(path) for path in candidates()}
    known = {path: number for path, number in found.items() if number is not None and number >= OLDEST}
    return max(known, key=known.__getitem__, default=None)


if __name__ == "__main__":
    python = newest()
    if python is None or version(python) == sys.version_info[:3]:
        sys.exit("there is no other Python")
    print(python)
