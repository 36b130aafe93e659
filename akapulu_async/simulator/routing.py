"""Routing: from a request's target to a route's name and a conversation's id. Pure."""

from typing import Literal, TypeAlias

from attrs import frozen

__all__ = ["API_PREFIX", "METHODS", "Match", "Route", "match"]

Route: TypeAlias = Literal["connect", "updates", "detail", "recording", "storage"]
"""The names of what the simulator serves. `storage` is the host behind a recording's signed URL."""

API_PREFIX = "/api"

METHODS: dict[Route, tuple[str, ...]] = {
    "connect": ("POST",),
    "updates": ("GET",),
    "detail": ("GET",),
    "recording": ("GET", "HEAD"),
    "storage": ("GET", "HEAD"),
}
_CONVERSATIONS = f"{API_PREFIX}/conversations/"
_CONNECT = f"{API_PREFIX}/conversations/connect"


@frozen
class Match:
    """What a path leads to.

    Attributes:
        route: None for a path that leads nowhere.
        conversation_id: as it stands in the path, in lower case; None where the route has none.
        slash: whether the path ends in the slash that every path of the service ends in (seen).

    """

    route: Route | None = None
    conversation_id: str | None = None
    slash: bool = True


_NOWHERE = Match()
_BY_LAST_PART: dict[str, Route] = {"updates": "updates", "recording": "recording"}


def match(target: str) -> Match:
    """Return what a request target, path and query, leads to."""
    path = target.partition("?")[0]
    slash = path.endswith("/")
    path = path.removesuffix("/")
    if path == _CONNECT:
        return Match("connect", None, slash)
    if not path.startswith(_CONVERSATIONS):
        return _NOWHERE
    identifier, *rest = path[len(_CONVERSATIONS) :].split("/")
    if not identifier or len(rest) > 1:
        return _NOWHERE
    route = _BY_LAST_PART.get(rest[0]) if rest else "detail"
    return Match(route, identifier.lower(), slash) if route else _NOWHERE
