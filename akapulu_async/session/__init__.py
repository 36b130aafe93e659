"""One conversation as an object: connected, watched, and ended when its context is left."""

from akapulu_async.session.session import ConversationSession
from akapulu_async.session.settings import MAX_DURATION, READY_TIMEOUT, Participant, SessionSettings
from akapulu_async.session.view import StateEvent

__all__ = ["MAX_DURATION", "READY_TIMEOUT", "ConversationSession", "Participant", "SessionSettings", "StateEvent"]
