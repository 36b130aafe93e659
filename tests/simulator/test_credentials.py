"""Credentials look like the service's and repeat with the seed."""

import base64
import json
from random import Random
from uuid import UUID

from akapulu_async.simulator.credentials import room_name, room_token, session_id


def test_ids_are_random_uuids() -> None:
    """An id is a version 4 UUID, and no two are the same."""
    rng = Random(1)
    ids = [session_id(rng) for _ in range(100)]
    assert {UUID(each).version for each in ids} == {4}
    assert len(set(ids)) == 100


def test_a_token_is_a_jwt_for_its_room() -> None:
    """A token has a header, claims that name the room and its lifetime, and a signature."""
    header, claims, signature = room_token(Random(1), "room-1", issued_at=1000.9).split(".")
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == {"alg": "HS256", "typ": "JWT"}
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert (decoded["r"], decoded["iat"], decoded["exp"]) == ("room-1", 1000, 8200)
    assert len(base64.urlsafe_b64decode(signature + "==")) == 32


def test_tokens_differ() -> None:
    """Two tokens for the same room and second are not the same."""
    rng = Random(1)
    assert room_token(rng, "room-1", issued_at=0) != room_token(rng, "room-1", issued_at=0)


def test_the_seed_repeats_them() -> None:
    """The same seed draws the same room."""
    assert room_name(Random(5)) == room_name(Random(5)) != room_name(Random(6))
