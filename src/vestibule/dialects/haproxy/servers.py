"""The ``server`` lines of a backend as an upstream.

Facts (HAProxy configuration manual, chapter 5.2): ``default-server`` holds for the servers after it; a server of weight 0
gets no requests; without ``verify none``, certificates of servers are verified against ``ca-file``.

Rules: what the model says once for an upstream (TLS, pool) must be the same for all servers of a backend.

Not here: which server is used when (``lower``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeVar

from vestibule.dialects.haproxy.lexer import Line
from vestibule.dialects.haproxy.listen import TlsDefaults, split_options
from vestibule.dialects.haproxy.options import SERVER_OPTIONS
from vestibule.dialects.haproxy.quantity import parse_time
from vestibule.dialects.haproxy.report import Report, span
from vestibule.dialects.haproxy.sample import State, Unreadable, sample_expr
from vestibule.dialects.haproxy.tree import Section, Statement
from vestibule.dialects.origin import Origins
from vestibule.model.config import Pool, Retry, Server, Upstream, UpstreamTls
from vestibule.model.expr import Const
from vestibule.model.quantity import parse_port, parse_server_host

_Options = dict[str, list[tuple[int, str]]]

_MOST_WEIGHT = 256

T = TypeVar("T")


class Servers:
    """Reads the servers of one backend."""

    def __init__(self, section: Section, report: Report, origins: Origins, defaults: TlsDefaults) -> None:
        self._section = section
        self._report = report
        self._origins = origins
        self._defaults = defaults
        self.by_name: dict[str, Server] = {}
        """Servers in use by name; those that are disabled or have no weight are not among them."""
        self.known: set[str] = set()
        self._tls: list[tuple[Line, UpstreamTls]] = []
        self._pools: list[tuple[Line, Pool]] = []

    def read(self, statements: list[Statement], pool: Pool, retry: Retry) -> Upstream:
        """Return the upstream of the backend, named alike."""
        inherited: _Options = {}
        for statement in statements:
            if statement.name == "default-server":
                given = self._options(statement, 0)
                inherited = {**inherited, **given}
            elif statement.name == "server":
                self._server(statement, inherited, pool)
        servers = tuple(self.by_name.values())
        upstream = Upstream(
            self._section.name,
            servers,
            self._same(self._tls, UpstreamTls(), "TLS settings"),
            self._same(self._pools, pool, "limits of connections"),
            retry,
        )
        return self._origins.at(span(self._section.head), upstream)

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

    def _server(self, statement: Statement, inherited: _Options, pool: Pool) -> None:
        line, first = statement.line, statement.first
        name, address = line.text(first), line.text(first + 1)
        if not address:
            self._report.error(line, first, "missing", "a server needs a name and an address", "write `server NAME HOST:PORT`")
            return
        if name in self.known:
            self._report.error(line, first, "duplicate-name", f"there are two servers named `{name}`")
        self.known.add(name)
        own = self._options(statement, 2)
        options = _merged(inherited, own)
        server = self._address(line, first + 1, address, "ssl" in options)
        weight = self._number(line, options, "weight", 0, _MOST_WEIGHT)
        if server is None:
            return
        if "cookie" in own and not any(each.name == "cookie" for each in self._section.effective()):
            self._report.warning(line, own["cookie"][0][0], "unused", "`cookie` of a server has no effect without one of the backend")
        if "disabled" in options or weight == 0:
            return
        announces: Literal["", "v1", "v2"] = "v2" if "send-proxy-v2" in options else "v1" if "send-proxy" in options else ""
        server = replace(server, weight=1 if weight is None else weight, backup="backup" in options, proxy_protocol=announces)
        self.by_name[name] = self._origins.at(span(line), server)
        if server.tls:
            self._tls.append((line, self._upstream_tls(line, options)))
        self._pools.append((line, self._pool(line, options, pool)))

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

    def _number(self, line: Line, options: _Options, name: str, least: int, most: int) -> int | None:
        if name not in options:
            return None
        place, text = options[name][-1]
        if not text.isdecimal() or not least <= int(text) <= most:
            self._report.error(line, place + 1, "out-of-range", f"`{text}` is no number for `{name}`", f"use {least} to {most}")
            return None
        return int(text)

    # ------------------------------------------------------------ what servers share

    def _pool(self, line: Line, options: _Options, pool: Pool) -> Pool:
        most = self._number(line, options, "maxconn", 0, 10**9)
        if most:
            pool = replace(pool, max_connections=most)
        waiting = self._number(line, options, "maxqueue", 0, 10**9)
        if waiting:
            pool = replace(pool, max_waiting=waiting)
        idle = self._number(line, options, "pool-max-conn", 0, 10**9)
        if idle is not None:
            pool = replace(pool, max_idle=idle)
        if "pool-purge-delay" in options:
            place, text = options["pool-purge-delay"][-1]
            try:
                pool = replace(pool, idle_ms=parse_time(text))
            except ValueError as bad:
                self._report.error(line, place + 1, "bad-value", str(bad), "write `5s`")
        return pool

    def _upstream_tls(self, line: Line, options: _Options) -> UpstreamTls:
        verify = options["verify"][-1] if "verify" in options else (0, "required")
        if verify[1] not in ("none", "required"):
            self._report.error(line, verify[0] + 1, "bad-value", f"`verify {verify[1]}` is unknown", "write none or required")
        verifies = verify[1] != "none"
        ca = options["ca-file"][-1][1] if "ca-file" in options and verifies else ""
        if verifies and "ca-file" not in options:
            self._report.error(
                line,
                options["ssl"][0][0],
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
        return UpstreamTls(verify=verifies, name=name, ca="" if ca == "@system-ca" else ca, crl=crl, cert=cert)

    def _name(self, line: Line, options: _Options) -> str:
        """Return the one name that is sent and verified. HAProxy may send none; vestibule always sends one."""
        names: dict[str, int] = {}
        if "sni" in options:
            place, text = options["sni"][-1]
            try:
                expr = sample_expr(text, State())
            except Unreadable as bad:
                self._report.error(line, place + 1, bad.code, bad.message, bad.hint)
                return ""
            if not isinstance(expr, Const):
                self._report.not_built(line, place + 1, "a name that differs from request to request", "write `sni str(NAME)`")
                return ""
            names[str(expr.value)] = place
        if "verifyhost" in options:
            place, text = options["verifyhost"][-1]
            names[text] = place
        if len(names) > 1:
            self._report.not_built(line, max(names.values()), "verifying another name than is sent")
        return next(iter(names), "")


def _merged(inherited: _Options, own: _Options) -> _Options:
    """Return the options that hold for a server; ``no-`` takes a flag back."""
    merged = {**inherited, **own}
    for name in ("ssl", "backup", "send-proxy", "send-proxy-v2"):
        if f"no-{name}" in own:
            merged.pop(name, None)
    if "enabled" in own:
        merged.pop("disabled", None)
    return merged
