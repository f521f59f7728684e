"""A proxy with two sites, a listener that passes connections on, and two upstreams, as its figures say."""

from typing import Any

from vestibule.control.metrics.picture import Picture, Program, make_picture
from vestibule.model.config import Config, Listener, Proxy, Server, Site, TcpAddress, TcpRoute, Upstream

PROGRAM = Program("1.2", True, 77, 1_700_000_000.0, 1_700_090_061.5, 3, 2, 1)

CONFIG = Config(
    (Listener("front", TcpAddress(80)), Listener("raw", TcpAddress(443), routes=(TcpRoute("app"),))),
    (Site("photos", ("a.example",), ("front",), Proxy("app")), Site('o"dd\n', ("b.example",), ("front",), Proxy("many"))),
    (
        Upstream("app", (Server("10.0.0.1", 80), Server("10.0.0.2", 80, backup=True))),
        Upstream("many", (Server("app.lan", 8080, resolve="all"),)),
    ),
)


def row(upstream: str, server: str, configured: str = "", **more: object) -> dict[str, Any]:
    """How a server stands, as `Health.report` says it."""
    usual = {"state": "up", "checked": False, "last_check": None, "weight": 1, "usual_weight": 1, "backup": False, "since_s": 60.0}
    return {"upstream": upstream, "server": server, "configured": configured or server, "agent": None, **usual, **more}


ROWS = [
    row("app", "10.0.0.1:80", checked=True, last_check=""),
    row("app", "10.0.0.2:80", backup=True, state="down", checked=True, last_check="refused, twice", since_s=5),
    row("many", "10.1.0.1:8080", "app.lan:8080", state="disabled"),
    row("many", "10.1.0.2:8080", "app.lan:8080", weight=3),
]

COUNTERS: dict[str, Any] = {
    "process": {"accepted": 10, "requests": 20, "held_back": 0, "refused_headers": 0, "handshakes_failed": 2, "sessions_refused": 3,
                "datagrams_dropped": 1, "log_lines_lost": 0},
    "sites": {
        "photos": {
            "ended": 9, "classes": {"0": 1, "1": 0, "2": 6, "3": 0, "4": 1, "5": 1}, "bytes_in": 100, "bytes_out": 5000, "total_ms": 1500,
            "ranges": {"0": 5, "3": 3, "14": 1}, "faults": {"upstream.timeout_head": 1, "proxy.denied": 2, "client.bad_syntax": 1},
        },
        "gone": {"ended": 4},
    },
    "listeners": {"raw": {"ended": 2, "bytes_in": 7, "bytes_out": 8, "faults": {"client.gone": 1}}},
    "servers": {
        "app": {
            "10.0.0.1:80": {
                "attempts": 8, "failures": 2, "retries": 1, "classes": {"2": 6}, "bytes_in": 4000, "bytes_out": 90,
                "heads": 6, "head_ms": 60,
            },
        },
        "many": {"app.lan:8080": {"attempts": 3, "classes": {"2": 3}}},
    },
}  # fmt: skip

GAUGES: dict[str, Any] = {
    "process": {"connections": 4, "exchanges": 3, "tunnels": 1, "sessions": 5, "handshakes_waiting": 0, "resident_bytes": 1000},
    "sites": {"photos": {"active": 3}},
    "servers": {"app": {"10.0.0.1:80": {"connections": 3, "idle": 1, "active": 2, "waiting": 1}}},
}


def picture() -> Picture:
    """Return the whole."""
    return make_picture(PROGRAM, CONFIG, COUNTERS, GAUGES, ROWS)
