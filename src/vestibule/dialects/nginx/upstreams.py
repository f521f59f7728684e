"""``upstream`` blocks, and the upstream that each address in ``proxy_pass`` makes.

Facts:
* Servers share requests in turn by weight unless the block says otherwise. A server is left out for ``fail_timeout`` (10 s) after
  ``max_fails`` (1) failures within that time; a block of one server leaves none out.
* ``proxy_next_upstream`` says what is tried again (``error timeout`` unless said), each server once at most. An answer with a listed
  status is a failure of its server, except 403 and 404.
* ``ip_hash`` looks at the first three octets of an IPv4 address, and at the whole of an IPv6 one.

Rules: what a location says of its proxying (TLS, tries) is part of the upstream; the same block used in two ways is two upstreams.

Not here: ``proxy_pass`` itself (``proxying``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from vestibule.dialects.nginx.flow import not_built
from vestibule.dialects.nginx.lexer import Word
from vestibule.dialects.nginx.scope import Scope
from vestibule.dialects.nginx.tree import Directive
from vestibule.dialects.nginx.values import parse_count, parse_time
from vestibule.dialects.nginx.variables import Names
from vestibule.dialects.record import Record
from vestibule.model.config import Balance, Passive, Pool, Retry, Server, Sticky, Upstream, UpstreamTls
from vestibule.model.diagnostic import Span
from vestibule.model.expr import Expr
from vestibule.model.quantity import format_server, parse_local_address, parse_port, parse_server_host
from vestibule.model.upstream import RetryCause

T = TypeVar("T")

UNREAD = "unread"
"""The host of a server whose address could not be read."""

_METHODS = ("least_conn", "ip_hash", "hash", "random", "least_time")
_CAUSES: dict[str, tuple[RetryCause, ...]] = {"error": ("connect", "lost"), "timeout": ("timeout",), "invalid_header": ("invalid",)}
_STATUSES = (500, 502, 503, 504, 403, 404, 429)
_NO_FAILURES = (403, 404)
_NO_BUDGET = 10_000
"""nginx tries again whatever the share of requests that fail."""

_SAME_SITE: dict[str, Literal["lax", "strict", "none"]] = {"lax": "lax", "strict": "strict", "none": "none"}
_SERVER_FLAGS = ("backup", "down", "resolve")
_SERVER_VALUES = ("weight", "max_conns", "max_fails", "fail_timeout", "slow_start", "service")


@dataclass(frozen=True, slots=True)
class Target:
    """A ``proxy_pass`` taken apart. ``rest`` is what follows the authority: None for nothing at all."""

    tls: bool
    authority: str
    rest: Expr | None
    is_fixed: bool
    """Whether it was written without variables; only then nginx replaces prefixes and rewrites redirects by itself."""
    by: Expr | None = None
    """Where a request goes that names its server; ``authority`` is how that was written then."""
    whole: Expr | None = None
    """What was written behind the scheme, where only a request tells whether it has a path."""

    @property
    def scheme(self) -> str:
        """The scheme."""
        return "https" if self.tls else "http"

    @property
    def host(self) -> str:
        """What ``$proxy_host`` is."""
        default = ":443" if self.tls else ":80"
        return "localhost" if self.authority.startswith("unix:") else self.authority.removesuffix(default)


class Upstreams:
    """The upstreams of a configuration: declared ones, and one for each address that is proxied to."""

    def __init__(self, record: Record, first: int = 0, prefix: str = "") -> None:
        """``first`` upstreams come before these; ``prefix`` keeps their names apart."""
        self._record = record
        self._first = first
        self._prefix = prefix
        self._declared: dict[str, Directive] = {}
        self._names = Names(record)
        self._made: dict[str, Upstream] = {}

    def declare(self, directive: Directive, names: Names) -> None:
        """Take an ``upstream`` block; ``names`` are those of ``http``."""
        name = directive.text(0)
        self._names = names
        if name in self._declared:
            self._record.error(directive.place(0), "duplicate-name", f"there are two upstreams named `{name}`")
        self._declared[name] = directive

    def all(self) -> tuple[Upstream, ...]:
        """Return all that are used."""
        return tuple(self._made.values())

    def are_named_by_requests(self) -> bool:
        """Tell whether requests name hosts."""
        return any(each.address is not None for each in self._made.values())

    def warn_unused(self) -> None:
        """Note declared ones that nobody uses."""
        names = [name.removeprefix(self._prefix) for name in self._made]
        used = {name.partition("://")[2] or name for name in names}
        for name, directive in self._declared.items():
            if name not in used and not any(each.startswith(f"{name} ") for each in used):
                self._record.warning(directive.span, "unused", f"nobody uses the upstream `{name}`")

    def names(self) -> tuple[str, ...]:
        """Return the names of all blocks."""
        return tuple(self._declared)

    def has(self, name: str) -> bool:
        """Tell whether there is a block of this name."""
        return name in self._declared

    def use(self, target: Target, scope: Scope, span: Span, announce: Literal["", "v1"] = "", kind: Literal["tcp", "udp"] = "tcp") -> str:
        """Return the name of the upstream that a target means, making it; empty, noted, where its address is none.

        ``kind`` is what its name begins with where nothing else names it: what goes there.
        """
        tls = _upstream_tls(scope, target)
        block = self._declared.get(target.authority) if target.by is None else None
        if target.by is not None:
            upstream = Upstream(f"{target.scheme}://{target.authority}", (), address=target.by, address_tls=target.tls)
        elif block is None:
            server = _server(self._record, span, target.authority, target.tls)
            if server.host == UNREAD:
                return ""
            upstream = Upstream(format_server(server) or target.authority, (server,))
            if self._prefix:
                upstream = replace(upstream, name=f"{'tls' if target.tls else kind}://{target.authority}")
        else:
            span = block.span
            name = f"https://{target.authority}" if target.tls else target.authority
            upstream = self._from_block(name, block, target.tls)
        retry = _retry(scope, upstream.servers or (Server(UNREAD, 1),))
        failures = tuple([each for each in retry.statuses if each not in _NO_FAILURES])
        passive = replace(upstream.passive, statuses=failures) if len(upstream.servers) > 1 else upstream.passive
        servers = tuple([replace(each, proxy_protocol=announce) for each in upstream.servers])
        pool = replace(upstream.pool, local_address=_local_address(scope))
        name = self._prefix + upstream.name
        upstream = replace(upstream, name=name, servers=servers, tls=tls, pool=pool, retry=retry, passive=passive)
        # The same servers spoken to in another way are another upstream.
        name, number = upstream.name, 1
        while (known := self._made.get(upstream.name)) is not None and known != upstream:
            number += 1
            upstream = replace(upstream, name=f"{name} #{number}")
        if upstream.name not in self._made:
            self._record.origin(f"upstreams[{self._first + len(self._made)}]", span)
            self._made[upstream.name] = upstream
        return upstream.name

    # ------------------------------------------------------------ a block

    def _from_block(self, name: str, block: Directive, tls: bool) -> Upstream:
        scope = Scope(self._record, block.block or ())
        options = [_ServerOptions(self._record, each) for each in scope.own("server")]
        # What holds for the block is what most servers say; those that differ say it themselves.
        passive = Passive(options[0].max_fails, options[0].fail_timeout) if options else Passive()
        servers = [each.server(tls, passive) for each in options]
        pool = Pool()
        if scope.find("keepalive") is not None:
            pool = replace(pool, max_idle=scope.count("keepalive", pool.max_idle))
        if scope.find("keepalive_timeout") is not None:
            pool = replace(pool, idle_ms=scope.time("keepalive_timeout", pool.idle_ms))
        queue = scope.find("queue")
        if queue is not None:
            wait = next((each.removeprefix("timeout=") for each in queue.texts[1:] if each.startswith("timeout=")), "60s")
            wait_ms = _read(self._record, queue.span, parse_time, wait, pool.wait_ms)
            pool = replace(pool, max_waiting=scope.count("queue", pool.max_waiting), wait_ms=wait_ms)
        elif any(each.max_connections for each in servers):
            pool = replace(pool, max_waiting=0)
        overflow = any(each.backup for each in servers) and any(each.max_connections for each in servers)
        balance = replace(self._balance(scope), slow_start_ms=max([each.slow_start for each in options], default=0), overflow=overflow)
        return Upstream(name, tuple(servers), pool=pool, balance=balance, passive=passive, sticky=self._sticky(scope))

    def _balance(self, scope: Scope) -> Balance:
        found = scope.own(*_METHODS)
        if not found:
            return Balance()
        method = found[0]
        if len(found) > 1:
            self._record.error(found[1].span, "conflict", f"`{method.name}` says already how servers are chosen", "keep one of them")
        if method.name == "ip_hash":
            return Balance("source", ipv4_bits=24)
        if method.name == "hash":
            if method.text(1) not in ("", "consistent"):
                self._record.error(method.place(1), "bad-value", f"`{method.text(1)}` is unknown here", "write `consistent` or nothing")
            return Balance("hash", self._names.text(method.args[0]))
        if method.name == "random":
            return Balance("random_two")
        return Balance("peak_ewma" if method.name == "least_time" else "least_connections")

    def _sticky(self, scope: Scope) -> Sticky | None:
        directive = scope.find("sticky")
        if directive is None:
            return None
        if directive.text(0) != "cookie" or len(directive.args) < 2:
            not_built(self._record, directive.place(0), f"`sticky {directive.text(0)}`", "use `sticky cookie NAME`")
            return None
        sticky = Sticky(directive.text(1), path="", http_only=False, secure="never", same_site="")
        for word in directive.args[2:]:
            key, _, value = word.text.partition("=")
            if word.text in ("httponly", "secure"):
                sticky = replace(sticky, http_only=True) if word.text == "httponly" else replace(sticky, secure="always")
            elif key == "samesite" and value in _SAME_SITE:
                sticky = replace(sticky, same_site=_SAME_SITE[value])
            elif key == "expires" and value == "max":
                sticky = replace(sticky, max_age_s=10 * 365 * 86_400)
            elif key == "expires":
                sticky = replace(sticky, max_age_s=_read(self._record, word.span, parse_time, value, 0) // 1_000)
            elif key in ("domain", "path") and "$" not in value:
                sticky = replace(sticky, domain=value) if key == "domain" else replace(sticky, path=value)
            else:
                self._record.error(word.span, "unknown-option", f"`{word.text}` is no option of `sticky cookie` that can be kept")
        return sticky


class _ServerOptions:
    """A ``server`` of an upstream."""

    def __init__(self, record: Record, directive: Directive) -> None:
        self._record = record
        self._directive = directive
        self._flags: set[str] = set()
        self._values: dict[str, Word] = {}
        for word in directive.args[1:]:
            key, equals, _ = word.text.partition("=")
            if word.text in _SERVER_FLAGS:
                self._flags.add(word.text)
            elif equals and key in _SERVER_VALUES:
                self._values[key] = word
            elif key in ("route", "drain"):
                not_built(record, word.span, f"`{key}` of a server", "take it out")
            else:
                record.error(word.span, "unknown-option", f"`{word.text}` is no option of a server")
        self.max_fails = self._value("max_fails", parse_count, 1)
        self.fail_timeout = self._value("fail_timeout", parse_time, 10_000)
        if self.fail_timeout == 0:
            self.max_fails, self.fail_timeout = 0, 10_000  # left out for no time is never left out
        self.slow_start = self._value("slow_start", parse_time, 0)

    def _value(self, name: str, parse: Callable[[str], T], default: T) -> T:
        word = self._values.get(name)
        return default if word is None else _read(self._record, word.span, parse, word.text.partition("=")[2], default)

    def server(self, tls: bool, usual: Passive) -> Server:
        """Return the server; ``usual`` is what holds for all of the block."""
        bare = _server(self._record, self._directive.place(0), self._directive.text(0), tls)
        resolve: Literal["one", "all", "srv"] = "all" if "resolve" in self._flags and not bare.path else "one"
        if "service" in self._values:
            resolve = "srv"
            service = self._values["service"].text.partition("=")[2]
            name = service if "." in service else f"_{service}._tcp"
            bare = replace(bare, host=f"{name}.{bare.host}" if name.startswith("_") else name)
        return replace(
            bare,
            weight=self._value("weight", _parse_weight, 1),
            backup="backup" in self._flags,
            disabled="down" in self._flags,
            resolve=resolve if bare.host != UNREAD else "one",
            max_connections=self._value("max_conns", parse_count, 0) or None,
            max_fails=self.max_fails if self.max_fails != usual.max_fails else None,
            fail_window_ms=self.fail_timeout if self.fail_timeout != usual.window_ms else None,
        )


def _parse_weight(text: str) -> int:
    return parse_count(text, 1)


def _read(record: Record, span: Span, parse: Callable[[str], T], text: str, default: T) -> T:
    try:
        return parse(text)
    except ValueError as bad:
        record.error(span, "bad-value", str(bad))
        return default


def _server(record: Record, span: Span, address: str, tls: bool) -> Server:
    """Read the address of a server; without a port it is that of the scheme."""
    if address.startswith("unix:"):
        return Server(path=address.removeprefix("unix:"), tls=tls)
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]"):
        host, port = address, ""
    try:
        return Server(parse_server_host(host), parse_port(port) if port else (443 if tls else 80), tls=tls)
    except ValueError as bad:
        record.error(span, "bad-address", str(bad), "write `host:port`")
        return Server(UNREAD, 1, tls=tls)


# ---------------------------------------------------------------- what a location says


def _local_address(scope: Scope) -> str:
    """Return what ``proxy_bind`` says: the address that connections are made from."""
    directive = scope.find("proxy_bind")
    if directive is None or directive.text() == "off":
        return ""
    if directive.text(1):
        what = f"`proxy_bind ... {directive.text(1)}`"
        not_built(scope.record, directive.place(1), what, "tell the server by `X-Forwarded-For` or the PROXY protocol who the client is")
        return ""
    if "$" in directive.text():
        not_built(scope.record, directive.place(0), "a `proxy_bind` that depends on the request", "write an address of this machine")
        return ""
    try:
        return parse_local_address(directive.text())
    except ValueError as bad:
        scope.record.error(directive.place(0), "bad-address", str(bad), "write an address of this machine, without a port")
        return ""


def _upstream_tls(scope: Scope, target: Target) -> UpstreamTls:
    if not target.tls:
        return UpstreamTls()
    name = scope.text("proxy_ssl_name")
    if "$" in name:
        name_directive = scope.find("proxy_ssl_name")
        assert name_directive is not None
        if name != "$proxy_host":
            not_built(scope.record, name_directive.place(0), "a name that changes from request to request", "write the name itself")
        name = ""
    # A port is no part of the name, nor are the brackets of an address.
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    verify = scope.flag("proxy_ssl_verify", False)
    is_name = target.by is None and not target.authority.startswith("unix:")
    return UpstreamTls(
        verify=verify,
        # With an `upstream` block the name of the block is what nginx sends.
        name=name or (target.authority.partition(":")[0] if is_name and not target.authority.startswith("[") else ""),
        ca=scope.text("proxy_ssl_trusted_certificate") if verify else "",
        crl=scope.text("proxy_ssl_crl") if verify else "",
        cert=scope.text("proxy_ssl_certificate"),
        key=scope.text("proxy_ssl_certificate_key"),
        password_file=scope.text("proxy_ssl_password_file"),
    )


def _retry(scope: Scope, servers: tuple[Server, ...]) -> Retry:
    """Return what is tried again, and how often: each server once, unless a number says less."""
    directive = scope.find("proxy_next_upstream")
    is_one = len(servers) == 1 and servers[0].resolve == "one"
    if is_one and directive is None:
        return Retry(scope.count("proxy_next_upstream_tries", 0) or Retry().attempts)
    causes: dict[RetryCause, None] = {}
    statuses: list[int] = []
    for word in directive.args if directive is not None else (Word("error", Span("")), Word("timeout", Span(""))):
        text = word.text
        if text == "off":
            return Retry(1, (), budget=_NO_BUDGET)
        if text in _CAUSES:
            causes.update(dict.fromkeys(_CAUSES[text]))
        elif text == "non_idempotent":
            message = "a request that may have had an effect is never sent twice, so `non_idempotent` is left out"
            scope.record.warning(word.span, "left-out", message, "the client gets an error and may ask again")
        elif text.startswith("http_") and text[5:].isdecimal() and int(text[5:]) in _STATUSES:
            statuses.append(int(text[5:]))
        elif text == "on":
            causes.update({"connect": None})
        elif text != "updating":
            scope.record.error(word.span, "bad-value", f"`{text}` is no condition of `proxy_next_upstream`")
    # A single server is asked once; only a connection that could not be made is made again, to another address of its name.
    if is_one:
        causes, statuses = {key: None for key in causes if key == "connect"}, []
    tries = scope.count("proxy_next_upstream_tries", 0)
    if is_one or any(each.resolve != "one" for each in servers):
        attempts = tries or (Retry().attempts if is_one else 100)
    else:
        attempts = min(tries or len(servers), len(servers))
    within = scope.time("proxy_next_upstream_timeout", 0)
    order: tuple[RetryCause, ...] = ("connect", "lost", "timeout", "invalid")
    return Retry(attempts, tuple([each for each in order if each in causes]), tuple(statuses), _NO_BUDGET, within)
