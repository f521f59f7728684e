"""Model to plans: what a configuration says becomes what every request runs through.

Facts: this is the only module that sees configuration, plans and the two sides at once. It runs in every
worker for each generation, and once in the control process without serving, so that what cannot be built
fails there.

Rules
  Nothing here touches what serves: `Root.activate` does, once all workers are ready.
  A site is compiled for each listener it is on, so what is fixed there (scheme, names) costs nothing later.
  Every mistake is found, not the first; each names its key.
  What the model can say and this build cannot do is a mistake, never silently left out.

Not here: expressions, steps, upstreams, logs and TLS (`compile_*.py`),
whether a configuration makes sense (`model/check.py`), files and names (`control/`).
"""

import mimetypes
import os
import re
from typing import Final

from vestibule.compile_expr import ExprMaker, Mistakes, wire
from vestibule.compile_layer4 import Layer4Maker, inspects, session_limits
from vestibule.compile_log import LogMaker
from vestibule.compile_once import Once, timeouts_of
from vestibule.compile_state import Registry, Root
from vestibule.compile_steps import Asked, StepMaker, are_steady
from vestibule.compile_tls import TlsMaker
from vestibule.compile_upstream import UpstreamMaker
from vestibule.contract import ErrorPlan, FilterMaker, LogLine, Plan, Source, Step
from vestibule.counts import NOWHERE
from vestibule.fault import PROXY_NO_ROUTE
from vestibule.http.address import Network, NetworkSet
from vestibule.http.h1 import HeadLimits
from vestibule.link.messages import Assets
from vestibule.model import config as model
from vestibule.net.reactor import Reactor
from vestibule.net.tls import NamePattern
from vestibule.plan.error_page import ClearPage
from vestibule.plan.expr import CONST, Const
from vestibule.plan.fault_log import Reporter
from vestibule.plan.filters.compress import Compress
from vestibule.plan.filters.substitute import Several
from vestibule.plan.meter import BeginMeter, ServerMeter
from vestibule.plan.sources.again import Again, Ring
from vestibule.plan.sources.challenge import CHALLENGES, Challenge
from vestibule.plan.sources.closed import Closed
from vestibule.plan.sources.figures import Figures
from vestibule.plan.sources.files import Files, Manner
from vestibule.plan.sources.fixed import HttpsRedirect, Redirect, Respond
from vestibule.plan.steps.as_get import AsGet
from vestibule.plan.steps.ask import NoPage
from vestibule.plan.steps.edit import Edit, EditRequest, EditResponse, FixedResponse, HideFields
from vestibule.plan.steps.forward import HOST_CLIENT, HOST_FIXED, ForwardAgain, Terms
from vestibule.plan.steps.hsts import hsts_edit
from vestibule.plan.steps.keep import WithoutBody
from vestibule.plan.steps.limit import ConcurrencyLimit
from vestibule.plan.switch import ANY, BEST, EXACT, PREFIX, REGEX, WRITTEN, Choice, HostPattern, HostSwitch, RouteSwitch, make_switch
from vestibule.plan.variables import Place
from vestibule.proxy.door import NOTE, OPEN, STRICT, Door

__all__ = ["CompileError", "Reporter", "compile_config", "dry_compile"]

_ANNOUNCING: Final = {"strict": STRICT, "open": OPEN, "note": NOTE}
# How long requests wait for Immich, which takes a few seconds to start again.
_HOLD_MS: Final = 10_000
# What Python knows by itself: the same on every machine, since no file of the system is read.
_TYPES: Final = mimetypes.MimeTypes().types_map[1]
_ENDINGS: Final = {"gzip": b".gz", "br": b".br", "zstd": b".zst"}
_SLASHES: Final = ("url", "path", "stay", "bare")
# How a request asks for the other page of a form: by what it accepts, by words in its target.
_ASKED: Final = {
    "prometheus": (b"application/openmetrics-text", b""),
    "apache": (b"", b"?auto"),
    "haproxy": (b"", b";csv"),
}
_PATH_KINDS: Final = {"exact": EXACT, "prefix": PREFIX, "regex": REGEX}


class CompileError(Exception):
    """A configuration that cannot be built. `reasons` are lines of the form `key: what is wrong`."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


def compile_config(
    config: model.Config,
    assets: Assets,
    registry: Registry,
    reactor: Reactor,
    logs: dict[str, int],
    reporter: Reporter | None,
) -> Root:
    """Build a generation beside the one that serves.

    `logs` are the descriptors of log files by path; they become the root's when it is returned.
    Raises CompileError. Nothing of it is left then, nor after a bug.
    """
    maker = _Maker(config, assets, registry, reactor, logs, reporter)
    try:
        maker.make()
        if maker.errors:
            raise CompileError(maker.errors)
    except Exception:
        for key in maker.root.made:
            registry.drop(key)
        raise
    return maker.root


def dry_compile(config: model.Config, assets: Assets) -> list[str]:
    """Build everything, throw it away, and return the reasons against it."""
    reactor = Reactor()
    registry = Registry()
    maker = _Maker(config, assets, registry, reactor, None, None)
    maker.make()
    registry.keep(set())
    reactor.close()
    return maker.errors


# ---------------------------------------------------------------- the work


class _Level:
    """What a site or route hands down to the routes inside it."""

    def __init__(
        self,
        name: str,
        site: model.Site,
        listener: model.Listener,
        timeouts: model.Timeouts,
        limits: model.Limits,
        forwarding: model.Forwarding,
        access_log: model.AccessLog,
        compression: model.Compression | None,
    ) -> None:
        self.name = name
        self.site = site
        self.listener = listener
        self.timeouts = timeouts
        self.limits = limits
        self.forwarding = forwarding
        self.access_log = access_log
        self.compression = compression
        self.request: tuple[model.Action, ...] = ()
        self.response: tuple[model.Action, ...] = ()
        self.request_key = ""
        self.response_key = ""
        self.errors: list[ErrorPlan] = []

    def place(self, upstream: str) -> Place:
        return Place(self.listener.name.encode(), self.site.name.encode(), upstream.encode(), self.site.default_host.encode())


class _Maker(Asked):
    """Makes one root. Mistakes are noted and something harmless stands in, so that all are found."""

    def __init__(
        self,
        config: model.Config,
        assets: Assets,
        registry: Registry,
        reactor: Reactor,
        logs: dict[str, int] | None,
        reporter: Reporter | None,
    ) -> None:
        self.config = config
        self.assets = assets
        self.registry = registry
        self.reactor = reactor
        self.root = Root(registry, logs or {})
        self._mistakes = Mistakes()
        self.errors = self._mistakes.lines
        self._exprs = ExprMaker(self._mistakes, self.assets.directory)
        self._ring: Ring | None = None  # of the site that is being made
        self._steps = StepMaker(self._mistakes, self._exprs, registry, self.root, reactor, self)
        self._tls = TlsMaker(self._mistakes, config, assets, registry.challenges, registry.demand, _name_pattern)
        self.root.certificates = self._tls
        self.root.counts = config.wants_counts
        self._trusted = NetworkSet([])
        self._once = Once()
        self._upstreams = UpstreamMaker(self._mistakes, config, assets, registry, reactor, self.root, self._exprs)
        self._layer4 = Layer4Maker(self._mistakes, self._exprs, self._steps, self._upstreams, registry.porches)
        self._log = LogMaker(self._mistakes, self._exprs, registry, self.root, logs, reporter)

    def wrong(self, key: str, text: str) -> None:
        self._mistakes.add(key, text)

    def make(self) -> None:
        """Fill the root."""
        config = self.config
        self.registry.flusher.start(self.reactor)
        for name, addresses in self.assets.addresses.items():
            self.registry.book.update(name, addresses)
            self.registry.lookups.watched(name)
            self.root.hosts.add(name)
        self._trusted = self.networks("trusted_proxies", config.trusted_proxies)
        for at in range(len(config.listeners)):
            self.root.doors[config.listeners[at].name] = self.door(f"listeners[{at}]", config.listeners[at])
        for key, node in self._exprs.counted:
            node.of = self._upstreams.counted(key, node.name, config.limits.response_head_bytes)

    def network(self, key: str, text: str) -> Network | None:
        try:
            return Network(text.encode())
        except ValueError as bad:
            self.wrong(key, str(bad))
            return None

    # ---- listeners

    def door(self, key: str, listener: model.Listener) -> Door:
        """Make the door of a listener with all sites behind it."""
        config = self.config
        limits = listener.limits or config.limits
        timeouts = listener.timeouts or config.timeouts
        raw = bool(listener.routes)
        return Door(
            listener.name,
            self.connections(key, listener, timeouts) if raw else self.hosts(key, listener),
            HeadLimits(
                limits.head_bytes,
                limits.target_bytes,
                limits.fields,
                listener.bare_lf,
                listener.hostless,
                listener.exact,
                listener.foreign_host,
            ),
            timeouts_of(timeouts),
            self._tls.choice(key, listener) if listener.tls else None,
            "h2" in listener.protocols,
            _most(limits.requests_per_connection),
            _most(limits.connections),
            "h1" in listener.protocols,
            self.announcers(key, listener),
            raw,
            -1 if listener.tls else inspects(listener),
            _most(limits.connection_rate),
            _ANNOUNCING[listener.proxy_protocol_mode],
            session_limits(listener),
            {int(status): wire(reason) for status, reason in listener.reasons},
            listener.wordy,
        )

    def connections(self, key: str, listener: model.Listener, timeouts: model.Timeouts) -> Plan:
        """Make the plan of a listener that passes connections on as they are."""
        log = self.listener_log(key, listener)
        times = timeouts_of(timeouts)
        times.hold_ms = 0  # who speaks first may be the server, and a client that hears nothing must not think it is there
        return self._layer4.plan(key, listener, times, log)

    def listener_log(self, key: str, listener: model.Listener) -> list[LogLine]:
        """Make the log of what reaches no site."""
        place = Place(listener.name.encode())
        book = self.registry.counts
        meters = self._log.meters(book.listener(listener.name) if listener.routes else book.site(NOWHERE))
        if listener.access_log is not None:
            return self._log.lines(f"{key}.access_log", listener.access_log, place, False) + meters
        return self._log.lines("access_log", self.config.access_log, place, False) + meters

    def announcers(self, key: str, listener: model.Listener) -> NetworkSet | None:
        """Make the set of those whose PROXY headers a listener reads."""
        if not listener.proxy_protocol:
            return None
        if not listener.proxy_protocol_from:
            return self._trusted
        return self.networks(f"{key}.proxy_protocol_from", listener.proxy_protocol_from)

    def networks(self, key: str, texts: tuple[str, ...]) -> NetworkSet:
        """Make a set of networks."""
        networks: list[Network] = []
        for at in range(len(texts)):
            network = self.network(f"{key}[{at}]", texts[at])
            if network is not None:
                networks.append(network)
        return NetworkSet(networks)

    def hosts(self, key: str, listener: model.Listener) -> Plan:
        """Make the plan that every request of a listener begins with."""
        config = self.config
        default: Plan | None = None
        plans: dict[str, Plan] = {}
        for at in range(len(config.sites)):
            site = config.sites[at]
            if listener.name in site.listeners:
                self._exprs.asks_path = False
                plan = self.site(f"sites[{at}]", site, listener)
                plans[site.name] = plan
                if site.name == listener.default_site and default is None:
                    default = plan
        for site in config.sites:
            if model.ANY_HOST in site.hosts and site.name in plans:
                default = plans[site.name]
        switch = HostSwitch(default)
        for site in config.sites:
            for host in site.hosts:
                if host == model.ANY_HOST:
                    continue
                if site.name in plans:
                    switch.add(host.encode(), plans[site.name])
                elif not host.startswith("*."):
                    switch.add_elsewhere(host.encode())
            for pattern in site.host_patterns if site.name in plans else ():
                try:
                    switch.add_pattern(wire(pattern), plans[site.name])
                except ValueError as bad:
                    self.wrong(f"{key}.host_patterns", str(bad))
        profile = self._tls.profile(key, listener)
        if listener.tls and self._tls.differ(listener):
            for at, site in enumerate(config.sites):
                rules = self._tls.rules(f"sites[{at}]", site, listener) if site.name in plans else b""
                if rules:
                    switch.bind_to_rules(plans[site.name], rules)
        elif listener.tls and profile.asks_clients:
            switch.bind_to_sni(profile.client_verify in ("require", "shown"), profile.client_verify == "shown")
        # Requests that never reach a site are logged as the configuration says.
        log = self.listener_log(key, listener)
        if config.wants_acme:
            source = Challenge(self.registry.tokens)
            switch.claim(self.registry.tokens, Plan(listener.name, source, log=log, error_page=ClearPage(False)))
        limits = listener.limits or config.limits
        first: list[Step] = []
        if limits.concurrent is not None:
            name = f"concurrent {listener.name}" if listener.limits is not None else "concurrent"
            first.append(ConcurrencyLimit(Const(b"*"), self._steps.counts(name), limits.concurrent, 503))
        return Plan(listener.name, switch, first, log=log, error_page=ClearPage(False), timeouts=timeouts_of(config.timeouts))

    # ---- sites and routes

    def site(self, key: str, site: model.Site, listener: model.Listener) -> Plan:
        """Make the plan of a site on one of its listeners."""
        config = self.config
        level = _Level(
            site.name,
            site,
            listener,
            site.timeouts or config.timeouts,
            site.limits or config.limits,
            site.forwarding or config.forwarding,
            site.access_log or config.access_log,
            site.compression,
        )
        terms = self.terms(f"{key}.forwarding", level.forwarding, site.source)
        if site.redirect_http and not listener.tls:
            source = self.https_redirect(key, level)
            return self.plan(key, level, source, [*self.begin(site), self._once.forward(terms, [])], "")
        slow = len(self._exprs.slow)
        level.request = site.request
        level.request_key = f"{key}.request"
        level.response = site.response
        level.response_key = f"{key}.response"
        place = level.place(_upstream_of(site.source))
        ring: Ring | None = None
        if _goes_round(site):
            edits = self._steps.edits_only(level.request_key, site.request, place)
            ring = Ring(ForwardAgain(terms, edits, are_steady(edits), True))
        self._ring = ring
        head, rest = self._steps.split_steady(level.request_key, site.request, place)
        steps = self._steps.request_steps(level.request_key, rest, place, len(site.request) - len(rest))
        level.errors = self.error_plans(f"{key}.errors", site.errors, level)
        source = self.source(f"{key}.source", site.source, level)
        if ring is not None:
            ring.around = self.plan(key, level, source, [], _upstream_of(site.source))
        first: list[Step] = [*self.begin(site), self._once.forward(terms, head)]
        plan = self.plan(key, level, source, [], _upstream_of(site.source))
        # Only now is it known: what is done to answers may ask for the path, too, and any condition for a password.
        first[-1:-1] = self._steps.judged_first(slow)
        plan.request = self._once.steps([*first, self._once.check(self._exprs.asks_path), *steps])
        return plan

    def begin(self, site: model.Site) -> list[Step]:
        """Make what counts what begins in a site; nothing where nobody wants to know."""
        return [BeginMeter(self.registry.counts.site(site.name))] if self.root.counts else []

    def https_redirect(self, key: str, level: _Level) -> Source:
        """Make the source of a plain listener: everything goes to https, but never a challenge of ACME."""
        named = [host for host in level.site.hosts if "*" not in host]
        redirect = HttpsRedirect(level.site.https_port, named[0].encode() if named else b"")
        choices = [
            Choice(self.plan(key, level, Closed(PROXY_NO_ROUTE), [], ""), PREFIX, CHALLENGES),
            Choice(self.plan(key, level, redirect, [], "")),
        ]
        return make_switch(choices, WRITTEN)

    def route(self, key: str, route: model.Route, outer: _Level, at: int) -> Plan:
        """Make the plan of a route."""
        level = _Level(
            route.name or f"{outer.name}[{at}]",
            outer.site,
            outer.listener,
            route.timeouts or outer.timeouts,
            route.limits or outer.limits,
            route.forwarding or outer.forwarding,
            route.access_log or outer.access_log,
            route.compression or outer.compression,
        )
        level.request = outer.request + route.request
        level.request_key = f"{key}.request"
        level.response = route.response + outer.response
        level.response_key = f"{key}.response"
        level.errors = outer.errors if route.errors is None else self.error_plans(f"{key}.errors", route.errors, level)
        upstream = _upstream_of(route.source)
        place = level.place(upstream)
        steps: list[Step] = []
        if level.forwarding != outer.forwarding or (upstream and _host_of(level.forwarding) == "upstream"):
            terms = self.terms(f"{key}.forwarding", level.forwarding, route.source)
            edits = self._steps.edits_only(level.request_key, outer.request, place)
            anew = _client_of(level.forwarding) != _client_of(outer.forwarding)
            steps.append(ForwardAgain(terms, edits, are_steady(edits), anew))
        steps.extend(self._steps.request_steps(level.request_key, route.request, place, 0))
        source = self.source(f"{key}.source", route.source, level)
        return self.plan(key, level, source, steps, upstream)

    def plan(self, key: str, level: _Level, source: Source, request: list[Step], upstream: str) -> Plan:
        """Put a plan together; what encloses it is part of its response steps and log."""
        place = level.place(upstream)
        edits = self._steps.response_edits(level.response_key, level.response, place)
        if level.site.hsts is not None and level.listener.tls:
            edits.append(hsts_edit(level.site.hsts.max_age_s, level.site.hsts.include_subdomains))
        response: list[Step] = []
        mark = self._upstreams.mark(upstream) if upstream else None
        if mark is not None:
            response.append(mark)
        # Decided by the answer as it came, whatever is made of it.
        response.extend(self._steps.response_limits(level.response_key, level.response, place))
        if upstream and level.forwarding.hide:
            response.append(HideFields([wire(name.lower()) for name in level.forwarding.hide]))
        if edits:
            fixed = max([edit.scope for edit in edits]) == CONST
            response.append(FixedResponse(edits) if fixed else EditResponse(edits))
        page = self._once.page(level.site.immich, level.site.error_fields)
        # The limit of a switch is that of the route it chooses.
        most = -1 if _is_switch(source) else _most(level.limits.body_bytes)
        log_key = key if level.site.access_log is not None else "config"
        log = self._log.lines(f"{log_key}.access_log", level.access_log, place, level.site.immich)
        log += self._log.meters(self.registry.counts.site(level.site.name))
        filters: list[FilterMaker] = []
        if not _is_switch(source):
            filters = self._steps.substitutes(level.response_key, level.response, place)
            filters = _filters(level.compression) if not filters else [Several([*filters, *_filters(level.compression)])]
        return Plan(
            level.name,
            source,
            self._once.steps(request),
            self._once.steps(response),
            filters,
            self._once.log(log),
            page,
            self._once.timeouts(level.timeouts, _HOLD_MS if level.site.immich else 0),
            most,
            level.errors,
            site=level.site.name,
        )

    def error_plans(self, key: str, errors: tuple[model.ErrorRoute, ...], level: _Level) -> list[ErrorPlan]:
        """Make the plans of what answers in the place of errors, as routes inside a level."""
        made: list[ErrorPlan] = []
        for at in range(len(errors)):
            error = errors[at]
            route = model.Route(error.source, f"{level.name} error", request=error.request, response=error.response, errors=())
            plan = self.route(f"{key}[{at}]", route, level, at)
            first: list[Step] = [WithoutBody(), AsGet()] if error.status in (204, 304) else [AsGet()]
            plan.request = [*first, *plan.request]
            looks = self._steps.looks(f"{key}[{at}]", error, level.place(""))
            shown = -1 if error.status is None else error.status
            passes = [wire(name.lower()) for name in error.passes]
            made.append(
                ErrorPlan(plan, error.statuses, shown, error.upstream, looks, 400 if error.when is None else 200, passes, error.whole)
            )
        return made

    def terms(self, key: str, forwarding: model.Forwarding, source: model.Source) -> Terms:
        """Make the terms of forwarding to the upstream of a source."""
        mode = HOST_FIXED
        host = b""
        if forwarding.host == "client":
            mode = HOST_CLIENT
        elif forwarding.host != "upstream":
            host = forwarding.host.encode()
        elif isinstance(source, model.Proxy):
            host = self._upstreams.host(f"{key}.host", source.upstream)
        else:
            mode = HOST_CLIENT  # routes inside say their own
        trusted = self.networks(f"{key}.trusted", forwarding.trusted) if forwarding.trusted else self._trusted
        return self._once.terms(forwarding, trusted, mode, host)

    def question(self, key: str, action: model.AuthRequest, edits: list[Edit]) -> Plan:
        """Make the plan by which a server is asked whether a request may pass; it has no log of its own."""
        ring = self._ring
        if action.route and ring is not None:
            return Plan("question", Again(ring, action.route.encode()), error_page=NoPage(), timeouts=timeouts_of(self.config.timeouts))
        source = self._upstreams.source(f"{key}.upstream", action.upstream, self.config.limits.response_head_bytes)
        steps: list[Step] = [EditRequest(edits, False)] if edits else []
        log: list[LogLine] = [ServerMeter()] if self.root.counts else []
        return Plan("question", source, steps, log=log, error_page=NoPage(), timeouts=timeouts_of(self.config.timeouts))

    # ---- sources

    def source(self, key: str, source: model.Source, level: _Level) -> Source:
        """Make a source; `level` is the site or route it belongs to."""
        if isinstance(source, model.Proxy):
            return self._upstreams.source(
                key, source.upstream, level.limits.response_head_bytes, own_host=level.forwarding.host == "upstream"
            )
        place = level.place("")
        if isinstance(source, model.Redirect):
            return Redirect(source.status, self._exprs.text(f"{key}.location", source.location, place))
        if isinstance(source, model.Respond):
            names = [wire(name) for name, _ in source.headers]
            values = [self._exprs.text(f"{key}.headers", value, place) for _, value in source.headers]
            body = None if source.body is None else self._exprs.text(f"{key}.body", source.body, place)
            return Respond(source.status, names, values, body)
        if isinstance(source, model.Again):
            assert self._ring is not None  # sources belong to sites
            return Again(self._ring, source.to.encode())
        if isinstance(source, model.Files):
            return self.files(key, source, level)
        if isinstance(source, model.Metrics):
            accept, words = _ASKED.get(source.form, (b"", b""))
            page, other = [source.key(kind) for kind in source.pages()]
            return Figures(self.registry.pages, page, other, accept, words, source.refresh_s)
        choices: list[Choice] = []
        for at in range(len(source.routes)):
            choices.append(self.choice(f"{key}.routes[{at}]", source.routes[at], level, at))
        return make_switch(choices, BEST if source.order == "best" else WRITTEN)

    def files(self, key: str, source: model.Files, level: _Level) -> Source:
        """Make the source of a directory."""
        types = {ending[1:].encode(): kind.encode() for ending, kind in _TYPES.items()}
        types.update({ending.encode(): wire(kind) for ending, kind in source.types})
        place = level.place("")
        return Files(
            self.reactor,
            os.path.join(self.assets.directory, source.root).encode("utf-8", "surrogateescape"),
            wire(source.strip),
            [wire(name) for name in source.index],
            [self._exprs.text(f"{key}.tries[{at}]", source.tries[at], place) for at in range(len(source.tries))],
            None if source.otherwise is None else self.route(f"{key}.otherwise", model.Route(source.otherwise), level, 0),
            wire(source.default_type),
            types,
            Manner(
                source.hidden,
                [_hidden(name) for name in source.hide],
                source.listing,
                [(coding.encode(), _ENDINGS[coding]) for coding in source.precompressed],
                source.status,
                _SLASHES.index(source.slash),
                None if source.origin is None else self._exprs.text(f"{key}.origin", source.origin, place),
            ),
        )

    def choice(self, key: str, route: model.Route, level: _Level, at: int) -> Choice:
        """Make one choice of a switch."""
        condition = None if route.when is None else self._exprs.test(f"{key}.when", route.when, level.place(""))
        plan = self.route(key, route, level, at)
        if route.name and self._ring is not None:
            self._ring.named.setdefault(route.name.encode(), plan)
        methods = [wire(method) for method in route.methods]
        match = route.path
        if match is None:
            return Choice(plan, ANY, b"", False, False, methods, condition)
        kind = _PATH_KINDS[match.kind]
        try:
            return Choice(plan, kind, wire(match.value), match.ignore_case, match.final, methods, condition)
        except re.error as bad:
            self.wrong(f"{key}.path.value", f"no regular expression: {bad}")
            return Choice(plan)


# ---------------------------------------------------------------- small conversions


def _hidden(name: str) -> re.Pattern[bytes]:
    """Return what finds a name that is hidden in a path, or a path at its beginning; what is below it is hidden, too."""
    parts: list[str] = []
    for char in name.strip("/").replace("%", "%25"):  # as paths in normal form have it
        parts.append("[^/]*" if char == "*" else "[^/]" if char == "?" else re.escape(char))
    begin = "^/" if name.startswith("/") else "/"
    return re.compile((begin + "".join(parts) + r"(?:/|\Z)").encode("utf-8", "surrogateescape"), re.DOTALL)


def _goes_round(level: model.Site | model.Route) -> bool:
    """Tell whether the source of a site may be asked again for the same request, or for a question about it."""
    if _asks_itself(level.request):
        return True
    for _, route in model.routes_inside("", level.source, level.errors):
        if _goes_round(route):
            return True
    return isinstance(level.source, model.Again)


def _asks_itself(actions: tuple[model.Action, ...]) -> bool:
    """Tell whether a route of the site is asked whether a request may pass."""
    for action in actions:
        if isinstance(action, model.AuthRequest) and (action.route or _asks_itself(action.refused)):
            return True
        if isinstance(action, model.When) and (_asks_itself(action.actions) or _asks_itself(action.otherwise)):
            return True
    return False


def _client_of(forwarding: model.Forwarding) -> tuple[str, bool, bool, tuple[str, ...], bool]:
    """Return what decides who the client is."""
    return (
        forwarding.client_field,
        forwarding.client_walk,
        forwarding.client_announced,
        forwarding.trusted,
        forwarding.trusts_sockets,
    )


def _filters(compression: model.Compression | None) -> list[FilterMaker]:
    """Make the filters of a plan; none costs an answer nothing."""
    if compression is None or not compression.types:
        return []
    return [Compress([kind.lower().encode() for kind in compression.types], compression.min_bytes, compression.level)]


def _most(limit: int | None) -> int:
    return -1 if limit is None else limit


def _upstream_of(source: model.Source) -> str:
    return source.upstream if isinstance(source, model.Proxy) else ""


def _host_of(forwarding: model.Forwarding) -> str:
    return forwarding.host


def _is_switch(source: Source) -> bool:
    return isinstance(source, RouteSwitch)


class _NamePattern(NamePattern):
    def __init__(self, pattern: str) -> None:
        self._pattern = HostPattern(wire(pattern))

    def is_for(self, name: str) -> bool:
        return self._pattern.is_in(name.encode("ascii", "replace"))


def _name_pattern(pattern: str) -> NamePattern:
    """Return what finds a site's names in handshakes as in requests. Raises ValueError."""
    return _NamePattern(pattern)
