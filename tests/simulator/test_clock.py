"""Simulated time follows real time and can be moved on."""

import pytest

from akapulu_async.simulator.clock import Clock


def test_speed_multiplies_real_time() -> None:
    """At speed 20, one real second is 20 simulated ones, counted from the clock's making."""
    real = iter((100.0, 100.0, 101.0))
    clock = Clock(20, real=lambda: next(real))
    assert (clock.now(), clock.now()) == (0, 20)


def test_advance_adds_at_once() -> None:
    """What is advanced adds up, also when time stands still."""
    clock = Clock(0)
    clock.advance(5)
    clock.advance(0.5)
    assert clock.now() == 5.5


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_time_goes_forward_only(seconds: float) -> None:
    """Neither speed nor advance can be negative or without end."""
    with pytest.raises(ValueError, match="speed"):
        Clock(seconds)
    with pytest.raises(ValueError, match="seconds"):
        Clock().advance(seconds)
