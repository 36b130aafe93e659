"""`doctor`: whether everything is in place, and what to do if it is not."""

from akapulu_async.cli import signals
from akapulu_async.cli.exits import ExitCode
from akapulu_async.cli.findings import Finding, Status
from akapulu_async.cli.health import examine
from akapulu_async.cli.screen import Screen, paragraph
from akapulu_async.cli.target import AsJson, BaseUrl, Speed, Target, UseSimulator
from akapulu_async.cli.versions import version_findings

MARKS = {Status.OK: ("ok", ""), Status.WARNING: ("warning", "yellow"), Status.PROBLEM: ("PROBLEM", "bold red")}


def doctor(
    *, base_url: BaseUrl = None, simulator: UseSimulator = False, speed: Speed = None, as_json: AsJson = False
) -> int:
    """See whether all is in place, and what to do if not."""
    target, screen = Target(base_url=base_url, simulator=simulator, speed=speed), Screen(json=as_json)
    findings = [*signals.run(examine(target)), *version_findings()]
    problems = [finding for finding in findings if finding.status is Status.PROBLEM]
    screen.emit({"ok": not problems, "findings": [finding.to_json() for finding in findings]})
    for finding in findings:
        _show(finding, screen)
    return problems[0].code if problems else ExitCode.OK


def _show(finding: Finding, screen: Screen) -> None:
    mark, style = MARKS[finding.status]
    screen.say(paragraph(f"{mark:<8}{finding.name:<10}", finding.found, screen.out.width), style)
    if finding.do:
        screen.say(paragraph(f"{'':<18}", finding.do, screen.out.width))
