"""The local CA in the stores of the system and of browsers, and offered for download."""

import shutil
import subprocess
import threading
import urllib.request
from pathlib import Path

import pytest

from vestibule.control.authority import LocalAuthority
from vestibule.control.trust import TrustError, install, make_server


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    authority = LocalAuthority(tmp_path / "state")
    authority.ensure()
    return authority.certificate_file


def systems(tmp_path: Path, status: int = 0) -> tuple[tuple[Path, tuple[str, ...]], ...]:
    folder = tmp_path / "anchors"
    folder.mkdir()
    command = tmp_path / "update"
    command.write_text(f"#!/bin/sh\ntouch {tmp_path}/updated\nexit {status}\n")
    command.chmod(0o755)
    return ((tmp_path / "elsewhere", ("true",)), (folder, (str(command),)))


def test_it_is_installed_in_the_system(tmp_path: Path, certificate: Path) -> None:
    lines = install(certificate, systems(tmp_path), {"HOME": str(tmp_path)})
    assert lines[0].startswith("system     installed as")
    assert (tmp_path / "anchors" / "vestibule-local-ca.crt").read_bytes() == certificate.read_bytes()
    assert (tmp_path / "updated").exists()


def test_what_is_not_possible_is_told(tmp_path: Path, certificate: Path) -> None:
    assert "ended with status 4" in install(certificate, systems(tmp_path, 4), {"HOME": str(tmp_path)})[0]
    assert "no way known" in install(certificate, (), {"HOME": str(tmp_path)})[0]
    assert "none of this user" in install(certificate, (), {"HOME": str(tmp_path)})[1]


@pytest.mark.skipif(shutil.which("certutil") is None, reason="certutil is not installed")
def test_it_is_installed_in_browsers_once(tmp_path: Path, certificate: Path) -> None:
    stores = [tmp_path / ".pki" / "nssdb", tmp_path / ".mozilla" / "firefox" / "abc.default"]
    for each in stores:
        each.mkdir(parents=True)
        subprocess.run(["certutil", "-N", "--empty-password", "-d", f"sql:{each}"], check=True, timeout=30)
    for _ in range(2):
        lines = install(certificate, (), {"HOME": str(tmp_path)})
    assert lines[1:] == [f"browser    installed in {each}" for each in stores]
    for each in stores:
        listed = subprocess.run(["certutil", "-L", "-d", f"sql:{each}"], capture_output=True, text=True, check=True, timeout=30).stdout
        assert listed.count("vestibule-local-ca") == 1
        assert "C,," in listed


def test_it_is_offered_for_download(certificate: Path) -> None:
    server = make_server(certificate, "127.0.0.1:0")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_address[1]}/root.key", timeout=10) as answer:
            assert answer.headers["Content-Type"] == "application/x-x509-ca-cert"
            assert answer.read() == certificate.read_bytes()
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
    with pytest.raises(TrustError):
        make_server(certificate, "nonsense")
