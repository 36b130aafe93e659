"""The running sum of minutes is the sum of all."""

from typing import Any

from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.simulator.minutes import Meter
from akapulu_async.simulator.plan import Plan


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
    """Whatever comes, begins and goes in whatever order, the total is what a walk over all calls gives."""
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
