"""``listen`` and ``server_name``: which sockets there are, and which server serves which host on them.

Facts: a server without ``listen`` is on port 80; an address without a port too. Options of a socket count for all servers on it.
The first server on a socket, or the one that says ``default_server``, serves what no name fits. A name that begins with a dot is
itself and all below it; ``_`` and the empty name fit no request. Names that end with ``.*`` and regular expressions come after all
others, in written order.

Rules: an IPv4 wildcard stays one: nginx's ``listen 80`` is no IPv6.

Not here: what servers answer (``location``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from vestibule.dialects.nginx.flow import not_built
from vestibule.dialects.nginx.lexer import Word
from vestibule.dialects.nginx.patterns import to_pattern
from vestibule.dialects.nginx.tree import Directive
from vestibule.dialects.nginx.values import parse_count
from vestibule.dialects.record import Record
from vestibule.model.config import Address, TcpAddress, UdpAddress, UnixAddress
from vestibule.model.diagnostic import Span
from vestibule.model.expr import EMPTY, AllOf, AnyOf, Const, Expr, If, InSet, Not, Var, concat
from vestibule.model.quantity import format_listen, parse_host, parse_listen_host, parse_port

_WITHOUT_EFFECT = ("bind", "deferred", "reuseport")
_WITHOUT_EFFECT_KEYS = ("setfib", "fastopen", "rcvbuf", "sndbuf", "accept_filter", "so_keepalive")

_MOST_PORTS = 200
"""Ports in one range: each is a listener of its own."""


_USUAL = {False: 80, True: 443}
_PORT, _TLS = Var("server_port"), Var("tls")
_SHOWN = If(
    AnyOf((AllOf((Not(_TLS), InSet(_PORT, ("0", "80")))), AllOf((_TLS, InSet(_PORT, ("0", "443")))))),
    EMPTY,
    concat([Const(":"), _PORT]),
)


@dataclass(slots=True)
class Door:
    """One socket with the servers on it, by their number."""

    name: str
    address: Address
    span: Span
    tls: bool = False
    http2: bool = False
    proxy_protocol: bool = False
    backlog: int = 0
    servers: list[int] = field(default_factory=list)
    default: int | None = None

    @property
    def default_server(self) -> int:
        """The server for hosts that no name fits."""
        return self.servers[0] if self.default is None else self.default


def port_of(doors: Sequence[Door]) -> Expr:
    """Return what a redirect says of the port of the sockets of a server: a colon and the port, or nothing for the usual one.

    Where they have one port and scheme, that is text; else each connection is asked.
    """
    found: set[str] = set()
    for door in doors:
        port = door.address.port if isinstance(door.address, TcpAddress) else 0
        found.add("" if port in (0, _USUAL[door.tls]) else f":{port}")
    return Const(found.pop()) if len(found) == 1 else _SHOWN


class Doors:
    """All sockets of a configuration, in the order they are first named; with ``datagrams``, those of ``udp`` too."""

    def __init__(self, record: Record, datagrams: bool = False) -> None:
        self._record = record
        self._datagrams = datagrams
        self._by_name: dict[str, Door] = {}

    def all(self) -> list[Door]:
        """Return them."""
        return list(self._by_name.values())

    def of(self, server: int) -> list[Door]:
        """Return those a server is on."""
        return [door for door in self._by_name.values() if server in door.servers]

    def add_default(self, server: int, span: Span) -> None:
        """Put a server without ``listen`` where nginx puts it."""
        self._door(TcpAddress(80, "0.0.0.0"), span).servers.append(server)

    def add(self, server: int, directive: Directive) -> None:
        """Take one ``listen``."""
        if "quic" in directive.texts[1:]:
            message = "HTTP/3 is not spoken, so this `listen` is left out"
            self._record.warning(directive.span, "left-out", message, "clients use HTTP/2 where nothing promises them HTTP/3")
            return
        ports = re.fullmatch(r"((?:.*:)?)([0-9]{1,5})-([0-9]{1,5})", directive.text(0))
        if ports is None:
            self._add_one(server, directive, directive.text(0))
            return
        first, last = int(ports[2]), int(ports[3])
        if not first <= last <= first + _MOST_PORTS:
            what = f"`{directive.text(0)}` is no range of ports"
            self._record.error(directive.place(0), "bad-address", what, f"write `8000-8010`, {_MOST_PORTS} at most")
            return
        for port in range(first, last + 1):
            self._add_one(server, directive, f"{ports[1]}{port}")

    def _add_one(self, server: int, directive: Directive, text: str) -> None:
        address = self._address(directive, text)
        if address is None:
            return
        door = self._door(address, directive.span)
        if server in door.servers:
            self._record.error(directive.span, "duplicate", f"this server is on `{directive.text(0)}` already")
            return
        door.servers.append(server)
        for word in directive.args[1:]:
            self._option(door, server, word)

    def _door(self, address: Address, span: Span) -> Door:
        name = format_listen(address)
        return self._by_name.setdefault(name, Door(name, address, span))

    def _option(self, door: Door, server: int, word: Word) -> None:
        text = word.text
        key, _, value = text.partition("=")
        if text in ("default_server", "default"):
            if door.default is not None:
                self._record.error(word.span, "duplicate", f"another server is the default on `{door.name}`", "keep one of them")
            door.default = server
        elif text == "ssl":
            door.tls = True
        elif text == "http2":
            door.http2 = True
        elif text == "proxy_protocol":
            door.proxy_protocol = True
        elif key == "backlog" and value:
            try:
                door.backlog = parse_count(value, 1)
            except ValueError as bad:
                self._record.error(word.span, "bad-value", str(bad))
        elif (key == "ipv6only" and value in ("on", "off")) or (text == "udp" and self._datagrams):
            return  # part of the address
        elif text not in _WITHOUT_EFFECT and key not in _WITHOUT_EFFECT_KEYS:
            self._record.error(word.span, "unknown-option", f"`{text}` is no option of `listen`")

    def _address(self, directive: Directive, text: str) -> Address | None:
        span = directive.place(0)
        takes_datagrams = self._datagrams and "udp" in directive.texts[1:]
        if text.startswith("unix:") and takes_datagrams:
            not_built(self._record, span, "UDP on a unix socket", "listen on a port")
            return None
        if text.startswith("unix:"):
            return UnixAddress(text.removeprefix("unix:"), mode=0o666)
        host, colon, port = text.rpartition(":")
        if text.isdecimal():
            host, port = "", text
        elif not colon or text.endswith("]"):
            host, port = text, "80"
        if host == "localhost":
            host = "127.0.0.1"
        try:
            number = parse_port(port)
            plain = parse_listen_host(host) if host not in ("", "*") else "0.0.0.0"
        except ValueError as bad:
            self._record.error(span, "bad-address", str(bad))
            return None
        shared = any(word.text == "ipv6only=off" for word in directive.args[1:])
        kind = UdpAddress if takes_datagrams else TcpAddress
        return kind(number, plain, v6only=not (shared and ":" in plain))


@dataclass(slots=True)
class Hosts:
    """What a server answers to: names and patterns with their places; neither is a server that only serves as the default."""

    names: dict[str, Span] = field(default_factory=dict)
    patterns: dict[str, Span] = field(default_factory=dict)
    captures: list[str] = field(default_factory=list)
    """Those of the patterns that a file wrote as regular expressions, as ``capture`` takes them."""
    tails: set[str] = field(default_factory=set)
    """Those of the patterns that a file wrote as names with ``*`` at their end."""


def first_name(directive: Directive | None) -> str:
    """Return what ``$server_name`` is, and ``$host`` for a request that names none: the first name, without a dot before it."""
    name = directive.text() if directive is not None else ""
    return name if name.startswith("~") else name.lower().removeprefix(".")


def without_longer(pattern: str, tails: Collection[str]) -> str:
    """Return the pattern of a name with ``*`` at its end without those that a longer one is for, which come first in nginx."""
    longer = sorted([each[len(pattern) :] for each in tails if each != pattern and each.startswith(pattern)])
    return f"{pattern}(?!{'|'.join(longer)})" if longer else pattern


def hosts_of(record: Record, directives: list[Directive]) -> Hosts:
    """Return the hosts a server answers to."""
    hosts = Hosts()
    for word in [each for directive in directives for each in directive.args]:
        text = word.text.lower()
        if text in ("", "_", '""'):
            continue
        if text.startswith("~"):
            try:
                hosts.patterns.setdefault(to_pattern(word.text[1:]), word.span)
                hosts.captures.append(to_pattern(word.text[1:], True))
            except ValueError as bad:
                record.error(word.span, "bad-regex", str(bad))
        elif "$" in text:
            not_built(record, word.span, "a variable in `server_name`", "write the names")
        elif text.endswith(".*"):
            tail = f"^{re.escape(text[:-1])}"
            hosts.patterns.setdefault(tail, word.span)
            hosts.tails.add(tail)
        else:
            for host in (text[1:], "*" + text) if text.startswith(".") else (text,):
                try:
                    hosts.names.setdefault(parse_host(host), word.span)
                except ValueError as bad:
                    record.error(word.span, "bad-host", str(bad))
    return hosts
