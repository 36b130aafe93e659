"""Imports go one way, the pure layers are pure, the simulator stands alone, and the load test is a user like others."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import akapulu_async

ROOT = Path(akapulu_async.__file__).parent

# From the ground up: a wing may import from those before it. A new wing gets a place here.
WINGS = [
    "version",
    "errors",
    "secret",
    "checks",
    "models",
    "converter",
    "sansio",
    "log",
    "limits",
    "tasks",
    "leak_warnings",
    "observing",
    "http",
    "resources",
    "session",
    "manager",
    "client",
    "__init__",
    "load",
    "cli",
    "__main__",
]
STANDS_ALONE = {"errors", "secret", "version"}
ENTRANCES = {"cli", "__main__"}  # which may start the simulator
IMPURE = {"aiohttp", "anyio", "asyncio", "random", "socket", "ssl", "threading", "time"}


def source_files() -> dict[str, Path]:
    """Return all modules of the package by their dotted names below it."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in ROOT.rglob("*.py")
        if "__pycache__" not in path.parts
    }


SOURCES = source_files()


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the absolute names of all that a source imports, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("__import__", "import_module")):
            pytest.fail(f"hides an import: {ast.unparse(node)}")


def imports_of(name: str) -> set[str]:
    return set(imported(ast.parse(SOURCES[name].read_text(encoding="utf-8"))))


def ours(name: str) -> set[str]:
    """Return which of our modules a module imports, by their names in `SOURCES`."""
    found = set()
    for target in imports_of(name):
        parts = target.split(".")
        if parts[0] != "akapulu_async":
            continue
        below = parts[1:]
        while below and ".".join(below) not in SOURCES and ".".join([*below, "__init__"]) not in SOURCES:
            below = below[:-1]
        dotted = ".".join(below)
        found.add(dotted if dotted in SOURCES else ".".join([*below, "__init__"]))
    return found


def wing(name: str) -> str:
    return name.partition(".")[0]


LIBRARY = sorted(name for name in SOURCES if wing(name) != "simulator")


@pytest.mark.parametrize("name", LIBRARY)
def test_imports_go_one_way(name: str) -> None:
    """A module has a place in the order, and imports only from those before it or from its own folder."""
    assert wing(name) in WINGS, "give the new module a place in WINGS"
    place = WINGS.index(wing(name))
    for target in ours(name):
        same_folder = "." in name and wing(target) == wing(name)
        assert same_folder or wing(target) in {"simulator", *WINGS[:place]}, f"{name} imports {target}"


def test_there_is_no_circle() -> None:
    """Within a folder, too, imports go one way."""
    try:
        TopologicalSorter({name: ours(name) - {name} for name in SOURCES}).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {error.args[1]}")


@pytest.mark.parametrize("name", [name for name in LIBRARY if wing(name) == "sansio"])
def test_the_pure_layer_is_pure(name: str) -> None:
    """What is in `sansio` touches no loop, clock, socket or random number, nor does what it imports of ours."""
    seen: set[str] = set()
    todo = {name}
    while todo:
        module = todo.pop()
        seen.add(module)
        todo |= ours(module) - seen
        assert not IMPURE & {target.partition(".")[0] for target in imports_of(module)}, module


@pytest.mark.parametrize("name", sorted(STANDS_ALONE))
def test_the_ground_stands_alone(name: str) -> None:
    """Errors and secrets import nothing of ours."""
    assert ours(name) == set()


def test_the_simulator_stands_alone() -> None:
    """The simulator imports nothing of the library, and only the command line imports the simulator."""
    for name in SOURCES:
        of_simulator = {target for target in ours(name) if wing(target) == "simulator"}
        if wing(name) == "simulator":
            assert ours(name) == of_simulator, name
        elif wing(name) not in ENTRANCES:
            assert of_simulator == set(), name


@pytest.mark.parametrize("name", [name for name in SOURCES if wing(name) == "load"])
def test_the_load_test_uses_the_public_api(name: str) -> None:
    """A module of `load` imports only public names of the library, from the package itself, and modules of `load`."""
    public = {f"akapulu_async.{exported}" for exported in akapulu_async.__all__}
    for target in imports_of(name):
        if target.partition(".")[0] == "akapulu_async":
            assert target in public or target.startswith("akapulu_async.load."), target


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time", {"time"}),
        ("import os.path as p, ssl", {"os.path", "ssl"}),
        ("from asyncio import sleep", {"asyncio.sleep"}),
        ("def f():\n    from random import random", {"random.random"}),
        ("try:\n    import socket\nexcept ImportError:\n    pass", {"socket"}),
    ],
)
def test_no_import_is_overlooked(source: str, found: set[str]) -> None:
    """Imports are seen in each form and at any depth."""
    assert set(imported(ast.parse(source))) == found


@pytest.mark.parametrize("source", ["__import__('time')", "import_module('time')", "importlib.import_module('time')"])
def test_hidden_imports_are_refused(source: str) -> None:
    """An import that cannot be read is none that is allowed."""
    with pytest.raises(pytest.fail.Exception, match="hides an import"):
        set(imported(ast.parse(source)))
