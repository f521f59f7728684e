"""Every variable of the vocabulary has an evaluator that says what it promises and no narrower scope."""

import pytest

from vestibule.contract import Chosen
from vestibule.fault import UPSTREAM_REFUSED, Fault
from vestibule.http.address import NetworkSet
from vestibule.http.head import ResponseHead
from vestibule.http.proxy_protocol import parse_proxy_header
from vestibule.model.expr import Kind
from vestibule.model.vocabulary import FUNCTIONS, VARIABLES
from vestibule.net.peer import PeerCertificate
from vestibule.plan.expr import CONNECTION, CONST, EXCHANGE, FIELDS, Const, ConstNumber, Node
from vestibule.plan.functions import make_call, url_decode, url_encode
from vestibule.plan.steps.forward import Forward, Terms
from vestibule.plan.steps.rewrite import Rewrite
from vestibule.plan.variables import Place, make_variable

from .fakes import fields, idle

PLACE = Place(b"web", b"photos", b"immich")
NAMED = {
    "certificate": b"sha1",
    "digest": b"sha256",
    "hmac": b"sha256",
    "checksum": b"crc32",
    "json_value": b"$.a",
    "normalize": b"strip-dot",
    "xxhash": b"xxh64",
}
LAST = {"chunks": b"hex"}
SCOPES = {"connection": CONNECTION, "fields": FIELDS, "exchange": EXCHANGE}


@pytest.mark.parametrize("name", VARIABLES)
def test_every_variable_has_an_evaluator(name: str) -> None:
    node = make_variable(name, "4" if VARIABLES[name].argument in ("count", "type") else "x", PLACE)
    assert node is not None
    assert isinstance(node.text(idle()), bytes)


@pytest.mark.parametrize("name", VARIABLES)
def test_scope_is_not_wider_than_the_vocabulary_says(name: str) -> None:
    """But for `protocol`, which the vocabulary takes for the connection's: one may carry 1.0 and 1.1."""
    node = make_variable(name, "4" if VARIABLES[name].argument in ("count", "type") else "x", PLACE)
    assert node is not None
    if name not in ("listener", "site"):
        assert node.scope == (EXCHANGE if name == "protocol" else SCOPES[VARIABLES[name].scope])
    else:
        assert node.scope == CONST


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_an_evaluator(name: str) -> None:
    arguments: list[Node] = [ConstNumber(1) if kind is Kind.NUMBER else Const(b"A%20b") for kind in FUNCTIONS[name].arguments]
    if name in NAMED:
        arguments[1] = Const(NAMED[name])
    if name in LAST:
        arguments[-1] = Const(LAST[name])
    node = make_call(name, arguments)
    assert node is not None
    of_moment = ("http_date", "existing", "executable", "expiry")
    assert node.scope == (EXCHANGE if name in of_moment else CONST), "what looks at the clock or the disk is made anew"


def test_unknown_names_have_none() -> None:
    assert make_variable("nonsense", "", PLACE) is None
    assert make_call("nonsense", [Const(b"")]) is None
    assert make_call("lower", []) is None


VALUES = [
    ("peer_ip", "", b"203.0.113.7"), ("client_port", "", b"50000"), ("server_ip", "", b"192.0.2.1"), ("server_port", "", b"80"),
    ("listener", "", b"web"), ("site", "", b"photos"), ("scheme", "", b"http"), ("tls", "", b"false"),
    ("client_ip", "", b"203.0.113.7"), ("method", "", b"GET"), ("target", "", b"/a%20b/?id=1&k%65y=2&id=3"), ("path", "", b"/a%20b/"),
    ("decoded_path", "", b"/a b/"), ("query", "", b"id=1&k%65y=2&id=3"), ("arg", "id", b"1"), ("arg", "key", b"2"),
    ("arg", "none", b""), ("protocol", "", b"HTTP/1.1"), ("host", "", b"photos.example"), ("host_port", "", b"Photos.Example:8443"),
    ("header", "X-Two", b"a, b"), ("header", "none", b""), ("header", "Cookie", b"t=0; s=1=2; s=9"),
    ("header_line", "X-Two", b"b"), ("header_line", "none", b""), ("header_lines", "X-Two", b"2"), ("header_lines", "none", b"0"),
    ("response_header_line", "X-R", b"2"), ("response_header_line", "none", b""), ("response_header_lines", "X-R", b"2"),
    ("request_header", "X-Two", b"a, b"), ("request_header", "none", b""), ("request_header_line", "X-Two", b"b"),
    ("request_header", "Cookie", b"t=0; s=1=2; s=9"),
    ("announced_ip", "", b"192.0.2.9"), ("announced_port", "", b"99"), ("announced_server_ip", "", b"192.0.2.8"),
    ("announced_server_port", "", b"98"), ("connection_number", "", b"7"), ("connection_requests", "", b"1"),
    ("kept", "mine", b"1"), ("kept", "ours", b"2"), ("kept", "none", b""), ("proxied", "", b"false"), ("first_request", "", b"true"),
    ("cookie", "s", b"1=2"), ("cookie", "none", b""), ("target_origin", "", b"http://photos.example"),
    ("user", "", b"alice"), ("upstream_mark", "", b"a1"),
    ("upstream", "", b"immich"), ("upstream_address", "", b"192.0.2.80:2283"), ("upstream_connect_ms", "", b"3"),
    ("status", "", b"200"), ("response_header", "X-R", b"1, 2"), ("response_header", "none", b""), ("head_ms", "", b"9"),
    ("bytes_in", "", b"10"), ("bytes_out", "", b"20"), ("datagrams_in", "", b"4"), ("datagrams_out", "", b"5"),
    ("total_ms", "", b"500"), ("fault", "", b"upstream.refused"),
    ("tls_version", "", b""), ("tls_cipher", "", b""), ("tls_sni", "", b""),
    ("tls_resumed", "", b"true"), ("tls_session", "", b"01ab"), ("tls_protocol", "", b"h2"),
    ("tls_client_verify", "", b""), ("tls_client_subject", "", b""), ("tls_client_certificate", "", b""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "argument", "value"), VALUES)
def test_value(name: str, argument: str, value: bytes) -> None:
    ex = idle("/a%20b/?id=1&k%65y=2&id=3", "X-Two: a", "X-Two: b", "Cookie: t=0; s=1=2", "cookie: s=9", "Authorization: Basic YWxpY2U6eDp5",
              authority="Photos.Example:8443")  # fmt: skip
    ex.chosen = Chosen()
    ex.request.origin = b"http://photos.example"
    ex.client.announced = parse_proxy_header(b"PROXY TCP4 192.0.2.9 192.0.2.8 99 98\r\n")
    ex.client.tls_resumed, ex.client.tls_session, ex.client.tls_protocol = True, b"\x01\xab", b"h2"
    ex.client.number, ex.client.requests = 7, 1
    ex.kept = {b"mine": b"1"}
    ex.client.kept = {b"mine": b"0", b"ours": b"2"}
    ex.chosen.token = b"a1"
    ex.upstream_name = "192.0.2.80:2283"
    ex.connect_ms, ex.head_ms, ex.request_bytes, ex.response_bytes, ex.ended_ms = 3, 9, 10, 20, 1500
    ex.datagrams_in, ex.datagrams_out = 4, 5
    ex.response = ResponseHead(200, b"", fields("X-R: 1", "X-R: 2"))
    ex.fault = Fault(UPSTREAM_REFUSED)
    node = make_variable(name, argument, PLACE)
    assert node is not None
    assert node.text(ex) == value


def test_a_field_of_a_server_is_known_whatever_became_of_it() -> None:
    node = make_variable("upstream_header", "X-R", PLACE)
    assert node is not None
    ex = idle()
    assert node.find(ex) is None
    ex.response = ResponseHead(200, b"", fields("X-R: 3"))
    assert node.find(ex) is None, "made here"
    ex.came = fields("X-R: 1", "X-R: 2")
    assert node.find(ex) == b"1, 2"
    ex.came = fields("X-S: 1")
    assert node.find(ex) is None


def test_how_long_a_certificate_is_valid_yet() -> None:
    node = make_variable("tls_client_days", "", PLACE)
    assert node is not None
    ex = idle()
    assert node.find(ex) is None
    ex.client.certificate = PeerCertificate(b"no certificate", 0)
    assert node.find(ex) == b"0"


def test_request_id_is_the_same_for_one_exchange_and_differs_for_two() -> None:
    node = make_variable("request_id", "", PLACE)
    assert node is not None
    one, other = idle(), idle()
    assert node.text(one) == node.text(one)
    assert node.text(one) != node.text(other)
    assert len(node.text(one)) >= 24


def test_sizes_have_the_heads_in_them() -> None:
    request, response = make_variable("request_size", "", PLACE), make_variable("response_size", "", PLACE)
    assert request is not None
    assert response is not None
    ex = idle("/request", authority="localhost")
    ex.request_bytes, ex.response_bytes = 10, 20
    assert request.text(ex) == b"%d" % (len(b"GET /request HTTP/1.1\r\nHost: localhost\r\n\r\n") + 10)
    assert response.text(ex) == b"20", "there is none yet"
    ex.response = ResponseHead(200, b"OK", fields("X-R: 1"))
    assert response.text(ex) == b"%d" % (len(b"HTTP/1.1 200 OK\r\nX-R: 1\r\n\r\n") + 20)
    ex.head_bytes = 100
    assert response.text(ex) == b"120", "as it was sent"


def test_what_the_client_sent_outlives_steps() -> None:
    ex = idle("/old?a=1", "X-Forwarded-For: 192.0.2.66")
    Forward(Terms(NetworkSet([])), []).run(ex)
    Rewrite(Const(b"/new"), Const(b"b=2")).run(ex)
    texts = {}
    for name, argument in (("target", ""), ("path", ""), ("query", ""), ("header", "x-forwarded-for")):
        node = make_variable(name, argument, PLACE)
        assert node is not None
        texts[name] = node.text(ex)
    assert texts == {"target": b"/old?a=1", "path": b"/new", "query": b"b=2", "header": b"192.0.2.66"}


@pytest.mark.parametrize(
    ("text", "encoded"), [(b"a-Z_0.~", b"a-Z_0.~"), (b"a b/\xff", b"a%20b%2F%FF"), (b"", b""), ("ü".encode(), b"%C3%BC")]
)
def test_url_encode(text: bytes, encoded: bytes) -> None:
    assert url_encode(text) == encoded
    assert url_decode(encoded) == text


@pytest.mark.parametrize("text", [b"%", b"%zz", b"%4", b"100%"])
def test_invalid_escapes_stay(text: bytes) -> None:
    assert url_decode(text) == text


def test_functions() -> None:
    ex = idle()
    for name, text, wanted in (
        ("lower", b"aBC", b"abc"),
        ("upper", b"aBc", b"ABC"),
        ("length", b"abc", b"3"),
        ("url_encode", b"a b", b"a%20b"),
        ("url_decode", b"a%20b", b"a b"),
    ):
        node = make_call(name, [Const(text)])
        assert node is not None
        assert node.text(ex) == wanted


def test_client_certificates() -> None:
    ex = idle()
    ex.client.scheme = b"https"
    verify, whole = make_variable("tls_client_verify", "", PLACE), make_variable("tls_client_certificate", "", PLACE)
    assert verify is not None
    assert whole is not None
    assert verify.text(ex) == b"NONE"
    ex.client.certificate = PeerCertificate(b"abc", 10)
    assert verify.text(ex) == b"FAILED:certificate has expired"
    assert whole.text(ex) == b"YWJj"


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["Authorization: Bearer YWxpY2U6eA=="],
        ["Authorization: Basic YWxpY2U="],  # no colon
        ["Authorization: Basic %%%"],
        ["Authorization: Basic YWwKaWNlOng="],  # a line feed in the name
        ["Authorization: Basic YWxpY2U6eA==", "Authorization: Basic Ym9iOng="],
    ],
)
def test_no_credentials_name_nobody(lines: list[str]) -> None:
    node = make_variable("user", "", PLACE)
    assert node is not None and node.find(idle("/", *lines)) is None
