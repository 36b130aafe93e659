"""What is opened and never closed: told once in the log and as a warning, with the line, and nothing else complains."""

import gc
import os
import re
import sys
from pathlib import Path

import pytest
from anyio import run_process

from akapulu_async import AkapuluClient, ConversationSession, SessionManager
from akapulu_async.leak_warnings import warn_unless_closed
from tests.support.managed import simulated
from tests.support.misbehaving import API_KEY, REQUEST


class Owner:
    """Is opened."""


async def opened(what: str, client: AkapuluClient) -> tuple[object, int]:
    """Open something of a client's; return it, and the line that did."""
    here = opened.__code__.co_firstlineno
    if what == "AkapuluClient":
        other = AkapuluClient(API_KEY, base_url=client.base_url)
        await other.open()
        return other, here + 5
    if what == "SessionManager":
        manager = SessionManager(client)
        await manager.open()
        return manager, here + 9
    session = client.session(REQUEST)
    await session.open()
    return session, here + 12


WHAT = pytest.mark.parametrize("what", ["AkapuluClient", "SessionManager", "ConversationSession"])


def drop(things: list[object]) -> None:
    """Let go of the last that knows them."""
    things.clear()
    gc.collect()


async def close(thing: object) -> None:
    """Close what was opened."""
    assert isinstance(thing, AkapuluClient | SessionManager | ConversationSession)
    await (thing.close() if isinstance(thing, ConversationSession) else thing.aclose())


@WHAT
async def test_dropped(what: str) -> None:
    """Whoever drops what is open gets one warning, whose place is the line that opened it."""
    async with simulated() as (sim, client):
        thing, line = await opened(what, client)
        if isinstance(thing, ConversationSession):  # its polling keeps it as long as the conversation goes on
            sim.end(thing.id)
            await thing.ended.wait()
        things = [thing]
        del thing
        with pytest.warns(ResourceWarning) as caught:
            drop(things)
    told = [(str(warning.message), warning.filename, warning.lineno) for warning in caught]
    (message, file, at), *more = told
    assert more == []
    assert message.startswith(f"{what} was opened here and never closed: ")
    assert (file, at) == (__file__, line)


@WHAT
async def test_closed(what: str) -> None:
    """What was closed is dropped without a word; what is opened again is open again."""
    async with simulated() as (_, client):
        thing, _ = await opened(what, client)
        await close(thing)
        if isinstance(thing, AkapuluClient | SessionManager):
            await thing.open()
            await thing.open()
            await close(thing)
        del thing
        gc.collect()  # warnings are errors


def test_clean_up() -> None:
    """After the warning, things that would complain by themselves are closed."""
    cleaned: list[str] = []
    owner = Owner()
    warn_unless_closed(owner, "It", "close it", lambda: cleaned.append("gone"))
    with pytest.warns(ResourceWarning, match="It was opened here and never closed: close it"):
        del owner
    assert cleaned == ["gone"]


AT_EXIT = f"""
import asyncio, os
from akapulu_async import AkapuluClient, ConnectRequest, PollPolicy, SessionManager

kept = []


async def main():
    client = AkapuluClient(os.environ["KEY"], base_url=os.environ["URL"], poll=PollPolicy(interval=0.01))
    await client.open()
    manager = SessionManager(client)
    await manager.open()
    session = await manager.start(ConnectRequest("{REQUEST.scenario_id}", "{REQUEST.avatar_id}"))
    await session.bot_ready.wait()
    kept.extend([client, manager, session])


asyncio.run(main())
"""


@pytest.mark.parametrize(
    "filters", ["default", *(pytest.param(filters, marks=pytest.mark.slow) for filters in (None, "error", "ignore"))]
)
async def test_at_exit(filters: str | None, tmp_path: Path) -> None:
    """A program that ends without closing is told of each thing once, by line, and of nothing inside it."""
    script = tmp_path / "program.py"
    script.write_text(AT_EXIT, encoding="utf-8")
    options = [] if filters is None else ["-W", f"{filters}::ResourceWarning"]
    async with simulated(speed=100) as (sim, _):
        env = {**os.environ, "KEY": sim.api_key, "URL": sim.base_url}
        done = await run_process([sys.executable, *options, script], env=env)
    told = done.stderr.decode()
    logged = re.findall(
        rf"^{re.escape(str(script))}:(\d+): (\w+) was opened here and never closed: .*\n", told, re.MULTILINE
    )
    lines = {line.strip(): number for number, line in enumerate(AT_EXIT.splitlines(), 1)}
    places = {"AkapuluClient": "await client.open()", "SessionManager": "await manager.open()"}
    assert {what: int(line) for line, what in logged} == {what: lines[line] for what, line in places.items()}
    assert len(logged) == len(places)
    assert [words for words in ("Unclosed", "destroyed", "never awaited", "aiohttp") if words in told] == []
    if filters in {None, "ignore"}:  # Python's default is to ignore them
        assert len(told.splitlines()) == len(logged)
        return
    things = re.findall(r"ResourceWarning: (\w+) was opened here and never closed", told)
    assert sorted(things) == sorted(places)
    if filters == "default":
        for line in places.values():
            assert re.search(rf"^{re.escape(str(script))}:{lines[line]}: .*\n  {re.escape(line)}$", told, re.MULTILINE)
