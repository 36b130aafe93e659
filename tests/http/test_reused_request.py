"""Requests that are sent again: only if aiohttp allows it, and with the same answers if not."""

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from akapulu_async.http import reused_request
from tests.support.misbehaving import API_KEY, Peer, Seen, Server, answer, client_of


async def echo(peer: Peer, seen: Seen) -> None:
    """Answer with the target."""
    await answer(seen.target)(peer, seen)


def frozen_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a request keep the URL that it was made for."""
    url = aiohttp.ClientRequest.__dict__["url"]

    def keep(request: Any, value: Any) -> None:
        request.__dict__.setdefault("kept url", value)

    monkeypatch.setattr(
        aiohttp.ClientRequest, "url", property(lambda request: request.__dict__.get("kept url", url), keep)
    )


def no_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a request have a URL that cannot be set after it was made."""

    def set_once(request: Any, value: Any) -> None:
        if "kept url" in request.__dict__:
            raise AttributeError("url")
        request.__dict__["kept url"] = value

    monkeypatch.setattr(aiohttp.ClientRequest, "url", property(lambda request: request.__dict__["kept url"], set_once))


def spent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a request be sent only once."""
    send = aiohttp.ClientRequest.send

    async def send_once(request: Any, connection: Any) -> Any:
        if request.__dict__.setdefault("sent", False):
            raise RuntimeError("a request is sent once")
        request.__dict__["sent"] = True
        return await send(request, connection)

    monkeypatch.setattr(aiohttp.ClientRequest, "send", send_once)


def no_connector(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hook that the trial needs be gone."""
    monkeypatch.delattr(reused_request._Nowhere, "_create_connection")


async def targets(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what three GETs were answered, by turns and at once."""
    caplog.set_level(logging.INFO)
    async with Server(echo) as server, client_of(server) as client:
        answers = [await client.request("GET", path) for path in ("/a/", "/b/")]
        answers += await asyncio.gather(*(client.request("GET", path) for path in ("/c/", "/d/")))
    assert {seen.headers["authorization"] for seen in server.requests} == {f"Bearer {API_KEY}"}
    return answers


ALL = ["/api/a/", "/api/b/", "/api/c/", "/api/d/"]


async def test_aiohttp_allows_it(way: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the installed aiohttp requests are reused, without a word; the plain way gives the same answers."""
    assert reused_request.reuse_works() is (way == "reused")
    assert await targets(caplog) == ALL
    assert len(caplog.records) == (way == "plain")


@pytest.mark.parametrize("broken", [frozen_url, no_url, spent, no_connector])
@pytest.mark.parametrize("way", ["reused"], indirect=True)
async def test_aiohttp_does_not_allow_it(
    broken: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where aiohttp changed, the plain way is taken, which is logged once, and the answers are right."""
    broken(monkeypatch)
    assert not reused_request.reuse_works()
    assert await targets(caplog) == ALL
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert re.search("aiohttp .* polls work, but take more time", record.getMessage())


@pytest.mark.parametrize("way", ["reused"], indirect=True)
async def test_trial_reaches_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether requests can be reused is found out without a connection, and leaves nothing behind."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("it connects")

    loop, before = asyncio.get_running_loop(), asyncio.all_tasks()
    monkeypatch.setattr(loop, "create_connection", refuse)
    monkeypatch.setattr(loop, "getaddrinfo", refuse)
    assert reused_request.reuse_works()
    assert asyncio.all_tasks() == before
