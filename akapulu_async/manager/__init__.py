"""Many conversations on one event loop."""

from akapulu_async.manager.broadcast import EventsMissed, ManagerEvent
from akapulu_async.manager.fan_out import FanOut, Outcome
from akapulu_async.manager.manager import Client, SessionManager

__all__ = ["Client", "EventsMissed", "FanOut", "ManagerEvent", "Outcome", "SessionManager"]
