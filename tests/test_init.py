"""The package has its public names, is cheap to import, has types, and its help opens with an example."""

import ast
import pydoc
import re
import subprocess
import sys
import textwrap
from importlib.resources import files
from inspect import isclass, ismodule

import akapulu_async
from akapulu_async import errors
from akapulu_async.models import connection, conversation


def test_all_is_sorted_and_importable() -> None:
    """`__all__` is sorted, without duplicates, and each of its names exists."""
    assert akapulu_async.__all__ == sorted(set(akapulu_async.__all__))
    for name in akapulu_async.__all__:
        assert getattr(akapulu_async, name) is not None


def test_help_opens_with_an_example() -> None:
    """The first screen of `help(akapulu_async)` has an example and the entry points."""
    screen = "\n".join(pydoc.plain(pydoc.render_doc(akapulu_async)).splitlines()[:28])
    entries = re.findall(r"^ +- `([\w. -]+)`", screen, re.MULTILINE)
    assert [entry.rpartition(".")[2] for entry in entries] == [
        "AkapuluClient", "ConversationSession", "SessionManager", "Simulator", "akapulu-async --help"
    ]  # fmt: skip
    example = textwrap.dedent(screen.partition("::\n")[2].partition("Start here:")[0])
    compile(example, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_all_is_complete() -> None:
    """Every public name of the package is in `__all__`, and nothing else is."""
    public = {
        name for name, value in vars(akapulu_async).items() if not name.startswith("_") and not ismodule(value)
    }  # fmt: skip
    assert public == set(akapulu_async.__all__)


def test_every_error_and_model_is_public() -> None:
    """Every error and every model can be imported from the package itself."""
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
    """The marker for type checkers is shipped."""
    assert (files(akapulu_async) / "py.typed").is_file()
