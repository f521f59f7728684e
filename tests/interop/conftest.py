"""What these tests share: the stand-in for Immich behind the program as a user would run it, with TLS and without."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.certs import Authority
from tests.e2e.client import Client, close_all
from tests.e2e.ports import free_ports
from tests.e2e.rig import STANDIN_NEEDS, Vestibule, settings, standin

WAIT_S = 60.0


@dataclass
class Gallery:
    """The program, how to reach it, and what it shows."""

    proxy: Vestibule
    root: Path
    secure: str
    plain: str
    client: Client
    pictures: list[str]

    def records(self, word: str) -> list[dict[str, object]]:
        """Return the lines of the access log whose target contains a word."""
        return [record for record in self.proxy.records if word in str(record["target"])]

    def run(self, *words: str, within_s: float = WAIT_S) -> str:
        """Run a program to its good end and return what it said; skip the test where it is missing."""
        if shutil.which(words[0]) is None:
            pytest.skip(f"{words[0]} is not on this machine")
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=within_s, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    for needed in STANDIN_NEEDS:
        pytest.importorskip(needed, reason="the demo extra is not installed")
    folder = tmp_path_factory.mktemp("gallery")
    authority = Authority()
    authority.bundle(folder / "gallery.pem", "localhost", "127.0.0.1")
    root = authority.write_root(folder / "root.pem")
    tls, plain = free_ports(2)
    with standin() as port:
        config = f"""{settings(folder)}
[sites.localhost]
hosts = ["localhost", "127.0.0.1"]
listen = ["https://127.0.0.1:{tls}", "http://127.0.0.1:{plain}"]
redirect_http = false
cert = "gallery.pem"
to = "http://127.0.0.1:{port}"
"""
        proxy = Vestibule(folder, config, [tls, plain])
        try:
            client = Client(("127.0.0.1", tls), authority.client(), "localhost", "h2")
            yield Gallery(proxy, root, f"https://localhost:{tls}", f"http://127.0.0.1:{plain}", client, _pictures(client))
        finally:
            close_all()
            proxy.stop()


@pytest.fixture(autouse=True)
def connections() -> Iterator[None]:
    """End the connections a test has left open, whether it passed or not."""
    yield
    close_all()


def _pictures(client: Client) -> list[str]:
    found: list[str] = []
    with client.connect() as wire:
        for bucket in json.loads(client.request("GET", "/api/timeline/buckets", wire=wire).body):
            month = json.loads(client.request("GET", f"/api/timeline/bucket?timeBucket={bucket['timeBucket']}", wire=wire).body)
            found += [asset for asset, is_image in zip(month["id"], month["isImage"], strict=True) if is_image]
    return found
