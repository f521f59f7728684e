"""The figures as Prometheus reads them.

Facts: Prometheus' text format 0.0.4 and OpenMetrics 1.0.0 differ in three things: OpenMetrics names the family of a counter without
`_total`, wants a last line `# EOF`, and has a type of its own. In both a label value escapes the backslash, the quote and the line feed.

Rules
* Times are in seconds and sizes in bytes, as the conventions of Prometheus have it.
* Label values are names of the configuration and of the table of faults, never what a client sent.

Not here: what is counted (`counts.py`), who may see it (the site).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vestibule.control.metrics.picture import BOUNDS_S, CLASSES, Part, Picture, ServerPart
from vestibule.fault import KINDS, SIDE_NAMES

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Labels = Mapping[str, str]
Sample = tuple[str, Labels, float]
"""What is appended to the name of its family, its labels, its value."""

# Name, type, what it is.
PROCESS = (
    ("client_connections", "gauge", "connections", "Connections of clients that are open."),
    ("client_connections_accepted", "counter", "accepted", "Connections of clients that were accepted."),
    ("client_connections_held_back", "counter", "held_back", "Times that a listener looked away because of its rate."),
    ("http_requests_received", "counter", "requests", "Requests whose head was read."),
    ("http_requests_active", "gauge", "exchanges", "Requests that are worked on, WebSockets and other tunnels included."),
    ("tunnels_active", "gauge", "tunnels", "WebSockets and other tunnels that are open."),
    ("tls_handshakes_failed", "counter", "handshakes_failed", "TLS handshakes with clients that failed."),
    ("tls_handshakes_waiting", "gauge", "handshakes_waiting", "TLS handshakes that wait for a certificate to be issued."),
    ("proxy_headers_refused", "counter", "refused_headers", "PROXY headers that were refused, or expected and missing."),
    ("udp_sessions", "gauge", "sessions", "Sessions of datagrams that are open."),
    ("udp_sessions_refused", "counter", "sessions_refused", "Datagrams of new clients that were dropped, as there were too many sessions."),
    ("udp_datagrams_dropped", "counter", "datagrams_dropped", "Datagrams that could not be sent on."),
    ("log_lines_lost", "counter", "log_lines_lost", "Lines of access logs that could not be written."),
    ("resident_memory_bytes", "gauge", "resident_bytes", "Memory of all workers."),
)
SITE = (
    ("http_request_body_bytes", "counter", "bytes_in", "Bytes of bodies that clients sent."),
    ("http_response_body_bytes", "counter", "bytes_out", "Bytes of bodies that clients were sent."),
)
LISTENER = (
    ("tcp_connections", "counter", "ended", "Connections that were passed on and are over; of a UDP listener, sessions."),
    ("tcp_received_bytes", "counter", "bytes_in", "Bytes that clients sent over connections or sessions that are over."),
    ("tcp_sent_bytes", "counter", "bytes_out", "Bytes that clients were sent over connections or sessions that are over."),
)
SERVER = (
    ("upstream_attempts", "counter", "attempts", "Requests given to a server, repeated ones included."),
    ("upstream_failures", "counter", "failures", "Attempts that no answer came of, or one that another server was asked for instead."),
    ("upstream_retries", "counter", "retries", "Attempts that another one followed."),
    ("upstream_request_body_bytes", "counter", "bytes_out", "Bytes of bodies that a server was sent."),
    ("upstream_response_body_bytes", "counter", "bytes_in", "Bytes of bodies that a server sent."),
    ("upstream_connections", "gauge", "connections", "Connections to a server, those being made included."),
    ("upstream_connections_idle", "gauge", "idle", "Connections to a server that wait for a request."),
    ("upstream_requests_active", "gauge", "active", "Requests that a server works on."),
    ("upstream_requests_waiting", "gauge", "waiting", "Requests that wait for a connection to a server."),
)


def prometheus_page(picture: Picture) -> str:
    """Return the page in Prometheus' own format."""
    return PROMETHEUS + "\n" + _Writer(False).write(picture)


def openmetrics_page(picture: Picture) -> str:
    """Return the page as OpenMetrics."""
    return OPENMETRICS + "\n" + _Writer(True).write(picture) + "# EOF\n"


def escape(text: str) -> str:
    """Write a label value."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class _Writer:
    def __init__(self, open_metrics: bool) -> None:
        self._open_metrics = open_metrics
        self._lines: list[str] = []

    def write(self, picture: Picture) -> str:
        self._program(picture)
        for name, kind, key, text in PROCESS:
            self._family(name, kind, text, [("", {}, _value(picture.process, kind, key))])
        self._sites(picture)
        for name, kind, key, text in LISTENER:
            self._family(name, kind, text, [("", {"listener": each.name}, _value(each, kind, key)) for each in picture.listeners])
        self._faults("tcp_faults", "listener", picture.listeners)
        self._servers(picture)
        return "".join(f"{line}\n" for line in self._lines)

    def _family(self, name: str, kind: str, text: str, samples: Iterable[Sample]) -> None:
        """Write one family; the name of a counter's samples ends in `_total`."""
        full = f"vestibule_{name}"
        total = "_total" if kind == "counter" else ""
        known = full if self._open_metrics else full + total
        self._lines.append(f"# HELP {known} {text}")
        self._lines.append(f"# TYPE {known} {kind}")
        for more, labels, value in samples:
            told = ",".join(f'{key}="{escape(each)}"' for key, each in labels.items())
            self._lines.append(f"{full}{more}{total}{'{' + told + '}' if told else ''} {_number(value)}")

    def _program(self, picture: Picture) -> None:
        program = picture.program
        how = "compiled" if program.compiled else "interpreted"
        build = {"version": program.version, "build": how} if picture.shows_version else {"build": how}
        self._family("build_info", "gauge", "Which program this is.", [("", build, 1)])
        self._family("start_time_seconds", "gauge", "When the program was started.", [("", {}, round(program.started_at, 3))])
        self._family("collected_time_seconds", "gauge", "When these figures were collected.", [("", {}, round(program.at, 3))])
        self._family("generation", "gauge", "The number of the configuration that is served.", [("", {}, program.generation)])
        self._family("workers", "gauge", "Workers that run.", [("", {}, program.workers)])
        self._family("workers_replaced", "counter", "Workers that died and were replaced.", [("", {}, program.replaced)])

    def _sites(self, picture: Picture) -> None:
        sites = picture.sites
        codes: list[Sample] = []
        for site in sites:
            codes += [("", {"site": site.name, "code": name}, site.answers(at)) for at, name in enumerate(CLASSES, 1)]
            codes.append(("", {"site": site.name, "code": "none"}, site.answers(0)))
        self._family("http_requests", "counter", "Requests that are over, by the status of their answers.", codes)
        real = [site for site in sites if site.now]
        samples: list[Sample] = [("", {"site": site.name}, site.gauge("active")) for site in real]
        self._family("http_requests_open", "gauge", "Requests of a site that are worked on, tunnels included.", samples)
        for name, kind, key, text in SITE:
            self._family(name, kind, text, [("", {"site": site.name}, _value(site, kind, key)) for site in sites])
        times: list[Sample] = []
        for site in sites:
            times += _histogram(site)
        self._family("http_request_duration_seconds", "histogram", "From the head of a request to the end of its answer.", times)
        self._faults("http_faults", "site", sites)

    def _faults(self, name: str, label: str, parts: Iterable[Part]) -> None:
        samples: list[Sample] = []
        for part in parts:
            for fault, count in sorted(part.faults.items()):
                samples.append(("", {label: part.name, "fault": fault, "side": SIDE_NAMES[KINDS[fault].side]}, count))
        self._family(name, "counter", "What went wrong, by its name in the table of faults.", samples)

    def _servers(self, picture: Picture) -> None:
        servers = [server for upstream in picture.upstreams for server in upstream.servers]
        up = [("", _whose(picture, server), int(server.up)) for server in servers]
        self._family("upstream_server_up", "gauge", "Whether a server takes requests.", up)
        weights = [("", _whose(picture, server), server.weight) for server in servers]
        self._family("upstream_server_weight", "gauge", "The weight of a server.", weights)
        for name, kind, key, text in SERVER:
            self._family(name, kind, text, [("", _whose(picture, server), _value(server, kind, key)) for server in servers])
        codes: list[Sample] = []
        heads: list[Sample] = []
        for server in servers:
            whose = _whose(picture, server)
            codes += [("", {**whose, "code": name}, server.answers(at)) for at, name in enumerate(CLASSES, 1)]
            heads.append(("_count", whose, server.count("heads")))
            heads.append(("_sum", whose, server.count("head_ms") / 1000))
        self._family("upstream_responses", "counter", "Answers of a server, by their status.", codes)
        self._family("upstream_response_head_seconds", "summary", "From the head of a request to that of a server's answer.", heads)


def _whose(picture: Picture, server: ServerPart) -> dict[str, str]:
    return {"upstream": server.upstream, "server": picture.name_of(server)}


def _value(part: Part, kind: str, key: str) -> int:
    return part.count(key) if kind == "counter" else part.gauge(key)


def _histogram(part: Part) -> list[Sample]:
    samples: list[Sample] = []
    so_far = 0
    for bound, count in zip((*BOUNDS_S, None), part.ranges, strict=True):
        so_far += count
        samples.append(("_bucket", {"site": part.name, "le": "+Inf" if bound is None else str(bound)}, so_far))
    samples.append(("_count", {"site": part.name}, so_far))
    samples.append(("_sum", {"site": part.name}, part.count("total_ms") / 1000))
    return samples


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(value)
