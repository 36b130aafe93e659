"""Show the matrix as a page for users: `python -m tests.robustness.faults.matrix > docs/faults.md`."""

import sys
from collections.abc import Iterable

from tests.robustness.faults.cells import COLUMNS, TRIES
from tests.robustness.faults.table import LASTING, PASSING, Row

_INTRODUCTION = f"""\
# What happens when the network fails

Each cell says what the caller of an operation gets under a fault, how often the service handled the request, and how
long it took. The tests try each cell over real sockets, through a proxy that breaks the exchange at that point; this
page is generated from what they assert (`.venv/bin/python -m tests.robustness.faults.matrix > docs/faults.md`).

What to read out of it:

- A **connect** is handled once at the most. Once one was sent and its answer lost, only the service knows whether
  there is a conversation: that is a `ConnectOutcomeUnknownError`, and nothing is sent again. It never goes over a
  kept connection, so that one which is just being closed cannot make it fail.
- What **reads** is sent again, up to {TRIES} tries here, within one deadline (`Timeouts.total`). Silence cannot be told
  from slowness, so it costs the whole deadline: choose one that you can bear.
- A **recording** that is read in pieces cannot be begun again behind its reader's back: once it has begun, a break is
  the reader's to handle. `download_recording` goes on from where it broke off, for as long as each try brings a
  further byte; its file is whole or not there. Both are tried twice: with the bytes coming from the service, and with
  a redirect to a storage host; then the fault strikes there, and the requests to that host are counted.
- A **session** bears failed polls, up to {TRIES - 1} in a row here, and ends with the cause when there are more.
  Entering it raises what its connect raises: the first column, and wherever not even a connection comes about.
  One of `attach` sends no connect, so that all its failures are those of polls.

How to read a cell: `answer, 2x, at once` means that the caller got what was asked for, whole and right, that the
service handled the request twice (of a session: its polls), and that nothing was waited for. "(not sent)" means that
the error's `sent` is False: the request surely did not reach the service, or the storage host. The deadline is
`Timeouts.total`; each poll of a session has one, and a download has one for each wait for a further piece. The pauses
between tries, which the retry policy says, come on top; here there are none. "-" means that the fault cannot strike
there.
"""


def render() -> str:
    """Return the page."""
    return "\n".join(
        [
            _INTRODUCTION,
            "## Faults that strike once",
            "",
            "The first request meets the fault, of a session the first poll; then all is well.",
            "",
            *_table(PASSING),
            "",
            "## Faults that last",
            "",
            "Every request meets the fault, of a session every poll.",
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
