"""The simulator stands alone, and its pure parts touch no clock, loop or socket."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import akapulu_async
import akapulu_async.simulator

FOLDER = Path(akapulu_async.simulator.__file__).parent
MODULES = sorted(FOLDER.glob("*.py"))
SHELL = {"__init__", "command", "control", "delivery", "journal", "operations", "server", "simulator"}
ALLOWED = {*sys.stdlib_module_names, "aiohttp", "attrs", "anyio"}
IMPURE = {"aiohttp", "anyio", "asyncio", "socket", "threading", "time"}


def imported(module: Path) -> Any:
    """Return the names of all modules that a source file imports, at any depth."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert node.module is not None
            yield node.module


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_it_imports_nothing_else_of_the_package(module: Path) -> None:
    """A module imports the standard library, aiohttp, attrs, anyio and the simulator, and nothing else."""
    for name in imported(module):
        assert name.startswith("akapulu_async.simulator.") or name.partition(".")[0] in ALLOWED


@pytest.mark.parametrize(
    "module", [module for module in MODULES if module.stem not in SHELL], ids=lambda module: module.stem
)
def test_pure_modules_are_pure(module: Path) -> None:
    """A pure module imports no loop, clock or socket, and none of the modules that may."""
    names = set(imported(module))
    assert not IMPURE.intersection(name.partition(".")[0] for name in names)
    assert not {f"akapulu_async.simulator.{name}" for name in SHELL} & names


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_modules_are_small(module: Path) -> None:
    """Each module has fewer than 300 lines and, but for the package, a test file."""
    assert len(module.read_text().splitlines()) < 300
    assert module.stem == "__init__" or (Path(__file__).parent / f"test_{module.stem}.py").exists()


def test_the_package_does_not_load_it() -> None:
    """Importing `akapulu_async` does not import the simulator."""
    code = "import sys, akapulu_async; sys.exit('akapulu_async.simulator' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603 - our own code


def test_no_public_name_has_two_meanings() -> None:
    """No public name of the simulator is also one of the library's."""
    assert not {*akapulu_async.__all__} & {*akapulu_async.simulator.__all__}
