"""A schedule knows what is due, and keeps nothing else."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.simulator.schedule import Schedule


def test_the_earliest_is_due_first() -> None:
    """Ids are due at their time, in order, and once."""
    schedule = Schedule()
    for at in (3.0, 1.0, 2.0):
        schedule.set(str(at), at)
    assert schedule.pop(0.9) is None
    assert [schedule.pop(2.0) for _ in range(3)] == ["1.0", "2.0", None]
    assert [schedule.pop(9.0) for _ in range(2)] == ["3.0", None]


STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "drop", "pop"]), st.sampled_from("abc"), st.sampled_from([0.0, 1.0, 2.0, 9e9])),
    max_size=300,
)


@given(STEPS)
def test_only_the_last_time_counts(steps: Any) -> None:
    """After any changes, an id is due at the time set last, unless that was dropped or is over."""
    schedule, expected = Schedule(), dict[str, float]()
    for step, identifier, at in steps:
        if step == "set":
            schedule.set(identifier, at)
            expected[identifier] = at
        elif step == "drop":
            schedule.drop(identifier)
            expected.pop(identifier, None)
        else:
            due = schedule.pop(at)
            assert (due is None) == (min(expected.values(), default=9e99) > at)
            if due is not None:
                assert expected.pop(due) <= at


def test_what_will_never_be_due_takes_no_memory() -> None:
    """Replaced and dropped times do not accumulate, however late they would have been due."""
    schedule = Schedule()
    for number in range(10_000):
        schedule.set("always", float("inf"))
        schedule.set(str(number), float("inf"))
        schedule.drop(str(number))
    assert len(schedule._heap) < 100
