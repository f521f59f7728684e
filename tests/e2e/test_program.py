"""The program as its user meets it: commands, signals, reloads, workers and logs.

Not here: what one request meets (the other files).
"""

import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .client import Client, Truncated, close_all
from .ports import free_ports
from .rig import SOURCES, STOP_S, Rig, Vestibule, build, run_command, settings, tear_down
from .test_upgrade import agree_and_echo
from .upstream import Turn, Upstream

Make = Callable[..., Rig]
JSON = ("Accept", "application/json")
AGREE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"

GOOD = '[sites."photos.test"]\nlisten = "127.0.0.1:8080"\nto = "http://127.0.0.1:2283"\n'
BAD = '[sites."photos.test"]\nto = "ftp://immich"\nlitsen = "8080"\n[timeouts]\nconnect = "soon"\n'


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A proxy of the test's own, with two workers."""
    made = build(tmp_path, workers=2)
    yield made
    tear_down(made)


# ---------------------------------------------------------------- commands


def test_check_says_ok(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(GOOD)
    done = run_command("check", "good.toml", folder=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, "ok")


def test_check_lists_every_mistake_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(BAD)
    done = run_command("check", "bad.toml", folder=tmp_path)
    assert done.returncode == 1
    lines = (done.stdout + done.stderr).splitlines()
    for key in ("to", "litsen", "timeouts.connect"):
        assert any(line.startswith("bad.toml:") and key in line and "error:" in line for line in lines), key
    assert any("listen" in line for line in lines if "litsen" in line), "a near miss is not pointed out"


def test_check_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = run_command("check", "none.toml", folder=tmp_path)
    assert done.returncode == 1
    assert "none.toml" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_adapt_prints_the_model(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(GOOD)
    done = run_command("adapt", "good.toml", folder=tmp_path)
    assert done.returncode == 0
    assert [site["name"] for site in json.loads(done.stdout)["sites"]] == ["photos.test"]


def test_version_says_how_it_runs(tmp_path: Path) -> None:
    done = run_command("version", folder=tmp_path)
    assert done.returncode == 0
    assert ("compiled" in done.stdout) is not ("interpreted" in done.stdout)


def test_run_refuses_a_bad_file(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(BAD)
    done = run_command("run", "bad.toml", folder=tmp_path)
    assert done.returncode == 1
    assert "litsen" in done.stderr
    assert "Traceback" not in done.stderr


def test_run_says_which_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "a.toml").write_text(f'{settings(tmp_path)}[sites."*"]\nlisten = "127.0.0.1:{port}"\nto = "http://127.0.0.1:1"\n')
        done = run_command("run", "a.toml", folder=tmp_path)
    assert done.returncode == 1
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr


def test_status_tells_of_workers(rig: Rig) -> None:
    told = rig.proxy.control("status")
    assert told.returncode == 0
    for pid in rig.proxy.workers:
        assert str(pid) in told.stdout
    assert json.loads(rig.proxy.control("status", "--json").stdout)["pid"] == rig.proxy.pid


def test_commands_without_a_running_program_say_so(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(settings(tmp_path) + GOOD)
    done = run_command("reload", "--config", "a.toml", folder=tmp_path)
    assert done.returncode == 1
    assert "running" in done.stderr


# ---------------------------------------------------------------- reload


def test_reload_changes_what_is_served(rig: Rig) -> None:
    assert rig.client.get("/").body == b"ok"
    config = rig.proxy.file.read_text()
    rig.proxy.write(config.replace('to = "http', 'respond = { status = 200, body = "new" } # "'))
    assert rig.proxy.control("reload").returncode == 0
    assert rig.client.get("/").body == b"new"


def test_refused_reload_leaves_the_old_configuration(rig: Rig) -> None:
    config = rig.proxy.file.read_text()
    rig.proxy.write(config + "nonsense = 1\n")
    done = rig.proxy.control("reload")
    assert done.returncode == 1
    assert "nonsense" in done.stderr
    assert rig.client.get("/").body == b"ok"


def test_reload_keeps_what_is_in_flight(rig: Rig, version: str) -> None:
    """A slow upload, a slow answer, a WebSocket and an idle connection live through it."""
    rig = rig.speaking(version)
    go = threading.Event()

    def script(turn: Turn) -> None:
        if turn.request.find("Upgrade"):
            agree_and_echo(turn)
        elif turn.request.target == b"/slow":
            turn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            go.wait(20)
            turn.send(b"world")
        else:
            turn.answer(turn.read_body() or b"ok")

    rig.upstream.script = script
    tunnel = rig.client.open_tunnel("/")
    upload = rig.client.open("POST", "/upload", length=10)
    upload.send_body(b"hello")
    slow = rig.client.open("GET", "/slow")
    idle = rig.client.connect()
    assert rig.client.request("GET", "/", wire=idle).body == b"ok"
    rig.upstream.take(4)
    for _ in range(3):
        assert rig.proxy.control("reload").returncode == 0
    config = rig.proxy.file.read_text()
    rig.proxy.write(config.replace('to = "http', 'respond = { status = 200, body = "new" } # "'))
    rig.proxy.signal(signal.SIGHUP)
    assert rig.proxy.wait_until(lambda: rig.client.get("/").body == b"new")
    tunnel.send(b"ping")
    assert tunnel.read(4) == b"ping"
    upload.send_body(b"world")
    upload.end_body()
    assert upload.read_response().body == b"helloworld"
    go.set()
    assert slow.read_response().body == b"helloworld"
    assert rig.client.request("GET", "/", wire=idle).body == b"new", "an idle connection keeps the old table"


def test_reload_opens_and_closes_ports(rig: Rig) -> None:
    config = rig.proxy.file.read_text()
    other = free_ports(1)[0]
    rig.proxy.write(config.replace(f":{rig.port}", f":{other}"))
    assert rig.proxy.control("reload").returncode == 0
    assert Client(("127.0.0.1", other)).get("/").status == 200

    def is_closed() -> bool:
        try:
            socket.create_connection(("127.0.0.1", rig.port), 1).close()
        except OSError:
            return True
        return False

    assert rig.proxy.wait_until(is_closed)


def test_requests_go_on_while_it_is_reloaded(rig: Rig) -> None:
    statuses: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                statuses.append(rig.client.get("/").status)
            except (OSError, Truncated):
                statuses.append(0)
            time.sleep(0.005)

    thread = threading.Thread(target=ask)
    thread.start()
    for _ in range(4):
        assert rig.proxy.control("reload").returncode == 0
    stop.set()
    thread.join(60)
    assert len(statuses) > 10
    assert set(statuses) == {200}


# ---------------------------------------------------------------- workers and the end


def test_worker_that_dies_is_replaced_and_told_of(rig: Rig) -> None:
    before = rig.proxy.workers
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    assert rig.proxy.wait_until(lambda: len(rig.proxy.workers) == 2 and before[0] not in rig.proxy.workers)
    assert before[1] in rig.proxy.workers
    assert rig.proxy.wait_until(lambda: str(before[0]) in rig.proxy.said())
    for _ in range(10):
        assert rig.client.get("/").status == 200


def test_sigterm_finishes_what_is_in_flight(rig: Rig, version: str) -> None:
    rig = rig.speaking(version)
    go = threading.Event()

    def script(turn: Turn) -> None:
        if turn.request.target == b"/":
            go.wait(20)
        turn.answer(b"finished")

    rig.upstream.script = script
    exchange = rig.client.open("GET", "/")
    idle = rig.client.connect()
    assert rig.client.request("GET", "/idle", wire=idle).status == 200
    rig.upstream.take(2)
    rig.proxy.signal(signal.SIGTERM)
    assert idle.is_closed(15), "an idle connection holds up the end"
    go.set()
    response = exchange.read_response()
    assert response.body == b"finished"
    assert rig.proxy.wait() == 0


def test_second_sigterm_ends_at_once(rig: Rig) -> None:
    def script(turn: Turn) -> None:
        turn.is_left()

    rig.upstream.script = script
    patient = rig.proxy.file.read_text().replace('stop = "5s"', 'stop = "10m"')
    assert "10m" in patient
    rig.proxy.write(patient)
    assert rig.proxy.control("reload").returncode == 0
    exchange = rig.client.open("GET", "/")
    rig.upstream.take()
    rig.proxy.signal(signal.SIGTERM)
    rig.proxy.wait_for("stopping")  # two signals at the same moment are one
    rig.proxy.signal(signal.SIGTERM)
    rig.proxy.wait()
    exchange.abort()


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    rig = build(tmp_path, workers=2)
    workers = rig.proxy.workers
    assert rig.client.get("/").status == 200
    assert rig.proxy.stop() == 0
    rig.upstream.close()
    assert [pid for pid in workers if Path(f"/proc/{pid}").exists()] == []
    assert list((tmp_path / "state").glob("*.sock")) == []
    assert "Traceback" not in rig.proxy.said()


def test_workers_do_not_outlive_the_control_process(tmp_path: Path) -> None:
    rig = build(tmp_path, workers=2)
    workers = rig.proxy.workers
    rig.proxy.signal(signal.SIGKILL)
    rig.proxy.wait()
    assert rig.proxy.wait_until(lambda: not [pid for pid in workers if is_running(pid)])
    tear_down(rig)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_no_descriptor_is_left_open(tmp_path: Path, version: str) -> None:
    """Requests, aborted ones, refused ones and tunnels all give back what they took."""
    rig = build(tmp_path).speaking(version)
    worker = rig.proxy.workers[0]
    rig.upstream.script = lambda turn: turn.answer()

    def count() -> int:
        return len(list(Path(f"/proc/{worker}/fd").iterdir()))

    def do_some() -> None:
        for _ in range(10):
            assert rig.client.get("/").status == 200
            given_up = rig.client.open("POST", "/", length=100)
            given_up.abort()
            given_up.close()
            rig.client.raw(b"nonsense\r\n\r\n").close()

    try:
        do_some()
        rig.upstream.drop_idle()
        assert rig.proxy.wait_until(lambda: rig.upstream.open_connections == 0)
        before = count()
        for _ in range(5):
            do_some()
        rig.upstream.drop_idle()
        assert rig.proxy.wait_until(lambda: count() <= before, 15), f"{before} then {count()}"
    finally:
        tear_down(rig)


# ---------------------------------------------------------------- logs


def test_access_log_tells_of_an_exchange(make: Make, version: str) -> None:
    rig = make().speaking(version)
    rig.client.request("POST", "/a?b=c", [("User-Agent", 'quo"te\\')], b"hello")
    assert rig.proxy.wait_until(lambda: len(rig.proxy.records) == 1)
    record = rig.proxy.records[0]
    text = json.dumps(record)
    assert record["status"] == 200
    assert record["method"] == "POST"
    assert record["protocol"] == {"h1": "HTTP/1.1", "h2": "HTTP/2.0"}[version]
    assert "/a?b=c" in text
    assert "127.0.0.1" in text
    assert f"127.0.0.1:{rig.upstream.port}" in text
    assert any("ms" in name for name in record)
    assert "fault" not in record or not record["fault"]


def test_access_log_names_the_fault(make: Make) -> None:
    rig = make()
    rig.upstream.close()
    assert rig.client.get("/").status == 502
    assert rig.proxy.wait_until(lambda: len(rig.proxy.records) == 1)
    assert "upstream.refused" in json.dumps(rig.proxy.records[0])


SECRETS = ["key", "slug", "apiKey", "sessionKey", "token", "code", "password", "KEY", "%6Bey"]


def test_secrets_never_reach_a_log(make: Make, version: str) -> None:
    rig = make().speaking(version)
    query = "&".join(f"{name}=s3cret{number}" for number, name in enumerate(SECRETS))
    headers = [
        ("Authorization", "Bearer s3cret"),
        ("Cookie", "immich_access_token=s3cret"),
        ("x-api-key", "s3cret"),
        ("x-immich-share-key", "s3cret"),
        ("Referer", f"https://photos.test/share?{query}"),
    ]
    rig.client.request("GET", f"/share?visible=yes&{query}", headers)
    assert rig.upstream.take_one().target.endswith(query.encode())
    assert rig.proxy.wait_until(lambda: len(rig.proxy.records) == 1)
    assert "visible=yes" in rig.proxy.said()
    assert "s3cret" not in rig.proxy.said()


def test_log_lines_cannot_be_forged(make: Make, version: str) -> None:
    rig = make().speaking(version)
    rig.client.request("GET", "/%0a%1b[31m%22", [("User-Agent", 'a","status":999,"x":"\xe9\x9b')])
    assert rig.proxy.wait_until(lambda: len(rig.proxy.records) == 1)
    assert rig.proxy.records[0]["status"] == 200


def test_logs_are_opened_anew(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    rig = make(site=f'access_log = {{ target = "{path}", format = "combined" }}')
    assert rig.client.get("/one").status == 200
    assert rig.proxy.wait_until(lambda: path.exists() and "/one" in path.read_text())
    assert '"GET /one HTTP/1.1" 200 2 ' in path.read_text()
    old = path.rename(tmp_path / "access.log.1")
    rig.proxy.signal(signal.SIGUSR1)
    # The file is there a moment before the worker has it.
    assert rig.proxy.wait_until(lambda: rig.client.get("/two").status == 200 and path.exists() and "/two" in path.read_text())
    assert rig.client.get("/three").status == 200
    assert rig.proxy.wait_until(lambda: "/three" in path.read_text())
    assert "/three" not in old.read_text()


def test_a_log_that_moved_gets_the_lines_of_what_began_before(make: Make, tmp_path: Path) -> None:
    before, after = tmp_path / "before.log", tmp_path / "after.log"
    rig = make(site=f'access_log = {{ target = "{before}", format = "combined" }}')
    go = threading.Event()

    def script(turn: Turn) -> None:
        turn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        go.wait(20)
        turn.send(b"world")

    rig.upstream.script = script
    slow = rig.client.open("GET", "/slow")
    rig.upstream.take_one()
    (worker,) = rig.proxy.workers
    rig.proxy.write(rig.proxy.file.read_text().replace(str(before), str(after)))
    assert rig.proxy.control("reload").returncode == 0
    go.set()
    assert slow.read_response().body == b"helloworld"
    assert rig.proxy.wait_until(lambda: "/slow" in before.read_text())
    rig.upstream.rest()
    assert rig.client.get("/new").status == 200
    assert rig.proxy.wait_until(lambda: after.exists() and "/new" in after.read_text())
    assert before.read_text().count("\n") == after.read_text().count("\n") == 1
    slow.wire.close()
    assert rig.proxy.control("reload").returncode == 0
    assert rig.proxy.wait_until(lambda: str(before) not in opened(worker)), "the old one is let go"


def opened(pid: int) -> set[str]:
    """Return what a process has open."""
    return {os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()}


# ---------------------------------------------------------------- where it listens


def test_unix_socket_is_listened_on(tmp_path: Path) -> None:
    upstream = Upstream()
    port = free_ports(1)[0]
    path = tmp_path / "front.sock"
    to = f'to = "http://127.0.0.1:{upstream.port}"'
    config = f'{settings(tmp_path)}[sites."*"]\nlisten = ["unix:{path}", "127.0.0.1:{port}"]\n{to}\n'
    proxy = Vestibule(tmp_path, config, [port])
    try:
        assert Client(str(path)).get("/").status == 200
        request = upstream.take_one()
        assert request.find("X-Forwarded-Proto") == b"http"
        assert b"\0" not in request.raw_head
    finally:
        proxy.stop()
        upstream.close()
    assert not path.exists()


def test_both_families_are_listened_on(tmp_path: Path) -> None:
    upstream = Upstream()
    port = free_ports(1)[0]
    config = f'{settings(tmp_path)}[sites."*"]\nlisten = ":{port}"\nto = "http://127.0.0.1:{upstream.port}"\n'
    proxy = Vestibule(tmp_path, config, [port])
    try:
        assert Client(("127.0.0.1", port)).get("/").status == 200
        assert Client(("::1", port)).get("/").status == 200
        told = [request.find("X-Forwarded-For") for request in upstream.take(2)]
        assert told == [b"127.0.0.1", b"::1"], "an IPv4 client must not be told as ::ffff:127.0.0.1"
    finally:
        proxy.stop()
        upstream.close()


def test_socket_of_systemd_is_taken_over(tmp_path: Path) -> None:
    """sd_listen_fds(3): descriptors from 3 on, and a name for each."""
    upstream = Upstream()
    to = f'to = "http://127.0.0.1:{upstream.port}"'
    config = f'{settings(tmp_path)}[sites."*"]\nlisten = "systemd:front"\n{to}\n'
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        # LISTEN_PID must be the id of the program itself, which only what becomes it knows.
        become = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.argv[2], sys.argv[2:])"
        )
        proxy = Vestibule(
            tmp_path,
            config,
            [port],
            extra={"LISTEN_FDS": "1", "LISTEN_FDNAMES": "front"},
            before=[sys.executable, "-c", become, str(listener.fileno())],
            keep=[listener.fileno()],
        )
    try:
        assert Client(("127.0.0.1", port)).get("/").status == 200
    finally:
        proxy.stop()
        upstream.close()


def test_systemd_is_told_of_readiness_reload_and_end(tmp_path: Path) -> None:
    """sd_notify(3)."""
    upstream = Upstream()
    port = free_ports(1)[0]
    config = f'{settings(tmp_path)}[sites."*"]\nlisten = "127.0.0.1:{port}"\nto = "http://127.0.0.1:{upstream.port}"\n'
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hears:
        hears.bind(str(tmp_path / "notify"))
        hears.settimeout(20)
        proxy = Vestibule(tmp_path, config, [port], extra={"NOTIFY_SOCKET": str(tmp_path / "notify")})

        def hear(word: bytes) -> bool:
            return any(word in hears.recv(4096).split(b"\n") for _ in range(10))

        try:
            assert hear(b"READY=1")
            assert proxy.control("reload").returncode == 0
            assert hear(b"RELOADING=1") or hear(b"READY=1")
            proxy.signal(signal.SIGTERM)
            assert hear(b"STOPPING=1")
        finally:
            proxy.stop()
            upstream.close()


def is_open_to_all(path: Path) -> bool:
    """Say whether any user may reach `path`."""
    return all(each.stat().st_mode & 0o001 for each in path.resolve().parents)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become someone else")
@pytest.mark.skipif(not is_open_to_all(Path(sys.executable)) or not is_open_to_all(SOURCES), reason="nobody may not run this Python")
def test_privileges_are_dropped_after_ports_are_bound() -> None:
    upstream = Upstream()
    port = free_ports(1)[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        process = settings(folder) + 'user = "nobody"\n'
        to = f'to = "http://127.0.0.1:{upstream.port}"'
        proxy = Vestibule(folder, f'{process}[sites."*"]\nlisten = "127.0.0.1:{port}"\n{to}\n', [port])
        try:
            assert Client(("127.0.0.1", port)).get("/").status == 200
            for pid in proxy.workers:
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                ids = next(line.split()[1:] for line in lines if line.startswith("Uid:"))
                assert set(ids) == {"65534"}
        finally:
            proxy.stop()
            upstream.close()


# ---------------------------------------------------------------- upgrades


def upgraded(rig: Rig) -> int:
    """Have another process take over; return it."""
    done = rig.proxy.control("upgrade")
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[2])


def end(pid: int) -> None:
    """End a program that is no child of ours."""
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + STOP_S
    while is_running(pid):
        assert time.monotonic() < until, f"{pid} does not end"
        time.sleep(0.02)


def test_an_upgrade_keeps_what_is_in_flight(rig: Rig, version: str) -> None:
    """A slow upload, a WebSocket and an idle connection end as they would, with the program that they began with."""
    rig = rig.speaking(version)

    def script(turn: Turn) -> None:
        if turn.request.find("Upgrade"):
            agree_and_echo(turn)
        else:
            turn.answer(turn.read_body() or b"ok")

    rig.upstream.script = script
    tunnel = rig.client.open_tunnel("/")
    upload = rig.client.open("POST", "/upload", length=10)
    upload.send_body(b"hello")
    idle = rig.client.connect()
    assert rig.client.request("GET", "/", wire=idle).body == b"ok"
    rig.upstream.take(3)
    heir = upgraded(rig)
    try:
        assert heir != rig.proxy.pid
        assert rig.client.get("/").body == b"ok"
        assert json.loads(rig.proxy.control("status", "--json").stdout)["pid"] == heir
        tunnel.send(b"ping")
        assert tunnel.read(4) == b"ping"
        upload.send_body(b"world")
        upload.end_body()
        assert upload.read_response().body == b"helloworld"
        # Told by GOAWAY where there is such a thing; else it may ask once more.
        if version == "h1":
            last = rig.client.request("GET", "/", wire=idle)
            assert (last.body, last.find("Connection")) == (b"ok", b"close")
        close_all()
        assert rig.proxy.wait() == 0
    finally:
        end(heir)


def test_requests_go_on_while_it_is_upgraded(rig: Rig, version: str) -> None:
    rig = rig.speaking(version)
    statuses: list[int] = []
    stop = threading.Event()

    def status() -> int:
        try:
            return rig.client.get("/").status
        except (OSError, Truncated):
            return 0

    def ask() -> None:
        while not stop.is_set():
            # A request that came after the GOAWAY is the client's to ask again (RFC 9113 6.8).
            statuses.append(status() or (status() if version == "h2" else 0))
            time.sleep(0.005)

    thread = threading.Thread(target=ask)
    thread.start()
    heir = upgraded(rig)
    try:
        assert rig.proxy.wait() == 0
        count = len(statuses)
        assert rig.proxy.wait_until(lambda: len(statuses) > count + 10)
        second = upgraded(rig)
        end_of_first, heir = heir, second
        assert rig.proxy.wait_until(lambda: not Path(f"/proc/{end_of_first}/fd/0").exists())
    finally:
        stop.set()
        thread.join(60)
        end(heir)
    assert len(statuses) > 20
    assert set(statuses) == {200}


def test_an_upgrade_that_fails_says_why(rig: Rig) -> None:
    good = rig.proxy.file.read_text()
    rig.proxy.write(good + "\nnonsense = 1\n")
    done = run_command("upgrade", "--socket", str(next((rig.proxy.folder / "state").glob("admin-*.sock"))), folder=rig.proxy.folder)
    assert done.returncode == 1
    assert "nonsense" in done.stderr and "the running program goes on" in done.stderr
    assert rig.client.get("/").status == 200
