"""The first moments of a connection: how many are taken, whose they are, and which protocol is spoken then."""

import pytest

from tests.conformance.pair import Far, papers, tcp_pair
from tests.proxy.gate import PREFACE, REQUEST, Gate, choice, client, gate, hello, unix_pair
from vestibule.contract import Client
from vestibule.http.address import Network, NetworkSet
from vestibule.http.proxy_protocol import V1, proxy_header
from vestibule.net.demand import Asker, Demand, DemandedHosts
from vestibule.net.peer import address_text
from vestibule.net.tls import ACME_TLS, ClientAuth, DemandedContexts, OpenChallenges, TlsChoice, client_context, server_context
from vestibule.net.transport import PlainTransport
from vestibule.proxy.door import Refusals
from vestibule.proxy.entry import Entry

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ANYBODY = NetworkSet([Network(b"127.0.0.0/8")])
NOBODY = NetworkSet([Network(b"192.0.2.0/24")])
HEADER = proxy_header(V1, b"198.51.100.7", 4711, b"198.51.100.1", 443)


class Heard(Refusals):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, dict[str, str]]] = []

    def tell(self, text: str, details: dict[str, str]) -> None:
        self.lines.append((text, details))


def answered(one: Gate, far: Far) -> None:
    """See that HTTP/1 is spoken."""
    far.send(REQUEST)
    one.turn(8)
    assert far.got == ANSWER


def greeted(one: Gate, far: Far) -> None:
    """See that HTTP/2 is spoken."""
    far.send(PREFACE)
    one.turn(8)
    assert far.got[3:5] == b"\x04\x00", "SETTINGS come first"


def refused(one: Gate, far: Far) -> None:
    one.turn(8)
    assert (far.ended or far.broken) and not far.got


# ---------------------------------------------------------------- how many


def test_so_many_connections_at_a_time() -> None:
    with gate(connections_most=2) as one:
        assert not one.entry.is_full()
        for _ in range(2):
            one.connect()
        assert one.entry.is_full() and one.tally.accepted == 2


def test_so_many_connections_in_a_second_of_which_a_seconds_worth_may_come_at_once() -> None:
    with gate(connections_rate=2) as one:
        for _ in range(2):
            assert not one.entry.is_full()
            one.connect()
        assert one.entry.is_full() and one.tally.held_back == 1
        one.reactor.now_ms += 501
        assert not one.entry.is_full()


# ---------------------------------------------------------------- who


def test_a_client_is_named_by_its_addresses() -> None:
    with gate() as one:
        far = one.connect()
        answered(one, far)
        (ex,) = one.says.asked
        assert (ex.client.address, ex.client.port) == (b"127.0.0.1", far.sock.getsockname()[1])
        assert ex.client.local_port == far.sock.getpeername()[1] and ex.client.scheme == b"http"


def test_a_client_of_a_unix_socket_has_none() -> None:
    with gate() as one:
        near, sock = unix_pair()
        one.entry.on_accepted(near, None, None)
        one.fars.append(Far(sock))
        answered(one, one.fars[0])
        assert one.says.asked[0].client.address == b"unix:"


def test_a_listener_of_many_addresses_asks_which_one_it_was() -> None:
    with gate() as one:
        near, sock = tcp_pair(False)
        one.entry.on_accepted(near, ("192.0.2.1", 7), None)
        one.fars.append(Far(sock))
        answered(one, one.fars[0])
        (ex,) = one.says.asked
        assert (ex.client.address, ex.client.port, ex.client.local_port) == (b"192.0.2.1", 7, sock.getpeername()[1])


@pytest.mark.parametrize(
    ("text", "written"),
    [("::ffff:192.0.2.1", b"192.0.2.1"), ("::ffff:1", b"::ffff:1"), ("fe80::1%eth0", b"fe80::1"), ("192.0.2.1", b"192.0.2.1")],
)
def test_addresses_are_written_as_logs_want_them(text: str, written: bytes) -> None:
    assert address_text(text) == written


def test_only_those_who_may_say_whose_a_connection_is_are_asked() -> None:
    with gate(announcers=NOBODY) as one:
        far = one.connect()
        far.send(HEADER)
        refused(one, far)
        assert one.tally.refused_headers == 1


# ---------------------------------------------------------------- plain


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize(("http2", "preface"), [(False, False), (True, False), (True, True)])
def test_behind_a_header_either_protocol_may_be_spoken(http2: bool, preface: bool, early: bool) -> None:
    with gate(announcers=ANYBODY, http2=http2) as one:
        far = one.connect()
        far.send(HEADER + (b"" if not early else PREFACE[:3] if preface else REQUEST[:3]))
        one.turn()
        far.send((PREFACE if preface else REQUEST)[3 if early else 0 :])
        one.turn(8)
        if preface:
            assert far.got[3:5] == b"\x04\x00"
        else:
            assert far.got == ANSWER and one.says.asked[0].client.address == b"198.51.100.7"


@pytest.mark.parametrize("at", [1, 8, 24])
def test_the_preface_may_come_in_pieces(at: int) -> None:
    with gate(http2=True) as one:
        far = one.connect()
        far.send(PREFACE[:at])
        one.turn()
        greeted_by = PREFACE[at:]
        far.send(greeted_by)
        one.turn(8)
        assert far.got[3:5] == b"\x04\x00"


def test_who_speaks_no_http2_speaks_http1_where_that_is_spoken() -> None:
    with gate(http2=True) as one:
        answered(one, one.connect())
    with gate(http2=True, http1=False) as one:
        greeted(one, one.connect())
        far = one.connect()
        far.send(REQUEST)
        refused(one, far)
        assert not one.says.asked


@pytest.mark.parametrize("how", ["ends", "resets", "waits", "stops"])
def test_a_connection_that_says_nothing_is_closed(how: str) -> None:
    with gate(http2=True, request_head_ms=2_000) as one:
        far = one.connect()
        one.turn()
        assert one.tally.connections == 1
        if how == "ends":
            far.finish()
            one.turn()
        elif how == "resets":
            far.reset()
            one.turn()
        elif how == "waits":
            one.pass_time(2)
        else:
            one.stop()
        assert one.tally.connections == 0 and one.tally.handshakes_failed == 0
        if how != "resets":
            refused(one, far)


# ---------------------------------------------------------------- TLS


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("protocol", ["http/1.1", "h2", ""])
def test_the_client_chooses_the_protocol_in_tls(protocol: str, announced: bool) -> None:
    with gate(tls=choice("h2", "http/1.1"), http2=True, announcers=ANYBODY if announced else None) as one:
        far = one.secure(client(protocol), "immich.example", HEADER if announced else b"")
        one.turn(8)
        if protocol == "h2":
            greeted(one, far)
            return
        answered(one, far)
        about = one.says.asked[0].client
        assert (about.scheme, about.sni, about.tls_version) == (b"https", b"immich.example", b"TLSv1.3") and about.tls_cipher
        assert about.address == (b"198.51.100.7" if announced else b"127.0.0.1")


def test_an_issuer_that_looks_at_a_challenge_has_seen_all_with_the_handshake() -> None:
    challenges = OpenChallenges()
    challenges.replace({"immich.example": papers()})
    made = server_context(*papers())
    chosen = TlsChoice(made, None, challenges)
    chosen.arm()
    with gate(tls=chosen) as one:
        far = one.secure(client(ACME_TLS), "immich.example")
        one.turn(8)
        assert far.ready and far.ended and one.tally.connections == 0 and one.tally.handshakes_failed == 0


def test_a_certificate_of_the_client_is_taken_and_the_lack_of_one_is_told() -> None:
    chain, key = papers()
    made = server_context(chain, key, clients=ClientAuth(chain))
    chosen = TlsChoice(made, made)
    chosen.arm()
    with gate(tls=chosen) as one:
        heard = Heard()
        one.porch.refusals = heard
        answered(one, one.secure(client_context(verify=False, chain_pem=chain, key_pem=key)))
        assert one.says.asked[0].client.certificate is not None
        one.secure(client())
        one.turn(8)
        assert one.tally.handshakes_failed == 1
        ((text, details),) = heard.lines
        assert "certificate" in text and details == {"client": "127.0.0.1", "listener": "gate"}


@pytest.mark.parametrize("says", [b"", b"GET / HTTP/1.1\r\n\r\n"])
def test_a_handshake_that_fails_for_other_reasons_is_counted(says: bytes) -> None:
    with gate(tls=choice()) as one:
        heard = Heard()
        one.porch.refusals = heard
        far = one.connect()
        far.send(says)
        far.finish()
        one.turn(8)
        assert (one.tally.handshakes_failed, one.tally.connections, heard.lines) == (1, 0, [])


def test_a_connection_in_tls_is_passed_on_as_bytes_with_what_is_known_of_it() -> None:
    with gate(tls=choice("mqtt"), raw=True) as one:
        one.secure(client("mqtt"), "broker.example")
        one.turn(8)
        about = one.exchange().client
        assert about.hello and (about.sni, about.alpn) == (b"broker.example", b"mqtt")


def test_a_reload_that_takes_tls_away_while_a_client_waits() -> None:
    with gate() as one:
        near, sock = tcp_pair(False)
        one.fars.append(Far(sock))
        transport = PlainTransport(one.reactor, near, None)
        transport.start()
        one.entry.secure(transport, Client(b"127.0.0.1", 1, b"127.0.0.1", 2, b"https"), b"")
        refused(one, one.fars[0])


# ---------------------------------------------------------------- certificates on demand, bytes


class Asked(Asker):
    def __init__(self) -> None:
        self.names: list[str] = []

    def ask(self, name: str) -> None:
        self.names.append(name)


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("early", [True, False])
def test_where_certificates_come_on_demand_the_hello_is_read_first(announced: bool, early: bool) -> None:
    chosen = choice()
    demand, hosts = Demand(), DemandedHosts()
    demand.asker = asked = Asked()
    hosts.add("*")
    chosen.serve_on_demand(demand, hosts, DemandedContexts())
    with gate(tls=chosen, announcers=ANYBODY if announced else None) as one:
        far = one.connect()
        said = (HEADER if announced else b"") + hello("new.example")
        at = len(said) if early else len(HEADER) if announced else 5
        far.send(said[:at])
        one.turn()
        far.send(said[at:])
        one.turn()
        assert asked.names == ["new.example"] and one.tally.connections == 1 and demand.waiting == 1
        demand.refuse("new.example", 1 << 60)
        one.turn(8)
        assert demand.waiting == 0 and far.got, "the handshake goes on, with the certificate there is"


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("inspects", [0, -1])
def test_bytes_are_passed_on_once_the_plan_can_choose(announced: bool, inspects: int) -> None:
    with gate(raw=True, inspects=inspects, announcers=ANYBODY if announced else None) as one:
        far = one.connect()
        said = hello("pass.example", "h2")
        far.send((HEADER if announced else b"") + said)
        one.turn()
        ex = one.exchange()
        assert (ex.client.sni, ex.client.alpn) == ((b"pass.example", b"h2") if inspects == 0 else (b"", b""))
        assert ex.request_bytes == len(said)


def test_the_entry_of_a_porch_serves_by_the_door_of_now() -> None:
    with gate() as one:
        assert isinstance(one.entry, Entry)
        one.porch.door.connections_most = 0
        assert one.entry.is_full()
