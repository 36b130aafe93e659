"""`akapulu-async`: the commands, and what they have in common."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

import typer

from akapulu_async.cli import values
from akapulu_async.cli.connect import connect
from akapulu_async.cli.doctor import doctor
from akapulu_async.cli.download import download
from akapulu_async.cli.exits import ExitCode, exit_code, table
from akapulu_async.cli.load import load
from akapulu_async.cli.screen import complain
from akapulu_async.cli.show import show
from akapulu_async.cli.watch import watch
from akapulu_async.errors import AkapuluError
from akapulu_async.version import __version__

PROGRAM = "akapulu-async"

_EPILOG = f"""\b
The API key comes from AKAPULU_API_KEY, and AKAPULU_BASE_URL says where the
service is, if not at its own place. --simulator does without both.

\b
Results go to stdout, with --json an object a line; what is wrong goes to
stderr, in one line.

\b
Exit codes:
{table()}
"""

app = typer.Typer(
    name=PROGRAM,
    help="Live conversations with Akapulu's avatars, from the command line.",
    epilog=_EPILOG,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - so it is called
    if wanted:
        sys.stdout.write(f"{PROGRAM} {__version__}\n")
        raise typer.Exit


_Version: TypeAlias = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
]


@app.callback()
def options(*, version: _Version = False) -> None:
    """Take what is no command's."""


for command in (connect, watch, show, download, load):
    app.command()(command)


@app.command(add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def simulate(context: typer.Context) -> int:
    """Run a local Akapulu until interrupted."""
    # It reads its options by itself, so that it works without typer too.
    from akapulu_async.simulator.command import main as run  # noqa: PLC0415 - only those who use it pay for it

    return run(context.args)


app.command()(doctor)


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; returns the exit code."""
    command = typer.main.get_command(app)
    try:
        code = command.main(args=list(arguments), prog_name=PROGRAM, standalone_mode=False)
    except typer.TyperException as error:
        complain(_wrong_use(error, f"{PROGRAM} {arguments[0]}" if arguments else PROGRAM))
        return ExitCode.BAD_USE
    except typer.Abort:  # Ctrl-C or the end of the input, where a question was asked
        complain("")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has enough, as `head` has. Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILURE
    except (AkapuluError, OSError) as error:
        complain(f"{PROGRAM}: {error}")
        return exit_code(error)
    return int(code or ExitCode.OK)


def _wrong_use(error: Any, used: str) -> str:
    """Return one line that names the command, the option, its value and what is wanted."""
    context = getattr(error, "ctx", None)
    command = used if context is None else context.command_path
    option = _name(getattr(error, "param", None))
    said = _said(error)
    wrong = error.format_message() if option is None or not said else f"{option}: {said}"
    return f"{command}: {wrong.rstrip('.')}; see {command} --help"


def _said(error: Any) -> str:
    """Return what is wrong with a value, with the value: our own readers show it, typer's for numbers do not."""
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
