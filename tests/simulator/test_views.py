"""Conversations are looked up as of now."""

from typing import Any
from uuid import UUID

import pytest

from akapulu_async.simulator.clock import Clock
from akapulu_async.simulator.views import Views

UNKNOWN = "33333333-3333-4333-8333-333333333333"


def test_a_view_is_of_the_moment(scene: Any) -> None:
    """Each look sees the present state; a view once taken stays as it was."""
    scene, clock = scene(), Clock(0)
    identifier = scene.connect().id
    views = Views(scene.world, clock)
    before = views[identifier]
    clock.advance(100)
    assert (before.state, views[identifier].state) == ("starting", "ended")


def test_ids_in_any_form(scene: Any) -> None:
    """Text in either case and UUID lead to the same conversation, others to KeyError."""
    scene = scene()
    ids = [scene.connect().id for _ in range(3)]
    views = Views(scene.world, Clock(0))
    assert list(views) == ids
    assert len(views) == 3
    assert views[ids[1]] == views[ids[1].upper()] == views[UUID(ids[1])]
    assert UNKNOWN not in views
    with pytest.raises(KeyError, match=UNKNOWN):
        _ = views[UNKNOWN]
