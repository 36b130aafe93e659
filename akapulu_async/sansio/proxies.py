"""Choose the proxy of a URL from the environment, by the rules that curl documents.

`https_proxy` or `HTTPS_PROXY` names the proxy for https, `http_proxy` or `HTTP_PROXY` that for http, `all_proxy` or
`ALL_PROXY` that for either. The lower-case name wins, even if its value is empty, which means none. In a CGI program
`HTTP_PROXY` comes from a visitor's header and is ignored.

`NO_PROXY` lists hosts that are asked directly, separated by commas or blanks. An entry is:

- a name: it stands for that host and for all hosts below it, with or without a dot before it. Dots at the end are
  ignored;
- an address, or a range of addresses such as `10.0.0.0/8` or `fd00::/8`. An IPv6 address may stand in brackets;
- `*`: it stands for all hosts.

In addition to curl's rules, `*.domain` is read as `.domain`, a `*` may stand among other entries, and an entry may end
in a port, such as `akapulu.com:8443`.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from akapulu_async.sansio.urls import is_loopback


def find_proxy(environment: Mapping[str, str], url: str) -> tuple[str, str] | None:
    """Return the variable that names the proxy of a URL, and its value; None for no proxy.

    Loopback never has one.
    """
    parts = urlsplit(url)
    host, port = (parts.hostname or "").rstrip("."), parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    if is_loopback(host):
        return None
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        variable = name if name in environment else name.upper()
        if variable == "HTTP_PROXY" and "REQUEST_METHOD" in environment:
            continue
        value = environment.get(variable, "").strip()
        if value:
            listed = environment.get("no_proxy" if "no_proxy" in environment else "NO_PROXY", "")
            return None if _is_listed(listed, host, port) else (variable, value)
    return None


def _is_listed(entries: str, host: str, port: int | None) -> bool:
    """Return True if a list of hosts that need no proxy has a host, which is lower-case."""
    address = _address(host)
    return any(_matches(entry, host, address, port) for entry in re.split(r"[\s,]+", entries.lower()) if entry)


def _matches(entry: str, host: str, address: IPv4Address | IPv6Address | None, port: int | None) -> bool:
    # A name or an IPv4 address with a port, or an IPv6 address in brackets with or without one.
    parts = re.fullmatch(r"\[([^]]*)\](?::([0-9]{1,5}))?|([^:]*):([0-9]{1,5})", entry)
    if parts:
        entry = parts[1] or parts[3]
        wanted = parts[2] or parts[4]
        if wanted and int(wanted) != port:
            return False
    if entry == "*":
        return True
    if address is not None:
        with suppress(ValueError):
            return address in ip_network(entry, strict=False)
        return False
    name = entry.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    with suppress(ValueError):
        return ip_address(host)
    return None
