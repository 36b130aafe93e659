"""The package offers its public names, cheaply and with types."""

import subprocess
import sys
from importlib.resources import files
from inspect import isclass, ismodule

import akapulu_async
from akapulu_async import errors
from akapulu_async.models import connection, conversation


def test_all_is_sorted_and_importable() -> None:
    """`__all__` is sorted, without doubles, and each name is there and not None."""
    assert akapulu_async.__all__ == sorted(set(akapulu_async.__all__))
    for name in akapulu_async.__all__:
        assert getattr(akapulu_async, name) is not None


def test_all_is_complete() -> None:
    """Every public name that the package has is in `__all__`, and nothing else is."""
    public = {
        name for name, value in vars(akapulu_async).items() if not name.startswith("_") and not ismodule(value)
    }  # fmt: skip
    assert public == set(akapulu_async.__all__)


def test_every_error_and_model_is_public() -> None:
    """What can be raised or returned can be imported from the package itself."""
    for module in (errors, connection, conversation):
        for name, value in vars(module).items():
            if isclass(value) and value.__module__ == module.__name__ and not name.startswith("_"):
                assert getattr(akapulu_async, name) is value


def test_importing_is_cheap() -> None:
    """A fresh interpreter that imports the package loads neither the simulator nor a command line."""
    code = "import sys, akapulu_async; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)  # noqa: S603 - our own
    loaded = set(done.stdout.split())
    assert "akapulu_async.client" in loaded
    assert not {"akapulu_async.simulator", "akapulu_async.cli", "akapulu_async.__main__", "typer", "rich"} & loaded


def test_types_are_shipped() -> None:
    """The marker is there that lets type checkers read the package."""
    assert (files(akapulu_async) / "py.typed").is_file()
