"""Plans count whole minutes and cap calls."""

from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.simulator.plan import Plan


def test_the_free_plan_has_the_figures_seen() -> None:
    """The free plan is 2 calls at once, 10 minutes in all, 3 minutes a call."""
    plan = Plan.free()
    assert (plan.max_concurrent, plan.minutes, plan.max_call_seconds) == (2, 10, 180)


def test_minutes_are_whole() -> None:
    """Begun minutes count in full by default, completed ones only on demand."""
    assert [Plan().whole_minutes(seconds) for seconds in (0, 0.1, 60, 60.1)] == [0, 1, 1, 2]
    completed = Plan(rounding="completed")
    assert [completed.whole_minutes(seconds) for seconds in (0, 59.9, 60, 119)] == [0, 0, 1, 1]


@given(st.integers(0, 100), st.integers(0, 100), st.floats(0, 1e5))
def test_the_cap_is_the_lower_of_the_plans_and_the_minutes_left(minutes: int, used: int, cap: float) -> None:
    """No call may outlast the plan's cap or the minutes left, and it may last as long as the lower."""
    plan = Plan(minutes=minutes, max_call_seconds=cap)
    assert plan.call_cap(used) == min(cap, max(0, minutes - used) * 60)


def test_no_limits_mean_no_cap() -> None:
    """Without a cap and without a limit on minutes a call is not capped."""
    assert Plan(minutes=None, max_call_seconds=None).call_cap(1000) is None
