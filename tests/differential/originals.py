"""Starting the original programs, each with all of its cases at once, every case on a port of its own.

Rules: everything a program writes goes into the test's folder; it is ended by its process id, and every wait is bounded.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

START_S = 40.0
SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

_NGINX = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/cases/*;
}}
"""

_APACHE_MODULES = (
    "mpm_event authn_core authn_file authz_core authz_host authz_user authz_groupfile access_compat auth_basic"
    " alias setenvif env headers proxy proxy_http ratelimit filter substitute allowmethods"
    " proxy_wstunnel proxy_balancer slotmem_shm lbmethod_byrequests rewrite remoteip dir mime expires macro ssl"
)

_APACHE = """\
ServerRoot {folder}
ServerName original.example
PidFile {folder}/httpd.pid
ErrorLog {folder}/error.log
DocumentRoot {folder}/empty
TypesConfig /etc/mime.types
Mutex file:{folder} default
{modules}
{listens}
IncludeOptional {folder}/cases/*
"""


def _nginx(folder: Path, ports: Sequence[int]) -> list[str]:
    (folder / "main.conf").write_text(_NGINX.format(folder=folder))
    del ports
    return ["nginx", "-p", str(folder), "-c", str(folder / "main.conf")]


def _apache(folder: Path, ports: Sequence[int]) -> list[str]:
    modules = "\n".join([f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in _APACHE_MODULES.split()])
    listens = "\n".join([f"Listen 127.0.0.1:{port}" for port in ports])
    (folder / "empty").mkdir()
    (folder / "main.conf").write_text(_APACHE.format(folder=folder, modules=modules, listens=listens))
    return ["apache2", "-f", str(folder / "main.conf"), "-X"]


def _our_apache(folder: Path, ports: Sequence[int]) -> str:
    (folder / "empty").mkdir(exist_ok=True)
    listens = "\n".join([f"Listen 127.0.0.1:{port}" for port in ports])
    return f"{listens}\nDocumentRoot {folder}/empty\nIncludeOptional cases/*\n"


def _our_nginx(folder: Path, ports: Sequence[int]) -> str:
    del folder, ports
    return "include cases/*;\n"


def _caddy(folder: Path, ports: Sequence[int]) -> list[str]:
    del ports
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https off\n}}\nimport {folder}/cases/*\n")
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


def _our_caddy(folder: Path, ports: Sequence[int]) -> str:
    del folder, ports
    return "{\n\tadmin off\n\tauto_https off\n}\nimport cases/*\n"


def _our_caddy_json(folder: Path, ports: Sequence[int]) -> str:
    """Return what Caddy makes of its file: the same in JSON."""
    (folder / "Caddyfile").write_text(_our_caddy(folder, ports))
    command = ["caddy", "adapt", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=START_S).stdout


def _haproxy(folder: Path, ports: Sequence[int]) -> list[str]:
    del ports
    (folder / "main.cfg").write_text(_whole_haproxy(folder))
    return ["haproxy", "-db", "-f", str(folder / "main.cfg")]


def _our_haproxy(folder: Path, ports: Sequence[int]) -> str:
    del ports
    return _whole_haproxy(folder)


def _whole_haproxy(folder: Path) -> str:
    head = "defaults\n\tmode http\n\ttimeout client 10s\n\ttimeout server 10s\n\ttimeout connect 5s\n\n"
    return head + "\n".join([case.read_text() for case in sorted((folder / "cases").iterdir())])


@dataclass(frozen=True)
class Original:
    """How one program is started, and how the same is written for vestibule."""

    program: str
    dialect: str
    file: str
    command: Callable[[Path, Sequence[int]], list[str]]
    ours: Callable[[Path, Sequence[int]], str]


ORIGINALS = {
    "nginx": Original("nginx", "nginx", "ours.conf", _nginx, _our_nginx),
    "apache": Original("apache2", "apache", "ours.conf", _apache, _our_apache),
    "caddy": Original("caddy", "caddy", "Caddyfile.ours", _caddy, _our_caddy),
    "caddy-json": Original("caddy", "caddy", "ours.caddy.json", _caddy, _our_caddy_json),
    "haproxy": Original("haproxy", "haproxy", "ours.cfg", _haproxy, _our_haproxy),
}


class Running:
    """A program that listens on ports until it is stopped."""

    def __init__(self, command: Sequence[str], folder: Path, ports: Sequence[int], environment: dict[str, str]) -> None:
        self._log = folder / "output.log"
        program = shutil.which(command[0], path=SEARCH) or command[0]
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [program, *command[1:]],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            for port in ports:
                self._wait_for(port)
        except BaseException:
            self.stop()
            raise

    def _wait_for(self, port: int) -> None:
        end = time.monotonic() + START_S
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            time.sleep(0.02)
        said = self._log.read_text(errors="replace")
        error_log = self._log.parent / "error.log"
        raise AssertionError(f"nobody listens on {port}:\n{said}{error_log.read_text() if error_log.exists() else ''}")

    def stop(self) -> None:
        """End it."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
