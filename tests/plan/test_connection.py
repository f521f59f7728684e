"""What is known of a connection and of the machine."""

import os
import ssl

import pytest

from tests.e2e.certs import Authority
from vestibule.http.proxy_protocol import ProxyHeader, parse_proxy_header
from vestibule.net.peer import PeerCertificate, Secured
from vestibule.plan.connection import ConnectionRequests
from vestibule.plan.expr import EXCHANGE, Node
from vestibule.plan.variables import Place, make_variable

from .fakes import idle

_END = "-----END CERTIFICATE-----"
CERTIFICATE = ssl.PEM_cert_to_DER_cert(Authority().leaf("photos.test")[0].decode().partition(_END)[0] + _END)
SHOWN = ["subject", "name", "issuer", "serial", "fingerprint", "short_fingerprint", "not_before", "not_after", "certificate", "pem"]


def node(name: str, argument: str = "") -> Node:
    made = make_variable(name, argument, Place())
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("peer_ip", b"203.0.113.7"), ("client_port", b"50000"), ("server_ip", b"192.0.2.1"), ("server_port", b"80"), ("scheme", b"https"),
        ("tls", b"true"), ("tls_version", b"TLSv1.3"), ("tls_cipher", b"AES"), ("tls_resumed", b"true"), ("tls_session", b"01ab"),
        ("tls_protocol", b"h2"), ("tls_sni", b"a.test"), ("tls_hello", b"true"), ("tls_alpn", b"h2,x"), ("tls_client_verify", b"NONE"),
        ("tls_client_error", b"0"), ("connection_number", b"7"), ("connection_requests", b"3"), ("announced_ip", b"192.0.2.9"),
        ("announced_port", b"99"), ("announced_server_ip", b"192.0.2.8"), ("announced_server_port", b"98"),
        ("hostname", os.uname().nodename.lower().encode()),
    ],
)  # fmt: skip
def test_value(name: str, value: bytes) -> None:
    ex = idle()
    client = ex.client
    client.scheme, client.tls_version, client.tls_cipher = b"https", b"TLSv1.3", b"AES"
    client.tls_resumed, client.tls_session, client.tls_protocol = True, b"\x01\xab", b"h2"
    client.sni, client.hello, client.alpn, client.number, client.requests = b"a.test", True, b"h2,x", 7, 3
    client.announced = parse_proxy_header(b"PROXY TCP4 192.0.2.9 192.0.2.8 99 98\r\n")
    assert node(name).text(ex) == value


def test_first_bytes_are_there_once_there_are_enough() -> None:
    ex = idle()
    ex.client.first = b"SSH-"
    assert [node("first_bytes", str(count)).find(ex) for count in (1, 4, 5)] == [b"SSH-", b"SSH-", None]


def test_ciphers_that_both_know() -> None:
    ex = idle()
    assert node("tls_ciphers").find(ex) is None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ex.client.secured = Secured(context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True))
    assert node("tls_ciphers").find(ex) == b"", "nothing is settled"


def test_the_process_is_known() -> None:
    assert node("process_id").text(idle()) == b"%d" % os.getpid()


@pytest.mark.parametrize("name", ["ip", "port", "server_ip", "server_port"])
def test_without_a_header_nothing_was_announced(name: str) -> None:
    assert node(f"announced_{name}").find(idle()) is None


def test_client_certificates() -> None:
    ex = idle()
    assert node("tls_client_verify").find(ex) is None, "without TLS"
    assert [node(f"tls_client_{name}").find(ex) for name in SHOWN] == [None] * len(SHOWN)
    ex.client.scheme = b"https"
    ex.client.certificate = PeerCertificate(CERTIFICATE, 10)
    assert node("tls_client_verify").text(ex) == b"FAILED:certificate has expired"
    assert node("tls_client_error").text(ex) == b"10"
    assert all(node(f"tls_client_{name}").text(ex) for name in SHOWN)
    assert node("tls_client_pem").text(ex).startswith(b"-----BEGIN")


def test_what_changes_with_each_request_is_not_remembered() -> None:
    assert ConnectionRequests(EXCHANGE).scope == EXCHANGE
    assert node("connection_requests").scope == EXCHANGE


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


def test_tlvs_of_a_proxy_header() -> None:
    ex = idle()
    nodes = {which: make_variable("announced_tlv", which, Place()) for which in ("2", "3", "32.34", "32.35", "32.36", "32.verify")}

    def found() -> dict[str, bytes | None]:
        return {which: node.find(ex) for which, node in nodes.items() if node is not None}

    assert set(found().values()) == {None}
    header = ex.client.announced = ProxyHeader(16)
    header.tlvs = {2: b"a.example", 32: b"\1" + b"\0\0\0\xff" + tlv(33, b"TLSv1.3") + tlv(34, b"alice") + tlv(36, b"cut")[:-1]}
    expected = {"2": b"a.example", "3": None, "32.34": b"alice", "32.35": None, "32.36": None, "32.verify": b"255"}
    assert found() == expected
    header.tlvs = {32: b"\1\0"}
    assert set(found().values()) == {None}
