"""Which addresses may be talked to: the API key travels over https, or stays on this machine."""

import re
from ipaddress import ip_address
from urllib.parse import urljoin, urlsplit

from akapulu_async.errors import ConfigurationError

DEFAULT_BASE_URL = "https://akapulu.com/api"
"""Where the service is [documented]."""

# What RFC 3986 allows in a path without percent-encoding, and what is percent-encoded.
_PATH = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*", re.ASCII)
_DOT_SEGMENT = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)


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
        raise ConfigurationError(f"base_url: {problem}; wanted is one like {DEFAULT_BASE_URL}")
    return url.rstrip("/")


def _base_url_problem(url: str) -> str | None:  # noqa: PLR0911 - a check a line
    if not url.isprintable() or " " in url:
        return "it contains white space or control characters"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in {"http", "https"} or not host:
        return f"{url!r:.200} is no http(s) URL with a host" if "@" not in url else "it is no http(s) URL with a host"
    if "@" in parts.netloc:
        return "it contains a user name or a password"
    if parts.query or parts.fragment:
        return f"{url!r:.200} has a query or a fragment"
    if parts.scheme == "http" and not is_loopback(host):
        return f"{url!r:.200} would send the API key unencrypted; only loopback may do without https"
    return None


def check_path(path: str) -> str:
    """Return a path that stays below the base URL when it is appended.

    Raises:
        ConfigurationError: It does not, or bears characters that are not of a path.
    """
    if not _PATH.fullmatch(path) or _DOT_SEGMENT.search(path) or "//" in path:
        raise ConfigurationError(
            f"path: {path!r:.200} is not usable; wanted is one like '/scenarios/', "
            "percent-encoded, without '.' or '..', its query given as params"
        )
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
        parts = urlsplit(target)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or "@" in parts.netloc:
        return None
    if parts.scheme == "https":
        return target
    if parts.scheme == "http" and is_loopback(host) and is_loopback(urlsplit(base).hostname):
        return target
    return None
