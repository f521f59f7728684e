"""The ``server`` lines of a backend as an upstream.

Facts (HAProxy configuration manual, chapter 5.2): ``default-server`` holds for the servers after it; a server of weight 0
gets no requests; without ``verify none``, certificates of servers are verified against ``ca-file``.

Rules: what the model says once for an upstream (authorities, pool, how it is checked) must be the same for all servers of a backend.

Not here: which server is used when (``lower``).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace
from typing import Literal, TypeVar

from vestibule.dialects.haproxy.balancing import Sharing
from vestibule.dialects.haproxy.checking import USUAL, Checking, read_checking
from vestibule.dialects.haproxy.lexer import Line
from vestibule.dialects.haproxy.listen import TlsDefaults, split_options, versions
from vestibule.dialects.haproxy.options import SERVER_OPTIONS
from vestibule.dialects.haproxy.quantity import parse_time
from vestibule.dialects.haproxy.report import Report, span
from vestibule.dialects.haproxy.sample import as_text, sample_expr
from vestibule.dialects.haproxy.settings import Settings, read_source
from vestibule.dialects.haproxy.state import State
from vestibule.dialects.haproxy.tree import Section, Statement
from vestibule.dialects.origin import Origins
from vestibule.dialects.read import Unreadable
from vestibule.model.config import Agent, HealthCheck, Passive, Pool, Server, Upstream, UpstreamTls
from vestibule.model.expr import Const, Expr
from vestibule.model.quantity import parse_port, parse_server_host
from vestibule.model.upstream import Announced, server_text

_Options = dict[str, list[tuple[int, str]]]

_MOST_WEIGHT = 256

_LEAST_MS = 100
"""Checks that come faster than this tell nothing more."""

_FLAGS = (
    *("ssl", "backup", "check", "check-ssl", "check-send-proxy", "agent-check"),
    *("send-proxy", "send-proxy-v2", "send-proxy-v2-ssl", "send-proxy-v2-ssl-cn"),
)
"""Options that one with ``no-`` before it takes back."""

_TOLD: dict[str, Announced] = {
    "ssl": "tls",
    "cert-cn": "tls_name",
    "ssl-cipher": "tls_cipher",
    "authority": "server_name",
    "crc32c": "checksum",
}
"""Words of ``proxy-v2-options``."""

_ALWAYS: Announced = "alpn"
"""What HAProxy tells whatever is asked for."""

T = TypeVar("T")


class Servers:
    """Reads the servers of one backend."""

    def __init__(
        self, section: Section, report: Report, origins: Origins, defaults: TlsDefaults, is_raw: bool, identity: Expr, is_own: bool
    ) -> None:
        self._section = section
        self._report = report
        self._origins = origins
        self._defaults = defaults
        self._is_raw = is_raw
        self._identity = identity
        self._is_own = is_own  # whether all clients come to its own addresses
        self.by_name: dict[str, Server] = {}
        """Servers in use by name; those that are disabled or have no weight are not among them."""
        self.all: dict[str, Server] = {}
        """The same, with those that are disabled."""
        self.known: set[str] = set()
        self._tls: dict[str, tuple[Line, UpstreamTls]] = {}
        self._pools: list[tuple[Line, Pool]] = []
        self._slow: list[tuple[Line, int]] = []
        self._checks: list[tuple[Line, HealthCheck | None]] = []
        self._agents: list[tuple[Line, Agent | None]] = []
        self._checking = Checking()
        self._pool_base = Pool()

    def addresses(self, upstream: Upstream | None) -> tuple[tuple[str, str], ...]:
        """Return the names of all servers, each with its address."""
        known = () if upstream is None else upstream.servers
        return tuple([(name, server_text(server)) for name, server in zip(self.all, known, strict=False)])

    def read(self, settings: Settings) -> Upstream:
        """Return the upstream of the backend, named alike."""
        inherited: _Options = {}
        self._checking = read_checking(settings, self._report)
        self._pool_base = settings.pool()
        for statement in settings.statements:
            if statement.name == "default-server":
                given = self._options(statement, 0)
                inherited = {**inherited, **given}
            elif statement.name == "server":
                self._server(statement, inherited)
            elif statement.name == "dispatch":
                server = self._address(statement.line, statement.first, "".join(statement.arguments()[:1]), False)
                self._add(statement.line, "dispatch", server, {})
            elif statement.name == "server-template":
                self._template(statement, inherited)
        sharing = Sharing(settings, self._report)
        balance = sharing.balance()
        sticky = sharing.sticky(any(each.mark for each in self.all.values()))
        slow = self._same(self._slow, 0, "`slowstart`")
        tls = self._same(self._own_tls(), UpstreamTls(), "TLS settings")
        upstream = Upstream(
            self._section.name,
            self._ranked(settings.has("option allbackups"), sticky is not None),
            tls,
            self._same(self._pools, self._pool_base, "limits or versions of connections"),
            settings.retry(),
            replace(balance, slow_start_ms=slow),
            # Checks say how servers are; failures of requests do not, as nobody is asked to watch for them.
            Passive(max_fails=0),
            sticky,
            None,
            self._same(self._checks, None, "checks"),
            self._same(self._agents, None, "agents"),
            unreachable_status=503,
        )
        return self._origins.at(span(self._section.head), upstream)

    def _ranked(self, all_backups: bool, marked: bool) -> tuple[Server, ...]:
        """Return the servers in the order they serve: of several backups the first alone, unless all share."""
        given = list(self.all.values())
        only_backups = all(each.backup for each in given)
        found: list[Server] = []
        rank = 0
        for each in given:
            # Nobody is checked, or those that say so.
            server = replace(
                each, mark=each.mark if marked else "", check=each.check or not self._checks, agent=each.agent or not self._agents
            )
            if server.backup and not all_backups:
                server = replace(server, priority=rank)
                rank += 1
            found.append(self._origins.move(each, replace(server, backup=server.backup and not only_backups)))
        self.by_name = {name: new for name, new in zip(self.all, found, strict=True) if not new.disabled}
        return tuple(found)

    def after(self, first: Server) -> tuple[Server, ...]:
        """Return the servers with one that serves before the others as long as it can."""
        others = [each for each in self.by_name.values() if each is not first]
        return (replace(first, backup=False, priority=0), *[replace(each, priority=each.priority + 1) for each in others])

    def _own_tls(self) -> list[tuple[Line, UpstreamTls]]:
        """Leave with each server what is its own: the name, whether it is verified, what it is shown and offered. Return the rest."""
        given = list(self._tls.values())
        verified = [tls for _, tls in given if tls.verify]
        names = {tls.name for _, tls in given}
        shown = {tls.cert for _, tls in given}
        offered = {tls.ciphers for _, tls in given}
        rest: list[tuple[Line, UpstreamTls]] = []
        for name, (line, tls) in self._tls.items():
            spared = bool(verified) and not tls.verify
            if spared or len(names) > 1:
                own = replace(self.all[name], tls_name=tls.name if len(names) > 1 else "", tls_verify=not spared)
                self.all[name] = self._origins.move(self.all[name], own)
            if len(shown) > 1:
                self.all[name] = self._origins.move(self.all[name], replace(self.all[name], tls_cert=tls.cert))
            if len(offered) > 1:
                self.all[name] = self._origins.move(self.all[name], replace(self.all[name], tls_ciphers=tls.ciphers))
            shared = replace(tls, verify=True, ca=verified[0].ca, crl=verified[0].crl) if spared else tls
            shared = replace(shared, cert="") if len(shown) > 1 else shared
            shared = replace(shared, ciphers=()) if len(offered) > 1 else shared
            rest.append((line, shared if len(names) == 1 else replace(shared, name="")))
        return rest

    def _same(self, given: list[tuple[Line, T]], default: T, what: str) -> T:
        """Return what all servers share."""
        for line, value in given[1:]:
            if value != given[0][1]:
                self._report.not_built(line, 0, f"different {what} for servers of one backend", "make a backend for each")
                break
        return given[0][1] if given else default

    def _options(self, statement: Statement, skip: int) -> _Options:
        first = statement.first + skip
        return split_options(statement.line.texts(first), first, statement.line, SERVER_OPTIONS, self._report, "server")

    def _server(self, statement: Statement, inherited: _Options) -> None:
        line, first = statement.line, statement.first
        name, address = line.text(first), line.text(first + 1)
        if not address:
            self._report.error(line, first, "missing", "a server needs a name and an address", "write `server NAME HOST:PORT`")
            return
        own = self._options(statement, 2)
        options = _merged(inherited, own)
        server = self._address(line, first + 1, address, "ssl" in options)
        if "cookie" in own and not any(each.name == "cookie" for each in self._section.effective()):
            self._report.warning(line, own["cookie"][0][0], "unused", "`cookie` of a server has no effect without one of the backend")
        self._add(line, name, server, options)

    def _template(self, statement: Statement, inherited: _Options) -> None:
        """``server-template PREFIX NUMBER NAME:PORT``: a server for each address of a name, or for each of its SRV records."""
        line, first = statement.line, statement.first
        name, number, address = line.text(first), line.text(first + 1), line.text(first + 2)
        low, dash, high = number.partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()):
            self._report.error(line, first + 1, "bad-value", f"`{number}` is no number", "write `server-template NAME 4 HOST:PORT`")
            return
        options = _merged(inherited, self._options(statement, 3))
        server: Server | None
        if address.startswith("_"):
            server = Server(address, 80, tls="ssl" in options, resolve="srv")
        else:
            server = self._address(line, first + 2, address, "ssl" in options)
            if server is not None and not server.path and not _is_address(server.host):
                server = replace(server, resolve="all")
        self._add(line, name, server, options)

    def _add(self, line: Line, name: str, server: Server | None, options: _Options) -> None:
        """Take one server with its options."""
        if name in self.known:
            self._report.error(line, 1, "duplicate-name", f"there are two servers named `{name}`")
        self.known.add(name)
        weight = self._number(line, options, "weight", 0, _MOST_WEIGHT)
        if server is None or weight == 0:
            return
        announces: Literal["", "v1", "v2"] = "v2" if _tells(options) else "v1" if "send-proxy" in options else ""
        other, other_port = _elsewhere(options, "addr")
        server = replace(
            server,
            weight=1 if weight is None else weight,
            backup="backup" in options,
            proxy_protocol=announces,
            disabled="disabled" in options,
            max_connections=self._number(line, options, "maxconn", 0, 10**9) or None,
            mark=options["cookie"][-1][1] if "cookie" in options and server.resolve == "one" else "",
            check="check" in options,
            check_host=(other or self._checking.host) if "check" in options else "",
            check_port=(self._number(line, options, "port", 1, 65_535) or other_port or self._checking.port) if "check" in options else 0,
            agent="agent-check" in options,
            agent_host=_elsewhere(options, "agent-addr")[0] if "agent-check" in options else "",
            agent_port=self._agent_port(line, options) if "agent-check" in options else 0,
        )
        self.all[name] = self._origins.at(span(line), server)
        if server.tls or ("check" in options and ("check-ssl" in options or self._checking.secure)):
            self._tls[name] = (line, self._upstream_tls(line, options))
        self._pools.append((line, self._pool(line, options, self._pool_base)))
        self._slow.append((line, self._time(line, options, "slowstart") or 0))
        if server.agent:
            self._agents.append((line, self._agent(line, options)))
        if server.check:
            self._checks.append((line, self._check(line, options, server)))
        elif "check-ssl" in options or "port" in options:
            place = options["check-ssl" if "check-ssl" in options else "port"][-1][0]
            self._report.warning(line, place, "unused", "this has no effect without `check`")

    def _check(self, line: Line, options: _Options, server: Server) -> HealthCheck:
        """Return how a server is checked."""
        found = self._checking
        every = max(_LEAST_MS, self._time(line, options, "inter") or found.check.interval_ms)
        fast = max(_LEAST_MS, self._time(line, options, "fastinter") or every)
        down = max(_LEAST_MS, self._time(line, options, "downinter") or every)
        check = replace(
            found.check,
            interval_ms=every,
            fast_ms=fast,
            down_ms=0 if down == fast else down,
            timeout_ms=max(_LEAST_MS, found.within_ms or every),
            rise=self._number(line, options, "rise", 1, 10**6) or found.check.rise,
            fall=self._number(line, options, "fall", 1, 10**6) or found.check.fall,
        )
        # Asked elsewhere, a server need not speak as it does with requests.
        elsewhere = "port" in options or "addr" in options
        secure = found.secure or (not found.connects and ("check-ssl" in options or (server.tls and not elsewhere)))
        if check.kind == "tcp" and (secure or found.kind == "ssl-hello-chk"):
            check = replace(check, kind="tls")
        elif check.kind in ("http", "talk") and secure != server.tls:
            check = replace(check, tls="always" if secure else "never")
        if found.name or "check-sni" in options:
            check = replace(check, tls_name=found.name or options["check-sni"][-1][1])
        if check.kind != "http" and (found.alpn or "check-alpn" in options):
            given = tuple([each for each in options["check-alpn"][-1][1].split(",") if each]) if "check-alpn" in options else ()
            check = replace(check, alpn=found.alpn or given)
        elif "check-alpn" in options:
            place = options["check-alpn"][-1][0]
            self._report.warning(line, place, "left-out", "`check-alpn` is left out", "checks by a request speak HTTP/1.1")
        announces: Literal["auto", "never", "v1", "v2"] = "auto"
        if found.announces or (not found.connects and "check-send-proxy" in options and (elsewhere or not server.proxy_protocol)):
            announces = server.proxy_protocol or "v1"
        elif (elsewhere or found.connects) and server.proxy_protocol:
            announces = "never"
        return replace(check, proxy_protocol=announces)

    def _agent_port(self, line: Line, options: _Options) -> int:
        """Return the port of an agent; any, noted, where none is said."""
        if "agent-port" not in options:
            self._report.error(line, options["agent-check"][-1][0], "missing", "`agent-check` needs a port", "write `agent-port 9000`")
        return self._number(line, options, "agent-port", 1, 65_535) or 1

    def _agent(self, line: Line, options: _Options) -> Agent:
        """Return how the agent of a server is asked."""
        every = self._time(line, options, "agent-inter") or self._time(line, options, "inter") or USUAL.interval_ms
        every = max(_LEAST_MS, every)
        send = options["agent-send"][-1][1] if "agent-send" in options else ""
        return Agent(send=send, interval_ms=every, timeout_ms=max(_LEAST_MS, self._checking.within_ms or every))

    def _time(self, line: Line, options: _Options, name: str) -> int | None:
        if name not in options:
            return None
        place, text = options[name][-1]
        try:
            return parse_time(text)
        except ValueError as bad:
            self._report.error(line, place + 1, "bad-value", str(bad), "write `5s`")
            return None

    def _address(self, line: Line, at: int, text: str, tls: bool) -> Server | None:
        family, _, rest = text.rpartition("@")
        if family == "unix" or rest.startswith("/"):
            return Server(path=rest, tls=tls)
        if family not in ("", "ipv4", "ipv6"):
            self._report.not_built(line, at, f"the address family `{family}@`")
            return None
        host, colon, port = rest.rpartition(":")
        if not colon or (":" in host and not host.startswith("[") and not port):
            host, port = rest, ""
        came = self._port_asked() if not port or port.startswith(("+", "-")) else 0
        if came:
            # Behind a sign stands how far from it.
            port = str(came + int(port)) if port[1:].isdecimal() else str(came)
        if not port or port.startswith(("+", "-")):
            self._report.not_built(line, at, "a server on the port the client came to", "write the port behind the address")
            return None
        if ":" in host and not host.startswith("["):
            host = f"[{host}]"
        try:
            return Server(parse_server_host(host), parse_port(port), tls=tls)
        except ValueError as bad:
            self._report.error(line, at, "bad-address", str(bad), "write `192.0.2.1:8080` or `name:8080`")
            return None

    def _port_asked(self) -> int:
        """Return the port that all clients of a ``listen`` section come to; 0 where there are others, or none is known."""
        if not self._is_own:
            return 0
        ports = {each for line in self._section.effective() if line.name == "bind" for each in line.line.text(line.first).split(",")}
        found = {each.rpartition(":")[2] for each in ports}
        return int(found.pop()) if len(found) == 1 and all(re.fullmatch("[0-9]{1,5}", each) for each in found) else 0

    def _number(self, line: Line, options: _Options, name: str, least: int, most: int) -> int | None:
        if name not in options:
            return None
        place, text = options[name][-1]
        if not text.isdecimal() or not least <= int(text) <= most:
            self._report.error(line, place + 1, "out-of-range", f"`{text}` is no number for `{name}`", f"use {least} to {most}")
            return None
        return int(text)

    # ------------------------------------------------------------ what servers share

    def _protocol(self, line: Line, options: _Options) -> Literal["http/1.1", "h2", "auto"]:
        """Return what is spoken with a server: what ``proto`` says, or what ``alpn`` lets it choose from."""
        if "proto" in options:
            place, text = options["proto"][-1]
            if text not in ("h1", "h2"):
                self._report.error(line, place + 1, "bad-value", f"`{text}` is no protocol here", "write `proto h2` or `proto h1`")
            return "h2" if text == "h2" else "http/1.1"
        offered: set[str] = set()
        for place, text in (*options.get("alpn", [])[-1:], *options.get("npn", [])[-1:]):
            for word in text.split(","):
                if word not in ("h2", "http/1.1", "http/1.0"):
                    self._report.warning(line, place + 1, "left-out", f"`{word}` is left out", "only `h2` and `http/1.1` are offered")
                offered.add(word)
        if "h2" not in offered or "ssl" not in options:
            return "http/1.1"
        return "h2" if offered == {"h2"} else "auto"

    def _pool(self, line: Line, options: _Options, pool: Pool) -> Pool:
        protocol = self._protocol(line, options)
        # Whose connections do not stand for one client, or one name, each.
        announces = "send-proxy" in options or _tells(options)
        shares = not announces and pool.reuse == "shared" and not self._is_asked(options)
        if protocol == "h2" or (protocol == "auto" and shares):
            pool = replace(pool, protocol=protocol)
        waiting = self._number(line, options, "maxqueue", 0, 10**9)
        if waiting:
            pool = replace(pool, max_waiting=waiting)
        idle = self._number(line, options, "pool-max-conn", 0, 10**9)
        if idle is not None and self._pool_base.max_idle and pool.reuse != "private":
            pool = replace(pool, max_idle=idle)
        pool = self._announced(line, options, pool)
        if "source" in options:
            place, text = options["source"][-1]
            pool = replace(pool, local_address=read_source(text, line, place + 1, self._report))
        purge = self._time(line, options, "pool-purge-delay")
        return pool if purge is None else replace(pool, idle_ms=purge)

    def _announced(self, line: Line, options: _Options, pool: Pool) -> Pool:
        """Read what a server is told of clients beside addresses."""
        place, text = options["proxy-v2-options"][-1] if "proxy-v2-options" in options else (0, "")
        words = text.split(",") if text else []
        for word in words:
            if word not in _TOLD and word != "unique-id":
                advice = "write `ssl`, `cert-cn`, `ssl-cipher`, `authority`, `crc32c` or `unique-id`"
                self._report.not_built(line, place + 1, f"`proxy-v2-options {word}`", advice)
        if not _tells(options):
            return pool
        if "send-proxy-v2-ssl" in options or "send-proxy-v2-ssl-cn" in options:
            words.append("ssl")
        if "send-proxy-v2-ssl-cn" in options:
            words.append("cert-cn")
        told = {_TOLD[word] for word in words if word in _TOLD}
        identity = self._identity if "unique-id" in words else None
        return replace(pool, announced=(_ALWAYS, *sorted(told)), announced_id=identity)

    def _upstream_tls(self, line: Line, options: _Options) -> UpstreamTls:
        verify = options["verify"][-1] if "verify" in options else (0, self._defaults.verify)
        if verify[1] not in ("none", "required"):
            self._report.error(line, verify[0] + 1, "bad-value", f"`verify {verify[1]}` is unknown", "write none or required")
        verifies = verify[1] != "none"
        ca = options["ca-file"][-1][1] if "ca-file" in options and verifies else ""
        if verifies and "ca-file" not in options:
            self._report.error(
                line,
                next((options[word][0][0] for word in ("ssl", "check-ssl", "check") if word in options), 0),
                "missing",
                "the certificate is verified, and against what is not said",
                "add `ca-file FILE` or `verify none`",
            )
        name = self._name(line, options)
        base = self._defaults
        if ca and not ca.startswith(("/", "@")) and base.ca_base:
            ca = f"{base.ca_base.rstrip('/')}/{ca}"
        crl = options["crl-file"][-1][1] if "crl-file" in options and verifies else ""
        if crl and not crl.startswith("/") and base.ca_base:
            crl = f"{base.ca_base.rstrip('/')}/{crl}"
        cert = options["crt"][-1][1] if "crt" in options else ""
        if cert and not cert.startswith("/") and base.crt_base:
            cert = f"{base.crt_base.rstrip('/')}/{cert}"
        curves = [*options.get("ecdhe", []), *options.get("curves", [])]
        minimum, maximum = versions(line, options, base.servers.minimum, base.servers.maximum, self._report)
        return UpstreamTls(
            verify=verifies,
            name=name,
            ca="" if ca == "@system-ca" else ca,
            crl=crl,
            cert=cert,
            minimum=minimum,
            maximum=maximum,
            ciphers=tuple(options["ciphers"][-1][1].split(":")) if "ciphers" in options else base.servers.ciphers,
            suites=tuple(options["ciphersuites"][-1][1].split(":")) if "ciphersuites" in options else base.servers.suites,
            groups=tuple(curves[-1][1].split(":")) if curves else base.servers.curves,
            name_from=self._asked(options) if self._is_asked(options) else None,
        )

    def _asked(self, options: _Options) -> Expr | None:
        """Return the name that ``sni`` says; None where there is none. Raises ``Unreadable``."""
        return as_text(sample_expr(options["sni"][-1][1], State(raw=self._is_raw))) if "sni" in options else None

    def _is_asked(self, options: _Options) -> bool:
        """Tell whether names differ from request to request."""
        try:
            return not isinstance(self._asked(options) or Const(""), Const)
        except Unreadable:
            return False

    def _name(self, line: Line, options: _Options) -> str:
        """Return the one name that is sent and verified. HAProxy may send none; vestibule always sends one."""
        names: dict[str, int] = {}
        try:
            asked = self._asked(options)
        except Unreadable as bad:
            self._report.error(line, options["sni"][-1][0] + 1, bad.code, bad.message, bad.hint)
            return ""
        if asked is not None:
            # One that differs from request to request stands beside what is verified.
            names[str(asked.value) if isinstance(asked, Const) else ""] = options["sni"][-1][0]
        if "verifyhost" in options:
            place, text = options["verifyhost"][-1]
            names[text] = place
        if len(names) > 1:
            self._report.not_built(line, max(names.values()), "verifying another name than is sent")
        return next(iter(names), "")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _tells(options: _Options) -> bool:
    """Tell whether a server is told of clients by version 2 of the PROXY protocol."""
    return not {"send-proxy-v2", "send-proxy-v2-ssl", "send-proxy-v2-ssl-cn"}.isdisjoint(options)


def _merged(inherited: _Options, own: _Options) -> _Options:
    """Return the options that hold for a server; ``no-`` takes a flag back."""
    merged = {**inherited, **own}
    for name in _FLAGS:
        if f"no-{name}" in own:
            merged.pop(name, None)
    if "enabled" in own:
        merged.pop("disabled", None)
    return merged


def _elsewhere(options: _Options, name: str) -> tuple[str, int]:
    """Return the host and the port that ``addr`` names for checks; nothing and 0 for what is not said. A port of 0 is none."""
    text = options[name][-1][1].rpartition("@")[2] if name in options else ""
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*):([0-9]{1,5})", text)
    host, port = (found[1], int(found[2])) if found else (text, 0)
    return host.strip("[]"), port if port < 65_536 else 0
