"""Client certificates that each server of a socket asks for in its own way: Debian's nginx and vestibule are shown the same ones.

Where nginx serves a client that named no host by the default server's rules what asks for others, vestibule answers 421.
"""

import os
import shutil
import socket
import ssl
import sys
from pathlib import Path

import pytest
from cryptography import x509

from tests.e2e.certs import Authority, revocations
from tests.e2e.ports import free_ports
from tests.e2e.rig import environment

from .originals import ORIGINALS, SEARCH, Running

pytestmark = pytest.mark.skipif(shutil.which("nginx", path=SEARCH) is None, reason="nginx is not installed")

_SERVERS = (
    ("on", "ssl_verify_client on; ssl_client_certificate FOLDER/members.pem; error_page 496 = @none; location @none { return 403 none; }"),
    ("optional", "ssl_verify_client optional; ssl_client_certificate FOLDER/members.pem; ssl_trusted_certificate FOLDER/others.pem;"),
    ("off", "ssl_verify_client off; ssl_client_certificate FOLDER/members.pem;"),
    ("any", "ssl_verify_client optional_no_ca; ssl_client_certificate FOLDER/members.pem;"),
    ("nothing", ""),
    ("others *.deep.test ~^rx[0-9]", "ssl_verify_client on; ssl_client_certificate FOLDER/others.pem;"),
    ("listed", "ssl_verify_client on; ssl_client_certificate FOLDER/members.pem; ssl_crl FOLDER/members.crl; ssl_verify_depth 2;"),
    ("shallow", "ssl_verify_client on; ssl_client_certificate FOLDER/members.pem; ssl_verify_depth 0;"),
)
_BARE = "server { listen 127.0.0.1:PORT ssl; server_name bare; ssl_verify_client on; return 200 $ssl_client_verify; }\n"
_NAMES = ("on", "optional", "off", "any", "nothing", "others", "a.b.deep.test", "rx1", "listed", "shallow", "bare", "nobody")


def asked(port: int, name: str, shown: Path | None, host: str, version: ssl.TLSVersion) -> object:
    """Return status and text of an answer, or what became of the handshake."""
    tls = ssl.create_default_context()
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    tls.maximum_version = version
    if shown is not None:
        tls.load_cert_chain(shown)
    said = b""
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as plain, tls.wrap_socket(plain, server_hostname=name) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\nHost: %s\r\n\r\n" % host.encode())
            while piece := sock.recv(65_536):
                said += piece
    except OSError as failure:
        return type(failure).__name__
    head, _, body = said.partition(b"\r\n\r\n")
    status = head.split()[1]
    return status, body if status == b"200" or body == b"none" else b""


def test_each_server_asks_for_its_own(tmp_path: Path) -> None:
    servers, members, others = Authority("Servers"), Authority("Members"), Authority("Others")
    people: dict[str, Path | None] = {"nobody": None}
    for name, authority in (("alice", members), ("mallory", members), ("oscar", others), ("stranger", Authority("Strangers"))):
        people[name] = authority.bundle(tmp_path / f"{name}.pem", name)
    revoked = x509.load_pem_x509_certificate((tmp_path / "mallory.pem").read_bytes())
    original, ports, running = ORIGINALS["nginx"], free_ports(2), []
    try:
        for which, place in enumerate(("theirs", "ours")):
            folder = tmp_path / place
            (folder / "cases").mkdir(parents=True)
            servers.bundle(folder / "own.pem", "on")
            members.write_root(folder / "members.pem")
            others.write_root(folder / "others.pem")
            (folder / "members.crl").write_bytes(revocations(members, revoked))
            own = "ssl_certificate FOLDER/own.pem; ssl_certificate_key FOLDER/own.pem; location / { return 200 $ssl_client_verify; }"
            text = "".join([f"server {{ listen 127.0.0.1:PORT ssl; server_name {name}; {own} {says} }}\n" for name, says in _SERVERS])
            text = (text + _BARE).replace("PORT", str(ports[which])).replace("FOLDER", str(folder))
            (folder / "cases/clients.conf").write_text(text)
            command, around = original.command(folder, [ports[which]]), dict(os.environ)
            if which == 1:
                (folder / original.file).write_text(original.ours(folder, [ports[which]]))
                command = [sys.executable, "-m", "vestibule", "run", str(folder / original.file), "--dialect", "nginx", "--workers", "1"]
                around = environment() | {"XDG_STATE_HOME": str(folder / "state")}
            running.append(Running(command, folder, [ports[which]], around))
        different: list[str] = []
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for name in _NAMES:
                for person, shown in people.items():
                    for host in (name, "on", "off"):
                        theirs, ours = [asked(port, name, shown, host, version) for port in ports]
                        if theirs != ours:
                            different.append(f"{version.name} {name} {person} {host}: theirs {theirs!r} ours {ours!r}")
        assert not different, "\n".join(different)
        # Who named no host was asked as the default server does.
        assert asked(ports[1], "127.0.0.1", people["alice"], "others", ssl.TLSVersion.TLSv1_3) == (b"421", b"")
    finally:
        for each in running:
            each.stop()
