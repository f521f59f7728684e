"""``reverse_proxy``: servers, how they are spoken to, and what they are told.

Facts (Caddy's documentation, "reverse_proxy"): Host passes as it came; X-Forwarded-For, -Proto and -Host are written,
anew for peers that are not trusted, continued for those that are. A server is ``host:port``, ``http://host``,
``https://host`` or ``unix//path``; ``:port`` is this machine. Without ``lb_policy`` a server is chosen at random.

Rules: what the model says once for an upstream is the same for all servers of one ``reverse_proxy``.

Not here: matchers and order (``flow``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Literal

from vestibule.dialects.caddy.directives import PROXY_OPTIONS, TRANSPORT_OPTIONS, Directive
from vestibule.dialects.caddy.lexer import Token
from vestibule.dialects.caddy.matchers import networks
from vestibule.dialects.caddy.placeholders import State, read_expr, read_query, read_target, text_expr
from vestibule.dialects.caddy.quantity import parse_duration
from vestibule.dialects.caddy.replacing import MORE, as_done, replaced
from vestibule.dialects.caddy.report import Report, near
from vestibule.dialects.caddy.sharing import Sharing, SharingReader
from vestibule.dialects.caddy.tree import Segment
from vestibule.dialects.origin import Origins
from vestibule.dialects.piece import Piece
from vestibule.dialects.read import Unreadable
from vestibule.model.config import (
    Action,
    AddHeader,
    AuthRequest,
    EditHeader,
    Forwarding,
    Pool,
    Proxy,
    RemoveHeader,
    RemoveHeaders,
    Respond,
    Rewrite,
    Route,
    Server,
    SetHeader,
    SetMethod,
    Switch,
    Timeouts,
    Upstream,
    UpstreamTls,
    When,
)
from vestibule.model.expr import AllOf, Compare, Concat, Const, Default, Expr, If, InNet, Var
from vestibule.model.quantity import format_server, parse_local_address, parse_port, parse_server_host

TIMEOUTS = Timeouts(connect_ms=3_000, keep_alive_ms=300_000, hold_ms=0)
"""Caddy's own where it has any: 3 s to connect, 5 min for an idle client. It has no other limits of time, and no request waits
for a server to come back unless ``lb_try_duration`` says so."""

FORWARDING = Forwarding(x_forwarded="pass", forwarded="pass", host="client", underscores="allow")
"""What is told of the client is written by actions, as Caddy does it."""


_RANGE_MOST = 256
"""Servers that one address with a range of ports may stand for."""

_HOP = ("connection", "transfer-encoding", "upgrade", "te", "trailer", "keep-alive", "proxy-connection", "content-length")


@dataclass(slots=True)
class Transport:
    """What ``transport http`` says."""

    tls: UpstreamTls | None = None
    pool: Pool = field(default_factory=lambda: Pool(protocol="auto"))
    """Caddy's own choice: a server with TLS chooses HTTP/2 or HTTP/1.1."""
    timeouts: Timeouts = TIMEOUTS
    proxy_protocol: Literal["", "v1", "v2"] = ""
    plain_ports: tuple[str, ...] = ()
    """Ports of servers that have no TLS where the others have."""
    speaks_h2c: bool = False


class Proxies:
    """Reads every ``reverse_proxy`` of a file and keeps the upstreams."""

    def __init__(self, report: Report, origins: Origins) -> None:
        self._report = report
        self._origins = origins
        self._sharing = SharingReader(report)
        self.upstreams: dict[str, Upstream] = {}
        self.trusted: tuple[str, ...] = ()
        self.forwarding = FORWARDING

    def read(self, segment: Segment, first: int, state: State) -> Piece:
        """Read one; its servers begin at the token ``first``."""
        targets = self._settled(list(segment.tokens[first:]), state)
        chosen = next((token for token in targets if "{" in token.text), None)
        if chosen is not None:
            choice = self._choice(segment, first, chosen, state)
            if choice is not None:
                return choice
        transport = Transport()
        request: list[Action] = []
        response: list[Action] = []
        forwarding: Forwarding | None = None
        sharing = Sharing()
        found: list[Server] = []
        rewrites: list[Action] = []
        trusted = self.trusted
        state = _with_server(state, [*targets, *[token for line in segment.inside() if line.name == "to" for token in line.tokens[1:]]])
        lines = tuple([line for line in segment.inside() if not line.name.startswith("@")])
        lines = as_done(lines, ("header_up", "header_down"))
        for line in self._known(lines, PROXY_OPTIONS, "reverse_proxy"):
            if line.name == "to":
                targets.extend(self._settled(list(line.tokens[1:]), state))
            elif line.name == "header_up" and is_upstream_host(line):
                forwarding = replace(self.forwarding, host="upstream")
            elif line.name == "header_up":
                request.extend(self.edits(line, 1, state))
            elif line.name == "header_down":
                response.extend(self.edits(line, 1, state))
            elif line.name == "rewrite":
                rewrites += self._rewrite(line, state)
            elif line.name == "method":
                method = self.method(line, 1)
                rewrites += [method] if method is not None else []
            elif line.name == "dynamic":
                found.extend([self._origins.at(line.span, server) for server in self._sharing.dynamic(line)])
            elif line.name in ("handle_response", "replace_status") or self._sharing.line(sharing, line):
                pass  # answers that are replaced are the flow's
            elif line.name == "trusted_proxies":
                trusted = (*trusted, *self.networks(line))
            else:
                transport = self._transport(line)
        if targets or not any(line.name == "dynamic" for line in segment.inside()):
            found = self._sharing.weigh(sharing, [*self._servers(segment, targets), *found])
        if not found:
            return Piece(Respond(503))
        if any(token.text.startswith(("h2c://", "unix+h2c/")) for token in targets):
            transport.pool, transport.speaks_h2c = replace(transport.pool, protocol="h2"), True
        name = self._upstream(segment, found, transport, self._sharing.finish(sharing))
        told = self._told(trusted)
        for action in told:
            self._origins.at(segment.span, action)
        timeouts = replace(transport.timeouts, hold_ms=sharing.hold_ms)
        source = self._origins.at(segment.span, Proxy(name))
        # What is answered here, such as an error, is no answer of a server.
        edits = (When(Var("proxied"), tuple(response)),) if response else ()
        return Piece(source, (*told, *request, *rewrites), edits, None if timeouts == TIMEOUTS else timeouts, forwarding=forwarding)

    def ask(self, segment: Segment, first: int, state: State) -> AuthRequest | None:
        """Read ``forward_auth``, whose server begins at the token ``first``; None, noted, if it cannot be read."""
        path: Expr | None = None
        query: Expr | None = None
        copies: dict[str, str] = {}
        edits: list[Action] = []
        transport = Transport()
        trusted = self.trusted
        for line in as_done(segment.inside(), ("header_up",)):
            if line.name == "uri" and len(line.tokens) == 2:
                path, query = self._question(line, state)
            elif line.name == "copy_headers":
                copies.update(_pairs(line.texts()))
                copies.update([pair for each in line.inside() for pair in _pairs([each.name, *each.texts()])])
            elif line.name == "header_up":
                edits.extend(self.edits(line, 1, state))
            elif line.name == "transport":
                transport = self._transport(line)
            elif line.name == "trusted_proxies":
                trusted = (*trusted, *self.networks(line))
            elif line.name in PROXY_OPTIONS or line.name in ("to", "uri"):
                self._report.not_built(line.head, f"`{line.name}` of `forward_auth`", "leave it out")
            else:
                self._report.error(line.head, "unknown-option", f"`{line.name}` is unknown in `forward_auth`", near(line.name, _ASKS))
        found = self._servers(segment, list(segment.tokens[first:]))
        if path is None and not any(line.name == "uri" for line in segment.inside()):
            self._report.error(segment.head, "missing", "`forward_auth` needs a `uri`", "write `uri /api/verify`")
        if not found or path is None:
            return None
        name = self._upstream(segment, found, transport, self._sharing.finish(Sharing()))
        told = [SetHeader("X-Forwarded-Method", Var("method")), SetHeader("X-Forwarded-Uri", Var("target"))]
        request = (*self._told(trusted), *told, *edits)
        return AuthRequest(name, path, query, request=request, copy=tuple(copies.items()), pass_answer=True)

    def _question(self, line: Segment, state: State) -> tuple[Expr | None, Expr | None]:
        """Read the target of a question; one without a query has that of the request."""
        text, mark, query = line.token(1).text.partition("?")
        if not text.startswith("/") or "{" in text:
            self._report.not_built(line.token(1), "this target of a question", "write a path that begins with `/`")
            return None, None
        asked = read_query(line.token(1), query, state, self._report) if mark else None
        return Const(text), asked

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

    def _settled(self, targets: list[Token], state: State) -> list[Token]:
        """Put into addresses the placeholders whose values are known beforehand."""
        done: list[Token] = []
        for token in targets:
            try:
                value = text_expr(token.text, state) if "{" in token.text else None
            except Unreadable:
                value = None
            done.append(replace(token, text=str(value.value)) if isinstance(value, Const) else token)
        return done

    def _choice(self, segment: Segment, first: int, token: Token, state: State) -> Piece | None:
        """Return a choice between servers, where a placeholder of an address has few values; None where they are not known."""
        try:
            found = alternatives(text_expr(token.text, state))
        except Unreadable as bad:
            self._report.error(token, bad.code, bad.message, bad.hint)
            return Piece(Respond(503))
        if found is None or (len(found) == 1 and found[0][0] is None):
            return None
        odd = next((value for _, value in found if "{" in value), None)
        if odd is not None:
            self._report.error(token, "bad-address", f"`{odd}` is no address; what a placeholder stands for is not read again")
            return Piece(Respond(503))
        routes: list[Route] = []
        for test, value in found:
            tokens = tuple([replace(each, text=value) if each is token else each for each in segment.tokens])
            piece = self.read(Segment(tokens, segment.block), first, state) if value else Piece(Respond(502))
            routes.append(self._origins.at(segment.span, piece.route(test)))
        return Piece(Switch(tuple(routes)))

    def _servers(self, segment: Segment, targets: list[Token]) -> list[Server]:
        servers: list[Server] = []
        if not targets:
            self._report.error(segment.head, "missing", "`reverse_proxy` needs a server", "write `reverse_proxy host:port`")
        for token in targets:
            try:
                read = read_servers(token.text)
            except ValueError as bad:
                self._report.error(token, "bad-address", str(bad), "write `host:port` or `http://host:port`")
                continue
            except Unreadable as bad:
                self._report.error(token, bad.code, bad.message, bad.hint)
                continue
            servers.extend([self._origins.at(token.span, server) for server in read])
        return servers

    def _upstream(self, segment: Segment, servers: list[Server], transport: Transport, sharing: Sharing) -> str:
        """Return the name of the upstream, making it if there is none like it."""
        if len({server.tls for server in servers}) > 1:
            self._report.not_built(segment.head, "servers with TLS and without in one `reverse_proxy`", "make two")
        servers = [self._origins.move(server, _spoken(server, transport)) for server in servers]
        pool = transport.pool
        has_choice = not transport.speaks_h2c and pool.protocol != "http/1.1"
        if has_choice and (not any(server.tls for server in servers) or (pool.protocol == "auto" and transport.proxy_protocol)):
            # Without TLS nobody offers HTTP/2, and its connections do not stand for one client each.
            pool = replace(pool, protocol="http/1.1")
        if sharing.most is not None:
            # A server that has as many is passed over, and where all have, nobody waits.
            pool = replace(pool, max_connections=min(sharing.most, pool.max_connections or sharing.most), max_waiting=0)
        text = " ".join([_name_of(server) for server in servers])
        made = Upstream(
            text,
            tuple(servers),
            transport.tls or UpstreamTls(),
            pool,
            sharing.retry,
            sharing.balance,
            sharing.passive,
            sharing.sticky,
            health=sharing.health,
        )
        name, number = text, 2
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
            if "{" in value:
                self._report.not_built(inner.token(1), f"placeholders in `{inner.name}`", "write the value")
                continue
            if inner.name == "tls_insecure_skip_verify":
                tls = replace(tls, verify=False)
            elif inner.name == "tls_server_name":
                tls = replace(tls, name=value)
            elif inner.name in ("tls_trusted_ca_certs", "tls_trust_pool"):
                tls = replace(tls, ca=self._authority(inner))
            elif inner.name == "tls_client_auth":
                cert, key = (*inner.texts(), "", "")[:2]
                if not key:
                    self._report.not_built(inner.head, "a certificate that is made for servers", "name a certificate and its key")
                tls = replace(tls, cert=cert, key=key)
            elif inner.name == "tls_except_ports":
                found.plain_ports = tuple(inner.texts())
            elif inner.name == "proxy_protocol":
                self._proxy_protocol(found, inner, value)
            elif inner.name == "versions":
                self._versions(found, inner)
            elif inner.name == "local_address":
                self._local_address(found, inner, value)
            elif inner.name != "tls":
                self._number_or_time(found, inner, value)
        if uses_tls:
            found.tls = tls
        return found

    def _proxy_protocol(self, found: Transport, line: Segment, value: str) -> None:
        if value == "v1":
            found.proxy_protocol = "v1"
        elif value == "v2":
            found.proxy_protocol = "v2"
        else:
            self._report.error(line.token(1), "bad-value", f"`{value}` is no version of the PROXY protocol", "write `v1` or `v2`")

    def _local_address(self, found: Transport, line: Segment, value: str) -> None:
        try:
            found.pool = replace(found.pool, local_address=parse_local_address(value))
        except ValueError as bad:
            self._report.error(line.token(1), "bad-address", str(bad), "write an address of this machine")

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

    def _versions(self, found: Transport, line: Segment) -> None:
        """Read what servers speak. Caddy tries HTTP/2 where it and 1.1 are named; h2c it speaks to servers without TLS."""
        words = line.texts()
        for at, word in enumerate(words):
            if word == "3":
                self._report.left_out(line.token(at + 1), "HTTP/3", "servers are spoken to with HTTP/1.1 or HTTP/2")
            elif word not in ("1.1", "2", "h2c"):
                self._report.error(line.token(at + 1), "bad-value", f"`{word}` is no version", near(word, ("1.1", "2", "h2c")))
        if "h2c" in words or ("2" in words and "1.1" not in words):
            found.pool = replace(found.pool, protocol="h2")
            found.speaks_h2c = "h2c" in words
        elif "1.1" not in words:
            self._report.not_built(line.head, "other versions than 1.1 and 2 towards servers", "write `versions 1.1`")
        elif "2" not in words:
            found.pool = replace(found.pool, protocol="http/1.1")

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

    def method(self, line: Segment, first: int) -> SetMethod | None:
        """Read the method to ask with; None, noted, if it cannot be had."""
        word = line.tokens[first].text if len(line.tokens) == first + 1 else ""
        if not word:
            self._report.error(line.head, "syntax", "`method` takes a method", "write `method POST`")
        elif "{" in word or word.upper() in ("HEAD", "CONNECT"):
            self._report.not_built(line.token(first), f"`method {word}`", "write `GET`, `POST` or another method")
        else:
            return self._origins.at(line.span, SetMethod(Const(word.upper())))
        return None

    def _rewrite(self, line: Segment, state: State) -> list[Action]:
        """Read the target that servers are asked for."""
        if len(line.tokens) != 2:
            self._report.error(line.head, "syntax", "`rewrite` takes a target", "write a path, and a query behind a `?`")
            return []
        target = read_target(line.token(1), state, self._report)
        return [] if target is None else [self._origins.at(line.span, Rewrite(*target))]

    # ------------------------------------------------------------ fields

    def _replacement(self, line: Segment, first: int, name: str, waits: bool) -> list[Action]:
        """Read ``Name FIND REPLACEMENT``, which changes each line of the field."""
        token = line.token(first)
        if name.lower() == "host" or len(line.tokens) > first + 3:
            self._report.not_built(token, f"this replacement in `{name}`", "set it whole")
            return []
        if not waits:
            self._report.left_out(token, f"the edit of `{name}`", f"write `>{name}`: an answer has no field yet where this is done")
            return []
        try:
            value = replaced(Var("field_line"), line.token(first + 1).text, line.token(first + 2).text)
        except Unreadable as bad:
            self._report.error(line.token(first + 2), bad.code, bad.message, bad.hint)
            return []
        return [self._origins.at(token.span, EditHeader(name, value))]

    def edits(self, line: Segment, first: int, state: State, waits: bool = True) -> list[Action]:
        """Read an edit of a field: ``[+|-|>|?]Name [value [replacement]]``; ``waits`` for what there is to be replaced."""
        words = line.texts(first)
        if not words:
            self._report.error(line.head, "missing", f"`{line.name}` needs the name of a field")
            return []
        token = line.token(first)
        mark, name = (words[0][0], words[0][1:]) if words[0][:1] in ("+", "-", ">", "?") else ("", words[0])
        name = name.removeprefix("+").removesuffix(":") if words[0].startswith(MORE) else name.removesuffix(":")
        if "*" in name:
            bare = name.removeprefix("*").removesuffix("*").lower()
            if mark != "-" or not bare or "*" in bare or "{" in bare:
                self._report.not_built(token, f"`{words[0]}`", "name each field, or write `-NAME*`")
                return []
            begin, end = "" if name.startswith("*") else "^", "" if name.endswith("*") else "$"
            return [self._origins.at(token.span, RemoveHeaders(f"{begin}{re.escape(bare)}{end}"))]
        if name.lower() in _HOP:
            self._report.left_out(token, f"the edit of `{name}`", "vestibule writes the fields of the connection itself")
            return []
        if len(words) > 2:
            return self._replacement(line, first, name, waits)
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


_CHOICES_MOST = 64
"""Servers that one address may stand for by the value of a placeholder."""


def alternatives(expr: Expr) -> list[tuple[Expr | None, str]] | None:
    """Return the values that a text may have, each with its test, the last without one; None where they are not known."""
    if isinstance(expr, Const):
        return [(None, str(expr.value))]
    if isinstance(expr, Default):
        # Of the value alone, what is empty is the fallback.
        first, rest = alternatives(expr.value), alternatives(expr.fallback)
        if first is None or rest is None:
            return None
        found: list[tuple[Expr | None, str]] = []
        for test, value in first:
            found += [(test, value)] if value else [(_both(test, inner), text) for inner, text in rest]
        return found if len(found) <= _CHOICES_MOST else None
    if isinstance(expr, If):
        then, otherwise = alternatives(expr.then), alternatives(expr.otherwise)
        if then is None or otherwise is None or len(then) + len(otherwise) > _CHOICES_MOST:
            return None
        return [(_both(expr.test, test), value) for test, value in then] + otherwise
    if isinstance(expr, Concat):
        return _joined(expr.parts)
    return None


def _joined(parts: tuple[Expr, ...]) -> list[tuple[Expr | None, str]] | None:
    """Return the values of parts side by side, of which one may have several."""
    before, chosen, after = "", None, ""
    for part in parts:
        if isinstance(part, Const) and chosen is None:
            before += str(part.value)
        elif isinstance(part, Const):
            after += str(part.value)
        elif chosen is None:
            chosen = alternatives(part)
            if chosen is None:
                return None
        else:
            return None
    return [(test, before + value + after) for test, value in chosen or [(None, "")]]


def _both(one: Expr | None, other: Expr | None) -> Expr | None:
    if one is None or other is None:
        return one or other
    return AllOf((one, other))


_ASKS = ("uri", "copy_headers", "header_up", "transport", "trusted_proxies")


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    """Return fields that are copied, each with its new name: ``A>B`` renames, ``A`` keeps."""
    pairs = [word.partition(">") for word in words]
    return [(name, new or name) for name, _, new in pairs]


def _with_server(state: State, targets: list[Token]) -> State:
    """Return the state in which the only server's address is known."""
    try:
        (server,) = [server for token in targets for server in read_servers(token.text)]
    except (ValueError, Unreadable):
        return state
    if server.path:
        return state
    host = f"[{server.host}]" if ":" in server.host else server.host
    for name, value in (("hostport", f"{host}:{server.port}"), ("host", server.host), ("port", str(server.port))):
        state = state.with_variable(f"http.reverse_proxy.upstream.{name}", Const(value))
    return state


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


def _spoken(server: Server, transport: Transport) -> Server:
    """Return a server as the transport speaks to it."""
    tls = server.tls
    if transport.tls is not None:
        tls = str(server.port) not in transport.plain_ports
    port = 443 if tls and server.port == 80 and server.resolve == "one" else server.port
    return replace(server, tls=tls, port=port, proxy_protocol=transport.proxy_protocol)


def _name_of(server: Server) -> str:
    """Return what messages call a server."""
    if server.resolve != "one":
        return f"{server.resolve} {server.host}" if server.resolve == "srv" else f"all {server.host}:{server.port}"
    plain = Server(server.host, server.port, server.path, server.tls and not server.path)
    return format_server(plain) or server.path


def read_servers(text: str) -> list[Server]:
    """Read the address of a server, or of one for each port of a range. Raises ``ValueError`` or ``Unreadable``."""
    scheme, mark, rest = text.partition("://")
    if "{" in text:
        raise Unreadable("not-built", f"the placeholder in `{text}`: not built yet", "write the address, or choose between some with `map`")
    if not mark:
        scheme, rest = "", text
    if not mark and rest.startswith("unix+h2c/"):
        rest = rest.replace("unix+h2c/", "unix/", 1)
    if rest.startswith("unix/"):
        return [Server(path=rest.removeprefix("unix/").partition("|")[0], tls=scheme == "https")]
    if scheme not in ("", "http", "https", "h2c"):
        raise Unreadable("not-built", f"`{scheme}://` towards servers: not built yet", "write `http://`, `https://` or `h2c://`")
    rest = rest.removeprefix("tcp/").removesuffix("/") if not mark else rest.removesuffix("/")
    if "/" in rest:
        raise ValueError(f"`{text}` has a path, which a server has not; use `rewrite`")
    host, colon, port = rest.rpartition(":")
    if not colon or rest.endswith("]"):
        host, port = rest, ""
    name = parse_server_host(host) if host else "localhost"
    if not port:
        return [Server(name, 443 if scheme == "https" else 80, tls=scheme == "https")]
    first, _, last = port.partition("-")
    numbers = range(parse_port(first), parse_port(last or first) + 1)
    if not 1 <= len(numbers) <= _RANGE_MOST:
        raise ValueError(f"`{port}` is no range of 1 to {_RANGE_MOST} ports")
    return [Server(name, number, tls=scheme == "https") for number in numbers]
