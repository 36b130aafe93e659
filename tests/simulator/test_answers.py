"""Answers carry JSON and refusals."""

import json

import pytest

from akapulu_async.simulator.answers import (
    CONCURRENCY_LIMIT,
    MINUTES_LIMIT,
    Refusal,
    RefusedError,
    json_answer,
    refusal_answer,
)


def test_json_answers() -> None:
    """A JSON answer has its content type, its status and the headers added."""
    answer = json_answer({"a": "ü"}, 201, {"X-A": "1"})
    assert (answer.status, answer.headers) == (201, {"Content-Type": "application/json", "X-A": "1"})
    assert isinstance(answer.body, bytes)
    assert json.loads(answer.body) == {"a": "ü"}
    assert answer.size == len(answer.body)


def test_a_refusal_may_ask_to_wait() -> None:
    """`retry_after` becomes `Retry-After`, in seconds; None sends none."""
    assert refusal_answer(Refusal(429, "C", "E", 2.5)).headers["Retry-After"] == "2.5"
    assert refusal_answer(Refusal(429, "C", "E", 30)).headers["Retry-After"] == "30"
    assert "Retry-After" not in refusal_answer(Refusal(429, "C", "E")).headers


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
