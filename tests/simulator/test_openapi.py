"""The simulator answers as `openapi.yaml` describes."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.core.transport import Response

pytestmark = pytest.mark.timeout(2 * 60)

SCHEMA = schemathesis.openapi.from_path(Path(__file__).parents[1] / "support" / "openapi.yaml")
CONNECT = SCHEMA["/conversations/connect/"]["POST"]
UPDATES = SCHEMA["/conversations/{conversation_session_id}/updates/"]["GET"]
DETAIL = SCHEMA["/conversations/{conversation_session_id}/"]["GET"]
OPERATIONS: dict[str, Any] = {"connect": CONNECT, "updates": UPDATES, "detail": DETAIL}
BODY: Any = {
    "scenario_id": "11111111-1111-4111-8111-111111111111",
    "avatar_id": "22222222-2222-4222-8222-222222222222",
    "runtime_vars": {"user_name": "Ann"},
    "record_conversation": True,
}
UNKNOWN = "33333333-3333-4333-8333-333333333333"
KEY = {"Authorization": "Bearer simulator-key"}


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """Run a simulator in a process of its own, as schemathesis blocks."""
    command = [sys.executable, "-m", "akapulu_async", "simulate", "--seed", "1", "--ready-time", "0"]
    with subprocess.Popen(  # noqa: S603 - our own command
        [*command, "--join-after", "0", "--speed", "0"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip().partition("=")[2]
        process.terminate()


@pytest.fixture(scope="module")
def conversation_id(base_url: str) -> str:
    """Connect a conversation for the operations that need one."""
    case = CONNECT.Case(body=BODY, media_type="application/json")
    response = case.call_and_validate(base_url=base_url, headers=KEY)
    return str(response.json()["conversation_session_id"])


def statuses(base_url: str, operation: Any, mode: GenerationMode, **fixed: Any) -> set[int]:
    """Send many drawn requests to an operation, check every answer, and return the statuses."""
    seen = set()

    @settings(derandomize=True, database=None, max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode, headers=KEY, **fixed))
    def ask(case: Any) -> None:
        response: Response = case.call_and_validate(base_url=base_url, headers=KEY)
        seen.add(response.status_code)

    ask()
    return seen


@pytest.mark.parametrize("name", ["updates", "detail"])
@pytest.mark.parametrize(("identifier", "status"), [(None, 200), (UNKNOWN, 404), ("not-an-id", 400)])
def test_answers_are_as_described(
    base_url: str, conversation_id: str, name: str, identifier: str | None, status: int
) -> None:
    """Answers about a live conversation, an unknown one and a malformed id are as described."""
    case = OPERATIONS[name].Case(path_parameters={"conversation_session_id": identifier or conversation_id})
    response = case.call(base_url=base_url, headers=KEY)
    case.validate_response(response, headers=KEY)
    assert response.status_code == status


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_valid_requests_get_documented_answers(base_url: str, name: str) -> None:
    """Any request that the schema allows gets an answer that it describes: status, type and fields."""
    expected = 200 if name == "connect" else 404
    assert expected in statuses(base_url, OPERATIONS[name], GenerationMode.POSITIVE)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_invalid_requests_are_refused(base_url: str, name: str) -> None:
    """Any request that the schema forbids gets a documented error, never a 200 or a 500."""
    seen = statuses(base_url, OPERATIONS[name], GenerationMode.NEGATIVE)
    assert 400 in seen
    assert 200 not in seen


@pytest.mark.slow
@pytest.mark.parametrize("name", ["updates", "detail"])
def test_real_conversations_get_documented_answers(base_url: str, conversation_id: str, name: str) -> None:
    """The 200 answers about a live conversation have the described fields and types."""
    path = {"conversation_session_id": conversation_id}
    assert statuses(base_url, OPERATIONS[name], GenerationMode.POSITIVE, path_parameters=path) == {200}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Basic c2ltdWxhdG9y"])
def test_the_key_is_required(base_url: str, conversation_id: str, name: str, authorization: str | None) -> None:
    """Without the key or with a wrong one, each operation answers 401 in the described form."""
    case = OPERATIONS[name].Case(
        path_parameters={"conversation_session_id": conversation_id} if name != "connect" else {},
        **({"body": BODY, "media_type": "application/json"} if name == "connect" else {}),
    )
    headers = {} if authorization is None else {"Authorization": authorization}
    response = case.call(base_url=base_url, headers=headers)
    case.validate_response(response, headers=headers)
    assert (response.status_code, response.json()["error_code"]) == (401, "AUTH_INVALID")
