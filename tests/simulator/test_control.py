"""The simulator is controlled over HTTP."""

from typing import Any

import pytest

from akapulu_async.simulator import Fault
from akapulu_async.simulator.control import CONTROLS

UNKNOWN = "33333333-3333-4333-8333-333333333333"


async def test_a_participant_by_remote_control(open_sim: Any) -> None:
    """Join, client-ready, leave and end work as the methods do, and return the conversation."""
    async with open_sim(auto_join=False, ready_time=1) as user:
        identifier = await user.connect(extra_field=1)
        path = f"conversations/{identifier}"
        _, view = await user.control("POST", f"{path}/join", json={"client_ready": False})
        assert (view["state"], view["joined_at"], view["client_ready_at"]) == ("starting", 0, None)
        await user.control("POST", f"{path}/client-ready")
        await user.control("POST", "advance", json={"seconds": 5})
        status, view = await user.control("GET", path)
        assert (status, view["state"], view["progress"]["percent"]) == (200, "ready", 100.0)
        assert view["request"]["extra_field"] == 1
        _, view = await user.control("POST", f"{path}/leave")
        assert (view["state"], view["end_reason"], view["ended_at"]) == ("ended", "user_left", 5)
        assert (await user.control("GET", "conversations"))[1] == [view]


async def test_an_end_by_remote_control(open_sim: Any) -> None:
    """The reason can be given; the default is an ending node."""
    async with open_sim() as user:
        first, second = await user.connect(), await user.connect()
        _, view = await user.control("POST", f"conversations/{first}/end", json={"reason": "expired"})
        assert view["end_reason"] == "expired"
        _, view = await user.control("POST", f"conversations/{second}/end")
        assert view["end_reason"] == "scenario_ended"


async def test_an_end_that_is_forgotten_at_once(open_sim: Any) -> None:
    """The answer has the ended conversation, also if none is kept."""
    async with open_sim(conversations_kept=0) as user:
        status, view = await user.control("POST", f"conversations/{await user.connect()}/end")
        assert (status, view["state"]) == (200, "ended")
        assert (await user.control("GET", "conversations"))[1] == []


async def test_faults_by_remote_control(open_sim: Any) -> None:
    """Faults are added, listed and removed, one or all."""
    async with open_sim() as user:
        fault = {"route": "updates", "status": 503, "times": None, "body": {"a": 1}}
        status, first = await user.control("POST", "faults", json=fault)
        assert (status, first["id"], first["hits"]) == (201, 1, 0)
        await user.control("POST", "faults", json={"delay": 1})
        assert (await user.updates(UNKNOWN)) == (503, {"a": 1})
        assert [each["hits"] for each in (await user.control("GET", "faults"))[1]] == [1, 0]
        assert (await user.control("DELETE", "faults/1"))[0] == 204
        assert (await user.control("DELETE", "faults/1"))[0] == 404
        assert len(user.sim.faults) == 1
        assert (await user.control("DELETE", "faults"))[0] == 204
        assert user.sim.faults == ()


async def test_the_account_in_numbers(open_sim: Any) -> None:
    """Stats count conversations, minutes and requests; requests lists each one."""
    async with open_sim(max_concurrent=1) as user:
        await user.connect()
        assert (await user.updates(UNKNOWN))[0] == 404
        _, stats = await user.control("GET", "stats")
        assert (stats["connected"], stats["open"], stats["peak"], stats["minutes"]) == (1, 1, 1, 0)
        assert (stats["requests"]["all"], stats["requests"]["updates"]) == (2, 1)
        _, requests = await user.control("GET", "requests")
        assert [each["status"] for each in requests] == [200, 404]


async def test_controls_are_listed_where_they_are(open_sim: Any) -> None:
    """`GET /_simulator/` lists every control, and each one exists."""
    async with open_sim(after_end="gone") as user:
        status, listed = await user.control("GET", "")
        assert (status, listed["controls"]) == (200, CONTROLS)
        for control in CONTROLS:
            method, _, path = control.partition(" /_simulator/")
            path = path.replace("{id}", await user.connect()).replace("{number}", "1")
            if path == "faults/1":
                user.sim.add_fault(Fault(status=500))
            for each in user.sim.conversations if path == "settle" else ():
                user.sim.end(each)
                await user.updates(each)
            answered, _ = await user.control(method, path)
            assert answered != 404, control


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "else", None, 404),
        ("POST", f"conversations/{UNKNOWN}/join", None, 404),
        ("POST", "conversations/{id}/dance", None, 404),
        ("POST", "conversations/{id}/client-ready", None, 409),
        ("POST", "conversations/{id}/end", {"reason": "boredom"}, 400),
        ("POST", "faults", {"colour": "red"}, 400),
        ("POST", "faults", {}, 400),
        ("PUT", "faults", {}, 404),
        ("POST", "advance", {}, 400),
        ("POST", "advance", {"seconds": -1}, 400),
        ("POST", "advance", {"seconds": "x"}, 400),
        ("POST", "advance", {"seconds": None}, 400),
        ("POST", "advance", {"seconds": True}, 400),
        ("POST", "advance", {"seconds": "5"}, 400),
        ("POST", "advance", {"seconds": 10**400}, 400),
        ("POST", "advance", {"seconds": 1, "minutes": 1}, 400),
        ("POST", "conversations/{id}/join", {"client-ready": False}, 400),
        ("POST", "conversations/{id}/join", {"client_ready": "no"}, 400),
        ("POST", "conversations/{id}/join", {"client_ready": None}, 400),
        ("POST", "conversations/{id}/client-ready", {"reason": "x"}, 400),
        ("POST", "conversations/{id}/end", {"cause": "expired"}, 400),
        ("POST", "advance", [], 400),
        ("POST", "settle", {"timeout": "x"}, 400),
        ("POST", "settle", {"timeout": None}, 400),
        ("POST", "settle", {"seconds": 5}, 400),
        ("POST", "settle", {"conversation_id": UNKNOWN}, 404),
        ("POST", "settle", {"conversation_id": 5}, 404),
    ],
)
async def test_wrong_controls_are_refused(open_sim: Any, method: str, path: str, body: Any, status: int) -> None:
    """A wrong path, id, state or value gets its status and an error message."""
    async with open_sim(auto_join=False) as user:
        path = path.replace("{id}", await user.connect())
        answered, answer = await user.control(method, path, json=body)
        assert (answered, bool(answer["error"])) == (status, True)


@pytest.mark.parametrize(("origin", "status"), [("{own}", 200), ("http://evil.example", 403), ("null", 403)])
async def test_web_pages_cannot_control_it(open_sim: Any, origin: str, status: int) -> None:
    """A request with another origin than the simulator's is refused and changes nothing."""
    async with open_sim() as user:
        origin = origin.replace("{own}", user.sim.base_url.removesuffix("/api"))
        answered, _ = await user.control("POST", "advance", json={"seconds": 5}, headers={"Origin": origin})
        assert (answered, user.sim.now) == (status, 5 if status == 200 else 0)


async def test_control_needs_no_key_and_is_not_counted(open_sim: Any) -> None:
    """Control requests are not recorded and not hit by faults."""
    async with open_sim() as user:
        await user.control("POST", "faults", json={"status": 500, "times": None})
        assert (await user.control("GET", "stats"))[0] == 200
        assert not user.sim.requests
