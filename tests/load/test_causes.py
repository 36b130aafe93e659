"""Why an attempt failed, in a word or two."""

from typing import Any

import pytest

from akapulu_async import ConcurrencyLimitError, ConnectOutcomeUnknownError, EndReason, ServerError
from akapulu_async.load.causes import INTERRUPTED, failure

UNWELL = ServerError(status=503, method="GET", path="/x/", message="a different sentence each time")


@pytest.mark.parametrize("reason", sorted(set(EndReason) - {EndReason.FAILED}))
def test_what_got_ready_did_not_fail(reason: Any) -> None:
    """A conversation that got ready succeeded, however it ended, unless an error broke it off."""
    assert failure(reason, None, ready=True) is None


@pytest.mark.parametrize("ready", [False, True])
def test_an_error_is_named_by_its_kind_and_status(ready: Any) -> None:
    """Equal errors have one name, whatever their sentences say."""
    assert failure(EndReason.FAILED, UNWELL, ready=ready) == "ServerError 503"


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ConcurrencyLimitError(status=429, method="POST", path="/x/"), "ConcurrencyLimitError 429"),
        (ConnectOutcomeUnknownError(scenario_id="a", avatar_id="b", reason="c"), "ConnectOutcomeUnknownError"),
        (RuntimeError("of a participant"), "connect_failed"),
        (None, "connect_failed"),
    ],
)
def test_a_failed_connect_is_named_by_its_error(error: Any, name: Any) -> None:
    """What kept a conversation from beginning is named; without an error of the library, the end is."""
    assert failure(EndReason.CONNECT_FAILED, error, ready=False) == name


@pytest.mark.parametrize("reason", [EndReason.READY_TIMEOUT, EndReason.PARTICIPANT_JOIN_TIMEOUT, EndReason.FAILED])
def test_an_end_before_readiness_is_named_by_its_reason(reason: Any) -> None:
    """Where no error is behind an end, its reason is the name."""
    assert failure(reason, None, ready=False) == str(reason)


@pytest.mark.parametrize("reason", [None, EndReason.LEFT, EndReason.CANCELLED])
def test_what_was_broken_off_is_not_the_services_fault(reason: Any) -> None:
    """What did not come to its readiness because the test was broken off has a name of its own."""
    assert failure(reason, None, ready=False) == INTERRUPTED
