"""`vestibule haproxy` as an init system and a person use HAProxy."""

import pathlib
import signal
import socket

from .conftest import Called, is_alive, wait_for

NAME = "haproxy"
CONF = """\
global
    nbthread 1
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 5s
frontend f
    bind "127.0.0.1:${PORT}"
    http-request return status 200 content-type text/plain string one
"""


def test_check(called: Called) -> None:
    (called.folder / "a.cfg").write_text(CONF)
    done = called("-c", "-f", "a.cfg")
    assert (done.returncode, done.stdout) == (0, "Configuration file is valid\n")
    (called.folder / "a.cfg").write_text(CONF + "    nonsense\n")
    done = called("-c", "-f", "a.cfg")
    assert (done.returncode, done.stdout) == (1, "")
    assert "parsing [a.cfg:11:5] : " in done.stderr
    assert called("-c", "-q", "-f", "a.cfg").stderr == ""


def test_several_files_are_one_configuration(called: Called) -> None:
    first, _, rest = CONF.partition("frontend")
    (called.folder / "conf").mkdir()
    (called.folder / "conf" / "1.cfg").write_text(first)
    (called.folder / "conf" / "2.cfg").write_text("frontend" + rest)
    assert called("-c", "-f", "conf").returncode == 0
    assert called("-c", "-f", "conf/1.cfg", "-f", "conf/2.cfg").returncode == 0


def test_daemon_with_a_pid_file(called: Called) -> None:
    (called.folder / "a.cfg").write_text(CONF)
    assert called("-D", "-f", "a.cfg", "-p", "h.pid").returncode == 0
    pid = called.pid("h.pid")
    assert called.get() == b"one"
    (called.folder / "a.cfg").write_text(CONF.replace("one", "two"))
    assert called("-D", "-f", "a.cfg", "-p", "h.pid", "-sf", str(pid)).returncode == 0
    assert wait_for(lambda: not is_alive(pid))
    called.pid("h.pid")
    assert called.get() == b"two"


def test_master_reloads_and_its_status_tells_the_signal(called: Called) -> None:
    (called.folder / "a.cfg").write_text(CONF)
    process = called.begin("-W", "-f", "a.cfg")
    assert called.serves(b"one")
    (called.folder / "a.cfg").write_text(CONF.replace("one", "two"))
    process.send_signal(signal.SIGUSR2)
    assert called.serves(b"two")
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130


def test_foreground_ends_well(called: Called) -> None:
    (called.folder / "a.cfg").write_text(CONF)
    process = called.begin("-db", "-f", "a.cfg")
    assert called.serves(b"one")
    process.send_signal(signal.SIGUSR1)
    assert process.wait(10) == 0


def test_a_listener_that_is_inherited(called: Called) -> None:
    (called.folder / "a.cfg").write_text(CONF.replace("127.0.0.1:${PORT}", "fd@${fe1}"))
    with socket.create_server(("127.0.0.1", called.port)) as listener:
        listener.set_inheritable(True)
        called.environment["fe1"] = str(listener.fileno())
        called.begin("-db", "-f", "a.cfg", keep=(listener.fileno(),))
        assert called.serves(b"one")


def test_a_request_may_say_no_host_and_with_d_all_are_in_one_worker(called: Called) -> None:
    (called.folder / "a.cfg").write_text(CONF.replace("nbthread 1", "daemon"))
    process = called.begin("-d", "-f", "a.cfg")
    assert called.serves(b"one")
    with socket.create_connection(("127.0.0.1", called.port), 10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert b"".join(iter(lambda: client.recv(1000), b"")).startswith(b"HTTP/1.1 200 OK\r\n")
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 1
    process.send_signal(signal.SIGUSR1)
    assert process.wait(10) == 0


def test_conditions(called: Called) -> None:
    assert called("-cc", "version_atleast(2.4) && feature(OPENSSL)").returncode == 0
    assert called("-cc", "version_atleast(3.4)").returncode == 1
    assert called("-cc", "nonsense(").returncode == 1


def test_versions_and_flags(called: Called) -> None:
    assert called("-v").stdout.startswith("HAProxy version 2.")
    assert "+OPENSSL" in called("-vv").stdout
    assert called("-y").returncode == 1
    assert called("-c").returncode == 1
