"""From the model to TOML text.

Rules:
* ``parse(write(config)).config == config`` for every configuration whose names are unique and whose texts TOML can carry;
  what it cannot carry raises ``ValueError``.
* Says what differs from the defaults, and names everything: nothing depends on what ``parse`` would decide by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields

from vestibule.dialects.toml.form import DURATION, PAIRS, TEMPLATE, TEST, Shape, Unlimited, key_text, quote
from vestibule.dialects.toml.schema import (
    ACCESS_LOG,
    ACME,
    AGENT,
    AUTH_REQUEST,
    BALANCE,
    BANDWIDTH_LIMIT,
    CERTIFICATE,
    COMPRESSION,
    CONCURRENCY_LIMIT,
    COUNT_TABLE,
    DNS_PROVIDER,
    ERROR,
    ERROR_LOG,
    FILES,
    FORWARDING,
    HEALTH,
    HSTS,
    ISSUER,
    KEEP_ALIVE,
    LIMITS,
    LISTENER,
    METRICS,
    ON_DEMAND,
    OUTLIERS,
    PASSIVE,
    POOL,
    PROCESS,
    RATE_LIMIT,
    READ_BODY,
    RETRY,
    ROOT,
    ROUTE,
    SERVER,
    SESSIONS,
    SET_TIMEOUTS,
    SITE,
    STICKY,
    SUBSTITUTE,
    TCP_ROUTE,
    TIMEOUTS,
    TLS_PROFILE,
    UPSTREAM,
    UPSTREAM_TLS,
)
from vestibule.dialects.toml.table import Table
from vestibule.dialects.toml.values import Level
from vestibule.model.config import (
    AccessLog,
    Acme,
    Action,
    AddHeader,
    AddTrailer,
    Again,
    Agent,
    AuthRequest,
    Balance,
    BandwidthLimit,
    BasicAuth,
    ClientCertificate,
    Compression,
    ConcurrencyLimit,
    Config,
    Count,
    Deny,
    DropBody,
    EarlyHint,
    EditHeader,
    ErrorLog,
    ErrorRoute,
    Files,
    Forwarding,
    HangUp,
    HealthCheck,
    Hsts,
    KeepAlive,
    Limits,
    Listener,
    Metrics,
    OnDemand,
    Outliers,
    Passive,
    Pool,
    Process,
    Proxy,
    RateLimit,
    ReadBody,
    Redirect,
    RemoveHeader,
    RemoveHeaders,
    ReplaceAnswer,
    Respond,
    Retry,
    Rewrite,
    Route,
    Server,
    Sessions,
    SetBody,
    SetClient,
    SetHeader,
    SetMethod,
    SetStatus,
    SetTimeouts,
    SetVariable,
    Site,
    Source,
    Sticky,
    StripPrefix,
    Substitute,
    Switch,
    TcpAddress,
    TcpRoute,
    Timeouts,
    UdpAddress,
    UnixAddress,
    Upstream,
    UpstreamTls,
)
from vestibule.model.diagnostic import Span
from vestibule.model.quantity import format_listen, format_server


def _nowhere(path: str) -> Span:
    return Span(key=path)


def write(config: Config, place: Callable[[str], Span] = _nowhere) -> str:
    """Write a configuration. Raises ``ValueError`` for text that TOML cannot carry.

    ``place`` says where each place of the model was written before; what has a line gets a comment that names it.
    """
    return _Writer(place).config(config)


class _Writer:
    """Writes one file, line by line; used once."""

    def __init__(self, place: Callable[[str], Span]) -> None:
        self._lines: list[str] = []
        self._place = place
        self._told = ""

    def config(self, config: Config) -> str:
        """Return the whole text."""
        if config.trusted_proxies:
            self._key("trusted_proxies", ROOT.key("trusted_proxies").form.write(config.trusted_proxies))
        self._section("process", PROCESS, config.process, Process())
        self._section("timeouts", TIMEOUTS, config.timeouts, Timeouts())
        self._section("limits", LIMITS, config.limits, Limits())
        self._section("forwarding", FORWARDING, config.forwarding, Forwarding())
        if config.access_log != AccessLog():
            self._access_log("access_log", config.access_log, AccessLog())
        self._section("error_log", ERROR_LOG, config.error_log, ErrorLog())
        self._section("acme", ACME, config.acme, Acme())
        self._section("acme.on_demand", ON_DEMAND, config.acme.on_demand, OnDemand())
        level = Level(config.timeouts, config.limits, config.forwarding, config.access_log)
        for at, listener in enumerate(config.listeners):
            self._listener(listener, level, f"listeners[{at}]")
        for at, profile in enumerate(config.tls_profiles):
            self._named("tls_profiles", profile.name, TLS_PROFILE, profile, at)
        for at, certificate in enumerate(config.certificates):
            self._named("certificates", certificate.name, CERTIFICATE, certificate, at)
        for at, issuer in enumerate(config.issuers):
            self._named("issuers", issuer.name, ISSUER, issuer, at)
        for at, provider in enumerate(config.dns_providers):
            self._named("dns_providers", provider.name, DNS_PROVIDER, provider, at)
        for at, upstream in enumerate(config.upstreams):
            self._upstream(upstream, f"upstreams[{at}]")
        for at, site in enumerate(config.sites):
            self._site(site, level, f"sites[{at}]")
        return "\n".join(self._lines).strip("\n") + "\n"

    # ------------------------------------------------------------ lines

    def _header(self, path: str, model_path: str = "") -> None:
        """Begin a table; where it comes from is told once for all tables of one place."""
        self._lines.append("")
        span = self._place(model_path) if model_path else Span()
        if span.line and span.render() != self._told:
            self._told = span.render()
            self._lines.append(f"# {self._told}")
        self._lines.append(path)

    def _key(self, name: str, value: str) -> None:
        self._lines.append(f"{name} = {value}")

    def _section(self, path: str, table: Table, value: object, base: object) -> None:
        """Write a flat table if it says anything that ``base`` does not."""
        pairs = _changed(table, value, base)
        if pairs:
            self._header(f"[{path}]")
            for name, text in pairs:
                self._key(name, text)

    def _named(self, parent: str, name: str, table: Table, value: object, at: int) -> None:
        self._header(f"[{parent}.{key_text(name)}]", f"{parent}[{at}]")
        for key, text in _changed(table, value, None):
            self._key(key, text)

    # ------------------------------------------------------------ what sites stand on

    def _listener(self, listener: Listener, level: Level, model_path: str) -> None:
        path = f"listeners.{key_text(listener.name)}"
        address = listener.address
        self._header(f"[{path}]", model_path)
        self._key("address", quote(format_listen(address)))
        if isinstance(address, TcpAddress | UdpAddress) and ":" in address.host and not address.v6only:
            self._key("v6only", "false")
        if isinstance(address, UnixAddress):
            default = UnixAddress(address.path)
            for name in ("mode", "user", "group"):
                if getattr(address, name) != getattr(default, name):
                    self._key(name, LISTENER.key(name).form.write(getattr(address, name)))
        for name, text in _changed(LISTENER, listener, None):
            self._key(name, text)
        if listener.routes:
            self._key("routes", "[" + ", ".join([_connection(route) for route in listener.routes]) + "]")
        if listener.sessions is not None:
            self._header(f"[{path}.sessions]")
            for name, text in _changed(SESSIONS, listener.sessions, Sessions()):
                self._key(name, text)
        self._override(path, TIMEOUTS, listener.timeouts, level.timeouts)
        self._override(path, LIMITS, listener.limits, level.limits)
        if listener.access_log is not None:
            self._access_log(f"{path}.access_log", listener.access_log, level.access_log)

    def _override(self, path: str, table: Table, value: object, outer: object) -> None:
        """Write a table of a level of its own; present and empty says: as outside, whatever that becomes inside."""
        if value is None:
            return
        self._header(f"[{path}.{table.title}]")
        for name, text in _changed(table, value, outer):
            self._key(name, text)

    def _access_log(self, path: str, log: AccessLog, outer: AccessLog) -> None:
        """Write the logs of a level: one as what differs from outside, several as complete tables."""
        for each in (log, *log.also) if log.also else ():
            self._header(f"[[{path}]]")
            for name, text in _changed(ACCESS_LOG, each):
                self._key(name, text)
        if not log.also:
            self._header(f"[{path}]")
            for name, text in _changed(ACCESS_LOG, log, outer):
                self._key(name, text)

    def _upstream(self, upstream: Upstream, model_path: str) -> None:
        path = f"upstreams.{key_text(upstream.name)}"
        self._header(f"[{path}]", model_path)
        if upstream.servers or upstream.address is None:
            self._key("servers", "[" + ", ".join([_server(server) for server in upstream.servers]) + "]")
        for name, text in _changed(UPSTREAM, upstream):
            self._key(name, text)
        self._section(f"{path}.tls", UPSTREAM_TLS, upstream.tls, UpstreamTls())
        self._section(f"{path}.pool", POOL, upstream.pool, Pool())
        self._section(f"{path}.retry", RETRY, upstream.retry, Retry())
        self._section(f"{path}.balance", BALANCE, upstream.balance, Balance())
        self._section(f"{path}.passive", PASSIVE, upstream.passive, Passive())
        for name, table, value, base in (
            ("sticky", STICKY, upstream.sticky, Sticky()),
            ("outliers", OUTLIERS, upstream.outliers, Outliers()),
            ("health", HEALTH, upstream.health, HealthCheck()),
            ("agent", AGENT, upstream.agent, Agent()),
        ):
            if value is not None:
                self._header(f"[{path}.{name}]")
                for key, text in _changed(table, value, base):
                    self._key(key, text)

    # ------------------------------------------------------------ sites and routes

    def _site(self, site: Site, level: Level, model_path: str) -> None:
        path = f"sites.{key_text(site.name)}"
        self._header(f"[{path}]", model_path)
        self._key("hosts", SITE.key("hosts").form.write(site.hosts))
        if site.host_patterns:
            self._key("host_patterns", SITE.key("host_patterns").form.write(site.host_patterns))
        self._key("listen", "[" + ", ".join([quote(name) for name in site.listeners]) + "]")
        if site.certificates:
            self._key("certificates", SITE.key("certificates").form.write(site.certificates))
        # Certificates and `off` contradict each other, and with certificates nothing would be made anyway.
        made = "on_demand" if site.on_demand else "acme" if site.acme else "internal" if site.internal_tls else "off"
        if made != "off" or not site.certificates:
            self._key("tls", quote(made))
        if site.issuers:
            self._key("issuers", SITE.key("issuers").form.write(site.issuers))
        self._key("redirect_http", "true" if site.redirect_http else "false")
        self._key("https_port", str(site.https_port))
        if site.hsts is not None:
            pairs = _changed(HSTS, site.hsts, Hsts())
            self._key("hsts", _inline(pairs) if pairs else "true")
        if not site.immich:
            self._key("immich", "false")
        if site.default_host:
            self._key("default_host", quote(site.default_host))
        if site.client_profile:
            self._key("client_profile", quote(site.client_profile))
        self._inside(path, site, level, model_path)

    def _inside(self, path: str, level: Site | Route, outer: Level, model_path: str) -> None:
        """Write what sites and routes have in common; plain keys first, tables after."""
        source = level.source
        self._source_keys(source)
        if level.errors == () and isinstance(level, Route):
            self._key("errors", "[]")
        self._actions("request", level.request)
        self._actions("response", level.response)
        self._override(path, TIMEOUTS, level.timeouts, outer.timeouts)
        self._override(path, LIMITS, level.limits, outer.limits)
        self._override(path, FORWARDING, level.forwarding, outer.forwarding)
        if level.access_log is not None:
            self._access_log(f"{path}.access_log", level.access_log, outer.access_log)
        self._override(path, COMPRESSION, level.compression, Compression())
        inner = Level(
            level.timeouts or outer.timeouts,
            level.limits or outer.limits,
            level.forwarding or outer.forwarding,
            level.access_log or outer.access_log,
        )
        for at, error in enumerate(level.errors or ()):
            self._error(f"{path}.errors", error, inner, f"{model_path}.errors[{at}]")
        self._source_tables(path, source, inner, f"{model_path}.source")

    def _source_keys(self, source: Source) -> None:
        """Write what a source says in keys of the table it stands in."""
        if isinstance(source, Proxy):
            self._key("to", quote(source.upstream))
        elif isinstance(source, Respond):
            self._key("respond", _respond(source))
        elif isinstance(source, Redirect):
            self._key("redirect", _inline([("location", TEMPLATE.write(source.location)), ("status", str(source.status))]))
        elif isinstance(source, Metrics):
            self._key("metrics", quote(source.form) if source == Metrics(source.form) else _inline(_changed(METRICS, source)))
        elif isinstance(source, Again):
            self._key("again", quote(source.to) if source.to else "true")
        elif isinstance(source, Switch):
            self._key("order", quote(source.order))
            if not source.routes:
                self._key("routes", "[]")

    def _source_tables(self, path: str, source: Source, inner: Level, model_path: str) -> None:
        """Write what a source says in tables of its own, below the table at ``path``."""
        if isinstance(source, Files):
            self._header(f"[{path}.files]")
            for name, text in _changed(FILES, source, None):
                self._key(name, text)
            if source.otherwise is not None:
                self._header(f"[{path}.files.otherwise]")
                self._source_keys(source.otherwise)
                self._source_tables(f"{path}.files.otherwise", source.otherwise, inner, f"{model_path}.otherwise")
        elif isinstance(source, Switch):
            for at, route in enumerate(source.routes):
                self._route(f"{path}.routes", route, inner, f"{model_path}.routes[{at}]")

    def _error(self, path: str, error: ErrorRoute, inner: Level, model_path: str) -> None:
        self._header(f"[[{path}]]", model_path)
        for name, text in _changed(ERROR, error, None):
            self._key(name, text)
        self._source_keys(error.source)
        self._actions("request", error.request)
        self._actions("response", error.response)
        self._source_tables(path, error.source, inner, f"{model_path}.source")

    def _route(self, path: str, route: Route, outer: Level, model_path: str) -> None:
        self._header(f"[[{path}]]", model_path)
        for name, text in _changed(ROUTE, route, None):
            self._key(name, text)
        match = route.path
        if match is not None:
            name = {"exact": "path", "prefix": "prefix", "regex": "regex"}[match.kind]
            self._key(name, quote(match.value))
            if match.ignore_case:
                self._key("ignore_case", "true")
            if match.final:
                self._key("final", "true")
        self._inside(path, route, outer, model_path)

    def _actions(self, name: str, actions: Sequence[Action]) -> None:
        if not actions:
            return
        self._lines.append(f"{name} = [")
        self._lines.extend([f"    {_action(action)}," for action in actions])
        self._lines.append("]")


def _changed(table: Table, value: object, base: object = None) -> list[tuple[str, str]]:
    """The keys of a flat table that differ from ``base``; without one, from the defaults of the class."""
    defaults = {field.name: field.default for field in fields(table.cls)}
    pairs: list[tuple[str, str]] = []
    for key in table.keys:
        if not key.field or isinstance(key.form, Shape):
            continue
        have = getattr(value, key.field)
        usual = defaults[key.field] if base is None else getattr(base, key.field)
        can_say = have is not None or isinstance(key.form, Unlimited)
        if (have != usual or usual is MISSING) and can_say:
            pairs.append((key.name, key.form.write(have)))
    return pairs


def _inline(pairs: Sequence[tuple[str, str]]) -> str:
    """Write an inline table."""
    return "{ " + ", ".join([f"{name} = {text}" for name, text in pairs]) + " }"


def _server(server: Server) -> str:
    """Write a server: its address, or a table where there is more to it."""
    address = format_server(server)
    if address is not None:
        return quote(address)
    plain = Server(server.host, server.port, server.path, tls=server.tls and not server.path)
    pairs = [("address", quote(format_server(plain) or ""))]
    if server.path and server.tls:
        pairs.append(("tls", "true"))
    if server.weight != 1:
        pairs.append(("weight", str(server.weight)))
    if server.backup:
        pairs.append(("backup", "true"))
    if server.proxy_protocol:
        pairs.append(("proxy_protocol", quote(server.proxy_protocol)))
    if server.disabled:
        pairs.append(("disabled", "true"))
    if server.priority:
        pairs.append(("priority", str(server.priority)))
    if server.max_connections is not None:
        pairs.append(("max_connections", str(server.max_connections)))
    if server.resolve != "one":
        pairs.append(("resolve", quote(server.resolve)))
    if server.mark:
        pairs.append(("mark", quote(server.mark)))
    if server.max_fails is not None:
        pairs.append(("max_fails", str(server.max_fails)))
    if server.fail_window_ms is not None:
        pairs.append(("fail_window", SERVER.key("fail_window").form.write(server.fail_window_ms)))
    if not server.check:
        pairs.append(("check", "false"))
    if server.check_host:
        pairs.append(("check_host", quote(server.check_host)))
    if server.check_port:
        pairs.append(("check_port", str(server.check_port)))
    if not server.agent:
        pairs.append(("agent", "false"))
    if server.agent_host:
        pairs.append(("agent_host", quote(server.agent_host)))
    if server.agent_port:
        pairs.append(("agent_port", str(server.agent_port)))
    if server.tls_name:
        pairs.append(("tls_name", quote(server.tls_name)))
    if not server.tls_verify:
        pairs.append(("tls_verify", "false"))
    if server.tls_cert:
        pairs.append(("tls_cert", quote(server.tls_cert)))
    if server.tls_ciphers:
        pairs.append(("tls_ciphers", f"[{', '.join([quote(each) for each in server.tls_ciphers])}]"))
    return _inline(pairs)


def _connection(route: TcpRoute) -> str:
    """Write a route of layer 4."""
    pairs: list[tuple[str, str]] = []
    if route.names:
        pairs.append(("names", TCP_ROUTE.key("names").form.write(route.names)))
    if route.when is not None:
        pairs.append(("when", TEST.write(route.when)))
    if route.upstream:
        pairs.append(("to", quote(route.upstream)))
    if route.listener:
        pairs.append(("listener", quote(route.listener)))
    if route.answer is not None:
        pairs.append(("answer", TEMPLATE.write(route.answer)))
    if route.concurrency:
        most = [_inline(_changed(CONCURRENCY_LIMIT, each)) for each in route.concurrency]
        pairs.append(("concurrency", f"[{', '.join(most)}]"))
    if route.bandwidth:
        limits = [_inline(_changed(BANDWIDTH_LIMIT, each)) for each in route.bandwidth]
        pairs.append(("bandwidth", f"[{', '.join(limits)}]"))
    return _inline(pairs)


def _respond(source: Respond | ReplaceAnswer) -> str:
    pairs = [("status", str(source.status))]
    if source.body is not None:
        pairs.append(("body", TEMPLATE.write(source.body)))
    if source.headers:
        # An array keeps the order and may repeat a name; a table could not.
        lines = [f"[{quote(name)}, {TEMPLATE.write(value)}]" for name, value in source.headers]
        pairs.append(("headers", "[" + ", ".join(lines) + "]"))
    return _inline(pairs)


def _action(action: Action) -> str:
    """Write one action as an inline table."""
    if isinstance(action, (SetHeader, AddHeader)):
        pairs = [("set" if isinstance(action, SetHeader) else "add", quote(action.name)), ("value", TEMPLATE.write(action.value))]
        return _inline([*pairs, ("keep_empty", "true")] if action.keep_empty else pairs)
    if isinstance(action, EditHeader):
        return _inline([("edit", quote(action.name)), ("value", TEMPLATE.write(action.value))])
    if isinstance(action, RemoveHeader):
        return _inline([("remove", quote(action.name))])
    if isinstance(action, RemoveHeaders):
        return _inline([("remove_matching", quote(action.pattern))])
    if isinstance(action, SetVariable):
        pairs = [("set_variable", quote(action.name)), ("value", TEMPLATE.write(action.value))]
        return _inline([*pairs, ("connection", "true")] if action.connection else pairs)
    if isinstance(action, SetMethod):
        return _inline([("set_method", TEMPLATE.write(action.method))])
    if isinstance(action, SetClient):
        return _inline([("set_client", TEMPLATE.write(action.address))])
    if isinstance(action, EarlyHint):
        return _inline([("early_hint", quote(action.name)), ("value", TEMPLATE.write(action.value))])
    if isinstance(action, AddTrailer):
        return _inline([("add_trailer", quote(action.name)), ("value", TEMPLATE.write(action.value))])
    if isinstance(action, SetStatus):
        pairs = [("set_status", str(action.status))]
        return _inline([*pairs, ("reason", quote(action.reason))] if action.reason else pairs)
    if isinstance(action, ReplaceAnswer):
        return _inline([("answer", _respond(action))])
    if isinstance(action, StripPrefix):
        pairs = [("strip_prefix", quote(action.prefix))]
        return _inline([*pairs, ("ignore_case", "true")] if action.ignore_case else pairs)
    if isinstance(action, Deny):
        return _inline([("deny", str(action.status))])
    if isinstance(action, HangUp):
        return _inline([("hang_up", "true")])
    if isinstance(action, SetBody):
        return _inline([("set_body", TEMPLATE.write(action.body))])
    if isinstance(action, DropBody):
        return _inline([("drop_body", "true")])
    if isinstance(action, ClientCertificate):
        return _inline([("client_certificate", str(action.status))])
    if isinstance(action, BasicAuth):
        pairs = [("basic_auth", PAIRS.write(action.users)), ("realm", quote(action.realm))]
        if action.delay_ms:
            pairs.append(("delay", DURATION.write(action.delay_ms)))
        return _inline(pairs)
    if isinstance(action, Rewrite):
        pairs = [("rewrite", TEMPLATE.write(action.path))] if action.path is not None else []
        if action.query is not None:
            pairs.append(("query", TEMPLATE.write(action.query)))
        return _inline([*pairs, ("upstream_only", "true")] if action.upstream_only else pairs)
    if isinstance(action, AuthRequest):
        pairs = [] if action.route else [("to", quote(action.upstream))]
        pairs += _changed(AUTH_REQUEST, action)
        if action.request:
            pairs.append(("request", f"[{', '.join([_action(each) for each in action.request])}]"))
        if action.refused:
            pairs.append(("refused", f"[{', '.join([_action(each) for each in action.refused])}]"))
        return _inline([("auth_request", _inline(pairs))])
    if isinstance(action, ReadBody):
        return _inline([("read_body", _inline(_changed(READ_BODY, action)))])
    if isinstance(action, SetTimeouts):
        return _inline([("set_timeouts", _inline(_changed(SET_TIMEOUTS, action)))])
    if isinstance(action, KeepAlive):
        return _inline([("keep_alive", _inline(_changed(KEEP_ALIVE, action)))])
    if isinstance(action, Substitute):
        return _inline([("substitute", _inline(_changed(SUBSTITUTE, action)))])
    if isinstance(action, RateLimit):
        return _inline([("rate_limit", _inline(_changed(RATE_LIMIT, action)))])
    if isinstance(action, Count):
        return _inline([("count", _inline(_changed(COUNT_TABLE, action)))])
    if isinstance(action, BandwidthLimit):
        return _inline([("bandwidth_limit", _inline(_changed(BANDWIDTH_LIMIT, action)))])
    if isinstance(action, ConcurrencyLimit):
        return _inline([("concurrency_limit", _inline(_changed(CONCURRENCY_LIMIT, action)))])
    actions = ", ".join([_action(each) for each in action.actions])
    pairs = [("when", TEST.write(action.test)), ("actions", f"[{actions}]")]
    if action.otherwise:
        pairs.append(("otherwise", f"[{', '.join([_action(each) for each in action.otherwise])}]"))
    return _inline(pairs)
