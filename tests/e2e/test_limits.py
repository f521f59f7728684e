"""Requests that come too often or too many at a time, and those about which another server is asked."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .client import Client
from .rig import Rig, build, tear_down
from .upstream import Turn, Upstream

SITE = """
routes = [
    { prefix = "/rate/", to = "http://127.0.0.1:UPSTREAM", request = [{ rate_limit = { key = "{header:K}", requests = 1, period = "1h", burst = 2 } }] },
    { prefix = "/wait/", to = "http://127.0.0.1:UPSTREAM", request = [
        { when = 'path != "/"', actions = [
            { rate_limit = { key = "{header:K}", requests = 4, period = "1s", burst = 2, at_once = 0, zone = "wait" } },
            { set = "X-After", value = "done" },
        ] },
        { set = "X-Last", value = "{header:K}" },
    ] },
    { prefix = "/few/", to = "http://127.0.0.1:UPSTREAM", request = [{ concurrency_limit = { key = "{header:K}", most = 1 } }] },
    { prefix = "/ask/", to = "http://127.0.0.1:UPSTREAM", request = [
        { auth_request = { to = "http://127.0.0.1:AUTH", path = "/verify", copy = { Remote-User = "X-User" }, request = [{ set = "X-Uri", value = "{target}" }] } },
        { set = "X-Group", value = "{auth_header:Remote-Group}" },
    ], response = [] },
    { prefix = "/inner/", request = [
        { when = 'path != "/"', actions = [{ auth_request = { to = "http://127.0.0.1:AUTH", copy = { Remote-User = "X-User" } } }] },
    ], routes = [{ to = "http://127.0.0.1:UPSTREAM", forwarding = { host = "upstream" } }] },
    { prefix = "/page/", to = "http://127.0.0.1:UPSTREAM", request = [
        { when = 'path != "/"', actions = [{ auth_request = { to = "http://127.0.0.1:AUTH" } }, { deny = 410 }] },
    ], errors = [{ respond = { status = 200, body = "sorry" } }] },
    { prefix = "/login/", to = "http://127.0.0.1:UPSTREAM", request = [{ auth_request = { to = "http://127.0.0.1:AUTH", pass_answer = true } }] },
]
"""  # noqa: E501


@pytest.fixture(scope="module")
def auth() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, auth: Upstream, behind: str) -> Iterator[Rig]:
    folder: Path = tmp_path_factory.mktemp("gate")
    rig = build(folder, site=SITE.replace("AUTH", str(auth.port)), behind=behind)
    yield rig
    tear_down(rig)


@pytest.fixture
def asked(gate: Rig, auth: Upstream, version: str) -> Client:
    gate.upstream.rest()
    auth.rest()
    return gate.speaking(version).client


def test_requests_beyond_the_burst_are_refused(asked: Client, version: str) -> None:
    key = ("K", f"rate-{version}")
    assert [asked.get("/rate/", key).status for _ in range(4)] == [200, 200, 200, 429]
    refused = asked.get("/rate/", key)
    assert refused.find("retry-after") == b"5"
    assert b"too many requests" in refused.body
    assert asked.get("/rate/", ("K", f"other-{version}")).status == 200
    assert {asked.get("/rate/").status for _ in range(5)} == {200}


def test_requests_may_wait_for_their_turn(gate: Rig, asked: Client, version: str) -> None:
    key = ("K", f"wait-{version}")
    began = time.monotonic()
    assert [asked.get("/wait/", key).status for _ in range(3)] == [200, 200, 200]
    assert time.monotonic() - began >= 0.5
    seen = gate.upstream.requests[-1]
    assert (seen.find("x-after"), seen.find("x-last")) == (b"done", key[1].encode())


def test_so_many_at_a_time(gate: Rig, asked: Client, version: str) -> None:
    key = ("K", f"few-{version}")
    here, go = threading.Event(), threading.Event()

    def script(turn: Turn) -> None:
        here.set()
        go.wait(10)
        turn.answer(b"slow")

    gate.upstream.script = script
    first = threading.Thread(target=lambda: asked.get("/few/", key))
    first.start()
    assert here.wait(10)
    assert asked.get("/few/", key).status == 503
    go.set()
    first.join(10)
    gate.upstream.script = lambda turn: turn.answer(b"ok")
    assert gate.proxy.wait_until(lambda: asked.get("/few/", key).status == 200)


@pytest.mark.http1
def test_so_many_exchanges_of_a_worker(tmp_path: Path) -> None:
    rig = build(tmp_path, more="[limits]\nconcurrent = 1\n")
    here, go = threading.Event(), threading.Event()

    def script(turn: Turn) -> None:
        here.set()
        go.wait(10)
        turn.answer(b"slow")

    try:
        rig.upstream.script = script
        first = threading.Thread(target=lambda: rig.client.get("/"))
        first.start()
        assert here.wait(10)
        assert rig.client.get("/").status == 503
        go.set()
        first.join(10)
        assert rig.proxy.wait_until(lambda: rig.client.get("/").status == 200)
    finally:
        go.set()
        tear_down(rig)


def test_who_may_pass_passes_with_what_the_answer_says(gate: Rig, auth: Upstream, asked: Client) -> None:
    auth.script = lambda turn: turn.answer(b"", extra=b"Remote-User: alice\r\nRemote-Group: house\r\n")
    answer = asked.request("POST", "/ask/it?a=1", [("X-User", "mallory"), ("Cookie", "c=1")], b"a body")
    assert answer.status == 200
    question = auth.requests[-1]
    assert question.line.startswith(b"GET /verify?a=1 ")
    assert (question.find("x-uri"), question.find("cookie"), question.find("content-length")) == (b"/ask/it?a=1", b"c=1", None)
    seen = gate.upstream.requests[-1]
    assert (seen.find("x-user"), seen.find("x-group"), seen.body) == (b"alice", b"house", b"a body")


def test_what_the_answer_does_not_say_is_taken_from_nobody(gate: Rig, auth: Upstream, asked: Client) -> None:
    auth.script = lambda turn: turn.answer(b"")
    assert asked.get("/ask/", ("X-User", "mallory")).status == 200
    assert gate.upstream.requests[-1].find("x-user") is None


@pytest.mark.parametrize(("said", "wanted"), [(b"Remote-User: alice\r\n", b"alice"), (b"", None)])
def test_a_route_that_forwards_anew_takes_nothing_back_from_the_client(
    gate: Rig, auth: Upstream, asked: Client, said: bytes, wanted: bytes | None
) -> None:
    auth.script = lambda turn: turn.answer(b"", extra=said)
    assert asked.get("/inner/", ("X-User", "mallory")).status == 200
    assert gate.upstream.requests[-1].find("x-user") == wanted


@pytest.mark.parametrize(
    ("status", "wanted"), [(b"401 No", 401), (b"403 No", 403), (b"302 Found", 500), (b"404 No", 500), (b"500 No", 500)]
)
def test_who_may_not_pass_does_not(gate: Rig, auth: Upstream, asked: Client, status: bytes, wanted: int) -> None:
    gate.upstream.requests.clear()
    auth.script = lambda turn: turn.answer(b"", status=status, extra=b'WWW-Authenticate: Basic realm="a"\r\n')
    answer = asked.get("/ask/")
    assert answer.status == wanted
    assert answer.find("www-authenticate") == (b'Basic realm="a"' if wanted == 401 else None)
    assert gate.upstream.requests == []


def test_what_stood_behind_a_refusal_is_not_done_for_its_page(auth: Upstream, asked: Client) -> None:
    auth.script = lambda turn: turn.answer(b"", status=b"403 No")
    answer = asked.get("/page/")
    assert (answer.status, answer.body) == (403, b"sorry")


def test_no_answer_lets_nobody_pass(gate: Rig, auth: Upstream, asked: Client) -> None:
    gate.upstream.requests.clear()
    auth.script = lambda turn: turn.send(b"nonsense\r\n\r\n")
    assert asked.get("/ask/").status == 500
    assert gate.upstream.requests == []


def test_the_answer_itself_may_be_passed_on(gate: Rig, auth: Upstream, asked: Client) -> None:
    auth.script = lambda turn: turn.answer(
        b"go there", status=b"302 Found", extra=b"Location: https://login.example/\r\nSet-Cookie: a=1\r\n"
    )
    answer = asked.get("/login/x")
    assert (answer.status, answer.body, answer.find("location")) == (302, b"go there", b"https://login.example/")
    assert answer.find("set-cookie") == b"a=1"
    assert auth.requests[-1].target == b"/login/x"
    auth.script = lambda turn: turn.answer(b"")
    assert asked.get("/login/x").status == 200


@pytest.mark.parametrize(("path", "status"), [("/ask/", 200), ("/login/", 200), ("/login/", 500)])
def test_a_question_ends_where_too_much_of_its_answer_came(auth: Upstream, asked: Client, path: str, status: int) -> None:
    """The rest of it never comes."""
    line = b"401 No" if status == 500 else b"200 OK"

    def script(turn: Turn) -> None:
        turn.send(b"HTTP/1.1 %s\r\nContent-Length: 999999999\r\n\r\n" % line + bytes(600_000))
        assert turn.is_left()

    auth.script = script
    assert asked.get(path).status == status


def test_who_leaves_is_not_asked_about_any_more(auth: Upstream, asked: Client) -> None:
    here = threading.Event()
    gone: list[bool] = []

    def script(turn: Turn) -> None:
        here.set()
        gone.append(turn.is_left())

    auth.script = script
    exchange = asked.open("GET", "/ask/")
    assert here.wait(10)
    exchange.close()
    deadline = time.monotonic() + 10
    while not gone and time.monotonic() < deadline:
        time.sleep(0.02)
    assert gone == [True]
