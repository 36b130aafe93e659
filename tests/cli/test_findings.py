"""What `doctor` finds, as plain values."""

from akapulu_async.cli.exits import ExitCode
from akapulu_async.cli.findings import Finding, Status


def test_json() -> None:
    """For scripts a finding is an object of texts; the exit code is the command's business."""
    finding = Finding("clock", Status.WARNING, "is late", "Set it", ExitCode.FAILURE)
    assert finding.to_json() == {"name": "clock", "status": "warning", "found": "is late", "do": "Set it"}
