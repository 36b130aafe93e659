"""`doctor` checks the set-up, and says what to do."""

import os
import platform
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async import ApiError, InvalidResponseError, NotFoundError
from akapulu_async.cli import doctor
from akapulu_async.cli.doctor import (
    Finding,
    Probe,
    Status,
    clock_ahead,
    clock_finding,
    examine,
    key_finding,
    service_finding,
    version_findings,
)
from akapulu_async.cli.exits import ExitCode
from akapulu_async.cli.target import Target
from akapulu_async.simulator import Fault, Simulator
from akapulu_async.version import __version__
from tests.cli.running import COLOURS, CONTROL_CODES, run, terminal
from tests.support.misbehaving import Peer, Seen, Server, http, raw


async def test_all_is_well(still: Simulator) -> None:
    """If all is well, it ends with 0, prints lines of 80 columns, and never shows the key."""
    done = await run("doctor", sim=still)
    assert (done.code, done.err) == (0, "")
    assert "\nok      account   the key is accepted\n" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    assert not CONTROL_CODES.search(done.out)
    assert still.api_key not in done.out


async def test_json(still: Simulator) -> None:
    """`--json` prints one object with all findings."""
    done = await run("doctor", "--json", sim=still)
    assert (done.code, done.err) == (0, "")
    [report] = done.objects
    assert report["ok"] is True
    assert {finding["status"] for finding in report["findings"]} == {"ok"}
    names = [finding["name"] for finding in report["findings"]]
    assert names == ["key", "address", "service", "clock", "account", "python", "packages"]


async def test_a_problem(still: Simulator) -> None:
    """The first problem decides the exit code, and the line below says what to do."""
    done = await run("doctor", sim=still, environ={"AKAPULU_API_KEY": "wrong-key"})
    assert (done.code, done.err) == (3, "")
    assert "PROBLEM account   the key is not accepted (401)\n" + " " * 18 + "Check the key" in done.out
    done = await run("doctor", "--json", sim=still, environ={"AKAPULU_API_KEY": "wrong-key"})
    assert (done.code, done.objects[0]["ok"]) == (3, False)
    assert "wrong-key" not in done.out


async def test_in_a_terminal(still: Simulator) -> None:
    """In a terminal, a problem is coloured."""
    async with terminal("doctor", sim=still, environ={"AKAPULU_API_KEY": "wrong-key"}) as shown:
        assert await shown.end() == 3
    assert COLOURS.search(shown.shown)
    async with terminal("doctor", sim=still, environ={"AKAPULU_API_KEY": "wrong-key", "NO_COLOR": "1"}) as shown:
        assert await shown.end() == 3
    assert not COLOURS.search(shown.shown)


async def test_bad_use() -> None:
    """Bad input is one line, and code 2."""
    done = await run("doctor", "--base-url", "akapulu")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "--base-url: 'akapulu' is not an http(s) URL" in done.err


def test_a_finding_as_json() -> None:
    """For scripts, a finding is an object of texts without the exit code."""
    finding = Finding("clock", Status.WARNING, "is late", "Set it", ExitCode.FAILURE)
    assert finding.to_json() == {"name": "clock", "status": "warning", "found": "is late", "do": "Set it"}


def test_versions() -> None:
    """Python and the packages are shown with their versions."""
    python, packages = version_findings()
    assert python.found.startswith(platform.python_version())
    assert packages.found.startswith(f"akapulu-async {__version__}, aiohttp {aiohttp.__version__}, ")
    assert {python.status, packages.status} == {Status.OK}


def test_optional_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """An optional package that is not installed is left out."""
    monkeypatch.setattr(doctor, "OPTIONAL", ("no-such-distribution", "attrs"))
    *_, packages = version_findings()
    names = [package.split()[0] for package in packages.found.split(", ")]
    assert "no-such-distribution" not in names
    assert names[-1] == "attrs"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with a key and no address."""
    for name in os.environ:
        if name.startswith("AKAPULU_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AKAPULU_API_KEY", "simulator-key")
    return monkeypatch


async def found(sim: Simulator) -> dict[str, Finding]:
    return {finding.name: finding for finding in await examine(Target(base_url=sim.base_url))}


def told(findings: dict[str, Finding]) -> dict[str, str]:
    return {name: finding.status.value for name, finding in findings.items()}


async def test_all_is_found_well(still: Simulator) -> None:
    """With an accepted key all is well, and nothing was connected to find out."""
    findings = await found(still)
    assert told(findings) == {"key": "ok", "address": "ok", "service": "ok", "clock": "ok", "account": "ok"}
    assert findings["address"].found == f"{still.base_url} (--base-url)"
    assert [(request.method, request.status) for request in still.requests] == [("GET", 404), ("GET", 401)]


async def test_no_key(still: Simulator, environment: pytest.MonkeyPatch) -> None:
    """Without a key, the service is asked anyway, and the finding says what to set."""
    environment.delenv("AKAPULU_API_KEY")
    findings = await found(still)
    assert told(findings) == {"key": "problem", "address": "ok", "service": "ok", "clock": "ok"}
    assert findings["key"].code is ExitCode.BAD_USE
    assert "Set AKAPULU_API_KEY" in findings["key"].do


async def test_a_wrong_key(still: Simulator, environment: pytest.MonkeyPatch) -> None:
    """A key that is not accepted is a problem of the account, and is never shown."""
    environment.setenv("AKAPULU_API_KEY", "very-wrong-key")
    findings = await found(still)
    assert (findings["service"].status, findings["account"].status) == (Status.OK, Status.PROBLEM)
    assert findings["account"].code is ExitCode.NOT_AUTHORISED
    assert "very-wrong-key" not in str(findings)


@pytest.mark.parametrize("key", ["", "two words", "schl\u00fcssel"])
async def test_an_unusable_key(still: Simulator, environment: pytest.MonkeyPatch, key: str) -> None:
    """A key that cannot be sent is reported without showing it."""
    environment.setenv("AKAPULU_API_KEY", key)
    finding = key_finding()
    assert (finding.status, finding.code) == (Status.PROBLEM, ExitCode.BAD_USE)
    assert not key or key not in str(finding)
    assert told(await found(still))["key"] == "problem"


async def test_a_key_without_permission(still: Simulator) -> None:
    """A key that may not read conversations is a problem."""
    still.add_fault(Fault(status=403))
    assert (await found(still))["account"].code is ExitCode.NOT_AUTHORISED


async def test_an_address_that_accepts_any_key(still: Simulator) -> None:
    """If any key gets 404, the answer says nothing about this one."""
    still.add_fault(Fault(status=404, times=2))
    findings = await found(still)
    assert (findings["service"].status, findings["account"].status) == (Status.OK, Status.WARNING)
    assert "address" in findings["account"].do


@pytest.mark.parametrize(("status", "severity"), [(429, Status.WARNING), (400, Status.PROBLEM)])
async def test_an_unclear_answer(still: Simulator, status: int, severity: Status) -> None:
    """An answer that says nothing about the key is quoted; only too many requests pass by themselves."""
    still.add_fault(Fault(status=status))
    finding = (await found(still))["account"]
    assert finding.status is severity
    assert str(status) in finding.found
    assert (finding.do == "Try again later") == (severity is Status.WARNING)


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_something_else_answers(still: Simulator, status: int) -> None:
    """A web page is a problem of the address or a proxy, and says nothing about the key."""
    still.add_fault(Fault(status=status, body="<html>", content_type="text/html", times=None))
    findings = await found(still)
    assert told(findings) == {"key": "ok", "address": "ok", "service": "problem", "clock": "ok"}
    assert findings["service"].found == f"answered {status} with text/html; Akapulu answers with JSON"
    assert findings["service"].do == f"Check that {still.base_url} is Akapulu's API, and any proxy in between"
    assert findings["service"].code is ExitCode.UNREACHABLE


@pytest.mark.parametrize("problem", ["web page", "redirect", "not JSON"])
def test_a_base_url_without_its_path(problem: str) -> None:
    """If the base URL lacks /api, and the answer is not the API's, the advice is to add it."""
    where: dict[str, Any] = {"method": "GET", "path": "/conversations/x/"}
    asked = {
        "web page": Probe(NotFoundError(status=404, **where), media_type="text/html"),
        "redirect": Probe(ApiError(status=302, **where), location="/login"),
        "not JSON": Probe(InvalidResponseError(status=200, problem="it is not JSON", **where)),
    }[problem]
    finding = service_finding(asked, "https://akapulu.com")
    assert finding.status is Status.PROBLEM
    assert finding.do == "The base URL may lack the path /api: try https://akapulu.com/api"


async def test_a_redirect() -> None:
    """A redirect of the API to another address is a problem, and the advice is to use that address."""

    async def moved(peer: Peer, seen: Seen) -> None:
        path = seen.target.removeprefix("/api")
        await peer.send(http(301, {"Location": f"https://new.example/v2{path}"}))

    async with Server(moved) as server:
        [*_, service, _] = await examine(Target(base_url=server.base_url))
    assert (service.status, service.code) == (Status.PROBLEM, ExitCode.UNREACHABLE)
    assert service.found.startswith("answered 301, a redirect to https://new.example/v2/conversations/")
    assert service.do == "Set the base URL to https://new.example/v2"


async def test_a_bad_proxy_setting(environment: pytest.MonkeyPatch) -> None:
    """An unusable proxy setting is a problem of its own, not of the address."""
    environment.setenv("HTTPS_PROXY", "socks5://me:secret@127.0.0.1:9")
    findings = {finding.name: finding for finding in await examine(Target(base_url="https://akapulu.example/api"))}
    assert told(findings) == {"key": "ok", "address": "ok", "proxy": "problem"}
    assert "HTTPS_PROXY" in findings["proxy"].found
    assert findings["proxy"].do == "Correct the variable or unset it; NO_PROXY lists the hosts that need no proxy"
    assert findings["proxy"].code is ExitCode.BAD_USE
    assert "secret" not in str(findings)


async def test_a_proxy_that_refuses(environment: pytest.MonkeyPatch) -> None:
    """If a proxy refuses, the advice is about the proxy, not about the base URL."""
    async with Server(raw(http(407))) as server:
        environment.setenv("HTTPS_PROXY", server.base_url.removesuffix("/api"))
        [*_, service] = await examine(Target(base_url="https://akapulu.example/api"))
    assert service.status is Status.PROBLEM
    assert "407" in service.found
    assert "user name and password (HTTPS_PROXY" in service.do


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (Fault(status=503), "503"),
        (Fault(status=200, body="<html>", content_type="text/html"), "not JSON"),
        (Fault(reset="before"), "got no answer"),
    ],
)
async def test_a_service_that_is_unwell(still: Simulator, fault: Fault, named: str) -> None:
    """A failure of the service is a problem of the service, not of the key."""
    still.add_fault(fault)
    findings = await found(still)
    assert named in findings["service"].found
    assert findings["service"].code is ExitCode.UNREACHABLE
    assert findings["service"].do


async def test_an_unreachable_address() -> None:
    """An unreachable address is a problem, with what to check."""
    async with Simulator() as sim:
        base_url = sim.base_url
    findings = {finding.name: finding for finding in await examine(Target(base_url=base_url))}
    assert told(findings) == {"key": "ok", "address": "ok", "service": "problem"}
    assert "network" in findings["service"].do


async def test_a_bad_address(environment: pytest.MonkeyPatch) -> None:
    """An address to which the key may not be sent gets no request."""
    environment.setenv("AKAPULU_BASE_URL", "http://akapulu.example/api")
    findings = {finding.name: finding for finding in await examine(Target())}
    assert told(findings) == {"key": "ok", "address": "problem"}
    assert "unencrypted" in findings["address"].found
    assert findings["address"].code is ExitCode.BAD_USE


async def test_where_the_address_comes_from(still: Simulator, environment: pytest.MonkeyPatch) -> None:
    """The source of the address is shown, and the host of a proxy without its password."""
    environment.setenv("AKAPULU_BASE_URL", still.base_url)
    [_, address, *_] = await examine(Target())
    assert address.found == f"{still.base_url} (AKAPULU_BASE_URL)"
    environment.setenv("AKAPULU_BASE_URL", "https://akapulu.example/api")
    environment.setenv("HTTPS_PROXY", "http://me:secret@127.0.0.1:9")
    [_, address, service] = await examine(Target())
    assert address.found == "https://akapulu.example/api (AKAPULU_BASE_URL), through the proxy 127.0.0.1"
    assert service.status is Status.PROBLEM
    assert "secret" not in str([address, service])


async def test_embedded() -> None:
    """The embedded simulator needs no key."""
    findings = await examine(Target(simulator=True))
    assert {finding.status for finding in findings} == {Status.OK}


async def test_a_clock_that_is_wrong(still: Simulator) -> None:
    """A clock that differs from the answer's date is a warning with the difference."""
    late = datetime.now(UTC) - timedelta(hours=1)
    still.add_fault(Fault(headers={"Date": format_datetime(late, usegmt=True)}, times=None))
    finding = (await found(still))["clock"]
    assert finding.status is Status.WARNING
    assert "ahead of" in finding.found
    assert "NTP" in finding.do


@given(st.integers(0, 2_000_000_000), st.integers(-1_000_000, 1_000_000))
def test_clocks(moment: int, ahead: int) -> None:
    """The difference is exact to half a second, since dates have whole seconds."""
    date = format_datetime(datetime.fromtimestamp(moment, UTC), usegmt=True)
    measured = clock_ahead(date, moment + ahead)
    assert measured is not None
    assert abs(measured - ahead) <= 0.5


@pytest.mark.parametrize("date", [None, "", "yesterday", "0"])
def test_no_date(date: str | None) -> None:
    """Without a readable date, the finding says that the clock is unknown."""
    assert clock_ahead(date, 0) is None
    assert clock_finding(None).status is Status.WARNING


@pytest.mark.parametrize(
    ("ahead", "status", "text"),
    [
        (0.2, Status.OK, "within 1 s"),
        (-5, Status.OK, "within 5 s"),
        (5.1, Status.WARNING, "ahead of"),
        (-61, Status.WARNING, "is 61 s behind"),
    ],
)
def test_clock_differences(ahead: float, status: Status, text: str) -> None:
    """Up to five seconds are accepted; more is a warning with its direction."""
    finding = clock_finding(ahead)
    assert finding.status is status
    assert text in finding.found
