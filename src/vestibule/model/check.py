"""Whether a configuration makes sense: references, conflicts, ranges.

Rules: finds every mistake, not the first; takes any value of the model, however wrong; reports each place as a path in
the model, which the caller's ``place`` turns into a place in a file.

Not here: what happens to a request (``check_route``); what only the machine knows: whether files exist, ports are free,
names resolve (``control``); what this build cannot do yet (``compile``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace

from vestibule.model.check_acme import check_acme
from vestibule.model.check_expr import CONTROL, MAX_DEPTH, TOKEN, check_pattern, check_test, check_text
from vestibule.model.check_layer4 import check_layer4
from vestibule.model.check_route import (
    FRAMING,
    check_actions,
    check_again,
    check_compression,
    check_errors,
    check_source,
    route_names,
)
from vestibule.model.check_upstream import check_upstream
from vestibule.model.config import (
    ANY_HOST,
    BUILT_IN_PROFILES,
    AccessLog,
    Action,
    AuthRequest,
    ClientCertificate,
    Config,
    ErrorLog,
    EventLog,
    Forwarding,
    InheritedAddress,
    Limits,
    Listener,
    Proxy,
    Route,
    Site,
    TcpAddress,
    Timeouts,
    TlsProfile,
    UdpAddress,
    UnixAddress,
    Upstream,
    When,
    routes_inside,
)
from vestibule.model.diagnostic import Diagnostic, Span, has_errors
from vestibule.model.expr import Phase
from vestibule.model.findings import Findings
from vestibule.model.quantity import parse_host, parse_listen_host, parse_network, parse_port, parse_resolver
from vestibule.model.syslog import is_syslog, parse_syslog

_CONNECTION_TIMEOUTS = ("request_head_ms", "keep_alive_ms", "tls_handshake_ms")
_CONNECTION_LIMITS = ("head_bytes", "fields", "target_bytes", "requests_per_connection", "connections", "connection_rate", "concurrent")

_MAX_MODE = 0o777


def check(config: Config, place: Callable[[str], Span] | None = None) -> tuple[Diagnostic, ...]:
    """Return everything that is wrong with a configuration; one without errors can be compiled.

    ``place`` maps a path in the model to a place in a file; without it the path itself is the place.
    """
    found = Findings(place or (lambda path: Span(key=path)))
    _check_texts(found, config)
    _check_names(found, config)
    _check_process(found, config)
    for at, listener in enumerate(config.listeners):
        _check_listener(found, f"listeners[{at}]", listener, config)
    _check_addresses(found, config.listeners)
    for at, upstream in enumerate(config.upstreams):
        check_upstream(found, f"upstreams[{at}]", upstream)
        _check_event_logs(found, f"upstreams[{at}].events", upstream)
    for at, profile in enumerate(config.tls_profiles):
        _check_profile(found, f"tls_profiles[{at}]", profile)
    for at, certificate in enumerate(config.certificates):
        if not certificate.cert:
            found.error(f"certificates[{at}].cert", "empty-value", "a certificate needs a file")
    names = _Names(config)
    for at, site in enumerate(config.sites):
        _check_site(found, f"sites[{at}]", site, config, names)
    check_acme(found, config)
    _check_hosts(found, config)
    # What nobody uses is worth a word only when the references themselves are right.
    if not has_errors(found.diagnostics):
        _check_unused(found, config)
    return tuple(found.diagnostics)


def _check_texts(found: Findings, config: Config) -> None:
    """No text has a NUL: none is a file name then, and whoever reads it in C reads another one."""
    # Looking at each text takes as long as all other checks together.
    if "\\x00" in repr(config):
        for path in _with_nul(config, ""):
            found.error(path, "bad-value", "a NUL byte is not allowed here")


def _with_nul(value: object, path: str) -> Iterator[str]:
    if isinstance(value, str):
        if "\0" in value:
            yield path
    elif isinstance(value, tuple):
        for at, item in enumerate(value):
            yield from _with_nul(item, f"{path}[{at}]")
    elif is_dataclass(value):
        for field in fields(value):
            yield from _with_nul(getattr(value, field.name), f"{path}.{field.name}" if path else field.name)


def _check_names(found: Findings, config: Config) -> None:
    found.unique("listeners", "listener", [each.name for each in config.listeners])
    found.unique("sites", "site", [each.name for each in config.sites])
    found.unique("upstreams", "upstream", [each.name for each in config.upstreams])
    found.unique("certificates", "certificate", [each.name for each in config.certificates])
    found.unique("tls_profiles", "TLS profile", [each.name for each in config.tls_profiles])
    if not config.sites and not any(listener.routes for listener in config.listeners):
        hint = "a site is a host and where to send its requests"
        # Servers that are only watched are no mistake.
        if any(upstream.health is not None or upstream.agent is not None for upstream in config.upstreams):
            found.warning("sites", "empty-list", "there is no site", hint)
        else:
            found.error("sites", "empty-list", "there is no site", hint)


def _check_process(found: Findings, config: Config) -> None:
    found.at_least("process.workers", config.process.workers, 0)
    found.at_least("process.stop_ms", config.process.stop_ms, 0)
    for at, text in enumerate(config.process.resolvers):
        try:
            parse_resolver(text)
        except ValueError as bad:
            found.error(f"process.resolvers[{at}]", "bad-address", str(bad), "write an address such as `192.168.1.1` or `[::1]:5353`")
    _check_command_sockets(found, config)
    for at, network in enumerate(config.trusted_proxies):
        try:
            parse_network(network)
        except ValueError as bad:
            found.error(f"trusted_proxies[{at}]", "bad-network", str(bad))
            continue
        if network.endswith("/0"):
            found.warning(f"trusted_proxies[{at}]", "trusts-everyone", "every client may now claim any address")
    _check_timeouts(found, "timeouts", config.timeouts, None)
    _check_limits(found, "limits", config.limits, None)
    _check_forwarding(found, "forwarding", config.forwarding)
    _check_access_log(found, "access_log", config.access_log)
    _check_log(found, "error_log", config.error_log)


def _check_command_sockets(found: Findings, config: Config) -> None:
    """Check the sockets that take commands."""
    sockets = config.process.command_sockets
    for at, socket in enumerate(sockets):
        path = f"process.command_sockets[{at}]"
        if not socket.path:
            found.error(f"{path}.path", "empty-value", "a socket needs a path")
        elif socket.path in [each.path for each in sockets[:at]]:
            found.error(f"{path}.path", "duplicate-name", f"there are two sockets at {socket.path}")
        if not re.fullmatch(r"fd@[0-9]{1,6}|tcp:.*:[0-9]{1,5}|(?!fd@|tcp:).*", socket.path, re.DOTALL):
            found.error(f"{path}.path", "bad-value", f"`{socket.path}` is no socket", "write a path, `tcp:127.0.0.1:9999` or `fd@3`")
        if not 0 <= socket.mode <= _MAX_MODE:
            found.error(f"{path}.mode", "out-of-range", f"0o{socket.mode:o} are no permissions", "write `0o660`")


# ---------------------------------------------------------------- values that repeat at each level


def _check_timeouts(found: Findings, path: str, timeouts: Timeouts | None, outer: Timeouts | None) -> None:
    """Check time-outs; ``outer`` is given where a site or route is, which cannot change those of a connection."""
    if timeouts is None:
        return
    for field in fields(timeouts):
        if getattr(timeouts, field.name) is not None:
            found.at_least(f"{path}.{field.name}", getattr(timeouts, field.name), 0 if field.name == "hold_ms" else 1)
        if outer is not None and field.name in _CONNECTION_TIMEOUTS:
            _same(found, f"{path}.{field.name}", getattr(timeouts, field.name) == getattr(outer, field.name))


def _check_limits(found: Findings, path: str, limits: Limits | None, outer: Limits | None) -> None:
    """Check limits, as ``_check_timeouts`` does time-outs."""
    if limits is None:
        return
    for field in fields(limits):
        lowest = 0 if field.name == "body_bytes" else 1
        found.at_least(f"{path}.{field.name}", getattr(limits, field.name), lowest)
        if outer is not None and field.name in _CONNECTION_LIMITS:
            _same(found, f"{path}.{field.name}", getattr(limits, field.name) == getattr(outer, field.name))


def _same(found: Findings, path: str, same: bool) -> None:
    if not same:
        found.error(
            path,
            "connection-setting",
            "this is decided before the site is known",
            "set it for the listener or for the whole configuration",
        )


def _check_forwarding(found: Findings, path: str, forwarding: Forwarding | None) -> None:
    if forwarding is None:
        return
    if forwarding.client_field and not TOKEN.fullmatch(forwarding.client_field):
        found.error(f"{path}.client_field", "bad-field", f"`{forwarding.client_field}` is no field name")
    for at, network in enumerate(forwarding.trusted):
        try:
            parse_network(network)
        except ValueError as bad:
            found.error(f"{path}.trusted[{at}]", "bad-network", str(bad))
    for at, name in enumerate(forwarding.hide):
        if not TOKEN.fullmatch(name) or name.lower() in FRAMING:
            found.error(f"{path}.hide[{at}]", "bad-field", f"`{name}` is no field that can be hidden")
    if forwarding.client_announced and forwarding.client_field:
        found.error(f"{path}.client_announced", "conflict", "a field says who the client is", "keep one of the two")
    if forwarding.host in ("client", "upstream"):
        return
    host, colon, port = forwarding.host.rpartition(":")
    if not colon or forwarding.host.endswith("]"):
        host, colon, port = forwarding.host, "", ""
    try:
        if parse_host(host).startswith("*"):
            raise ValueError("a wildcard is no Host")
        if colon:
            parse_port(port)
    except ValueError as bad:
        found.error(f"{path}.host", "bad-host", str(bad), "write `client`, `upstream` or a host")


def _check_log(found: Findings, path: str, log: AccessLog | ErrorLog | EventLog) -> None:
    """Check where a log goes."""
    if not log.target:
        found.error(f"{path}.target", "empty-value", "a log needs a target", "write `off` for none")
    if not is_syslog(log.target):
        return
    try:
        parse_syslog(log.target)
    except ValueError as bad:
        found.error(f"{path}.target", "bad-value", str(bad), "write `syslog:127.0.0.1:514` or `syslog:/dev/log`")
    # RFC 5424 6: visible ASCII, 48 of it for the name of a program; RFC 3164 ends it at what is no letter or digit.
    if not (0 < len(log.syslog.tag) <= 48 and all("!" <= char <= "~" and char not in ":[]" for char in log.syslog.tag)):
        found.error(
            f"{path}.syslog.tag", "bad-value", f"`{log.syslog.tag}` is no tag", "write a short name without blanks, `:` and brackets"
        )


def _check_event_logs(found: Findings, path: str, upstream: Upstream) -> None:
    """Check where is told what becomes of servers."""
    for at, log in enumerate(upstream.events):
        _check_log(found, f"{path}[{at}]", log)
        if log.target and not is_syslog(log.target):
            message = f"events are told at syslog servers, and `{log.target}` is none"
            found.error(f"{path}[{at}].target", "bad-value", message, "write `syslog:127.0.0.1:514`; the error log has them, too")


def _check_access_log(found: Findings, path: str, log: AccessLog | None) -> None:
    if log is None:
        return
    _check_log(found, path, log)
    for at, other in enumerate(log.also):
        if other.also:
            found.error(f"{path}.also[{at}].also", "conflict", "a further log has none of its own", "name it beside the first")
        _check_access_log(found, f"{path}.also[{at}]", replace(other, also=()))
    if log.format == "template" and log.template is None:
        found.error(f"{path}.template", "missing", "the format `template` needs a template")
    elif log.format != "template" and log.template is not None:
        found.error(f"{path}.template", "conflict", f"a template goes with the format `template`, not `{log.format}`")
    if log.format != "template" and log.escape != "text":
        found.error(f"{path}.escape", "conflict", f"`escape` goes with the format `template`; `{log.format}` knows how it is written")
    if log.template is not None:
        check_text(found, f"{path}.template", log.template, Phase.LOG)
    check_test(found, f"{path}.when", log.when, Phase.LOG)
    if log.file is not None:
        check_text(found, f"{path}.file", log.file, Phase.LOG)
        if log.target in ("stdout", "stderr", "off") or is_syslog(log.target):
            found.error(f"{path}.file", "conflict", f"`{log.target}` is no directory", "name the directory as `target`")


# ---------------------------------------------------------------- listeners


def _check_listener(found: Findings, path: str, listener: Listener, config: Config) -> None:
    address = listener.address
    if isinstance(address, TcpAddress | UdpAddress):
        _check_port(found, f"{path}.address", address)
    elif isinstance(address, UnixAddress):
        if not address.path:
            found.error(f"{path}.address.path", "empty-value", "a unix socket needs a path")
        if not 0 <= address.mode <= _MAX_MODE:
            found.error(f"{path}.address.mode", "out-of-range", "permissions are from 0 to 0o777")
    elif not address.name:
        found.error(f"{path}.address.name", "empty-value", "an inherited socket needs its name")
    known = [*BUILT_IN_PROFILES, *[each.name for each in config.tls_profiles]]
    found.reference(f"{path}.tls_profile", "TLS profile", listener.tls_profile, known)
    here = [site.name for site in config.sites if listener.name in site.listeners]
    if listener.default_site:
        found.reference(f"{path}.default_site", "site on this listener named", listener.default_site, here)
    if not listener.protocols or len(set(listener.protocols)) != len(listener.protocols):
        found.error(f"{path}.protocols", "bad-list", "name each protocol once, and at least one")
    check_layer4(found, path, listener, config, here)
    found.at_least(f"{path}.backlog", listener.backlog, 1)
    for status, reason in listener.reasons:
        if not (status.isdecimal() and 200 <= int(status) <= 599):
            found.error(f"{path}.reasons", "bad-value", f"`{status}` is no final status")
        elif CONTROL.search(reason):
            found.error(f"{path}.reasons", "bad-value", f"what is said of {status} is no line of text")
    _check_timeouts(found, f"{path}.timeouts", listener.timeouts, None)
    _check_limits(found, f"{path}.limits", listener.limits, None)
    _check_access_log(found, f"{path}.access_log", listener.access_log)


def _check_port(found: Findings, path: str, address: TcpAddress | UdpAddress) -> None:
    if not 0 <= address.port <= 65_535:
        found.error(f"{path}.port", "out-of-range", f"{address.port} is no port", "ports are from 1 to 65535")
    try:
        parse_listen_host(f"[{address.host}]" if ":" in address.host else address.host)
    except ValueError as bad:
        found.error(f"{path}.host", "bad-address", str(bad))


def _check_addresses(found: Findings, listeners: Sequence[Listener]) -> None:
    """Two listeners cannot have one address, nor one address and the wildcard that covers it: the kernel refuses."""
    for at, listener in enumerate(listeners):
        for other in listeners[:at]:
            if _overlap(listener, other):
                found.error(f"listeners[{at}].address", "duplicate-address", f"the listener `{other.name}` has this address")
                break


def _overlap(one: Listener, other: Listener) -> bool:
    a, b = one.address, other.address
    if (isinstance(a, TcpAddress) and isinstance(b, TcpAddress)) or (isinstance(a, UdpAddress) and isinstance(b, UdpAddress)):
        if a.port != b.port or a.port == 0:
            return False
        return a.host == b.host or _covers(a, b) or _covers(b, a)
    if isinstance(a, UnixAddress) and isinstance(b, UnixAddress):
        return a.path == b.path
    return isinstance(a, InheritedAddress) and a == b


def _covers(wide: TcpAddress | UdpAddress, narrow: TcpAddress | UdpAddress) -> bool:
    """Whether a wildcard takes what comes to the other address."""
    if wide.host == "*" or (wide.host == "::" and not wide.v6only):
        return True
    if wide.host == "::":
        return ":" in narrow.host
    return wide.host == "0.0.0.0" and ":" not in narrow.host


def _check_profile(found: Findings, path: str, profile: TlsProfile) -> None:
    if profile.name in BUILT_IN_PROFILES:
        found.error(f"{path}.name", "duplicate-name", f"the profile `{profile.name}` is built in", "choose another name")
    if profile.minimum > profile.maximum:
        found.error(f"{path}.minimum", "conflict", f"TLS {profile.minimum} is newer than the newest, {profile.maximum}")
    if profile.client_verify == "optional" and not profile.client_ca:
        found.error(f"{path}.client_verify", "conflict", "client certificates are not asked for", "set `client_ca`")
    for name in ("client_crl", "client_depth", "client_ca_more"):
        if getattr(profile, name) and not profile.client_ca:
            found.error(f"{path}.{name}", "conflict", "there are no authorities whose certificates this is about", "set `client_ca`")
    found.at_least(f"{path}.client_depth", profile.client_depth, 0)


# ---------------------------------------------------------------- sites


class _Names:
    """What sites refer to, by name; looked for once, since there may be thousands of both."""

    def __init__(self, config: Config) -> None:
        self.listeners = {each.name: each for each in config.listeners}
        self.certificates = dict.fromkeys([each.name for each in config.certificates])
        self.upstreams = dict.fromkeys([each.name for each in config.upstreams])
        self.profiles = {each.name: each for each in config.tls_profiles}


def _check_site(found: Findings, path: str, site: Site, config: Config, names: _Names) -> None:
    known = names.listeners
    for at, pattern in enumerate(site.host_patterns):
        check_pattern(found, f"{path}.host_patterns[{at}]", pattern)
    if not site.hosts and not site.host_patterns:
        found.error(f"{path}.hosts", "empty-list", "a site needs a host", "write `*` for any")
    if not site.listeners:
        found.error(f"{path}.listeners", "empty-list", f"nothing listens for the site `{site.name}`")
    for at, name in enumerate(site.listeners):
        if name in site.listeners[:at]:
            found.error(f"{path}.listeners[{at}]", "duplicate-name", f"the listener `{name}` is named twice")
        else:
            found.reference(f"{path}.listeners[{at}]", "listener", name, known)
    for at, name in enumerate(site.certificates):
        found.reference(f"{path}.certificates[{at}]", "certificate", name, names.certificates)
    if site.client_profile:
        found.reference(f"{path}.client_profile", "TLS profile", site.client_profile, [*BUILT_IN_PROFILES, *names.profiles])
    here = [known[name] for name in site.listeners if name in known]
    _check_site_tls(found, path, site, here)
    _check_client_certificates(found, path, site, here, names)
    upstreams = names.upstreams
    check_actions(found, f"{path}.request", site.request, Phase.REQUEST)
    check_actions(found, f"{path}.response", site.response, Phase.RESPONSE)
    check_source(found, f"{path}.source", site.source, upstreams)
    for place, action in _request_actions(path, site):
        if isinstance(action, AuthRequest):
            _check_asked(found, place, action, upstreams, site)
    check_again(found, path, site)
    check_compression(found, f"{path}.compression", site.compression)
    check_errors(found, f"{path}.errors", site.errors, upstreams)
    timeouts, limits = config.timeouts, config.limits
    _check_level(found, path, site, timeouts, limits)
    _check_nested_levels(found, path, site, site.timeouts or timeouts, site.limits or limits)


def _check_asked(found: Findings, path: str, ask: AuthRequest, upstreams: Collection[str], site: Site) -> None:
    """Check who is asked: an upstream, or a route of the same site."""
    if not ask.route:
        found.reference(f"{path}.upstream", "upstream", ask.upstream, upstreams)
        return
    found.reference(f"{path}.route", "route", ask.route, route_names(site))
    for name, value in (("upstream", ask.upstream), ("request", ask.request)):
        if value:
            found.error(f"{path}.{name}", "conflict", "a route is asked, which says itself what goes where", "take one of them away")


def _check_site_tls(found: Findings, path: str, site: Site, listeners: Sequence[Listener]) -> None:
    has_tls = any(listener.tls for listener in listeners)
    if has_tls and not site.certificates and not site.internal_tls and not site.acme and not site.on_demand:
        found.error(
            f"{path}.certificates",
            "no-certificate",
            f"the site `{site.name}` is served with TLS and has no certificate",
            "name one, have one issued, or have one made by the local CA",
        )
    if not has_tls and listeners:
        if site.certificates or site.internal_tls:
            found.warning(f"{path}.certificates", "unused", "the site has a certificate and no listener with TLS")
        if site.redirect_http:
            found.error(f"{path}.redirect_http", "conflict", "redirected to https, where the site does not listen")
        if site.hsts is not None:
            found.error(f"{path}.hsts", "conflict", "HSTS is only heard over TLS (RFC 6797 section 7.2)")
    if site.internal_tls and ANY_HOST in site.hosts and len(site.hosts) == 1:
        found.error(f"{path}.internal_tls", "conflict", "a certificate cannot be made for any host", "name the hosts")
    if not 1 <= site.https_port <= 65_535:
        found.error(f"{path}.https_port", "out-of-range", f"{site.https_port} is no port")
    if site.hsts is not None:
        found.at_least(f"{path}.hsts.max_age_s", site.hsts.max_age_s, 0)


def _check_client_certificates(found: Findings, path: str, site: Site, listeners: Sequence[Listener], names: _Names) -> None:
    """What only clients with a certificate may see needs a listener that asks for one."""
    for listener in listeners:
        profile = names.profiles.get(site.client_profile or listener.tls_profile)
        if listener.tls and (profile is None or not profile.asks_clients):
            message = f"clients are not asked for a certificate on the listener `{listener.name}`, so nobody could pass"
            hint = "give it a TLS profile with `client_ca`"
        elif not any(each.tls for each in listeners):
            message, hint = "no listener of the site has TLS, so nobody could pass", "serve the site with TLS"
        else:
            continue
        for place, action in _request_actions(path, site):
            if isinstance(action, ClientCertificate):
                found.error(place, "no-client-ca", message, hint)


def _request_actions(path: str, site: Site) -> list[tuple[str, Action]]:
    """Return every request action of a site, those inside routes and conditions too, with their places."""
    waiting: list[tuple[str, Sequence[Action]]] = [(f"{path}.request", site.request)]
    levels = routes_inside(path, site.source, site.errors)
    while levels:
        place, route = levels.pop()
        waiting.append((f"{place}.request", route.request))
        if place.count(".source") <= MAX_DEPTH:
            levels += routes_inside(place, route.source, route.errors)
    found: list[tuple[str, Action]] = []
    while waiting:
        place, some = waiting.pop()
        for at, action in enumerate(some):
            found.append((f"{place}[{at}]", action))
            if isinstance(action, When) and place.count(".actions") + place.count(".otherwise") <= MAX_DEPTH:
                waiting.append((f"{place}[{at}].actions", action.actions))
                waiting.append((f"{place}[{at}].otherwise", action.otherwise))
            if isinstance(action, AuthRequest) and place.count(".refused") <= MAX_DEPTH:
                waiting.append((f"{place}[{at}].refused", action.refused))
    return found


def _check_level(found: Findings, path: str, level: Site | Route, timeouts: Timeouts, limits: Limits) -> None:
    """Check what a site or route sets for itself against what encloses it."""
    _check_timeouts(found, f"{path}.timeouts", level.timeouts, timeouts)
    _check_limits(found, f"{path}.limits", level.limits, limits)
    _check_forwarding(found, f"{path}.forwarding", level.forwarding)
    _check_access_log(found, f"{path}.access_log", level.access_log)


def _check_nested_levels(found: Findings, path: str, level: Site | Route, timeouts: Timeouts, limits: Limits) -> None:
    """Check what the routes inside a site or route set for themselves."""
    # Nesting past the bound of `check_route` is an error already, and looking further could exhaust the stack.
    if path.count(".source") > MAX_DEPTH:
        return
    for place, route in routes_inside(path, level.source, level.errors):
        _check_level(found, place, route, timeouts, limits)
        inner_timeouts, inner_limits = route.timeouts or timeouts, route.limits or limits
        _check_nested_levels(found, place, route, inner_timeouts, inner_limits)


def _check_hosts(found: Findings, config: Config) -> None:
    """Each host has one site on each listener."""
    owners: dict[tuple[str, str], str] = {}
    for at, site in enumerate(config.sites):
        for index, host in enumerate(site.hosts):
            path = f"sites[{at}].hosts[{index}]"
            try:
                canonical = parse_host(host)
            except ValueError as bad:
                found.error(path, "bad-host", str(bad))
                continue
            if canonical != host:
                found.error(path, "bad-host", f"the host is written `{canonical}`")
            for listener in site.listeners:
                owner = owners.setdefault((listener, canonical), f"{at}")
                if owner != f"{at}" or site.hosts.index(host) != index:
                    other = config.sites[int(owner)].name
                    found.error(path, "duplicate-host", f"the host `{host}` already belongs to the site `{other}`")
                    break


# ---------------------------------------------------------------- what nobody uses


def _check_unused(found: Findings, config: Config) -> None:
    used = _upstreams_in(config)
    for at, upstream in enumerate(config.upstreams):
        if upstream.name not in used:
            found.warning(f"upstreams[{at}]", "unused", f"no route uses the upstream `{upstream.name}`")
    listeners = {name for site in config.sites for name in site.listeners}
    listeners.update([listener.name for listener in config.listeners if listener.routes])
    for at, listener in enumerate(config.listeners):
        if listener.name not in listeners:
            found.warning(f"listeners[{at}]", "unused", f"no site is served on the listener `{listener.name}`")
    certificates = {name for site in config.sites for name in site.certificates}
    certificates.update([name for listener in config.listeners for name in listener.certificates])
    for at, certificate in enumerate(config.certificates):
        if certificate.name not in certificates:
            found.warning(f"certificates[{at}]", "unused", f"nothing uses the certificate `{certificate.name}`")
    profiles = {listener.tls_profile for listener in config.listeners} | {site.client_profile for site in config.sites}
    for at, profile in enumerate(config.tls_profiles):
        if profile.name not in profiles:
            found.warning(f"tls_profiles[{at}]", "unused", f"nothing uses the TLS profile `{profile.name}`")


def _upstreams_in(config: Config) -> set[str]:
    """The names of all upstreams that routes refer to."""
    names: set[str] = set()
    waiting: list[Site | Route] = list(config.sites)
    while waiting:
        level = waiting.pop()
        if isinstance(level.source, Proxy):
            names.add(level.source.upstream)
        waiting += [route for _, route in routes_inside("", level.source, level.errors)]
    for site in config.sites:
        names.update([action.upstream for _, action in _request_actions("", site) if isinstance(action, AuthRequest)])
    names.update([route.upstream for listener in config.listeners for route in listener.routes])
    return names
