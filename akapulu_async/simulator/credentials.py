"""Credentials: ids, room names and room tokens drawn from a seeded generator, so that runs repeat. Pure."""

import base64
import json
import string
from random import Random
from typing import Any
from uuid import UUID

__all__ = ["room_name", "room_token", "session_id"]

_ROOM_ALPHABET = string.ascii_letters + string.digits
_ROOM_NAME_LENGTH = 20
_TOKEN_LIFETIME = 7200  # seconds; assumed
_DOMAIN_ID = "5f0c3b1e-8f5e-4a53-9f0e-2b1f6f6c9a10"  # the simulator's own Daily domain


def session_id(rng: Random) -> str:
    """Return a random UUID."""
    return str(UUID(int=rng.getrandbits(128), version=4))


def room_name(rng: Random) -> str:
    """Return a random room name."""
    return "".join(rng.choices(_ROOM_ALPHABET, k=_ROOM_NAME_LENGTH))


def room_token(rng: Random, room: str, *, issued_at: float) -> str:
    """Return a token for a room: a JWT in form, issued at a Unix time.

    Its signature is noise, for nobody checks it.
    """
    claims = {"r": room, "d": _DOMAIN_ID, "iat": int(issued_at), "exp": int(issued_at) + _TOKEN_LIFETIME}
    parts = (_json({"alg": "HS256", "typ": "JWT"}), _json(claims), rng.randbytes(32))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
