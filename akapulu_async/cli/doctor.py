"""`doctor`: whether everything is in place, and what to do if it is not."""

import os
import platform
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from enum import StrEnum
from importlib import metadata
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import attrs

from akapulu_async.cli import signals
from akapulu_async.cli.exits import ExitCode, exit_code
from akapulu_async.cli.screen import Screen, paragraph
from akapulu_async.cli.target import AsJson, BaseUrl, Speed, Target, UseSimulator
from akapulu_async.client import AkapuluClient
from akapulu_async.errors import (
    AkapuluError,
    ApiError,
    AuthenticationError,
    ConfigurationError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    ServerError,
)
from akapulu_async.http.aiohttp_session import environment_proxy, sent_once
from akapulu_async.sansio.retry import RetryPolicy, Timeouts
from akapulu_async.sansio.urls import DEFAULT_BASE_URL
from akapulu_async.secret import Secret


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


NEEDED = ("akapulu-async", "aiohttp", "anyio", "attrs", "cattrs", "typer", "rich")

OPTIONAL = ("uvloop",)


def version_findings() -> Iterator[Finding]:
    """Yield what is installed."""
    yield Finding("python", Status.OK, f"{platform.python_version()} on {platform.platform(terse=True)}")
    versions = [f"{name} {found}" for name in (*NEEDED, *OPTIONAL) if (found := _version(name)) is not None]
    yield Finding("packages", Status.OK, ", ".join(versions))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # uvloop, or a checkout that was never installed
        return None


PATIENCE = Timeouts(connect=5.0, total=10.0)

MADE_UP_KEY = Secret("made-up-by-doctor")
"""A key that no service takes."""

CLOCK_TOLERANCE = 5.0
"""Seconds that clocks may differ: tokens and signed links live for minutes at least."""


async def examine(target: Target) -> list[Finding]:
    """Return what is found about key, address, service and clock."""
    if target.simulator:
        async with target.simulated() as sim:
            key = Finding("key", Status.OK, "the simulator's own")
            address = Finding("address", Status.OK, f"{sim.base_url} (embedded simulator)")
            return [key, address, *await _ask(sim.base_url, Secret(sim.api_key))]
    try:
        base_url, source = target.address()
        proxy = environment_proxy(base_url)
    except ConfigurationError as error:
        do = "Set AKAPULU_BASE_URL to an https URL, or unset it"
        return [key_finding(), Finding("address", Status.PROBLEM, str(error), do, ExitCode.BAD_USE)]
    through = "" if proxy is None else f", through the proxy {urlsplit(proxy).hostname}"
    key, address = key_finding(), Finding("address", Status.OK, f"{base_url} ({source}){through}")
    usable = key.status is Status.OK
    return [key, address, *await _ask(base_url, Secret(os.environ["AKAPULU_API_KEY"]) if usable else None)]


def key_finding() -> Finding:
    """Return whether there is a key that can be sent."""
    try:
        AkapuluClient(base_url=DEFAULT_BASE_URL)
    except ConfigurationError as error:
        do = "Set AKAPULU_API_KEY to the key of your account; or try --simulator, which needs none"
        found = "AKAPULU_API_KEY is not set" if "AKAPULU_API_KEY" not in os.environ else str(error)
        return Finding("key", Status.PROBLEM, found, do, ExitCode.BAD_USE)
    return Finding("key", Status.OK, "AKAPULU_API_KEY is set")


@attrs.define
class Probe:
    """A GET of a conversation that there is not, and what came of it."""

    error: AkapuluError | None = None
    """What the library makes of the answer; None if there is such a conversation, which nobody expects."""

    seconds: float = 0.0
    """How long it took."""

    clock_ahead: float | None = None
    """By how many seconds this machine's clock is ahead of the answer's date; None if it bears none."""

    @property
    def answered(self) -> bool:
        """Whether the service answered, whatever it said."""
        return self.error is None or isinstance(self.error, ApiError)


async def _ask(base_url: str, api_key: Secret | None) -> list[Finding]:
    """Ask with the key; and with one that is made up, if there is none or to see that the first was looked at."""
    own = None if api_key is None else await probe(base_url, api_key)
    if own is not None and not isinstance(own.error, NotFoundError):
        return _of_service(own, base_url) + ([key_verdict(own.error, None)] if own.answered else [])
    other = await probe(base_url, MADE_UP_KEY)
    if own is None:
        return _of_service(other, base_url)
    return [*_of_service(own, base_url), key_verdict(own.error, other.error)]


async def probe(base_url: str, api_key: Secret) -> Probe:
    """Ask for a conversation that there is not."""
    result = Probe()
    async with (
        _observed(base_url, result) as http,
        AkapuluClient(
            api_key, base_url=base_url, http=http, timeouts=PATIENCE, retry=RetryPolicy(attempts=1)
        ) as client,
    ):
        began = time.monotonic()
        try:
            await client.conversations.detail(uuid4())
        except AkapuluError as error:
            result.error = error
        result.seconds = time.monotonic() - began
    return result


@asynccontextmanager
async def _observed(base_url: str, result: Probe) -> AsyncGenerator[aiohttp.ClientSession]:
    """Give a session that notes the date of its answers."""

    async def note(_: object, __: object, ended: aiohttp.TraceRequestEndParams) -> None:
        result.clock_ahead = clock_ahead(ended.response.headers.get("Date"), time.time())

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(note)
    async with aiohttp.ClientSession(
        proxy=environment_proxy(base_url),
        cookie_jar=aiohttp.DummyCookieJar(),
        middlewares=(sent_once,),
        trace_configs=[trace],
    ) as http:
        yield http


def clock_ahead(date: str | None, now: float) -> float | None:
    """Return by how many seconds a clock is ahead of a `Date`; None if there is none, or none that can be read.

    A date is cut to whole seconds, so that it stands for the middle of its second.
    """
    try:
        return None if date is None else now - parsedate_to_datetime(date).timestamp() - 0.5
    except (ValueError, OverflowError):
        return None


def _of_service(asked: Probe, base_url: str) -> list[Finding]:
    return [service_finding(asked, base_url), *([clock_finding(asked.clock_ahead)] if asked.answered else [])]


def service_finding(asked: Probe, base_url: str) -> Finding:
    """Return whether the service answers."""
    match asked.error:
        case ServerError() as error:
            return Finding("service", Status.PROBLEM, str(error), "Wait, and try again", exit_code(error))
        case InvalidResponseError() as error:
            do = f"Check whether {base_url} is Akapulu's API, and what stands between"
            return Finding("service", Status.PROBLEM, str(error), do, exit_code(error))
        case error if not asked.answered and error is not None:
            do = "Check the address, the network and the proxy (HTTPS_PROXY, SSL_CERT_FILE)"
            return Finding("service", Status.PROBLEM, str(error), do, exit_code(error))
        case _:
            return Finding("service", Status.OK, f"answered in {1000 * asked.seconds:.0f} ms")


def key_verdict(own: AkapuluError | None, made_up: AkapuluError | None) -> Finding:
    """Return whether the key is accepted.

    Args:
        own: What was answered with it.
        made_up: What was answered with a key that nobody has; None if it was not asked.
    """
    match own, made_up:
        case NotFoundError(), AuthenticationError():
            return Finding("account", Status.OK, "the key is accepted")
        case NotFoundError(), _:
            do = "Check the address: does its path end as the service's does?"
            return Finding("account", Status.WARNING, "whether the key is accepted cannot be told: any key is", do)
        case AuthenticationError() as error, _:
            do = "Check the key, and that it belongs to this address"
            return Finding("account", Status.PROBLEM, f"the key is not accepted ({error.status})", do, exit_code(error))
        case PermissionDeniedError() as error, _:
            do = "Check what the key's owner may do"
            found = f"the key may not read conversations ({error.status})"
            return Finding("account", Status.PROBLEM, found, do, exit_code(error))
        case _:
            found = f"whether the key is accepted cannot be told: {own or 'a conversation was found by chance'}"
            return Finding("account", Status.WARNING, found, "Try again later")


def clock_finding(ahead: float | None) -> Finding:
    """Return whether this machine's clock agrees with the service's."""
    if ahead is None:
        return Finding("clock", Status.WARNING, "the answer bears no date to compare with")
    if abs(ahead) <= CLOCK_TOLERANCE:
        return Finding("clock", Status.OK, f"agrees with the service's within {max(1.0, abs(ahead)):.0f} s")
    direction = "ahead of" if ahead > 0 else "behind"
    found = f"is {abs(ahead):.0f} s {direction} the service's"
    return Finding("clock", Status.WARNING, found, "Set the clock (NTP): tokens and signed links depend on it")
