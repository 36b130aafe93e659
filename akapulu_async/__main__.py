"""`akapulu-async COMMAND`, and `python -m akapulu_async COMMAND`."""

import sys
from collections.abc import Sequence

__all__ = ["main"]

_OF_EXTRA = frozenset({"hdrh", "plotly", "rich", "typer"})
_BAD_USE, _INTERRUPTED = 2, 130  # as ExitCode has them, which is not there without the extra


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, by default the process's own; returns the exit code."""
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:  # before any command could take care of it
        return _INTERRUPTED


def _run(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["simulate"]:  # the one that works without the extra
        from akapulu_async.simulator import command  # noqa: PLC0415 - only those who use it pay for it

        return command.main(arguments[1:])
    try:
        from akapulu_async.cli import app  # noqa: PLC0415 - it needs the extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _OF_EXTRA:
            raise
        sys.stderr.write(
            f"akapulu-async: {error.name} is not installed, which all commands but simulate need: "
            "pip install 'akapulu-async[cli]'\n"
        )
        return _BAD_USE
    return app.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
