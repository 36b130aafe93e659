"""A server that answers polls as cheaply as possible, so that the client is measured.

    python benchmarks/stand_in.py [--tls CERTIFICATE]

It prints its address and answers every request with an update of the conversation in its path, each with a new text.
It does not sleep while it has a connection: otherwise waking it up would be charged to the client.
"""

import argparse
import asyncio
import itertools
import re
import ssl
import sys
from typing import cast

import uvloop

_REQUEST = re.compile(rb"GET /api/conversations/([0-9a-f-]{36})/updates/ HTTP/1\.1\r\n.*?\r\n\r\n", re.DOTALL)
_BODY = b'{"conversation_session_id":"%s","call_is_ready":false,"completion_percent":%d,"latest_update_text":"%s"}'
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nServer: stand-in\r\n\r\n"
# A prime number of texts, so that no conversation gets the same one twice in a row.
_NEWS = itertools.cycle([(10 + number % 80, b"step %d of the way" % number) for number in range(997)])


class StandIn(asyncio.Protocol):
    """Answers each complete request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)
        self._left = b""
        CONNECTIONS.add(self)
        if len(CONNECTIONS) == 1:
            stay_awake()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - any error
        """Forget the connection; after the last one, the loop may sleep."""
        CONNECTIONS.discard(self)

    def data_received(self, data: bytes) -> None:
        """Answer."""
        data = self._left + data
        end = 0
        for request in _REQUEST.finditer(data):
            body = _BODY % (request[1], *next(_NEWS))
            self._transport.write(_HEAD % len(body) + body)
            end = request.end()
        self._left = data[end:]


CONNECTIONS: set[StandIn] = set()


def stay_awake() -> None:
    """Keep the loop turning."""
    if CONNECTIONS:
        asyncio.get_running_loop().call_soon(stay_awake)


async def _serve(certificate: str | None) -> None:
    loop = asyncio.get_running_loop()
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    server = await loop.create_server(StandIn, "127.0.0.1", 0, ssl=context, backlog=1024)
    print(f"{'http' if context is None else 'https'}://localhost:{server.sockets[0].getsockname()[1]}/api", flush=True)

    await loop.run_in_executor(None, sys.stdin.read)  # ends when its parent does


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tls", metavar="CERTIFICATE", help="file with certificate and private key")
    uvloop.run(_serve(parser.parse_args().tls))
