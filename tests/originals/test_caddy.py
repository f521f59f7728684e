"""`vestibule caddy` as people use Caddy."""

import signal

from .conftest import Called

NAME = "caddy"
CONF = "http://:PORT {\n\tbind 127.0.0.1\n\trespond one\n}\n"


def test_run_reload_and_stop(called: Called) -> None:
    called.write("Caddyfile", CONF)
    process = called.begin("run", "--config", "Caddyfile", "--adapter=caddyfile", "--pidfile", "c.pid")
    assert called.serves(b"one")
    assert called.pid("c.pid") == process.pid
    called.write("Caddyfile", CONF.replace("one", "two"))
    assert called("reload", "--config", "Caddyfile").returncode == 0
    assert called.get() == b"two"
    assert called("stop").returncode == 0
    assert process.wait(10) == 0


def test_start_goes_into_the_background(called: Called) -> None:
    called.write("Caddyfile", CONF)
    assert called("start", "--pidfile", "c.pid").returncode == 0
    called.pid("c.pid")
    assert called.get() == b"one"
    assert called("stop").returncode == 0


def test_validate_and_adapt(called: Called) -> None:
    called.write("Caddyfile", CONF)
    done = called("validate", "--config", "Caddyfile")
    assert (done.returncode, done.stdout) == (0, "Valid configuration\n")
    assert '"sites"' in called("adapt").stdout
    called.write("Caddyfile", CONF.replace("respond", "respnd"))
    done = called("validate")
    assert done.returncode == 1
    assert "Caddyfile:3:2: error: " in done.stderr
    assert called("run").returncode == 1


def test_foreground_ends_well(called: Called) -> None:
    called.write("Caddyfile", CONF)
    process = called.begin("run")
    assert called.serves(b"one")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_versions_and_flags(called: Called) -> None:
    assert called("version").stdout.startswith("v2.")
    assert "http.handlers.reverse_proxy\n" in called("list-modules").stdout
    assert "error" in called("frobnicate").stderr.lower()
    assert "not watched" in called("run", "--watch").stderr
    assert called("reload").returncode == 1
