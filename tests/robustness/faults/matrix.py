"""Write the matrix as a page for users: `python -m tests.robustness.faults.matrix > docs/faults.md`."""

import sys
from collections.abc import Iterable

from tests.robustness.faults.cells import COLUMNS, TRIES
from tests.robustness.faults.table import LASTING, PASSING, Row

_INTRODUCTION = f"""\
# What happens when the network fails

Each cell shows the result of an operation under a fault, how often the service handled the request, and how long it
took. The tests try each cell over real sockets, through a proxy that breaks the exchange at the given point. This page
is generated from their assertions (`.venv/bin/python -m tests.robustness.faults.matrix > docs/faults.md`).

Summary:

- A **connect** is handled at most once. If it was sent and its answer was lost, only the service knows whether the
  conversation exists: the result is a `ConnectOutcomeUnknownError`, and nothing is sent again. A connect never uses a
  kept connection, because the service may be closing it.
- A **GET** is tried up to {TRIES} times here, within one deadline (`Timeouts.total`). Silence cannot be told from
  slowness, so it costs the whole deadline; choose one that you can afford.
- A **recording** that is read in pieces cannot start again unnoticed by its reader, so a break after the first piece is
  raised. `download_recording` resumes where it stopped, as long as each attempt receives a new byte; its file is
  complete or not there. Both are tried in two ways: with the bytes from the service, and with a redirect to a storage
  host. In the second case the fault strikes at the storage host, and the requests to it are counted.
- A **session** tolerates up to {TRIES - 1} failed polls in a row here, and ends with the cause after more. Entering it
  raises the errors of its connect: see the first column, and the faults that prevent any connection. A session of
  `attach` sends no connect, so all its failures are failures of polls.

How to read a cell: `answer, 2x, at once` means that the caller got the complete answer, that the service handled the
request twice (for a session: its polls), and that nothing was waited for. "(not sent)" means that the error's `sent` is
False: the request surely did not reach the service, or the storage host. The deadline is `Timeouts.total`; each poll of
a session has one, and a download has one for each wait for the next piece. The pauses between attempts are not
included; here they are zero. "-" means that the fault cannot strike there.
"""


def render() -> str:
    """Return the page."""
    return "\n".join(
        [
            _INTRODUCTION,
            "## Faults that strike once",
            "",
            "The first request meets the fault (in a session, the first poll); later ones do not.",
            "",
            *_table(PASSING),
            "",
            "## Faults that last",
            "",
            "Every request meets the fault (in a session, every poll).",
            "",
            *_table(LASTING),
            "",
        ]
    )


def _table(rows: Iterable[Row]) -> list[str]:
    lines = [("fault", *COLUMNS), ("---",) * (1 + len(COLUMNS))]
    lines += [(row.fault, *("-" if cell is None else str(cell) for cell in row.cells)) for row in rows]
    return [f"| {' | '.join(line)} |" for line in lines]


if __name__ == "__main__":
    sys.stdout.write(render())
