"""Which addresses may be talked to: the API key travels over https, or stays on this machine."""

import re
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from akapulu_async.checks import refuse, shown
from akapulu_async.errors import ConfigurationError

DEFAULT_BASE_URL = "https://akapulu.com/api"
"""Where the service is [documented]."""

# These are texts, compiled by `re` when they are first needed.

# What RFC 3986 allows in a path without percent-encoding, and what is percent-encoded.
_PATH = r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*"
_DOT_SEGMENT = r"(?i)(?:/|%2f|%5c)(?:\.|%2e){1,2}(?:/|%2f|%5c|$)"

# Host and port. All that other parsers might read in another way is left out: user names, backslashes, `[::1]x`.
# A name's parts have 1 to 63 letters: what has not cannot even be asked for.
_AUTHORITY = r"(?ai)(?:(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine: `localhost`, 127.0.0.0/8 or ::1."""
    if host is None:
        return False
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_base_url(url: str) -> str:
    """Return the base URL without its last slash.

    Raises:
        ConfigurationError: It is no URL that the API key may be sent to.
    """
    problem = _base_url_problem(url)
    if problem:
        raise ConfigurationError(f"base_url: {problem}; write one such as {DEFAULT_BASE_URL}")
    return url.rstrip("/")


def _base_url_problem(url: Any) -> str | None:  # noqa: PLR0911 - a check a line
    if not isinstance(url, str):
        return f"it must be a text, not {type(url).__name__}"
    if not url.isprintable() or " " in url:
        return "it contains white space or control characters"
    # Neither of these shows the URL, nor lets a parser's error do so: a password or a token may stand in it.
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
        return f"{shown(url, 200)} would send the API key unencrypted; only loopback may do without https"
    path = parts.path.rstrip("/")
    if path and not _stays_below(path):
        return f"{shown(url, 200)} has a path with '.', '..', an empty part or a character that is not of a path"
    return None


def _split(url: str) -> SplitResult | None:
    """Return the parts of a URL whose host and port nobody can misread; None if it is no such URL."""
    try:
        parts = urlsplit(url)
        usable = re.fullmatch(_AUTHORITY, parts.netloc) and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None


def _stays_below(path: str) -> bool:
    return bool(re.fullmatch(_PATH, path)) and not re.search(_DOT_SEGMENT, path) and "//" not in path


def check_path(path: Any) -> str:
    """Return a path that stays below the base URL when it is appended.

    Raises:
        ConfigurationError: It does not, or bears characters that are not of a path.
    """
    if not isinstance(path, str) or not _stays_below(path):
        wanted = "a path such as '/scenarios/', percent-encoded, without '.' or '..' (use params for the query)"
        refuse("path", path, wanted)
    return path


def redirect_target(location: str, base: str) -> str | None:
    """Return where a redirect of a download leads to, or None if it must not be followed.

    Only https is followed, or http to loopback if the redirect itself came from loopback: what a remote service
    answers must not reach into this machine's network unencrypted.
    """
    if not location or not location.isprintable() or " " in location:
        return None
    try:
        target = urljoin(base, location)
    except ValueError:
        return None
    parts = _split(target)
    if parts is None:
        return None
    if parts.scheme == "https":
        return target
    if parts.scheme == "http" and is_loopback(parts.hostname) and is_loopback(urlsplit(base).hostname):
        return target
    return None
