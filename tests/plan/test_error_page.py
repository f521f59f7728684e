"""The page of a fault: clear to people, readable to programs, silent about what is nobody's business."""

import json
from html.parser import HTMLParser

import pytest

from vestibule.contract import Plan, Source
from vestibule.exchange import Exchange
from vestibule.fault import (
    CLIENT_BAD_HOST,
    CLIENT_BAD_METHOD,
    CLIENT_BODY_TOO_LARGE,
    KINDS,
    PROXY_NO_SITE,
    UPSTREAM_BAD_SYNTAX,
    UPSTREAM_BUSY,
    UPSTREAM_REFUSED,
    UPSTREAM_TIMEOUT_HEAD,
    Fault,
)
from vestibule.plan.error_page import ClearPage, wants_json

from .fakes import FakeStream, answer_of, idle, request


class Failing(Source):
    """Fails with one fault."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault

    def start(self, ex: Exchange) -> None:
        ex.fail(self.fault)


def failed(fault: Fault, *lines: str, target: str = "/", immich: bool = True, method: str = "GET") -> FakeStream:
    _, down = request(Plan("p", Failing(fault), error_page=ClearPage(immich)), target, *lines, method=method)
    return down


class Tags(HTMLParser):
    """Collects elements, and fails on scripts and anything loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.hops: list[str] = []
        self.refresh = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "img", "link", "iframe", "a")
        for name, value in attrs:
            assert name not in ("src", "href") and not name.startswith("on")
            if tag == "li" and name == "class":
                self.hops.append(value or "")
            if tag == "meta" and value == "refresh":
                self.refresh = True

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page(down: FakeStream) -> Tags:
    tags = Tags()
    tags.feed(down.body.decode())
    return tags


HTML = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.status])
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_every_fault_has_its_page(name: str, accept: str) -> None:
    kind = KINDS[name]
    down = failed(Fault(kind, "detail"), f"Accept: {accept}")
    head = answer_of(down)
    assert head.status == kind.status
    assert head.fields.get(b"cache-control") == b"no-store"
    assert head.fields.content_length == len(down.body)
    if accept == "text/html":
        assert kind.text in "".join(page(down).texts)
    else:
        told = json.loads(down.body)
        assert (told["statusCode"], told["message"], told["fault"]) == (kind.status, kind.text, name)


@pytest.mark.parametrize(
    ("kind", "hops"),
    [(CLIENT_BAD_HOST, ["bad", "idle", "idle"]), (PROXY_NO_SITE, ["good", "bad", "idle"]), (UPSTREAM_REFUSED, ["good", "good", "bad"])],
)
def test_failing_hop_is_marked(kind: object, hops: list[str]) -> None:
    assert page(failed(Fault(kind), HTML)).hops == hops  # type: ignore[arg-type]


def test_what_came_with_the_request_is_escaped() -> None:
    evil = "<script>alert('x')</script>\"&"
    down = failed(Fault(CLIENT_BAD_HOST, evil), HTML)
    assert b"<script" not in down.body
    assert evil in page(down).texts
    assert json.loads(failed(Fault(CLIENT_BAD_HOST, evil), "Accept: application/json").body)["detail"] == evil


def test_half_characters_do_no_harm() -> None:
    assert b"?" in failed(Fault(CLIENT_BAD_HOST, "\udc80"), HTML).body


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_inner_addresses_are_not_told(accept: str) -> None:
    down = failed(Fault(UPSTREAM_REFUSED, "10.0.0.5:2283"), f"Accept: {accept}")
    assert b"10.0.0.5" not in down.body
    assert b"Is it running" in down.body


def test_limit_and_key_are_named() -> None:
    down = failed(Fault(CLIENT_BODY_TOO_LARGE, "over 10 bytes (limits.body)"), HTML)
    assert b"over 10 bytes (limits.body)" in down.body
    assert b"Raise or remove limits.body" in down.body


def test_timeout_is_named() -> None:
    assert b"timeouts.response_head" in failed(Fault(UPSTREAM_TIMEOUT_HEAD), HTML).body


@pytest.mark.parametrize(
    ("kind", "after"), [(UPSTREAM_REFUSED, b"5"), (UPSTREAM_BUSY, b"5"), (UPSTREAM_BAD_SYNTAX, None), (PROXY_NO_SITE, None)]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_retry_is_offered_where_it_helps(kind: object, after: bytes | None, method: str) -> None:
    down = failed(Fault(kind), HTML, method=method)  # type: ignore[arg-type]
    assert answer_of(down).fields.get(b"retry-after") == after
    assert page(down).refresh == (after is not None and method == "GET")


def test_405_says_what_is_allowed() -> None:
    assert b"GET" in (answer_of(failed(Fault(CLIENT_BAD_METHOD), HTML)).fields.get(b"allow") or b"")


@pytest.mark.parametrize(
    ("target", "lines", "json_wanted"),
    [
        ("/", [HTML], False),
        ("/", [], False),
        ("/", ["Accept: */*"], False),
        ("/", ["Accept: application/json"], True),
        ("/", ["Accept: text/html, application/json"], False),
        ("/api/assets", [HTML], True),
        ("/api", [], True),
        ("/apiary", [HTML], False),
        ("/", [HTML, "Sec-Fetch-Mode: cors"], True),
        ("/", ["Accept: application/json", "Sec-Fetch-Mode: navigate"], False),
        ("/", [HTML, "X-Requested-With: XMLHttpRequest"], True),
    ],
)
def test_who_gets_json(target: str, lines: list[str], json_wanted: bool) -> None:
    assert wants_json(idle(target, *lines), True) == json_wanted


def test_api_path_means_nothing_elsewhere() -> None:
    assert not wants_json(idle("/api/x", HTML), False)
    assert (
        answer_of(failed(Fault(PROXY_NO_SITE), HTML, target="/api/x", immich=False)).fields.get(b"content-type")
        == b"text/html; charset=utf-8"
    )


def test_page_may_leave_its_fields_out() -> None:
    _, down = request(Plan("p", Failing(Fault(UPSTREAM_REFUSED)), error_page=ClearPage(False, False)), "/", HTML)
    fields = answer_of(down).fields
    assert fields.get(b"cache-control") is None
    assert fields.get(b"retry-after") is None


def test_request_can_be_found_again() -> None:
    plan = Plan("p", Failing(Fault(PROXY_NO_SITE)), error_page=ClearPage(True))
    ex, down = request(plan, "/api/x")
    assert ex.variables is not None
    assert json.loads(down.body)["requestId"] == ex.variables[0].decode()


def test_page_forbids_itself_everything() -> None:
    policy = answer_of(failed(Fault(PROXY_NO_SITE), HTML)).fields.get(b"content-security-policy") or b""
    assert policy.startswith(b"default-src 'none'")
