"""The target of a command: the service, or an embedded simulator."""

import logging
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import attrs
import typer

from akapulu_async.cli import values
from akapulu_async.cli.streams import PROGRAM
from akapulu_async.client import AkapuluClient
from akapulu_async.errors import ConfigurationError
from akapulu_async.log import logger
from akapulu_async.models.connection import ConnectRequest
from akapulu_async.sansio.urls import DEFAULT_BASE_URL

if TYPE_CHECKING:
    from akapulu_async.simulator import Simulator

BaseUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--base-url",
        metavar="URL",
        parser=values.base_url,
        help="Address of the service, instead of AKAPULU_BASE_URL.",
        show_default=False,
    ),
]
UseSimulator: TypeAlias = Annotated[
    bool, typer.Option("--simulator", help="Use an embedded simulator: no account, no key, no cost.")
]
Speed: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--speed",
        metavar="X",
        parser=values.factor,
        help="Speed of the simulator, in multiples of real time. [default: 6]",
        show_default=False,
    ),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="JSON for scripts instead of text for people.")]

ConversationId: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="ID",
        parser=values.identifier,
        help="The conversation; not with --simulator, which has its own.",
        show_default=False,
    ),
]

KEY = "AKAPULU_API_KEY"

SPEED = 6.0

SIMULATED = "00000000-0000-4000-8000-000000000000"
"""Scenario and avatar for the simulator, which accepts any id."""

SIMULATED_VARIABLES = {"user_name": "Ada"}
"""Variables of the simulator's dialogue."""

LONG_ENOUGH = 600.0
"""Simulated seconds after which a conversation has ended and its recording is ready."""


@attrs.frozen(kw_only=True)
class Target:
    """The service or an embedded simulator. The API key comes only from AKAPULU_API_KEY: other users see arguments.

    Args:
        base_url: Address of the service; None: AKAPULU_BASE_URL, or else the default.
        simulator: Embed a simulator instead.
        speed: Simulated seconds per real second; None: 6.

    Raises:
        ConfigurationError: They exclude each other.
    """

    base_url: str | None = None
    simulator: bool = False
    _speed: float | None = None

    def __attrs_post_init__(self) -> None:
        if self.simulator and self.base_url is not None:
            raise ConfigurationError(
                f"--base-url {self.base_url} cannot be combined with --simulator, which has its own address"
            )
        if self._speed is not None and not self.simulator:
            raise ConfigurationError(f"--speed {self._speed:g} is only for --simulator")

    @property
    def speed(self) -> float:
        """Seconds of the service per real second: 1 unless it is simulated."""
        if not self.simulator:
            return 1.0
        return SPEED if self._speed is None else self._speed

    def address(self) -> tuple[str, str]:
        """Return the base URL of the service and its source.

        Raises:
            ConfigurationError: AKAPULU_BASE_URL is unusable.
        """
        if self.base_url is not None:
            return self.base_url, "--base-url"
        given = os.environ.get("AKAPULU_BASE_URL")
        if not given:
            return DEFAULT_BASE_URL, "default"
        try:
            return values.base_url(given), "AKAPULU_BASE_URL"
        except ValueError as error:
            raise ConfigurationError(f"AKAPULU_BASE_URL: {error}") from None

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncGenerator[AkapuluClient]:
        """Open a client, and the simulator if it is the target. Options are passed on to `AkapuluClient`.

        Raises:
            ConfigurationError: There is no API key, or a setting is unusable.
        """
        if not self.simulator:
            if not os.environ.get(KEY):
                raise ConfigurationError(
                    f"{KEY} is not set; set it to your account's key, or use --simulator, which needs none; "
                    f"`{PROGRAM} doctor` checks your settings"
                )
            async with AkapuluClient(base_url=self.address()[0], **options) as client:
                yield client
            return
        async with self._simulated_client(options) as (_, client):
            yield client

    @asynccontextmanager
    async def conversation(
        self, session_id: str | None, *, over: bool = False, **options: Any
    ) -> AsyncGenerator[tuple[AkapuluClient, str]]:
        """Open a client, as `client()` does, and return it with the id of the conversation.

        Args:
            session_id: The given id; None only with the simulator, where a conversation is connected.
            over: Let the simulator's conversation end first.
            options: Passed on to `AkapuluClient`.

        Raises:
            ConfigurationError: No id was given, or one for the simulator, which cannot know it.
        """
        if not self.simulator:
            if session_id is None:
                raise ConfigurationError("ID is missing; give the UUID of a conversation, or use --simulator")
            async with self.client(**options) as client:
                yield client, session_id
            return
        if session_id is not None:
            raise ConfigurationError(
                f"ID {session_id} cannot be combined with --simulator, which has its own conversation"
            )
        async with self._simulated_client(options) as (sim, client):
            request = ConnectRequest(SIMULATED, SIMULATED, runtime_vars=SIMULATED_VARIABLES, record_conversation=True)
            connection = await client.conversations.connect(request)
            if over:
                sim.advance(LONG_ENOUGH)
            yield client, connection.conversation_session_id

    def simulated(self) -> "Simulator":
        """Return the simulator to embed."""
        from akapulu_async.simulator import Simulator  # noqa: PLC0415 - only those who use it pay for it

        return Simulator(speed=self.speed, end_with_script=True)

    @asynccontextmanager
    async def _simulated_client(self, options: Mapping[str, Any]) -> AsyncGenerator[tuple["Simulator", AkapuluClient]]:
        """Open the simulator and a client of it, without warnings: its conversations cost nothing."""
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            async with self.simulated() as sim, AkapuluClient(sim.api_key, base_url=sim.base_url, **options) as client:
                yield sim, client
        finally:
            logger.setLevel(level)
