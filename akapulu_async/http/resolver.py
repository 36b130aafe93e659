"""Addresses of host names: looked up in threads that the end of the program does not wait for, and soon forgotten."""

import asyncio
import socket
import threading
from contextlib import suppress
from functools import partial
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from akapulu_async.sansio.urls import is_loopback

DNS_TTL = 10.0
"""Seconds that an address is remembered, from the moment of asking."""

_Found = list[ResolveResult] | OSError
_Key = tuple[str, int, int]


class Resolver(AbstractResolver):
    """Resolves host names, each once at a time, however many calls wait for it.

    The system's lookup cannot be interrupted. asyncio runs it in threads that the interpreter waits for, so Ctrl-C
    would have no effect until a lookup that hangs gives up; here they are daemons. To be used without aiohttp's own
    cache, which cannot forget an address while calls wait for it.
    """

    def __init__(self) -> None:
        self._lookups: dict[_Key, tuple[float, asyncio.Future[_Found]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host.

        Raises:
            OSError: There are none.
        """
        loop = asyncio.get_running_loop()
        key = host, port, family
        asked_at, lookup = self._lookups.get(key, (loop.time(), None))
        if lookup is None or (lookup.done() and loop.time() - asked_at >= DNS_TTL):
            lookup = loop.create_future()
            ask = partial(_look_up, key, loop, lookup)
            try:
                threading.Thread(target=ask, name=f"look up {host}", daemon=True).start()
            except RuntimeError as error:  # the system has no more threads
                raise OSError(str(error)) from None
            self._lookups[key] = loop.time(), lookup  # only now: else others would wait for it in vain
        found = await asyncio.shield(lookup)  # which others may wait for
        if isinstance(found, OSError):
            self.forget()
            raise type(found)(*found.args)  # a new one, without the frames of other calls
        found.append(found.pop(0))  # by turns
        return list(found)

    def forget(self) -> None:
        """Forget the addresses, since one that does not answer may have moved. Lookups under way continue."""
        self._lookups = {key: (at, lookup) for key, (at, lookup) in self._lookups.items() if not lookup.done()}

    async def close(self) -> None:
        """Cancel the calls that wait."""
        for _, lookup in self._lookups.values():
            with suppress(RuntimeError):  # its loop was closed meanwhile, and somebody waits for it still
                lookup.cancel()
        self._lookups.clear()


def _look_up(key: _Key, loop: asyncio.AbstractEventLoop, lookup: "asyncio.Future[_Found]") -> None:
    """Ask the system. Called in a thread."""
    host, port, family = key
    found: _Found
    try:
        # Without a network, ADDRCONFIG would find no address of this machine either.
        flags = 0 if is_loopback(host) else socket.AI_ADDRCONFIG
        infos: list[Any] = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=flags)
        found = [
            ResolveResult(
                hostname=host,
                host=_numeric(address),
                port=address[1],
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, proto, _, address in infos
        ]
    except OSError as error:  # raised where it is awaited
        found = error
    except UnicodeError as error:  # a label that IDNA does not know
        found = socket.gaierror(socket.EAI_NONAME, str(error))
    with suppress(RuntimeError):  # the loop was closed meanwhile
        loop.call_soon_threadsafe(_settle, lookup, found)


def _settle(lookup: "asyncio.Future[_Found]", found: _Found) -> None:
    if not lookup.done():
        lookup.set_result(found)


def _numeric(address: tuple[str | int, ...]) -> str:
    """Return the host of a socket's address, with the interface of a link-local one."""
    scope = address[3:]
    return f"{address[0]}%{scope[0]}" if scope and scope[0] else str(address[0])
