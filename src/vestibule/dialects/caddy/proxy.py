"""``reverse_proxy``: servers, how they are spoken to, and what they are told.

Facts (Caddy's documentation, "reverse_proxy"): Host passes as it came; X-Forwarded-For, -Proto and -Host are written,
anew for peers that are not trusted, continued for those that are. A server is ``host:port``, ``http://host``,
``https://host`` or ``unix//path``; ``:port`` is this machine. Without ``lb_policy`` a server is chosen at random.

Rules: what the model says once for an upstream is the same for all servers of one ``reverse_proxy``.

Not here: matchers and order (``flow``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from vestibule.dialects.caddy.directives import PROXY_OPTIONS, TRANSPORT_OPTIONS, Directive
from vestibule.dialects.caddy.lexer import Token
from vestibule.dialects.caddy.matchers import networks
from vestibule.dialects.caddy.placeholders import State, Unreadable, read_expr
from vestibule.dialects.caddy.quantity import parse_duration
from vestibule.dialects.caddy.report import Report, near
from vestibule.dialects.caddy.tree import Segment
from vestibule.dialects.origin import Origins
from vestibule.dialects.piece import Piece
from vestibule.model.config import (
    Action,
    AddHeader,
    Forwarding,
    Pool,
    Proxy,
    RemoveHeader,
    Respond,
    Retry,
    Server,
    SetHeader,
    Timeouts,
    Upstream,
    UpstreamTls,
    When,
)
from vestibule.model.expr import Compare, Concat, Const, Default, Expr, If, InNet, Var
from vestibule.model.quantity import format_server, parse_port, parse_server_host

TIMEOUTS = Timeouts(connect_ms=3_000, keep_alive_ms=300_000)
"""Caddy's own where it has any: 3 s to connect, 5 min for an idle client. It has no other limits of time."""

FORWARDING = Forwarding(x_forwarded="pass", forwarded="pass", host="client", underscores="allow")
"""What is told of the client is written by actions, as Caddy does it."""

_POLICIES = ("random", "random_choose", "round_robin", "weighted_round_robin")

_HOP = ("connection", "transfer-encoding", "upgrade", "te", "trailer", "keep-alive", "proxy-connection", "content-length")


@dataclass(slots=True)
class Transport:
    """What ``transport http`` says."""

    tls: UpstreamTls | None = None
    pool: Pool = field(default_factory=Pool)
    timeouts: Timeouts = TIMEOUTS


class Proxies:
    """Reads every ``reverse_proxy`` of a file and keeps the upstreams."""

    def __init__(self, report: Report, origins: Origins) -> None:
        self._report = report
        self._origins = origins
        self.upstreams: dict[str, Upstream] = {}
        self.trusted: tuple[str, ...] = ()

    def read(self, segment: Segment, first: int, state: State) -> Piece:
        """Read one; its servers begin at the token ``first``."""
        targets = list(segment.tokens[first:])
        transport = Transport()
        request: list[Action] = []
        response: list[Action] = []
        forwarding: Forwarding | None = None
        retry, policy = Retry(), ""
        weights: tuple[str, ...] = ()
        trusted = self.trusted
        for line in self._known(segment.inside(), PROXY_OPTIONS, "reverse_proxy"):
            if line.name == "to":
                targets.extend(line.tokens[1:])
            elif line.name == "header_up" and is_upstream_host(line):
                forwarding = replace(FORWARDING, host="upstream")
            elif line.name == "header_up":
                request.extend(self.edits(line, 1, state))
            elif line.name == "header_down":
                response.extend(self.edits(line, 1, state))
            elif line.name == "lb_policy":
                policy, weights = "".join(line.texts()[:1]), tuple(line.texts(2))
                self._check_policy(line, policy, targets)
            elif line.name == "lb_retries":
                retry = Retry((self._number(line, 1) or 0) + 1)
            elif line.name == "trusted_proxies":
                trusted = (*trusted, *self.networks(line))
            else:
                transport = self._transport(line)
        servers = self._servers(segment, targets, weights if policy == "weighted_round_robin" else ())
        if not servers:
            return Piece(Respond(503))
        name = self._upstream(segment, servers, transport, retry)
        told = self._told(trusted)
        for action in told:
            self._origins.at(segment.span, action)
        timeouts = None if transport.timeouts == TIMEOUTS else transport.timeouts
        source = self._origins.at(segment.span, Proxy(name))
        return Piece(source, (*told, *request), tuple(response), timeouts, forwarding=forwarding)

    def networks(self, line: Segment) -> tuple[str, ...]:
        """Read the networks of a ``trusted_proxies`` line."""
        words = line.texts()
        if words[:1] == ["static"]:
            words = words[1:]
        try:
            return networks(words)
        except Unreadable as bad:
            self._report.error(line.head, bad.code, bad.message, bad.hint)
            return ()

    def _known(self, lines: tuple[Segment, ...], table: dict[str, Directive], where: str) -> list[Segment]:
        """Return the lines that are carried out; the others are told."""
        return [line for line in lines if tell_state(line, table, where, self._report)]

    def _told(self, trusted: tuple[str, ...]) -> list[Action]:
        """Return the actions that tell servers of the client."""
        told: list[tuple[str, Expr]] = [("for", Var("peer_ip")), ("proto", Var("scheme")), ("host", Var("host_port"))]
        actions: list[Action] = []
        for word, own in told:
            field = f"X-Forwarded-{word.capitalize()}"
            came = Var("header", field.lower())
            value: Expr = own
            if trusted:
                kept: Expr = Default(came, own)
                if word == "for":
                    kept = If(Compare("==", came, Const("")), own, Concat((came, Const(", "), own)))
                value = If(InNet(Var("peer_ip"), trusted), kept, own)
            actions.append(SetHeader(field, value))
        return actions

    # ------------------------------------------------------------ servers

    def _servers(self, segment: Segment, targets: list[Token], weights: tuple[str, ...]) -> list[Server]:
        servers: list[Server] = []
        if not targets:
            self._report.error(segment.head, "missing", "`reverse_proxy` needs a server", "write `reverse_proxy host:port`")
        for at, token in enumerate(targets):
            try:
                server = read_server(token.text)
            except ValueError as bad:
                self._report.error(token, "bad-address", str(bad), "write `host:port` or `http://host:port`")
                continue
            except Unreadable as bad:
                self._report.error(token, bad.code, bad.message, bad.hint)
                continue
            if weights:
                text = weights[at] if at < len(weights) else "1"
                if not text.isdecimal() or not 1 <= int(text) <= 65_535:
                    self._report.error(token, "bad-value", f"`{text}` is no weight", "weights are from 1 to 65535")
                else:
                    server = replace(server, weight=int(text))
            servers.append(self._origins.at(token.span, server))
        return servers

    def _check_policy(self, line: Segment, policy: str, targets: list[Token]) -> None:
        if policy in _POLICIES or len(targets) < 2:
            return
        self._report.not_built(line.head, f"`lb_policy {policy}`", "write `lb_policy round_robin`")

    def _upstream(self, segment: Segment, servers: list[Server], transport: Transport, retry: Retry) -> str:
        """Return the name of the upstream, making it if there is none like it."""
        if transport.tls is not None:
            moved = [
                self._origins.move(server, replace(server, tls=True, port=443 if server.port == 80 else server.port)) for server in servers
            ]
            servers = moved
        if len({server.tls for server in servers}) > 1:
            self._report.not_built(segment.head, "servers with TLS and without in one `reverse_proxy`", "make two")
        text = " ".join([format_server(replace(server, weight=1, tls=server.tls and not server.path)) or server.path for server in servers])
        name, number = text, 2
        made = Upstream(text, tuple(servers), transport.tls or UpstreamTls(), transport.pool, retry)
        while name in self.upstreams and replace(self.upstreams[name], name=text) != made:
            name, number = f"{text} #{number}", number + 1
        if name not in self.upstreams:
            self.upstreams[name] = self._origins.at(segment.span, replace(made, name=name))
        return name

    # ------------------------------------------------------------ transport

    def _transport(self, line: Segment) -> Transport:
        found = Transport()
        if line.texts()[:1] != ["http"]:
            self._report.not_built(line.token(1), f"`transport {' '.join(line.texts())}`", "write `transport http`")
            return found
        tls = UpstreamTls()
        uses_tls = False
        for inner in self._known(line.inside(), TRANSPORT_OPTIONS, "transport http"):
            value = "".join(inner.texts()[:1])
            uses_tls = uses_tls or inner.name.startswith("tls")
            if inner.name == "tls_insecure_skip_verify":
                tls = replace(tls, verify=False)
            elif inner.name == "tls_server_name":
                tls = replace(tls, name=value)
            elif inner.name in ("tls_trusted_ca_certs", "tls_trust_pool"):
                tls = replace(tls, ca=self._authority(inner))
            elif inner.name == "tls_client_auth":
                cert, key = (*inner.texts(), "", "")[:2]
                tls = replace(tls, cert=cert, key=key)
            elif inner.name == "versions":
                self._check_versions(inner)
            elif inner.name != "tls":
                self._number_or_time(found, inner, value)
        if uses_tls:
            found.tls = tls
        return found

    def _authority(self, line: Segment) -> str:
        words = line.texts()
        if line.name == "tls_trust_pool":
            if words[:1] != ["file"] or len(words) < 2:
                self._report.not_built(line.token(1), "this pool of authorities", "write `tls_trust_pool file FILE`")
                return ""
            words = words[1:]
        if len(words) > 1:
            self._report.not_built(line.token(2), "several files of authorities", "put them into one file")
        return "".join(words[:1])

    def _check_versions(self, line: Segment) -> None:
        words = line.texts()
        if "1.1" not in words:
            self._report.not_built(line.head, "other versions than 1.1 towards servers", "write `versions 1.1`")
        elif len(words) > 1:
            self._report.left_out(line.head, "all but 1.1 of `versions`", "servers are spoken to with HTTP/1.1")

    def _number_or_time(self, found: Transport, line: Segment, value: str) -> None:
        """Read an option that holds a number or a duration."""
        if line.name.endswith("per_host") or line.name.endswith("idle_conns"):
            number = self._number(line, 1)
            if number is None:
                return
            if line.name == "max_conns_per_host":
                found.pool = replace(found.pool, max_connections=number or None)
            else:
                found.pool = replace(found.pool, max_idle=number)
            return
        if line.name == "keepalive" and value == "off":
            found.pool = replace(found.pool, max_idle=0)
            return
        duration = self.duration(line, 1)
        if duration is None or duration == 0:
            return
        if line.name == "keepalive":
            found.pool = replace(found.pool, idle_ms=duration)
        elif line.name == "dial_timeout":
            found.timeouts = replace(found.timeouts, connect_ms=duration)
        elif line.name == "response_header_timeout":
            found.timeouts = replace(found.timeouts, response_head_ms=duration)
        else:
            found.timeouts = replace(found.timeouts, body_idle_ms=duration)

    def duration(self, line: Segment, at: int) -> int | None:
        """Return the duration at a token of a line; None, noted, if there is none."""
        try:
            return parse_duration(line.tokens[at].text if at < len(line.tokens) else "")
        except ValueError as bad:
            self._report.error(line.token(at), "bad-value", str(bad), "write `30s` or `10m`")
            return None

    def _number(self, line: Segment, at: int) -> int | None:
        text = "".join(line.texts(at)[:1])
        if not text.isdecimal() or len(text) > 9:
            self._report.error(line.token(at), "bad-value", f"`{text}` is no number")
            return None
        return int(text)

    # ------------------------------------------------------------ fields

    def edits(self, line: Segment, first: int, state: State) -> list[Action]:
        """Read an edit of a field: ``[+|-|>|?]Name [value [replacement]]``."""
        words = line.texts(first)
        if not words:
            self._report.error(line.head, "missing", f"`{line.name}` needs the name of a field")
            return []
        token = line.token(first)
        mark, name = (words[0][0], words[0][1:]) if words[0][:1] in ("+", "-", ">", "?") else ("", words[0])
        name = name.removesuffix(":")
        if len(words) > 2:
            self._report.not_built(line.token(first + 2), "replacing a part of a field", "set the whole field")
            return []
        if "*" in name:
            self._report.not_built(token, "removing fields by a pattern", "name each field")
            return []
        if name.lower() in _HOP:
            self._report.left_out(token, f"the edit of `{name}`", "vestibule writes the fields of the connection itself")
            return []
        if mark == "?" and line.name in ("header_up", "request_header"):
            self._report.error(token, "syntax", "`?` is for fields of answers", "set it with no mark")
            return []
        if mark == "-" or (len(words) == 1 and not mark):
            return [self._origins.at(token.span, RemoveHeader(name))]
        value = read_expr(line.token(first + 1), state, self._report) if len(words) > 1 else Const("")
        if value is None:
            return []
        if mark == "?":
            missing = Compare("==", Var("response_header", name.lower()), Const(""))
            return [self._origins.at(token.span, When(missing, (SetHeader(name, value),)))]
        return [self._origins.at(token.span, AddHeader(name, value) if mark == "+" else SetHeader(name, value))]


def is_upstream_host(line: Segment) -> bool:
    """Tell whether a ``header_up`` asks for the Host of the server."""
    words = line.texts()
    return len(words) == 2 and words[0].lower() == "host" and words[1] in ("{upstream_hostport}", "{http.reverse_proxy.upstream.hostport}")


def tell_state(line: Segment, table: dict[str, Directive], where: str, report: Report) -> bool:
    """Tell whether a line is carried out; if it is not, note what it is."""
    row = table.get(line.name)
    if row is None:
        report.error(line.head, "unknown-option", f"`{line.name}` is unknown in `{where}`", near(line.name, list(table)))
    elif row.state == "harmless":
        report.left_out(line.head, f"`{line.name}`", row.advice)
    elif row.state == "error":
        report.not_built(line.head, f"`{line.name}`", row.advice)
    return row is not None and row.state == "supported"


def read_server(text: str) -> Server:
    """Read the address of a server. Raises ``ValueError`` or ``Unreadable``."""
    scheme, mark, rest = text.partition("://")
    if "{" in text:
        raise Unreadable("not-built", f"the placeholder in `{text}`: not built yet", "write the address")
    if not mark:
        scheme, rest = "", text
    if rest.startswith("unix/"):
        return Server(path=rest.removeprefix("unix/").partition("|")[0], tls=scheme == "https")
    if scheme not in ("", "http", "https"):
        raise Unreadable("not-built", f"`{scheme}://` towards servers: not built yet", "write `http://` or `https://`")
    rest = rest.removeprefix("tcp/").removesuffix("/") if not mark else rest.removesuffix("/")
    if "/" in rest:
        raise ValueError(f"`{text}` has a path, which a server has not; use `rewrite`")
    host, colon, port = rest.rpartition(":")
    if not colon or rest.endswith("]"):
        host, port = rest, ""
    if "-" in port:
        raise Unreadable("not-built", "a range of ports: not built yet", "write each server")
    number = parse_port(port) if port else (443 if scheme == "https" else 80)
    return Server(parse_server_host(host) if host else "localhost", number, tls=scheme == "https")
