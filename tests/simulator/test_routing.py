"""Paths lead to routes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.simulator.routing import METHODS, Match, match


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/api/conversations/connect/", Match("connect")),
        ("/api/conversations/connect?a=/", Match("connect", None, slash=False)),
        ("/api/conversations/AB-1/updates/?x=1", Match("updates", "ab-1")),
        ("/api/conversations/ab/updates", Match("updates", "ab", slash=False)),
        ("/api/conversations/ab/", Match("detail", "ab")),
        ("/api/conversations/ab/recording/", Match("recording", "ab")),
        ("/api/conversations/ab/else/", Match()),
        ("/api/conversations/ab/updates/more/", Match()),
        ("/api/conversations/", Match()),
        ("/api/conversations//updates/", Match()),
        ("/conversations/ab/", Match()),
        ("*", Match()),
        ("", Match()),
    ],
)
def test_where_a_target_leads(target: str, expected: Any) -> None:
    """Known paths lead to their route and id, with or without the slash; others nowhere."""
    assert match(target) == expected


@given(st.text())
def test_any_target_leads_somewhere_or_nowhere(target: str) -> None:
    """No target breaks it, and what is matched is a known route."""
    assert match(target).route in {None, *METHODS}
