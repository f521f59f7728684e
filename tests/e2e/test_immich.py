"""A web session, an upload and a download with the stand-in, through the proxy and directly: the same.

Facts: the stand-in is the demonstration gallery, which behaves as Immich on the wire.
"""

import hashlib
import itertools
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from .client import Client, Head, Response
from .ports import free_ports
from .rig import STANDIN_NEEDS, Vestibule, settings, standin

for needed in STANDIN_NEEDS:
    pytest.importorskip(needed, reason="the demo extra is not installed")


@dataclass
class Pair:
    """The same server reached in two ways."""

    direct: Client
    proxied: Client


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("immich")
    with standin() as port:
        front = free_ports(1)[0]
        config = f'{settings(folder)}[sites."*"]\nlisten = "127.0.0.1:{front}"\nto = "http://127.0.0.1:{port}"\n'
        proxy = Vestibule(folder, config, [front])
        try:
            yield Pair(Client(("127.0.0.1", port)), Client(("127.0.0.1", front)))
        finally:
            proxy.stop()


@pytest.fixture
def pair(served: Pair, version: str) -> Pair:
    return Pair(served.direct, served.proxied.speaking(version))


@pytest.fixture(scope="module")
def ids(served: Pair) -> dict[str, str]:
    """One picture and the film."""
    found: dict[str, str] = {}
    for bucket in json.loads(served.direct.get("/api/timeline/buckets").body):
        month = json.loads(served.direct.get(f"/api/timeline/bucket?timeBucket={bucket['timeBucket']}").body)
        for asset, is_image in zip(month["id"], month["isImage"], strict=True):
            found.setdefault("picture" if is_image else "film", asset)
    return found


OF_THE_HOP = {b"date", b"connection", b"keep-alive", b"transfer-encoding"}


def end_to_end(head: Head, lower: bool) -> list[tuple[bytes, bytes]]:
    """Return the fields that must be the same on both ways."""
    return [(name.lower() if lower else name, value) for name, value in head.fields if name.lower() not in OF_THE_HOP]


def assert_same(one: Response, other: Response) -> None:
    """HTTP/2 knows names in lower case only, and no reason phrases (RFC 9113 8.2.1, 8.3.2)."""
    is_line = one.head.raw.startswith(b"HTTP/1")
    assert one.status == other.status
    assert not is_line or one.head.reason == other.head.reason
    assert end_to_end(one.head, not is_line) == end_to_end(other.head, not is_line)
    assert one.body == other.body


PATHS = [
    "/", "/photos", "/_app/immutable/gallery.js", "/_app/immutable/none.js", "/api/server/ping", "/api/server/version",
    "/api/server/features", "/api/server/config", "/.well-known/immich", "/api/timeline/buckets", "/api/nothing",
    "/api/oauth/mobile-redirect?code=a&state=b", "/share/abc?key=x", "/.well-known/acme-challenge/unknown",
]  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", PATHS)
def test_page_is_the_same(method: str, path: str, pair: Pair) -> None:
    headers = [("Accept-Encoding", "gzip, br")]
    assert_same(pair.proxied.request(method, path, headers), pair.direct.request(method, path, headers))


@pytest.mark.parametrize("rendering", ["thumbnail?size=thumbnail&c=x", "thumbnail?size=preview", "thumbnail?size=fullsize", "original"])
def test_picture_is_the_same(rendering: str, pair: Pair, ids: dict[str, str]) -> None:
    path = f"/api/assets/{ids['picture']}/{rendering}"
    response = pair.proxied.get(path)
    assert_same(response, pair.direct.get(path))
    if response.status == 200:
        known = ("If-None-Match", (response.find("ETag") or b"").decode())
        assert pair.proxied.get(path, known).status == 304
        assert_same(pair.proxied.get(path, known), pair.direct.get(path, known))


RANGES = [
    "bytes=0-1",
    "bytes=-500",
    "bytes=100-",
    "bytes=0-0",
    "bytes=5-4",
    "bytes=999999999-",
    "bytes=0-9999999999",
    "nonsense",
    "bytes=a-b",
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("wanted", RANGES)
def test_range_is_the_same(method: str, wanted: str, pair: Pair, ids: dict[str, str]) -> None:
    path = f"/api/assets/{ids['film']}/video/playback"
    headers = [("Range", wanted)]
    assert_same(pair.proxied.request(method, path, headers), pair.direct.request(method, path, headers))


def test_several_ranges_are_the_same(pair: Pair, ids: dict[str, str]) -> None:
    path = f"/api/assets/{ids['film']}/video/playback"
    answers = []
    for client in (pair.proxied, pair.direct):
        response = client.get(path, ("Range", "bytes=0-1,100-200,-5"))
        assert response.status == 206
        # The boundary is drawn by lot for each answer.
        boundary = (response.find("Content-Type") or b"").partition(b"boundary=")[2]
        assert boundary
        answers.append(response.body.replace(boundary, b"-"))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("condition", ["same", "Mon, 01 Jan 2001 00:00:00 GMT", '"other"'])
def test_if_range_is_the_same(condition: str, pair: Pair, ids: dict[str, str]) -> None:
    path = f"/api/assets/{ids['film']}/video/playback"
    if condition == "same":
        condition = (pair.direct.request("HEAD", path).find("Last-Modified") or b"").decode()
    headers = (("Range", "bytes=10-19"), ("If-Range", condition))
    assert_same(pair.proxied.get(path, *headers), pair.direct.get(path, *headers))


def form(data: bytes) -> tuple[bytes, tuple[str, str]]:
    head = b'--frontier\r\nContent-Disposition: form-data; name="assetData"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    return head + data + b"\r\n--frontier--\r\n", ("Content-Type", "multipart/form-data; boundary=frontier")


@pytest.mark.parametrize("is_chunked", [True, False])
def test_upload_comes_back_as_it_went(is_chunked: bool, pair: Pair) -> None:
    data = os.urandom(3_000_000)
    body, kind = form(data)
    exchange = pair.proxied.open("POST", "/api/assets", [kind], None if is_chunked else len(body))
    for start in range(0, len(body), 262_144):
        exchange.send_body(body[start : start + 262_144])
    exchange.end_body()
    response = exchange.read_response()
    assert response.status == 201
    asset = json.loads(response.body)["id"]
    assert pair.proxied.get(f"/api/assets/{asset}/original").body == data
    known = ("x-immich-checksum", hashlib.sha1(data).hexdigest())
    again = pair.proxied.open("POST", "/api/assets", [kind, known], 10_000_000_000)
    assert json.loads(again.read_response().body) == {"id": asset, "status": "duplicate"}
    again.abort()


def test_aborted_upload_leaves_no_file(pair: Pair) -> None:
    body, kind = form(os.urandom(1000))
    exchange = pair.proxied.open("POST", "/api/assets", [kind], len(body))
    exchange.send_body(body[:-200])
    exchange.abort()
    # It is whole when it is sent again, and not a duplicate of the part.
    assert pair.proxied.request("POST", "/api/assets", [kind], body).status == 201


def test_archive_is_the_same(pair: Pair, ids: dict[str, str]) -> None:
    body = json.dumps({"assetIds": list(ids.values())}).encode()
    archives = [client.request("POST", "/api/download/archive", body=body).body for client in (pair.proxied, pair.direct)]
    # The time of packing is in it; the length and the pictures are the same.
    assert len(archives[0]) == len(archives[1]) > 100_000


def test_lines_arrive_one_by_one(pair: Pair) -> None:
    def are_apart() -> bool:
        exchange = pair.proxied.open("POST", "/api/sync/stream?pauseMs=150")
        assert exchange.read_head().find("Content-Type") == b"application/jsonlines+json"
        moments = []
        for _ in range(3):
            assert exchange.read_piece().endswith(b"\n")
            moments.append(time.monotonic())
        exchange.abort()
        return all(later - earlier > 0.05 for earlier, later in itertools.pairwise(moments))

    # Who reads late on a busy machine finds two of them; what heaps them up does so each time.
    assert any(are_apart() for _ in range(10)), "lines came together"


def test_login_behind_http_sets_plain_cookies(pair: Pair) -> None:
    body = json.dumps({"email": "demo@example.org", "password": "demo"}).encode()
    cookies = pair.proxied.request("POST", "/api/auth/login", [("X-Forwarded-Proto", "https")], body).head.all("Set-Cookie")
    assert len(cookies) == 3
    assert not any(b"Secure" in cookie for cookie in cookies), "a spoofed scheme reached the server"


@pytest.mark.http1
def test_live_channel_works(pair: Pair) -> None:
    from websockets.sync.client import connect

    assert isinstance(pair.proxied.address, tuple)
    url = f"ws://127.0.0.1:{pair.proxied.address[1]}/api/socket.io/?EIO=4&transport=websocket"
    with connect(url, open_timeout=20) as live:
        assert str(live.recv(20)).startswith("0{")
        live.send("40")
        assert str(live.recv(20)).startswith("40")
        assert "on_server_version" in str(live.recv(20))
        body, kind = form(os.urandom(2000))
        assert pair.proxied.request("POST", "/api/assets", [kind], body).status == 201
        assert "on_upload_success" in str(live.recv(20))


@pytest.mark.http1
def test_connection_the_server_closes_is_not_missed(pair: Pair) -> None:
    """The server closes idle connections after 5 s; the proxy lets go before, and nobody sees an error."""
    for pause in (0.0, 4.2):
        time.sleep(pause)
        body = json.dumps({"email": "a", "password": "b"}).encode()
        assert pair.proxied.request("POST", "/api/auth/login", body=body).status == 401
