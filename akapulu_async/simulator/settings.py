"""Settings: the options of a simulator, converted and checked. Pure."""

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias
from uuid import UUID

from attrs import NOTHING, NothingType, evolve, field, frozen

from akapulu_async.simulator.answers import CONCURRENCY_LIMIT, MINUTES_LIMIT, Refusal
from akapulu_async.simulator.checks import check_id, number, of_type, one_of, optional
from akapulu_async.simulator.milestones import ReadyTime, fixed_ready_time, lognormal_ready_time
from akapulu_async.simulator.plan import Plan
from akapulu_async.simulator.recordings import FORMATS, LARGEST, RecordingFormat
from akapulu_async.simulator.scripts import DEFAULT_SCRIPT, Script, ScriptRow

__all__ = ["AFTER_END", "LAST_PORT", "LIMITS", "OF_PLAN", "RECORDING_FORMS", "AfterEnd", "RecordingForm", "Settings"]

AfterEnd: TypeAlias = Literal["not_found", "gone", "text", "unchanged"]
"""How `/updates/` answers after a conversation's end. What the real service does is not published."""

RecordingForm: TypeAlias = Literal["redirect", "bytes", "json"]
"""How a ready recording is delivered. All three are documented, but not when each is used."""

AFTER_END: tuple[AfterEnd, ...] = ("not_found", "gone", "text", "unchanged")
RECORDING_FORMS: tuple[RecordingForm, ...] = ("redirect", "bytes", "json")


LAST_PORT = 65535

OF_PLAN = NOTHING
"""The default of a limit: that of the plan. None means no limit."""

LIMITS = ("max_concurrent", "minutes", "max_call_seconds", "participant_join_timeout", "max_lifetime")
"""The options that replace limits of the plan."""

_FIXED_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)  # any fixed time will do
_KEY = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_URL = re.compile(r"https?://[^\s?#/][^\s?#]*", re.ASCII)


def _plan(plan: Any) -> Plan:
    if plan is None:
        return Plan()
    if not isinstance(plan, Plan):
        raise TypeError(f"plan must be of type Plan, not {plan!r}")
    return plan


def _scenarios(identifiers: Collection[str | UUID] | None) -> frozenset[str] | None:
    return _ids("scenarios", identifiers)


def _avatars(identifiers: Collection[str | UUID] | None) -> frozenset[str] | None:
    return _ids("avatars", identifiers)


def _ids(name: str, identifiers: Any) -> frozenset[str] | None:
    if identifiers is None:
        return None
    if isinstance(identifiers, str) or not isinstance(identifiers, Iterable):
        raise TypeError(f"{name} must be a collection of ids, not {identifiers!r}")
    try:
        return frozenset(map(check_id, identifiers))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _ready_time(given: float | ReadyTime) -> ReadyTime:
    return given if callable(given) else fixed_ready_time(given)


def _script(given: Script | Iterable[ScriptRow | Mapping[str, Any]]) -> Script:
    if isinstance(given, Script):
        return given
    try:
        return Script(given)
    except (TypeError, ValueError) as error:
        raise type(error)(f"script must be rows, or objects with the fields of a ScriptRow: {error}") from error


def _url(url: str | None) -> str | None:
    return url.rstrip("/") if isinstance(url, str) else url


def _check_url(_settings: "Settings", _attribute: object, url: Any) -> None:
    if url is not None and not (isinstance(url, str) and _URL.fullmatch(url)):
        raise ValueError(f"storage_url must be an http or https URL without a query, not {url!r}")


def _check_api_key(_settings: "Settings", _attribute: object, key: Any) -> None:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise ValueError("api_key must be printable ASCII without leading or trailing blanks")


def _check_recording_size(settings: "Settings", attribute: object, size: Any) -> None:
    number(FORMATS[settings.recording_format].smallest, LARGEST, whole=True)(settings, attribute, size)


def _epoch(epoch: Any) -> datetime | None:
    if epoch is None:
        return None
    if not isinstance(epoch, datetime) or epoch.utcoffset() is None:
        raise ValueError(f"epoch must be an aware datetime, not {epoch!r}")
    return epoch.astimezone(UTC)


@frozen(kw_only=True)
class Settings:
    """The options of `Simulator`, which describes them, converted and checked.

    Attributes:
        account: the plan, with the limits given as options.
        started_at: the aware time of the simulated second 0: the epoch if given, a fixed time if seeded, or now.

    """

    host: str = field(default="127.0.0.1", validator=of_type(str))
    port: int = field(default=0, validator=number(0, LAST_PORT, whole=True))
    storage_port: int = field(default=0, validator=number(0, LAST_PORT, whole=True))
    storage_url: str | None = field(default=None, converter=_url, validator=_check_url)
    api_key: str = field(default="simulator-key", validator=_check_api_key)
    speed: float = field(default=1.0, validator=number())
    seed: int | None = field(default=None, validator=optional(of_type(int)))
    epoch: datetime | None = field(default=None, converter=_epoch)
    plan: Plan = field(default=None, converter=_plan)
    max_concurrent: int | NothingType | None = field(factory=lambda: OF_PLAN)
    minutes: int | NothingType | None = field(factory=lambda: OF_PLAN)
    max_call_seconds: float | NothingType | None = field(factory=lambda: OF_PLAN)
    participant_join_timeout: float | NothingType | None = field(factory=lambda: OF_PLAN)
    max_lifetime: float | NothingType | None = field(factory=lambda: OF_PLAN)
    scenarios: frozenset[str] | None = field(default=None, converter=_scenarios)
    avatars: frozenset[str] | None = field(default=None, converter=_avatars)
    ready_time: ReadyTime = field(default=lognormal_ready_time, converter=_ready_time)
    auto_join: bool = field(default=True, validator=of_type(bool))
    join_after: float = field(default=2.0, validator=number())
    call_seconds: float | None = field(default=60.0, validator=optional(number()))
    script: Script = field(default=DEFAULT_SCRIPT, converter=_script)
    end_with_script: bool = field(default=False, validator=of_type(bool))
    django_errors: bool = field(default=False, validator=of_type(bool))
    after_end: AfterEnd = field(default="text", validator=one_of(*AFTER_END))
    recording_form: RecordingForm = field(default="redirect", validator=one_of(*RECORDING_FORMS))
    recording_format: RecordingFormat = field(default="mp4", validator=one_of(*FORMATS))
    recording_delay: float = field(default=3.0, validator=number())
    recording_seconds: float | None = field(default=None, validator=optional(number()))
    recording_size: int | None = field(default=None, validator=optional(_check_recording_size))
    recording_ranges: bool = field(default=True, validator=of_type(bool))
    recording_not_ready_status: int = field(default=409, validator=number(200, 599, whole=True))
    signed_url_lifetime: float = field(default=3600.0, validator=number())
    concurrency_refusal: Refusal = field(default=CONCURRENCY_LIMIT, validator=of_type(Refusal))
    minutes_refusal: Refusal = field(default=MINUTES_LIMIT, validator=of_type(Refusal))
    requests_kept: int | None = field(default=10_000, validator=optional(number(whole=True)))
    conversations_kept: int | None = field(default=10_000, validator=optional(number(whole=True)))
    account: Plan = field(init=False)
    started_at: datetime = field(init=False)

    @account.default
    def _account(self) -> Plan:
        limits = {name: getattr(self, name) for name in LIMITS}
        return evolve(self.plan, **{name: limit for name, limit in limits.items() if limit is not OF_PLAN})

    @started_at.default
    def _started_at(self) -> datetime:
        if self.epoch is not None:
            return self.epoch
        return datetime.now(UTC) if self.seed is None else _FIXED_EPOCH

    def __attrs_post_init__(self) -> None:
        """Refuse options that contradict each other."""
        if self.recording_seconds is not None and self.recording_size is not None:
            raise ValueError("recording_seconds and recording_size exclude each other")
        if self.recording_seconds is not None and self.recording_format != "wav":
            raise ValueError("recording_seconds needs the recording_format wav: the video always has the same length")
