"""Retries, tested with values passed in and without sleeping."""

from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.errors import (
    AkapuluError,
    ApiError,
    AuthenticationError,
    ConcurrencyLimitError,
    ConfigurationError,
    ConnectOutcomeUnknownError,
    InvalidResponseError,
    MinutesLimitError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    TransportError,
)
from akapulu_async.sansio.retry import RetryPolicy, Timeouts, is_temporary
from tests.support.settings import FROM_0, NO_LIMIT, NO_NUMBERS, check_setting, check_table

WHERE: Any = {"method": "GET", "path": "/"}
BROKEN = TransportError(**WHERE, reason="it broke", sent=True)

draws = st.floats(0, 1)
seconds = st.floats(0, 1e9)


def refused(
    status: int, kind: type[ApiError] = ApiError, retry_after: float | None = None, *, unknown: bool = False
) -> ApiError:
    return kind(**WHERE, status=status, retry_after=retry_after, outcome_unknown=unknown)


def pause(policy: RetryPolicy, error: AkapuluError = BROKEN, **options: Any) -> float | None:
    options = {"attempt": 1, "safe": True, "remaining": None, "rng": 1.0, **options}
    rng = options.pop("rng")
    return policy.pause(error, rng=lambda: rng, **options)


def test_which_statuses_are_worth_another_attempt() -> None:
    """A GET is retried after 408, 429, 500, 502, 503 and 504; other requests only after 429 and 503."""
    policy = RetryPolicy()
    for safe, again in ((True, {408, 429, 500, 502, 503, 504}), (False, {429, 503})):
        tried = (status for status in range(100, 600) if pause(policy, refused(status), safe=safe) is not None)
        assert set(tried) == again


OUTCOMES: list[tuple[AkapuluError, bool, bool]] = [
    (TransportError(**WHERE, reason="", sent=False), True, True),
    (TransportError(**WHERE, reason="", sent=True), True, False),
    (TransportError(**WHERE, reason="", sent=False, permanent=True), False, False),
    (RequestTimeoutError(**WHERE, reason="", sent=False), True, True),
    (RequestTimeoutError(**WHERE, reason="", sent=True), True, False),
    (refused(429, RateLimitError), True, True),
    (refused(503, ServerError), True, True),
    (refused(503, ServerError, 1.0, unknown=True), False, False),
    (refused(429, RateLimitError, unknown=True), False, False),
    (refused(401, AuthenticationError), False, False),
    (refused(402, ConcurrencyLimitError), False, False),
    (refused(429, ConcurrencyLimitError), False, False),
    (refused(503, ConcurrencyLimitError, 1.0), False, False),
    (refused(429, MinutesLimitError, 1.0), False, False),
    (refused(503, MinutesLimitError), False, False),
    (InvalidResponseError(**WHERE, status=200, problem=""), False, False),
    (ConnectOutcomeUnknownError(scenario_id="", avatar_id="", reason=""), False, False),
    (ConfigurationError(), False, False),
    (AkapuluError(), False, False),
]


@pytest.mark.parametrize(("error", "when_safe", "when_not"), OUTCOMES, ids=count())
def test_which_errors_are_worth_another_attempt(error: AkapuluError, *, when_safe: bool, when_not: bool) -> None:
    """What may have been carried out is never retried, and limits never are."""
    policy = RetryPolicy()
    assert (pause(policy, error) is not None) is when_safe
    assert (pause(policy, error, safe=False) is not None) is when_not


def test_which_failures_pass() -> None:
    """A later request may succeed after any failure but a refusal that the service wrote for good, or a proxy's."""
    passing = [refused(status) for status in (408, 429, 500, 502, 503, 504, 599)]
    passing += [ApiError(**WHERE, status=404, from_service=False)]
    assert all(map(is_temporary, [*passing, BROKEN, InvalidResponseError(**WHERE, status=200, problem="")]))
    proxys = TransportError(**WHERE, reason="", sent=False, permanent=True)
    assert not any(map(is_temporary, [refused(404), refused(401), proxys, ConfigurationError()]))


@given(st.integers(1, 50), st.integers(1, 100))
def test_attempts_run_out(attempts: int, attempt: int) -> None:
    """The policy bounds the number of attempts."""
    assert (pause(RetryPolicy(attempts=attempts), attempt=attempt) is None) is (attempt >= attempts)


def test_pauses_double_up_to_the_cap() -> None:
    """The longest pause doubles with each attempt up to the cap, and a random share of it is waited."""
    policy = RetryPolicy(attempts=10)
    assert [pause(policy, attempt=attempt) for attempt in range(1, 8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert pause(policy, attempt=3, rng=0.25) == 0.5
    assert pause(policy, attempt=3, rng=0.0) == 0.0


@given(st.floats(0, 1e300), st.floats(0, 1e300), st.integers(1, 10**9), draws)
def test_jitter_is_full_and_bounded(base: float, cap: float, attempt: int, rng: float) -> None:
    """No attempt number overflows, and no pause exceeds cap or formula."""
    drawn = pause(RetryPolicy(attempts=10**10, base=base, cap=cap), attempt=attempt, rng=rng)
    assert drawn is not None
    assert 0 <= drawn <= cap
    if attempt < 60:
        assert drawn == rng * min(cap, base * 2.0 ** (attempt - 1))


@given(seconds, draws, st.integers(1, 100), st.floats(0, 100))
def test_retry_after_is_obeyed(asked: float, rng: float, attempt: int, cap: float) -> None:
    """A pause is as long as the service asks, whatever the cap, plus at most `base`."""
    drawn = pause(RetryPolicy(attempts=200, cap=cap), refused(429, retry_after=asked), attempt=attempt, rng=rng)
    assert drawn is not None
    assert asked <= drawn <= asked + 0.5


@given(st.none() | seconds, draws, st.floats(-10, 1e9))
def test_no_pause_outlasts_the_deadline(asked: float | None, rng: float, remaining: float) -> None:
    """A pause that would reach the deadline is not begun; other pauses do not depend on it."""
    error = refused(503, retry_after=asked)
    free = pause(RetryPolicy(), error, rng=rng)
    assert free is not None
    bound = pause(RetryPolicy(), error, rng=rng, remaining=remaining)
    assert bound == (free if free < remaining else None)


def test_a_wait_longer_than_what_remains_gives_up_at_once() -> None:
    """If the service asks to wait beyond the deadline, the call fails at once."""
    assert pause(RetryPolicy(), refused(429, retry_after=30.0), remaining=29.9, rng=0.0) is None
    assert pause(RetryPolicy(), refused(429, retry_after=30.0), remaining=30.0, rng=0.0) is None
    assert pause(RetryPolicy(), refused(429, retry_after=0.0), remaining=0.0, rng=0.0) is None


FROM_1_WHOLE = "a whole number, 1 or more"
SETTINGS: list[tuple[type[Any], str, list[Any], list[Any], str]] = [
    (Timeouts, "connect", [None, 1, 0.001, 1e9], [0, 0.0, *NO_NUMBERS], NO_LIMIT),
    (Timeouts, "total", [None, 1, 0.001, 1e9], [0, 0.0, *NO_NUMBERS], NO_LIMIT),
    (RetryPolicy, "attempts", [1, 100], [0, 1.0, 2.5, None, *NO_NUMBERS], FROM_1_WHOLE),
    (RetryPolicy, "base", [0, 0.0, 2, 1e9], [-0.1, None, *NO_NUMBERS], FROM_0),
    (RetryPolicy, "cap", [0, 0.0, 2, 1e9], [-0.1, None, *NO_NUMBERS], FROM_0),
]


@pytest.mark.parametrize(("policy", "name", "good", "bad", "text"), SETTINGS, ids=count())
def test_settings_are_checked(policy: type[Any], name: str, good: list[Any], bad: list[Any], text: str) -> None:
    """A wrong setting is refused by name, with what it must be; so are NaN and booleans."""
    check_setting(policy, name, good, bad, text)


def test_every_setting_is_in_the_table() -> None:
    """The table above has each field of each policy."""
    check_table(SETTINGS, Timeouts, RetryPolicy)
