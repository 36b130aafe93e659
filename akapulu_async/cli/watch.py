"""`watch`: follow a conversation that was connected elsewhere."""

import math

from akapulu_async.cli import signals
from akapulu_async.cli.attendance import Held, ReadyTimeout, WithTranscript, attend, can_ask, finish, poll_policy
from akapulu_async.cli.exits import ExitCode
from akapulu_async.cli.screen import Screen
from akapulu_async.cli.target import AsJson, BaseUrl, ConversationId, Speed, Target, UseSimulator
from akapulu_async.client import AkapuluClient
from akapulu_async.errors import NotFoundError
from akapulu_async.sansio.signals import UpdateSignals
from akapulu_async.session import READY_TIMEOUT


def watch(
    session_id: ConversationId = None,
    *,
    ready_timeout: ReadyTimeout = READY_TIMEOUT,
    transcript: WithTranscript = False,
    base_url: BaseUrl = None,
    simulator: UseSimulator = False,
    speed: Speed = None,
    as_json: AsJson = False,
) -> int:
    """Follow a conversation that was connected elsewhere."""
    target, screen = Target(base_url=base_url, simulator=simulator, speed=speed), Screen(json=as_json)
    limit = None if math.isinf(ready_timeout) else ready_timeout

    async def hold() -> Held:
        async with target.conversation(session_id, poll=poll_policy(target)) as (client, known):
            if await _is_over(client, known):
                screen.say(f"Conversation {known} is over.")
                screen.emit({"event": "over", "session_id": known})
                wanted = transcript or can_ask(screen)
                return Held(ExitCode.OK, await client.conversations.detail(known) if wanted else None)
            return await attend(client.attach(known, ready_timeout=limit), screen, target, transcript=transcript)

    return finish(signals.run(hold()), screen, ask=not transcript)


async def _is_over(client: AkapuluClient, session_id: str) -> bool:
    """Return True if a conversation has already ended; raises `NotFoundError` if it does not exist."""
    try:
        update = await client.conversations.updates(session_id)
    except NotFoundError:
        await client.conversations.detail(session_id)  # the service may keep the details of one that ended
        return True
    return UpdateSignals().reads_as_end(update.latest_update_text) is not None
