"""Print the matrix as a page for users: `python -m tests.robustness.faults.matrix > docs/faults.md`."""

import sys
from collections.abc import Iterable

from tests.robustness.faults.cells import COLUMNS, TRIES
from tests.robustness.faults.table import LASTING, PASSING, Row
from tests.robustness.gateways.accounts import MANY
from tests.robustness.gateways.kinds import KINDS

GATEWAYS = ", ".join(kind.name for kind in KINDS[:-1]) + f" and {KINDS[-1].name}"

_INTRODUCTION = f"""\
# What happens when the network fails

Each cell shows the result of an operation under a fault, how often the service handled the request, and how long it
took. The tests try each cell over real sockets, through a proxy that breaks the exchange at that point; this page is
generated from what they assert (`.venv/bin/python -m tests.robustness.faults.matrix > docs/faults.md`).

The main points:

- A **connect** is handled at most once. If it was sent and its answer was lost, only the service knows whether there is
  a conversation: the caller gets a `ConnectOutcomeUnknownError`, and nothing is sent again. A connect never uses a kept
  connection, so one that is just being closed cannot make it fail.
- A **gateway** may answer with a page of its own after the service handled the request. So no 5xx proves that a connect
  made nothing, except a 503 with the service's own JSON error; nor do 408 and 499. The tests send {MANY} connects
  through {GATEWAYS}, with answers lost behind them, and with timeouts,
  queues, limits, reloads and restarts: each conversation is then known, or its connect raised a
  `ConnectOutcomeUnknownError`, and none was made twice.
- No client can see or prevent that a gateway **repeats a POST** by itself. With HAProxy's
  `retry-on all-retryable-errors`, and every fourth answer lost after the work, about one connect in five made two
  conversations, and the client saw one answer. Do not allow such repeats for `POST`.
- A **read** is sent again, up to {TRIES} attempts here, within one deadline (`Timeouts.total`). Silence looks like
  slowness, so it costs the whole deadline: choose one that you can afford.
- A **recording** that is read in pieces cannot be restarted behind its reader: once it has begun, the reader handles a
  break. `download_recording` resumes where it stopped, as long as each attempt brings at least one more byte; its file
  is complete or does not exist. Both are tried with the bytes from the service and with a redirect to a storage host;
  then the fault strikes there, and requests to that host are counted.
- A **session** survives failed polls, up to {TRIES - 1} in a row here; after more it ends with the cause. Entering it
  raises the errors of its connect: the first column, and wherever no connection can be made. A session of `attach`
  sends no connect, so all its failures are failed polls.

How to read a cell: `answer, 2x, at once` means that the caller got the complete and correct answer, that the service
handled the request twice (for a session: its polls), and that nothing was waited for. "(not sent)" means that the
error's `sent` is False: the request surely did not reach the service, or the storage host. The deadline is
`Timeouts.total`; each poll of a session has one, and a download has one for each wait for a further piece. The pauses
of the retry policy come on top; here there are none. "-" means that the fault cannot strike there.
"""


def render() -> str:
    """Return the page."""
    return "\n".join(
        [
            _INTRODUCTION,
            "## Faults that strike once",
            "",
            "The fault strikes the first request, or the first poll of a session.",
            "",
            *_table(PASSING),
            "",
            "## Faults that last",
            "",
            "The fault strikes every request, or every poll of a session.",
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
