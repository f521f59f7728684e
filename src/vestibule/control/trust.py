"""Makes this machine trust the local CA, and offers its certificate to others.

Facts: Debian and Fedora collect the authorities of the system from a directory by a command. Firefox and Chrome on Linux keep their own,
in NSS databases (`cert9.db`), which `certutil` changes. Phones take a certificate by downloading and confirming it.

Rules: only the certificate is ever touched or shown, never the key. What is not possible is told with the reason, and is no failure.
"""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

_NAME = "vestibule-local-ca"
_COMMAND_S = 60.0
# Directory for authorities and the command that collects them.
_SYSTEMS = (
    (Path("/usr/local/share/ca-certificates"), ("update-ca-certificates",)),
    (Path("/etc/pki/ca-trust/source/anchors"), ("update-ca-trust",)),
    (Path("/etc/ca-certificates/trust-source/anchors"), ("update-ca-trust",)),
)


class TrustError(Exception):
    """It cannot be offered; the text says why."""


def install(
    certificate: Path,
    systems: tuple[tuple[Path, tuple[str, ...]], ...] = _SYSTEMS,
    environment: Mapping[str, str] = os.environ,
) -> list[str]:
    """Install an authority wherever that is possible; return a line for each place."""
    return [_install_system(certificate, systems), *_install_browsers(certificate, Path(environment.get("HOME") or "/"))]


def _install_system(certificate: Path, systems: tuple[tuple[Path, tuple[str, ...]], ...]) -> str:
    for folder, command in systems:
        if not folder.is_dir() or shutil.which(command[0]) is None:
            continue
        target = folder / f"{_NAME}.crt"
        try:
            target.write_bytes(certificate.read_bytes())
            target.chmod(0o644)
            done = subprocess.run(command, capture_output=True, timeout=_COMMAND_S, check=False)
        except PermissionError:
            return f"system     not installed: only root may write {folder}; run it with sudo"
        except (OSError, subprocess.TimeoutExpired) as bad:
            return f"system     not installed: {bad}"
        if done.returncode:
            return f"system     not installed: {command[0]} ended with status {done.returncode}"
        return f"system     installed as {target}"
    return "system     not installed: this system has no way known to us"


def _install_browsers(certificate: Path, home: Path) -> list[str]:
    places = [home / ".pki" / "nssdb", *home.glob(".mozilla/firefox/*"), *home.glob("snap/firefox/common/.mozilla/firefox/*")]
    databases = [each for each in places if (each / "cert9.db").is_file()]
    if not databases:
        return ["browsers   none of this user keeps authorities of its own (no cert9.db)"]
    if shutil.which("certutil") is None:
        return ["browsers   not installed: certutil is missing (on Debian: apt-get install libnss3-tools)"]
    lines: list[str] = []
    for each in databases:
        # Added again under the same name it would stand there twice.
        _certutil("-D", "-d", f"sql:{each}", "-n", _NAME)
        wrong = _certutil("-A", "-d", f"sql:{each}", "-n", _NAME, "-t", "C,,", "-i", str(certificate))
        lines.append(f"browser    not installed in {each}: {wrong}" if wrong else f"browser    installed in {each}")
    return lines


def _certutil(*words: str) -> str:
    """Run certutil; return what went wrong."""
    try:
        done = subprocess.run(["certutil", *words], capture_output=True, stdin=subprocess.DEVNULL, timeout=_COMMAND_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as bad:
        return str(bad)
    return done.stderr.decode(errors="replace").strip() if done.returncode else ""


def offer(certificate: Path, address: str, tell: Callable[[str], object]) -> None:
    """Serve the certificate by HTTP until interrupted. Raises `TrustError`."""
    server = make_server(certificate, address)
    host, port = server.server_address[:2]
    tell(f"open http://THIS-MACHINE:{port}/ on the phone (listening at {host!s}:{port}); Ctrl-C ends it")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()


def make_server(certificate: Path, address: str) -> http.server.ThreadingHTTPServer:
    """Return a server that answers every request with the certificate. Raises `TrustError`."""
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        raise TrustError(f"`{address}` is no address such as :8000")
    data = certificate.read_bytes()

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            # What phones know as an authority to install.
            self.send_header("Content-Type", "application/x-x509-ca-cert")
            self.send_header("Content-Disposition", f'attachment; filename="{_NAME}.crt"')
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    try:
        return http.server.ThreadingHTTPServer((host.strip("[]"), int(port)), Answer)
    except (OSError, OverflowError) as bad:
        raise TrustError(f"{address} cannot be listened on: {bad}") from None
