"""`akapulu-async`: the commands, and their common options and errors."""

import logging
import sys
from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

import typer

from akapulu_async import AkapuluError, __version__
from akapulu_async.cli import COMMANDS, values
from akapulu_async.cli.connect import connect
from akapulu_async.cli.doctor import doctor
from akapulu_async.cli.download import download
from akapulu_async.cli.exits import ExitCode, exit_code, table
from akapulu_async.cli.load import load
from akapulu_async.cli.show import show
from akapulu_async.cli.streams import PROGRAM, complain
from akapulu_async.cli.watch import watch

_EPILOG = f"""\b
AKAPULU_API_KEY holds the API key, and AKAPULU_BASE_URL the service's address
if it is not the default. --simulator needs neither.

\b
Results go to stdout, with --json as one JSON object per line; errors go to
stderr, in one line.

\b
Exit codes:
{table()}
"""

app = typer.Typer(
    name=PROGRAM,
    help="Live AI-avatar conversations on Akapulu, from the command line.",
    epilog=_EPILOG,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(asked: bool) -> None:  # noqa: FBT001 - called by position
    if asked:
        sys.stdout.write(f"{PROGRAM} {__version__}\n")
        raise typer.Exit


_Version: TypeAlias = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
]


@app.callback()
def options(*, version: _Version = False) -> None:
    """Read the options before the command."""


def simulate(context: typer.Context) -> int:
    """Run a local simulator of Akapulu until interrupted."""
    # It parses its own options, since it works without typer too.
    from akapulu_async.simulator.command import main as run  # noqa: PLC0415 - imported only if used

    return run(context.args)


for _command in (connect, watch, show, download, load):
    app.command(short_help=COMMANDS[_command.__name__])(_command)
app.command(
    short_help=COMMANDS["simulate"],
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)(simulate)
app.command(short_help=COMMANDS["doctor"])(doctor)


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; returns the exit code."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(logging.Formatter(f"{PROGRAM}: %(message)s"))
    command = typer.main.get_command(app)
    try:
        code = command.main(args=list(arguments), prog_name=PROGRAM, standalone_mode=False)
    except typer.TyperException as error:
        complain(_wrong_use(error, f"{PROGRAM} {arguments[0]}" if arguments else PROGRAM))
        return ExitCode.BAD_USE
    except AkapuluError as error:
        complain(str(error))
        return exit_code(error)
    return int(code or ExitCode.OK)


def _wrong_use(error: Any, used: str) -> str:
    """Return one line with the command, the option, its value and what it must be."""
    context = getattr(error, "ctx", None)
    command = used if context is None else context.command_path
    option = _name(getattr(error, "param", None))
    said = _problem(error)
    wrong = error.format_message() if option is None or not said else f"{option}: {said}"
    return f"{wrong.rstrip('.')}; see {command} --help"


def _problem(error: Any) -> str:
    """Return what is wrong with a value, including the value, which typer's own messages on numbers leave out."""
    said = str(error.message).removeprefix("Value error, ")
    if not said.startswith("Input should be "):
        return said
    return (
        f"{values.shown(str(error.__cause__.errors()[0]['input']))} should be {said.removeprefix('Input should be ')}"
    )


def _name(param: Any) -> str | None:
    if param is None:
        return None
    return str(param.metavar if param.param_type_name == "argument" else max(param.opts, key=len))
