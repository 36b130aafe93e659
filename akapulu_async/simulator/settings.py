"""Settings: everything about a simulated account and service that can be chosen. Pure."""

import re
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias
from uuid import UUID

from attrs import field, frozen

from akapulu_async.simulator.checks import number, one_of
from akapulu_async.simulator.connect_requests import is_uuid
from akapulu_async.simulator.milestones import ReadyTime, lognormal_ready_time
from akapulu_async.simulator.plan import Plan
from akapulu_async.simulator.refusals import CONCURRENCY_LIMIT, MINUTES_LIMIT, Refusal
from akapulu_async.simulator.scripts import DEFAULT_SCRIPT, Script
from akapulu_async.simulator.wav import LARGEST, SMALLEST

__all__ = ["AFTER_END", "RECORDING_FORMS", "AfterEnd", "RecordingForm", "Settings", "check_id"]

AfterEnd: TypeAlias = Literal["not_found", "gone", "text", "unchanged"]
"""How `/updates/` answers after a conversation's end. Which one the real service chooses is not published."""

RecordingForm: TypeAlias = Literal["redirect", "bytes", "json"]
"""In which form a ready recording is handed out. All three are documented; which one when is not."""

AFTER_END: tuple[AfterEnd, ...] = ("not_found", "gone", "text", "unchanged")
RECORDING_FORMS: tuple[RecordingForm, ...] = ("redirect", "bytes", "json")


_URL = re.compile(r"https?://[^\s?#/][^\s?#]*", re.ASCII)


def check_id(identifier: str | UUID) -> str:
    """Return a UUID's canonical text in lower case; raises `ValueError` if it is none."""
    text = str(identifier).lower()
    if not is_uuid(text):
        raise ValueError(f"{identifier!r} is not a UUID")
    return text


def _ids(identifiers: frozenset[str | UUID] | None) -> frozenset[str] | None:
    return None if identifiers is None else frozenset(map(check_id, identifiers))


def _url(url: str | None) -> str | None:
    return url.rstrip("/") if isinstance(url, str) else url


def _check_url(_settings: "Settings", _attribute: object, url: Any) -> None:
    if url is not None and not (isinstance(url, str) and _URL.fullmatch(url)):
        raise ValueError(f"storage_url must be an http or https URL without a query, not {url!r}")


@frozen(kw_only=True)
class Settings:
    """What is described, option by option, at `Simulator`."""

    api_key: str = "simulator-key"
    plan: Plan = field(factory=Plan)
    scenarios: frozenset[str] | None = field(default=None, converter=_ids)
    avatars: frozenset[str] | None = field(default=None, converter=_ids)
    ready_time: ReadyTime = lognormal_ready_time
    auto_join: bool = True
    join_after: float = field(default=2.0, validator=number())
    call_seconds: float | None = field(default=60.0, validator=number())
    script: Script = DEFAULT_SCRIPT
    end_with_script: bool = False
    after_end: AfterEnd = field(default="text", validator=one_of(*AFTER_END))
    recording_form: RecordingForm = field(default="redirect", validator=one_of(*RECORDING_FORMS))
    recording_delay: float = field(default=3.0, validator=number())
    recording_seconds: float | None = field(default=None, validator=number())
    recording_size: int | None = field(default=None, validator=number(SMALLEST, LARGEST, whole=True))
    recording_ranges: bool = True
    recording_not_ready_status: int = field(default=409, validator=number(200, 599, whole=True))
    storage_url: str | None = field(default=None, converter=_url, validator=_check_url)
    signed_url_lifetime: float = field(default=3600.0, validator=number())
    concurrency_refusal: Refusal = CONCURRENCY_LIMIT
    minutes_refusal: Refusal = MINUTES_LIMIT
    epoch: datetime = field(factory=lambda: datetime.now(UTC))

    def __attrs_post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if self.recording_seconds is not None and self.recording_size is not None:
            raise ValueError("recording_seconds and recording_size exclude each other")
        if not self.api_key or self.api_key != self.api_key.strip():
            raise ValueError("api_key must be a text without blanks at its ends")
