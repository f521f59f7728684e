"""Proofs in DNS: by knot, an authoritative server that takes updates; by a provider of the library; by a program."""

import http.server
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control.acme import pebble as issuer
from tests.e2e.ports import free_ports
from vestibule.control.acme import dns
from vestibule.control.acme.proof import Proof, ProofError
from vestibule.control.acme.store import DirectoryStore
from vestibule.control.acme.wanted import Dns, Issuer, Wanted
from vestibule.control.acme.work import try_once

SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ="


def proof(name: str = "photos.example.org", authorization: str = "token.thumb") -> Proof:
    return Proof("dns-01", name, name, "token", authorization)


def test_what_a_record_says() -> None:
    """RFC 8555 section 8.4."""
    assert proof().record_name == "_acme-challenge.photos.example.org"
    assert len(proof().record_value) == 43


# ---------------------------------------------------------------- a program


def hook(folder: Path, body: str) -> Dns:
    script = folder / "hook"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return Dns("mine", "hook", (), {"command": str(script)}, 0.0)


def test_a_program_is_given_what_to_write(tmp_path: Path) -> None:
    made = hook(tmp_path, f'echo "$@" >> {tmp_path}/said')
    dns.add(made, proof())
    dns.remove(made, proof())
    value = proof().record_value
    name = "_acme-challenge.photos.example.org"
    assert (tmp_path / "said").read_text() == f"add {name} {value}\nremove {name} {value}\n"


def test_a_program_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ProofError, match=r"`mine` did not take .*status 3: no such zone"):
        dns.add(hook(tmp_path, "echo first >&2; echo no such zone >&2; exit 3"), proof())
    with pytest.raises(ProofError, match="cannot be run: No such file"):
        dns.add(Dns("mine", "hook", (), {"command": str(tmp_path / "none")}, 0.0), proof())


# ---------------------------------------------------------------- updates


class Knot:
    """An authoritative server for example.org on a free port, that takes updates signed with a key."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.port = free_ports(1)[0]
        (folder / "example.org.zone").write_text(
            "$ORIGIN example.org.\n$TTL 60\n@ SOA ns admin 1 60 60 600 60\n@ NS ns\nns A 127.0.0.1\nphotos A 127.0.0.1\n"
        )
        (folder / "knot.conf").write_text(
            f"server:\n  listen: 127.0.0.1@{self.port}\n  rundir: {folder}\n"
            f"key:\n  - id: acme.\n    algorithm: hmac-sha256\n    secret: {SECRET}\n"
            "acl:\n  - id: update\n    key: acme.\n    action: update\n"
            f"database:\n  storage: {folder}\n"
            f"zone:\n  - domain: example.org\n    storage: {folder}\n    file: example.org.zone\n    acl: update\n"
            "    journal-content: none\n    zonefile-load: whole\n"
        )
        self.log = folder / "knot.log"
        with self.log.open("wb") as log:
            program = shutil.which("knotd") or "/usr/sbin/knotd"
            self.process = subprocess.Popen([program, "-c", str(folder / "knot.conf")], stdout=log, stderr=subprocess.STDOUT)
        end = time.monotonic() + 20
        while not self.answers("photos.example.org", "A"):
            if time.monotonic() > end or self.process.poll() is not None:
                self.stop()
                raise AssertionError(f"knot does not answer:\n{self.log.read_text()}")
            time.sleep(0.05)

    def answers(self, name: str, kind: str = "TXT") -> list[str]:
        import dns.exception
        import dns.message
        import dns.query

        try:
            answer = dns.query.udp(dns.message.make_query(name, kind), "127.0.0.1", timeout=2, port=self.port)
        except (OSError, dns.exception.DNSException):
            return []
        return sorted(record.to_text().strip('"') for rrset in answer.answer for record in rrset)

    def provider(self, **options: str) -> Dns:
        own = {"server": "127.0.0.1", "port": str(self.port), "key_name": "acme.", "key_secret": SECRET, **options}
        return Dns("home", "rfc2136", (), own, 0.0)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(scope="module")
def knot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Knot]:
    if shutil.which("knotd") is None and not Path("/usr/sbin/knotd").exists():
        pytest.skip("knot is not installed")
    made = Knot(tmp_path_factory.mktemp("knot"))
    yield made
    made.stop()


def test_updates_add_and_remove_only_their_own_record(knot: Knot) -> None:
    """A name and its wildcard are proven at the same place at once."""
    one, two = proof(authorization="token.one"), proof(authorization="token.two")
    provider = knot.provider()
    dns.add(provider, one)
    dns.add(provider, two)
    assert knot.answers(one.record_name) == sorted([one.record_value, two.record_value])
    dns.remove(provider, one)
    assert knot.answers(one.record_name) == [two.record_value]
    dns.remove(provider, two)
    assert knot.answers(one.record_name) == []


def test_updates_of_a_named_zone(knot: Knot) -> None:
    provider = knot.provider(zone="example.org")
    dns.add(provider, proof("deep.below.example.org"))
    assert knot.answers("_acme-challenge.deep.below.example.org") == [proof().record_value]
    dns.remove(provider, proof("deep.below.example.org"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"key_secret": "AAAA"}, "does not take the key for example.org.: .*as at the server"),
        ({"key_secret": "no base64 !"}, "`key_secret` is not base64"),
        ({"zone": "example.net"}, "does not take the key for example.net"),
        ({"port": "1"}, "127.0.0.1 port 1"),
    ],
)
def test_updates_that_are_refused_are_explained_without_the_secret(knot: Knot, options: dict[str, str], said: str) -> None:
    with pytest.raises(ProofError, match=said) as caught:
        dns.add(knot.provider(**options), proof())
    assert SECRET not in str(caught.value)


def test_a_zone_the_server_does_not_have(knot: Knot) -> None:
    with pytest.raises(ProofError, match=r"has no zone for it; name one with the option `zone`"):
        dns.add(knot.provider(), proof("a.example.net"))


@pytest.mark.skipif(not issuer.is_installed(), reason="pebble is not installed")
def test_a_wildcard_is_issued_by_updates_of_a_real_server(knot: Knot, tmp_path: Path) -> None:
    """Pebble asks knot itself, as Let's Encrypt would."""
    provider = knot.provider()

    class Prover:
        def show(self, proofs: list[Proof]) -> None:
            for each in proofs:
                dns.add(provider, each)

        def hide(self, proofs: list[Proof]) -> None:
            for each in proofs:
                dns.remove(provider, each)

    names = ("*.example.org", "example.org")
    with issuer.running(tmp_path / "pebble", dns_port=knot.port) as pebble:
        asked = Issuer("pebble", pebble.directory, str(pebble.ca))
        wanted = Wanted("id", names, ("site",), (asked,), "ecdsa", dict.fromkeys(names, ("dns-01",)), {})
        result = try_once(DirectoryStore(tmp_path / "acme"), wanted, Prover())
        assert result.facts is not None, result.reasons
        assert sorted(result.facts.names) == sorted(names)
    assert knot.answers("_acme-challenge.example.org") == []


# ---------------------------------------------------------------- the library


class PowerDns:
    """The part of PowerDNS's HTTP API that the library uses."""

    def __init__(self) -> None:
        self.records: dict[str, list[str]] = {}
        self.tokens: list[str] = []
        self.refuses = False
        outer = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def answer(self, status: int, body: object = None) -> None:
                data = json.dumps(body).encode() if body is not None else b""
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self) -> None:
                outer.tokens.append(self.headers["X-API-Key"])
                if outer.refuses:
                    self.answer(401, {"error": f"not with {self.headers['X-API-Key']}"})
                    return
                rrsets = [
                    {"name": name, "type": "TXT", "ttl": 60, "records": [{"content": each, "disabled": False} for each in values]}
                    for name, values in outer.records.items()
                ]
                self.answer(200, {"kind": "Native", "name": "example.org.", "rrsets": rrsets})

            def do_PATCH(self) -> None:
                for rrset in json.loads(self.rfile.read(int(self.headers["Content-Length"])))["rrsets"]:
                    outer.records[rrset["name"]] = [each["content"] for each in rrset["records"]]
                self.answer(204)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def provider(self) -> Dns:
        options = {"pdns_server": f"http://127.0.0.1:{self.server.server_address[1]}", "auth_token": "a-long-secret-token"}
        return Dns("power", "powerdns", ("example.org",), options, 0.0)


@pytest.fixture
def power() -> Iterator[PowerDns]:
    made = PowerDns()
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join(10)


def test_a_provider_of_the_library(power: PowerDns) -> None:
    one, two = proof(authorization="token.one"), proof(authorization="token.two")
    provider = power.provider()
    dns.add(provider, one)
    dns.add(provider, two)
    assert {each.strip('"') for each in power.records["_acme-challenge.photos.example.org."]} == {one.record_value, two.record_value}
    dns.remove(provider, one)
    assert power.records["_acme-challenge.photos.example.org."] == [f'"{two.record_value}"']
    assert set(power.tokens) == {"a-long-secret-token"}


def test_a_provider_that_refuses_is_told_without_the_secret(power: PowerDns) -> None:
    power.refuses = True
    with pytest.raises(ProofError, match="the DNS provider `power` did not take") as caught:
        dns.add(power.provider(), proof())
    assert "a-long-secret-token" not in str(caught.value)


def test_all_providers_of_the_library_are_known() -> None:
    known = dns.providers()
    assert len(known) > 60
    assert {"cloudflare", "hetzner", "ovh", "inwx", "desec", "powerdns", "gandi", "namecheap"} <= set(known)
    assert dns.trouble_with("cloudflare", {}) == ""


def test_the_program_runs_without_the_library() -> None:
    """The package is optional: without it a provider is a named mistake, and nothing else is different."""
    code = (
        "import sys\nsys.modules['lexicon'] = None; sys.modules['dns'] = None\n"
        "from vestibule.control.acme import dns as d\n"
        "d._has = lambda name: False\n"
        "print(d.trouble_with('cloudflare', {}) , '|', d.trouble_with('rfc2136', {'server':'x','key_name':'x','key_secret':'x'}))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True).stdout
    assert said.count("pip install 'vestibule[dns]'") == 2
