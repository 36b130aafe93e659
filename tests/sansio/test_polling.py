"""Poll policies, tested with values passed in and without sleeping."""

from itertools import count
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.errors import ConfigurationError
from akapulu_async.sansio.polling import (
    LONGEST_FAILURE_PAUSE,
    LONGEST_RETRY_AFTER,
    LONGEST_STARTING_FAILURE_PAUSE,
    PollPolicy,
    ProgressPollPolicy,
)
from tests.support.settings import ABOVE_0, NO_NUMBERS, check_setting, check_table

draws = st.floats(0, 1)
seconds = st.floats(0, 1e9)


def poll_pause(policy: PollPolicy, *, rng: float = 0.5, **facts: Any) -> float:
    facts = {"ready": False, "failures": 0, "percent": 0.0, "elapsed": 0.0, "still": 0.0, **facts}
    return policy.pause(rng=lambda: rng, **facts)


SHARE = "a number from 0 to 1"
FROM_INTERVAL = "a number of seconds, at least the interval of 0.5"
WHOLE = "a whole number, 0 or more, or None for any number"
SETTINGS: list[tuple[type[Any], str, list[Any], list[Any], str]] = [
    (PollPolicy, "interval", [0.001, 2], [0, None, *NO_NUMBERS], ABOVE_0),
    (PollPolicy, "live_interval", [0.001, 2], [0, None, *NO_NUMBERS], ABOVE_0),
    (PollPolicy, "jitter", [0, 0.5, 1], [1.1, None, *NO_NUMBERS], SHARE),
    (PollPolicy, "max_failures", [None, 0, 7], [1.0, *NO_NUMBERS], WHOLE),
    (ProgressPollPolicy, "interval", [0.001, 2], [0, None, *NO_NUMBERS], ABOVE_0),
    (ProgressPollPolicy, "live_interval", [0.001, 2], [0, None, *NO_NUMBERS], ABOVE_0),
    (ProgressPollPolicy, "jitter", [0, 0.5, 1], [1.1, None, *NO_NUMBERS], SHARE),
    (ProgressPollPolicy, "max_failures", [None, 0, 7], [1.0, *NO_NUMBERS], WHOLE),
    (ProgressPollPolicy, "longest", [0.5, 2, 1e9], [0, 0.4, None, *NO_NUMBERS], FROM_INTERVAL),
]


@pytest.mark.parametrize(("policy", "name", "good", "bad", "text"), SETTINGS, ids=count())
def test_settings_are_checked(policy: type[Any], name: str, good: list[Any], bad: list[Any], text: str) -> None:
    """A wrong setting is refused by name, with what it must be; so are NaN and booleans."""
    check_setting(policy, name, good, bad, text)


def test_every_setting_is_in_the_table() -> None:
    """The table above has each field of each policy."""
    check_table(SETTINGS, PollPolicy, ProgressPollPolicy)


@given(st.floats(0.001, 1e6), draws)
def test_the_first_poll_is_somewhere_in_the_first_interval(interval: float, rng: float) -> None:
    """Sessions that start together do not poll together."""
    assert PollPolicy(interval=interval).first_pause(lambda: rng) == rng * interval


def test_polls_slow_down_when_ready_and_when_failing() -> None:
    """There is one interval before readiness and one after; failures double it, up to 2 s, 8 s or its own length."""
    policy = PollPolicy(interval=0.5, live_interval=5.0)

    def pauses(*, ready: bool) -> list[float]:
        return [poll_pause(policy, ready=ready, failures=failures) for failures in range(7)]

    assert pauses(ready=False) == [0.5, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    assert pauses(ready=True) == [5.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0]
    assert poll_pause(PollPolicy(interval=20.0), failures=3) == 20.0


@given(
    st.floats(0.001, 1e6), draws, draws, st.booleans(), st.integers(0, 10**9), st.none() | seconds
)  # fmt: skip
def test_polls_are_jittered_and_obey(
    interval: float, jitter: float, rng: float, ready: bool, failures: int, asked: float | None
) -> None:
    """No number of failures overflows, jitter is a share of the interval, `Retry-After` is obeyed up to a minute."""
    policy = PollPolicy(interval=interval, live_interval=interval, jitter=jitter)
    drawn = poll_pause(policy, ready=ready, failures=failures, rng=rng, retry_after=asked)
    asked = None if asked is None else min(asked, LONGEST_RETRY_AFTER)
    bound = LONGEST_FAILURE_PAUSE if ready else LONGEST_STARTING_FAILURE_PAUSE
    longest = max(interval, bound) if failures else interval
    assert max(interval * (1 - jitter), asked or 0.0) * 0.999 <= drawn
    assert drawn <= max(longest * (1 + jitter), asked or 0.0) * 1.001
    if asked is not None:
        assert drawn >= asked


@given(st.floats(0.001, 2.0), draws, draws, st.integers(0, 10**9))
def test_an_outage_delays_readiness_by_two_seconds(interval: float, jitter: float, rng: float, failures: int) -> None:
    """However long an outage lasts, a waiting session polls within 2 s of its end, and the jitter."""
    policy = PollPolicy(interval, jitter=jitter)
    assert poll_pause(policy, failures=failures, rng=rng) <= 2.0 * (1 + jitter) * 1.001


@pytest.mark.parametrize(("asked", "waited"), [(5.0, 8.0), (30.0, 30.0), (60.0, 60.0), (86_400.0, 60.0)])
def test_a_poll_is_not_put_off_for_a_day(asked: float, waited: float) -> None:
    """A `Retry-After` delays a poll by a minute at most."""
    assert poll_pause(PollPolicy(), ready=True, failures=3, retry_after=asked) == waited


percents = st.floats(0, 100)
intervals = st.floats(0.001, 1e6)


@st.composite
def progress_policies(draw: st.DrawFn) -> ProgressPollPolicy:
    interval = draw(intervals)
    return ProgressPollPolicy(interval, jitter=draw(draws), longest=interval * draw(st.floats(1, 1e3)))


@given(intervals, percents, seconds, seconds)
def test_a_fixed_interval_heeds_no_progress(interval: float, percent: float, elapsed: float, still: float) -> None:
    """`PollPolicy` ignores the progress."""
    assert PollPolicy(interval).until_ready(percent, elapsed, still) == interval


def test_polls_get_more_frequent_as_the_progress_nears_the_end() -> None:
    """While the percent rises, pauses shrink from the longest to less than an interval."""
    policy = ProgressPollPolicy(interval=0.5, jitter=0.0, longest=2.5)
    pauses = [poll_pause(policy, percent=percent, elapsed=percent / 10) for percent in range(0, 101, 10)]
    assert pauses == pytest.approx([2.5, 2.5, 2.24, 1.96, 1.68, 1.4, 1.12, 0.84, 0.56, 0.45, 0.45])
    assert pauses == sorted(pauses, reverse=True)


def test_what_was_quick_so_far_is_looked_at_sooner() -> None:
    """The faster the percent rose, the shorter the pause."""
    policy = ProgressPollPolicy(jitter=0.0)
    quick, usual = (poll_pause(policy, percent=50.0, elapsed=elapsed) for elapsed in (3.0, 6.0))
    assert quick == pytest.approx(0.28 * 3.0)
    assert usual == pytest.approx(0.28 * 6.0)
    assert poll_pause(policy, percent=50.0, elapsed=60.0) == pytest.approx(8 * 0.5 * 0.45)
    assert poll_pause(policy, percent=0.5, elapsed=0.01) == pytest.approx(0.28 * 0.01 * 199)


def test_progress_that_stands_still_is_believed_ever_less() -> None:
    """While the percent is missing or stuck, the pause shrinks linearly to the interval."""
    policy = ProgressPollPolicy(interval=0.5, jitter=0.0, longest=2.5)
    missing = [poll_pause(policy, percent=0.0, elapsed=still, still=still) for still in (0.0, 1.0, 2.0, 4.0, 60.0)]
    assert missing == pytest.approx([2.5, 2.0, 1.5, 0.5, 0.5])
    stuck = [poll_pause(policy, percent=50.0, elapsed=60 + still, still=still) for still in (0.0, 1.0, 2.0, 4.0, 60.0)]
    assert stuck == pytest.approx([1.8, 1.475, 1.15, 0.5, 0.5])


@given(progress_policies(), percents, seconds, seconds, draws)
def test_no_progress_makes_a_pause_out_of_bounds(
    policy: ProgressPollPolicy, percent: float, elapsed: float, still: float, rng: float
) -> None:
    """Any pause is between nine tenths of an interval, less the jitter, and the longest."""
    drawn = poll_pause(policy, percent=percent, elapsed=elapsed, still=still, rng=rng)
    shortest = min(0.9 * policy.interval, policy.longest / (1 + policy.jitter)) * (1 - policy.jitter)
    assert shortest * (1 - 1e-9) <= drawn <= policy.longest * (1 + 1e-9)


@given(progress_policies(), percents, st.floats(0, 100), seconds, draws)
def test_what_stands_still_is_polled_like_no_progress(
    policy: ProgressPollPolicy, percent: float, beyond: float, before: float, rng: float
) -> None:
    """After eight intervals without a rise, no pause is longer than the interval."""
    still = policy.interval * (8 + beyond)
    drawn = poll_pause(policy, percent=percent, elapsed=before + still, still=still, rng=rng)
    assert drawn <= poll_pause(PollPolicy(policy.interval, jitter=policy.jitter), rng=rng) * (1 + 1e-9)


@given(progress_policies(), percents, percents, seconds, seconds)
def test_more_progress_gives_no_longer_pause(
    policy: ProgressPollPolicy, percent: float, other: float, elapsed: float, still: float
) -> None:
    """More progress never gives a longer pause."""
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
    """After readiness, after failures and on `Retry-After`, `ProgressPollPolicy` equals `PollPolicy`."""
    usual = PollPolicy(policy.interval, policy.live_interval, policy.jitter)
    facts: Any = {"percent": percent, "elapsed": elapsed, "still": elapsed, "rng": rng, "retry_after": asked}
    here, there = (poll_pause(each, ready=ready, failures=failures, **facts) for each in (policy, usual))
    if ready or failures:
        assert here == there
    elif asked is not None:
        assert here >= min(asked, LONGEST_RETRY_AFTER)


@given(progress_policies(), draws)
def test_the_first_poll_is_somewhere_in_the_first_pause(policy: ProgressPollPolicy, rng: float) -> None:
    """Sessions that start together do not poll together, and poll first within the longest pause."""
    assert policy.first_pause(lambda: rng) == rng * policy.until_ready(0.0, 0.0, 0.0) <= policy.longest


@pytest.mark.parametrize("pause", [float("nan"), float("inf"), 0.0, -1.0, None, "1"])
def test_what_a_subclass_returns_is_checked(pause: Any) -> None:
    """An invalid pause from a subclass is refused: the service would be flooded, or never polled again."""

    class Own(PollPolicy):
        def until_ready(self, percent: float, elapsed: float, still: float) -> float:
            return cast("float", pause)

    asked = {"ready": False, "failures": 0, "percent": 0.0, "elapsed": 0.0, "still": 0.0}
    with pytest.raises(ConfigurationError, match=r"^until_ready\(\) must be "):
        Own().pause(rng=lambda: 0.5, **asked)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"^until_ready\(\) must be "):
        Own().first_pause(lambda: 0.5)
