"""Sources that answer by themselves."""

import pytest

from vestibule.contract import PASS, Plan, Step
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_BAD_HOST, PROXY_LOOP, PROXY_NO_ROUTE
from vestibule.plan.expr import EXCHANGE, Const
from vestibule.plan.sources.again import Again, Ring
from vestibule.plan.sources.challenge import Challenge, OpenTokens
from vestibule.plan.sources.closed import Closed
from vestibule.plan.sources.fixed import HttpsRedirect, Redirect, Respond
from vestibule.plan.variables import Arg, Query

from .fakes import answer_of, client, request


def test_respond() -> None:
    source = Respond(200, [b"X-A", b"X-None"], [Const(b"1"), Const(b"")], Query(EXCHANGE))
    _, down = request(Plan("p", source), "/?hello")
    assert answer_of(down).status == 200
    assert answer_of(down).fields.block == b"X-A: 1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n"
    assert down.body == b"hello"
    assert down.ended


def test_respond_to_head_has_no_body() -> None:
    _, down = request(Plan("p", Respond(200, [b"content-type"], [Const(b"text/html")], Const(b"hi"))), method="HEAD")
    assert answer_of(down).fields.block == b"content-type: text/html\r\nContent-Length: 2\r\n"
    assert down.body == b""


def test_respond_without_body() -> None:
    _, down = request(Plan("p", Respond(204, [], [], None)))
    assert answer_of(down).fields.block == b""


def test_value_from_the_client_makes_no_line() -> None:
    _, down = request(Plan("p", Respond(200, [b"X-A"], [Const(b"a\r\nSet-Cookie: x")], None)))
    assert answer_of(down).fields.names[0].lower == b"x-a"
    assert answer_of(down).fields.get(b"set-cookie") is None


@pytest.mark.parametrize(
    ("location", "wanted"),
    [
        ("/new", b"https://photos.example:8443/new"),
        ("https://other.example/", b"https://other.example/"),
        ("//other.example/", b"//other.example/"),
        ("app.immich:///oauth-callback", b"app.immich:///oauth-callback"),
    ],
)
def test_redirect_is_absolute(location: str, wanted: bytes) -> None:
    _, down = request(Plan("p", Redirect(303, Const(location.encode()))), authority="photos.example:8443", peer=client(scheme="https"))
    assert answer_of(down).status == 303
    assert answer_of(down).fields.get(b"location") == wanted
    assert down.ended


def test_redirect_to_nothing_names_nothing() -> None:
    _, down = request(Plan("p", Redirect(308, Arg(b"to"))))
    assert answer_of(down).fields.get(b"location") is None


@pytest.mark.parametrize(
    ("port", "authority", "target", "wanted"),
    [
        (443, "photos.example", "/a?b=c", b"https://photos.example/a?b=c"),
        (443, "Photos.Example:8080", "/%2e/", b"https://photos.example/%2e/"),
        (8443, "photos.example:8080", "/", b"https://photos.example:8443/"),
        (8443, "[::1]:8080", "/", b"https://[::1]:8443/"),
        (443, "", "/a", b"https://first.example/a"),
        (443, "photos.example", "*", b"https://photos.example/"),
    ],
)
def test_https_redirect(port: int, authority: str, target: str, wanted: bytes) -> None:
    _, down = request(Plan("p", HttpsRedirect(port, b"first.example")), target, authority=authority, method="POST")
    assert answer_of(down).status == 308
    assert answer_of(down).fields.get(b"location") == wanted


def test_https_redirect_without_any_host() -> None:
    ex, down = request(Plan("p", HttpsRedirect(443, b"")), authority="")
    assert answer_of(down).status == 400
    assert ex.fault is not None
    assert ex.fault.kind is CLIENT_BAD_HOST


def test_closed() -> None:
    ex, down = request(Plan("p", Closed(PROXY_NO_ROUTE, "why")))
    assert answer_of(down).status == 404
    assert ex.fault is not None
    assert ex.fault.detail == "why"


class Counts(Step):
    """Stands for the step that makes the fields anew."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, ex: Exchange) -> int:
        self.runs += 1
        return PASS


def test_again_asks_the_site_or_one_of_its_routes() -> None:
    forward = Counts()
    ring = Ring(forward)
    ring.around = Plan("site", Respond(200, [], [], Const(b"around")))
    ring.named[b"@x"] = Plan("x", Respond(200, [], [], Const(b"named")))
    assert request(Plan("p", Again(ring, b"")))[1].body == b"around"
    assert request(Plan("p", Again(ring, b"@x")))[1].body == b"named"
    assert request(Plan("p", Again(ring, b"")))[0].around
    assert forward.runs == 3


def test_going_round_for_ever_ends() -> None:
    ring = Ring(Counts())
    ring.around = Plan("site", Again(ring, b""))
    ex, down = request(Plan("p", Again(ring, b"")))
    assert ex.fault is not None and ex.fault.kind is PROXY_LOOP
    assert answer_of(down).status == 500


def test_a_challenge_is_answered_while_it_is_open() -> None:
    tokens = OpenTokens()
    plan = Plan("p", Challenge(tokens))
    tokens.answers[b"token"] = b"token.thumbprint"
    _, down = request(plan, "/.well-known/acme-challenge/token?x=1")
    assert answer_of(down).status == 200 and down.body == b"token.thumbprint"
    assert answer_of(down).fields.get(b"cache-control") == b"no-store"
    for target in ("/.well-known/acme-challenge/other", "/.well-known/acme-challenge/", "/token"):
        ex, down = request(plan, target)
        assert answer_of(down).status == 404 and ex.fault is not None and ex.fault.kind is PROXY_NO_ROUTE
