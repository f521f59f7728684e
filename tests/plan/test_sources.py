"""Sources that answer by themselves."""

import json
import os
from pathlib import Path

import pytest

from vestibule.contract import PASS, Plan, Step
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_BAD_HOST, PROXY_LOOP, PROXY_NO_ROUTE
from vestibule.plan.expr import EXCHANGE, Const
from vestibule.plan.sources.again import Again, Ring
from vestibule.plan.sources.challenge import Challenge, OpenTokens
from vestibule.plan.sources.closed import Closed
from vestibule.plan.sources.figures import Figures, PageBook
from vestibule.plan.sources.fixed import HttpsRedirect, Redirect, Respond
from vestibule.plan.sources.listing import MOST, arranged, as_json, as_page, read_entries, sized
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


@pytest.fixture
def listed(tmp_path: Path) -> bytes:
    for name, size in {"b.txt": 3, "A.txt": 2048, "c <&>:.txt": 1, "big": 5 << 20}.items():
        (tmp_path / name).write_bytes(b"x" * size)
        os.utime(tmp_path / name, (size, size))
    (tmp_path / "dir").mkdir()
    os.utime(tmp_path / "dir", ns=(1, 1_500_000_000))
    (tmp_path / "nowhere").symlink_to("/nowhere")
    (tmp_path / "link").symlink_to("dir")
    os.mkfifo(tmp_path / "pipe")
    return str(tmp_path).encode()


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (b"", ["dir", "link", "A.txt", "b.txt", "big", "c <&>:.txt"]),
        (b"sort=nonsense&limit=x", ["dir", "link", "A.txt", "b.txt", "big", "c <&>:.txt"]),
        (b"sort=name", ["A.txt", "b.txt", "big", "c <&>:.txt", "dir", "link"]),
        (b"sort=size&order=desc", ["big", "A.txt", "b.txt", "c <&>:.txt", "link", "dir"]),
        (b"sort=time&limit=2", ["c <&>:.txt", "dir"]),
    ],
)
def test_a_list_is_in_the_order_that_was_asked_for(listed: bytes, query: bytes, names: list[str]) -> None:
    assert [each.shown for each in arranged(read_entries(listed), query)] == names


def test_lists_for_programs_and_for_people(listed: bytes) -> None:
    entries = arranged(read_entries(listed), b"")
    told = json.loads(as_json(entries))
    assert [each["is_symlink"] for each in told] == [False, True, False, False, False, False]
    assert told[0]["name"] == "dir/"
    assert told[0]["mod_time"] == "1970-01-01T00:00:01.5Z"
    known = {"name": "b.txt", "size": 3, "url": "./b.txt", "mod_time": "1970-01-01T00:00:03Z", "mode": 0o644}
    assert told[3] == known | {"is_dir": False, "is_symlink": False}
    page = as_page(b"/a<b/", entries, False).decode()
    assert '<a href="./c%20%3C%26%3E%3A.txt">c &lt;&amp;&gt;:.txt</a>' in page
    assert "<h1>/a&lt;b/</h1>" in page
    assert 'href="../"' in page
    assert "2.0 KiB" in page
    assert f"Only {MOST}" in page
    assert 'href="../"' not in as_page(b"/", entries, True).decode()
    assert (sized(1023), sized(5 << 20), sized(7 << 50)) == ("1023 B", "5.0 MiB", "7168.0 TiB")


def test_a_long_list_ends(tmp_path: Path) -> None:
    for number in range(MOST + 3):
        (tmp_path / str(number)).touch()
    assert len(read_entries(str(tmp_path).encode())) == MOST


def figures(form: str, refresh_s: int = 0) -> tuple[PageBook, Plan]:
    book = PageBook()
    accept, words = {"prometheus": (b"application/openmetrics-text", b""), "haproxy": (b"", b";csv")}.get(form, (b"", b""))
    return book, Plan("p", Figures(book, "one", "two", accept, words, refresh_s))


def test_figures_before_there_are_any() -> None:
    _, plan = figures("html")
    _, down = request(plan)
    assert answer_of(down).status == 503
    assert answer_of(down).fields.get(b"retry-after") == b"2"


def test_figures_by_what_is_accepted() -> None:
    book, plan = figures("prometheus")
    book.take({"one": "text/plain; version=0.0.4\na 1\n", "two": "application/openmetrics-text\na 1\n# EOF\n"})
    assert request(plan)[1].body == b"a 1\n"
    assert request(plan, "/", "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5")[1].body == b"a 1\n# EOF\n"
    _, down = request(plan, method="POST")
    assert (answer_of(down).status, answer_of(down).fields.get(b"allow")) == (405, b"GET, HEAD")
    book.take({})
    assert answer_of(request(plan)[1]).status == 503


def test_figures_by_what_is_asked_for() -> None:
    book, plan = figures("haproxy", 5)
    book.take({"one": "text/html\n<p>\n", "two": "text/plain\n# a,\n"})
    _, down = request(plan, "/stats")
    assert (down.body, answer_of(down).fields.get(b"refresh")) == (b"<p>\n", b"5")
    _, down = request(plan, "/stats;csv")
    assert (down.body, answer_of(down).fields.get(b"refresh")) == (b"# a,\n", None)
    _, down = request(plan, "/stats", method="HEAD")
    assert (answer_of(down).status, down.body) == (200, b"")
