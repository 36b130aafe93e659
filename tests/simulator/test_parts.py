"""The parts work together, and repeat with the seed."""

import pytest

from akapulu_async.simulator.connect_requests import parse_connect_request
from akapulu_async.simulator.parts import Parts
from akapulu_async.simulator.refusals import RefusedError
from akapulu_async.simulator.settings import Settings

BODY = b'{"scenario_id": "11111111-1111-4111-8111-111111111111", "avatar_id": "22222222-2222-4222-8222-222222222222"}'


def drawn(seed: int | None) -> tuple[str, str]:
    """Return what two parts draw: a conversation's id and a signature."""
    parts = Parts.assemble(Settings(speed=0, seed=seed, requests_kept=None))
    conversation = parts.world.connect(parse_connect_request(BODY), parts.clock.now())
    return conversation.id, parts.storage.recording_url("a", 50, 0)


def test_one_seed_repeats_all_parts() -> None:
    """World and storage draw the same from the same seed, and something else from another or none."""
    assert drawn(1) == drawn(1)
    assert not {*drawn(1)} & {*drawn(2)}
    assert not {*drawn(None)} & {*drawn(None)}


def test_parts_obey_one_set_of_settings() -> None:
    """Clock, journal, plan and storage follow the settings given."""
    settings = Settings(speed=0, requests_kept=7, max_concurrent=1, signed_url_lifetime=9, recording_ranges=False)
    parts = Parts.assemble(settings)
    assert (parts.clock.speed, parts.journal.requests.maxlen) == (0, 7)
    parts.clock.advance(5)
    conversation = parts.world.connect(parse_connect_request(BODY), parts.clock.now())
    assert conversation.connected_at == 5
    with pytest.raises(RefusedError):
        parts.world.connect(parse_connect_request(BODY), parts.clock.now())
    url = parts.storage.recording_url(conversation.id, 50, 0)
    assert "expires=9.000" in url
    assert parts.storage.answer("GET", url, {}, 0).headers["Accept-Ranges"] == "none"
