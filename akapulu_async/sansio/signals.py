"""The meaning of polls: all assumptions about the service's texts and refusals, in one value."""

import re

import attrs

from akapulu_async.errors import ApiError
from akapulu_async.sansio.lifecycle import EndReason
from akapulu_async.sansio.retry import is_temporary

LONGEST_TEXT = 1000
"""Characters: longer texts are ignored. Those seen have three words, and a pattern's search time may grow faster than
the text, while the event loop waits."""


@attrs.frozen
class UpdateSignals:
    """How the service's texts and refusals are read. Replace any part: `UpdateSignals(ended=re.compile(...))`.

    Akapulu documents neither its status texts nor its answer after an end. So a text that no pattern matches means
    nothing, and no text makes a session ready: only `call_is_ready` does [documented]. A pattern may match anywhere in
    a text of up to 1,000 characters.

    A refusal that the service did not write (`ApiError.from_service`), such as a gateway's web page, an empty body or a
    redirect, says nothing about the conversation: it is a failed poll, and so are 408, 429 and 5xx. Any other refusal
    ends the session as failed, except the ones below. `PollPolicy.max_failures` limits failed polls.
    """

    joined: re.Pattern[str] = re.compile(r"(?i)\bjoined\b.*\broom\b|^conversation engine joined the call\b")
    """Somebody joined the room. `bot joined daily room` and a text that begins with `Conversation engine joined the
    call` were seen; similar texts for other joins are assumed."""

    duration_limit_reached: re.Pattern[str] = re.compile(r"(?i)\bduration[ _]limit[ _]reached\b")
    """The conversation reached its maximum duration. The name is documented for the React package's timeouts; its use
    in a text is assumed."""

    participant_join_timeout: re.Pattern[str] = re.compile(r"(?i)\bparticipant[ _]join[ _]timeout\b")
    """The conversation ended because nobody joined. Source as above."""

    ended: re.Pattern[str] = re.compile(
        r"(?i)^(the )?(conversation|call|session)( has| is| was)? (ended|completed|expired|over)\W*$"
    )
    """The conversation ended: the whole text says only that. Assumed."""

    gone_before_ready: EndReason | None = None
    """The end reason for a 404 or 410 before the bot is ready. None counts it as a failed poll. Assumed: a conversation
    that was just made may not be visible everywhere yet."""

    passing_before_ready: frozenset[int] = frozenset({403, 409, 423, 425, 499})
    """Other statuses that count as failed polls before the bot is ready. Assumed, for the same reason."""

    gone_after_ready: EndReason | None = EndReason.COMPLETED
    """The end reason for a 404 or 410 after the bot was ready. Assumed: the conversation is over. None as above."""

    def reads_as_join(self, text: str) -> bool:
        """Return True if the text reports that somebody joined the room."""
        return len(text) <= LONGEST_TEXT and self.joined.search(text) is not None

    def reads_as_end(self, text: str) -> EndReason | None:
        """Return the end reason if the text reports an end, else None."""
        if len(text) > LONGEST_TEXT:
            return None
        if self.duration_limit_reached.search(text):
            return EndReason.DURATION_LIMIT_REACHED
        if self.participant_join_timeout.search(text):
            return EndReason.PARTICIPANT_JOIN_TIMEOUT
        return EndReason.COMPLETED if self.ended.search(text) else None

    def refused(self, error: ApiError, *, ready: bool) -> EndReason | None:
        """Return the end reason for a refused poll; None counts it as a failed poll.

        By status: an error code about a limit says nothing about a conversation that already has its slot.
        """
        if is_temporary(error):
            return None
        if error.status in {404, 410}:
            return self.gone_after_ready if ready else self.gone_before_ready
        return EndReason.FAILED if ready or error.status not in self.passing_before_ready else None
