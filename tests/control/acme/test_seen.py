"""Records are waited for at the name servers of their zone: one that is slow, one that is silent, one that never has it."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from vestibule.control.acme import seen
from vestibule.control.acme.proof import Proof, ProofError
from vestibule.control.acme.seen import Places, wait_until_seen

PROOF = Proof("dns-01", "photos.example.org", "photos.example.org", "token", "token.thumb")
ZONE = {
    ("example.org.", "SOA"): ["ns1.example.org. admin.example.org. 1 60 60 600 60"],
    ("example.org.", "NS"): ["ns1.example.org.", "ns2.example.org."],
    ("ns1.example.org.", "A"): ["127.0.0.2"],
    ("ns2.example.org.", "A"): ["127.0.0.3"],
}


class Servers:
    """Name servers at one port of several addresses; 127.0.0.1 is asked as a resolver, the others as those of the zone."""

    def __init__(self, records: dict[tuple[str, str], list[str]]) -> None:
        self.records = records
        self.shows: dict[str, Callable[[], list[str]]] = {}
        self.silent: set[str] = set()
        self.asked: list[tuple[str, str, str]] = []
        self._over = False
        self._sockets: dict[str, socket.socket] = {}
        self.port = 0
        for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind((address, self.port))
            sock.settimeout(0.05)
            self.port = sock.getsockname()[1]
            self._sockets[address] = sock
        self._threads = [threading.Thread(target=self._serve, args=each) for each in self._sockets.items()]
        for thread in self._threads:
            thread.start()

    @property
    def places(self) -> Places:
        return Places((f"127.0.0.1:{self.port}",), self.port)

    def _serve(self, address: str, sock: socket.socket) -> None:
        while not self._over:
            try:
                data, peer = sock.recvfrom(4_096)
            except TimeoutError:
                continue
            question = dns.message.from_wire(data)
            (asked,) = question.question
            name, kind = asked.name.to_text(), dns.rdatatype.to_text(asked.rdtype)
            self.asked.append((address, name, kind))
            if address not in self.silent:
                sock.sendto(self._answer(address, question, name, kind).to_wire(), peer)

    def _answer(self, address: str, question: dns.message.Message, name: str, kind: str) -> dns.message.Message:
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.RA
        while (name, "CNAME") in self.records:
            target = self.records[name, "CNAME"]
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", *target))
            name = target[0]
        values = self.records.get((name, kind), [])
        if address in self.shows and kind == "TXT":
            values = [f'"{each}"' for each in self.shows[address]()]
        if values:
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *values))
        elif not any(known == name for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer

    def close(self) -> None:
        self._over = True
        for thread in self._threads:
            thread.join(5)
        for sock in self._sockets.values():
            sock.close()


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    monkeypatch.setattr(seen, "_PAUSE_S", 0.02)
    monkeypatch.setattr(seen, "BLIND_S", 0.5)
    made = Servers(dict(ZONE))
    yield made
    made.close()


def test_every_server_must_show_it(servers: Servers) -> None:
    """The second one is slow to hear of it."""
    late = time.monotonic() + 0.3
    servers.shows = {
        "127.0.0.2": lambda: ["something else", PROOF.record_value],
        "127.0.0.3": lambda: [PROOF.record_value] if time.monotonic() > late else [],
    }
    wait_until_seen(PROOF, servers.places, 10.0)
    assert time.monotonic() >= late
    assert not any(address == "127.0.0.1" and name.startswith("_acme") and kind == "TXT" for address, name, kind in servers.asked[1:])


def test_a_server_that_never_shows_it_is_named(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "BLIND_S", 60.0)  # on a busy machine a server may be slow to answer, which is not being out of reach
    servers.shows = {"127.0.0.2": lambda: [PROOF.record_value], "127.0.0.3": lambda: ["another's"]}
    with pytest.raises(ProofError, match=r"_acme-challenge.photos.example.org was written, and after 8 s ns2.example.org still"):
        wait_until_seen(PROOF, servers.places, 8.0)


def test_a_server_that_did_not_show_it_and_falls_silent_is_not_taken_to_show_it(servers: Servers) -> None:
    def last_words() -> list[str]:
        servers.silent.add("127.0.0.3")
        return ["another's"]

    servers.shows = {"127.0.0.2": lambda: [PROOF.record_value], "127.0.0.3": last_words}
    with pytest.raises(ProofError, match=r"after 8 s ns2.example.org still"):
        wait_until_seen(PROOF, servers.places, 8.0)


def test_a_server_that_is_silent_is_left_out(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "_ASK_S", 0.2)
    servers.shows = {"127.0.0.2": lambda: [PROOF.record_value]}
    servers.silent = {"127.0.0.3"}
    began = time.monotonic()
    wait_until_seen(PROOF, servers.places, 10.0)
    assert time.monotonic() - began < 9


def test_where_nobody_can_be_asked_the_record_is_believed_after_a_while(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "_ASK_S", 0.2)
    servers.silent = {"127.0.0.1", "127.0.0.2", "127.0.0.3"}
    began = time.monotonic()
    wait_until_seen(PROOF, servers.places, 10.0)
    assert 0.5 <= time.monotonic() - began < 9


def test_a_name_that_points_elsewhere_is_looked_for_there(servers: Servers) -> None:
    """RFC 8555 section 8.4: the zone of the target counts."""
    servers.records |= {
        ("_acme-challenge.photos.example.org.", "CNAME"): ["photos.acme.example.net."],
        ("example.net.", "SOA"): ["ns1.example.org. admin.example.net. 1 60 60 600 60"],
        ("example.net.", "NS"): ["ns1.example.org."],
    }
    servers.shows = {"127.0.0.2": lambda: [PROOF.record_value]}
    wait_until_seen(PROOF, servers.places, 10.0)
    assert ("127.0.0.2", "photos.acme.example.net.", "TXT") in servers.asked
    assert not any(address == "127.0.0.3" for address, _, _ in servers.asked)
