"""`Simulator`: its options and promises."""

import asyncio
import inspect
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from akapulu_async.simulator import ConversationEnd, ConversationState, Plan, Refusal, Script, Simulator
from akapulu_async.simulator.settings import LIMITS, Settings
from akapulu_async.simulator.simulator import OPTIONS

UNKNOWN = "33333333-3333-4333-8333-333333333333"


def test_constructing_needs_no_loop_and_opens_nothing() -> None:
    """It can be made without a running loop, and has an address only while it is entered."""
    sim = Simulator()
    assert sim.api_key == "simulator-key"
    with pytest.raises(RuntimeError, match="async with"):
        _ = sim.base_url


@pytest.mark.parametrize(
    "options",
    [
        {"speed": -1},
        {"speed": "x"},
        {"speed": None},
        {"max_concurrent": -1},
        {"minutes": "x"},
        {"after_end": "x"},
        {"after_end": None},
        {"ready_time": -1},
        {"ready_time": "5"},
        {"ready_time": None},
        {"plan": "free"},
        {"scenarios": UNKNOWN},
        {"avatars": 5},
        {"avatars": ["x"]},
        {"requests_kept": -1},
        {"port": 70000},
        {"storage_port": -1},
        {"host": None},
        {"api_key": "sch\u00f6n"},
        {"api_key": None},
        {"auto_join": "no"},
        {"end_with_script": 1},
        {"django_errors": 1},
        {"recording_ranges": "no"},
        {"join_after": None},
        {"seed": "x"},
        {"epoch": "2026-01-01"},
        {"epoch": datetime(2026, 1, 1)},  # noqa: DTZ001 - the case in question
        {"script": 5},
        {"script": [{"colour": "red"}]},
        {"concurrency_refusal": 429},
        {"storage_url": 5},
    ],
    ids=str,
)
def test_wrong_options_are_refused(options: Any) -> None:
    """An option of a wrong type or out of range raises ValueError or TypeError beginning with its name."""
    with pytest.raises((ValueError, TypeError), match="^" + next(iter(options))):
        Simulator(**options)


ROWS = Script([{"role": "user"}])
AFTER_AN_HOUR = datetime(2026, 1, 1, 1, tzinfo=UTC)
CHOSEN: dict[str, tuple[Any, ...]] = {  # a value, and what it becomes where that is something else
    "host": ("localhost",),
    "port": (1234,),
    "storage_port": (1235,),
    "storage_url": ("http://a.example/", "http://a.example"),
    "api_key": ("my key",),
    "speed": (3.0,),
    "seed": (7,),
    "epoch": (AFTER_AN_HOUR,),
    "plan": (Plan.free(),),
    "max_concurrent": (5,),
    "minutes": (6,),
    "max_call_seconds": (7.0,),
    "participant_join_timeout": (8.0,),
    "max_lifetime": (None,),
    "scenarios": ([UUID(UNKNOWN)], frozenset({UNKNOWN})),
    "avatars": ({UNKNOWN}, frozenset({UNKNOWN})),
    "ready_time": (max,),
    "auto_join": (False,),
    "join_after": (1.0,),
    "call_seconds": (None,),
    "script": (ROWS,),
    "end_with_script": (True,),
    "django_errors": (True,),
    "after_end": ("gone",),
    "recording_form": ("bytes",),
    "recording_format": ("wav",),
    "recording_delay": (4.0,),
    "recording_seconds": (5.0,),
    "recording_size": (60_000,),
    "recording_ranges": (False,),
    "recording_not_ready_status": (425,),
    "signed_url_lifetime": (8.0,),
    "concurrency_refusal": (Refusal(430, "A", "B"),),
    "minutes_refusal": (Refusal(431, "A", "B"),),
    "requests_kept": (None,),
    "conversations_kept": (5,),
}


NEEDS = {"recording_seconds": {"recording_format": "wav"}}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_arrives(name: str) -> None:
    """Each option has the default of its setting, and a value given for it becomes that setting."""
    given, expected = {**NEEDS.get(name, {}), name: CHOSEN[name][0]}, CHOSEN[name][-1]
    setting = getattr(Simulator()._settings, name)
    assert setting != expected
    assert getattr(Simulator(**given)._settings, name) == expected
    assert getattr(Settings(), name) == setting
    if name in LIMITS:
        assert getattr(Simulator(**given)._settings.account, name) == expected


def test_there_is_no_other_option() -> None:
    """Every argument of the simulator is a setting."""
    assert tuple(inspect.signature(Simulator).parameters) == OPTIONS


async def test_it_is_entered_once_at_a_time() -> None:
    """Entering it twice raises RuntimeError; after it was left it has no address and can be entered again."""
    sim = Simulator()
    async with sim:
        with pytest.raises(RuntimeError, match="entered already"):
            await sim.__aenter__()
        assert sim.base_url
    with pytest.raises(RuntimeError, match="async with"):
        _ = sim.base_url
    with pytest.raises(RuntimeError, match="async with"):
        _ = sim.storage_url
    async with sim:
        assert sim.base_url


async def test_ready_after_a_while_without_any_help(open_sim: Any) -> None:
    """As time passes, a conversation becomes ready and ends by itself."""
    async with open_sim(ready_time=11, call_seconds=5) as user:
        identifier = await user.connect()
        seen = []
        for _ in range(3):
            seen.append(user.sim.conversations[identifier].state)
            user.sim.advance(12)
        view = user.sim.conversations[identifier]
        assert seen == [ConversationState.STARTING, ConversationState.READY, ConversationState.ENDED]
        assert (view.ready_at, view.ended_at, view.end_reason) == (11, 16, ConversationEnd.USER_LEFT)


async def test_time_passes_by_itself(open_sim: Any) -> None:
    """With a speed, a conversation becomes ready and ends without an advance."""
    async with open_sim(speed=1000, call_seconds=5) as user:
        identifier = await user.connect()
        async with asyncio.timeout(10):
            while user.sim.conversations[identifier].state is not ConversationState.ENDED:
                await user.updates(identifier)


async def test_limits_stand_in_for_the_plans(open_sim: Any) -> None:
    """A limit replaces the plan's, None removes it, the others stay."""
    async with open_sim(plan=Plan.free(), max_concurrent=1) as user:
        await user.connect()
        status, _, answer = await user.request(
            "POST", "/conversations/connect/", json={"scenario_id": UNKNOWN, "avatar_id": UNKNOWN}
        )
        assert (status, answer["error_code"]) == (429, "CONCURRENCY_LIMIT_REACHED")
    async with open_sim(plan=Plan.free(), max_concurrent=None) as user:
        views = [user.sim.conversations[await user.connect()] for _ in range(4)]
        assert {view.call_cap for view in views} == {180}


async def test_what_exists_can_be_chosen(open_sim: Any) -> None:
    """If scenarios and avatars are given, others get 404."""
    async with open_sim(scenarios={UUID(UNKNOWN)}, avatars=[UNKNOWN]) as user:
        await user.connect(scenario_id=UNKNOWN, avatar_id=UNKNOWN)
        status, _, answer = await user.request(
            "POST", "/conversations/connect/", json={"scenario_id": UNKNOWN, "avatar_id": str(UUID(int=5))}
        )
        assert (status, answer["error_code"]) == (404, "AVATAR_NOT_FOUND")


async def test_ready_time_can_be_drawn_by_the_caller(open_sim: Any) -> None:
    """A function draws the seconds from the simulator's generator."""
    async with open_sim(ready_time=lambda rng: 100 + rng.random(), join_after=0) as user:
        view = user.sim.conversations
        identifier = await user.connect()
        user.sim.advance(200)
        assert 100 <= view[identifier].ready_at < 101


async def test_a_script_of_ones_own(open_sim: Any) -> None:
    """Rows can be plain objects, and the last one can end the conversation."""
    script = [{"role": "assistant", "content": "Hi {{runtime.name}}", "seconds": 1}]
    async with open_sim(script=script, end_with_script=True, call_seconds=None) as user:
        identifier = await user.connect(runtime_vars={"name": "Ann"})
        user.sim.advance(100)
        _, _, detail = await user.request("GET", f"/conversations/{identifier}/")
        assert detail["transcript_rows"] == [
            {"role": "assistant", "content": "Hi Ann", "node_id": "main"}
        ]  # fmt: skip
        assert user.sim.conversations[identifier].end_reason is ConversationEnd.SCENARIO_ENDED


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_the_address_is_where_it_listens(open_sim: Any, host: str) -> None:
    """A host name is resolved to an address for the API and the storage host."""
    async with open_sim(host=host) as user:
        await user.connect()
        assert user.sim.base_url.endswith("/api")
        assert (await user.request("GET", user.sim.storage_url + "/x"))[0] == 400


async def test_everywhere_is_reached_by_loopback(open_sim: Any) -> None:
    """When it listens on every address, its URLs contain loopback."""
    async with open_sim(host="0.0.0.0") as user:  # noqa: S104 - the case in question
        identifier = await user.connect(record_conversation=True)
        user.sim.advance(100)
        _, headers, _ = await user.request("GET", f"/conversations/{identifier}/recording/")
        _, _, detail = await user.request("GET", f"/conversations/{identifier}/")
        urls = (user.sim.base_url, user.sim.storage_url, headers["Location"], detail["avatar"]["profile_image_url"])
        assert all(url.startswith("http://127.0.0.1:") for url in urls)


async def test_signed_urls_bear_the_address_that_others_see(open_sim: Any) -> None:
    """Signed URLs begin with `storage_url`, without a doubled slash."""
    async with open_sim(storage_url="https://files.example:8443/a/") as user:
        identifier = await user.connect()
        _, _, detail = await user.request("GET", f"/conversations/{identifier}/")
        assert detail["avatar"]["profile_image_url"].startswith("https://files.example:8443/a/avatars/")
        assert user.sim.storage_url == "https://files.example:8443/a"


async def seen_in_a_run(open_sim: Any, **options: Any) -> Any:
    async with open_sim(**options) as user:
        _, _, answer = await user.request(
            "POST", "/conversations/connect/", json={"scenario_id": UNKNOWN, "avatar_id": UNKNOWN}
        )
        _, _, detail = await user.request("GET", f"/conversations/{answer['conversation_session_id']}/")
        return answer, detail["created_at"]


async def test_the_seed_repeats_a_run(open_sim: Any) -> None:
    """The same seed gives the same conversations, tokens and stamps; no seed gives others."""
    one, same, other = [await seen_in_a_run(open_sim, seed=seed) for seed in (5, 5, None)]
    assert one == same
    assert one[1] == "2026-01-01T00:00:00.000Z"
    assert one[0]["conversation_session_id"] != other[0]["conversation_session_id"]
    assert one[1] < other[1]


async def test_the_epoch_can_be_chosen(open_sim: Any) -> None:
    """Stamps count from the epoch, which may be in any zone, and are in UTC."""
    epoch = datetime(2026, 5, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert (await seen_in_a_run(open_sim, epoch=epoch))[1] == "2026-05-01T00:00:00.000Z"
