"""Whom a command talks to: the service, or an embedded simulator."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import attrs
import typer

from akapulu_async.cli import values
from akapulu_async.client import AkapuluClient
from akapulu_async.errors import ConfigurationError

if TYPE_CHECKING:
    from akapulu_async.simulator import Simulator

BaseUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--base-url",
        metavar="URL",
        parser=values.base_url,
        help="Where the service is, in place of AKAPULU_BASE_URL.",
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
        help="How much faster than life the simulator runs. [default: 6]",
        show_default=False,
    ),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="JSON for scripts, in place of text for people.")]

SPEED = 6.0


@attrs.frozen(kw_only=True)
class Target:
    """Whom a command talks to. The API key comes from AKAPULU_API_KEY alone: arguments are seen by other users.

    Args:
        base_url: Where the service is; None: AKAPULU_BASE_URL, else its own place.
        simulator: Whether to embed a simulator in place of the service.
        speed: Simulated seconds in a real one; None: 6.

    Raises:
        ConfigurationError: They exclude each other.
    """

    base_url: str | None = None
    simulator: bool = False
    _speed: float | None = None

    def __attrs_post_init__(self) -> None:
        if self.simulator and self.base_url is not None:
            raise ConfigurationError(
                f"--base-url {self.base_url}: not with --simulator, which has an address of its own"
            )
        if self._speed is not None and not self.simulator:
            raise ConfigurationError(f"--speed {self._speed:g}: only with --simulator")

    @property
    def speed(self) -> float:
        """How many of the service's seconds pass in a real one: 1, unless it is simulated."""
        if not self.simulator:
            return 1.0
        return SPEED if self._speed is None else self._speed

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncGenerator[AkapuluClient]:
        """Open a client, with what is passed on to `AkapuluClient`, and the simulator if there is to be one.

        Raises:
            ConfigurationError: There is no API key, or a setting is unusable.
        """
        if not self.simulator:
            async with AkapuluClient(base_url=self.base_url, **options) as client:
                yield client
            return
        async with self.simulated() as sim, client_of(sim, **options) as client:
            yield client

    def simulated(self, **options: Any) -> "Simulator":
        """Return the simulator to embed, with what is passed on to it."""
        from akapulu_async.simulator import Simulator  # noqa: PLC0415 - only those who use it pay for it

        return Simulator(**{"speed": self.speed, "end_with_script": True, **options})


def client_of(sim: "Simulator", **options: Any) -> AkapuluClient:
    """Return a client of a simulator, with what is passed on to `AkapuluClient`."""
    return AkapuluClient(sim.api_key, base_url=sim.base_url, **options)
