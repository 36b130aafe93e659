"""The target of a command."""

import asyncio

import pytest

from akapulu_async import ConfigurationError, ConnectRequest, NotFoundError, PollPolicy
from akapulu_async.cli.target import Target
from akapulu_async.log import logger
from akapulu_async.simulator import Simulator
from tests.cli.running import ID


async def test_the_service(still: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key comes from the environment, the address from the option or the environment."""
    monkeypatch.setenv("AKAPULU_API_KEY", still.api_key)
    monkeypatch.setenv("AKAPULU_BASE_URL", "https://akapulu.example/api")
    async with Target().client() as client:
        assert client.base_url == "https://akapulu.example/api"
    async with Target(base_url=still.base_url).client(poll=PollPolicy(7)) as client:
        assert client.poll.interval == 7
        with pytest.raises(NotFoundError):
            await client.conversations.updates(ID)
    assert still.count("updates") == 1


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The option wins over the environment, and that over the default; a bad address is named."""
    monkeypatch.delenv("AKAPULU_BASE_URL", raising=False)
    assert Target().address() == ("https://akapulu.com/api", "default")
    monkeypatch.setenv("AKAPULU_BASE_URL", "https://a.example/api/")
    assert Target().address() == ("https://a.example/api", "AKAPULU_BASE_URL")
    assert Target(base_url="https://b.example/api").address() == ("https://b.example/api", "--base-url")
    monkeypatch.setenv("AKAPULU_BASE_URL", "http://a.example")
    with pytest.raises(ConfigurationError, match=r"^AKAPULU_BASE_URL: 'http://a\.example' would send"):
        Target().address()


async def test_the_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded simulator is used whatever the environment says."""
    monkeypatch.setenv("AKAPULU_API_KEY", "a key that must not be used")
    async with Target(simulator=True).client() as client:
        with pytest.raises(NotFoundError):
            await client.conversations.updates(ID)


@pytest.mark.parametrize(
    ("target", "speed"), [(Target(), 1), (Target(simulator=True), 6), (Target(simulator=True, speed=20), 20)]
)
def test_speed(target: Target, speed: float) -> None:
    """The service runs in real time, the simulator six times as fast by default."""
    assert target.speed == speed


async def test_a_conversation_of_the_simulator() -> None:
    """The embedded simulator has a conversation, which has ended, with its recording ready, if asked for."""
    async with Target(simulator=True).conversation(None) as (client, session_id):
        assert (await client.conversations.detail(session_id)).transcript_rows == ()
    async with Target(simulator=True).conversation(None, over=True) as (client, session_id):
        detail = await client.conversations.detail(session_id)
    assert detail.transcript_rows[-1].text == "You too. Goodbye!"
    assert detail.recording.is_ready


async def test_a_conversation_of_the_service(still: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service's conversation is the given one, and no request is sent."""
    monkeypatch.setenv("AKAPULU_API_KEY", still.api_key)
    async with Target(base_url=still.base_url).conversation(ID) as (client, session_id):
        assert (client.base_url, session_id, still.count()) == (still.base_url, ID, 0)


@pytest.mark.parametrize(
    ("target", "session_id", "named"),
    [(Target(), None, "ID is missing"), (Target(simulator=True), ID, f"ID {ID} cannot be")],
)
async def test_no_such_conversation(target: Target, session_id: str | None, named: str) -> None:
    """The service needs an id, and the simulator accepts none."""
    with pytest.raises(ConfigurationError, match=named):
        async with target.conversation(session_id):
            pytest.fail("it was entered")


def test_options_that_exclude_each_other() -> None:
    """The simulator has its own address, and the service has no speed."""
    with pytest.raises(ConfigurationError, match=r"--base-url https://a\.example cannot be combined with --simulator"):
        Target(simulator=True, base_url="https://a.example")
    with pytest.raises(ConfigurationError, match="--speed 2 is only for --simulator"):
        Target(speed=2)


@pytest.mark.parametrize("key", ["", None])
async def test_no_key(monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
    """Without a key, the error names the variable and both remedies of the command line."""
    monkeypatch.delenv("AKAPULU_API_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("AKAPULU_API_KEY", key)
    with pytest.raises(
        ConfigurationError, match=r"^AKAPULU_API_KEY is not set; .*--simulator.*akapulu-async doctor"
    ) as e:
        async with Target().client():
            pytest.fail("it was entered")
    assert "api_key=" not in str(e.value)


async def test_the_simulators_conversations_cost_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """No warning says that a conversation of the embedded simulator may hold a slot; later ones are logged again."""
    async with Target(simulator=True).client() as client:
        with pytest.raises(asyncio.CancelledError):
            async with client.session(ConnectRequest(ID, ID)):
                raise asyncio.CancelledError
    assert caplog.records == []
    logger.warning("as before")
    assert [record.message for record in caplog.records] == ["as before"]
