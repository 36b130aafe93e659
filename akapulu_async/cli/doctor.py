"""`doctor`: check key, address and connection, with calls that cost nothing."""

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
from akapulu_async.cli.target import KEY, AsJson, BaseUrl, Speed, Target, UseSimulator
from akapulu_async.client import AkapuluClient
from akapulu_async.errors import (
    AkapuluError,
    ApiError,
    AuthenticationError,
    ConfigurationError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)
from akapulu_async.http.aiohttp_session import environment_proxy, sent_once
from akapulu_async.sansio.retry import RetryPolicy, Timeouts
from akapulu_async.sansio.urls import DEFAULT_BASE_URL
from akapulu_async.secret import Secret, excerpt


class Status(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@attrs.frozen
class Finding:
    """The result of one check."""

    name: str
    """What was checked, in a word."""

    status: Status
    found: str
    """The result in one line."""

    do: str = ""
    """What to do next; empty if nothing."""

    code: ExitCode = ExitCode.OK
    """The exit code, if this is the first problem."""

    def to_json(self) -> dict[str, str]:
        """Return it for scripts."""
        return {"name": self.name, "status": self.status.value, "found": self.found, "do": self.do}


MARKS = {Status.OK: ("ok", ""), Status.WARNING: ("warning", "yellow"), Status.PROBLEM: ("PROBLEM", "bold red")}


def doctor(
    *, base_url: BaseUrl = None, simulator: UseSimulator = False, speed: Speed = None, as_json: AsJson = False
) -> int:
    """Check key, address and connection, and say how to fix them."""
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


REQUIRED = ("akapulu-async", "aiohttp", "anyio", "attrs", "cattrs", "typer", "rich")

OPTIONAL = ("uvloop",)


def version_findings() -> Iterator[Finding]:
    """Yield the versions of Python and the packages."""
    yield Finding("python", Status.OK, f"{platform.python_version()} on {platform.platform(terse=True)}")
    versions = [f"{name} {found}" for name in (*REQUIRED, *OPTIONAL) if (found := _version(name)) is not None]
    yield Finding("packages", Status.OK, ", ".join(versions))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # uvloop, or a checkout that was never installed
        return None


PATIENCE = Timeouts(connect=5.0, total=10.0)

MADE_UP_KEY = Secret("made-up-by-doctor")
"""A key that no service accepts."""

CLOCK_TOLERANCE = 5.0
"""Seconds by which clocks may differ: tokens and signed links are valid for minutes at least."""


async def examine(target: Target) -> list[Finding]:
    """Return the findings on key, address, service, clock and account."""
    if target.simulator:
        async with target.simulated() as sim:
            key = Finding("key", Status.OK, "the simulator's own")
            address = Finding("address", Status.OK, f"{sim.base_url} (embedded simulator)")
            return [key, address, *await _ask(sim.base_url, Secret(sim.api_key), None)]
    key = key_finding()
    try:
        base_url, source = target.address()
    except ConfigurationError as error:
        do = "Set AKAPULU_BASE_URL to an https URL, or unset it"
        return [key, Finding("address", Status.PROBLEM, str(error), do, ExitCode.BAD_USE)]
    try:
        proxy = environment_proxy(base_url)
    except ConfigurationError as error:
        do = "Correct the variable or unset it; NO_PROXY lists the hosts that need no proxy"
        address = Finding("address", Status.OK, f"{base_url} ({source})")
        return [key, address, Finding("proxy", Status.PROBLEM, str(error), do, ExitCode.BAD_USE)]
    through = "" if proxy is None else f", through the proxy {urlsplit(proxy).hostname}"
    address = Finding("address", Status.OK, f"{base_url} ({source}){through}")
    api_key = Secret(os.environ[KEY]) if key.status is Status.OK else None
    return [key, address, *await _ask(base_url, api_key, proxy)]


def key_finding() -> Finding:
    """Check that there is a key that can be sent."""
    try:
        AkapuluClient(base_url=DEFAULT_BASE_URL)
    except ConfigurationError as error:
        do = f"Set {KEY} to the key of your account, or try --simulator, which needs none"
        found = str(error) if os.environ.get(KEY) else f"{KEY} is not set"
        return Finding("key", Status.PROBLEM, found, do, ExitCode.BAD_USE)
    return Finding("key", Status.OK, f"{KEY} is set")


@attrs.define
class Probe:
    """The result of a GET of a conversation that does not exist."""

    error: AkapuluError | None = None
    """The library's error; None if the conversation exists, against all odds."""

    seconds: float = 0.0
    """Its duration."""

    clock_ahead: float | None = None
    """Seconds by which this machine's clock is ahead of the answer's date; None without a date."""

    media_type: str = ""
    """That of the answer; empty if it has none."""

    location: str = ""
    """Where the answer redirects to, without secrets; empty if it does not."""

    @property
    def answered(self) -> bool:
        """True if the service answered, with whatever status."""
        return self.error is None or isinstance(self.error, ApiError)


async def _ask(base_url: str, api_key: Secret | None, proxy: str | None) -> list[Finding]:
    """Ask with the key, and with a made-up one if there is none, or to see whether keys are checked."""
    asked = await probe(base_url, api_key or MADE_UP_KEY, proxy)
    service = service_finding(asked, base_url, proxy)
    findings = [service, *([clock_finding(asked.clock_ahead)] if asked.answered else [])]
    if api_key is None or service.status is Status.PROBLEM:
        return findings
    is_unknown = isinstance(asked.error, NotFoundError)
    made_up = (await probe(base_url, MADE_UP_KEY, proxy)).error if is_unknown else None
    return [*findings, key_verdict(asked.error, made_up)]


async def probe(base_url: str, api_key: Secret, proxy: str | None) -> Probe:
    """Ask for a conversation that does not exist."""
    result = Probe()
    async with (
        _observed(proxy, result) as http,
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
async def _observed(proxy: str | None, result: Probe) -> AsyncGenerator[aiohttp.ClientSession]:
    """Open a session that notes the headers of its answers."""

    async def note(_: object, __: object, ended: aiohttp.TraceRequestEndParams) -> None:
        headers = ended.response.headers
        result.clock_ahead = clock_ahead(headers.get("Date"), time.time())
        result.media_type = excerpt(headers.get("Content-Type", "").partition(";")[0].strip().lower())
        result.location = excerpt(headers.get("Location", ""))

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(note)
    async with aiohttp.ClientSession(
        proxy=proxy, cookie_jar=aiohttp.DummyCookieJar(), middlewares=(sent_once,), trace_configs=[trace]
    ) as http:
        yield http


def clock_ahead(date: str | None, now: float) -> float | None:
    """Return the seconds by which a clock is ahead of a `Date` header; None if it is missing or unreadable.

    A date has whole seconds, and counts as the middle of its second.
    """
    try:
        return None if date is None else now - parsedate_to_datetime(date).timestamp() - 0.5
    except (ValueError, OverflowError):
        return None


def service_finding(asked: Probe, base_url: str, proxy: str | None = None) -> Finding:
    """Check that the service answers, and not something else at its address."""
    error = asked.error
    if not asked.answered or isinstance(error, ServerError):
        assert error is not None
        match error:
            case ServerError():
                do = "Wait, and try again"
            case InvalidResponseError():
                do = _other_address(base_url)
            case _ if proxy is not None:
                do = "Check the proxy, its user name and password (HTTPS_PROXY, ALL_PROXY, NO_PROXY), and the network"
            case _:
                do = "Check the address and the network; SSL_CERT_FILE names the certificate of a CA of your own"
        return Finding("service", Status.PROBLEM, str(error), do, exit_code(error))
    if isinstance(error, ApiError):
        found = f"answered {error.status}"
        if 300 <= error.status < 400:  # noqa: PLR2004 - the redirects
            base = asked.location.removesuffix(error.path)
            moved = base != asked.location and base.startswith("https://")
            do = f"Set the base URL to {base}" if moved else _other_address(base_url)
            found = f"{found}, a redirect to {asked.location or 'nowhere'}"
            return Finding("service", Status.PROBLEM, found, do, ExitCode.UNREACHABLE)
        if not asked.media_type.endswith("json"):
            found = f"{found} with {asked.media_type or 'no content type'}; Akapulu answers with JSON"
            return Finding("service", Status.PROBLEM, found, _other_address(base_url), ExitCode.UNREACHABLE)
    return Finding("service", Status.OK, f"answered in {1000 * asked.seconds:.0f} ms")


def _other_address(base_url: str) -> str:
    """Return what to do about an answer that is not Akapulu's."""
    if "/api" not in urlsplit(base_url).path:
        return f"The base URL may lack the path /api: try {base_url}/api"
    return f"Check that {base_url} is Akapulu's API, and any proxy in between"


def key_verdict(own: AkapuluError | None, made_up: AkapuluError | None) -> Finding:
    """Check that the key is accepted.

    Args:
        own: The answer to the key.
        made_up: The answer to a made-up key; None if it was not asked.
    """
    match own, made_up:
        case NotFoundError(), AuthenticationError():
            return Finding("account", Status.OK, "the key is accepted")
        case NotFoundError(), _:
            do = "Check the address, in particular its path"
            return Finding("account", Status.WARNING, "unknown: the address accepts any key", do)
        case AuthenticationError() as error, _:
            do = "Check the key, and that it belongs to this address"
            return Finding("account", Status.PROBLEM, f"the key is not accepted ({error.status})", do, exit_code(error))
        case PermissionDeniedError() as error, _:
            do = "Check the permissions of the key's owner"
            found = f"the key may not read conversations ({error.status})"
            return Finding("account", Status.PROBLEM, found, do, exit_code(error))
        case None | RateLimitError(), _:
            found = f"unknown: {own or 'the conversation exists by chance'}"
            return Finding("account", Status.WARNING, found, "Try again later")
        case error, _:
            do = "Check the address: Akapulu answers 404 to this request"
            return Finding("account", Status.PROBLEM, f"unknown: {error}", do, exit_code(error))


def clock_finding(ahead: float | None) -> Finding:
    """Check that this machine's clock agrees with the service's."""
    if ahead is None:
        return Finding("clock", Status.WARNING, "unknown: the answer has no date")
    if abs(ahead) <= CLOCK_TOLERANCE:
        return Finding("clock", Status.OK, f"agrees with the service's within {max(1.0, abs(ahead)):.0f} s")
    direction = "ahead of" if ahead > 0 else "behind"
    found = f"is {abs(ahead):.0f} s {direction} the service's"
    return Finding("clock", Status.WARNING, found, "Set the clock (NTP): tokens and signed links depend on it")
