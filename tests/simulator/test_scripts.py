"""Scripts are spoken row by row."""

import json

from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.simulator.scripts import DEFAULT_SCRIPT, Script, ScriptRow


def test_rows_are_spoken_in_their_time() -> None:
    """A row appears in its second, not before."""
    script = Script([ScriptRow(role="assistant", seconds=1), {"role": "user", "seconds": 2}])
    assert [len(script.spoken(at)) for at in (0, 0.9, 1, 2.9, 3, 99)] == [0, 0, 1, 1, 2, 2]
    assert script.duration == 3


def test_no_rows_say_nothing() -> None:
    """An empty script lasts 0 s, and the call stays `bot ready`."""
    script = Script([])
    assert (script.duration, script.spoken(99), script.progress(99).text) == (0, (), "bot ready")


def test_placeholders_are_filled_at_any_depth() -> None:
    """`{{runtime.*}}` is filled in texts, lists and objects; an unknown name stays."""
    row = ScriptRow(role="tool", content={"a": ["{{runtime.name}}", 1], "b": "{{ runtime.other }}"})
    assert row.render({"name": "Ann"})["content"] == {"a": ["Ann", 1], "b": "{{ runtime.other }}"}


def test_only_tool_rows_have_tool_fields() -> None:
    """Fields that are not set, and a content of None, are left out of the row."""
    calling = ScriptRow(role="assistant", content=None, tool_calls=({"id": "1"},))
    assert calling.render({}) == {"role": "assistant", "node_id": "main", "tool_calls": [{"id": "1"}]}
    assert ScriptRow(role="user", content="Hi").render({}) == {
        "role": "user", "content": "Hi", "node_id": "main"
    }  # fmt: skip


def test_the_text_tells_the_node_from_the_second_on() -> None:
    """`bot ready` stays until the node changes, and the call stays ready and complete."""
    progress = [DEFAULT_SCRIPT.progress(at) for at in (0, 13.9, 14, 31)]
    assert [each.text for each in progress] == [
        "bot ready", "bot ready", "node changed: lookup", "node changed: lookup"
    ]  # fmt: skip
    assert all(each.call_is_ready and each.percent == 100 for each in progress)


def test_the_default_script_is_a_dialogue() -> None:
    """It has three nodes, all three roles, and a call whose result is structured content; it is JSON."""
    rows = [row.render({"user_name": "Ann"}) for row in DEFAULT_SCRIPT.rows]
    assert len({row["node_id"] for row in rows}) >= 3
    assert {row["role"] for row in rows} == {"assistant", "user", "tool"}
    at = [row["role"] for row in rows].index("tool")
    asking, tool = rows[at - 1 : at + 1]
    assert tool["content"]["customer"] == "Ann"
    assert (asking["role"], [call["id"] for call in asking["tool_calls"]]) == ("assistant", [tool["tool_call_id"]])
    assert ["tool_calls" in row for row in rows].count(True) == ["tool_call_id" in row for row in rows].count(True) == 1
    assert json.loads(json.dumps(rows)) == rows
    assert DEFAULT_SCRIPT.duration == 40


@given(st.lists(st.floats(0, 100)), st.floats(0, 1e4), st.floats(0, 1e4))
def test_nothing_is_ever_unsaid(seconds: list[float], one: float, other: float) -> None:
    """The rows spoken by an earlier second are the first of those spoken by a later one."""
    script = Script([ScriptRow(role="user", content=str(each), seconds=each) for each in seconds])
    earlier, later = script.spoken(min(one, other)), script.spoken(max(one, other))
    assert later[: len(earlier)] == earlier
