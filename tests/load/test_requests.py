"""The connect requests of a load test."""

import json
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async import ConfigurationError, ConnectRequest
from akapulu_async.load.requests import FIELDS, _parse, in_turns, read_requests

SCENARIO, AVATAR = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
LINE = {"scenario": SCENARIO, "avatar": AVATAR}


@pytest.fixture
def write(tmp_path: Any) -> Any:
    def write(text: str) -> Any:
        path = tmp_path / "requests.jsonl"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_lines_become_requests(write: Any) -> None:
    """Each line is a request with all fields of a connect; empty lines are skipped."""
    full = {
        **LINE,
        "variables": {"name": "Ada"},
        "stt_keywords": ["Lovelace"],
        "record_conversation": True,
        "wait_for_client_ready": False,
        "voice_only_mode": True,
        "show_ai_label": False,
        "extra": {"later": 1},
    }
    assert full.keys() == FIELDS.keys()
    assert read_requests(write(f"{json.dumps(LINE)}\n\n  \n{json.dumps(full)}\n")) == (
        ConnectRequest(SCENARIO, AVATAR),
        ConnectRequest(
            SCENARIO,
            AVATAR,
            runtime_vars={"name": "Ada"},
            stt_keywords=("Lovelace",),
            record_conversation=True,
            wait_for_client_ready=False,
            voice_only_mode=True,
            show_ai_label=False,
            extra={"later": 1},
        ),
    )


def test_a_byte_order_mark_is_skipped(write: Any) -> None:
    """A file with a byte order mark is read like any other."""
    assert len(read_requests(write("\ufeff" + json.dumps(LINE)))) == 1


def test_other_line_breaks_are_content(write: Any) -> None:
    """Only a line feed ends a line; the other characters that `splitlines()` knows are part of a value."""
    name = "a\u2028b\u2029c"
    [request] = read_requests(write(json.dumps(LINE | {"variables": {"name": name}}, ensure_ascii=False) + "\r\n"))
    assert request.runtime_vars == {"name": name}
    with pytest.raises(ConfigurationError, match="line 1: not JSON"):
        read_requests(write("\x0b".join([json.dumps(LINE)] * 2)))


def test_requests_are_taken_in_turns() -> None:
    """After the last request comes the first again."""
    first, second = ConnectRequest(SCENARIO, AVATAR), ConnectRequest(AVATAR, SCENARIO)
    assert list(islice(in_turns((first, second)), 5)) == [first, second, first, second, first]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "a JSON object such as"),
        (json.dumps({"scenario": SCENARIO}), "avatar is missing"),
        (json.dumps({**LINE, "variable": {}}), "unknown field 'variable'; the fields are scenario, avatar, variables,"),
        (json.dumps({**LINE, "scenario": "x"}), "scenario must be a UUID"),
        (json.dumps({**LINE, "avatar": 3}), "avatar must be a UUID"),
        (json.dumps({**LINE, "variables": {"age": 3}}), "variables['age'] must be a text"),
        (json.dumps({**LINE, "stt_keywords": list("abcdef")}), "stt_keywords must be"),
    ],
)
def test_a_bad_line_is_named(write: Any, line: Any, said: Any) -> None:
    """An error in a line is one line with the file, the line number and the field."""
    path = write(f"{json.dumps(LINE)}\n\n{line}\n")
    with pytest.raises(ConfigurationError) as caught:
        read_requests(path)
    assert f"--requests {path}: line 3: " in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([SCENARIO, AVATAR]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.text() | st.dictionaries(st.sampled_from(sorted(FIELDS)), JSON).map(lambda fields: json.dumps(LINE | fields)))
def test_any_line_is_a_request_or_refused(line: str) -> None:
    """Any line is a request, or is refused with the place and the reason in one line."""
    try:
        said = repr(_parse(line, "here"))
    except ConfigurationError as error:
        said = str(error)
    assert said.startswith(("here: ", "ConnectRequest("))
    assert len(said.splitlines()) == 1


def test_a_file_without_lines_is_refused(write: Any) -> None:
    """A file without requests is refused."""
    with pytest.raises(ConfigurationError, match="the file is empty"):
        read_requests(write("\n\n"))


def test_a_missing_file_is_named(tmp_path: Any) -> None:
    """A file that cannot be read is named, with the reason."""
    with pytest.raises(ConfigurationError, match=r"--requests .*none: No such file"):
        read_requests(tmp_path / "none")


def test_a_file_in_another_encoding_is_refused(tmp_path: Any) -> None:
    """A file that is not UTF-8 is refused."""
    path = tmp_path / "latin"
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigurationError, match="not UTF-8 text"):
        read_requests(path)
