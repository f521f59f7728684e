"""`vestibule caddy` as people use Caddy."""

import json
import signal
import subprocess
import sys
import time

import bcrypt
import pytest

from vestibule.dialects.caddy import parse
from vestibule.originals.caddy_tools import TAKES, Refused, caddyfile_of, quoted
from vestibule.originals.launch import split_flags

from .conftest import Called

NAME = "caddy"
CONF = "http://:PORT {\n\tbind 127.0.0.1\n\trespond one\n}\n"


def test_run_reload_and_stop(called: Called) -> None:
    called.write("Caddyfile", CONF)
    process = called.begin("run", "--config", "Caddyfile", "--adapter=caddyfile", "--pidfile", "c.pid")
    assert called.serves(b"one")
    assert called.pid("c.pid") == process.pid
    assert called.obeys()
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
    assert "no saved configuration" in called("run", "--resume").stderr
    assert called("reload").returncode == 1
    for words in (("run", "--help"), ("help", "run"), ("-h",)):
        done = called(*words)
        assert (done.returncode, done.stdout.startswith("usage: caddy ")) == (0, True), words
    assert called("build-info").stdout.startswith("vestibule\t")
    assert called("list-modules", "--skip-standard", "--packages", "--versions").stdout == ""
    assert called("fmt", "nowhere").stderr == "Error: reading input file: nowhere: No such file or directory\n"


def test_stop_by_an_address_ends_nobody_else(called: Called) -> None:
    called.write("Caddyfile", CONF)
    process = called.begin("run")
    assert called.serves(b"one")
    assert "stop the program by its pid file" in called("stop", "--address", "unix//run/other.sock").stderr
    assert process.poll() is None
    assert called.get() == b"one"
    assert called("stop", "--address", "localhost:2019").returncode == 0
    assert process.wait(10) == 0


def test_a_watched_file_is_read_anew(called: Called) -> None:
    called.write("Caddyfile", CONF)
    called.begin("run", "--config", "Caddyfile", "--watch")
    assert called.serves(b"one")
    called.write("Caddyfile", CONF.replace("one", "two"))
    assert called.serves(b"two")
    called.write("Caddyfile", CONF.replace("respond", "respnd"))
    time.sleep(1.5)
    assert called.get() == b"two", "a file with mistakes changes nothing"


def test_flags_of_unit_files(called: Called) -> None:
    """As Debian starts it, and as people do who keep secrets in a file of their own."""
    called.write("Caddyfile", CONF.replace("respond one", 'respond "{$WHO} {$WHOSE:nobody}"'))
    called.write("env", "# names\nexport WHO='one of'\n\nWHOSE=two # not three\nPATH=/nowhere\n")
    process = called.begin("run", "--environ", "--config", "Caddyfile", "--envfile", "env", "--resume")
    assert called.serves(b"one of two")
    assert called.obeys()
    done = called("reload", "--config", "Caddyfile", "--force", "--address", "localhost:2019")
    assert (done.returncode, "admin socket" in done.stderr) == (0, True)
    assert called("stop", "--config", "Caddyfile").returncode == 0
    assert process.wait(10) == 0
    assert "WHO=one of\n" in called("run", "--environ", "--config", "none", "--envfile", "env").stdout


@pytest.mark.parametrize("text", ["WHO", "=x", "a b=c"])
def test_files_of_variables_that_are_none(called: Called, text: str) -> None:
    called.write("env", f"A=1\n{text}\n")
    assert "env:2: write NAME=VALUE" in called("validate", "--envfile", "env").stderr


def test_a_configuration_in_json_is_served(called: Called) -> None:
    routes = [{"handle": [{"handler": "static_response", "body": "one"}]}]
    servers = {"srv0": {"listen": [f"127.0.0.1:{called.port}"], "routes": routes}}
    called.write("caddy.json", json.dumps({"apps": {"http": {"servers": servers}}}))
    assert called("validate", "--config", "caddy.json").returncode == 0
    called.begin("run", "--config", "caddy.json")
    assert called.serves(b"one")


def test_respond_needs_no_file(called: Called) -> None:
    called.begin("respond", "--listen", f"127.0.0.1:{called.port}", "hello")
    assert called.serves(b"hello")


def made(command: str, *words: str) -> str:
    flags, others = split_flags(list(words), TAKES[command])
    return caddyfile_of(command, flags, others)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("reverse-proxy", "--to", "a:80"), "localhost {\n\treverse_proxy `a:80` {\n\t}\n}\n"),
        (
            (
                "reverse-proxy",
                "--from",
                ":80",
                "--to",
                "a:80,b:80",
                "-t",
                "https://c",
                "-c",
                "--insecure",
                "-i",
                "-r",
                "-v",
                "-H",
                "X-A: b c",
            ),
            "{\n\tlocal_certs\n\tauto_https disable_redirects\n\tdebug\n}\n:80 {\n\treverse_proxy `a:80` `b:80` `https://c` {\n"
            "\t\theader_up `X-A` `b c`\n\t\theader_up Host {upstream_hostport}\n\t\ttransport http {\n\t\t\ttls_insecure_skip_verify\n"
            "\t\t}\n\t}\n}\n",
        ),
        (
            ("file-server", "--root", "/srv", "--browse", "-a", "-p", "br,gzip"),
            "http://:80 {\n\tlog\n\troot * `/srv`\n\tfile_server {\n\t\tbrowse\n\t\tprecompressed br gzip\n\t}\n}\n",
        ),
        (
            ("file-server", "-r", "/srv", "-d", "a.example.net", "-l", "[::1]:81"),
            "a.example.net:81 {\n\tbind ::1\n\troot * `/srv`\n\tfile_server {\n\t}\n}\n",
        ),
        (
            ("respond", "-l", ":81", "-H", "X-A: b", "404", "not `here"),
            'http://:81 {\n\theader `X-A` `b`\n\trespond "not `here" 404\n}\n',
        ),
        (("respond", "-b", "x", "-s", "201"), "http://:80 {\n\trespond `x` 201\n}\n"),
    ],
)
def test_what_flags_stand_for(words: tuple[str, ...], wanted: str) -> None:
    text = made(*words)
    assert text == wanted
    assert parse("flags", text).config is not None


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("reverse-proxy",), "--to is required"),
        (("reverse-proxy", "--to", "a", "b"), "unexpected argument: b"),
        (("file-server", "--templates"), "templates"),
        (("file-server", "x"), "unexpected argument: x"),
        (("respond", "a", "b"), "unexpected argument: b"),
        (("respond", "-H", "nonsense"), "write NAME: VALUE"),
    ],
)
def test_flags_that_make_no_sense(words: tuple[str, ...], why: str) -> None:
    with pytest.raises(Refused, match=why):
        made(*words)
    with pytest.raises(Refused):
        quoted('`"')


def test_passwords_are_hashed(called: Called) -> None:
    done = called("hash-password", "--plaintext", "secret", "--bcrypt-cost", "4")
    assert done.stdout.startswith("$2a$04$")
    assert bcrypt.checkpw(b"secret", done.stdout.strip().encode())
    assert called("hash-password", "--plaintext", "x" * 73).returncode == 1
    assert "unrecognized hash algorithm" in called("hash-password", "-a", "md5").stderr
    # As Caddy 2.6 prints it.
    done = called("hash-password", "--plaintext", "abc", "--algorithm", "scrypt", "--salt", "abcdefgh")
    assert done.stdout == "OR04Cu1Q+Xbx9KfqW1UhpMeWXfHRM8s4jRlvzt0k8aI=\n"
    command = [sys.executable, "-m", "vestibule", "caddy", "hash-password", "--bcrypt-cost", "4"]
    typed = subprocess.run(command, input="typed\n", env=called.environment, capture_output=True, text=True, timeout=20, check=True)
    assert bcrypt.checkpw(b"typed", typed.stdout.strip().encode())


def test_files_are_formatted(called: Called) -> None:
    called.write("Caddyfile", "a  {\n}\n")
    assert called("fmt").stdout == "a {\n}\n"
    assert "- a  {\n" in called("fmt", "--diff").stdout
    assert called("fmt", "--overwrite", "Caddyfile").stdout == ""
    assert (called.folder / "Caddyfile").read_text() == "a {\n}\n"
    assert called("fmt", "nothing").returncode == 1


def test_other_commands(called: Called) -> None:
    assert f"PORT={called.port}\n" in called("environ").stdout
    assert "--to is required" in called("reverse-proxy").stderr
    assert "requires a value" in called("respond", "--body").stderr
