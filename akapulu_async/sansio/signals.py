"""What an update means: every assumption about the service's words and its silence, in one value."""

import re

import attrs

from akapulu_async.sansio.lifecycle import EndReason

LONGEST_TEXT = 1000
"""Characters: a longer text means nothing. Those seen have three words, and what a pattern takes to search may grow
faster than the text, while the event loop waits."""


@attrs.frozen
class UpdateSignals:
    """How words and refusals of the service are read. Replace any part: `UpdateSignals(ended=re.compile(...))`.

    The list of the service's texts is not published, and neither is what it answers after an end. So a text that no
    pattern knows means nothing, and no text ever makes a session ready: only `call_is_ready` does [documented].
    Patterns are searched for anywhere in the text, if it has no more than a thousand characters.
    """

    joined: re.Pattern[str] = re.compile(r"(?i)\bjoined\b.*\broom\b")
    """A join to the room. `bot joined daily room` was seen; that other joins read alike is assumed."""

    duration_limit_reached: re.Pattern[str] = re.compile(r"(?i)\bduration[ _]limit[ _]reached\b")
    """The end by the cap on a call's length. The name is documented for the React package's timeouts; that it
    appears in a text is assumed."""

    participant_join_timeout: re.Pattern[str] = re.compile(r"(?i)\bparticipant[ _]join[ _]timeout\b")
    """The end because nobody joined. Weight as above."""

    ended: re.Pattern[str] = re.compile(
        r"(?i)^(the )?(conversation|call|session)( has| is| was)? (ended|completed|expired|over)\W*$"
    )
    """The end for no special reason: the whole text says no more than that. Assumed."""

    gone_before_ready: EndReason | None = EndReason.FAILED
    """What a 404 or 410 means before the bot was ready. Assumed: the service does not know the conversation, and
    will not. None: a failed poll, which the poll policy bears for a while."""

    gone_after_ready: EndReason | None = EndReason.COMPLETED
    """What a 404 or 410 means after the bot was ready. Assumed: the conversation is over. None: as above."""

    def reads_as_join(self, text: str) -> bool:
        """Whether the text reports that somebody joined the room."""
        return len(text) <= LONGEST_TEXT and self.joined.search(text) is not None

    def reads_as_end(self, text: str) -> EndReason | None:
        """Return why the conversation ended, if the text reports that."""
        if len(text) > LONGEST_TEXT:
            return None
        if self.duration_limit_reached.search(text):
            return EndReason.DURATION_LIMIT_REACHED
        if self.participant_join_timeout.search(text):
            return EndReason.PARTICIPANT_JOIN_TIMEOUT
        return EndReason.COMPLETED if self.ended.search(text) else None

    def gone(self, *, ready: bool) -> EndReason | None:
        """Return what it means that the service knows no such conversation."""
        return self.gone_after_ready if ready else self.gone_before_ready
