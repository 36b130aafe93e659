"""Starts of a manager's sessions whose connect fails, or is answered through a gateway."""

import gzip

import pytest

from akapulu_async import (
    AkapuluError,
    ConnectOutcomeUnknownError,
    ConversationSession,
    EndReason,
    FullPolicy,
    SessionManager,
)
from tests.support.managed import soon
from tests.support.misbehaving import CONNECTION, REQUEST, Behaviour, Peer, Seen, answer, close
from tests.support.steered import steered


@pytest.mark.parametrize(
    ("connect", "unknown"),
    [
        (answer({"error": "no"}, 500), 1),
        (answer({"error": "no"}, 503), 0),
        (answer({}), 1),
        (close, 1),
        (answer({"error": "no"}, 400), 0),
    ],
    ids=["500", "503", "junk", "closed", "400"],
)
async def test_connects_with_an_unknown_outcome_are_counted(connect: Behaviour, unknown: int) -> None:
    """Starts whose connect may have made a conversation are counted apart from those that were refused."""
    async with steered() as world, SessionManager(world.client) as manager:
        world.service.connect = connect
        with pytest.raises(AkapuluError):
            await manager.start(REQUEST)
        figures = manager.statistics()
        assert (figures.unknown_connects, figures.ended[EndReason.CONNECT_FAILED]) == (unknown, 1)

        async def handler(_: ConversationSession) -> None:
            pytest.fail("it is not connected")

        async with manager.run([REQUEST], handler) as outcomes:
            [outcome] = [outcome async for outcome in outcomes]
        assert outcome.connect_unknown is bool(unknown)
        assert manager.statistics().unknown_connects == 2 * unknown


async def test_unknown_outcomes_of_a_handler_are_the_handlers() -> None:
    """An error of a call within a handler does not make the handler's own connect unknown."""
    async with steered() as world, SessionManager(world.client) as manager:

        async def handler(session: ConversationSession) -> None:
            world.service.connect = close
            await world.client.conversations.connect(REQUEST)

        async with manager.run([REQUEST], handler) as outcomes:
            [outcome] = [outcome async for outcome in outcomes]
    assert isinstance(outcome.error, ConnectOutcomeUnknownError)
    assert not outcome.connect_unknown


async def test_a_compressed_refusal_is_waited_out() -> None:
    """A gateway that compresses answers does not hide that the account is full: `when_full="wait"` waits."""
    refused = gzip.compress(b'{"error": "Full.", "error_code": "CONCURRENCY_LIMIT"}')
    script = [answer(status=402, headers={"Content-Encoding": "gzip"}, body=refused), answer(CONNECTION)]

    async def connect(peer: Peer, seen: Seen) -> None:
        await script.pop(0)(peer, seen)

    async with (
        steered() as world,
        SessionManager(world.client, when_full="wait", full=FullPolicy(base=0.01, cap=0.05)) as manager,
    ):
        world.service.connect = connect
        await soon(manager.start(REQUEST))
    assert script == []
