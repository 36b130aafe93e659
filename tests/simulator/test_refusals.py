"""Refusals have the service's form."""

import pytest

from akapulu_async.simulator.refusals import CONCURRENCY_LIMIT, MINUTES_LIMIT, Refusal, RefusedError


def test_a_refusal_has_a_text_and_a_code() -> None:
    """The body has both `error` and `error_code`."""
    assert Refusal(418, "TEAPOT", "No coffee.").body() == {"error": "No coffee.", "error_code": "TEAPOT"}


def test_the_assumed_limits() -> None:
    """A full account is a 429 and used-up minutes are a 402."""
    assert (CONCURRENCY_LIMIT.status, CONCURRENCY_LIMIT.error_code) == (429, "CONCURRENCY_LIMIT_REACHED")
    assert (MINUTES_LIMIT.status, MINUTES_LIMIT.error_code) == (402, "MINUTES_LIMIT_REACHED")


def test_a_success_refuses_nothing() -> None:
    """A refusal's status is 400 or more."""
    with pytest.raises(ValueError, match="status"):
        Refusal(200, "OK", "Fine.")


def test_the_exception_carries_the_refusal() -> None:
    """Raised, it holds the refusal and reads as its sentence."""
    assert str(RefusedError(MINUTES_LIMIT)) == MINUTES_LIMIT.error
    assert RefusedError(MINUTES_LIMIT).refusal is MINUTES_LIMIT
