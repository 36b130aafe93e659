"""Plans count whole minutes and cap calls."""

from typing import Any

from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.simulator.plan import Meter, Plan


def test_the_free_plan_has_the_figures_seen() -> None:
    """The free plan allows 2 calls at once, 10 minutes in all, 3 minutes per call."""
    plan = Plan.free()
    assert (plan.max_concurrent, plan.minutes, plan.max_call_seconds) == (2, 10, 180)


def test_minutes_are_whole() -> None:
    """By default a begun minute counts in full; completed minutes are an option."""
    assert [Plan().whole_minutes(seconds) for seconds in (0, 0.1, 60, 60.1)] == [0, 1, 1, 2]
    completed = Plan(rounding="completed")
    assert [completed.whole_minutes(seconds) for seconds in (0, 59.9, 60, 119)] == [0, 0, 1, 1]


@given(st.integers(0, 100), st.integers(0, 100), st.floats(0, 1e5))
def test_the_cap_is_the_lower_of_the_plans_and_the_minutes_left(minutes: int, used: int, cap: float) -> None:
    """A call may last exactly as long as the lower of the plan's cap and the minutes left."""
    plan = Plan(minutes=minutes, max_call_seconds=cap)
    assert plan.call_cap(used) == min(cap, max(0, minutes - used) * 60)


def test_no_limits_mean_no_cap() -> None:
    """Without a cap and a limit of minutes, a call is not capped."""
    assert Plan(minutes=None, max_call_seconds=None).call_cap(1000) is None


@define(eq=False)
class Call:
    id: str
    start: float | None
    looks: int = 0

    def counted_from(self) -> float | None:
        return self.start

    def call_seconds(self, now: float) -> float:
        self.looks += 1
        return 0.0 if self.start is None else max(0.0, now - self.start)


STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1e-7, 29.9999999, 30.0, 60.0, 60.0000004]) | st.floats(0, 500),
        st.sampled_from(["take", "take unknown", "begin", "drop", "look"]),
    ),
    max_size=30,
)


@given(STEPS, st.sampled_from(["begun", "completed"]))
def test_it_is_the_sum_of_all(steps: Any, rounding: Any) -> None:
    """In any order of events, the total equals the sum over all calls."""
    plan = Plan(rounding=rounding)
    meter, calls, now = Meter(plan), dict[str, Call](), 0.0
    for number, (seconds, action) in enumerate(steps):
        now += seconds
        if action.startswith("take"):
            calls[str(number)] = Call(str(number), None if action == "take unknown" else now + seconds)
            meter.expect(calls[str(number)])
        elif calls and action == "begin":
            call = next(iter(calls.values()))
            if call.start is None or call.start > now:
                call.start = now
                meter.expect(call)
        elif calls and action == "drop":
            meter.drop(calls.pop(next(iter(calls))).id)
        assert meter.total(now) == sum(plan.whole_minutes(call.call_seconds(now)) for call in calls.values())


def test_calls_are_looked_at_once_a_minute() -> None:
    """However often the total is asked for, a call is looked at only when its count may have grown."""
    meter, call = Meter(Plan()), Call("a", 5.0)
    meter.expect(call)
    for tenth in range(6000):
        meter.total(tenth / 10)
    assert call.looks <= 2 * 11
