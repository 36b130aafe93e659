"""Delivery: sends an answer over a socket, delayed, cut or lost where a fault asks for it."""

import asyncio
import socket
import struct
import sys

from aiohttp import web

from akapulu_async.simulator.answers import Answer
from akapulu_async.simulator.faults import Fault

__all__ = ["deliver", "lose"]

_CHUNK = 64 * 1024  # bytes of a file in memory at a time
_DRIPS_PER_SECOND = 10
_LINGER_FORM = "hh" if sys.platform == "win32" else "ii"  # two shorts in Winsock, two ints elsewhere
_LINGER_ZERO = struct.pack(_LINGER_FORM, 1, 0)  # on, 0 s: close() sends RST


async def deliver(request: web.BaseRequest, answer: Answer, fault: Fault | None) -> web.StreamResponse:
    """Send an answer, with the delay, the loss, the slowness or the truncation that a fault asks for."""
    if fault is None and isinstance(answer.body, bytes):
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
    if fault is not None:
        answer = answer if fault.made_up else fault.distort(answer)
        if fault.reset is not None:
            return await lose(request, fault.delay)
        await _wait(fault.delay)
    return await _stream(request, answer, fault)


async def lose(request: web.BaseRequest, delay: float | None) -> web.StreamResponse:
    """Reset the connection (RST) after `delay` real seconds; None: at once. The response is never sent."""
    await _wait(delay)
    transport = request.transport
    if transport is not None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        transport.abort()
    return web.Response()


async def _wait(delay: float | None) -> None:
    if delay is not None:
        await asyncio.sleep(delay)


async def _stream(request: web.BaseRequest, answer: Answer, fault: Fault | None) -> web.StreamResponse:
    to_send, promised = _lengths(answer, fault)
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = promised
    await response.prepare(request)
    if request.method != "HEAD":
        await _send_body(response, answer, to_send, None if fault is None else fault.bytes_per_second)
        if to_send < promised and request.transport is not None:
            request.transport.close()
    return response


def _lengths(answer: Answer, fault: Fault | None) -> tuple[int, int]:
    """Return how many bytes are sent, and how many are promised."""
    if fault is not None and fault.truncate_at is not None:
        to_send = min(answer.size, fault.truncate_at)
        return to_send, max(answer.size, to_send + 1)
    if fault is not None and fault.content_length is not None:
        return min(answer.size, fault.content_length), fault.content_length
    return answer.size, answer.size


async def _send_body(
    response: web.StreamResponse, answer: Answer, to_send: int, bytes_per_second: float | None
) -> None:
    step = _CHUNK if bytes_per_second is None else max(1, min(_CHUNK, int(bytes_per_second / _DRIPS_PER_SECOND)))
    for offset in range(0, to_send, step):
        size = min(step, to_send - offset)
        if bytes_per_second is not None:
            await asyncio.sleep(size / bytes_per_second)
        await response.write(_read(answer, offset, size))


def _read(answer: Answer, offset: int, size: int) -> bytes:
    if isinstance(answer.body, bytes):
        return answer.body[offset : offset + size]
    return answer.body.read(offset, size)
