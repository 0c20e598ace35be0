from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbd.serving import UNHURRIED

from nightwell.errors import InputError
from nightwell.nbd.url import DEFAULT_PORT, ExportUrl, parse_url

NAMES = st.text(max_size=30)
PATHS = NAMES.filter(lambda name: name != "" and "\0" not in name).map(lambda name: "/run/" + name)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("nbd://127.0.0.1:10820/well-7", ExportUrl("well-7", "127.0.0.1", 10820)),
        ("nbd://array.example/a%20b%2Fc", ExportUrl("a b/c", "array.example", DEFAULT_PORT)),
        ("nbds://[::1]:99/x", ExportUrl("x", "::1", 99, secure=True)),
        ("nbd://localhost", ExportUrl("", "localhost")),
        ("nbd+unix:///x?socket=/run/n%20w.sock", ExportUrl("x", socket_path="/run/n w.sock")),
        ("nbds+unix:///?socket=/s", ExportUrl("", socket_path="/s", secure=True)),
    ],
)
def test_a_url_is_parsed(url: str, parts: ExportUrl) -> None:
    assert parse_url(url) == parts
    assert parse_url(str(parts)) == parts


@settings(UNHURRIED)
@given(
    name=NAMES,
    host=st.sampled_from(["localhost", "10.0.0.1", "::1"]),
    port=st.integers(1, 65535),
    secure=st.booleans(),
)
def test_a_tcp_url_comes_back_as_it_was(*, name: str, host: str, port: int, secure: bool) -> None:
    parts = ExportUrl(name, host, port, secure=secure)
    assert parse_url(str(parts)) == parts


@settings(UNHURRIED)
@given(NAMES, PATHS)
def test_a_unix_url_comes_back_as_it_was(name: str, path: str) -> None:
    parts = ExportUrl(name, socket_path=path)
    assert parse_url(str(parts)) == parts


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("", "no scheme"),
        ("well-7", "no scheme"),
        ("http://h/x", "'http'"),
        ("nbd:///x", "no host"),
        ("nbd://h:0/x", "port 0"),
        ("nbd://a..b/x", "'a..b'"),
        ("nbd://h:70000/x", "range"),
        ("nbd://h:port/x", "port"),
        ("nbd://[::1/x", "IPv6"),
        ("nbd://user@h/x", "user name"),
        ("nbd://h/x?socket=/s", "query"),
        ("nbd://h/%ff", "UTF-8"),
        ("nbd+unix:///x", "no path"),
        ("nbd+unix:///x?socket=", "no path"),
        ("nbd+unix://x?socket=/s", "three slashes"),
        ("nbd+unix:///x?socket=/s&mode=1", "'mode'"),
    ],
)
def test_a_wrong_url_is_an_input_error_that_says_what_is_wrong(url: str, found: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_url(url)
    assert found in caught.value.found
    assert repr(url) in caught.value.subject
