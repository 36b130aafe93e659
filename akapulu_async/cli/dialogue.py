"""A transcript as a dialogue that people read, and as JSON."""

from typing import Any

from akapulu_async.cli.screen import Screen, paragraph, plain
from akapulu_async.models.conversation import ConversationDetail

INDENT = 13
WIDTHS = 40, 100
"""The narrowest and the widest lines of a dialogue."""

STYLES = {"assistant": "green", "user": "cyan", "tool": "dim"}


def show_dialogue(detail: ConversationDetail, screen: Screen) -> None:
    """Show what was said, under the node of the scenario in which it was said."""
    if not detail.transcript_rows:
        screen.say("\nNothing was said.")
    width = min(max(screen.out.width, WIDTHS[0]), WIDTHS[1])
    for turn in detail.transcript_by_node():
        screen.say(f"\n{plain(turn.node_id or '(no node)')}", "bold")
        for row in turn.rows:
            role = f"  {plain(row.role)}: ".ljust(INDENT)
            screen.say(paragraph(role, plain(row.text) or "-", width), STYLES.get(row.role, ""))


def rows_json(detail: ConversationDetail) -> list[dict[str, Any]]:
    """Return the rows of a transcript for scripts."""
    return [{"node_id": row.node_id, "role": row.role, "text": row.text} for row in detail.transcript_rows]
