"""The contenders and the origin as processes: configuration from a template, start, wait until it answers, stop.

Rules. Everything listens on 127.0.0.1 on ports found free. A template names what it needs as @NAME@ and an unknown name is an
error. Each process leads its own group, so that stopping it takes its workers along and nothing else.

Not here: what is measured (`suites.py`), CPU and memory (`proc.py`).
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_PLACE = re.compile(r"@([A-Z0-9_]+)@")
#: Descriptors each process may have; the hard limit of the machine may be lower.
_WANTED_FILES = 65536
#: Each open stream occupies a thread of this module.
_APACHE_HTTP2 = """LoadModule http2_module modules/mod_http2.so
Protocols h2 http/1.1
H2WindowSize 1048576
H2MinWorkers {threads}
H2MaxWorkers {threads}"""
_NGINX_SITE = "    server { listen 127.0.0.1:@PLAIN@; server_name @NAME@; location / { proxy_pass http://app; } }"
_VESTIBULE_SITE = """
[sites.@LABEL@]
hosts = "@NAME@"
listen = "http://127.0.0.1:@PLAIN@"
to = "app"
redirect_http = false"""


class BenchError(Exception):
    """The bench cannot go on; the text says why and, where known, what to do."""


@dataclass(frozen=True)
class Pins:
    """The processors to run on: contender, load, origin. None leaves the choice to the kernel."""

    contender: int | None = None
    load: int | None = None
    origin: int | None = None


@dataclass(frozen=True)
class Site:
    """What a configuration is made from."""

    directory: Path
    upstream: int
    workers: int = 1
    log: bool = False
    #: Whether the TLS listener offers HTTP/2 as well.
    http2: bool = False
    #: Worker threads for the contender that needs one per open tunnel.
    threads: int = 128
    #: Sites with names of their own beside the one for any other host.
    sites: int = 0


@dataclass(frozen=True)
class Contender:
    """How one proxy is configured and started. `arguments` get the path of the written configuration appended."""

    name: str
    template: str
    arguments: tuple[str, ...]
    version_command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    #: What one worker is: a "process", a "thread", or "" when it cannot be told apart from outside.
    worker_is: str = "process"
    #: The text its version must hold, to catch a pure build in the compiled row.
    must_say: str = ""
    #: Further values for its template.
    values: dict[str, str] = field(default_factory=dict)
    #: One more site in its language, `@NAME@` being its host and `@LABEL@` the first part of that, or "" where the bench has none.
    site: str = ""
    #: The suites it takes part in; empty means all.
    suites: tuple[str, ...] = ()

    @property
    def names_sites(self) -> bool:
        """Whether its configuration can be made to name many sites."""
        return bool(self.site)


def nofile_limit() -> int:
    """Return how many descriptors a started process may hold."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, _WANTED_FILES)


#: Below the ports that the system gives to connections: thousands of idle ones leave it few to choose from, and the same ones again.
_ports = iter(range(20_000 + os.getpid() % 4_000, 32_000))


def free_port() -> int:
    """Return a port that nobody listens on at this moment, and that was not returned before. Raises ``BenchError``."""
    for port in _ports:
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise BenchError("there is no free port")


def render(template: str, values: dict[str, str]) -> str:
    """Fill the @NAME@ places of a template; a name without value is an error that names it."""

    def fill(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise BenchError(f"template names @{match[1]}@, which has no value")
        return values[match[1]]

    return _PLACE.sub(fill, template)


class Process:
    """A started program in its own process group, its output in a file."""

    def __init__(
        self,
        name: str,
        command: list[str],
        directory: Path,
        environment: dict[str, str] | None = None,
        processor: int | None = None,
    ) -> None:
        self.name = name
        self.output = directory / f"{name}.out"
        with self.output.open("wb") as sink:
            self._child = subprocess.Popen(
                pinned(command, processor),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self.pid = self._child.pid

    def await_ports(self, ports: list[int], seconds: float = 20.0) -> None:
        """Return when every port accepts; BenchError with the program's last words when it ends or takes too long."""
        limit = time.monotonic() + seconds
        waiting = list(ports)
        while waiting:
            if self._child.poll() is not None:
                raise BenchError(f"{self.name} ended with status {self._child.returncode}:\n{self.last_words()}")
            if time.monotonic() > limit:
                raise BenchError(f"{self.name} does not listen on {waiting} after {seconds:g} s:\n{self.last_words()}")
            waiting = [port for port in waiting if not _accepts(port)]
            if waiting:
                time.sleep(0.02)

    def last_words(self) -> str:
        """Return the end of what the program printed."""
        return self.output.read_text(errors="replace")[-2000:].strip() or "(it printed nothing)"

    def stop(self) -> None:
        """End the program and its group: asked first, after three seconds killed."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(1.0)
            except subprocess.TimeoutExpired:
                # The second signal is what several of the programs take for "at once".
                self._child.send_signal(signal.SIGTERM)
                try:
                    self._child.wait(2.0)
                except subprocess.TimeoutExpired:
                    pass
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._child.wait(5.0)


@dataclass
class Running:
    """A contender that serves."""

    contender: Contender
    process: Process
    plain: int
    tls: int

    @property
    def name(self) -> str:
        """The contender's name."""
        return self.contender.name

    @property
    def pid(self) -> int:
        """The id of the first process of its tree."""
        return self.process.pid

    def port(self, tls: bool) -> int:
        """Return the port of the listener asked for."""
        return self.tls if tls else self.plain


def start_contender(contender: Contender, site: Site, certificate: Path, pins: Pins) -> Running:
    """Write the configuration, start the program, wait for both listeners."""
    directory = site.directory / f"{contender.name}-{os.urandom(3).hex()}"
    directory.mkdir(mode=0o755)
    # An unprivileged worker of nginx, Apache or vestibule writes here.
    directory.chmod(0o777)
    plain, tls = free_port(), free_port()
    values = template_values(replace(site, directory=directory), certificate, plain, tls) | contender.values
    named = ({"NAME": f"s{number}.example", "LABEL": f"s{number}"} for number in range(1, site.sites + 1))
    values["SITES"] = "\n".join(render(contender.site, values | name) for name in named)
    template = _HERE / "peers" / contender.template
    config = directory / contender.template
    config.write_text(render(template.read_text(), values))
    environment = {**contender.environment}
    if contender.name == "caddy":
        home = str(directory)
        environment |= {"GOMAXPROCS": str(site.workers), "HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home}
    process = Process(contender.name, [*contender.arguments, str(config)], directory, environment, pins.contender)
    try:
        process.await_ports([plain, tls])
    except BaseException:
        process.stop()
        raise
    return Running(contender, process, plain, tls)


def version_of(contender: Contender) -> str:
    """Return the first line of what the program says about its version."""
    environment = {**os.environ, **contender.environment}
    try:
        done = subprocess.run(contender.version_command, env=environment, capture_output=True, text=True, timeout=20, check=False)
    except OSError as error:
        raise BenchError(f"{contender.name} cannot be started: {error}") from error
    text = (done.stdout + done.stderr).strip()
    if done.returncode != 0:
        raise BenchError(f"{contender.name}: {' '.join(contender.version_command)} failed:\n{text[-1500:]}")
    first = text.splitlines()[0] if text else "unknown"
    if contender.must_say and contender.must_say not in text:
        raise BenchError(f"{contender.name}: expected “{contender.must_say}” in its version, it says “{first}”")
    return first


def known_contenders(source: Path, python: str, compiled_python: str) -> dict[str, Contender]:
    """Return every contender by name.

    `source` is the src directory the interpreted row runs from with `python`; `compiled_python` is an interpreter that has
    the compiled package installed.
    """
    nginx, haproxy, caddy, apache = (find_program(name) for name in ("nginx", "haproxy", "caddy", "apache2"))
    run = ("-P", "-m", "vestibule", "run")
    version = ("-P", "-m", "vestibule", "version")
    everyone = [
        Contender("nginx", "nginx.conf", (nginx, "-c"), (nginx, "-v"), site=_NGINX_SITE),
        Contender("haproxy", "haproxy.cfg", (haproxy, "-db", "-f"), (haproxy, "-v"), worker_is="thread"),
        # On loopback `splice-auto` hardly ever decides to splice; this row shows what HAProxy does when told to.
        Contender(
            "haproxy-splice",
            "haproxy.cfg",
            (haproxy, "-db", "-f"),
            (haproxy, "-v"),
            values={"SPLICE": "option splice-request\n    option splice-response", "PIPES": "tune.pipesize 1048576"},
            suites=("bulk",),
        ),
        Contender(
            "caddy",
            "Caddyfile",
            (caddy, "run", "--adapter", "caddyfile", "--config"),
            (caddy, "version"),
            worker_is="",
        ),
        Contender("apache2", "apache.conf", (apache, "-D", "FOREGROUND", "-f"), (apache, "-v")),
        Contender(
            "vestibule",
            "vestibule.toml",
            (compiled_python, *run),
            (compiled_python, *version),
            must_say="(compiled",
            site=_VESTIBULE_SITE,
        ),
        Contender(
            "vestibule-py",
            "vestibule.toml",
            (python, *run),
            (python, *version),
            environment={"PYTHONPATH": str(source)},
            must_say="(interpreted",
            site=_VESTIBULE_SITE,
        ),
    ]
    return {contender.name: contender for contender in everyone}


def start_file_origin(directory: Path, pins: Pins) -> tuple[Process, int]:
    """Start the nginx that serves small files from memory; return it and its port."""
    files = directory / "files"
    if not files.exists():
        files.mkdir(mode=0o755)
        for name, size in (("idle", 2), ("12", 12), ("1k", 1024), ("20k", 20480)):
            (files / name).write_bytes(os.urandom(size // 2).hex().encode())
    port = free_port()
    values = {"DIR": str(directory), "PORT": str(port), "FILES": str(files), "NOFILE": str(nofile_limit())}
    config = directory / "origin.conf"
    config.write_text(render((_HERE / "peers" / "origin.conf").read_text(), values))
    process = Process("origin", [find_program("nginx"), "-c", str(config)], directory, processor=pins.origin)
    return _awaited(process, port)


def start_python_origin(kind: str, directory: Path, pins: Pins) -> tuple[Process, int]:
    """Start `origin.py` for bulk bodies or for idle connections; return it and its port."""
    port = free_port()
    command = [sys.executable, "-m", "bench.origin", kind, str(port), str(directory)]
    environment = {"PYTHONPATH": str(_HERE.parent)}
    process = Process(f"origin-{kind}", command, directory, environment, processor=pins.origin)
    return _awaited(process, port)


def find_program(name: str) -> str:
    """Return the path of a program; where it is not found the bare name, whose start then fails with that name."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") or name


def pinned(command: list[str], processor: int | None) -> list[str]:
    """Return the command so that it runs on one processor; taskset replaces itself by it, so the process id stays."""
    return command if processor is None else ["taskset", "-c", str(processor), *command]


def raise_file_limit() -> None:
    """Take all the descriptors this process may have; what it starts inherits them."""
    limit = nofile_limit()
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def _awaited(process: Process, port: int) -> tuple[Process, int]:
    try:
        process.await_ports([port])
    except BaseException:
        process.stop()
        raise
    return process, port


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def template_values(site: Site, certificate: Path, plain: int, tls: int) -> dict[str, str]:
    """Return what the templates may name, for one site."""
    root = os.geteuid() == 0
    directory = site.directory
    log = directory / "access.log"
    combined = r'"%h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\""'
    return {
        "DIR": str(directory),
        "UPSTREAM": str(site.upstream),
        "PLAIN": str(plain),
        "TLS": str(tls),
        "WORKERS": str(site.workers),
        "THREADS": str(site.threads),
        "ALL_THREADS": str(site.threads * site.workers),
        "NOFILE": str(nofile_limit()),
        "MAXCONN": str(max(11_000, (nofile_limit() - 2000) // 2)),
        "CERT": str(certificate / "cert.pem"),
        "KEY": str(certificate / "key.pem"),
        "PEM": str(certificate / "both.pem"),
        # With one listening socket per worker the kernel spreads connections evenly.
        "NGINX_HTTP2": "http2" if site.http2 else "",
        "HAPROXY_ALPN": "h2,http/1.1" if site.http2 else "http/1.1",
        "CADDY_PROTOCOLS": "h1 h2" if site.http2 else "h1",
        "APACHE_HTTP2": _APACHE_HTTP2.format(threads=site.threads) if site.http2 else "",
        "VESTIBULE_PROTOCOLS": '"h2", "h1"' if site.http2 else '"h1"',
        "REUSEPORT": "reuseport" if site.workers > 1 else "",
        # Started as root they must be told whom to become; otherwise the line only draws a warning.
        "NGINX_USER": "user www-data;" if root else "",
        "APACHE_USER": "User www-data\nGroup www-data" if root else "",
        "NGINX_LOG": f"access_log {log} combined buffer=64k flush=1s;" if site.log else "access_log off;",
        "HAPROXY_LOG_TARGET": "log stdout format raw local0" if site.log else "",
        "HAPROXY_LOG": "log global\n    option httplog" if site.log else "",
        "SITES": "",  # those with names of their own, where a suite asks for them
        "SPLICE": "option splice-auto",
        "PIPES": "",
        "CADDY_LOG": f"log {{\n\t\toutput file {log}\n\t}}" if site.log else "",
        "APACHE_LOG": f"BufferedLogs On\nCustomLog {log} {combined}" if site.log else "",
        "VESTIBULE_LOG": f'access_log = {{ target = "{log}", format = "combined" }}' if site.log else 'access_log = "off"',
    }
