"""What `doctor` finds, as plain values."""

from enum import StrEnum

import attrs

from akapulu_async.cli.exits import ExitCode


class Status(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@attrs.frozen
class Finding:
    """One thing that was looked at."""

    name: str
    """What was looked at, in a word."""

    status: Status
    found: str
    """What is the case, in a line."""

    do: str = ""
    """What to do next; empty if nothing is to be done."""

    code: ExitCode = ExitCode.OK
    """What the command leaves with, if this is the first problem."""

    def to_json(self) -> dict[str, str]:
        """Return it for scripts."""
        return {"name": self.name, "status": self.status.value, "found": self.found, "do": self.do}
