"""curl, nghttp, h2load and Chromium, as far as they are on the machine."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import Gallery

# One try of any of them; nothing here is large.
CURL = ("curl", "-sS", "--max-time", "30")


def thumbnail(asset: str) -> str:
    return f"/api/assets/{asset}/thumbnail?size=thumbnail"


@pytest.mark.parametrize(
    ("how", "is_secure", "spoken"),
    [
        ("--http2", True, "2"),
        ("--http1.1", True, "1.1"),
        ("--http2-prior-knowledge", False, "2"),
        ("--http1.1", False, "1.1"),
        # The upgrade that RFC 9113 3.1 has taken back: ignored, and answered as what it came in.
        ("--http2", False, "1.1"),
    ],
)
def test_curl_speaks_the_version_it_asks_for(how: str, is_secure: bool, spoken: str, gallery: Gallery) -> None:
    url = gallery.secure if is_secure else gallery.plain
    said = gallery.run(*CURL, "--cacert", str(gallery.root), how, "-w", "\n%{http_version} %{http_code}", f"{url}/api/server/ping")
    assert said == '{"res":"pong"}' + f"\n{spoken} 200"


def test_curl_loads_many_thumbnails_on_one_connection(gallery: Gallery, tmp_path: Path) -> None:
    lines = []
    for number, asset in enumerate(gallery.pictures * 3):
        lines += [f'url = "{gallery.secure}{thumbnail(asset)}"', f'output = "{tmp_path}/{number}"']
    (tmp_path / "list").write_text("\n".join(lines))
    many = ("-Z", "--parallel-max", "100", "-K", str(tmp_path / "list"))
    said = gallery.run(*CURL, "--cacert", str(gallery.root), "--http2", *many, "-w", "%{http_version} %{http_code} %{num_connects}\n")
    rows = [line.split() for line in said.splitlines()]
    assert len(rows) == len(gallery.pictures) * 3
    assert {(version, status) for version, status, _ in rows} == {("2", "200")}
    for number, asset in enumerate(gallery.pictures):
        assert (tmp_path / str(number)).read_bytes() == gallery.client.get(thumbnail(asset)).body


def test_curl_uploads_and_gets_the_same_back(gallery: Gallery, tmp_path: Path) -> None:
    picture, back = tmp_path / "a.jpg", tmp_path / "back"
    picture.write_bytes(os.urandom(5_000_000))
    curl = (*CURL, "--cacert", str(gallery.root), "--http2")
    for extra in ((), ("-H", "Expect: 100-continue")):
        said = gallery.run(*curl, *extra, "-F", f"assetData=@{picture}", f"{gallery.secure}/api/assets")
        asset = json.loads(said)["id"]
    gallery.run(*curl, "-o", str(back), f"{gallery.secure}/api/assets/{asset}/original")
    assert back.read_bytes() == picture.read_bytes()
    gallery.run(*curl, "-o", str(back), "-r", "1000-1999", f"{gallery.secure}/api/assets/{asset}/original")
    assert back.read_bytes() == picture.read_bytes()[1000:2000]


@pytest.mark.parametrize("is_secure", [True, False], ids=["TLS", "plain"])
def test_nghttp_loads_the_page_and_what_it_names(is_secure: bool, gallery: Gallery) -> None:
    said = gallery.run("nghttp", "-nva", (gallery.secure if is_secure else gallery.plain) + "/photos")
    assert len(re.findall(r":status: 200", said)) >= 4, said
    assert "Stream ID" not in re.sub(r"(?s)Statistics.*", "", said) or "error" not in said.lower()
    assert "recv GOAWAY" not in said
    assert "recv RST_STREAM" not in said


@pytest.mark.parametrize("streams", ["1", "20"])
@pytest.mark.parametrize("is_secure", [True, False], ids=["TLS", "plain"])
def test_h2load_gets_every_answer(streams: str, is_secure: bool, gallery: Gallery) -> None:
    url = (gallery.secure if is_secure else gallery.plain) + "/_app/immutable/gallery.css"
    said = gallery.run("h2load", "-n", "500", "-c", "5", "-m", streams, url)
    assert "500 succeeded, 0 failed, 0 errored, 0 timeout" in said
    assert "status codes: 500 2xx" in said


def test_chromium_shows_the_gallery(gallery: Gallery, tmp_path: Path) -> None:
    """A browser's own idea of HTTP/2: priorities, cancelled requests, crumbled cookies, a WebSocket beside them."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not on this machine")
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    quiet += ["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--ignore-certificate-errors"]
    url = gallery.secure.replace("localhost", "127.0.0.1") + "/photos"
    before = len(gallery.records("/thumbnail"))
    done = subprocess.run(
        [program, *quiet, f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=8000", "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env=os.environ | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("<img") > 5, done.stdout
    assert gallery.proxy.wait_until(lambda: len(gallery.records("/thumbnail")) > before + 5), done.stderr
    shown = gallery.records("/thumbnail")[before:]
    assert {record["protocol"] for record in shown} == {"HTTP/2.0"}
    assert {record["status"] for record in shown} <= {200, 304, 499}
    # The live channel shares the connection (RFC 8441); it is logged when it ends.
    assert gallery.proxy.wait_until(lambda: bool(gallery.records("/api/socket.io/")))
    assert {record["protocol"] for record in gallery.records("/api/socket.io/")} == {"HTTP/2.0"}
