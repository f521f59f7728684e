"""A Caddyfile, or Caddy's JSON, as the model.

Facts (Caddy's documentation, "Caddyfile Concepts"): several addresses may share a block, one address belongs to one block
only; a path in an address is a matcher around the whole block.

Rules: addresses of a block on different ports are sites of their own, alike in what they do. A host that is redirected to
HTTPS is not, where another block serves it over plain HTTP.

Not here: single directives (``rules``), their order (``flow``), addresses and TLS (``site``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from vestibule.dialects.caddy.apps import read_document
from vestibule.dialects.caddy.arguments import check_options, check_site
from vestibule.dialects.caddy.directives import DIRECTIVES, OPTIONS, ORDER
from vestibule.dialects.caddy.document import is_json
from vestibule.dialects.caddy.flow import Flow
from vestibule.dialects.caddy.matchers import path_match
from vestibule.dialects.caddy.proxy import Proxies, tell_state
from vestibule.dialects.caddy.report import Report, near
from vestibule.dialects.caddy.rules import Rules
from vestibule.dialects.caddy.servers import ServersReader, Taking
from vestibule.dialects.caddy.site import Key, Options, SiteReader, Tls, only, read_key
from vestibule.dialects.caddy.tree import Segment, SiteBlock, read_file
from vestibule.dialects.origin import Origins
from vestibule.dialects.piece import Piece
from vestibule.dialects.read import Loaded, ReadText, read_nothing
from vestibule.dialects.record import Record
from vestibule.model.check import check
from vestibule.model.config import (
    ANY_HOST,
    AccessLog,
    Action,
    Address,
    ClientCertificate,
    Config,
    Deny,
    ErrorLog,
    Limits,
    Listener,
    Process,
    Respond,
    Site,
    Switch,
    TcpAddress,
    Timeouts,
    TlsProfile,
    UnixAddress,
    When,
)
from vestibule.model.diagnostic import Span
from vestibule.model.expr import AllOf, AnyOf, Compare, Const, Expr, InSet, Match, Not, Var
from vestibule.model.quantity import format_listen, is_private_host, parse_port


def parse(name: str, text: str, read_text: ReadText = read_nothing) -> Loaded:
    """Read a Caddyfile; what it imports comes through ``read_text``."""
    record = Record(name)
    report = Report(record)
    file = read_document(name, text, report) if is_json(text) else read_file(name, text, read_text, report)
    origins = Origins()
    config = _Lowering(report, origins, file.routes).config(file.options, file.sites)
    origins.tell(config, record)
    record.origin("", Span(name, 1, 1))
    checked = check(config, record.place)
    if record.has_errors:
        # What is missing because it could not be read was told already.
        checked = tuple([each for each in checked if each.code != "no-certificate" and (each.code != "empty-list" or config.sites)])
    return Loaded(config, record.merge(checked), tuple(dict.fromkeys(file.names)), record.place)


@dataclass(slots=True)
class _Group:
    """Addresses of one block that are served alike: the same port, TLS or not, redirected or not."""

    keys: list[Key]

    @property
    def first(self) -> Key:
        return self.keys[0]


class _Lowering:
    """Lowers one file; used once."""

    def __init__(self, report: Report, origins: Origins, routes: dict[str, tuple[Segment, ...]]) -> None:
        self._report = report
        self._origins = origins
        self._options = Options()
        self._proxies = Proxies(report, origins)
        self._routes = routes
        self._flow = Flow(Rules(self._proxies, report, origins), report, origins, routes)
        self._sites = SiteReader(report, origins)
        self._listeners: dict[str, Listener] = {}
        self._own_tls: dict[str, TlsProfile | None] = {}
        self._redirects_to: dict[str, int] = {}
        self._servers = ServersReader(report, self._proxies)
        self._process = Process()
        self._error_log = ErrorLog()

    def config(self, options: Segment | None, blocks: list[SiteBlock]) -> Config:
        """Return the whole model."""
        if options is not None:
            check_options(options.inside(), self._report)
            self._read_options(options)
        for segments in [*[block.segments for block in blocks], *self._routes.values()]:
            check_site(segments, self._report)
        keyed = [(block, self._keys(block)) for block in blocks]
        self._tell_shared([key for _, keys in keyed for key in keys])
        plain = {(key.host, key.port) for _, keys in keyed for key in keys if not key.tls}
        self._redirects_to = self._redirected_ports([key for _, keys in keyed for key in keys])
        sites: list[Site] = []
        for block, keys in keyed:
            sites.extend(self._block(block, keys, plain, [site.name for site in sites]))
        sites = self._without_sni([self._asking(site) for site in sites])
        self._sites.acme.finish()
        used = {listener.tls_profile for listener in self._listeners.values()}
        return Config(
            listeners=tuple(self._listeners.values()),
            sites=tuple(sites),
            upstreams=tuple(self._proxies.upstreams.values()),
            process=self._process,
            certificates=tuple(self._sites.certificates.values()),
            acme=self._sites.acme.acme,
            issuers=tuple(self._sites.acme.issuers.values()),
            dns_providers=tuple(self._sites.acme.providers),
            tls_profiles=tuple([each for each in self._sites.profiles if each.name in used]),
            trusted_proxies=self._proxies.trusted,
            timeouts=self._servers.everywhere.timeouts,
            limits=self._servers.everywhere.limits,
            forwarding=self._proxies.forwarding,
            access_log=AccessLog("off"),
            error_log=self._error_log,
        )

    # ------------------------------------------------------------ global options

    def _read_options(self, options: Segment) -> None:
        for line in options.inside():
            if not tell_state(line, OPTIONS, "the global options", self._report):
                continue
            words = line.texts()
            if line.name in ("http_port", "https_port"):
                self._port(line)
            elif line.name == "auto_https":
                self._auto_https(line, words)
            elif self._sites.acme.option(line):
                pass
            elif line.name == "local_certs":
                self._options.local_certs = True
            elif line.name == "default_bind":
                self._options.bind = self._sites.bind([line], self._options)
            elif line.name == "debug":
                self._error_log = ErrorLog(level="debug")
            elif line.name == "grace_period":
                stop = self._proxies.duration(line, 1)
                self._process = replace(self._process, stop_ms=self._process.stop_ms if stop is None else stop)
            elif line.name == "order":
                self._order(line, words)
            elif line.name in ("default_sni", "fallback_sni"):
                self._options.default_sni = "".join(words[:1]).lower()
            else:
                self._servers.read(line)

    def _port(self, line: Segment) -> None:
        try:
            port = parse_port("".join(line.texts()[:1]))
        except ValueError as bad:
            self._report.error(line.token(1), "bad-value", str(bad))
            return
        if line.name == "http_port":
            self._options.http_port = port
        else:
            self._options.https_port = port

    def _auto_https(self, line: Segment, words: list[str]) -> None:
        for at, word in enumerate(words or [""]):
            self._https_word(line, at, word)

    def _https_word(self, line: Segment, at: int, word: str) -> None:
        if word == "off":
            self._options.https = self._options.redirects = False
        elif word == "disable_redirects":
            self._options.redirects = False
        elif word in ("ignore_loaded_certs", "disable_certs", "prefer_wildcard"):
            self._report.left_out(line.token(at + 1), f"`{word}`", "a site's certificate is the one it names, or one of the local CA")
        else:
            self._report.error(line.token(at + 1), "bad-value", f"`auto_https {word}` is unknown", near(word, ("off", "disable_redirects")))

    def _order(self, line: Segment, words: list[str]) -> None:
        """``order NAME first|last``, ``order NAME before|after OTHER``."""
        name, where, other = (*words, "", "", "")[:3]
        known = name in ORDER and (where in ("first", "last") or (where in ("before", "after") and other in ORDER))
        plugin = next((each for each in (name, other) if each in DIRECTIVES and DIRECTIVES[each].state == "error"), "")
        if not known and plugin:
            self._report.not_built(line.head, f"`{plugin}`", DIRECTIVES[plugin].advice)
            return
        if not known:
            wrong = name if name not in ORDER else other or where
            self._report.error(line.head, "bad-value", f"`order {' '.join(words)}` is not understood", near(wrong, list(DIRECTIVES)))
            return
        names = sorted(self._flow.order, key=lambda each: self._flow.order[each])
        names.remove(name)
        at = {"first": 0, "last": len(names)}.get(where)
        if at is None:
            at = names.index(other) + (where == "after")
        names.insert(at, name)
        self._flow.order = {each: index for index, each in enumerate(names)}

    # ------------------------------------------------------------ sites

    def _keys(self, block: SiteBlock) -> list[Key]:
        forces_tls = any(segment.name == "tls" for segment in block.segments)
        keys = [read_key(token, self._options, forces_tls, self._report) for token in block.keys]
        return [key for key in keys if key is not None]

    def _tell_shared(self, keys: list[Key]) -> None:
        seen: dict[tuple[str, int, bool, str], Key] = {}
        for key in keys:
            mark = (key.host, key.port, key.tls, key.path)
            if mark in seen:
                line = seen[mark].token.span.line
                self._report.error(key.token, "duplicate-host", f"the address `{key.token.text}` is on line {line} already")
            seen.setdefault(mark, key)

    def _redirected_ports(self, keys: list[Key]) -> dict[str, int]:
        """Return where plain HTTP leads for each host: to the port of HTTPS where it is served there, else to the first that is named."""
        found: dict[str, int] = {}
        for key in keys:
            if key.automatic and (key.host not in found or key.port == self._options.https_port):
                found[key.host] = key.port
        return found

    def _redirected(self, key: Key, plain: set[tuple[str, int]]) -> bool:
        """Tell whether plain HTTP for an address is redirected to it."""
        return key.automatic and (key.host, self._options.http_port) not in plain and self._redirects_to.get(key.host) == key.port

    def _block(self, block: SiteBlock, keys: list[Key], plain: set[tuple[str, int]], names: list[str]) -> list[Site]:
        """Return the sites of a block."""
        if not keys:
            self._flow.site(block.segments)
            return []
        piece = self._flow.site(block.segments)
        skipped = self._flow.skipped
        of = {name: [segment for segment in block.segments if segment.name == name] for name in ("bind", "log", "tls")}
        tls = self._sites.tls(of["tls"])
        bind = self._sites.bind(of["bind"], self._options)
        log = self._sites.log(of["log"])
        if log is not None and skipped:
            log = only(log, Not(skipped[0] if len(skipped) == 1 else AnyOf(tuple(skipped))))
        sites: list[Site] = []
        for group in self._groups(keys, plain, tls):
            within = _one_label(_within(piece, group.first.path), group.keys)
            errors = self._flow.site_errors if within.errors is None else within.errors
            site = self._site(group, within, tls, bind, plain)
            name = _free_name(site.name, [*names, *[each.name for each in sites]])
            sites.append(self._origins.at(group.first.token.span, replace(site, name=name, access_log=log, errors=errors)))
            self._own_tls[sites[-1].name] = tls.profile
            self._default_for(sites[-1])
        return sites

    def _asking(self, site: Site) -> Site:
        """Have a site ask for client certificates itself where its port leaves them to clients, for the sake of another."""
        own = self._own_tls.get(site.name)
        if not any(self._sites.demands(own, self._listeners[name].tls_profile) for name in site.listeners):
            return site
        asked = When(Var("tls"), (ClientCertificate(403),))
        return self._origins.move(site, replace(site, request=(asked, *site.request)))

    def _groups(self, keys: list[Key], plain: set[tuple[str, int]], tls: Tls) -> list[_Group]:
        own = not tls.certificates
        groups: dict[tuple[int, bool, bool, str, bool, str], _Group] = {}
        for key in keys:
            redirected = self._redirected(key, plain)
            mark = (key.port, key.tls, redirected, key.path, key.host == ANY_HOST, self._way(key.host, tls) if own else "")
            groups.setdefault(mark, _Group([])).keys.append(key)
        return list(groups.values())

    def _site(self, group: _Group, piece: Piece, tls: Tls, bind: tuple[str, ...], plain: set[tuple[str, int]]) -> Site:
        first = group.first
        hosts = tuple(dict.fromkeys([key.host for key in group.keys]))
        taking = self._servers.at(bind[0], first.port)
        redirected = self._redirected(first, plain)
        profile = self._sites.profile_name(tls.profile, hosts[0]) if first.tls else "intermediate"
        listeners = [self._open(host, first.port, first.tls, profile, first, first.tls and tls.without_h2) for host in bind]
        if redirected:
            plain_hosts = [host for host in bind if not host.startswith("unix:")]
            listeners.extend([self._open(host, self._options.http_port, False, "intermediate", first) for host in plain_hosts])
        made = first.tls and not tls.certificates
        way = self._way(first.host, tls) if made else ""
        asked: tuple[Action, ...] = ()
        if tls.wants_any and first.tls:
            asked = (When(Compare("==", Var("tls_client_verify"), Const("NONE")), (Deny(403),)),)
        return Site(
            name=hosts[0] if first.port in (80, 443) else f"{hosts[0]}:{first.port}",
            hosts=hosts,
            listeners=tuple(listeners),
            source=piece.source,
            request=asked + piece.request,
            response=piece.response,
            certificates=tuple(tls.certificates) if first.tls else (),
            internal_tls=way == "internal",
            acme=way == "acme",
            on_demand=way == "on_demand",
            issuers=self._sites.acme.keep(tls.asked, hosts) if way in ("acme", "on_demand") else (),
            redirect_http=redirected,
            # The usual port of HTTPS may be mapped to another here, and is not named.
            https_port=first.port if first.tls and first.port != self._options.https_port else 443,
            immich=False,
            timeouts=self._site_timeouts(piece.timeouts, taking),
            limits=self._site_limits(piece.limits),
            forwarding=piece.forwarding,
            compression=piece.compression,
        )

    def _site_timeouts(self, timeouts: Timeouts | None, taking: Taking) -> Timeouts | None:
        """Return the time-outs of a site; those of connections are its listener's."""
        usual = self._servers.everywhere.timeouts
        own = replace(taking.timeouts, request_head_ms=usual.request_head_ms, keep_alive_ms=usual.keep_alive_ms)
        if timeouts is None:
            return None if own == usual else own
        return replace(timeouts, request_head_ms=usual.request_head_ms, keep_alive_ms=usual.keep_alive_ms)

    def _site_limits(self, limits: Limits | None) -> Limits | None:
        return None if limits is None else replace(self._servers.everywhere.limits, body_bytes=limits.body_bytes)

    def _way(self, host: str, tls: Tls) -> str:
        """Tell how a host gets its certificate: by ACME a public name, or any that asks for an issuer of its own."""
        if tls.internal or not self._options.https:
            return "internal"
        issued = not self._options.local_certs and not is_private_host(host)
        if tls.on_demand and (issued or host == ANY_HOST):
            return "on_demand"
        if host != ANY_HOST and (issued or tls.asked.issuers or tls.asked.dns is not None):
            return "acme"
        return "internal"

    def _without_sni(self, sites: list[Site]) -> list[Site]:
        """Have clients that name no host, or an unknown one, get the certificate of the site that ``default_sni`` names."""
        host = self._options.default_sni
        chosen = [site for site in sites if host in site.hosts]
        for name in chosen[0].listeners if chosen else ():
            listener = self._listeners[name]
            if listener.tls and not listener.default_site:
                self._listeners[name] = self._origins.move(listener, replace(listener, unknown_sni="default"))
        # Of several sites the first one's certificate is taken; being first changes nothing else.
        return chosen[:1] + [site for site in sites if site not in chosen[:1]]

    def _open(self, host: str, port: int, tls: bool, profile: str, key: Key, without_h2: bool = False) -> str:
        """Return the name of the listener at an address, making it if it is the first to be asked for."""
        address = _address(host, port)
        name = format_listen(address)
        taking = self._servers.at(host, port)
        known = self._listeners.get(name)
        protocols = tuple([each for each in taking.protocols if each != "h2" or not without_h2])
        if known is not None and known.protocols != protocols:
            hint = "say the same `alpn` for all of them, or `protocols` in the global option `servers`"
            self._report.not_built(key.token, "different protocols on one port", hint)
        if known is None:
            usual = self._servers.everywhere
            made = Listener(
                name,
                address,
                tls,
                tls_profile=profile,
                protocols=protocols,
                proxy_protocol=taking.proxy_from is not None,
                proxy_protocol_from=taking.proxy_from or (),
                timeouts=None if taking.timeouts == usual.timeouts else taking.timeouts,
                limits=None if taking.limits == usual.limits else taking.limits,
            )
            self._listeners[name] = self._origins.at(key.token.span, made)
        elif known.tls != tls:
            says = "without" if tls else "with"
            self._report.error(key.token, "conflict", f"the port {port} is {says} TLS for another site", "use two ports")
        elif known.tls_profile != profile and self._sites.shared(known.tls_profile, profile):
            shared = self._sites.shared(known.tls_profile, profile)
            self._listeners[name] = self._origins.move(known, replace(known, tls_profile=shared))
        elif known.tls_profile != profile:
            self._report.not_built(key.token, "different settings of TLS on one port", "say the same `tls` for all of them")
        return name

    def _default_for(self, site: Site) -> None:
        """A site for any host takes TLS clients that name no host, too."""
        for name in site.listeners:
            listener = self._listeners[name]
            if ANY_HOST in site.hosts and listener.tls and not listener.default_site:
                made = replace(listener, unknown_sni="default", default_site=site.name)
                self._listeners[name] = self._origins.move(listener, made)


def _address(host: str, port: int) -> Address:
    """Return an address to listen on; a socket is written with its permissions behind a ``|``."""
    if not host.startswith("unix:"):
        return TcpAddress(port, host)
    path, _, mode = host.removeprefix("unix:").partition("|")
    return UnixAddress(path, int(mode or "0200", 8))


def _within(piece: Piece, path: str) -> Piece:
    """Return a piece for the requests below the path of an address; others are answered with nothing."""
    if not path:
        return piece
    return Piece(Switch((piece.route(None, path_match(path + "*")), Piece(Respond(200)).route())))


def _one_label(piece: Piece, keys: list[Key]) -> Piece:
    """Return a piece for the hosts of addresses of which some are wildcards: a `*` is one label, and deeper names are no host of it."""
    wildcards = [key.host.removeprefix("*") for key in keys if key.host.startswith("*.")]
    if not wildcards:
        return piece
    pattern = r"^[^.]+\..*(?:" + "|".join([re.escape(each) for each in wildcards]) + r")\Z"
    named = tuple([key.host for key in keys if not key.host.startswith("*.") and re.search(pattern, key.host)])
    deeper: Expr = Match(pattern, Var("host"))
    if named:
        deeper = AllOf((deeper, Not(InSet(Var("host"), named))))
    return piece.before([When(deeper, (Deny(421),))])


def _free_name(name: str, taken: list[str]) -> str:
    found, number = name, 2
    while found in taken:
        found, number = f"{name} #{number}", number + 1
    return found
