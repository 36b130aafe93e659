"""`watch`: a conversation that was connected elsewhere."""

import math

from akapulu_async.cli import signals
from akapulu_async.cli.attendance import Held, ReadyTimeout, WithTranscript, attend, finish, poll_policy
from akapulu_async.cli.screen import Screen
from akapulu_async.cli.target import AsJson, BaseUrl, ConversationId, Speed, Target, UseSimulator
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
            await client.conversations.updates(known)  # what there is not is told at once
            return await attend(client.attach(known, ready_timeout=limit), screen, transcript=transcript)

    return finish(signals.run(hold()), screen, ask=not transcript)
