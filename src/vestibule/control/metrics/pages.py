"""The figures as JSON, as a page for people, as nginx's `stub_status` and as httpd's `server-status?auto`.

Facts: `stub_status` is four lines, with a blank at the end of three. Readers of `server-status?auto` take lines `Name: value` and
skip what they do not know. Both programs count the request for the page among those they are working on; a page here is older.

Rules
* What vestibule does not count is left out of what httpd writes; only what scrapers cannot do without has a stand-in, said at its line.
* A page for people is one document without a script, and loads nothing.

Not here: Prometheus (`exposition.py`), HAProxy (`haproxy.py`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from html import escape
from typing import Any

from vestibule.control.metrics.exposition import openmetrics_page, prometheus_page
from vestibule.control.metrics.haproxy import csv_page, table_page
from vestibule.control.metrics.picture import CLASSES, Part, Picture, ServerPart
from vestibule.model.config import Metrics

HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"

_STYLE = (
    "body{font:14px/1.5 sans-serif;margin:2em;color:#222;background:#fff}table{border-collapse:collapse;margin:0 0 1.5em}"
    "th,td{padding:.15em .8em;border-bottom:1px solid #ddd;text-align:right}th:first-child,td:first-child{text-align:left}"
    ".down{color:#a00}h2{font-size:1.1em;margin:0 0 .3em}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#222}th,td{border-color:#444}.down{color:#f77}}"
)


_SITE_HEAD = ("site", "now", "ended", *CLASSES, "no answer", "in", "out", "mean ms")
_SERVER_HEAD = (
    *("server", "state", "weight", "now", "waiting", "connections", "idle", "attempts", "failures", "retries"),
    *(*CLASSES[1:], "mean ms"),
)


def json_page(picture: Picture) -> str:
    """Return all figures as one JSON object."""
    program = picture.program
    told: dict[str, Any] = {
        "collected": _stamp(program.at),
        "uptime_s": round(program.at - program.started_at, 1),
        "generation": program.generation,
        "workers": program.workers,
        "workers_replaced": program.replaced,
        **picture.process.counted,
        **picture.process.now,
        "sites": {site.name: _site(site) for site in picture.sites},
        "listeners": {each.name: _site(each) for each in picture.listeners},
        "upstreams": {
            upstream.name: {picture.name_of(server): _server(server) for server in upstream.servers} for upstream in picture.upstreams
        },
    }
    if picture.shows_version:
        told = {"version": program.version, **told}
    return "application/json\n" + json.dumps(told) + "\n"


def _answers(part: Part) -> dict[str, int]:
    return {name: part.answers(at) for at, name in enumerate((*("none",), *CLASSES))}


def _site(part: Part) -> dict[str, Any]:
    return {
        "active": part.gauge("active"),
        "ended": part.count("ended"),
        "answers": _answers(part),
        "bytes_in": part.count("bytes_in"),
        "bytes_out": part.count("bytes_out"),
        "total_ms": part.count("total_ms"),
        "faults": part.faults,
    }


def _server(server: ServerPart) -> dict[str, Any]:
    names = ("attempts", "failures", "retries", "bytes_in", "bytes_out", "heads", "head_ms")
    return {
        "state": server.state,
        "weight": server.weight,
        "backup": server.backup,
        **{name: server.gauge(name) for name in ("connections", "idle", "active", "waiting")},
        "answers": _answers(server),
        **{name: server.count(name) for name in names},
    }


def nginx_page(picture: Picture) -> str:
    """Return what `stub_status` says. What is open and works on no request waits; who just sends a head is among those."""
    process = picture.process
    active, busy = process.gauge("connections"), process.gauge("exchanges")
    accepted = process.count("accepted")
    writing = min(active, busy)  # with HTTP/2 a connection has several
    return (
        f"text/plain\nActive connections: {active} \nserver accepts handled requests\n {accepted} {accepted} {process.count('requests')} \n"
        f"Reading: 0 Writing: {writing} Waiting: {active - writing} \n"
    )


def apache_auto_page(picture: Picture) -> str:
    """Return what `server-status?auto` says."""
    program, process = picture.program, picture.process
    up = max(1, int(program.at - program.started_at))
    requests, sent = process.count("requests"), sum(site.count("bytes_out") for site in picture.sites)
    busy = process.gauge("exchanges")
    waiting = max(0, process.gauge("connections") - busy)
    rows = {
        **({"ServerVersion": f"vestibule/{program.version}"} if picture.shows_version else {}),
        "CurrentTime": time.strftime("%A, %d-%b-%Y %H:%M:%S UTC", time.gmtime(program.at)),
        "RestartTime": time.strftime("%A, %d-%b-%Y %H:%M:%S UTC", time.gmtime(program.started_at)),
        "ParentServerConfigGeneration": program.generation,
        "ServerUptimeSeconds": up,
        "Total Accesses": requests,
        "Total kBytes": sent // 1024,
        "Total Duration": sum(site.count("total_ms") for site in picture.sites),
        "Uptime": up,
        "ReqPerSec": f"{requests / up:.6g}",
        "BytesPerSec": f"{sent / up:.6g}",
        "BytesPerReq": f"{sent / requests if requests else 0:.6g}",
        "BusyWorkers": busy,
        # There is no thread for each request here: what waits is a connection that is kept.
        "IdleWorkers": waiting,
        "Processes": program.workers,
        "ConnsTotal": process.gauge("connections"),
        "ConnsAsyncWriting": busy,
        "ConnsAsyncKeepAlive": waiting,
    }
    return f"{TEXT}\n{picture.title or 'vestibule'}\n" + "".join(f"{name}: {value}\n" for name, value in rows.items())


def html_page(picture: Picture) -> str:
    """Return a page for people."""
    program, process = picture.program, picture.process
    name = f"vestibule {program.version}" if picture.shows_version else "vestibule"
    title = f"{name}: {picture.title}" if picture.title else name
    facts = (
        f"collected {_stamp(program.at)}, up {_span(program.at - program.started_at)}, generation {program.generation}, "
        f"{program.workers} workers ({program.replaced} replaced), {process.gauge('connections')} connections, "
        f"{process.gauge('exchanges')} requests, {process.gauge('tunnels')} tunnels, {process.count('accepted')} connections accepted, "
        f"{process.count('requests')} requests received"
    )
    parts = [f"<p>{escape(facts)}</p>"]
    parts.append(_table("Sites", _SITE_HEAD, [_site_cells(site) for site in picture.sites]))
    if picture.listeners:
        cells = [_listener_cells(each) for each in picture.listeners]
        parts.append(_table("Connections passed on", ("listener", "ended", "in", "out"), cells))
    for upstream in picture.upstreams:
        rows = [_server_cells(picture, server) for server in upstream.servers]
        parts.append(_table(f"Upstream {upstream.name}", _SERVER_HEAD, rows))
    faults = [(site.name, fault, count) for site in (*picture.sites, *picture.listeners) for fault, count in sorted(site.faults.items())]
    if faults:
        parts.append(_table("Faults", ("site", "fault", "times"), faults))
    body = "\n".join(parts)
    return (
        f'{HTML}\n<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def _listener_cells(listener: Part) -> tuple[object, ...]:
    return listener.name, listener.count("ended"), _size(listener.count("bytes_in")), _size(listener.count("bytes_out"))


def _site_cells(site: Part) -> tuple[object, ...]:
    answers = [site.answers(at) for at in range(1, 6)]
    return (
        *(site.name, site.gauge("active"), site.count("ended"), *answers, site.answers(0)),
        *(_size(site.count("bytes_in")), _size(site.count("bytes_out")), _mean(site.count("total_ms"), site.count("ended"))),
    )


def _server_cells(picture: Picture, server: ServerPart) -> tuple[object, ...]:
    now = [server.gauge(name) for name in ("active", "waiting", "connections", "idle")]
    counted = [server.count(name) for name in ("attempts", "failures", "retries")]
    answers = [server.answers(at) for at in range(2, 6)]
    mean = _mean(server.count("head_ms"), server.count("heads"))
    return (picture.name_of(server), server.state, server.weight, *now, *counted, *answers, mean)


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    top = "".join(f"<th>{escape(each)}</th>" for each in head)
    lines = ""
    for row in rows:
        css = ' class="down"' if "down" in row[1:2] else ""
        lines += f"<tr{css}>" + "".join(f"<td>{escape(str(each))}</td>" for each in row) + "</tr>\n"
    return f"<h2>{escape(title)}</h2>\n<table><tr>{top}</tr>\n{lines}</table>"


def _mean(total: int, count: int) -> str:
    return f"{total / count:.1f}" if count else "-"


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.4g} {unit}"
        value /= 1024
    return f"{value:.4g} TiB"


def _span(seconds: float) -> str:
    days, rest = divmod(int(seconds), 86_400)
    return f"{days}d {rest // 3600}h{rest // 60 % 60:02}m{rest % 60:02}s"


def _stamp(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


_WRITERS = {
    "prometheus": prometheus_page,
    "openmetrics": openmetrics_page,
    "json": json_page,
    "html": html_page,
    "nginx": nginx_page,
    "apache": html_page,
    "apache_auto": apache_auto_page,
    "haproxy": table_page,
    "haproxy_csv": csv_page,
}


def write_pages(picture: Picture, sources: Sequence[Metrics]) -> dict[str, str]:
    """Return what the sources show, by the keys of their pages; the first line of each is its type."""
    pages: dict[str, str] = {}
    for source in sources:
        seen = picture.seen_by(source)
        for kind in source.pages():
            key = source.key(kind)
            if key not in pages:
                pages[key] = _WRITERS[kind](seen)
    return pages
