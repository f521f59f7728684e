"""`vestibule nginx` as an init system and a person use nginx."""

import contextlib
import os
import re
import signal
import socket
import time

from tests.control.test_resolver import NameServer

from .conftest import Called, is_alive, wait_for

NAME = "nginx"
CONF = """\
pid FOLDER/nginx.pid;
error_log FOLDER/error.log debug;
events {}
http {
    access_log FOLDER/access.log;
    server { listen 127.0.0.1:PORT; return 200 "one"; }
}
"""


def test_check(called: Called) -> None:
    called.write("nginx.conf", CONF)
    done = called("-p", f"{called.folder}/", "-c", "nginx.conf", "-t")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith(
        f"nginx: the configuration file {called.folder}/nginx.conf syntax is ok\n"
        f"nginx: configuration file {called.folder}/nginx.conf test is successful\n"
    )
    assert called("-p", str(called.folder), "-c", "nginx.conf", "-t", "-q").stderr == ""


def test_check_of_a_bad_file(called: Called) -> None:
    called.write("nginx.conf", "events {}\nhttp {\n    sever {}\n}\n")
    done = called("-p", str(called.folder), "-c", "nginx.conf", "-t")
    assert done.returncode == 1
    assert "nginx: [emerg] " in done.stderr
    assert f" in {called.folder}/nginx.conf:3" in done.stderr
    assert done.stderr.endswith("nginx.conf test failed\n")


def test_dump(called: Called) -> None:
    called.write("inner.conf", "server { listen 127.0.0.1:PORT; return 204; }\n")
    called.write("nginx.conf", "events {}\nhttp {\n    include inner.conf;\n}\n")
    done = called("-p", str(called.folder), "-c", "nginx.conf", "-T")
    assert done.returncode == 0
    assert f"# configuration file {called.folder}/nginx.conf:\nevents {{}}" in done.stdout
    assert f"# configuration file {called.folder}/inner.conf:\nserver" in done.stdout


def test_daemon_reload_reopen_and_quit(called: Called) -> None:
    called.write("nginx.conf", CONF)
    flags = ("-p", f"{called.folder}/", "-c", "nginx.conf")
    assert called(*flags).returncode == 0
    pid = called.pid("nginx.pid")
    assert called.get() == b"one"
    called.write("nginx.conf", CONF.replace("one", "two"))
    assert called(*flags, "-s", "reload").returncode == 0
    assert called.serves(b"two")
    (called.folder / "access.log").rename(called.folder / "access.log.1")
    assert called(*flags, "-s", "reopen").returncode == 0
    assert wait_for((called.folder / "access.log").exists)
    assert called(*flags, "-s", "quit").returncode == 0
    assert wait_for(lambda: not is_alive(pid))
    assert not (called.folder / "nginx.pid").exists()
    assert "[alert]" not in (called.folder / "error.log").read_text()


def test_a_bad_reload_changes_nothing(called: Called) -> None:
    called.write("nginx.conf", CONF)
    flags = ("-p", f"{called.folder}/", "-c", "nginx.conf")
    assert called(*flags).returncode == 0
    pid = called.pid("nginx.pid")
    called.write("nginx.conf", CONF.replace("return 200", "retrun 200"))
    os.kill(pid, signal.SIGHUP)
    assert wait_for(lambda: "refused" in (called.folder / "error.log").read_text())
    assert called.get() == b"one"
    os.kill(pid, signal.SIGTERM)
    assert wait_for(lambda: not is_alive(pid))


def test_foreground_by_a_directive_on_the_command_line(called: Called) -> None:
    called.write("nginx.conf", CONF)
    process = called.begin("-p", f"{called.folder}/", "-c", "nginx.conf", "-g", "daemon off; worker_processes 1;")
    assert called.serves(b"one")
    process.send_signal(signal.SIGQUIT)
    assert process.wait(10) == 0


def test_a_start_that_fails_says_so(called: Called) -> None:
    called.write("nginx.conf", CONF.replace("127.0.0.1:PORT", "192.0.2.1:80"))
    done = called("-p", f"{called.folder}/", "-c", "nginx.conf")
    assert done.returncode == 1
    assert "nginx: [emerg] " in done.stderr


def test_versions_and_flags(called: Called) -> None:
    assert called("-v").stderr.startswith("nginx version: nginx/1.")
    lines = called("-V").stderr.splitlines()
    assert lines[1].startswith("built with OpenSSL ")
    assert lines[2] == "TLS SNI support enabled"
    assert "--with-http_v2_module" in lines[3]
    assert called("-x").stderr == 'nginx: invalid option: "-x"\n'
    assert called("-s", "nonsense").returncode == 1
    assert "Usage: nginx" in called("-h").stderr


def test_heads_may_end_their_lines_with_lf_alone(called: Called) -> None:
    called.write("nginx.conf", CONF.replace("error_log", "#"))
    process = called.begin("-p", f"{called.folder}/", "-c", "nginx.conf", "-e", "e.log", "-g", "daemon off; worker_processes 1;")
    assert called.serves(b"one")
    with socket.create_connection(("127.0.0.1", called.port), 10) as client:
        client.sendall(b"GET / HTTP/1.0\nHost: a\n\n")
        answer = b"".join(iter(lambda: client.recv(1000), b""))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    process.send_signal(signal.SIGQUIT)
    assert process.wait(10) == 0
    assert (called.folder / "e.log").exists()


def test_status_lines_have_the_words_of_nginx(called: Called) -> None:
    called.write("nginx.conf", CONF.replace('return 200 "one";', "location / { return 200 one; } location /a { return 302 /; }"))
    process = called.begin("-p", f"{called.folder}/", "-c", "nginx.conf", "-g", "daemon off;")
    assert called.serves(b"one")
    with socket.create_connection(("127.0.0.1", called.port), 10) as client:
        client.sendall(b"GET /a HTTP/1.0\r\nHost: x\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 302 Moved Temporarily\r\n")
    process.send_signal(signal.SIGQUIT)
    assert process.wait(10) == 0


def test_444_is_no_answer(called: Called) -> None:
    called.write("nginx.conf", CONF.replace('return 200 "one";', 'if ($http_host = x) { return 444; } return 200 "one";'))
    process = called.begin("-p", f"{called.folder}/", "-c", "nginx.conf", "-g", "daemon off;")
    assert called.serves(b"one")
    with socket.create_connection(("127.0.0.1", called.port), 10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        said = b""
        with contextlib.suppress(ConnectionResetError):
            said = client.recv(1000)
        assert said == b""
    process.send_signal(signal.SIGQUIT)
    assert process.wait(10) == 0


NAMED = """\
events {}
http {
    server {
        listen 127.0.0.1:PORT;
        RESOLVER
        location / { proxy_pass http://$arg_to:PORT/inner; }
        location /inner { return 200 "inside"; }
    }
}
"""


def status_of(called: Called, to: str) -> bytes:
    """Return the status of a request that names a host."""
    with socket.create_connection(("127.0.0.1", called.port), 20) as client:
        client.sendall(f"GET /a?to={to} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        return b"".join(iter(lambda: client.recv(4096), b"")).split(b" ")[1]


def test_a_host_that_a_request_names_is_looked_up(called: Called) -> None:
    """Nobody knows it before, and the control process asks the system; that it does not exist is no silence either."""
    called.write("nginx.conf", NAMED.replace("RESOLVER", ""))
    process = called.begin("-p", f"{called.folder}/", "-c", "nginx.conf", "-g", "daemon off;")
    assert wait_for(lambda: called.get() != b"")
    for to, status in (("localhost", b"200"), ("nowhere.invalid", b"502"), ("localhost", b"200")):
        assert status_of(called, to) == status, to
    process.send_signal(signal.SIGQUIT)
    assert process.wait(10) == 0


def test_a_host_is_asked_of_the_resolver_of_the_file(called: Called) -> None:
    server = NameServer(30, {"inner.test A": ["127.0.0.1"], "inner.test AAAA": []})
    try:
        dns = f"resolver 127.0.0.1:{server.sock.getsockname()[1]} valid=30s;"
        called.write("nginx.conf", NAMED.replace("RESOLVER", dns))
        process = called.begin("-p", f"{called.folder}/", "-c", "nginx.conf", "-g", "daemon off;")
        assert wait_for(lambda: called.get() != b"")
        for to, status in (("inner.test", b"200"), ("localhost", b"502")):
            assert status_of(called, to) == status, to
        process.send_signal(signal.SIGQUIT)
        assert process.wait(10) == 0
    finally:
        server.close()


REFUSING = """
pid FOLDER/nginx.pid;
error_log FOLDER/error.log notice;
events {}
http {
    access_log FOLDER/access.log;
    limit_req_zone $server_name zone=few:1m rate=1r/m;
    limit_req_zone $server_name zone=slow:1m rate=10r/s;
    limit_req_zone $server_name zone=shown:1m rate=1r/m;
    limit_conn_zone $server_name zone=one:1m;
    server {
        listen 127.0.0.1:PORT;
        server_name site.test;
        root FOLDER;
        log_not_found off;
        location / { log_not_found on; }
        location = /few { return 200; }
        location /few/file { limit_req zone=few; }
        location /slow/file { limit_req zone=slow burst=5; }
        location /tried/file { limit_conn one 1; limit_conn_dry_run on; limit_conn_log_level warn; proxy_pass http://127.0.0.1:PORT/inner; }
        location /inner { limit_conn one 1; limit_conn_log_level info; }
        location /tries { log_not_found on; try_files $uri =404; }
        location /denied { deny 127.0.0.1; }
        location /secret { auth_basic "closed"; auth_basic_user_file FOLDER/users; }
        location /shown { limit_req zone=shown; error_page 503 /page; }
        location /page { error_page 404 /none; return 200; }
    }
}
"""


TOLD = re.compile(
    r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(\w+)\] (?:\d+)#\d+: \*\d+ (.*), client: 127\.0\.0\.1, server: site\.test, "
    r'request: "GET /(\S+) HTTP/1\.0", host: "me"'
)


def test_the_error_log_tells_of_refusals_as_that_of_nginx(called: Called) -> None:
    """What bans clients looks for these lines."""
    called.write("nginx.conf", REFUSING)
    called.write("users", "alice:{PLAIN}secret\n")
    process = called.begin("-p", f"{called.folder}/", "-c", "nginx.conf", "-g", "daemon off;")
    assert wait_for(lambda: called.get() != b"")
    words = {"": "", "alice": "YWxpY2U6eA==", "bob": "Ym9iOng="}
    asked = [("few/file", ""), ("few/file", ""), ("slow/file", ""), ("slow/file", ""), ("tried/file", ""), ("denied", "")]
    for path, user in (
        *asked,
        ("secret", ""),
        ("secret", "alice"),
        ("secret", "bob"),
        ("shown", ""),
        ("shown", ""),
        ("wp-login.php", ""),
        ("tries/x", ""),
    ):
        with socket.create_connection(("127.0.0.1", called.port), 20) as client:
            head = f"GET /{path} HTTP/1.0\r\nHost: me\r\n" + (f"Authorization: Basic {words[user]}\r\n" if user else "")
            client.sendall(head.encode() + b"\r\n")
            assert b"".join(iter(lambda: client.recv(4096), b""))
    process.send_signal(signal.SIGQUIT)
    assert process.wait(10) == 0
    lines = (called.folder / "error.log").read_text().splitlines()
    found = [match for match in map(TOLD.fullmatch, lines) if match is not None]
    assert [(match[1], re.sub(r"\d\.\d{3}", "N", match[2]), match[3]) for match in found] == [
        ("error", 'limiting requests, excess: N by zone "few"', "few/file"),
        ("warn", 'delaying request, excess: N, by zone "slow"', "slow/file"),
        ("error", "access forbidden by rule", "denied"),
        ("error", 'user "alice": password mismatch', "secret"),
        ("error", f'user "bob" was not found in "{called.folder}/users"', "secret"),
        ("error", 'limiting requests, excess: N by zone "shown"', "shown"),
        ("error", f'open() "{called.folder}/wp-login.php" failed (2: No such file or directory)', "wp-login.php"),
    ]


def test_lines_that_name_their_log(called: Called) -> None:
    logged = CONF.replace("access_log FOLDER/access.log;", "access_log FOLDER/logs/$arg_a.log;")
    called.write("nginx.conf", logged)
    (called.folder / "logs").mkdir()
    flags = ("-p", f"{called.folder}/", "-c", "nginx.conf")
    assert called(*flags).returncode == 0
    for name in ("x", "x", "../y"):
        assert called.get(f"/?a={name}") == b"one"
    assert wait_for(lambda: (called.folder / "logs/x.log").exists() and (called.folder / "logs/__y.log").exists())
    assert called(*flags, "-s", "quit").returncode == 0
    assert wait_for(lambda: not (called.folder / "nginx.pid").exists())
    assert (called.folder / "logs/x.log").read_text().count("GET /?a=x ") == 2


_KEPT = """
        keepalive_timeout 60 9;
        location / { return 200 "one"; }
        location /some { keepalive_requests 2; return 200 "some"; }
        location /zero { keepalive_timeout 0; return 200 "zero"; }
        location /old { keepalive_time 300ms; return 200 "old"; }
        location /safari { keepalive_disable safari; return 200 "safari"; }
"""


def test_connections_are_kept_as_locations_say(called: Called) -> None:
    called.write("nginx.conf", CONF.replace('return 200 "one";', _KEPT))
    process = called.begin("-p", f"{called.folder}/", "-c", "nginx.conf", "-g", "daemon off; worker_processes 1;")
    assert called.serves(b"one")
    kept, ends = b"Connection: keep-alive\r\nKeep-Alive: timeout=9\r\n", b"Connection: close\r\n"

    def said(*requests: bytes) -> list[bytes]:
        """Return what heads of answers say of the connection, which may be left idle after the first."""
        found = []
        with socket.create_connection(("127.0.0.1", called.port), 10) as client:
            for at, each in enumerate(requests):
                time.sleep(0.4 if at == 1 else 0)
                head, _, rest = each.partition(b"|")
                client.sendall(head + b" HTTP/1.1\r\nHost: a\r\n" + (rest or b"\r\n"))
                answer = b""
                while b"\r\n\r\n" not in answer or not answer.partition(b"\r\n\r\n")[2]:
                    answer += client.recv(1000)
                found.append(next((each for each in (kept, ends, b"Connection: keep-alive\r\n") if each in answer), answer))
        return found

    assert said(b"GET /", b"GET /") == [kept, kept]
    assert said(b"GET /some", b"GET /some") == [kept, ends]
    assert said(b"GET /zero") == [ends]
    assert said(b"GET /old", b"GET /old") == [kept, ends]
    assert said(b"GET /safari", b"GET /safari|User-Agent: Mac OS X Safari/7\r\n\r\n") == [kept, ends]
    # What nobody reads of a request costs no connection, if it is little.
    assert said(b"POST /|Content-Length: 5\r\n\r\nab", b"cdeGET /") == [kept, kept]
    assert said(b"POST /|Content-Length: 500000\r\n\r\nab") == [ends]
    with socket.create_connection(("127.0.0.1", called.port), 10) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
        assert b"".join(iter(lambda: client.recv(1000), b"")).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")
    for bad in (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\nHost:\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", called.port), 10) as client:
            client.sendall(bad)
            assert client.recv(1000).startswith(b"HTTP/1.1 400 ")
    process.send_signal(signal.SIGQUIT)
    assert process.wait(10) == 0
