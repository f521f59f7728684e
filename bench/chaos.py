"""Three servers that are killed, frozen, slowed and started again at random, under a steady load that nobody should notice.

Facts
  The load is GETs and uploads of 20 KB, each with an id. Servers write down the id of each upload before they answer, so an upload
  that was sent twice shows, and one that was answered and not written down would too.
  At any moment one server is well, so every GET could have been answered: a GET that failed is a fault of the proxy's. An upload may
  fail (502, 504) where its server died with it; it may never be doubled.
  The dice are seeded: every contender meets the same blows at the same moments.

Run as `python -m bench.chaos [--seconds 120] [--rate 300] [--contenders vestibule,nginx,haproxy]`; --source names a folder with the
package. Exits 1 when vestibule lost a GET, doubled an upload, or took a server back too late.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bench.peer import find_program, free_port

#: The time between two checks, in every contender.
_CHECK_S = 1.0
#: How long a server may take for an answer before it counts as frozen, in every contender.
_ANSWER_S = 2
_THREADS = 24
_UPLOAD = bytes(20_000)

_VESTIBULE = """
access_log = "off"

[process]
workers = 1
state_dir = "@DIR@/state"
admin_socket = "@DIR@/admin.sock"

[upstreams.app]
servers = [@SERVERS@]
[upstreams.app.retry]
attempts = 3
on = ["connect", "lost", "timeout", "invalid"]
[upstreams.app.passive]
max_fails = 1
window = "1s"
[upstreams.app.health]
kind = "http"
path = "/well"
interval = "1s"
fast = "1s"
timeout = "1s"
rise = 1
fall = 1

[sites."*"]
listen = "127.0.0.1:@PORT@"
to = "app"
timeouts = { connect = "1s", response_head = "2s" }
"""

_NGINX = """
daemon off;
pid @DIR@/nginx.pid;
error_log @DIR@/nginx.err crit;
@USER@
worker_processes 1;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path @DIR@/body;
    proxy_temp_path @DIR@/proxy;
    fastcgi_temp_path @DIR@/f;
    uwsgi_temp_path @DIR@/u;
    scgi_temp_path @DIR@/s;
    upstream app { @SERVERS@ keepalive 64; }
    server {
        listen 127.0.0.1:@PORT@;
        client_body_buffer_size 64k;
        location / {
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_connect_timeout 1s;
            proxy_read_timeout 2s;
            proxy_next_upstream error timeout invalid_header;
            proxy_next_upstream_tries 3;
        }
    }
}
"""

_HAPROXY = """
global
    maxconn 4096
defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 2s
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response response-timeout junk-response
    http-reuse safe
frontend f
    bind 127.0.0.1:@PORT@
    default_backend b
backend b
    option httpchk GET /well
    http-request disable-l7-retry if METH_POST
    default-server check inter 1s rise 1 fall 1
@SERVERS@
"""


def serve(port: int, journal: str) -> None:
    """Be one of the servers until somebody ends it. SIGUSR1 makes it slow, SIGUSR2 quick."""
    slow = [0.0]
    signal.signal(signal.SIGUSR1, lambda *_: slow.__setitem__(0, 0.5))
    signal.signal(signal.SIGUSR2, lambda *_: slow.__setitem__(0, 0.0))
    out = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)

    def talk(connection: socket.socket) -> None:
        data = b""
        try:
            while True:
                while b"\r\n\r\n" not in data:
                    got = connection.recv(65536)
                    if not got:
                        return
                    data += got
                head, _, data = data.partition(b"\r\n\r\n")
                line = head.split(b" ", 2)
                length = 0
                for each in head.split(b"\r\n")[1:]:
                    name, _, value = each.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                while len(data) < length:
                    got = connection.recv(65536)
                    if not got:
                        return
                    data += got
                data = data[length:]
                if slow[0]:
                    time.sleep(slow[0])
                os.write(out, line[0] + b" " + line[1] + b" %.3f\n" % time.time())
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(line[1]), line[1]))
        except OSError:
            pass
        finally:
            connection.close()

    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=talk, args=(connection,), daemon=True).start()


class Server:
    """One of the three, as a process."""

    def __init__(self, directory: Path, index: int) -> None:
        self.port = free_port()
        self.journal = directory / f"journal-{index}"
        self.process: subprocess.Popen[bytes] | None = None
        self.frozen = False

    def start(self) -> None:
        command = [sys.executable, "-m", "bench.chaos", "--serve", str(self.port), str(self.journal)]
        self.process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)})

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def tell(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)


@dataclass
class Outcome:
    """What came of one contender's run."""

    counts: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)
    sent: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    doubled: int = 0
    missing: int = 0

    def note(self, what: str, took: float) -> None:
        with self.lock:
            self.counts[what] += 1
            self.times.append(took)


def load(port: int, rate: float, until: float, outcome: Outcome, number: int) -> None:
    """One thread's share of the load: four GETs and one upload in turn, each at its moment."""
    step = _THREADS / rate
    due = time.monotonic() + step * number / _THREADS
    connection: socket.socket | None = None
    count = 0
    while due < until:
        time.sleep(max(0.0, due - time.monotonic()))
        due += step
        count += 1
        upload = count % 5 == 0
        name = f"/{'up' if upload else 'get'}/{number}-{count}"
        if upload:
            head = f"POST {name} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(_UPLOAD)}\r\n\r\n".encode()
        else:
            head = f"GET {name} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        began = time.monotonic()
        try:
            if connection is None:
                connection = socket.create_connection(("127.0.0.1", port), 10)
                connection.settimeout(20)
            connection.sendall(head + _UPLOAD if upload else head)
            status, body, keep = read_answer(connection)
            right = status == 200 and body == name.encode()
            if upload and right:
                with outcome.lock:
                    outcome.sent.add(name)
            outcome.note(f"{'uploads' if upload else 'gets'} {'answered' if right else f'failed ({status})'}", time.monotonic() - began)
            if not keep:
                connection.close()
                connection = None
        except (OSError, ValueError) as error:
            outcome.note(f"{'uploads' if upload else 'gets'} failed ({type(error).__name__})", time.monotonic() - began)
            if connection is not None:
                connection.close()
            connection = None
    if connection is not None:
        connection.close()


def read_answer(connection: socket.socket) -> tuple[int, bytes, bool]:
    """Return the status, the body, and whether the connection goes on. Raises OSError or ValueError."""
    data = b""
    while b"\r\n\r\n" not in data:
        got = connection.recv(65536)
        if not got:
            raise ValueError("cut")
        data += got
    head, _, body = data.partition(b"\r\n\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])}
    keep = fields.get(b"connection", b"").lower() != b"close"
    length = int(fields.get(b"content-length", b"-1"))
    while length < 0 or len(body) < length:
        got = connection.recv(65536)
        if not got:
            keep = False
            break
        body += got
    return int(head.split(b" ", 2)[1]), body, keep


def rage(servers: list[Server], seed: int, until: float, outcome: Outcome) -> None:
    """Hurt one server after the other, each for a while, the third always being well."""
    dice = random.Random(seed)
    while time.monotonic() < until - 5:
        victim = servers[dice.randrange(len(servers))]
        blow = dice.choice(["kill", "freeze", "slow"])
        outcome.counts[f"blows: {blow}"] += 1
        hurt = dice.uniform(0.5, 3.0)
        if blow == "kill":
            victim.kill()
            time.sleep(hurt)
            victim.start()
        elif blow == "freeze":
            victim.tell(signal.SIGSTOP)
            time.sleep(hurt)
            victim.tell(signal.SIGCONT)
        else:
            victim.tell(signal.SIGUSR1)
            time.sleep(hurt)
            victim.tell(signal.SIGUSR2)
        took = await_work(victim)
        if blow != "slow":
            outcome.recoveries.append(took)
        time.sleep(dice.uniform(0.2, 1.0))


def await_work(server: Server, most: float = 10.0) -> float:
    """Return how long it takes from when a server answers again until it is given a request of the load."""
    until = time.monotonic() + most
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", server.port), 1).close()
            break
        except OSError:
            time.sleep(0.02)
    began = time.time()
    while time.monotonic() < until:
        lines = server.journal.read_bytes().split(b"\n") if server.journal.exists() else []
        for line in reversed(lines[-50:]):
            words = line.split(b" ")
            if len(words) == 3 and words[1] != b"/well" and float(words[2]) >= began:
                return max(0.0, float(words[2]) - began)
        time.sleep(0.05)
    return most


def start(name: str, directory: Path, servers: list[Server], source: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a contender; return it and its port."""
    port = free_port()
    root = os.geteuid() == 0
    if name == "vestibule":
        template, file = _VESTIBULE, "vestibule.toml"
        named = ", ".join(f'"http://127.0.0.1:{each.port}"' for each in servers)
        command = [sys.executable, "-P", "-m", "vestibule", "run", "--quiet"]
    elif name == "nginx":
        template, file = _NGINX, "nginx.conf"
        named = " ".join(f"server 127.0.0.1:{each.port} max_fails=1 fail_timeout=1s;" for each in servers)
        command = [find_program("nginx"), "-c"]
    else:
        template, file = _HAPROXY, "haproxy.cfg"
        named = "\n".join(f"    server s{index} 127.0.0.1:{each.port}" for index, each in enumerate(servers))
        command = [find_program("haproxy"), "-db", "-f"]
    values = {"DIR": str(directory), "PORT": str(port), "SERVERS": named, "USER": "user www-data;" if root else ""}
    text = template
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    (directory / file).write_text(text)
    environment = dict(os.environ)
    if source:
        environment["PYTHONPATH"] = source
    with (directory / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([*command, str(directory / file)], env=environment, stdout=log, stderr=log)
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process, port
        except OSError:
            time.sleep(0.05)
    process.kill()
    raise SystemExit(f"{name} does not listen:\n{(directory / f'{name}.log').read_text()}")


def run(name: str, seconds: float, rate: float, seed: int, source: str) -> Outcome:
    """Let one contender stand the load and the blows."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="vestibule-chaos-") as folder:
        directory = Path(folder)
        directory.chmod(0o755)
        servers = [Server(directory, index) for index in range(3)]
        process: subprocess.Popen[bytes] | None = None
        try:
            for each in servers:
                each.start()
            process, port = start(name, directory, servers, source)
            time.sleep(2 * _CHECK_S)
            until = time.monotonic() + seconds
            threads = [threading.Thread(target=load, args=(port, rate, until, outcome, number)) for number in range(_THREADS)]
            for thread in threads:
                thread.start()
            rage(servers, seed, until, outcome)
            for thread in threads:
                thread.join(seconds + 60)
        finally:
            if process is not None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
            for each in servers:
                each.tell(signal.SIGCONT)
                each.kill()
        done: Counter[str] = Counter()
        for each in servers:
            for line in each.journal.read_text().splitlines() if each.journal.exists() else []:
                if line.startswith("POST "):
                    done[line.split(" ")[1]] += 1
        outcome.doubled = sum(1 for count in done.values() if count > 1)
        outcome.missing = len(outcome.sent - set(done))
    return outcome


def tell(name: str, outcome: Outcome) -> str:
    """Return a line of what came of it."""
    times = sorted(outcome.times) or [0.0]
    p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
    counts = ", ".join(f"{key}: {count}" for key, count in sorted(outcome.counts.items()))
    back = f"back at work after {max(outcome.recoveries):.2f} s at most" if outcome.recoveries else "no recovery was seen"
    return f"{name}: {counts}; doubled: {outcome.doubled}, answered and lost: {outcome.missing}; p99 {p99:.2f} s; {back}"


def holds(outcome: Outcome) -> bool:
    """Tell whether nothing was lost that could be saved, nothing doubled, and servers were taken back in time."""
    lost = [key for key in outcome.counts if key.startswith("gets failed")]
    in_time = all(each <= 2 * _CHECK_S + 0.5 for each in outcome.recoveries)
    return not lost and not outcome.doubled and not outcome.missing and in_time


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--rate", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--contenders", default="vestibule,nginx,haproxy")
    parser.add_argument("--source", default="")
    parser.add_argument("--serve", nargs=2, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(int(options.serve[0]), options.serve[1])
    good = True
    for name in options.contenders.split(","):
        outcome = run(name, options.seconds, options.rate, options.seed, options.source)
        print(tell(name, outcome), flush=True)
        if name == "vestibule":
            good = holds(outcome)
            print("held" if good else "GAVE WAY", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
