"""The default TLS profile, as testssl.sh sees it: nothing worse than low.

Facts: testssl.sh (Debian) rates each finding OK, INFO, LOW, MEDIUM, HIGH or CRITICAL. A scan opens some thousand connections with
its own old OpenSSL, and sends hellos that are not TLS any more.

Rules: what is about the test's own certificate authority, or about DNS, is not about vestibule; `NOT_OURS` lists it with reasons.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.certs import Authority
from tests.e2e.client import Client
from tests.e2e.ports import free_ports
from tests.e2e.rig import Vestibule, settings
from tests.e2e.upstream import Upstream

pytestmark = pytest.mark.skipif(shutil.which("testssl") is None, reason="testssl.sh is not installed")

SCAN_S = 240
GRAVE = ("MEDIUM", "HIGH", "CRITICAL", "FATAL")
NOT_OURS = {
    "cert_chain_of_trust": "the authority is the test's own",
    "cert_revocation": "the authority publishes no revocation",
    "cert_crlDistributionPoints": "the same",
    "cert_ocspURL": "the same",
    "cert_notAfter": "certificates of the tests live for days",
    "cert_expirationStatus": "the same",
    "cert_extlifeSpan": "the same",
    "security_headers": "fields of the answer are the application's, and the upstream here sends none",
    "DNS_CAArecord": "localhost has no CAA record",
    "overall_grade": "a summary, capped for the authority that nobody trusts",
}


@dataclass
class Scanned:
    """A proxy that was scanned, and what was found."""

    proxy: Vestibule
    client: Client
    findings: list[dict[str, str]]

    def of(self, name: str) -> dict[str, str]:
        return next(each for each in self.findings if each["id"] == name)


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scanned]:
    folder = tmp_path_factory.mktemp("testssl")
    authority, upstream = Authority(), Upstream()
    (port,) = free_ports(1)
    authority.bundle(folder / "a.pem", "localhost", "127.0.0.1")
    config = (
        f'{settings(folder)}\n[sites."localhost"]\nlisten = "https://127.0.0.1:{port}"\ncert = "a.pem"\nhsts = true\n'
        f'to = "http://127.0.0.1:{upstream.port}"\n'
    )
    proxy = Vestibule(folder, config, [port])
    try:
        found = folder / "found.json"
        subprocess.run(
            ["testssl", "--warnings", "off", "--color", "0", "--ip", "127.0.0.1", "--nodns", "min", "--quiet", "--fast",
             "--protocols", "--server-defaults", "--server-preference", "--vulnerable", "--headers", "--each-cipher",
             "--jsonfile", str(found), f"localhost:{port}"],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=SCAN_S, check=False,
        )  # fmt: skip
        yield Scanned(proxy, Client(("127.0.0.1", port), authority.client(), "localhost"), json.loads(found.read_text()))
    finally:
        proxy.stop()
        upstream.close()


def test_nothing_is_worse_than_low(scanned: Scanned) -> None:
    grave = [each for each in scanned.findings if each["severity"] in GRAVE and each["id"].partition(" ")[0] not in NOT_OURS]
    assert grave == []


def test_old_versions_are_not_offered(scanned: Scanned) -> None:
    for name in ("SSLv2", "SSLv3", "TLS1", "TLS1_1"):
        assert scanned.of(name)["finding"] == "not offered"
    for name in ("TLS1_2", "TLS1_3"):
        assert scanned.of(name)["finding"].startswith("offered")


def test_it_serves_on_after_the_scan(scanned: Scanned) -> None:
    assert scanned.client.get("/").status == 200
    assert "proxy.bug" not in scanned.proxy.said()
