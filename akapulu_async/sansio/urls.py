"""Check addresses: the API key is sent over https only, or stays on this machine."""

import re
from contextlib import suppress
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from akapulu_async.checks import refuse, refuse_kind, shown
from akapulu_async.errors import ConfigurationError

DEFAULT_BASE_URL = "https://akapulu.com/api"
"""The address of the service [documented]."""

# Patterns are texts, which `re` compiles when first needed.

# The characters that RFC 3986 allows in a path, and percent-encoded ones.
_PATH = r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*"
_DOT_SEGMENT = r"(?i)(?:/|%2f|%5c)(?:\.|%2e){1,2}(?:/|%2f|%5c|$)"

# Host and port, without anything that parsers read differently: user names, backslashes, `[::1]x`. The labels of a
# name have 1 to 63 characters; others cannot be looked up.
_AUTHORITY = r"(?ai)(?:(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"


def is_loopback(host: str | None) -> bool:
    """Return True if a host is this machine: `localhost`, 127.0.0.0/8 or ::1."""
    host = host or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_base_url(url: str) -> str:
    """Return the base URL without its trailing slash.

    Raises:
        ConfigurationError: The API key must not be sent to this URL.
    """
    problem = _base_url_problem(url)
    if problem:
        raise ConfigurationError(f"base_url: {problem}; write one such as {DEFAULT_BASE_URL}")
    return url.rstrip("/")


def _base_url_problem(url: Any) -> str | None:  # noqa: PLR0911 - a check a line
    if not isinstance(url, str):
        refuse_kind("base_url", url, "a text")
    if not url.isprintable() or " " in url:
        return "it contains white space or control characters"
    # These two do not show the URL, which may contain a password or a token.
    if "@" in url:
        return "it contains a user name or a password"
    if "?" in url or "#" in url:
        return "it has a query or a fragment"
    if not url.isascii():
        return f"{shown(url, 200)} is not ASCII; write its host as 'xn--...', and its path percent-encoded"
    parts = _split(url)
    if parts is None or parts.scheme not in {"http", "https"}:
        return f"{shown(url, 200)} is not an http(s) URL with a host"
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        return f"{shown(url, 200)} would send the API key unencrypted; https is required, except for loopback"
    path = parts.path.rstrip("/")
    if path and not _stays_below(path):
        return f"{shown(url, 200)} has a path with '.', '..', an empty part or a character that paths cannot have"
    return None


def _split(url: str) -> SplitResult | None:
    """Return the parts of a URL with an unambiguous host and port; None for other texts."""
    with suppress(ValueError):
        parts = urlsplit(url)
        if re.fullmatch(_AUTHORITY, parts.netloc) and parts.hostname and parts.port != 0:
            return parts
    return None


def _stays_below(path: str) -> bool:
    return bool(re.fullmatch(_PATH, path)) and not re.search(_DOT_SEGMENT, path) and "//" not in path


def check_path(path: Any) -> str:
    """Return a path, which stays below the base URL when appended to it.

    Raises:
        ConfigurationError: It would leave the base URL, or has characters that paths cannot have.
    """
    if not isinstance(path, str) or not _stays_below(path):
        wanted = "a path such as '/scenarios/', percent-encoded, without '.' or '..' (use params for the query)"
        refuse("path", path, wanted)
    return path


def redirect_target(location: str, base: str) -> str | None:
    """Return the target of a download's redirect; None if it must not be followed.

    Only https is followed, or http from loopback to loopback: a remote service's answer must not reach into this
    machine's network unencrypted.
    """
    if not location or not location.isprintable() or " " in location:
        return None
    with suppress(ValueError):
        target = urljoin(base, location)
        if parts := _split(target):
            local = parts.scheme == "http" and is_loopback(parts.hostname) and is_loopback(urlsplit(base).hostname)
            return target if parts.scheme == "https" or local else None
    return None
