"""A directory that answers, and what answers in the place of errors."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from .client import Client
from .rig import Rig, build, tear_down
from .upstream import Turn

BIG = os.urandom(1 << 20) * 5

SITE = """
routes = [
    { prefix = "/static/", files = { root = "FOLDER/www", strip = "/static/" } },
    { prefix = "/img", files = { root = "FOLDER/www", strip = "/img", hidden = true } },
    { prefix = "/app/", files = { root = "www", tries = ["{path}", "/app.html"] } },
    { prefix = "/old/", files = { root = "FOLDER/www", otherwise = { to = "http://127.0.0.1:UPSTREAM" } } },
    { prefix = "/listed/", files = { root = "FOLDER/www", strip = "/listed/", index = [], listing = true, hide = ["*.html", "/docs"] } },
    { prefix = "/packed/", files = { root = "FOLDER/www", strip = "/packed/", precompressed = ["br", "gzip"], hide = ["app.html"] } },
    { prefix = "/down/", files = { root = "FOLDER/www", tries = ["/note.txt"], status = 503 } },
    { prefix = "/to/", request = [{ strip_prefix = "/to" }], files = { root = "FOLDER/www", slash = "path" } },
    { prefix = "/as/", request = [{ rewrite = "/docs" }], files = { root = "FOLDER/www", slash = "path" } },
    { prefix = "/bare/", request = [{ strip_prefix = "/bare" }], files = { root = "FOLDER/www", slash = "bare" } },
    { prefix = "/said/", request = [{ strip_prefix = "/said" }], files = { root = "FOLDER/www", origin = "https://own.example:1" } },
    { prefix = "/stay/", files = { root = "FOLDER/www", strip = "/stay/", slash = "stay" } },
    { prefix = "/there/", when = 'existing("FOLDER/www", "/docs/") != "" and existing("www", "/x") == ""', respond = { body = "there" } },
    { prefix = "/closed/", request = [{ deny = 403 }], respond = { status = 200 } },
    { prefix = "/loop/", errors = [{ request = [{ deny = 410 }], respond = { status = 200 } }], request = [{ deny = 403 }], respond = {} },
    { prefix = "/seen/", to = "http://127.0.0.1:UPSTREAM", errors = [
        { statuses = [404], upstream = true, request = [{ rewrite = "/missing.html" }], files = { root = "FOLDER/www" } },
        { statuses = [503], upstream = true, status = 0, respond = { status = 200, body = "{error_status} for {path}" } },
        { statuses = [502], upstream = true, status = 204, files = { root = "FOLDER/www", tries = ["/note.txt"] } },
        { statuses = [504], upstream = true, status = 204, respond = { status = 200, body = "too much" } },
        { statuses = [500], upstream = true, to = "http://127.0.0.1:UPSTREAM", request = [{ rewrite = "/instead" }] },
    ] },
    { prefix = "/", files = { root = "FOLDER/www" } },
]
errors = [
    { statuses = [403], respond = { status = 200, body = "closed for {method}" } },
    { statuses = [413], respond = { status = 200, body = "too much" } },
]
limits = { body = "1000B" }
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder: Path = tmp_path_factory.mktemp("house")
    www = folder / "www"
    (www / "docs").mkdir(parents=True)
    (www / "empty").mkdir()
    (www / ".well-known").mkdir()
    for name, text in {
        "index.html": "home",
        "docs/index.html": "docs",
        "app.html": "app",
        "missing.html": "nothing here",
        "note.txt": "0123456789",
        "note.txt.gz": "as gzip",
        ".secret": "no",
        ".well-known/token": "yes",
        "per%cent.txt": "percent",
    }.items():
        (www / name).write_text(text)
    (www / "big.bin").write_bytes(BIG)
    (folder / "outside.txt").write_text("never")
    os.mkfifo(www / "pipe")
    rig = build(folder, site=SITE.replace("FOLDER", str(folder)))
    yield rig
    tear_down(rig)


@pytest.fixture
def asked(house: Rig, version: str) -> Client:
    house.upstream.rest()
    return house.speaking(version).client


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/", 200, b"home"),
        ("/index.html", 200, b"home"),
        ("/docs/", 200, b"docs"),
        ("/docs/../note.txt", 200, b"0123456789"),
        ("/per%25cent.txt", 200, b"percent"),
        ("/static/note.txt", 200, b"0123456789"),
        ("/static/", 200, b"home"),
        ("/app/any/where", 200, b"app"),
        ("/.well-known/token", 200, b"yes"),
        ("/.secret", 404, None),
        ("/nothing", 404, None),
        ("/empty/", 404, None),
        ("/note.txt/", 404, None),
        ("/pipe", 404, None),
        ("/..%2foutside.txt", 400, None),
        ("/static/..%2f..%2foutside.txt", 400, None),
        ("/%2e%2e/outside.txt", 400, None),
        ("/static//outside.txt", 404, None),
        ("/img/note.txt", 200, b"0123456789"),
        ("/img/.secret", 200, b"no"),
        ("/img../outside.txt", 404, None),
        ("/img%2e%2e/outside.txt", 404, None),
        ("/img/..%2foutside.txt", 400, None),
        ("/img..", 404, None),
        ("/app/..%2f..%2foutside.txt", 400, None),
        ("/listed/note.txt", 200, b"0123456789"),
        ("/listed/index.html", 404, None),
        ("/listed/docs/", 404, None),
        ("/listed/docs/index.html", 404, None),
        ("/packed/app.html", 404, None),
        ("/stay/docs", 200, b"docs"),
        ("/as/x", 200, b"docs"),
        ("/there/", 200, b"there"),
        ("/down/", 503, b"0123456789"),
    ],
)
def test_what_a_path_names(asked: Client, path: str, status: int, body: bytes | None) -> None:
    answer = asked.get(path)
    assert answer.status == status
    if body is not None:
        assert answer.body == body
    assert b"never" not in answer.body


def test_a_directory_has_its_own_path(asked: Client) -> None:
    answer = asked.get("/docs?a=1")
    assert answer.status == 301
    assert (answer.find("location") or b"").endswith(b"/docs/?a=1")


def test_the_path_to_a_directory_is_the_one_that_was_asked_for(asked: Client) -> None:
    answer = asked.get("/to/docs?a=1")
    assert (answer.status, answer.find("location")) == (308, b"/to/docs/?a=1")
    answer = asked.get("/bare/docs?a=1")
    assert (answer.status, answer.find("location")) == (301, b"/docs/?a=1")
    answer = asked.get("/said/docs?a=1")
    assert (answer.status, answer.find("location")) == (301, b"https://own.example:1/docs/?a=1")


def test_a_directory_is_listed(asked: Client) -> None:
    page = asked.get("/listed/")
    assert (page.status, page.find("content-type")) == (200, b"text/html; charset=utf-8")
    assert b"./note.txt" in page.body
    for name in (b".secret", b"app.html", b"docs", b"pipe"):
        assert b"./" + name not in page.body
    told = asked.get("/listed/?sort=size&order=desc&limit=1", ("Accept", "application/json"))
    assert [each["name"] for each in json.loads(told.body)] == ["big.bin"]
    assert asked.request("HEAD", "/listed/", []).body == b""
    assert asked.request("POST", "/listed/", [], b"x").status == 405
    assert asked.get("/listed/").find("vary") == b"Accept"


def test_a_directory_that_cannot_be_read_is_not_listed(asked: Client, house: Rig) -> None:
    closed = house.proxy.folder / "www" / "closed"
    closed.mkdir(exist_ok=True)
    closed.chmod(0)
    readable = os.access(closed, os.R_OK)  # by root
    assert asked.get("/listed/closed/").status == (200 if readable else 404)
    closed.chmod(0o700)
    closed.rmdir()


def test_files_that_were_compressed_beforehand(asked: Client) -> None:
    packed = asked.get("/packed/note.txt", ("Accept-Encoding", "gzip, br;q=0"))
    assert (packed.body, packed.find("content-encoding"), packed.find("vary")) == (b"as gzip", b"gzip", b"Accept-Encoding")
    assert packed.find("content-type") == b"text/plain"
    plain = asked.get("/packed/note.txt", ("Accept-Encoding", "zstd"))
    assert (plain.body, plain.find("content-encoding"), plain.find("vary")) == (b"0123456789", None, b"Accept-Encoding")


def test_head_tells_what_get_would(asked: Client) -> None:
    got = asked.request("GET", "/note.txt", [])
    told = asked.request("HEAD", "/note.txt", [])
    assert told.body == b""
    for name in ("content-length", "content-type", "etag", "last-modified", "accept-ranges"):
        assert told.find(name) == got.find(name) is not None
    assert got.find("content-type") == b"text/plain"


def test_other_methods_are_refused(asked: Client) -> None:
    refused = asked.request("POST", "/note.txt", [], b"x")
    assert (refused.status, refused.find("allow")) == (405, b"GET, HEAD")
    assert asked.request("DELETE", "/note.txt", []).status == 405


def test_what_is_known_is_not_sent_again(asked: Client) -> None:
    tag = (asked.get("/note.txt").find("etag") or b"").decode()
    assert asked.get("/note.txt", ("If-None-Match", tag)).status == 304
    assert asked.get("/note.txt", ("If-Match", '"other"')).status == 412


def test_parts(asked: Client) -> None:
    one = asked.get("/note.txt", ("Range", "bytes=2-4"))
    assert (one.status, one.body, one.find("content-range")) == (206, b"234", b"bytes 2-4/10")
    none = asked.get("/note.txt", ("Range", "bytes=10-"))
    assert (none.status, none.find("content-range")) == (416, b"bytes */10")
    two = asked.get("/note.txt", ("Range", "bytes=0-1,8-9"))
    assert two.status == 206
    mark = (two.find("content-type") or b"").partition(b"boundary=")[2]
    parts = two.body.split(b"--" + mark)
    assert [part.partition(b"\r\n\r\n")[2].rstrip(b"\r\n") for part in parts[1:3]] == [b"01", b"89"]
    assert parts[3] == b"--\r\n"
    assert int(two.find("content-length") or 0) == len(two.body)


def test_a_large_file_comes_whole(asked: Client) -> None:
    assert asked.get("/big.bin").body == BIG
    assert asked.get("/big.bin", ("Range", f"bytes={len(BIG) - 5}-")).body == BIG[-5:]


@pytest.mark.http1
def test_a_file_is_read_no_faster_than_it_is_taken(house: Rig) -> None:
    """A client that takes nothing holds one piece and the queue; then the file may become shorter, and the answer must not look whole."""
    path = house.proxy.folder / "www" / "shrinks.bin"
    path.write_bytes(bytes(64 << 20))
    with socket.create_connection(("127.0.0.1", house.port)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        sock.sendall(b"GET /shrinks.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
        os.truncate(path, 1 << 20)
        sock.settimeout(10)
        got = 0
        try:
            while piece := sock.recv(1 << 20):
                got += len(piece)
        except ConnectionResetError:
            pass
    assert got < 60 << 20


def test_who_answers_where_no_file_is(house: Rig, asked: Client) -> None:
    house.upstream.script = lambda turn: turn.answer(b"from the upstream")
    assert asked.get("/old/thing").body == b"from the upstream"


def test_an_error_of_ours_is_answered_by_a_route(asked: Client) -> None:
    answer = asked.request("POST", "/closed/x", [], b"a body")
    assert (answer.status, answer.body) == (403, b"closed for POST")
    assert asked.get("/closed/x").status == 403


def test_a_body_that_is_too_large_goes_nowhere(asked: Client) -> None:
    answer = asked.request("POST", "/old/x", [], bytes(5000))
    assert (answer.status, answer.body) == (413, b"too much")


def test_an_error_inside_an_error_has_the_plain_page(asked: Client) -> None:
    answer = asked.get("/loop/")
    assert answer.status == 403
    assert b"403 Not allowed" in answer.body


def test_answers_of_an_upstream_are_replaced_where_a_route_says_so(house: Rig, asked: Client) -> None:
    house.upstream.script = lambda turn: turn.answer(b"raw 404", status=b"404 Not Found")
    answer = asked.get("/seen/x", ("Range", "bytes=0-1"))
    assert (answer.status, answer.body) == (404, b"nothing here")
    assert asked.get("/old/x").body == b"raw 404"
    house.upstream.script = lambda turn: turn.answer(b"raw 503", status=b"503 No")
    answer = asked.get("/seen/x")
    assert (answer.status, answer.body) == (200, b"503 for /seen/x")


def test_a_status_without_a_body_has_none_whoever_answers(house: Rig, asked: Client) -> None:
    for status in (b"502 No", b"504 No"):
        house.upstream.script = lambda turn, status=status: turn.answer(b"raw", status=status)  # type: ignore[misc]
        with asked.connect() as wire:
            for _ in range(2):
                answer = asked.request("GET", "/seen/x", [], b"", wire)
                assert (answer.status, answer.body, answer.find("content-length")) == (204, b"", None)
                # What would follow the head is the next answer.
                assert asked.request("GET", "/note.txt", [], b"", wire).status == 200


def test_an_upstream_may_be_asked_for_the_page(house: Rig, asked: Client) -> None:
    asked_for: list[bytes] = []

    def script(turn: Turn) -> None:
        turn.read_body()
        asked_for.append(turn.request.line.rpartition(b" ")[0])
        if turn.request.target == b"/instead":
            turn.answer(b"page")
        else:
            turn.answer(b"raw 500", status=b"500 No")

    house.upstream.script = script
    answer = asked.request("POST", "/seen/x", [], b"body")
    assert (answer.status, answer.body) == (500, b"page")
    assert asked_for == [b"POST /seen/x", b"GET /instead"]
