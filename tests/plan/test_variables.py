"""Every variable of the vocabulary has an evaluator that says what it promises and no narrower scope."""

import pytest

from vestibule.contract import Chosen
from vestibule.fault import UPSTREAM_REFUSED, Fault
from vestibule.http.address import NetworkSet
from vestibule.http.head import ResponseHead
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
NAMED = {"digest": b"sha256", "hmac": b"sha256", "checksum": b"crc32", "json_value": b"$.a", "normalize": b"strip-dot"}
SCOPES = {"connection": CONNECTION, "fields": FIELDS, "exchange": EXCHANGE}


@pytest.mark.parametrize("name", VARIABLES)
def test_every_variable_has_an_evaluator(name: str) -> None:
    node = make_variable(name, "x", PLACE)
    assert node is not None
    assert isinstance(node.text(idle()), bytes)


@pytest.mark.parametrize("name", VARIABLES)
def test_scope_is_not_wider_than_the_vocabulary_says(name: str) -> None:
    """But for `protocol`, which the vocabulary takes for the connection's: one may carry 1.0 and 1.1."""
    node = make_variable(name, "x", PLACE)
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
    node = make_call(name, arguments)
    assert node is not None
    assert node.scope == (EXCHANGE if name == "http_date" else CONST), "what looks at the clock is made anew"


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
    ("kept", "mine", b"1"), ("kept", "ours", b"2"), ("kept", "none", b""), ("proxied", "", b"false"), ("first_request", "", b"true"),
    ("cookie", "s", b"1=2"), ("cookie", "none", b""),
    ("user", "", b"alice"), ("upstream_mark", "", b"a1"),
    ("upstream", "", b"immich"), ("upstream_address", "", b"192.0.2.80:2283"), ("upstream_connect_ms", "", b"3"),
    ("status", "", b"200"), ("response_header", "X-R", b"1, 2"), ("response_header", "none", b""), ("head_ms", "", b"9"),
    ("bytes_in", "", b"10"), ("bytes_out", "", b"20"), ("total_ms", "", b"500"), ("fault", "", b"upstream.refused"),
    ("tls_version", "", b""), ("tls_cipher", "", b""), ("tls_sni", "", b""),
    ("tls_client_verify", "", b""), ("tls_client_subject", "", b""), ("tls_client_certificate", "", b""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "argument", "value"), VALUES)
def test_value(name: str, argument: str, value: bytes) -> None:
    ex = idle("/a%20b/?id=1&k%65y=2&id=3", "X-Two: a", "X-Two: b", "Cookie: t=0; s=1=2", "cookie: s=9", "Authorization: Basic YWxpY2U6eDp5",
              authority="Photos.Example:8443")  # fmt: skip
    ex.chosen = Chosen()
    ex.kept = {b"mine": b"1"}
    ex.client.kept = {b"mine": b"0", b"ours": b"2"}
    ex.chosen.token = b"a1"
    ex.upstream_name = "192.0.2.80:2283"
    ex.connect_ms, ex.head_ms, ex.request_bytes, ex.response_bytes, ex.ended_ms = 3, 9, 10, 20, 1500
    ex.response = ResponseHead(200, b"", fields("X-R: 1", "X-R: 2"))
    ex.fault = Fault(UPSTREAM_REFUSED)
    node = make_variable(name, argument, PLACE)
    assert node is not None
    assert node.text(ex) == value


def test_request_id_is_the_same_for_one_exchange_and_differs_for_two() -> None:
    node = make_variable("request_id", "", PLACE)
    assert node is not None
    one, other = idle(), idle()
    assert node.text(one) == node.text(one)
    assert node.text(one) != node.text(other)
    assert len(node.text(one)) >= 24


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
