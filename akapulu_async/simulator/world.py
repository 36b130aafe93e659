"""The world: all conversations of one account, as of a given simulated second. Pure.

Nothing runs in the background: the ends of conversations are known from their plans and wait in a schedule.
"""

import base64
import json
import string
from collections import Counter, deque
from collections.abc import Mapping
from random import Random
from types import MappingProxyType
from typing import Any
from uuid import UUID

from attrs import frozen

from akapulu_async.simulator.answers import Refusal, RefusedError
from akapulu_async.simulator.conversation import Conversation, ConversationEnd
from akapulu_async.simulator.milestones import draw_offsets
from akapulu_async.simulator.plan import Meter
from akapulu_async.simulator.requests import ConnectRequest
from akapulu_async.simulator.schedule import Schedule
from akapulu_async.simulator.settings import Settings

__all__ = ["ConversationStateError", "Statistics", "UnknownConversationError", "World"]

_ROOM_ALPHABET = string.ascii_letters + string.digits
_ROOM_NAME_LENGTH = 20
_TOKEN_LIFETIME = 7200  # seconds; assumed
_DOMAIN_ID = "5f0c3b1e-8f5e-4a53-9f0e-2b1f6f6c9a10"  # the simulator's own Daily domain


class UnknownConversationError(LookupError):
    """No conversation has this id."""


class ConversationStateError(RuntimeError):
    """The conversation has ended, or its participant has not joined yet."""


@frozen(kw_only=True)
class Statistics:
    """The account, in numbers.

    Attributes:
        connected: conversations connected since the start.
        open: conversations that hold a slot now.
        peak: the most open at once.
        minutes: whole minutes counted, of ended and open conversations.
        ended: the number of ended conversations by reason.

    """

    connected: int
    open: int
    peak: int
    minutes: int
    ended: Mapping[ConversationEnd, int]


class World:
    """The conversations of one account. `now`, in simulated seconds, must not go back from call to call."""

    def __init__(self, settings: Settings, rng: Random) -> None:
        self._settings = settings
        self._rng = rng
        self._conversations: dict[str, Conversation] = {}
        self._open: dict[str, Conversation] = {}
        self._ends = Schedule()
        self._ended: Counter[ConversationEnd] = Counter()
        self._ended_minutes = 0
        self._ended_ids: deque[str] = deque()
        self._meter = Meter(settings.account)
        self._peak = 0
        self.conversations: Mapping[str, Conversation] = MappingProxyType(self._conversations)
        """The conversations kept, by id, oldest first, as of the last call with a `now`."""

    def settle(self, now: float) -> None:
        """End every conversation whose end is due."""
        while (identifier := self._ends.pop(now)) is not None:
            conversation = self._open[identifier]
            self._close(conversation, *conversation.next_end())

    def connect(self, request: ConnectRequest, now: float) -> Conversation:
        """Start a conversation.

        Raises `RefusedError` for an unknown scenario or avatar and for the plan's limits.
        """
        self.settle(now)
        self._check_known(request)
        call_cap = self._check_plan(now)
        conversation = self._plan(request, call_cap, now)
        self._conversations[conversation.id] = self._open[conversation.id] = conversation
        self._peak = max(self._peak, len(self._open))
        self._expect_end(conversation)
        self.settle(now)
        return conversation

    def find(self, identifier: str | UUID, now: float) -> Conversation:
        """Return a conversation as of now. Raises `UnknownConversationError`."""
        self.settle(now)
        conversation = self._conversations.get(identifier) if isinstance(identifier, str) else None
        conversation = conversation or self._conversations.get(str(identifier).lower())
        if conversation is None:
            raise UnknownConversationError(f"no conversation has the id {identifier}")
        return conversation

    def join(self, identifier: str | UUID, now: float, *, client_ready: bool = True) -> Conversation:
        """Let the participant join, in place of the pretend one.

        Raises `ConversationStateError` after the end.
        """
        conversation = self._find_open(identifier, now)
        if conversation.joined_at is None or conversation.joined_at > now:
            conversation.joined_at = now
        if conversation.client_ready_at is not None and conversation.client_ready_at > now:
            conversation.client_ready_at = None
        if client_ready and conversation.client_ready_at is None:
            conversation.client_ready_at = now
        conversation.stay = None
        self._expect_end(conversation)
        return conversation

    def client_ready(self, identifier: str | UUID, now: float) -> Conversation:
        """Let the participant say `client-ready`.

        Raises `ConversationStateError` unless it is in the room.
        """
        conversation = self._find_open(identifier, now)
        _check_joined(conversation, now)
        if conversation.client_ready_at is None or conversation.client_ready_at > now:
            conversation.client_ready_at = now
        self._expect_end(conversation)
        return conversation

    def leave(self, identifier: str | UUID, now: float) -> Conversation:
        """Let the participant leave, which ends the conversation. Does nothing if it has ended.

        Raises `ConversationStateError` if nobody has joined.
        """
        conversation = self.find(identifier, now)
        if conversation.ended_at is None:
            _check_joined(conversation, now)
            self._close(conversation, now, ConversationEnd.USER_LEFT)
        return conversation

    def end(self, identifier: str | UUID, now: float, reason: ConversationEnd) -> Conversation:
        """End a conversation. Does nothing if it has ended."""
        conversation = self.find(identifier, now)
        if conversation.ended_at is None:
            self._close(conversation, now, reason)
        return conversation

    def open_count(self, now: float) -> int:
        """Return the number of open conversations."""
        self.settle(now)
        return len(self._open)

    def statistics(self, now: float) -> Statistics:
        """Return the account in numbers."""
        self.settle(now)
        return Statistics(
            connected=len(self._open) + self._ended.total(),
            open=len(self._open),
            peak=self._peak,
            minutes=self._minutes(now),
            ended=MappingProxyType(dict(self._ended)),
        )

    def _find_open(self, identifier: str | UUID, now: float) -> Conversation:
        conversation = self.find(identifier, now)
        if conversation.end_reason is not None:
            raise ConversationStateError(f"the conversation has ended: {conversation.end_reason.value}")
        return conversation

    def _check_known(self, request: ConnectRequest) -> None:
        known = self._settings
        if known.scenarios is not None and request.scenario_id not in known.scenarios:
            raise RefusedError(Refusal(404, "SCENARIO_NOT_FOUND", "No scenario has this scenario_id."))
        if known.avatars is not None and request.avatar_id not in known.avatars:
            raise RefusedError(Refusal(404, "AVATAR_NOT_FOUND", "No avatar has this avatar_id."))

    def _check_plan(self, now: float) -> float | None:
        plan = self._settings.account
        if plan.max_concurrent is not None and len(self._open) >= plan.max_concurrent:
            raise RefusedError(self._settings.concurrency_refusal)
        if plan.minutes is None:
            return plan.call_cap(0)
        used = self._minutes(now)
        if used >= plan.minutes:
            raise RefusedError(self._settings.minutes_refusal)
        return plan.call_cap(used)

    def _plan(self, request: ConnectRequest, call_cap: float | None, now: float) -> Conversation:
        settings, rng = self._settings, self._rng
        room = _room_name(rng)
        joins_at = now + settings.join_after if settings.auto_join else None
        return Conversation(
            id=_session_id(rng),
            request=request,
            room_url=f"https://simulator.daily.co/{room}",
            token=room_token(rng, room, issued_at=settings.started_at.timestamp() + now),
            connected_at=now,
            offsets=draw_offsets(rng, settings.ready_time(rng)),
            plan=settings.account,
            call_cap=call_cap,
            script=settings.script,
            end_with_script=settings.end_with_script,
            joined_at=joins_at,
            client_ready_at=joins_at,
            stay=settings.call_seconds if settings.auto_join else None,
        )

    def _expect_end(self, conversation: Conversation) -> None:
        self._ends.set(conversation.id, conversation.next_end()[0])
        self._meter.expect(conversation)

    def _close(self, conversation: Conversation, at: float, reason: ConversationEnd) -> None:
        conversation.end(at, reason)
        del self._open[conversation.id]
        self._ends.drop(conversation.id)
        self._meter.drop(conversation.id)
        self._ended[reason] += 1
        self._forget_old(conversation.id)
        self._ended_minutes += self._settings.account.whole_minutes(conversation.call_seconds(at))

    def _forget_old(self, just_ended: str) -> None:
        kept = self._settings.conversations_kept
        if kept is None:
            return
        self._ended_ids.append(just_ended)
        while len(self._ended_ids) > kept:
            del self._conversations[self._ended_ids.popleft()]

    def _minutes(self, now: float) -> int:
        return self._ended_minutes + self._meter.total(now)


def _check_joined(conversation: Conversation, now: float) -> None:
    if conversation.joined_at is None or conversation.joined_at > now:
        raise ConversationStateError("the participant has not joined yet: call join() first")


def _session_id(rng: Random) -> str:
    """Return a random UUID."""
    return str(UUID(int=rng.getrandbits(128), version=4))


def _room_name(rng: Random) -> str:
    """Return a random room name."""
    return "".join(rng.choices(_ROOM_ALPHABET, k=_ROOM_NAME_LENGTH))


def room_token(rng: Random, room: str, *, issued_at: float) -> str:
    """Return a token for a room, in the form of a JWT with a random signature, issued at a Unix time."""
    claims = {"r": room, "d": _DOMAIN_ID, "iat": int(issued_at), "exp": int(issued_at) + _TOKEN_LIFETIME}
    parts = (_json({"alg": "HS256", "typ": "JWT"}), _json(claims), rng.randbytes(32))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
