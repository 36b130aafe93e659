"""`connect`: one conversation, from connect to end."""

import math
from functools import partial
from typing import Annotated, TypeAlias

import typer

from akapulu_async.cli import signals, values
from akapulu_async.cli.attendance import Held, ReadyTimeout, WithTranscript, attend, finish, poll_policy
from akapulu_async.cli.screen import Screen
from akapulu_async.cli.target import SIMULATED, SIMULATED_VARIABLES, AsJson, BaseUrl, Speed, Target, UseSimulator
from akapulu_async.errors import ConfigurationError
from akapulu_async.models.connection import ConnectRequest
from akapulu_async.session import READY_TIMEOUT, ConversationSession


def _check_variables(given: list[str] | None) -> list[str]:
    try:
        for text in given or ():
            values.variable(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return given or []


_Variables: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--var",
        metavar="NAME=VALUE",
        callback=_check_variables,
        help="Value for {{runtime.NAME}} in the scenario. Repeatable.",
    ),
]


def connect(
    *,
    scenario: Annotated[
        str | None,
        typer.Option("--scenario", metavar="ID", parser=values.identifier, help="The assistant's scenario, a UUID."),
    ] = None,
    avatar: Annotated[
        str | None, typer.Option("--avatar", metavar="ID", parser=values.identifier, help="The avatar, a UUID.")
    ] = None,
    var: _Variables = None,
    record: Annotated[bool, typer.Option("--record", help="Record the conversation.")] = False,
    voice_only: Annotated[bool, typer.Option("--voice-only", help="Without video.")] = False,
    show_ai_label: Annotated[
        bool, typer.Option("--show-ai-label", help="With a label that says that the avatar is an AI.")
    ] = False,
    ready_timeout: ReadyTimeout = READY_TIMEOUT,
    show_link: Annotated[
        bool, typer.Option("--show-link", help="Show the link to join. Keep it secret: it contains a token.")
    ] = False,
    transcript: WithTranscript = False,
    base_url: BaseUrl = None,
    simulator: UseSimulator = False,
    speed: Speed = None,
    as_json: AsJson = False,
) -> int:
    """Connect a conversation and show how it goes."""
    target, screen = Target(base_url=base_url, simulator=simulator, speed=speed), Screen(json=as_json)
    variables = dict(values.variable(text) for text in var or ())
    if simulator:
        scenario, avatar = scenario or SIMULATED, avatar or SIMULATED
        variables = variables or SIMULATED_VARIABLES
        screen.note(f"The simulator runs at {target.speed:g} times real speed and joins the room by itself.")
    request = ConnectRequest(
        _needed("--scenario", scenario),
        _needed("--avatar", avatar),
        runtime_vars=variables,
        record_conversation=record,
        voice_only_mode=voice_only or None,
        show_ai_label=show_ai_label or None,
    )
    limit = None if math.isinf(ready_timeout) else ready_timeout

    async def hold() -> Held:
        async with target.client(poll=poll_policy(target)) as client:
            show_room = partial(_show_room, screen=screen, show_link=show_link, invite=not simulator)
            session = client.session(request, ready_timeout=limit)
            return await attend(session, screen, target, transcript=transcript, connected=show_room)

    return finish(signals.run(hold()), screen, ask=not transcript)


def _needed(option: str, value: str | None) -> str:
    if value is None:
        raise ConfigurationError(f"{option} is missing; give a UUID such as {SIMULATED}, or use --simulator")
    return value


def _show_room(session: ConversationSession, screen: Screen, *, show_link: bool, invite: bool) -> None:
    """Show the room at once: the bot may wait until somebody joins."""
    room = {"event": "room", "session_id": session.id, "room_url": session.room_url}
    screen.emit(room | {"join_url": session.join_url} if show_link else room)
    screen.say(f"Conversation {session.id}")
    screen.say(f"Room {session.room_url}")
    if show_link:
        screen.say(f"Open this link to join, and keep it to yourself: {session.join_url}")
    elif invite:
        screen.note("To join, you need the link with the token: --show-link shows it.")
