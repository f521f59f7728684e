"""What people read at the start and in `vestibule status`."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from vestibule.control.certs import Facts
from vestibule.control.main import Serving
from vestibule.control.summary import summarise, tell_status
from vestibule.dialects import load

CONFIG = """
[sites."photos.example.org"]
to = "http://immich:2283"
cert = "fullchain.pem"
[sites.local]
hosts = ["*"]
listen = "127.0.0.1:8080"
[[sites.local.routes]]
path = "/old"
redirect = "https://photos.example.org/"
[[sites.local.routes]]
path = "/ping"
respond = { status = 200, body = "pong" }
[[sites.local.routes]]
to = "many"
[upstreams.many]
servers = ["https://[fd00::1]:2283", "unix:/run/immich.sock"]
"""


def serving(text: str, **addresses: str) -> Serving:
    loaded = load("a.toml", text)
    assert loaded.config is not None, [each.render() for each in loaded.diagnostics]
    assert loaded.ok, [each.render() for each in loaded.diagnostics]
    end = datetime.now(UTC) + timedelta(days=30, hours=1)
    facts = Facts("photos.example.org", "CN=p", ("photos.example.org",), "CN=R11", end - timedelta(days=60), end, False)
    where = {
        each.name: getattr(each.address, "path", None) or f"{each.address.host}:{each.address.port}" for each in loaded.config.listeners
    }  # type: ignore[union-attr]
    return Serving(loaded.config, {**where, **addresses}, {facts.name: facts}, Path("/state/ca/root.crt"), ["a.toml: warning: mind this"])


def test_the_start_says_where_to_look() -> None:
    lines = list(summarise(serving(CONFIG)))
    assert "  https://photos.example.org/  ->  http://immich:2283" in lines
    assert "  http://photos.example.org/ (redirects to https)  ->  http://immich:2283" in lines
    assert "  http://127.0.0.1:8080/  ->  redirect (308), answer 200, https://[fd00::1]:2283 | unix:/run/immich.sock" in lines
    assert any("photos.example.org: issued by CN=R11, until " in line and "(30 days)" in line for line in lines)
    assert "  a.toml: warning: mind this" in lines
    assert not any("To trust it" in line for line in lines)


def test_the_local_ca_is_explained_where_it_is_used() -> None:
    text = '[sites.localhost]\nto = "http://127.0.0.1:1"\ntls = "internal"\nlisten = "https://*:8443"\n'
    lines = list(summarise(serving(text)))
    assert any(line.startswith("  https://localhost:8443/  ->") for line in lines)
    assert any("/state/ca/root.crt" in line for line in lines)


def test_status_in_words() -> None:
    worker = {
        "slot": 1,
        "pid": 12,
        "uptime_s": 7300.0,
        "replaced": 2,
        "figures": {"requests": 5, "held_back": 0, "log_lines_lost": 2, "resident_bytes": 31_460_000, "pools": {"x": 1}},
    }
    answer = {
        "compiled": True,
        "version": "9",
        "pid": 10,
        "uptime_s": 200_000.0,
        "config": "a.toml",
        "generation": 3,
        "last_reload": {"ok": False, "at": "2026-01-01T00:00:00Z", "reasons": ["a.toml: error: no"]},
        "listeners": {"web": "*:80"},
        "sites": {"a": ["x", "y"]},
        "certificates": [{"hosts": ["x"], "until": "2026-12-31", "days_left": 4}],
        "issued": [
            {"hosts": ["x"], "state": "issued", "issuer": "letsencrypt", "renewal": "2026-11-30 04:05 UTC", "reason": ""},
            {"hosts": ["y"], "state": "failed 2 times, next try later", "reason": "port 80 cannot be reached"},
        ],
        "demanded": {
            "names": 3,
            "pending": 1,
            "working": [{"hosts": ["z"], "state": "asking pebble", "reason": ""}],
            "refused": [{"name": "w", "reason": "not allowed"}],
        },
        "upstream_addresses": {"immich": [], "other": ["10.0.0.1"]},
        "servers": [
            {
                "upstream": "u",
                "server": "a:1",
                "state": "up",
                "checked": True,
                "last_check": "",
                "weight": 2,
                "backup": False,
                "agent": "up 9%",
            },
            {"upstream": "u", "server": "b:1", "state": "down", "checked": True, "last_check": "refused", "weight": 1, "backup": True},
            {"upstream": "u", "server": "c:1", "state": "disabled", "checked": False, "last_check": None, "weight": 1, "backup": False},
        ],
        "workers": [worker, {"slot": 0, "pid": 11, "uptime_s": 5.0, "replaced": 0}],
        "stopping": True,
    }
    text = "\n".join(tell_status(answer))
    assert "on demand      3 names with certificates, 1 worked on" in text
    assert "z: asking pebble" in text
    assert "w is refused: not allowed" in text
    for part in (
        "vestibule 9 (compiled), process 10, up 2 days",
        "refused at 2026-01-01T00:00:00Z:\n               a.toml: error: no",
        "*:80 (web)",
        "a: x, y",
        "x: until 2026-12-31 (4 days)",
        "x: issued by letsencrypt, renewed from 2026-11-30 04:05 UTC",
        "y: failed 2 times, next try later\n               port 80 cannot be reached",
        "u a:1: up, weight 2, check: well, agent: up 9%",
        "immich: no address",
        "other: 10.0.0.1",
        "process 12, up 2 h, replaced 2 times: connections 0, requests 5, log lines lost 2, resident 31.5 MB",
        "process 11, up 5 s: no answer",
        "\nstopping",
    ):
        assert part in text
    assert "pools" not in text and "held" not in text
