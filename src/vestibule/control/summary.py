"""What people are told about a running program: a few lines at the start, and the answer to `vestibule status`.

Rules: text only; everything comes from `Serving` or from the status answer, nothing is looked up here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from vestibule.control.authority import how_to_trust
from vestibule.link.messages import ACME_PREFIX, INTERNAL_PREFIX
from vestibule.model.config import (
    ANY_HOST,
    Config,
    Files,
    Listener,
    Metrics,
    Proxy,
    Redirect,
    Respond,
    Server,
    Site,
    Source,
    Switch,
    Upstream,
)

if TYPE_CHECKING:
    from vestibule.control.main import Serving


def summarise(serving: Serving) -> Iterator[str]:
    """Yield the lines that say what is served, where, and until when certificates last."""
    yield "vestibule serves"
    listeners = {each.name: each for each in serving.config.listeners}
    for site in serving.config.sites:
        targets = ", ".join(dict.fromkeys(_targets(site.source, serving.config)))
        for url in _urls(site, listeners, serving.addresses):
            yield f"  {url}  ->  {targets}"
    for name, facts in serving.facts.items():
        if any(site.on_demand and name == INTERNAL_PREFIX + site.name for site in serving.config.sites):
            continue  # only there to begin handshakes with
        kind = "from the local CA" if facts.name.startswith(INTERNAL_PREFIX) else f"issued by {facts.issuer}"
        if name.startswith(ACME_PREFIX) and facts.name.startswith(INTERNAL_PREFIX):
            kind += " until a trusted one is issued, which happens now"
        yield f"  certificate for {', '.join(facts.names)}: {kind}, until {facts.not_after:%Y-%m-%d} ({facts.days_left} days)"
    for warning in serving.warnings:
        yield f"  {warning}"
    if any(site.internal_tls for site in serving.config.sites):
        yield how_to_trust(serving.authority)


def _urls(site: Site, listeners: dict[str, Listener], addresses: dict[str, str]) -> Iterator[str]:
    """Yield what to type into a browser for each host and listener of a site."""
    for name in site.listeners:
        listener = listeners[name]
        where = addresses[name]
        if where.startswith(("unix:", "systemd:")):
            yield where
            continue
        scheme = "https" if listener.tls else "http"
        host, _, port = where.rpartition(":")
        usual = port == ("443" if listener.tls else "80")
        for wanted in site.hosts:
            # A pattern is nothing to type; the address is.
            shown = _shown_host(host) if wanted == ANY_HOST or wanted.startswith("*.") else wanted
            note = " (redirects to https)" if site.redirect_http and not listener.tls else ""
            yield f"{scheme}://{shown}{'' if usual else ':' + port}/{note}"


def _shown_host(host: str) -> str:
    return "localhost" if host in (ANY_HOST, "0.0.0.0", "[::]") else host


def _targets(source: Source, config: Config) -> Iterator[str]:
    """Yield where the requests of a source end up."""
    if isinstance(source, Proxy):
        upstreams = {each.name: each for each in config.upstreams}
        yield _target(upstreams[source.upstream])
    elif isinstance(source, Redirect):
        yield f"redirect ({source.status})"
    elif isinstance(source, Respond):
        yield f"answer {source.status}"
    elif isinstance(source, Metrics):
        yield f"metrics ({source.form})"
    elif isinstance(source, Files):
        yield f"files in {source.root}"
        if source.otherwise is not None:
            yield from _targets(source.otherwise, config)
    elif isinstance(source, Switch):
        for route in source.routes:
            yield from _targets(route.source, config)


def _target(upstream: Upstream) -> str:
    return " | ".join(_server(each) for each in upstream.servers)


def _server(server: Server) -> str:
    if server.path:
        return f"unix:{server.path}"
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{'https' if server.tls else 'http'}://{host}:{server.port}"


def tell_status(answer: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of `vestibule status` from the running program's answer."""
    how = "compiled" if answer["compiled"] else "interpreted"
    yield f"vestibule {answer['version']} ({how}), process {answer['pid']}, up {_span(answer['uptime_s'])}"
    yield f"configuration  {answer['config']}, generation {answer['generation']}"
    last = answer["last_reload"]
    if last is not None and not last["ok"]:
        yield f"last reload    refused at {last['at']}:"
        for reason in last["reasons"]:
            yield f"               {reason}"
    for name, where in answer["listeners"].items():
        yield f"listener       {where} ({name})"
    for name, hosts in answer["sites"].items():
        yield f"site           {name}: {', '.join(hosts)}"
    for each in answer["certificates"]:
        yield f"certificate    {', '.join(each['hosts'])}: until {each['until']} ({each['days_left']} days)"
    for each in answer["issued"]:
        renewal = f", renewed from {each['renewal']}" if each.get("renewal") else ""
        by = f" by {each['issuer']}" if each.get("issuer") else ""
        yield f"acme           {', '.join(each['hosts'])}: {each['state']}{by}{renewal}"
        if each["reason"]:
            yield f"               {each['reason']}"
    yield from _demanded(answer.get("demanded", {}))
    for name, addresses in answer["upstream_addresses"].items():
        yield f"upstream name  {name}: {', '.join(addresses) or 'no address'}"
    for each in answer["servers"]:
        yield f"server         {tell_server(each)}"
    for worker in answer["workers"]:
        figures = worker.get("figures")
        shown = _figures(figures) if figures else "no answer"
        replaced = f", replaced {worker['replaced']} times" if worker["replaced"] else ""
        yield f"worker {worker['slot']:<7} process {worker['pid']}, up {_span(worker['uptime_s'])}{replaced}: {shown}"
    if answer["stopping"]:
        yield "stopping"


def _figures(figures: dict[str, Any]) -> str:
    """Write what a worker counts: what is not zero, connections and requests in any case."""
    shown = [f"{key} {figures.get(key, 0)}" for key in ("connections", "requests")]
    for key, value in figures.items():
        if key == "resident_bytes":
            shown.append(f"resident {value / 1e6:.1f} MB")
        elif value and key not in ("connections", "requests") and not isinstance(value, dict | list):
            shown.append(f"{key.replace('_', ' ')} {value}")
    return ", ".join(shown)


def _demanded(told: dict[str, Any]) -> Iterator[str]:
    """Yield what there is to say of certificates on demand."""
    if not told:
        return
    yield f"on demand      {told['names']} names with certificates, {told['pending']} worked on"
    for each in told["working"]:
        yield f"               {', '.join(each['hosts'])}: {each['state']}"
    for each in told["refused"]:
        yield f"               {each['name']} is refused: {each['reason']}"


def tell_server(row: dict[str, Any]) -> str:
    """Write how a server stands in one line."""
    more = [f"weight {row['weight']}"]
    if row["backup"]:
        more.append("backup")
    if row["last_check"]:
        more.append(f"check: {row['last_check']}")
    elif row["checked"]:
        more.append("check: well" if row["last_check"] == "" else "not checked yet")
    if row.get("agent"):
        more.append(f"agent: {row['agent']}")
    return f"{row['upstream']} {row['server']}: {row['state']}, {', '.join(more)}"


def _span(seconds: float) -> str:
    """Write a time span by its largest units."""
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7_200:
        return f"{whole // 60} min"
    return f"{whole // 3_600} h" if whole < 172_800 else f"{whole // 86_400} days"
