"""The proxy of a URL: which variable names it, and which hosts need none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.sansio.proxies import find_proxy

PROXY, OTHER = "http://proxy.example:3128", "http://other.example:3128"
SERVICE = "https://akapulu.com/api"


@pytest.mark.parametrize(
    ("environment", "url", "found"),
    [
        ({}, SERVICE, None),
        ({"HTTPS_PROXY": PROXY}, SERVICE, ("HTTPS_PROXY", PROXY)),
        ({"https_proxy": PROXY, "HTTPS_PROXY": OTHER}, SERVICE, ("https_proxy", PROXY)),
        ({"https_proxy": "", "HTTPS_PROXY": OTHER}, SERVICE, None),
        ({"HTTPS_PROXY": f" {PROXY}\n"}, SERVICE, ("HTTPS_PROXY", PROXY)),
        ({"HTTPS_PROXY": PROXY, "ALL_PROXY": OTHER}, SERVICE, ("HTTPS_PROXY", PROXY)),
        ({"ALL_PROXY": PROXY}, SERVICE, ("ALL_PROXY", PROXY)),
        ({"all_proxy": PROXY, "ALL_PROXY": OTHER, "HTTPS_PROXY": ""}, SERVICE, ("all_proxy", PROXY)),
        ({"HTTP_PROXY": PROXY}, SERVICE, None),
        ({"HTTP_PROXY": PROXY}, "http://files.example/", ("HTTP_PROXY", PROXY)),
        ({"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, "http://files.example/", None),
        ({"http_proxy": PROXY, "REQUEST_METHOD": "GET"}, "http://files.example/", ("http_proxy", PROXY)),
        ({"HTTP_PROXY": PROXY, "HTTPS_PROXY": PROXY}, "https://localhost:8080/api", None),
        ({"HTTP_PROXY": PROXY, "HTTPS_PROXY": PROXY}, "http://127.0.0.1:8080/api", None),
        ({"HTTP_PROXY": PROXY, "HTTPS_PROXY": PROXY}, "http://[::1]:8080/api", None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "akapulu.com", "no_proxy": ""}, SERVICE, ("HTTPS_PROXY", PROXY)),
    ],
)
def test_variable_is_named(environment: dict[str, str], url: str, found: tuple[str, str] | None) -> None:
    """The variable of the scheme wins over that of all, small letters over capitals, and loopback has no proxy."""
    assert find_proxy(environment, url) == found


@pytest.mark.parametrize(
    ("no_proxy", "direct", "proxied"),
    [
        ("akapulu.com", ["akapulu.com", "api.akapulu.com", "AKAPULU.com"], ["notakapulu.com", "com", "akapulu.com.io"]),
        (".akapulu.com", ["akapulu.com", "api.akapulu.com"], ["notakapulu.com"]),
        ("*.akapulu.com", ["akapulu.com", "eu.api.akapulu.com"], ["notakapulu.com"]),
        ("akapulu.com.", ["akapulu.com", "akapulu.com.", "api.akapulu.com"], ["akapulu.io"]),
        ("AKAPULU.COM", ["akapulu.com"], ["akapulu.io"]),
        ("*", ["akapulu.com", "192.0.2.1", "[2001:db8::1]"], []),
        ("other.com, *", ["akapulu.com", "192.0.2.1"], []),
        ("other.com,akapulu.com", ["akapulu.com", "other.com"], ["third.com"]),
        (" other.com  akapulu.com ", ["akapulu.com", "other.com"], ["third.com"]),
        (",, ,", [], ["akapulu.com"]),
        (".", [], ["akapulu.com"]),
        ("akapulu.com:8443", ["akapulu.com:8443", "api.akapulu.com:8443"], ["akapulu.com", "akapulu.com:443"]),
        ("akapulu.com:443", ["akapulu.com", "akapulu.com:443"], ["akapulu.com:8443"]),
        ("192.0.2.1", ["192.0.2.1", "192.0.2.1:8443"], ["192.0.2.10", "akapulu.com"]),
        ("192.0.2.0/24", ["192.0.2.1", "192.0.2.255"], ["192.0.3.1", "akapulu.com", "[2001:db8::1]"]),
        ("192.0.2.77/24", ["192.0.2.1"], ["192.0.3.1"]),
        ("2001:db8::1", ["[2001:db8::1]", "[2001:DB8:0::1]", "[2001:db8::1]:8443"], ["[2001:db8::2]"]),
        ("[2001:db8::1]", ["[2001:db8::1]"], ["[2001:db8::2]"]),
        ("[2001:db8::1]:8443", ["[2001:db8::1]:8443"], ["[2001:db8::1]"]),
        ("2001:db8::/32", ["[2001:db8:1::5]"], ["[2001:db9::1]", "192.0.2.1"]),
        ("192.0.2.0/33", [], ["192.0.2.1"]),
        ("2.1", [], ["192.0.2.1"]),
        ("localhost", [], ["akapulu.com"]),
    ],
)
def test_hosts_that_need_no_proxy(no_proxy: str, direct: list[str], proxied: list[str]) -> None:
    """Each form of an entry of `NO_PROXY` stands for the hosts that curl, or common use, takes it for."""
    environment = {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy}
    assert [host for host in direct if find_proxy(environment, f"https://{host}/api") is not None] == []
    assert [host for host in proxied if find_proxy(environment, f"https://{host}/api") is None] == []


@given(no_proxy=st.text(alphabet="a.*:[]/0129, ", max_size=30), host=st.sampled_from(["a.a", "10.0.0.1", "[::a]"]))
def test_no_list_is_an_error(no_proxy: str, host: str) -> None:
    """Whatever `NO_PROXY` is, a host has a proxy or not."""
    environment = {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy}
    assert find_proxy(environment, f"https://{host}/") in {None, ("HTTPS_PROXY", PROXY)}
