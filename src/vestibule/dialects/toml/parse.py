"""From TOML text, or the options of a command line, to the model.

Rules:
* Everything wrong is reported at once; only a syntax error, which TOML's reader stops at, stands alone.
* What a site leaves out is decided here and nowhere else; see ``_Parser._listeners``.

Facts: public names can have a certificate by ACME, and a name nobody certifies can have one from the local CA. So: a site
with a certificate is on 443, and on 80 to redirect; one whose hosts are all private is the same with a certificate of the
local CA, and one with public names with an issued one; a site for any host is plain on 8080.

Not here: routes and actions (``routes``), what makes sense (``model/check.py``).
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from typing import Any

from vestibule.dialects.read import Loaded, ReadText, read_nothing
from vestibule.dialects.toml.notes import Notes
from vestibule.dialects.toml.routes import Routes, Upstreams
from vestibule.dialects.toml.schema import (
    ACME,
    AGENT,
    BALANCE,
    CERTIFICATE,
    DNS_PROVIDER,
    ERROR_LOG,
    FORWARDING,
    HEALTH,
    HSTS,
    ISSUER,
    LIMITS,
    LISTENER,
    ON_DEMAND,
    OUTLIERS,
    PASSIVE,
    POOL,
    PROCESS,
    RETRY,
    ROOT,
    SERVER,
    SESSIONS,
    SITE,
    STICKY,
    TCP_ROUTE,
    TIMEOUTS,
    TLS_PROFILE,
    UPSTREAM,
    UPSTREAM_TLS,
)
from vestibule.dialects.toml.table import Table
from vestibule.dialects.toml.values import Level, Section, Spot, T, TomlTable, read_access_log, read_flat, read_level
from vestibule.model.check import check
from vestibule.model.config import (
    ANY_HOST,
    AccessLog,
    Acme,
    Address,
    Agent,
    Balance,
    Certificate,
    Config,
    DnsProvider,
    ErrorLog,
    Forwarding,
    HealthCheck,
    Hsts,
    Issuer,
    Limits,
    Listener,
    OnDemand,
    Outliers,
    Passive,
    Pool,
    Process,
    Retry,
    Server,
    Sessions,
    Site,
    Sticky,
    TcpAddress,
    TcpRoute,
    Timeouts,
    TlsProfile,
    UdpAddress,
    UnixAddress,
    Upstream,
    UpstreamTls,
)
from vestibule.model.diagnostic import Span, error
from vestibule.model.quantity import format_listen, is_private_host, parse_host, parse_listen, parse_server

_AT = re.compile(r" \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)$")

_ADDRESS_OPTIONS = ("v6only", "mode", "user", "group")


def parse(name: str, text: str, read_text_of: ReadText = read_nothing) -> Loaded:
    """Read a configuration file; ``name`` is what messages call it. The language has no includes, so nothing else is read."""
    del read_text_of
    try:
        data = tomllib.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as bad:
        return Loaded(None, (_syntax(name, text, bad),), (name,))
    return _load(Notes(name), data, (name,))


def for_command_line(to: str, host: str = "", cert: str = "", key: str = "", listen: tuple[str, ...] = ()) -> Loaded:
    """Build the configuration of ``vestibule run --to URL``: one site, by the same rules as in a file.

    Mistakes are placed at the option: ``--to``, ``--host``, ``--cert``, ``--key``, ``--listen``.
    """
    site: dict[str, Any] = {"hosts": host or ANY_HOST, "to": to}
    given = {"cert": cert, "key": key, "listen": list(listen)}
    site.update({name: value for name, value in given.items() if value})
    loaded = _load(Notes(""), {"sites": {"site": site}}, ())
    placed = [replace(each, span=Span(key=_option(each.span.key))) for each in loaded.diagnostics]
    assert loaded.config is not None  # only a syntax error leaves none
    name = "".join(loaded.config.sites[0].hosts[:1])
    certificates = tuple([replace(each, name=name) for each in loaded.config.certificates])
    named = replace(loaded.config.sites[0], name=name, certificates=tuple([each.name for each in certificates]))
    doors = tuple([replace(each, default_site=name) if each.default_site else each for each in loaded.config.listeners])
    config = replace(loaded.config, listeners=doors, sites=(named,), certificates=certificates)
    return Loaded(config, tuple(placed), (), lambda path: Span(key=_option(loaded.place(path).key)))


def _option(key: str) -> str:
    """Name the option that a key of the site made from it stands for."""
    name = re.split(r"[.\[]", key.removeprefix("sites.site").lstrip("."), maxsplit=1)[0]
    return f"--{name}" if name in ("to", "cert", "key", "listen") else "--host"


def _syntax(name: str, text: str, bad: Exception) -> Any:
    """Place what TOML's reader says; at the end of the document it gives no line."""
    if isinstance(bad, RecursionError):
        return error(Span(name, 1, 1), "syntax", "arrays or tables are nested too deep")
    message = str(bad)
    found = _AT.search(message)
    if found is None:
        return error(Span(name, 1, 1), "syntax", message)
    if found[1]:
        span = Span(name, int(found[1]), int(found[2]))
    else:
        span = Span(name, text.count("\n") + 1, len(text) - text.rfind("\n"))
    return error(span, "syntax", message[: found.start()])


def _load(notes: Notes, data: TomlTable, files: tuple[str, ...]) -> Loaded:
    config = _Parser(notes).config(data)
    return Loaded(config, notes.merge(check(config, notes.place)), files, notes.place)


class _Parser:
    """Reads one file; used once."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._upstreams = Upstreams(notes)
        self._routes = Routes(self._upstreams)
        self._listeners: dict[str, Listener] = {}
        # Those that sites asked for by address; declared ones keep what they say.
        self._made: set[str] = set()
        self._certificates: list[Certificate] = []

    def config(self, data: TomlTable) -> Config:
        """Read the whole file. Whatever is wrong is noted, and a configuration comes out all the same."""
        root = Spot(self._notes, "", "").section(ROOT, data)
        assert root is not None  # TOML's reader returns a table
        level = Level(
            read_flat(self._top("timeouts"), TIMEOUTS, root.data.get("timeouts", {}), Timeouts()),
            read_flat(self._top("limits"), LIMITS, root.data.get("limits", {}), Limits()),
            read_flat(self._top("forwarding"), FORWARDING, root.data.get("forwarding", {}), Forwarding()),
            read_access_log(self._top("access_log"), root.data.get("access_log", {}), AccessLog()),
        )
        log = root.data.get("error_log", {})
        error_log = read_flat(self._top("error_log"), ERROR_LOG, {"target": log} if isinstance(log, str) else log, ErrorLog())
        process = read_flat(self._top("process"), PROCESS, root.data.get("process", {}), Process())
        profiles = self._profiles(root)
        acme = self._acme(root)
        issuers = tuple([read_flat(spot, ISSUER, value, Issuer(name)) for name, value, spot in self._named(root, "issuers")])
        named = self._named(root, "dns_providers")
        providers = [read_flat(spot, DNS_PROVIDER, value, DnsProvider(name, "")) for name, value, spot in named]
        self._read_certificates(root)
        # Before all that may name an upstream.
        self._read_upstreams(root)
        self._read_listeners(root, level)
        sites = self._sites(root, level)
        return Config(
            listeners=tuple(self._listeners.values()),
            sites=sites,
            upstreams=self._upstreams.all(),
            process=process,
            certificates=tuple(self._certificates),
            acme=acme,
            issuers=issuers,
            dns_providers=tuple(providers),
            tls_profiles=profiles,
            trusted_proxies=root.read("trusted_proxies", ()),
            timeouts=level.timeouts,
            limits=level.limits,
            forwarding=level.forwarding,
            access_log=level.access_log,
            error_log=error_log,
        )

    def _top(self, name: str) -> Spot:
        """Return the spot of a key at the top, which has the same name in the model."""
        return Spot(self._notes, name, name)

    # ------------------------------------------------------------ what sites stand on

    def _named(self, root: Section, parent: str) -> list[tuple[str, object, Spot]]:
        """Return the tables in a table of tables with their names and spots."""
        top = self._top(parent)
        top.mark()
        found = top.tables(root.data.get(parent, {}))
        return [(name, value, Spot(self._notes, top.inside(name).key, f"{parent}[{at}]")) for at, (name, value) in enumerate(found)]

    def _profiles(self, root: Section) -> tuple[TlsProfile, ...]:
        named = self._named(root, "tls_profiles")
        return tuple([read_flat(spot, TLS_PROFILE, value, TlsProfile(name)) for name, value, spot in named])

    def _read_certificates(self, root: Section) -> None:
        for name, value, spot in self._named(root, "certificates"):
            self._certificates.append(read_flat(spot, CERTIFICATE, value, Certificate(name, "")))

    def _read_listeners(self, root: Section, level: Level) -> None:
        for name, value, spot in self._named(root, "listeners"):
            section = spot.section(LISTENER, value)
            if section is None:
                self._listeners[name] = Listener(name, TcpAddress(0))
                continue
            own, _ = read_level(section, level)
            if "sessions" in section:
                own["sessions"] = read_flat(section.inside("sessions"), SESSIONS, section.data["sessions"], Sessions())
            address = self._address(section)
            if "routes" in section:
                scheme = "udp" if isinstance(address, UdpAddress) else "tcp"
                own["routes"] = self._connections(section.inside("routes"), section.data["routes"], scheme)
            flat = {key: item for key, item in section.data.items() if key not in own}
            listener = read_flat(spot, LISTENER, flat, Listener(name, address))
            self._listeners[name] = replace(listener, **own)

    def _connections(self, spot: Spot, value: object, scheme: str) -> tuple[TcpRoute, ...]:
        """Read the routes of a listener that passes connections on, or datagrams, as `scheme` says."""
        routes: list[TcpRoute] = []
        for at, item in enumerate(spot.array(value)):
            section = spot.at(at).section(TCP_ROUTE, item)
            if section is None:
                continue
            if "to" in section and "listener" in section:
                section.error("listener", "conflict", "`to` takes the connection already", "keep one of the two")
            flat = {key: each for key, each in section.data.items() if key not in ("to", "bandwidth", "concurrency")}
            route = read_flat(section.spot, TCP_ROUTE, flat, TcpRoute())
            if "to" in section:
                place = section.inside("to", "upstream")
                text = place.text(section.data["to"], "a server's address or the name of an upstream")
                if text is not None and _is_misfit(text, scheme):
                    place.error("conflict", f"`{text}` does not go with this listener", f"write `{scheme}://host:port`")
                elif text is not None:
                    route = replace(route, upstream=self._upstreams.find(_as_url(text), place) or "")
            if "bandwidth" in section:
                limits = self._routes.bandwidth(section.data["bandwidth"], section.inside("bandwidth"))
                route = replace(route, bandwidth=limits)
            if "concurrency" in section:
                most = self._routes.concurrency(section.data["concurrency"], section.inside("concurrency"))
                route = replace(route, concurrency=most)
            routes.append(route)
        return tuple(routes)

    def _address(self, section: Section) -> Address:
        """Read the address of a listener with the options that belong to its kind."""
        spot = section.inside("address")
        options: dict[str, Any] = {}
        for name in section.given(*_ADDRESS_OPTIONS):
            section.inside(name, f"address.{name}")
            options[name] = section.read(name, None)
        if "address" not in section:
            section.error("", "missing", "a listener needs an `address`")
            return TcpAddress(0)
        text = spot.text(section.data["address"], "an address")
        address = _parsed_address(text, spot) if text is not None else None
        if address is None:
            return TcpAddress(0)
        allowed: tuple[str, ...] = ()
        if isinstance(address, TcpAddress | UdpAddress) and ":" in address.host:
            allowed = ("v6only",)
        elif isinstance(address, UnixAddress):
            allowed = ("mode", "user", "group")
        for name in options:
            if name not in allowed:
                section.error(name, "conflict", f"`{name}` does not go with the address `{text}`")
        return replace(address, **{name: item for name, item in options.items() if name in allowed and item is not None})

    def _acme(self, root: Section) -> Acme:
        given = root.data.get("acme", {})
        spot = self._top("acme")
        acme = read_flat(spot, ACME, given, Acme())
        if not isinstance(given, dict) or "on_demand" not in given:
            return acme
        return replace(acme, on_demand=read_flat(spot.inside("on_demand"), ON_DEMAND, given["on_demand"], OnDemand()))

    def _read_upstreams(self, root: Section) -> None:
        for name, value, spot in self._named(root, "upstreams"):
            section = spot.section(UPSTREAM, value)
            if section is None:
                self._upstreams.declare(Upstream(name, (Server("unread", 1),)))
                continue
            items = section.inside("servers")
            servers: list[Server] = []
            for at, item in enumerate(items.array(section.data.get("servers", []))):
                server = _server(items.at(at, len(servers)), item)
                if server is not None:
                    servers.append(server)
            tls = read_flat(section.inside("tls"), UPSTREAM_TLS, section.data.get("tls", {}), UpstreamTls())
            pool = read_flat(section.inside("pool"), POOL, section.data.get("pool", {}), Pool())
            retry = read_flat(section.inside("retry"), RETRY, section.data.get("retry", {}), Retry())
            self._upstreams.declare(
                Upstream(
                    name,
                    tuple(servers),
                    tls,
                    pool,
                    retry,
                    read_flat(section.inside("balance"), BALANCE, section.data.get("balance", {}), Balance()),
                    read_flat(section.inside("passive"), PASSIVE, section.data.get("passive", {}), Passive()),
                    _optional(section, "sticky", STICKY, Sticky()),
                    _optional(section, "outliers", OUTLIERS, Outliers()),
                    _optional(section, "health", HEALTH, HealthCheck()),
                    _optional(section, "agent", AGENT, Agent()),
                    section.read("address", None),
                    section.read("address_tls", False),
                    section.read("unreachable_status", 0),
                    section.read("events", ()),
                )
            )

    # ------------------------------------------------------------ sites

    def _sites(self, root: Section, level: Level) -> tuple[Site, ...]:
        sites: list[Site] = []
        for name, value, spot in self._named(root, "sites"):
            section = Spot(self._notes, spot.key, f"sites[{len(sites)}]").section(SITE, value)
            if section is not None:
                sites.append(self._site(name, section, level))
        return tuple(sites)

    def _site(self, name: str, section: Section, outer: Level) -> Site:
        section.mark("hosts", "host_patterns", "certificates", "issuers", "https_port", "redirect_http", "hsts")
        section.inside("listen", "listeners")
        section.inside("tls", "internal_tls")
        hosts = _hosts(name, section)
        certificates = self._site_certificates(name, section)
        mode = _tls_mode(section, hosts, bool(certificates))
        listeners = self._site_listeners(section, hosts, mode != "off" or bool(certificates))
        if ANY_HOST in hosts:
            self._take_any(name, listeners)
        doors = [self._listeners[each] for each in listeners]
        own, level = read_level(section, outer)
        return Site(
            name=name,
            hosts=hosts,
            host_patterns=section.read("host_patterns", ()),
            listeners=listeners,
            source=self._routes.source(section, level),
            request=self._routes.actions(section, "request"),
            response=self._routes.actions(section, "response"),
            errors=self._routes.errors(section, level) or (),
            certificates=certificates,
            internal_tls=mode == "internal",
            acme=mode == "acme",
            on_demand=mode == "on_demand",
            issuers=section.read("issuers", ()),
            redirect_http=section.read("redirect_http", _has_both(doors)),
            https_port=section.read("https_port", _https_port(doors)),
            hsts=_hsts(section),
            immich=section.read("immich", True),
            default_host=section.read("default_host", ""),
            client_profile=section.read("client_profile", ""),
            **own,
        )

    def _site_certificates(self, name: str, section: Section) -> tuple[str, ...]:
        """The names of the site's certificates; its own ``cert`` becomes one under the site's name."""
        names: tuple[str, ...] = section.read("certificates", ())
        if "cert" not in section:
            for option in section.given("key", "password_file"):
                section.error(option, "conflict", f"`{option}` belongs to a `cert`, and there is none")
            return names
        if any(each.name == name for each in self._certificates):
            message = f"a certificate named `{name}` is declared already"
            section.error("cert", "duplicate-name", message, "name it in `certificates` instead")
            return names
        options = ("cert", "key", "password_file")
        path = f"certificates[{len(self._certificates)}]"
        for option in options:
            self._notes.origin(f"{path}.{option}", section.spot.inside(option).key)
        cert, key, password_file = [str(section.read(option, "")) for option in options]
        self._certificates.append(Certificate(name, cert, key, password_file))
        return (*names, name)

    def _site_listeners(self, section: Section, hosts: tuple[str, ...], has_tls: bool) -> tuple[str, ...]:
        """The names of the listeners of a site, making those that are not declared."""
        spot = section.inside("listen", "listeners")
        if "listen" not in section:
            if has_tls:
                return (self._open(TcpAddress(443), True, spot), self._open(TcpAddress(80), False, spot))
            # Its hosts could not be read: any listener will do for the checks that follow.
            if not hosts and self._listeners:
                return tuple(list(self._listeners)[:1])
            return (self._open(TcpAddress(8080), False, spot),)
        given = section.data["listen"]
        names: list[str] = []
        for at, item in enumerate([given] if isinstance(given, str) else spot.array(given)):
            name = self._listen(item, spot if isinstance(given, str) else spot.at(at, len(names)), has_tls)
            if name is not None:
                names.append(name)
            else:
                self._notes.hush(spot.key)
        return tuple(names)

    def _take_any(self, name: str, listeners: tuple[str, ...]) -> None:
        """A site for any host takes TLS clients that name no host, or an unknown one, too: its certificate is all there is."""
        for each in listeners:
            listener = self._listeners[each]
            if each in self._made and listener.tls and not listener.default_site:
                self._listeners[each] = replace(listener, unknown_sni="default", default_site=name)

    def _listen(self, item: object, spot: Spot, has_tls: bool) -> str | None:
        """The name of the listener that one item of ``listen`` means; None, noted, if it means none."""
        text = spot.text(item, "an address or the name of a listener")
        if text is None or text in self._listeners:
            return text
        scheme, separator, rest = text.partition("://")
        if separator and scheme not in ("http", "https"):
            spot.error("bad-value", f"`{scheme}://` is unknown here", "write `http://` or `https://`")
            return None
        address = _parsed_address(rest if separator else text, spot)
        if address is None:
            return None
        return self._open(address, scheme == "https" if separator else has_tls, spot)

    def _open(self, address: Address, tls: bool, spot: Spot) -> str:
        """Return the name of the listener at an address, making it if it is the first to be asked for."""
        name = format_listen(address)
        known = self._listeners.get(name)
        if known is None:
            self._notes.origin(f"listeners[{len(self._listeners)}]", spot.key)
            self._listeners[name] = Listener(name, address, tls)
            self._made.add(name)
        elif known.tls != tls:
            says = "without" if tls else "with"
            spot.error("conflict", f"`{name}` is {says} TLS for another site", "use two ports")
        return name


def _parsed_address(text: str, spot: Spot) -> Address | None:
    try:
        return parse_listen(text)
    except ValueError as bad:
        spot.error("bad-value", str(bad))
        return None


def _as_url(text: str) -> str:
    """Write the address of a server that speaks something else as one of HTTP is written."""
    for scheme, written in (("tcp://", "http://"), ("tls://", "https://"), ("udp://", "http://")):
        if text.startswith(scheme):
            return written + text.removeprefix(scheme)
    return text


def _is_misfit(text: str, scheme: str) -> bool:
    """Tell whether the address of a server is for datagrams where connections are passed on, or the other way round."""
    return text.startswith("udp://") if scheme == "tcp" else text.startswith(("tcp://", "tls://"))


def _server(spot: Spot, value: object) -> Server | None:
    """Read a server: its address alone, or a table."""
    section = spot.section(SERVER, {"address": value} if isinstance(value, str) else value)
    if section is None:
        return None
    if "address" not in section:
        section.error("", "missing", "a server needs an `address`")
        return None
    place = spot if isinstance(value, str) else section.inside("address", "host")
    text = place.text(section.data["address"], "a server's address")
    if text is None:
        return None
    try:
        server = parse_server(text)
    except ValueError as bad:
        place.error("bad-value", str(bad))
        return None
    section.mark("weight", "backup", "proxy_protocol")
    section.mark("weight", "backup", "disabled", "priority", "max_connections", "resolve", "mark", "max_fails", "fail_window")
    section.mark("check", "check_host", "check_port", "agent", "agent_host", "agent_port", "tls_name", "tls_verify", "tls_cert")
    section.mark("tls_ciphers")
    if "tls" in section and not server.path:
        section.error("tls", "conflict", "`tls` is for unix sockets", "write `https://` before a host")
    return replace(
        server,
        tls=section.read("tls", server.tls),
        weight=section.read("weight", 1),
        backup=section.read("backup", False),
        proxy_protocol=section.read("proxy_protocol", ""),
        disabled=section.read("disabled", False),
        priority=section.read("priority", 0),
        max_connections=section.read("max_connections", None),
        resolve=section.read("resolve", "one"),
        mark=section.read("mark", ""),
        max_fails=section.read("max_fails", None),
        fail_window_ms=section.read("fail_window", None),
        check=section.read("check", True),
        check_host=section.read("check_host", ""),
        check_port=section.read("check_port", 0),
        agent=section.read("agent", True),
        agent_host=section.read("agent_host", ""),
        agent_port=section.read("agent_port", 0),
        tls_name=section.read("tls_name", ""),
        tls_verify=section.read("tls_verify", True),
        tls_cert=section.read("tls_cert", ""),
        tls_ciphers=section.read("tls_ciphers", ()),
    )


def _optional(section: Section, name: str, table: Table, base: T) -> T | None:
    """Read a table that means something by being there."""
    return read_flat(section.inside(name), table, section.data[name], base) if name in section else None


def _hosts(name: str, section: Section) -> tuple[str, ...]:
    """The hosts of a site: said, or the name of its table."""
    if "hosts" in section:
        return section.read("hosts", ())
    if "host_patterns" in section:
        return ()
    try:
        return (parse_host(name),)
    except ValueError as bad:
        section.error("", "bad-host", str(bad), "name the site by its host, or set `hosts`")
        section.spot.notes.hush(section.spot.inside("hosts").key)
        return ()


def _tls_mode(section: Section, hosts: tuple[str, ...], certified: bool) -> str:
    """Who makes the certificate: said, or because nobody else would and nothing else was asked for; `off` is nobody."""
    if "tls" in section:
        mode: str = section.read("tls", "off")
        if mode == "off" and certified:
            section.error("tls", "conflict", "the site has a certificate and TLS is off")
        return mode
    if certified or "listen" in section or not hosts or ANY_HOST in hosts:
        return "off"
    return "internal" if all(is_private_host(host) for host in hosts) else "acme"


def _hsts(section: Section) -> Hsts | None:
    given = section.data.get("hsts", False)
    if given is False:
        return None
    return Hsts() if given is True else read_flat(section.inside("hsts"), HSTS, given, Hsts())


def _has_both(listeners: list[Listener]) -> bool:
    """Whether there are listeners with TLS and without."""
    return any(each.tls for each in listeners) and not all(each.tls for each in listeners)


def _https_port(listeners: list[Listener]) -> int:
    """The port of the first listener with TLS, for redirects; 443 where it has none of its own."""
    for each in listeners:
        if each.tls:
            return each.address.port or 443 if isinstance(each.address, TcpAddress) else 443
    return 443
