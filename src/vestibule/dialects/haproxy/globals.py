"""The ``global`` section: the process, and what every proxy starts from.

Facts (HAProxy configuration manual, chapter 3): there may be several such sections; the last word counts.

Not here: proxies (``lower``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from vestibule.dialects.haproxy.listen import TlsDefaults, TlsLimits, read_version
from vestibule.dialects.haproxy.logs import Logging
from vestibule.dialects.haproxy.report import Report
from vestibule.dialects.haproxy.tree import Section, Statement
from vestibule.model.config import CommandSocket, Limits, Process
from vestibule.model.diagnostic import did_you_mean

_FLAGS = ("no-sslv3", "no-tlsv10", "no-tlsv11", "no-tlsv12", "no-tlsv13", "force-tlsv12", "force-tlsv13", "no-tls-tickets")
_IGNORED = ("prefer-client-ciphers", "strict-sni")


_RATES = ("maxconnrate", "maxsessrate", "maxsslrate")
"""How many connections, sessions and handshakes may begin in a second; they are much the same to a listener."""


@dataclass(slots=True)
class Globals:
    """What ``global`` comes to."""

    process: Process = field(default_factory=Process)
    limits: Limits = field(default_factory=Limits)
    tls_rate: int | None = None
    tls: TlsDefaults = field(default_factory=TlsDefaults)
    logs: Logging = field(default_factory=Logging)


def read_globals(sections: list[Section], report: Report) -> Globals:
    """Read all ``global`` sections."""
    found = Globals()
    for section in sections:
        for statement in section.lines:
            words = statement.arguments()
            if statement.name == "log-send-hostname":
                found.logs.with_host = True
            elif not words:
                report.error(statement.line, 0, "missing", f"nothing follows `{statement.name}`")
            else:
                _apply(found, statement, words, report)
    return found


def _apply(found: Globals, statement: Statement, words: list[str], report: Report) -> None:
    name = statement.name
    if name == "log":
        found.logs.lines.append(statement)
    elif name == "stats socket":
        _command_socket(found, statement, words, report)
    elif name == "log-tag":
        found.logs.tag = words[0]
    elif name == "user":
        found.process = replace(found.process, user=words[0])
    elif name == "group":
        found.process = replace(found.process, group=words[0])
    elif name == "pidfile":
        found.process = replace(found.process, pid_file=words[0])
    elif name in ("nbthread", "maxconn", *_RATES):
        _number(found, statement, words[0], report)
    elif name == "ssl-server-verify":
        if words[0] not in ("none", "required"):
            message = f"`{name} {words[0]}` is unknown"
            report.error(statement.line, statement.first, "bad-value", message, "write none or required")
        found.tls.verify = words[0]
    elif name == "crt-base":
        found.tls.crt_base = words[0]
    elif name == "ca-base":
        found.tls.ca_base = words[0]
    else:
        side, _, what = name.removeprefix("ssl-default-").partition("-")
        tls = found.tls.servers if side == "server" else found.tls.clients
        if what == "ciphers":
            tls.ciphers = tuple([each for each in words[0].split(":") if each])
        elif what == "ciphersuites":
            tls.suites = tuple([each for each in words[0].split(":") if each])
        elif what == "curves":
            tls.curves = tuple([each for each in words[0].split(":") if each])
        else:
            _tls_options(tls, statement, words, report)


def _command_socket(found: Globals, statement: Statement, words: list[str], report: Report) -> None:
    """Read ``stats socket PATH [mode MODE] [user USER] [group GROUP] [level LEVEL]``."""
    path = words[0].removeprefix("unix@")
    if not path.startswith(("/", ".")) and "@" not in path and ":" not in path:
        path = f"./{path}"
    if not path.startswith(("/", ".")):
        host, _, port = re.sub("^ipv[46]@", "", path).rpartition(":")
        if port.isdecimal() and "@" not in host and 0 < int(port) < 65_536:
            path = f"tcp:{host or '*'}:{port}"
        elif not re.fullmatch("fd@[0-9]{1,6}", path):
            message = f"`stats socket {words[0]}` is no place to take commands"
            report.error(statement.line, statement.first, "bad-value", message, "name a path, an address with its port or `fd@N`")
            return
    made = CommandSocket(path, 0o777)
    at = 1
    while at < len(words):
        word, value = words[at], "".join(words[at + 1 : at + 2])
        place = statement.first + at
        if word == "mode" and value and set(value) <= set("01234567") and len(value) <= 4:
            made = replace(made, mode=int(value, 8))
        elif word in ("user", "group") and value:
            made = replace(made, user=value) if word == "user" else replace(made, group=value)
        elif word == "level" and value in ("user", "operator", "admin"):
            made = replace(made, level=value)  # type: ignore[arg-type]  # it is among those that there are
        elif word in ("expose-fd", "process", "thread", "accept-netscaler-cip", "name", "backlog", "maxconn", "id"):
            message = f"`{word}` is about HAProxy's own processes, or sockets as such"
            report.warning(statement.line, place, "left-out", message, "leave it out")
        else:
            known = ("mode", "user", "group", "level", "expose-fd")
            hint = did_you_mean(word, known) if word not in known else f"`{value}` does not go with it"
            report.error(statement.line, place, "bad-value", f"`{word}` is no option of a socket for commands", hint)
        at += 2
    found.process = replace(found.process, command_sockets=(*found.process.command_sockets, made))


def _number(found: Globals, statement: Statement, text: str, report: Report) -> None:
    if not text.isdecimal() or not 1 <= int(text) <= 10**9:
        report.error(statement.line, statement.first, "bad-value", f"`{text}` is no number", f"write `{statement.name} 4`")
    elif statement.name == "nbthread":
        found.process = replace(found.process, workers=int(text))
    elif statement.name == "maxsslrate":
        found.tls_rate = int(text)
    elif statement.name in _RATES:
        found.limits = replace(found.limits, connection_rate=lowest(found.limits.connection_rate, int(text)))
    else:
        found.limits = replace(found.limits, connections=int(text))


def lowest(*limits: int | None) -> int | None:
    """Return the lowest of some limits, None where there is none."""
    return min([each for each in limits if each is not None], default=None)


def _tls_options(tls: TlsLimits, statement: Statement, words: list[str], report: Report) -> None:
    """Read ``ssl-default-bind-options`` or ``ssl-default-server-options``."""
    at = 0
    while at < len(words):
        word, place = words[at], statement.first + at
        if word in ("ssl-min-ver", "ssl-max-ver") and at + 1 < len(words):
            at += 1
            version = read_version(words[at], statement.line, place + 1, report)
            if word == "ssl-min-ver":
                tls.minimum = version
            else:
                tls.maximum = version
        elif word in ("no-tlsv12", "force-tlsv13"):
            tls.minimum = "1.3"
        elif word in ("no-tlsv13", "force-tlsv12"):
            tls.maximum = "1.2"
        elif word == "no-tls-tickets":
            tls.tickets = False
        elif word not in _FLAGS and word not in _IGNORED:
            hint = did_you_mean(word, [*_FLAGS, "ssl-min-ver", "ssl-max-ver"])
            report.error(statement.line, place, "unknown-option", f"`{word}` is no option of TLS", hint)
        at += 1
