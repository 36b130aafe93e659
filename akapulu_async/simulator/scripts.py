"""Scripts: what is said in a simulated conversation, and when. Pure."""

import itertools
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import asdict, field, frozen

from akapulu_async.simulator.checks import number
from akapulu_async.simulator.milestones import CALL_READY, ConversationProgress

__all__ = ["DEFAULT_SCRIPT", "Script", "ScriptRow"]

_PLACEHOLDER = re.compile(r"\{\{\s*runtime\.([^{}]*?)\s*\}\}")


@frozen(kw_only=True)
class ScriptRow:
    """One row of the transcript.

    Attributes:
        role: `user`, `assistant`, `tool` or any other text.
        content: a text or, for tools, any JSON value (seen); None leaves the field out (seen). `{{runtime.name}}` in
            its texts is replaced from the conversation's `runtime_vars` (documented); unknown names stay.
        node_id: the node the conversation is in.
        seconds: simulated seconds between the row before (or the call's start) and this one.
        tool_call_id: for tool rows, which have the result of a call; None leaves the field out.
        tool_calls: for assistant rows, which make the calls (inferred); None leaves the field out.

    """

    role: str
    content: Any = ""
    node_id: str = "main"
    seconds: float = field(default=5.0, validator=number())
    tool_call_id: str | None = None
    tool_calls: tuple[Any, ...] | None = None

    def render(self, runtime_vars: Mapping[str, str]) -> dict[str, Any]:
        """Return the row of `transcript_rows` with its placeholders filled."""
        row = asdict(self, filter=lambda attribute, value: attribute.name != "seconds" and value is not None)
        return {name: _fill(value, runtime_vars) for name, value in row.items()}


class Script:
    """Rows in order, with the second of the call when each is spoken."""

    def __init__(self, rows: Iterable[ScriptRow | Mapping[str, Any]]) -> None:
        self.rows = tuple(row if isinstance(row, ScriptRow) else ScriptRow(**row) for row in rows)
        self._times = tuple(itertools.accumulate(row.seconds for row in self.rows))
        nodes = [
            (time, row.node_id)
            for previous, row, time in zip((None, *self.rows), self.rows, self._times, strict=False)
            if previous is not None and previous.node_id != row.node_id
        ]
        self._node_times = tuple(time for time, _ in nodes)
        self._progress = (
            CALL_READY,
            *(ConversationProgress(100.0, f"node changed: {node}", call_is_ready=True) for _, node in nodes),
        )

    @property
    def duration(self) -> float:
        """Seconds from the call's start to the last row; 0 without rows."""
        return self._times[-1] if self._times else 0.0

    def spoken(self, elapsed: float) -> tuple[ScriptRow, ...]:
        """Return the rows spoken in the first `elapsed` seconds of the call."""
        return self.rows[: bisect_right(self._times, elapsed)]

    def progress(self, elapsed: float) -> ConversationProgress:
        """Return the progress that `/updates/` reports `elapsed` seconds into the call.

        That the text keeps changing during the call is documented; that it names the node is invented. `bot ready`
        stays until the second node.
        """
        return self._progress[bisect_right(self._node_times, elapsed)]


def _fill(value: Any, runtime_vars: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda found: runtime_vars.get(found[1], found[0]), value)
    if isinstance(value, Mapping):
        return {name: _fill(inner, runtime_vars) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_fill(inner, runtime_vars) for inner in value]
    return value


_LOOKUP = "call_order_lookup_1"

DEFAULT_SCRIPT = Script(
    (
        ScriptRow(
            role="assistant", node_id="greeting", seconds=1, content="Hello! I am here to help. How are you today?"
        ),
        ScriptRow(
            role="user", node_id="greeting", seconds=4, content="Fine, thanks. I have a question about my order."
        ),
        ScriptRow(role="assistant", node_id="greeting", seconds=3, content="Gladly. Which order is it about?"),
        ScriptRow(role="user", node_id="lookup", seconds=6, content="The one I placed last Tuesday, number 1042."),
        ScriptRow(
            role="assistant",
            node_id="lookup",
            seconds=2,
            content="One moment, I am looking it up.",
            tool_calls=(
                {
                    "id": _LOOKUP,
                    "type": "function",
                    "function": {"name": "order_lookup", "arguments": '{"order_number": "1042"}'},
                },
            ),
        ),
        ScriptRow(
            role="tool",
            node_id="lookup",
            seconds=2,
            tool_call_id=_LOOKUP,
            content={"order_number": "1042", "status": "shipped", "customer": "{{runtime.user_name}}"},
        ),
        ScriptRow(role="assistant", node_id="lookup", seconds=3, content="It was shipped yesterday and is on its way."),
        ScriptRow(role="user", node_id="lookup", seconds=5, content="Great. When will it be here?"),
        ScriptRow(role="assistant", node_id="lookup", seconds=3, content="Tomorrow, before noon."),
        ScriptRow(role="user", node_id="closing", seconds=5, content="Perfect, that is all I wanted to know."),
        ScriptRow(role="assistant", node_id="closing", seconds=3, content="You are welcome. Have a good day!"),
        ScriptRow(role="user", node_id="closing", seconds=3, content="You too. Goodbye!"),
    )
)
"""A short dialogue over three nodes with one tool call; it lasts 40 s. Invented, but for the rows' shape."""
