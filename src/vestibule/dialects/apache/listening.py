"""``Listen``, ``VirtualHost`` and names: which sockets there are, and which virtual host is at which.

Facts: an address with a host is preferred to ``*``; of virtual hosts at equal addresses all are candidates, by name. ``Listen 80``
is every address of both families.

Not here: what virtual hosts answer (``sites``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from vestibule.dialects.apache.lexer import Word
from vestibule.dialects.apache.scope import Scope
from vestibule.dialects.record import Record
from vestibule.model.config import ANY_HOST, TcpAddress
from vestibule.model.diagnostic import Span
from vestibule.model.quantity import format_listen, parse_host, parse_listen_host, parse_port


@dataclass(frozen=True, slots=True)
class Host:
    """A virtual host: its own name, all its hosts and the patterns of further ones with their places, and the addresses it is for."""

    name: str
    hosts: dict[str, Span]
    patterns: dict[str, Span]
    addresses: tuple[Word, ...]


@dataclass(slots=True)
class Door:
    """One socket with the virtual hosts on it, by their number; the first is the default."""

    name: str
    address: TcpAddress
    span: Span
    says_tls: bool = False
    servers: list[int] = field(default_factory=list)


class Doors:
    """All sockets of a configuration."""

    def __init__(self, record: Record, main: Scope) -> None:
        self._record = record
        self._main = main
        self._doors: dict[str, Door] = {}

    def all(self) -> list[Door]:
        """Return them in the order they are first named."""
        return list(self._doors.values())

    def open(self, hosts: list[Host]) -> None:
        """Find the sockets, and put virtual hosts on them."""
        for directive in self._main.own("Listen"):
            address = self._address(directive.args[0], 0)
            if address is not None:
                door = self._door(address, directive.span)
                door.says_tls = directive.text(1).lower() == "https" or (len(directive.args) == 1 and address.port == 443 and door.says_tls)
        if not self._doors:
            for host in hosts:
                for word in host.addresses:
                    address = self._address(word, 80)
                    if address is not None:
                        self._door(address, word.span)
        if not self._doors:
            self._door(TcpAddress(80), self._main.directives[0].span if self._main.directives else Span())
        for door in self._doors.values():
            door.servers = self._servers_at(door.address, hosts)

    def _door(self, address: TcpAddress, span: Span) -> Door:
        # One socket takes both families, so a door for every address is one door.
        return self._doors.setdefault(format_listen(address), Door(format_listen(address), address, span))

    def _servers_at(self, address: TcpAddress, hosts: list[Host]) -> list[int]:
        """Return the virtual hosts that serve a socket: those for its very address, else those for any."""
        exact: list[int] = []
        wild: list[int] = []
        for at, host in enumerate(hosts):
            if not host.addresses:
                wild.append(at)
            for word in host.addresses:
                own = self._address(word, address.port)
                if own is None or own.port != address.port:
                    continue
                if own.host == address.host and own.host != "*":
                    exact.append(at)
                elif own.host == "*":
                    wild.append(at)
                elif address.host == "*":
                    not_built_for(self._record, word)
        return list(dict.fromkeys(exact or wild))

    def _address(self, word: Word, default: int) -> TcpAddress | None:
        """Read an address; ``*`` as a port, or none, is ``default``."""
        text = word.text
        host, colon, port = text.rpartition(":")
        if text.isdecimal():
            host, port = "*", text
        elif not colon or text.endswith("]"):
            host, port = text, "*"
        if host in ("", "_default_"):
            host = "*"
        try:
            number = default if port == "*" else parse_port(port)
            return TcpAddress(number, parse_listen_host(host))
        except ValueError as bad:
            self._record.error(word.span, "bad-address", str(bad))
            return None


def not_built_for(record: Record, word: Word) -> None:
    """Note a virtual host for one address on a socket for all."""
    message = f"`{word.text}` is one address of a socket for all addresses, which is not told apart yet"
    record.error(word.span, "not-built", message, "write `Listen` for that address")


def server_name_of(record: Record, scope: Scope) -> str:
    """Return the name of a virtual host without scheme and port; empty where it has none."""
    own = scope.own("ServerName")
    if not own:
        return ""
    text = own[-1].text().partition("://")[2] or own[-1].text()
    name = text.partition(":")[0] if not text.startswith("[") else text.partition("]")[0] + "]"
    try:
        return parse_host(name)
    except ValueError as bad:
        record.error(own[-1].place(0), "bad-host", str(bad))
        return ""


def hosts_of(record: Record, scope: Scope) -> tuple[dict[str, Span], dict[str, Span]]:
    """Return the hosts a virtual host answers to, and the regular expressions of further ones, with their places."""
    hosts: dict[str, Span] = {}
    patterns: dict[str, Span] = {}
    name = server_name_of(record, scope)
    if name:
        hosts[name] = scope.own("ServerName")[-1].place(0)
    for directive in scope.own("ServerAlias"):
        for word in directive.args:
            text = word.text.lower()
            if text == "*":
                hosts.setdefault(ANY_HOST, word.span)
                continue
            if ("*" in text and (not text.startswith("*.") or "*" in text[1:])) or "?" in text:
                patterns.setdefault(_host_pattern(text), word.span)
                continue
            try:
                hosts.setdefault(parse_host(text), word.span)
            except ValueError as bad:
                record.error(word.span, "bad-host", str(bad))
    return hosts, patterns


def _host_pattern(text: str) -> str:
    """Return the regular expression of a name in which ``*`` and ``?`` stand for any characters, dots too."""
    return "^" + "".join([{"*": ".*", "?": "."}.get(char, re.escape(char)) for char in text]) + "$"
