"""The stand-in behaves as Immich does on the wire, which is what it is for.

One server for the whole file, started as a user starts it.
"""

import base64
import hashlib
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the demo extra is not installed")
pytest.importorskip("uvicorn", reason="the demo extra is not installed")
client = pytest.importorskip("websockets.sync.client", reason="the demo extra is not installed")

from PIL import Image  # noqa: E402  because the demo extra was only now found to be there

DEMO = Path(__file__).parents[2] / "demo"
TIMEOUT_S = 20
Address = tuple[str, int]


@pytest.fixture(scope="module")
def standin() -> Iterator[Address]:
    server = subprocess.Popen(
        [sys.executable, "-m", "immich_standin", "--port", "0"],
        cwd=DEMO,
        env=os.environ | {"PYTHONPATH": str(DEMO)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.startswith("immich stand-in on http://127.0.0.1:")
        yield "127.0.0.1", int(line.rpartition(":")[2])
    finally:
        server.send_signal(signal.SIGINT)
        code = server.wait(TIMEOUT_S)
        if server.stdout is not None:
            server.stdout.close()
        assert code == 0


class Answer:
    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.fields = answer.headers
        self.body = answer.read()

    def json(self) -> object:
        return json.loads(self.body)


def ask(
    address: Address,
    path: str,
    method: str = "GET",
    body: bytes | None = None,
    **fields: str,
) -> Answer:
    connection = http.client.HTTPConnection(*address, timeout=TIMEOUT_S)
    try:
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request(method, path, body, named)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def asset_ids(address: Address, is_image: bool = True) -> list[str]:
    bucket = ask(address, "/api/timeline/buckets").json()
    assert isinstance(bucket, list)
    ids = []
    for row in bucket:
        month = ask(address, f"/api/timeline/bucket?timeBucket={row['timeBucket']}").json()
        assert isinstance(month, dict)
        assert len(month["id"]) == row["count"]
        pairs = zip(month["id"], month["isImage"], strict=True)
        ids += [one for one, image in pairs if image is is_image]
    return ids


def form(data: bytes, name: str = "IMG_1.jpg", kind: str = "image/jpeg") -> tuple[bytes, str]:
    parts = (
        b'--frontier\r\nContent-Disposition: form-data; name="deviceId"\r\n\r\nWEB\r\n'
        b'--frontier\r\nContent-Disposition: form-data; name="assetData"; filename="'
        + name.encode()
        + b'"\r\nContent-Type: '
        + kind.encode()
        + b"\r\n\r\n"
        + data
        + b"\r\n--frontier--\r\n"
    )
    return parts, "multipart/form-data; boundary=frontier"


def picture(colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (800, 400), colour).save(out, "JPEG")
    return out.getvalue()


def test_ping_and_discovery(standin: Address) -> None:
    assert ask(standin, "/api/server/ping").json() == {"res": "pong"}
    assert ask(standin, "/.well-known/immich").json() == {"api": {"endpoint": "/api"}}
    assert ask(standin, "/api/server/version").json() == {"major": 2, "minor": 0, "patch": 0}


def test_unknown_pages_are_the_shell_and_unknown_api_is_an_error(standin: Address) -> None:
    shell = ask(standin, "/photos/whatever")
    assert shell.status == 200
    assert shell.fields["Cache-Control"] == "no-store"
    assert b"<!doctype html>" in shell.body
    assert ask(standin, "/", If_None_Match=shell.fields["ETag"]).status == 304
    missing = ask(standin, "/api/nothing")
    assert missing.status == 404
    assert missing.json() == {"message": "Cannot GET /api/nothing", "statusCode": 404}


def test_static_files_are_immutable_and_compressed(standin: Address) -> None:
    plain = ask(standin, "/_app/immutable/gallery.js")
    packed = ask(standin, "/_app/immutable/gallery.js", Accept_Encoding="gzip")
    assert plain.fields["Cache-Control"] == "public,max-age=31536000,immutable"
    assert packed.fields["Content-Encoding"] == "gzip"
    assert len(packed.body) < len(plain.body)
    assert ask(standin, "/_app/immutable/shell.html").status == 404


def test_thumbnail_is_a_small_webp_with_a_weak_validator(standin: Address) -> None:
    path = f"/api/assets/{asset_ids(standin)[0]}/thumbnail?size=thumbnail&c=x"
    answer = ask(standin, path)
    assert answer.fields["Content-Type"] == "image/webp"
    assert answer.fields["ETag"].startswith('W/"')
    assert answer.fields["Cache-Control"].startswith("private, max-age=86400, no-transform")
    assert max(Image.open(io.BytesIO(answer.body)).size) <= 375
    assert ask(standin, path, If_None_Match=answer.fields["ETag"]).status == 304
    assert ask(standin, path, If_Modified_Since=answer.fields["Last-Modified"]).status == 304
    assert ask(standin, path, If_Modified_Since="not a date").status == 200


def test_full_size_is_a_relative_redirect(standin: Address) -> None:
    answer = ask(standin, f"/api/assets/{asset_ids(standin)[0]}/thumbnail?size=fullsize")
    assert (answer.status, answer.fields["Location"]) == (302, "original?edited=true")
    app = ask(standin, "/api/oauth/mobile-redirect?code=x")
    assert app.fields["Location"] == "app.immich:///oauth-callback?code=x"


def test_film_answers_ranges(standin: Address) -> None:
    path = f"/api/assets/{asset_ids(standin, is_image=False)[0]}/video/playback"
    whole = ask(standin, path)
    size = len(whole.body)
    assert whole.fields["Content-Type"] == "video/webm"
    assert whole.body.startswith(b"\x1aE\xdf\xa3")
    first = ask(standin, path, Range="bytes=0-1")
    assert (first.status, first.body) == (206, whole.body[:2])
    assert first.fields["Content-Range"] == f"bytes 0-1/{size}"
    assert ask(standin, path, Range="bytes=-3").body == whole.body[-3:]
    assert ask(standin, path, Range=f"bytes={size}-").status == 416
    several = ask(standin, path, Range="bytes=0-1,10-11")
    assert several.fields["Content-Type"].startswith("multipart/byteranges")
    stale = ask(standin, path, Range="bytes=0-1", If_Range="Mon, 01 Jan 2001 00:00:00 GMT")
    assert stale.status == 200
    head = ask(standin, path, "HEAD")
    assert (head.body, head.fields["Content-Length"]) == (b"", str(size))


def test_upload_is_kept_once(standin: Address) -> None:
    data = picture((200, 30, 60))
    body, kind = form(data)
    created = ask(standin, "/api/assets", "POST", body, Content_Type=kind)
    assert created.status == 201
    asset = created.json()
    assert isinstance(asset, dict)
    assert ask(standin, f"/api/assets/{asset['id']}/original").body == data
    small = ask(standin, f"/api/assets/{asset['id']}/thumbnail").body
    assert Image.open(io.BytesIO(small)).size == (375, 188)
    again = ask(standin, "/api/assets", "POST", body, Content_Type=kind)
    assert (again.status, again.json()) == (200, {"id": asset["id"], "status": "duplicate"})
    removed = json.dumps({"ids": [asset["id"]]}).encode()
    assert ask(standin, "/api/assets", "DELETE", removed).status == 204
    assert ask(standin, f"/api/assets/{asset['id']}/original").status == 404


def test_known_checksum_is_answered_before_the_body(standin: Address) -> None:
    data = picture((20, 130, 60))
    body, kind = form(data)
    assert ask(standin, "/api/assets", "POST", body, Content_Type=kind).status == 201
    digest = hashlib.sha1(data).digest()
    for checksum in (digest.hex(), base64.b64encode(digest).decode()):
        head = (
            f"POST /api/assets HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n"
            f"Content-Type: {kind}\r\nx-immich-checksum: {checksum}\r\n\r\n"
        )
        with socket.create_connection(standin, TIMEOUT_S) as raw:
            raw.sendall(head.encode())
            assert raw.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_cut_upload_is_refused_and_leaves_nothing(standin: Address) -> None:
    body, kind = form(b"x" * 1000)
    cut = ask(standin, "/api/assets", "POST", body[:-300], Content_Type=kind)
    assert cut.status == 400
    assert ask(standin, "/api/assets", "POST", b"{}", Content_Type="text/plain").status == 400


def test_login_sets_cookies_secure_behind_https(standin: Address) -> None:
    wrong = json.dumps({"email": "demo@example.org", "password": "no"}).encode()
    assert ask(standin, "/api/auth/login", "POST", wrong).status == 401
    right = json.dumps({"email": "demo@example.org", "password": "demo"}).encode()
    plain = ask(standin, "/api/auth/login", "POST", right)
    assert plain.status == 201
    assert not any("Secure" in cookie for cookie in plain.fields.get_all("Set-Cookie", []))
    tls = ask(standin, "/api/auth/login", "POST", right, X_Forwarded_Proto="https")
    cookies = tls.fields.get_all("Set-Cookie", [])
    assert len(cookies) == 3
    assert all("Secure" in cookie for cookie in cookies)


def test_archive_is_a_chunked_zip(standin: Address) -> None:
    wanted = asset_ids(standin)[:2]
    body = json.dumps({"assetIds": wanted}).encode()
    answer = ask(standin, "/api/download/archive", "POST", body)
    assert answer.fields["Transfer-Encoding"] == "chunked"
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 2


def test_sync_sends_each_line_at_once(standin: Address) -> None:
    with socket.create_connection(standin, TIMEOUT_S) as raw:
        raw.sendall(b"POST /api/sync/stream?pauseMs=5000 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        seen = b""
        while b'"ack"' not in seen:
            piece = raw.recv(4096)
            assert piece
            seen += piece
    assert b"application/jsonlines+json" in seen
    assert seen.count(b"AssetV1|") == 1


def test_live_channel_speaks_and_echoes(standin: Address) -> None:
    url = f"ws://127.0.0.1:{standin[1]}/api/socket.io/?EIO=4&transport=websocket"
    with client.connect(url, open_timeout=TIMEOUT_S) as live:
        hello = json.loads(live.recv(TIMEOUT_S)[1:])
        assert hello["pingInterval"] == 25000
        live.send("40")
        assert live.recv(TIMEOUT_S).startswith("40")
        assert "on_server_version" in live.recv(TIMEOUT_S)
        live.send('42["hello",1]')
        assert live.recv(TIMEOUT_S) == '42["hello",1]'
        body, kind = form(picture((1, 2, 3)))
        assert ask(standin, "/api/assets", "POST", body, Content_Type=kind).status == 201
        assert "on_upload_success" in live.recv(TIMEOUT_S)


def test_page_is_told_how_it_came(standin: Address) -> None:
    told = ask(standin, "/api/server/request", X_Forwarded_For="192.0.2.1").json()
    assert isinstance(told, dict)
    assert told["peer"] == "127.0.0.1"
    assert told["fields"]["x-forwarded-for"] == "192.0.2.1"
