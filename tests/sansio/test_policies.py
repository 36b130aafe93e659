"""When to try again and for how long to wait, told with values passed in and without a sleep."""

import math
import sys
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.checks import check_callable, check_count, check_interval, check_kind, check_limit, check_patience
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
from akapulu_async.sansio.admission import FullPolicy
from akapulu_async.sansio.polling import LONGEST_FAILURE_PAUSE, LONGEST_RETRY_AFTER, PollPolicy, ProgressPollPolicy
from akapulu_async.sansio.retry import RetryPolicy, Timeouts

WHERE: Any = {"method": "GET", "path": "/"}
BROKEN = TransportError(**WHERE, reason="it broke", sent=True)

draws = st.floats(0, 1)
seconds = st.floats(0, 1e9)


def refused(status: int, kind: type[ApiError] = ApiError, retry_after: float | None = None) -> ApiError:
    return kind(**WHERE, status=status, retry_after=retry_after)


def pause(policy: RetryPolicy, error: AkapuluError = BROKEN, **options: Any) -> float | None:
    options = {"attempt": 1, "safe": True, "remaining": None, "rng": 1.0, **options}
    rng = options.pop("rng")
    return policy.pause(error, rng=lambda: rng, **options)


def poll_pause(policy: PollPolicy, *, rng: float = 0.5, **facts: Any) -> float:
    facts = {"ready": False, "failures": 0, "percent": 0.0, "elapsed": 0.0, "still": 0.0, **facts}
    return policy.pause(rng=lambda: rng, **facts)


def test_which_statuses_are_worth_another_attempt() -> None:
    """A GET goes on after 408, 429, 500, 502, 503 and 504; all else only after 429 and 503."""
    policy = RetryPolicy()
    for safe, again in ((True, {408, 429, 500, 502, 503, 504}), (False, {429, 503})):
        tried = (status for status in range(100, 600) if pause(policy, refused(status), safe=safe) is not None)
        assert set(tried) == again


OUTCOMES: list[tuple[AkapuluError, bool, bool]] = [
    (TransportError(**WHERE, reason="", sent=False), True, True),
    (TransportError(**WHERE, reason="", sent=True), True, False),
    (RequestTimeoutError(**WHERE, reason="", sent=False), True, True),
    (RequestTimeoutError(**WHERE, reason="", sent=True), True, False),
    (refused(429, RateLimitError), True, True),
    (refused(503, ServerError), True, True),
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
    """What is not safe goes on only if it surely was not sent or was refused before any work; limits never do."""
    policy = RetryPolicy()
    assert (pause(policy, error) is not None) is when_safe
    assert (pause(policy, error, safe=False) is not None) is when_not


@given(st.integers(1, 50), st.integers(1, 100))
def test_attempts_run_out(attempts: int, attempt: int) -> None:
    """As many attempts are made as the policy says, and no more."""
    assert (pause(RetryPolicy(attempts=attempts), attempt=attempt) is None) is (attempt >= attempts)


def test_pauses_double_up_to_the_cap() -> None:
    """The longest pause doubles with each attempt until the cap, and the drawn share of it is waited."""
    policy = RetryPolicy(attempts=10)
    assert [pause(policy, attempt=attempt) for attempt in range(1, 8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert pause(policy, attempt=3, rng=0.25) == 0.5
    assert pause(policy, attempt=3, rng=0.0) == 0.0


@given(st.floats(0, 1e300), st.floats(0, 1e300), st.integers(1, 10**9), draws)
def test_jitter_is_full_and_bounded(base: float, cap: float, attempt: int, rng: float) -> None:
    """No attempt, however late, overflows, and no pause exceeds cap or formula."""
    drawn = pause(RetryPolicy(attempts=10**10, base=base, cap=cap), attempt=attempt, rng=rng)
    assert drawn is not None
    assert 0 <= drawn <= cap
    if attempt < 60:
        assert drawn == rng * min(cap, base * 2.0 ** (attempt - 1))


@given(seconds, draws, st.integers(1, 100), st.floats(0, 100))
def test_retry_after_is_obeyed(asked: float, rng: float, attempt: int, cap: float) -> None:
    """A pause is never shorter than the service asks, whatever the cap, nor longer by more than `base`."""
    drawn = pause(RetryPolicy(attempts=200, cap=cap), refused(429, retry_after=asked), attempt=attempt, rng=rng)
    assert drawn is not None
    assert asked <= drawn <= asked + 0.5


@given(st.none() | seconds, draws, st.floats(-10, 1e9))
def test_no_pause_outlasts_the_deadline(asked: float | None, rng: float, remaining: float) -> None:
    """A pause that would not end before the deadline is not begun; any other is as if there were none."""
    error = refused(503, retry_after=asked)
    free = pause(RetryPolicy(), error, rng=rng)
    assert free is not None
    bound = pause(RetryPolicy(), error, rng=rng, remaining=remaining)
    assert bound == (free if free < remaining else None)


def test_a_wait_longer_than_what_remains_gives_up_at_once() -> None:
    """To wait as long as the service asks would be in vain, and to wait less would be to disobey."""
    assert pause(RetryPolicy(), refused(429, retry_after=30.0), remaining=29.9, rng=0.0) is None
    assert pause(RetryPolicy(), refused(429, retry_after=30.0), remaining=30.0, rng=0.0) is None
    assert pause(RetryPolicy(), refused(429, retry_after=0.0), remaining=0.0, rng=0.0) is None


ABOVE_0 = "is not a number of seconds greater than 0"
NO_LIMIT = f"{ABOVE_0}, nor None for no limit"
FROM_0 = "is not a number of seconds, 0 or more"
SHARE = "is not a share from 0 to 1"
FROM_1_WHOLE = "is not a whole number, 1 or more"
FROM_INTERVAL = "is not a number of seconds, at least the interval of 0.5"
WHOLE = "is not a whole number, 0 or more, nor None for any number"
NO_NUMBERS: list[Any] = [math.nan, math.inf, -math.inf, True, False, "5", [], -1]
SETTINGS: list[tuple[type[Any], str, list[Any], list[Any], str]] = [
    (Timeouts, "connect", [None, 1, 0.001, 1e9], [0, 0.0, *NO_NUMBERS], NO_LIMIT),
    (Timeouts, "total", [None, 1, 0.001, 1e9], [0, 0.0, *NO_NUMBERS], NO_LIMIT),
    (RetryPolicy, "attempts", [1, 100], [0, 1.0, 2.5, None, *NO_NUMBERS], FROM_1_WHOLE),
    (RetryPolicy, "base", [0, 0.0, 2, 1e9], [-0.1, None, *NO_NUMBERS], FROM_0),
    (RetryPolicy, "cap", [0, 0.0, 2, 1e9], [-0.1, None, *NO_NUMBERS], FROM_0),
    (PollPolicy, "interval", [0.001, 2], [0, None, *NO_NUMBERS], ABOVE_0),
    (PollPolicy, "live_interval", [0.001, 2], [0, None, *NO_NUMBERS], ABOVE_0),
    (PollPolicy, "jitter", [0, 0.5, 1], [1.1, None, *NO_NUMBERS], SHARE),
    (PollPolicy, "max_failures", [None, 0, 7], [1.0, *NO_NUMBERS], WHOLE),
    (ProgressPollPolicy, "interval", [0.001, 2], [0, None, *NO_NUMBERS], ABOVE_0),
    (ProgressPollPolicy, "live_interval", [0.001, 2], [0, None, *NO_NUMBERS], ABOVE_0),
    (ProgressPollPolicy, "jitter", [0, 0.5, 1], [1.1, None, *NO_NUMBERS], SHARE),
    (ProgressPollPolicy, "max_failures", [None, 0, 7], [1.0, *NO_NUMBERS], WHOLE),
    (ProgressPollPolicy, "longest", [0.5, 2, 1e9], [0, 0.4, None, *NO_NUMBERS], FROM_INTERVAL),
    (FullPolicy, "base", [0.001, 2], [0, None, *NO_NUMBERS], ABOVE_0),
    (FullPolicy, "cap", [0.001, 2], [0, None, *NO_NUMBERS], ABOVE_0),
]


@pytest.mark.parametrize(("policy", "name", "good", "bad", "text"), SETTINGS, ids=count())
def test_settings_are_checked(policy: type[Any], name: str, good: list[Any], bad: list[Any], text: str) -> None:
    """A setting that cannot be meant is refused with its name and what is wanted: NaN and booleans too."""
    for value in good:
        assert getattr(policy(**{name: value}), name) is value
    for value in bad:
        with pytest.raises(ConfigurationError) as caught:
            policy(**{name: value})
        assert str(caught.value) == f"{name}: {value!r} {text}"


TOO_LARGE = r"(10{78}…|<int>) is too large"
"""What is said of numbers of which Python makes no float, nor a text of the longest."""


@pytest.mark.parametrize(("policy", "name"), [setting[:2] for setting in SETTINGS], ids=count())
def test_numbers_beyond_all_measure_are_refused(policy: type[Any], name: str) -> None:
    """A whole number that no clock takes, or that cannot even be written, is refused as any other."""
    for value in (10**400, 10**5000):
        with pytest.raises(ConfigurationError, match=f"^{name}: {TOO_LARGE}$"):
            policy(**{name: value})
    with pytest.raises(ConfigurationError, match=f"^{name}: <int> is not "):
        policy(**{name: -(10**5000)})


CHECKS: list[tuple[Callable[[str, Any], None], list[Any], list[Any]]] = [
    (check_patience, [None, -1, 0, 0.5, 1e308], ["5", True, math.nan, math.inf, 10**400, -(10**400), 10**5000]),
    (check_interval, [1, 0.5], [None, 0, "5", True, math.nan, math.inf, 10**400, 10**5000]),
    (check_limit, [None, 1, 0.5], [0, "5", True, math.nan, math.inf, 10**400, 10**5000]),
    (check_count, [1, sys.maxsize], [None, 0, 1.0, "5", True, math.nan, sys.maxsize + 1, 10**5000]),
    (partial(check_count, at_least=0, none="any"), [None, 0], [-1, 1.0, False, 10**5000]),
    (partial(check_kind, kind=PollPolicy), [PollPolicy(), ProgressPollPolicy()], [None, 5, PollPolicy, 10**5000]),
    (check_callable, [print, PollPolicy], [None, 5, "print", 10**5000]),
]


@pytest.mark.parametrize(("check", "good", "bad"), CHECKS, ids=count())
def test_arguments_are_checked(check: Callable[[str, Any], None], good: list[Any], bad: list[Any]) -> None:
    """What can be meant passes, and all else is refused by its name."""
    for value in good:
        check("it", value)
    for value in bad:
        with pytest.raises(ConfigurationError, match=r"^it: "):
            check("it", value)


def test_every_setting_is_in_the_table() -> None:
    """The table above knows each field of each policy."""
    for policy in (Timeouts, RetryPolicy, PollPolicy, ProgressPollPolicy, FullPolicy):
        assert {name for each, name, *_ in SETTINGS if each is policy} == {each.name for each in attrs.fields(policy)}
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(policy(), attrs.fields(policy)[0].name, 1)


@given(st.floats(0.001, 1e6), draws)
def test_the_first_poll_is_somewhere_in_the_first_interval(interval: float, rng: float) -> None:
    """Sessions that start together do not poll together."""
    assert PollPolicy(interval=interval).first_pause(lambda: rng) == rng * interval


def test_polls_slow_down_when_ready_and_when_failing() -> None:
    """Before ready and after there are two intervals; failures double either, up to its own length or 8 s."""
    policy = PollPolicy(interval=0.5, live_interval=5.0)

    def pauses(*, ready: bool) -> list[float]:
        return [poll_pause(policy, ready=ready, failures=failures) for failures in range(7)]

    assert pauses(ready=False) == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert pauses(ready=True) == [5.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0]
    assert poll_pause(PollPolicy(interval=20.0), failures=3) == 20.0


@given(
    st.floats(0.001, 1e6), draws, draws, st.booleans(), st.integers(0, 10**9), st.none() | seconds
)  # fmt: skip
def test_polls_are_jittered_and_obey(
    interval: float, jitter: float, rng: float, ready: bool, failures: int, asked: float | None
) -> None:
    """No number of failures overflows, jitter is a share of the interval, the service's wish is obeyed for a minute."""
    policy = PollPolicy(interval=interval, live_interval=interval, jitter=jitter)
    drawn = poll_pause(policy, ready=ready, failures=failures, rng=rng, retry_after=asked)
    asked = None if asked is None else min(asked, LONGEST_RETRY_AFTER)
    longest = max(interval, LONGEST_FAILURE_PAUSE) if failures else interval
    assert max(interval * (1 - jitter), asked or 0.0) * 0.999 <= drawn
    assert drawn <= max(longest * (1 + jitter), asked or 0.0) * 1.001
    if asked is not None:
        assert drawn >= asked


@pytest.mark.parametrize(("asked", "waited"), [(5.0, 8.0), (30.0, 30.0), (60.0, 60.0), (86_400.0, 60.0)])
def test_a_poll_is_not_put_off_for_a_day(asked: float, waited: float) -> None:
    """However long the service asks a poll to wait, after a minute it is looked whether the conversation ended."""
    assert poll_pause(PollPolicy(), ready=True, failures=3, retry_after=asked) == waited


percents = st.floats(0, 100)
intervals = st.floats(0.001, 1e6)


@st.composite
def progress_policies(rng: st.DrawFn) -> ProgressPollPolicy:
    interval = rng(intervals)
    return ProgressPollPolicy(interval, jitter=rng(draws), longest=interval * rng(st.floats(1, 1e3)))


@given(intervals, percents, seconds, seconds)
def test_a_fixed_interval_heeds_no_progress(interval: float, percent: float, elapsed: float, still: float) -> None:
    """`PollPolicy` polls at its interval whatever the progress."""
    assert PollPolicy(interval).until_ready(percent, elapsed, still) == interval


def test_polls_get_more_frequent_as_the_progress_nears_the_end() -> None:
    """While the percent rises, pauses shrink from the longest to less than an interval."""
    policy = ProgressPollPolicy(interval=0.5, jitter=0.0, longest=2.5)
    pauses = [poll_pause(policy, percent=percent, elapsed=percent / 10) for percent in range(0, 101, 10)]
    assert pauses == pytest.approx([2.5, 2.5, 2.24, 1.96, 1.68, 1.4, 1.12, 0.84, 0.56, 0.45, 0.45])
    assert pauses == sorted(pauses, reverse=True)


def test_what_was_quick_so_far_is_looked_at_sooner() -> None:
    """A percent that rose fast promises an early end, so that the same percent gives a shorter pause."""
    policy = ProgressPollPolicy(jitter=0.0)
    quick, usual = (poll_pause(policy, percent=50.0, elapsed=elapsed) for elapsed in (3.0, 6.0))
    assert quick == pytest.approx(0.28 * 3.0)
    assert usual == pytest.approx(0.28 * 6.0)
    assert poll_pause(policy, percent=50.0, elapsed=60.0) == pytest.approx(8 * 0.5 * 0.45)
    assert poll_pause(policy, percent=0.5, elapsed=0.01) == pytest.approx(0.28 * 0.01 * 199)


def test_progress_that_stands_still_is_believed_ever_less() -> None:
    """The pause shrinks evenly to the interval while nothing moves, be the percent missing or stuck."""
    policy = ProgressPollPolicy(interval=0.5, jitter=0.0, longest=2.5)
    missing = [poll_pause(policy, percent=0.0, elapsed=still, still=still) for still in (0.0, 1.0, 2.0, 4.0, 60.0)]
    assert missing == pytest.approx([2.5, 2.0, 1.5, 0.5, 0.5])
    stuck = [poll_pause(policy, percent=50.0, elapsed=60 + still, still=still) for still in (0.0, 1.0, 2.0, 4.0, 60.0)]
    assert stuck == pytest.approx([1.8, 1.475, 1.15, 0.5, 0.5])


@given(progress_policies(), percents, seconds, seconds, draws)
def test_no_progress_makes_a_pause_out_of_bounds(
    policy: ProgressPollPolicy, percent: float, elapsed: float, still: float, rng: float
) -> None:
    """Whatever the percent does, a pause is from nine tenths of an interval, less the jitter, to the longest."""
    drawn = poll_pause(policy, percent=percent, elapsed=elapsed, still=still, rng=rng)
    shortest = min(0.9 * policy.interval, policy.longest / (1 + policy.jitter)) * (1 - policy.jitter)
    assert shortest * (1 - 1e-9) <= drawn <= policy.longest * (1 + 1e-9)


@given(progress_policies(), percents, st.floats(0, 100), seconds, draws)
def test_what_stands_still_is_polled_like_no_progress(
    policy: ProgressPollPolicy, percent: float, beyond: float, before: float, rng: float
) -> None:
    """After eight intervals without a rise no pause is longer than the interval's, so that no percent delays."""
    still = policy.interval * (8 + beyond)
    drawn = poll_pause(policy, percent=percent, elapsed=before + still, still=still, rng=rng)
    assert drawn <= poll_pause(PollPolicy(policy.interval, jitter=policy.jitter), rng=rng) * (1 + 1e-9)


@given(progress_policies(), percents, percents, seconds, seconds)
def test_more_progress_gives_no_longer_pause(
    policy: ProgressPollPolicy, percent: float, other: float, elapsed: float, still: float
) -> None:
    """At the same moment, who is nearer the end is not polled later."""
    nearer, farther = (
        poll_pause(policy, percent=each, elapsed=elapsed, still=still)
        for each in sorted((percent, other), reverse=True)
    )
    assert nearer <= farther * (1 + 1e-9)


@given(progress_policies(), st.booleans(), st.integers(0, 10**9), draws, percents, seconds, st.none() | seconds)
def test_progress_changes_nothing_else(
    policy: ProgressPollPolicy,
    ready: bool,
    failures: int,
    rng: float,
    percent: float,
    elapsed: float,
    asked: float | None,
) -> None:
    """After ready, after failures, and where the service asks for more, `ProgressPollPolicy` is as `PollPolicy`."""
    usual = PollPolicy(policy.interval, policy.live_interval, policy.jitter)
    facts: Any = {"percent": percent, "elapsed": elapsed, "still": elapsed, "rng": rng, "retry_after": asked}
    here, there = (poll_pause(each, ready=ready, failures=failures, **facts) for each in (policy, usual))
    if ready or failures:
        assert here == there
    elif asked is not None:
        assert here >= min(asked, LONGEST_RETRY_AFTER)


@given(progress_policies(), draws)
def test_the_first_poll_is_somewhere_in_the_first_pause(policy: ProgressPollPolicy, rng: float) -> None:
    """Sessions that start together do not poll together, nor later than the longest pause."""
    assert policy.first_pause(lambda: rng) == rng * policy.until_ready(0.0, 0.0, 0.0) <= policy.longest


def test_a_full_account_is_asked_ever_more_seldom() -> None:
    """The pause doubles with each refusal up to the cap, and at least half of it is waited."""
    policy = FullPolicy(base=1.0, cap=30.0)
    assert [policy.pause(refusals, lambda: 1.0) for refusals in range(1, 8)] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert [policy.pause(refusals, lambda: 0.0) for refusals in range(1, 4)] == [0.5, 1.0, 2.0]


@given(st.floats(0.001, 1e300), st.floats(0.001, 1e300), st.integers(1, 10**9), draws)
def test_no_number_of_refusals_overflows(base: float, cap: float, refusals: int, rng: float) -> None:
    """However long an account stays full, the pause is from half the cap or formula to all of it."""
    longest = min(cap, base * 2.0 ** min(refusals - 1, 60))
    assert longest / 2 <= FullPolicy(base=base, cap=cap).pause(refusals, lambda: rng) <= longest


@pytest.mark.parametrize("pause", [float("nan"), float("inf"), 0.0, -1.0, None, "1"])
def test_what_a_subclass_returns_is_checked(pause: Any) -> None:
    """A pause that is none is refused, since without one the service would be flooded, or never asked again."""

    class Own(PollPolicy):
        def until_ready(self, percent: float, elapsed: float, still: float) -> float:
            return cast("float", pause)

    asked = {"ready": False, "failures": 0, "percent": 0.0, "elapsed": 0.0, "still": 0.0}
    with pytest.raises(ConfigurationError, match=r"^until_ready\(\): "):
        Own().pause(rng=lambda: 0.5, **asked)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"^until_ready\(\): "):
        Own().first_pause(lambda: 0.5)
