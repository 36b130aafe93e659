"""The settings of a session."""

import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import attrs

from akapulu_async.checks import check_callable, check_kind, check_limit, checked_by
from akapulu_async.errors import ConfigurationError
from akapulu_async.models.connection import Connection
from akapulu_async.sansio.lifecycle import Signals
from akapulu_async.sansio.polling import PollPolicy
from akapulu_async.sansio.signals import UpdateSignals

Participant = Callable[[Connection], AbstractAsyncContextManager[object]]
"""Takes the connection and returns an async context manager: entering it joins the room, leaving it leaves the room."""

READY_TIMEOUT = 100.0
"""Seconds within which the bot must get ready, as in the vendor's React package [seen]."""

MAX_DURATION = 7200.0
"""Seconds after which a session ends if the service never reports its end. Plans allow a few minutes a call [seen]."""


def _check_signals(_: object, __: object, signals: object) -> None:
    for name in ("reads_as_join", "reads_as_end", "refused"):
        if not callable(getattr(signals, name, None)):
            raise ConfigurationError(
                f"signals must be an UpdateSignals or have its methods; {type(signals).__name__} has no {name}()"
            )


@attrs.frozen(kw_only=True, eq=False, repr=False)
class SessionSettings:
    """The settings of a session; see `AkapuluClient.session()`."""

    poll: PollPolicy = attrs.field(factory=PollPolicy, validator=checked_by(check_kind, PollPolicy))
    ready_timeout: float | None = attrs.field(default=READY_TIMEOUT, validator=checked_by(check_limit))
    max_duration: float | None = attrs.field(default=MAX_DURATION, validator=checked_by(check_limit))
    participant: Participant | None = attrs.field(
        default=None, validator=attrs.validators.optional(checked_by(check_callable))
    )
    signals: Signals = attrs.field(factory=UpdateSignals, validator=_check_signals)
    rng: Callable[[], float] = random.random
    """Returns random numbers from 0 to 1."""

    turn: Callable[[], Awaitable[None]] | None = None
    """Awaited before each poll, for a share of a poll budget. None: polls are not limited."""
