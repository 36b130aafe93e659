"""What is around the code: metadata, and the files that users and CI begin with."""

# ruff: noqa: S603, S607 - runs Python and bash on what is ours

import importlib.metadata
import os
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DISTRIBUTION = "akapulu-async"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def requirements(extra: str | None) -> set[str]:
    """Return the names required by an extra, or without any."""
    found = set()
    for line in importlib.metadata.requires(DISTRIBUTION) or ():
        requirement, _, marker = line.partition(";")
        needs_extra = re.search(r"""extra\s*==\s*["']([\w-]+)["']""", marker)
        if (needs_extra[1] if needs_extra else None) == extra:
            name = re.match(r"[\w.-]+", requirement)
            assert name, line
            found.add(name[0].lower())
    return found


def test_runtime_dependencies() -> None:
    """Who installs the library gets four distributions, and what those need."""
    assert requirements(None) == {"aiohttp", "anyio", "attrs", "cattrs"}


@pytest.mark.parametrize(
    ("extra", "some"),
    [("cli", {"hdrhistogram", "plotly", "rich", "typer"}), ("speed", {"uvloop"}), ("dev", {"pytest"})],
)
def test_extras(extra: str, some: set[str]) -> None:
    """What not everybody needs is asked for by name."""
    assert some <= requirements(extra)


def test_extras_are_known() -> None:
    """There are three extras."""
    metadata = importlib.metadata.metadata(DISTRIBUTION)
    assert set(metadata.get_all("Provides-Extra") or ()) == {"cli", "speed", "dev"}


def test_licence() -> None:
    """The licence is named in the metadata, and there is its text."""
    assert importlib.metadata.metadata(DISTRIBUTION)["License-Expression"] == "MIT"
    assert read("LICENSE").startswith("MIT License")


def test_python_version() -> None:
    """The metadata and the set-up ask for the same Python."""
    assert importlib.metadata.metadata(DISTRIBUTION)["Requires-Python"] == ">=3.11"
    assert "sys.version_info < (3, 11)" in read("Makefile")


def test_typed() -> None:
    """Type checkers are told that the annotations are meant for them."""
    assert resources.files("akapulu_async").joinpath("py.typed").is_file()


def test_import_is_lean() -> None:
    """Importing the library imports neither the simulator nor anything of an extra."""
    code = "import sys, akapulu_async; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = r"akapulu_async\.(simulator|cli)|hdrh|plotly|rich|typer|uvloop"
    assert [name for name in done.stdout.split() if re.match(rf"({heavy})(\.|$)", name)] == []


def test_changelog() -> None:
    """What is installed is in the changelog: under its version, or as unreleased."""
    headings = re.findall(r"^## \[?([\w.]+)", read("CHANGELOG.md"), re.MULTILINE)
    assert headings
    assert {"Unreleased", importlib.metadata.version(DISTRIBUTION)} & set(headings)


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):(?!=)", read("Makefile"), re.MULTILINE))


def test_readme_commands() -> None:
    """The README names no command that the Makefile does not have."""
    named = set(re.findall(r"(?:^    |`)make ([a-z-]+)", read("README.md"), re.MULTILINE))
    assert {"demo", "test"} <= named
    assert named <= targets()


def test_make_targets() -> None:
    """Each target is phony, and `make help` has a line for it."""
    makefile = read("Makefile")
    phony = set(" ".join(re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)).split())
    documented = set(re.findall(r"^([a-z-]+):.*## \w", makefile, re.MULTILINE))
    assert targets() == phony == documented


def test_ci() -> None:
    """CI is a script that can be run, calls the README's test command, and nothing that is not there."""
    script = read(".ci/run")
    assert os.access(ROOT / ".ci/run", os.X_OK)
    steps = re.findall(r"^step make (\S+)", script, re.MULTILINE)
    assert steps[0] == "test"
    assert set(steps) <= targets()
    subprocess.run(["bash", "-n", str(ROOT / ".ci/run")], check=True)
