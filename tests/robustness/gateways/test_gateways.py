"""Behind real gateways, each conversation that a connect made is known or reported, and none is made twice."""

import asyncio
import shutil
import ssl
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
import trustme

from akapulu_async import AkapuluClient, RetryPolicy, Timeouts
from akapulu_async.simulator import Simulator
from tests.robustness.faults.proxy import FINE, Deed, Fault, Point, Proxy
from tests.robustness.gateways.accounts import MANY, Account, Answers, made_by
from tests.robustness.gateways.gateway import HOST, LOOK_AGAIN, Gateway, Kind, listens, running
from tests.robustness.gateways.kinds import COMPRESSING, HAPROXY, KINDS, NGINX
from tests.support.misbehaving import API_KEY

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[3]

RETRY = RetryPolicy(attempts=3, base=0.02, cap=0.1)
TIMEOUTS = Timeouts(connect=60.0, total=60.0)  # a hang guard: the gateways give up first

SILENT = Fault(at=Point.REQUEST, deed=Deed.SILENCE)
CLOSED = Fault(at=Point.REQUEST, deed=Deed.CLOSE)
CUT = (
    Fault(at=Point.REQUEST, deed=Deed.RESET),
    CLOSED,
    Fault(at=Point.STATUS_LINE, deed=Deed.CLOSE),
    Fault(at=Point.BODY, deed=Deed.CLOSE),
)
LOST = (FINE, *CUT, *CUT, SILENT)
"""Ways to lose the service's answer on its way to the gateway."""

RUN = """
import asyncio, sys
from tests.robustness.gateways.gateway import running
from tests.robustness.gateways.kinds import KINDS

async def run():
    async with running(KINDS[int(sys.argv[1])], "127.0.0.1:9") as gateway:
        print(gateway.site.folder, gateway.site.port, flush=True)
        await asyncio.Event().wait()

asyncio.run(run())
"""

kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
plain_and_tls = pytest.mark.parametrize("authority", [None, trustme.CA()], ids=["plain", "TLS"])


@attrs.frozen
class Bench:
    """A client, a gateway, a front that loses answers after the work, and the service."""

    client: AkapuluClient
    answers: Answers
    gateway: Gateway
    front: Proxy
    simulator: Simulator
    account: Account = attrs.field(factory=Account)

    async def connect_many(self, *meanwhile: Coroutine[Any, Any, None]) -> None:
        """Connect many times while other things happen, and check the account."""
        async with asyncio.TaskGroup() as group:
            for each in (self.account.connect_many(self.client), *meanwhile):
                group.create_task(each)
        self.account.check(self.simulator)
        assert self.account.known


@asynccontextmanager
async def bench(
    kind: Kind, *script: Fault, options: str = "", authority: trustme.CA | None = None
) -> AsyncGenerator[Bench]:
    """Set up a bench. The script has one fault for each exchange between gateway and front; the last one repeats."""
    kind.require()
    trust, certificate = ssl.create_default_context(), None
    if authority is not None:
        authority.configure_trust(trust)
        certificate = authority.issue_cert(HOST).private_key_and_cert_chain_pem.bytes()
    answers = Answers()
    async with (
        Simulator(speed=0, seed=1, api_key=API_KEY, max_concurrent=None) as simulator,
        Proxy(simulator.base_url, *script) as front,
        running(kind, f"{HOST}:{front.port}", certificate=certificate, options=options) as gateway,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as http,
        AkapuluClient(
            API_KEY, base_url=gateway.base_url, http=http, retry=RETRY, timeouts=TIMEOUTS, observers=[answers]
        ) as client,
    ):
        yield Bench(client, answers, gateway, front, simulator)


@kinds
@pytest.mark.slow
async def test_answers_lost_after_the_work(kind: Kind) -> None:
    """If the gateway gets no whole answer from a service that did the work, the outcome is reported as unknown."""
    async with bench(kind, *LOST * MANY) as place:
        await place.connect_many()
        assert len(place.account.unknown) > MANY // 2


@kinds
@pytest.mark.slow
async def test_service_that_flaps(kind: Kind) -> None:
    """While the service dies and comes back behind the gateway, nothing is lost from sight or made twice."""
    async with bench(kind, FINE) as place:

        async def flap() -> None:
            for number in (60, 120, 180):
                await place.answers.reached(number)
                await place.front.stop()
                await place.answers.reached(number + 30)
                await place.front.start()

        await place.connect_many(flap())
        assert place.answers.statuses.total() > place.answers.statuses[200]


@plain_and_tls
@pytest.mark.slow
async def test_nginx_with_a_frozen_service(authority: trustme.CA | None) -> None:
    """If nginx gives up on a service that did the work and froze, the outcome is reported as unknown."""
    async with bench(NGINX, *(FINE, FINE, FINE, FINE, SILENT) * (MANY // 5), FINE, authority=authority) as place:
        await place.connect_many()
        assert len(place.account.unknown) > MANY // 10
        assert {error.status for error in place.account.unknown.values()} == {504}


@plain_and_tls
@pytest.mark.slow
async def test_nginx_with_gzip(authority: trustme.CA | None) -> None:
    """Answers that come compressed although `identity` was asked for are read, over connections that end early."""
    async with bench(NGINX, FINE, options=COMPRESSING, authority=authority) as place:
        await place.connect_many()
        assert {type(error).__name__ for error in place.account.failed.values()} == set()
        for session_id in list(place.account.known.values())[:60]:
            update = await place.client.conversations.updates(session_id)
            assert update.conversation_session_id == session_id


@pytest.mark.parametrize("status", [503, 429])
@pytest.mark.slow
async def test_nginx_with_a_limit(status: int) -> None:
    """Connects beyond nginx's `limit_req` make nothing, and no other is made twice."""
    options = f"limit_req zone=all burst=20 nodelay; limit_req_status {status};"
    async with bench(NGINX, FINE, options=options) as place:
        await place.connect_many()
        assert place.answers.statuses[status]


@plain_and_tls
@pytest.mark.slow
async def test_nginx_that_reloads(authority: trustme.CA | None) -> None:
    """While nginx reloads its configuration, nothing is lost from sight or made twice."""
    async with bench(NGINX, FINE, authority=authority) as place:

        async def reload() -> None:
            for number in (60, 120, 180, 240):
                await place.answers.reached(number)
                await place.gateway.call("-s", "reload")

        await place.connect_many(reload())


@plain_and_tls
@pytest.mark.slow
async def test_nginx_that_stops_and_starts(authority: trustme.CA | None) -> None:
    """While nginx stops and starts, nothing is lost from sight or made twice."""
    async with bench(NGINX, FINE, authority=authority) as place:

        async def restart() -> None:
            for number in (60, 120, 180):
                await place.answers.reached(number)
                await place.gateway.stop()
                await place.gateway.start()

        await place.connect_many(restart())


@pytest.mark.slow
async def test_haproxy_with_a_queue() -> None:
    """Connects that HAProxy drops from its queue, or gives up on after the work, are not mistaken for each other."""
    async with bench(HAPROXY, *(FINE,) * 100, *(SILENT,) * 8, FINE, options="maxconn 2") as place:
        await place.connect_many()
        assert place.answers.statuses[503]
        assert place.answers.statuses[504]


@pytest.mark.slow
async def test_haproxy_that_repeats() -> None:
    """A gateway that repeats a POST by itself makes conversations twice, which no client can see or prevent."""
    script = (FINE, FINE, FINE, CLOSED) * (MANY // 4)
    async with bench(HAPROXY, *script, FINE, options="\n    retry-on all-retryable-errors") as place:
        await place.account.connect_many(place.client)
        made = made_by(place.simulator)
        assert any(len(made[mark]) > 1 for mark in place.account.known)
        assert place.answers.statuses.total() == MANY


@pytest.mark.parametrize("number", range(len(KINDS)), ids=[kind.name for kind in KINDS])
@pytest.mark.slow
async def test_gateway_ends_with_a_killed_test_run(number: int) -> None:
    """A gateway ends when the process that started it is killed."""
    KINDS[number].require()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", RUN, str(number), cwd=ROOT, stdout=PIPE)
    assert process.stdout is not None
    folder, port = (await process.stdout.readline()).decode().split()
    process.kill()
    await process.wait()
    while await listens(int(port)):  # noqa: ASYNC110 - another process listens
        await asyncio.sleep(LOOK_AGAIN)
    while Path(folder).exists():  # noqa: ASYNC240 - it may remove files of its own meanwhile
        shutil.rmtree(folder, ignore_errors=True)


def test_missing_gateway_is_skipped_by_name() -> None:
    """The tests of a gateway that is not installed are skipped, with its name and its package."""
    with pytest.raises(pytest.skip.Exception, match=r"^no-such-gateway is not installed: apt-get install its-package$"):
        attrs.evolve(NGINX, program="no-such-gateway", package="its-package").require()
