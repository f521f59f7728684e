"""Pebble, the test issuer of Let's Encrypt, on free ports, with its DNS server; and what it is asked.

Rules: everything is written below the test's folder, and ended by process id.
"""

import contextlib
import json
import os
import shutil
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.control.papers import Paper
from tests.e2e.ports import free_ports

START_S = 20.0
NEEDED = ("pebble", "pebble-challtestsrv")


def is_installed() -> bool:
    return all(shutil.which(each) for each in NEEDED)


class Pebble:
    """A running issuer. It looks at names on `http_port` and `tls_port` of 127.0.0.1, whatever they are."""

    def __init__(self, folder: Path, *, eab: Mapping[str, str] | None = None, rejects: int = 0, dns_port: int = 0) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.port, self.management, self.http_port, self.tls_port, dns, self._dns_management = free_ports(6)
        self.eab = dict(eab or {})
        paper = Paper("localhost")
        self.ca = folder / "directory.pem"
        self.ca.write_text(paper.pem)
        (folder / "directory.key").write_text(paper.key_pem())
        self._config = folder / "pebble.json"
        settings = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(self.ca),
            "privateKey": str(folder / "directory.key"),
            "httpPort": self.http_port,
            "tlsPort": self.tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": bool(eab),
            "externalAccountMACKeys": self.eab,
        }
        self._config.write_text(json.dumps({"pebble": settings}))
        self._processes: list[subprocess.Popen[bytes]] = []
        self.log = folder / "pebble.log"
        words = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-dns01", f"127.0.0.1:{dns}", "-defaultIPv6", ""]
        self._start("pebble-challtestsrv", *words, "-management", f"127.0.0.1:{self._dns_management}")
        self._start(
            "pebble",
            "-config",
            str(self._config),
            "-dnsserver",
            f"127.0.0.1:{dns_port or dns}",
            extra={"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": str(rejects), "PEBBLE_AUTHZREUSE": "0"},
        )
        self._wait()

    @property
    def directory(self) -> str:
        return f"https://localhost:{self.port}/dir"

    @property
    def dns_url(self) -> str:
        """Where its DNS server takes changes."""
        return f"http://127.0.0.1:{self._dns_management}"

    def toml(self, more: str = "") -> str:
        """Return the tables that make it the issuer; `more` is said of all certificates."""
        return f'[acme]\nissuers = ["pebble"]\n{more}\n[issuers.pebble]\ndirectory = "{self.directory}"\nca = "{self.ca}"\n'

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def orders(self) -> int:
        """Return how many orders it accepted."""
        return self.said().count("Added order")

    def root(self) -> str:
        """Return the authority of what it issues."""
        context = ssl.create_default_context(cafile=str(self.ca))
        with urllib.request.urlopen(f"https://localhost:{self.management}/roots/0", context=context, timeout=10) as answer:
            return str(answer.read().decode())

    def certificate_status(self, serial: int) -> dict[str, object]:
        """Return what it says of a certificate it issued."""
        context = ssl.create_default_context(cafile=str(self.ca))
        url = f"https://localhost:{self.management}/cert-status-by-serial/{serial:x}"
        with urllib.request.urlopen(url, context=context, timeout=10) as answer:
            found: dict[str, object] = json.loads(answer.read())
            return found

    def dns(self, what: str, **body: object) -> None:
        """Change the answers of its DNS server: `add-a`, `set-txt`, `add-caa`, `set-servfail` …"""
        request = urllib.request.Request(f"{self.dns_url}/{what}", json.dumps(body).encode())
        urllib.request.urlopen(request, timeout=10).close()

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(10)

    def _start(self, *command: str, extra: Mapping[str, str] | None = None) -> None:
        with (self.folder / f"{command[0]}.log").open("wb") as log:
            self._processes.append(subprocess.Popen(command, env=os.environ | dict(extra or {}), stdout=log, stderr=subprocess.STDOUT))

    def _wait(self) -> None:
        end = time.monotonic() + START_S
        context = ssl.create_default_context(cafile=str(self.ca))
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(self.directory, context=context, timeout=2).close()
                return
            time.sleep(0.05)
        self.stop()
        raise AssertionError(f"pebble does not answer:\n{self.said()}")


@contextlib.contextmanager
def running(folder: Path, **options: object) -> Iterator[Pebble]:
    """Run one, and end it."""
    made = Pebble(folder, **options)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        made.stop()
