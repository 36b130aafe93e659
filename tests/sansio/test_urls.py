"""The API key is sent over https or stays on this machine, and below the base URL."""

from itertools import count
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from akapulu_async.errors import ConfigurationError
from akapulu_async.sansio.urls import DEFAULT_BASE_URL, check_base_url, check_path, is_loopback, redirect_target

ADVICE = "; write one such as https://akapulu.com/api"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True), ("LocalHost", True), ("127.0.0.1", True), ("127.255.1.2", True), ("::1", True),
        ("0:0:0:0:0:0:0:1", True),
        (None, False), ("", False), ("localhost.evil.com", False), ("evil-localhost", False), ("0.0.0.0", False),  # noqa: S104
        ("128.0.0.1", False), ("10.0.0.1", False), ("127.1", False), ("127.0.0.1.evil.com", False), ("::", False),
        ("fe80::1", False), ("2130706433", False), ("0177.0.0.1", False), ("akapulu.com", False),
    ],
)  # fmt: skip
def test_loopback(host: str | None, *, loopback: bool) -> None:
    """Loopback is `localhost`, 127.0.0.0/8 and ::1, in their plain forms only."""
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        (DEFAULT_BASE_URL, DEFAULT_BASE_URL),
        ("https://staging.akapulu.com", "https://staging.akapulu.com"),
        ("https://akapulu.com/api/", "https://akapulu.com/api"),
        ("https://akapulu.com///", "https://akapulu.com"),
        ("HTTPS://Akapulu.com:8443/v1/api", "HTTPS://Akapulu.com:8443/v1/api"),
        ("https://xn--bcher-kva.example/%C3%BC", "https://xn--bcher-kva.example/%C3%BC"),
        ("https://10.0.0.1/api", "https://10.0.0.1/api"),
        ("https://[2001:db8::1]:443/api", "https://[2001:db8::1]:443/api"),
        ("http://localhost:8080/api", "http://localhost:8080/api"),
        ("http://LOCALHOST/", "http://LOCALHOST"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://127.9.8.7:65535/", "http://127.9.8.7:65535"),
        ("http://[::1]:8080/api", "http://[::1]:8080/api"),
    ],
    ids=count(),
)
def test_base_urls(url: str, kept: str) -> None:
    """Any https host is accepted, and http for loopback; trailing slashes are dropped."""
    assert check_base_url(url) == kept


NO_HOST = "is not an http(s) URL with a host"
OPEN = "would send the API key unencrypted; https is required, except for loopback"
BAD_PATH = "has a path with '.', '..', an empty part or a character that paths cannot have"
NOT_ASCII = "is not ASCII; write its host as 'xn--...', and its path percent-encoded"
USER = "it contains a user name or a password"
QUERY = "it has a query or a fragment"
SPACE = "it contains white space or control characters"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://akapulu.com/api", f"'http://akapulu.com/api' {OPEN}"),
        ("http://10.0.0.1/", f"'http://10.0.0.1/' {OPEN}"),
        ("http://localhost.evil.com", f"'http://localhost.evil.com' {OPEN}"),
        ("http://127.0.0.1.evil.com", f"'http://127.0.0.1.evil.com' {OPEN}"),
        ("", f"'' {NO_HOST}"),
        ("akapulu.com/api", f"'akapulu.com/api' {NO_HOST}"),
        ("//akapulu.com/api", f"'//akapulu.com/api' {NO_HOST}"),
        ("https:", f"'https:' {NO_HOST}"),
        ("https:///api", f"'https:///api' {NO_HOST}"),
        ("https://:443/api", f"'https://:443/api' {NO_HOST}"),
        ("ftp://akapulu.com", f"'ftp://akapulu.com' {NO_HOST}"),
        ("file:///etc/passwd", f"'file:///etc/passwd' {NO_HOST}"),
        ("https://akapulu.com:", f"'https://akapulu.com:' {NO_HOST}"),
        ("https://akapulu.com:0", f"'https://akapulu.com:0' {NO_HOST}"),
        ("https://akapulu.com:65536", f"'https://akapulu.com:65536' {NO_HOST}"),
        ("https://akapulu.com:99999999", f"'https://akapulu.com:99999999' {NO_HOST}"),
        ("https://akapulu.com:api", f"'https://akapulu.com:api' {NO_HOST}"),
        ("https://akapulu.com:-1", f"'https://akapulu.com:-1' {NO_HOST}"),
        ("https://[::1", f"'https://[::1' {NO_HOST}"),
        ("https://::1/", f"'https://::1/' {NO_HOST}"),
        ("http://[::1].evil.com/", f"'http://[::1].evil.com/' {NO_HOST}"),
        ("http://[::1%25lo]/", f"'http://[::1%25lo]/' {NO_HOST}"),
        (r"https://evil.com\.akapulu.com", rf"'https://evil.com\\.akapulu.com' {NO_HOST}"),
        ("https://akapulu%2ecom/", f"'https://akapulu%2ecom/' {NO_HOST}"),
        ("https://user:hunter2@akapulu.com/api", USER),
        ("https://hunter2@akapulu.com", USER),
        ("https://user:hun/ter2@akapulu.com", USER),
        ("https://user:hunter2@akapulu.com:port", USER),
        ("https://user:hunter2@akapulu\u2100com/", USER),
        ("https:user:hunter2@akapulu.com", USER),
        ("https://akapulu.com/api?key=hunter2", QUERY),
        ("https://akapulu.com/api?", QUERY),
        ("https://akapulu.com/api#hunter2", QUERY),
        ("https://akapulu.com/#", QUERY),
        ("https://akapulu.com /api", SPACE),
        (" https://akapulu.com", SPACE),
        ("https://akapulu.com\n", SPACE),
        ("https://aka\tpulu.com", SPACE),
        ("https://akapulu.com/\x00", SPACE),
        ("https://akapulu.com/\u2028", SPACE),
        ("https://akapulu.com/\ud800", SPACE),
        ("https://b\u00fccher.example/api", f"'https://b\u00fccher.example/api' {NOT_ASCII}"),
        ("http://\u217bocalhost/", f"'http://\u217bocalhost/' {NOT_ASCII}"),
        ("https://akapulu.com/\u00fc", f"'https://akapulu.com/\u00fc' {NOT_ASCII}"),
        ("https://akapulu.com/a/../b", f"'https://akapulu.com/a/../b' {BAD_PATH}"),
        ("https://akapulu.com/a//b", f"'https://akapulu.com/a//b' {BAD_PATH}"),
        (r"https://akapulu.com/a\b", rf"'https://akapulu.com/a\\b' {BAD_PATH}"),
        ("https://akapulu.com/{id}", f"'https://akapulu.com/{{id}}' {BAD_PATH}"),
    ],
    ids=count(),
)
def test_other_base_urls_are_refused(url: Any, problem: str) -> None:
    """Other URLs are refused with the reason and an example, without a password that they may contain."""
    with pytest.raises(ConfigurationError) as caught:
        check_base_url(url)
    assert str(caught.value) == f"base_url: {problem}{ADVICE}"
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize("url", [None, b"https://akapulu.com", 5])
def test_base_url_is_a_text(url: Any) -> None:
    """Anything but a text is refused without being shown."""
    with pytest.raises(ConfigurationError, match=f"^base_url must be a text, not {type(url).__name__}$"):
        check_base_url(url)


authorities = st.text("ab1.:@[]\\%/?#-", max_size=12) | st.sampled_from(["localhost", "127.0.0.1", "[::1]", "a.com"])


@given(st.sampled_from(["http://", "https://", "HTTP://", "http:", "//", ""]), authorities, st.text(max_size=8))
def test_no_base_url_is_open(scheme: str, authority: str, rest: str) -> None:
    """Every accepted URL is https or loopback, and yarl reads the same host."""
    try:
        url = check_base_url(scheme + authority + rest)
    except ConfigurationError:
        return
    parts, sent = urlsplit(url), URL(f"{url}/scenarios/", encoded=True)
    assert parts.scheme == "https" or is_loopback(parts.hostname)
    assert (sent.raw_host or "").lower() == parts.hostname
    assert sent.raw_path == f"{parts.path}/scenarios/"
    assert not sent.raw_query_string
    assert sent.raw_user is sent.raw_password is None


@pytest.mark.parametrize(
    "path", ["/", "/scenarios/", "/a/b-c_d.e~f/", "/%20/%C3%BC/", "/...", "/.b/..c/", "/a:b@c/!$&'()*+,;=", "/%2f"]
)
def test_paths(path: str) -> None:
    """A path that follows RFC 3986 is used unchanged."""
    assert check_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "", "scenarios/", "https://evil.com/", "//evil.com/", "/a//b", "/a/..", "/../a", "/./a", "/a/.", "/a/../b",
        "/a/%2e%2e/b", "/a/.%2E/b",
        "/%2e/", "/a/..%2fb", "/.%2F.", "/a%2f..%2Fb", "/a/..%5cb", "/a%5c../", r"/a\b", r"/..\a",
        "/a?b=c", "/a#b", "/a b", "/a\r\nHost: evil", "/a\n", "/a\t", "/a\x00", "/\u00fc", "/a%", "/a%2", "/a%zz",
        "/{id}/", '/"', "/<a>", "/a|b", "/[a]", "/a^b", "/`a`",
        None, b"/", pytest.param(10**5000, id="huge"),
    ],
)  # fmt: skip
def test_other_paths_are_refused(path: Any) -> None:
    """A path that would leave the base URL, or has characters that paths cannot have, is refused."""
    with pytest.raises(ConfigurationError, match=r"^path must be a path such as '/scenarios/', .*, not "):
        check_path(path)


def test_a_token_in_a_path_is_not_shown() -> None:
    """A token in a path, or in the base URL, is masked in the error."""
    with pytest.raises(ConfigurationError, match=r", not '/x/\?token=\*\*\*'?$"):
        check_path("/x/?token=hunter2")
    with pytest.raises(ConfigurationError, match=r"^base_url: 'http://10\.0\.0\.1/\*\*\*' would send"):
        check_base_url("http://10.0.0.1/eyJhbGciOiJIUzI1NiJ9.eyJyIjoicm9vbSJ9.c2lnbmF0dXJl")


@given(st.text("ab./\\%2eEfF5cC?#\n@:", max_size=14).map(lambda text: f"/{text}"))
@example("/a/%2e%2e%2fb")
def test_paths_stay_below(path: str) -> None:
    """Every accepted path is below the base URL, even if it is decoded first."""
    try:
        check_path(path)
    except ConfigurationError:
        return
    assert URL(f"https://akapulu.com/api{path}", encoded=True).raw_path == f"/api{path}"
    decoded = path.lower().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/")
    assert not {".", ".."} & set(decoded.split("/"))


BASE = "https://akapulu.com/api/conversations/1/recording/"
LOCAL = "http://127.0.0.1:8080/api/x/"


@pytest.mark.parametrize(
    ("location", "base", "target"),
    [
        ("https://cdn.example/x?sig=a%2Fb", BASE, "https://cdn.example/x?sig=a%2Fb"),
        ("HTTPS://cdn.example/x", BASE, "https://cdn.example/x"),
        ("https://10.0.0.1/x", BASE, "https://10.0.0.1/x"),
        ("https:///x", BASE, "https://akapulu.com/x"),
        ("//cdn.example/x", BASE, "https://cdn.example/x"),
        ("/files/1.mp4", BASE, "https://akapulu.com/files/1.mp4"),
        ("../1.mp4?a=b", BASE, "https://akapulu.com/api/conversations/1/1.mp4?a=b"),
        ("?part=2", BASE, f"{BASE}?part=2"),
        ("https://cdn.example/\u00fc", BASE, "https://cdn.example/\u00fc"),
        ("/files/1", LOCAL, "http://127.0.0.1:8080/files/1"),
        ("http://localhost:9/x", LOCAL, "http://localhost:9/x"),
        ("http://[::1]:9/x", LOCAL, "http://[::1]:9/x"),
        ("https://cdn.example/x", LOCAL, "https://cdn.example/x"),
        ("http://cdn.example/x", BASE, None),
        ("http://cdn.example/x", LOCAL, None),
        ("//cdn.example/x", LOCAL, None),
        ("http://127.0.0.1/x", BASE, None),
        ("http://localhost/x", BASE, None),
        ("http://127.0.0.1.evil.com/x", LOCAL, None),
        ("http://[::1].evil.com/x", LOCAL, None),
        ("http://127.0.0.1@evil.com/x", LOCAL, None),
        ("http://127.0.0.1\\@evil.com/x", LOCAL, None),
        ("https://user:pass@cdn.example/x", BASE, None),
        ("https://@cdn.example/x", BASE, None),
        ("https://b\u00fccher.example/x", BASE, None),
        ("https://cdn.example:0/x", BASE, None),
        ("https://cdn.example./x", BASE, "https://cdn.example./x"),
        (f"https://{'a' * 63}.example/x", BASE, f"https://{'a' * 63}.example/x"),
        (f"https://{'a' * 64}.example/x", BASE, None),
        ("https://cdn..example/x", BASE, None),
        ("https://.cdn.example/x", BASE, None),
        ("https://.../x", BASE, None),
        ("https://cdn.example:port/x", BASE, None),
        ("https://cdn.example:65536/x", BASE, None),
        ("https://[::1/x", BASE, None),
        ("ftp://cdn.example/x", BASE, None),
        ("file:///etc/passwd", BASE, None),
        ("javascript:alert(1)", BASE, None),
        ("data:text/plain,x", LOCAL, None),
        ("", BASE, None),
        (" https://cdn.example/x", BASE, None),
        ("https://cdn.example/a b", BASE, None),
        ("https://cdn.example/x\r\nA: b", BASE, None),
        ("ht\ntps://cdn.example/x", BASE, None),
        ("https://cdn.example/\udcff", BASE, None),
    ],
    ids=count(),
)
def test_redirects(location: str, base: str, target: str | None) -> None:
    """A download follows to https, and from loopback to loopback; nowhere else."""
    assert redirect_target(location, base) == target


@given(
    st.sampled_from(["", "/", "//", "http://", "https://", "http:", "https:", "\\\\", "ftp://"]),
    authorities,
    st.text(max_size=8),
    st.sampled_from([BASE, LOCAL]),
)
def test_redirects_lead_nowhere_else(scheme: str, authority: str, rest: str, base: str) -> None:
    """Every followed redirect is https, or from loopback to loopback, and yarl reads the same host."""
    target = redirect_target(scheme + authority + rest, base)
    if target is None:
        return
    sent = URL(target, encoded=True)
    assert sent.scheme == "https" or (base == LOCAL and sent.scheme == "http" and is_loopback(sent.raw_host))
    assert sent.raw_user is sent.raw_password is None
