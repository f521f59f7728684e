"""Client certificates: required, optional, per path, revoked, and never got round.

Facts: RFC 8446 4.4.2 and 4.6.1 (a resumed session shows no certificate again), RFC 9110 7.4 (421), RFC 5280 5 (revocation lists).
"""

import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from .certs import Authority, revocations
from .client import Client, Truncated
from .ports import free_ports
from .rig import Vestibule, run_command, settings
from .upstream import Upstream


class Person:
    """Somebody with a certificate."""

    def __init__(self, folder: Path, authority: Authority, name: str) -> None:
        self.file = authority.bundle(folder / f"{name}.pem", name)
        self.certificate = x509.load_pem_x509_certificate(self.file.read_bytes())


@dataclass
class Doors:
    """A proxy with listeners that ask for different things, for one authority of clients."""

    proxy: Vestibule
    upstream: Upstream
    servers: Authority
    members: Authority
    ports: dict[str, int]
    alice: Person
    mallory: Person
    stranger: Person

    def tls(self, person: Person | None = None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        made = self.servers.client()
        made.minimum_version = made.maximum_version = version
        if person is not None:
            made.load_cert_chain(person.file)
        return made

    def client(self, door: str, person: Person | None = None, version: str = "h1", name: str = "a.test") -> Client:
        return Client(("127.0.0.1", self.ports[door]), self.tls(person), name, version)


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder = tmp_path_factory.mktemp("clients")
    servers, members = Authority("Servers"), Authority("Members")
    names = ("everybody", "required", "optional", "any")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    upstream = Upstream()
    for name in ("a.test", "b.test"):
        servers.bundle(folder / f"{name}.pem", name)
    alice, mallory = Person(folder, members, "alice"), Person(folder, members, "mallory")
    stranger = Person(folder, Authority("Others"), "stranger")
    members.write_root(folder / "members.pem")
    (folder / "members.crl").write_bytes(revocations(members, mallory.certificate))
    listeners = "".join(
        f'[listeners.{name}]\naddress = "127.0.0.1:{port}"\ntls = true\ntls_profile = "{"modern" if name == "everybody" else name}"\n'
        for name, port in ports.items()
    )
    to = f'to = "http://127.0.0.1:{upstream.port}"'
    config = f"""{settings(folder)}
[tls_profiles.required]
client_ca = "members.pem"
client_crl = "members.crl"
client_depth = 1
[tls_profiles.optional]
client_ca = "members.pem"
client_crl = "members.crl"
client_verify = "optional"
[tls_profiles.any]
client_ca = "members.pem"
client_verify = "any"
{listeners}
[access_log]
format = "template"
template = "{{status}} {{tls_client_verify}} {{tls_client_name}}"
[sites."a.test"]
listen = ["everybody", "required"]
cert = "a.test.pem"
{to}
[sites."a.test".request_headers]
X-Verify = "{{tls_client_verify}}"
X-Subject = "{{tls_client_subject}}"
X-Issuer = "{{tls_client_issuer}}"
X-Serial = "{{tls_client_serial}}"
X-Fingerprint = "{{tls_client_fingerprint}}"
X-Pem = "{{url_encode(tls_client_pem)}}"
X-Until = "{{tls_client_not_after}}"
[sites."b.test"]
listen = ["required", "optional", "any"]
cert = "b.test.pem"
{to}
request_headers = {{ X-Verify = "{{tls_client_verify}}" }}
[[sites."b.test".routes]]
prefix = "/members/"
request = [{{ client_certificate = 403 }}]
{to}
"""
    proxy = Vestibule(folder, config, list(ports.values()))
    yield Doors(proxy, upstream, servers, members, ports, alice, mallory, stranger)
    proxy.stop()
    upstream.close()


@pytest.fixture
def rig(doors: Doors) -> Iterator[Doors]:
    doors.upstream.rest()
    yield doors
    doors.upstream.rest()


def is_let_in(client: Client) -> bool:
    """Tell whether a handshake with a request after it succeeds. In TLS 1.3 a client learns of a refusal at its first read."""
    try:
        return client.get("/").status == 200
    except (ssl.SSLError, ConnectionError, EOFError, ValueError):
        return False


def test_who_is_let_in_where_one_is_required(rig: Doors, version: str) -> None:
    assert is_let_in(rig.client("required", rig.alice, version))
    for person in (None, rig.mallory, rig.stranger):
        with pytest.raises((ssl.SSLError, ConnectionError, Truncated)):
            rig.client("required", person, version).get("/")
    assert len(rig.upstream.requests) == 1


def is_refused_and_told(rig: Doors, person: Person | None, why: str) -> bool:
    with pytest.raises((ssl.SSLError, ConnectionError, Truncated)):
        rig.client("required", person).get("/")
    return why in rig.proxy.said()


def test_why_somebody_was_refused_is_told(rig: Doors) -> None:
    """Whoever is refused sees no page."""
    for person, why in ((None, "peer did not return a certificate"), (rig.mallory, "certificate revoked"), (rig.stranger, "unable to get")):
        # One a second is told.
        assert rig.proxy.wait_until(partial(is_refused_and_told, rig, person, why)), why
    assert "a client was refused at its TLS handshake" in rig.proxy.said()


def test_variables_go_upstream_and_into_the_log(rig: Doors) -> None:
    rig.client("required", rig.alice).request("GET", "/", [("X-Verify", "SUCCESS"), ("X-Subject", "CN=root")])
    request, leaf = rig.upstream.take_one(), rig.alice.certificate
    assert request.find("X-Verify") == b"SUCCESS"
    assert request.find("X-Subject") == b"CN=alice"
    assert request.find("X-Issuer") == b"CN=Members Intermediate"
    assert int(request.find("X-Serial") or b"", 16) == leaf.serial_number
    assert request.find("X-Fingerprint") == leaf.fingerprint(hashes.SHA256()).hex().encode()
    assert (request.find("X-Pem") or b"").startswith(b"-----BEGIN%20CERTIFICATE-----%0A")
    assert (request.find("X-Until") or b"").endswith(b" GMT")
    rig.proxy.wait_for("200 SUCCESS alice")


def test_the_verdict_holds_whichever_certificate_is_ours(rig: Doors) -> None:
    """The context of a connection changes with the name that is asked for."""
    for name in ("a.test", "b.test"):
        assert rig.client("required", rig.alice, name=name).get("/").status == 200
    assert [request.find("X-Verify") for request in rig.upstream.requests] == [b"SUCCESS", b"SUCCESS"]


def test_forged_fields_do_not_arrive_where_nobody_was_asked(rig: Doors) -> None:
    rig.client("everybody").request("GET", "/", [("X-Verify", "SUCCESS"), ("X-Subject", "CN=alice")])
    request = rig.upstream.take_one()
    assert request.find("X-Verify") == b"NONE"
    assert request.find("X-Subject") is None


@pytest.mark.parametrize("door", ["optional", "any"])
def test_a_path_for_members_only(door: str, rig: Doors, version: str) -> None:
    assert rig.client(door, None, version, "b.test").get("/").status == 200
    refused = rig.client(door, None, version, "b.test").request("GET", "/members/x", [("Accept", "text/html")])
    assert refused.status == 403
    assert b"client certificate" in refused.body
    assert rig.client(door, rig.alice, version, "b.test").get("/members/x").status == 200


def test_any_certificate_is_shown_for_what_it_is(rig: Doors) -> None:
    client = rig.client("any", rig.stranger, name="b.test")
    assert client.get("/").status == 200
    assert (rig.upstream.take_one().find("X-Verify") or b"").startswith(b"FAILED:unable to get")
    assert client.get("/members/x").status == 403
    assert len(rig.upstream.requests) == 1


def session_of(rig: Doors, door: str, tls: ssl.SSLContext) -> ssl.SSLSession:
    """Return the session of a connection, after its tickets have come."""
    with socket.create_connection(("127.0.0.1", rig.ports[door]), 5) as sock:
        name = "b.test" if door in ("optional", "any") else "a.test"
        with tls.wrap_socket(sock, server_hostname=name) as secured:
            secured.sendall(b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % name.encode())
            assert secured.recv(1000).startswith(b"HTTP/1.1 200")
            session = secured.session
            assert session is not None
            return session


def resume(rig: Doors, door: str, tls: ssl.SSLContext, session: ssl.SSLSession, name: str) -> tuple[bool, bytes]:
    """Try to resume a session; return whether it was, and the beginning of the answer."""
    with (
        socket.create_connection(("127.0.0.1", rig.ports[door]), 5) as sock,
        tls.wrap_socket(sock, server_hostname=name, session=session) as secured,
    ):
        secured.sendall(b"GET /members/x HTTP/1.1\r\nHost: %s\r\n\r\n" % name.encode())
        return bool(secured.session_reused), secured.recv(1000)


@pytest.mark.parametrize("spoken", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_of_another_listener_is_no_client_certificate(rig: Doors, spoken: ssl.TLSVersion) -> None:
    # The listener for everybody speaks 1.3 only.
    begin = "everybody" if spoken is ssl.TLSVersion.TLSv1_3 else "optional"
    tls = rig.tls(None, spoken)
    session = session_of(rig, begin, tls)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        resume(rig, "required", tls, session, "b.test")
    assert not any(b"/members" in request.target for request in rig.upstream.requests)


def test_a_resumed_session_keeps_its_certificate(rig: Doors) -> None:
    tls = rig.tls(rig.alice)
    reused, answer = resume(rig, "optional", tls, session_of(rig, "optional", tls), "b.test")
    assert reused
    assert answer.startswith(b"HTTP/1.1 200")
    tls = rig.tls(rig.stranger)
    reused, answer = resume(rig, "any", tls, session_of(rig, "any", tls), "b.test")
    assert reused
    assert answer.startswith(b"HTTP/1.1 403")


def test_host_that_differs_from_the_name_in_the_handshake_is_421(rig: Doors, version: str) -> None:
    client = rig.client("required", rig.alice, version)
    assert client.request("GET", "/", [("Host", "b.test")]).status == 421
    assert rig.upstream.requests == []


def test_a_new_revocation_list_holds_at_once(rig: Doors) -> None:
    """Also for who has a session: its ticket opens no more."""
    bob = Person(rig.proxy.folder, rig.members, "bob")
    tls = rig.tls(bob)
    session = session_of(rig, "optional", tls)
    assert resume(rig, "optional", tls, session, "b.test")[0]
    file = rig.proxy.folder / "members.crl"
    file.write_bytes(revocations(rig.members, rig.mallory.certificate, bob.certificate))
    assert rig.proxy.control("reload").returncode == 0
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            reused, _ = resume(rig, "optional", tls, session, "b.test")
            assert not reused
        except (ssl.SSLError, ConnectionError):
            break
        time.sleep(0.05)
    else:
        raise AssertionError("a revoked client was let in")
    assert is_let_in(rig.client("optional", rig.alice, name="b.test"))


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("missing.pem", None, "does not exist"),
        ("empty.pem", "", "holds no certificate"),
        ("members.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "damaged"),
    ],
)
def test_authorities_that_cannot_be_read_are_an_error(file: str, text: str | None, says: str, tmp_path: Path) -> None:
    Authority().bundle(tmp_path / "a.pem", "a.test")
    if text is not None:
        (tmp_path / file).write_text(text)
    (tmp_path / "v.toml").write_text(
        f'[tls_profiles.p]\nclient_ca = "{file}"\n[listeners.l]\naddress = ":1"\ntls = true\ntls_profile = "p"\n'
        '[sites."a.test"]\ncert = "a.pem"\nlisten = "l"\nto = "http://127.0.0.1:1"\n'
    )
    found = run_command("check", "v.toml", folder=tmp_path)
    assert found.returncode == 1
    assert "v.toml:tls_profiles.p.client_ca: error: " in found.stdout + found.stderr
    assert says in found.stdout + found.stderr


def test_revocation_lists_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    authority = Authority()
    authority.bundle(tmp_path / "a.pem", "a.test")
    authority.write_root(tmp_path / "ca.pem")
    text = (
        '[tls_profiles.p]\nclient_ca = "ca.pem"\nclient_crl = "FILE"\n[listeners.l]\naddress = ":1"\ntls = true\ntls_profile = "p"\n'
        '[sites."a.test"]\ncert = "a.pem"\nlisten = "l"\nto = "http://127.0.0.1:1"\n'
    )
    for file, says in (("none.crl", "does not exist"), ("ca.pem", "holds no revocation list")):
        (tmp_path / "v.toml").write_text(text.replace("FILE", file))
        found = run_command("check", "v.toml", folder=tmp_path)
        assert found.returncode == 1
        assert says in found.stdout + found.stderr


def test_servers_of_one_socket_in_nginx_words(tmp_path: Path) -> None:
    """One asks for a certificate and the other does not: each is answered as nginx would."""
    servers, members = Authority("Servers"), Authority("Members")
    (port,) = free_ports(1)
    upstream = Upstream()
    for name in ("a.test", "b.test"):
        servers.bundle(tmp_path / f"{name}.pem", name)
    alice = Person(tmp_path, members, "alice")
    members.write_root(tmp_path / "members.pem")
    guests = Authority("Guests")
    guests.write_root(tmp_path / "guests.pem")
    bob = Person(tmp_path, guests, "bob")
    servers_text = "".join(
        f"server {{ listen 127.0.0.1:{port} ssl; server_name {name}; ssl_certificate {name}.pem; ssl_certificate_key {name}.pem; {more}\n"
        f" location / {{ proxy_pass http://127.0.0.1:{upstream.port}; proxy_set_header X-Client $ssl_client_s_dn; }} }}\n"
        for name, more in (
            ("a.test", ""),
            ("b.test", "ssl_verify_client on; ssl_client_certificate members.pem; ssl_trusted_certificate guests.pem;"),
        )
    )
    (tmp_path / "nginx.conf").write_text(f"http {{\n{servers_text}}}\n")
    adapted = run_command("adapt", "nginx.conf", "--to", "toml", folder=tmp_path)
    assert adapted.returncode == 0, adapted.stderr
    adapted_text = adapted.stdout.replace("[process]\nworkers = 1\n", "")  # the settings have a table of that name
    proxy = Vestibule(tmp_path, f"{settings(tmp_path)}\n{adapted_text}", [port])
    try:
        tls, bare = servers.client(), servers.client()
        tls.load_cert_chain(alice.file)
        address = ("127.0.0.1", port)
        assert Client(address, bare, "a.test").get("/").status == 200
        assert Client(address, bare, "b.test").get("/").status == 400
        assert Client(address, bare, "a.test").request("GET", "/", [("Host", "b.test")]).status == 421
        assert Client(address, tls, "b.test").get("/").status == 200
        guest = servers.client()
        guest.load_cert_chain(bob.file)
        assert Client(address, guest, "b.test").get("/").status == 200
        assert [request.find("X-Client") for request in upstream.requests] == [None, b"CN=alice", b"CN=bob"]
    finally:
        proxy.stop()
        upstream.close()


def test_a_connection_older_than_the_demand_is_not_let_through(tmp_path: Path, version: str) -> None:
    servers, members, upstream = Authority("Servers"), Authority("Members"), Upstream()
    (port,) = free_ports(1)
    servers.bundle(tmp_path / "a.pem", "a.test")
    members.write_root(tmp_path / "members.pem")
    text = (
        f'{settings(tmp_path)}\n[listeners.l]\naddress = "127.0.0.1:{port}"\ntls = true\ntls_profile = "PROFILE"\n'
        f'[tls_profiles.asking]\nclient_ca = "members.pem"\n'
        f'[sites."a.test"]\nlisten = "l"\ncert = "a.pem"\nto = "http://127.0.0.1:{upstream.port}"\n'
    )
    proxy = Vestibule(tmp_path, text.replace("PROFILE", "intermediate"), [port])
    try:
        client = Client(("127.0.0.1", port), servers.client(), "a.test", version)
        with client.connect() as connection:
            assert client.open("GET", "/", wire=connection).read_response().status == 200
            proxy.write(text.replace("PROFILE", "asking"))
            assert proxy.control("reload").returncode == 0
            assert client.open("GET", "/", wire=connection).read_response().status == 403
        assert len(upstream.requests) == 1
    finally:
        proxy.stop()
        upstream.close()
