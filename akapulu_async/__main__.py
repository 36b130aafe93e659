"""`python -m akapulu_async COMMAND`."""

import sys
from collections.abc import Sequence

from akapulu_async.simulator import command as simulate

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, by default the process's own; returns the exit code."""
    parser = simulate.OneLineParser(prog="akapulu_async", description="Tools around Akapulu.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    simulate.add_to(commands)
    chosen = parser.parse_args(arguments)
    code: int = chosen.run(chosen)
    return code


if __name__ == "__main__":
    sys.exit(main())
