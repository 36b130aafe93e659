"""`akapulu-async COMMAND`, and `python -m akapulu_async COMMAND`."""

import sys
from collections.abc import Sequence

from akapulu_async.cli import streams

__all__ = ["main"]

_OF_EXTRA = frozenset({"hdrh", "rich", "typer"})
_OK, _BAD_USE, _INTERRUPTED = 0, 2, 130  # as in ExitCode, which needs the extra

_NEEDED = "every command but simulate needs the extra cli"
_INSTALL = "install this package again with it, from a checkout by: pip install '.[cli]'"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, by default those of the process; returns the exit code."""
    streams.open_closed()
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return streams.finish(_INTERRUPTED)
    except OSError as error:
        return streams.finish(streams.FAILURE, error)
    return streams.finish(code)


def _run(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["simulate"]:  # works without the extra
        from akapulu_async.simulator import command  # noqa: PLC0415 - imported only if used

        return command.main(arguments[1:])
    try:
        from akapulu_async.cli import app  # noqa: PLC0415 - needs the extra
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _OF_EXTRA:
            raise
        return _without_extra(arguments, missing)
    return app.main(arguments)


def _without_extra(arguments: Sequence[str], missing: str) -> int:
    from akapulu_async.cli import COMMANDS  # noqa: PLC0415 - imported only if used
    from akapulu_async.version import __version__  # noqa: PLC0415

    if arguments[:1] == ["--version"]:
        sys.stdout.write(f"{streams.PROGRAM} {__version__}\n")
    elif arguments[:1] in (["--help"], ["-h"]):
        commands = "\n".join(f"  {name:<10}{line}" for name, line in COMMANDS.items())
        sys.stdout.write(f"Usage: akapulu-async COMMAND [ARGS]...\n\nCommands:\n{commands}\n\n")
        sys.stdout.write(f"{missing} is not installed: {_NEEDED};\n{_INSTALL}\n")
    else:
        streams.complain(f"{missing} is not installed: {_NEEDED}; {_INSTALL}")
        return _BAD_USE
    return _OK


if __name__ == "__main__":
    sys.exit(main())
