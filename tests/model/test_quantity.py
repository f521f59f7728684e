"""Sizes, durations, addresses, hosts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestibule.model.config import Address, InheritedAddress, Server, TcpAddress, UdpAddress, UnixAddress
from vestibule.model.quantity import (
    MAX_QUANTITY,
    format_duration,
    format_listen,
    format_server,
    format_size,
    is_private_host,
    parse_duration,
    parse_host,
    parse_listen,
    parse_network,
    parse_port,
    parse_resolver,
    parse_server,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1", 1),
        ("512B", 512),
        ("16KiB", 16384),
        ("16KB", 16000),
        ("16kB", 16000),
        ("1.5MB", 1_500_000),
        ("50GB", 50 * 10**9),
        ("0.5KiB", 512),
        ("2 TiB", 2 * 2**40),
        (" 1MB ", 10**6),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "KB",
        "-1",
        "1.B",
        "1,5MB",
        "1kb",
        "1K",
        "1e3",
        "1 2",
        "0x10",
        "0.5B",
        "99999TB",
        "١KB",
        "1KB\n1",
    ],
)
def test_bad_sizes(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|unknown unit|whole number|too large"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("0", 0),
        ("0s", 0),
        ("500ms", 500),
        ("75s", 75_000),
        ("10m", 600_000),
        ("1h30m", 5_400_000),
        ("1d", 86_400_000),
        ("1m1ms", 60_001),
    ],
)
def test_durations(text: str, duration: int) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "s",
        "-1s",
        "1.5s",
        "1m1h",
        "1s1s",
        "1 s",
        "10min",
        "1M",
        "99999999999d",
        "٣s",
    ],
)
def test_bad_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|units|too long"):
        parse_duration(text)


@given(st.integers(0, MAX_QUANTITY))
def test_quantities_survive(number: int) -> None:
    assert parse_size(format_size(number)) == number
    assert parse_duration(format_duration(number)) == number


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (16384, "16KiB"),
        (50 * 10**9, "50GB"),
        (1_000_000, "1MB"),
        (1023, "1023B"),
        (0, "0B"),
    ],
)
def test_sizes_are_written_short(number: int, text: str) -> None:
    assert format_size(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(75_000, "75s"), (600_000, "10m"), (90_000, "90s"), (1, "1ms"), (0, "0ms"), (3_600_000, "1h")]
)
def test_durations_are_written_short(number: int, text: str) -> None:
    assert format_duration(number) == text


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("8080", TcpAddress(8080)),
        (":8080", TcpAddress(8080)),
        ("*:8080", TcpAddress(8080)),
        ("0.0.0.0:80", TcpAddress(80, "0.0.0.0")),
        ("[::1]:443", TcpAddress(443, "::1")),
        ("[2001:DB8:0::1]:443", TcpAddress(443, "2001:db8::1")),
        ("127.0.0.1:0", TcpAddress(0, "127.0.0.1")),
        ("udp://:53", UdpAddress(53)),
        ("udp://[::1]:53", UdpAddress(53, "::1")),
        ("unix:/run/v.sock", UnixAddress("/run/v.sock")),
        ("systemd:web", InheritedAddress("web")),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_listen(text) == address
    assert parse_listen(format_listen(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "host:80",
        "::1:80",
        "[::1]",
        "127.0.0.1",
        ":65536",
        ":-1",
        ":8 0",
        ":٨٠",
        "unix:",
        "systemd:",
        "udp://",
        "udp://unix:/a",
        "udp://udp://:53",
        "[127.0.0.1:80",
        "300.0.0.1:80",
    ],
)
def test_bad_addresses(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|no address|brackets"):
        parse_listen(text)


@pytest.mark.parametrize("text", ["0", "65536", "123456", "", "8a", "+8", " 8", "²"])
def test_bad_ports(text: str) -> None:
    with pytest.raises(ValueError, match="expected a port from 1 to 65535"):
        parse_port(text)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Photos.Example.ORG", "photos.example.org"),
        ("*.a.example", "*.a.example"),
        ("*", "*"),
        ("localhost", "localhost"),
        ("a.example.", "a.example"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("[::1]", "[::1]"),
        ("[2001:DB8::0001]", "[2001:db8::1]"),
        ("192.0.2.1", "192.0.2.1"),
        ("a_b", "a_b"),
    ],
)
def test_hosts(text: str, host: str) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "*.",
        "*a",
        "a*",
        "a.*.b",
        "a..b",
        "-a",
        "a-",
        "a b",
        "http://a",
        "a/b",
        "a:80",
        "[::1",
        "[x]",
        "a" * 64,
        "a." * 127,
        "ä" * 64,
        "a\n",
    ],
)
def test_bad_hosts(text: str) -> None:
    with pytest.raises(ValueError):
        parse_host(text)


@pytest.mark.parametrize(
    ("host", "private"),
    [
        ("localhost", True),
        ("photos", True),
        ("photos.lan", True),
        ("a.local", True),
        ("a.home.arpa", True),
        ("192.168.1.5", True),
        ("[::1]", True),
        ("*.lan", True),
        ("photos.example.org", False),
        ("*.example.org", False),
        ("lan.example", False),
    ],
)
def test_private_hosts(host: str, private: bool) -> None:
    assert is_private_host(host) is private


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("FD00::/8", "fd00::/8"),
        ("::1", "::1/128"),
    ],
)
def test_networks(text: str, network: str) -> None:
    assert parse_network(text) == network


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.1/8", "write `10.0.0.0/8`"),
        ("lan", "neither"),
        ("", "neither"),
        ("10.0.0.0/33", "neither"),
    ],
)
def test_bad_networks(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_network(text)


@pytest.mark.parametrize(
    ("text", "server", "written"),
    [
        ("http://immich:2283", Server("immich", 2283), "http://immich:2283"),
        ("http://immich", Server("immich", 80), "http://immich:80"),
        ("https://immich/", Server("immich", 443, tls=True), "https://immich:443"),
        ("http://[::1]:2283", Server("::1", 2283), "http://[::1]:2283"),
        ("http://[::1]", Server("::1", 80), "http://[::1]:80"),
        ("unix:/run/a.sock", Server(path="/run/a.sock"), "unix:/run/a.sock"),
    ],
)
def test_servers(text: str, server: Server, written: str) -> None:
    assert parse_server(text) == server
    assert format_server(server) == written
    assert parse_server(written) == server


@pytest.mark.parametrize("server", [Server("a", 1, weight=2), Server("a", 1, backup=True), Server(path="/a", tls=True)])
def test_servers_with_more_to_them_have_no_address_alone(server: Server) -> None:
    assert format_server(server) is None


BAD_SERVERS: list[tuple[str, str]] = [
    ("immich:2283", "expected a server"),
    ("ftp://a", "expected a server"),
    ("http:///", "expected a server"),
    ("http://", "no host name"),
    ("http://a/b", "no path"),
    ("http://a?b", "no path"),
    ("http://u:p@a", "no user"),
    ("http://a:", "port"),
    ("http://a:0", "port"),
    ("http://*.a", "wildcard"),
    ("http://*", "wildcard"),
    ("http://[::1", "ends with"),
    ("http://[x]", "no IPv6 address"),
    ("unix:", "path"),
]


@pytest.mark.parametrize(("text", "message"), BAD_SERVERS)
def test_bad_servers(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_server(text)


@pytest.mark.parametrize(
    "parse",
    [
        parse_size,
        parse_duration,
        parse_listen,
        parse_host,
        parse_network,
        parse_server,
        parse_port,
    ],
)
@given(text=st.text(max_size=12))
def test_no_text_raises_anything_else(parse: Callable[[str], object], text: str) -> None:
    try:
        parse(text)
    except ValueError as bad:
        assert str(bad)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("9.9.9.9", ("9.9.9.9", 53)),
        ("127.0.0.1:5353", ("127.0.0.1", 5353)),
        ("2620:fe::fe", ("2620:fe::fe", 53)),
        ("[::1]", ("::1", 53)),
        ("[::1]:5353", ("::1", 5353)),
    ],
)
def test_name_servers(text: str, place: tuple[str, int]) -> None:
    assert parse_resolver(text) == place


@pytest.mark.parametrize("text", ["", "dns.example.org", "9.9.9.9:", "9.9.9.9:0", "9.9.9.9:dns", "1.2.3:53"])
def test_what_is_no_name_server(text: str) -> None:
    with pytest.raises(ValueError, match="is no address of a name server"):
        parse_resolver(text)
