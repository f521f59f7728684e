"""What an upstream learns of the client: never what a stranger made up."""

import pytest

from vestibule.contract import Client, Plan, Step
from vestibule.http.address import Network, NetworkSet
from vestibule.http.fields import Fields
from vestibule.plan.expr import CONNECTION, EXCHANGE, FIELDS, Const
from vestibule.plan.sent import SentFields, came_fields
from vestibule.plan.steps.edit import AddField, EditRequest, SetField
from vestibule.plan.steps.forward import HOST_FIXED, KEEP, REMOVE, SET, Forward, ForwardAgain, Terms
from vestibule.plan.variables import ClientIp, Header, RequestId

from .fakes import FakeUpstream, client, fields, request

TRUSTED = NetworkSet([Network(b"10.0.0.0/8"), Network(b"2001:db8:1::/48")])
SPOOFS = [
    "X-Forwarded-For", "x-forwarded-for", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Real-IP",
    "X-Forwarded-Server", "X-Forwarded-Ssl", "X-Forwarded-Prefix",
    "X_Forwarded_For", "X_Real_IP", "x-forwarded_for", "X_Forwarded-Proto", "X_REAL_IP",
]  # fmt: skip


def sent(
    terms: Terms, *lines: str, peer: Client | None = None, authority: str = "photos.example", rest: list[Step] | None = None
) -> Fields:
    """Return what goes upstream."""
    up = FakeUpstream()
    plan = Plan("site", up, [Forward(terms, []), *(rest or [])])
    request(plan, "/", *lines, peer=peer, authority=authority)
    return up.request().fields


def test_untrusted_peer_is_what_it_is() -> None:
    found = sent(Terms(TRUSTED), "User-Agent: a", authority="photos.example:8080")
    assert found.block == (
        b"Host: photos.example:8080\r\nUser-Agent: a\r\nX-Real-IP: 203.0.113.7\r\nX-Forwarded-For: 203.0.113.7\r\n"
        b"X-Forwarded-Proto: http\r\nX-Forwarded-Host: photos.example:8080\r\nX-Forwarded-Port: 8080\r\n"
    )


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("mode", [SET, REMOVE])
@pytest.mark.parametrize("name", SPOOFS)
def test_no_spelling_of_a_lie_passes(name: str, mode: int, allowed: bool) -> None:
    found = sent(Terms(TRUSTED, mode, allow_underscores=allowed), f"{name}: 192.0.2.66", "A: b", f"{name}: 192.0.2.66")
    assert b"192.0.2.66" not in found.block
    assert found.get(b"a") == b"b"


@pytest.mark.parametrize("mode", [SET, REMOVE])
@pytest.mark.parametrize("name", ["Forwarded", "FORWARDED"])
def test_forwarded_of_a_stranger_goes(name: str, mode: int) -> None:
    assert b"192.0.2.66" not in sent(Terms(TRUSTED, forwarded=mode), f"{name}: for=192.0.2.66").block


@pytest.mark.parametrize("name", ["X-Forwarded-For", "x-real-ip", "Forwarded", "Host"])
def test_connection_cannot_take_our_fields_away(name: str) -> None:
    found = sent(Terms(TRUSTED, forwarded=SET), f"Connection: {name}, close").end_to_end()
    for lower in (b"x-forwarded-for", b"x-real-ip", b"forwarded", b"host"):
        assert found.get(lower) is not None
    assert found.get(b"connection") is None


def test_underscores_are_dropped_unless_allowed() -> None:
    assert sent(Terms(TRUSTED), "Some_Thing: a").get(b"some_thing") is None
    assert sent(Terms(TRUSTED, allow_underscores=True), "Some_Thing: a").get(b"some_thing") == b"a"


def test_trusted_peer_is_continued() -> None:
    lines = (
        "X-Forwarded-For: 198.51.100.1, 10.0.0.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: public.example",
        "X-Real-IP: 192.0.2.66", "X-Forwarded-Prefix: /p", "X_Forwarded_For: 192.0.2.66",
    )  # fmt: skip
    found = sent(Terms(TRUSTED), *lines, peer=client("10.0.0.1"))
    assert found.get_all(b"x-forwarded-for") == [b"198.51.100.1, 10.0.0.9, 10.0.0.1"]
    assert found.get_all(b"x-real-ip") == [b"198.51.100.1"]
    assert found.get_all(b"x-forwarded-proto") == [b"https"]
    assert found.get_all(b"x-forwarded-host") == [b"public.example"]
    assert found.get_all(b"x-forwarded-port") == [b"443"]
    assert found.get_all(b"x-forwarded-prefix") == [b"/p"]
    assert b"192.0.2.66" not in found.block


def test_trusted_peer_may_keep_its_port() -> None:
    found = sent(Terms(TRUSTED), "X-Forwarded-Port: 8443", "X-Forwarded-Proto: https", peer=client("10.0.0.1"))
    assert found.get(b"x-forwarded-port") == b"8443"


def test_remove_leaves_what_a_trusted_peer_says() -> None:
    lines = ("X-Forwarded-For: 198.51.100.1", "Forwarded: for=198.51.100.1")
    found = sent(Terms(TRUSTED, REMOVE, REMOVE), *lines, peer=client("10.0.0.1"))
    assert found.block == b"Host: photos.example\r\nX-Forwarded-For: 198.51.100.1\r\nForwarded: for=198.51.100.1\r\n"


def test_pass_leaves_everything() -> None:
    found = sent(Terms(TRUSTED, KEEP, KEEP), "X-Forwarded-For: 192.0.2.66", "Forwarded: for=x")
    assert found.block == b"Host: photos.example\r\nX-Forwarded-For: 192.0.2.66\r\nForwarded: for=x\r\n"


WALKS = [
    ("10.0.0.1", [], "10.0.0.1"),
    ("10.0.0.1", ["X-Forwarded-For: 198.51.100.1"], "198.51.100.1"),
    ("10.0.0.1", ["X-Forwarded-For: 192.0.2.66, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
    ("10.0.0.1", ["X-Forwarded-For: 192.0.2.66", "X-Forwarded-For: 198.51.100.1:4711, 10.9.9.9"], "198.51.100.1"),
    ("10.0.0.1", ["X-Forwarded-For: 10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    ("10.0.0.1", ["X-Forwarded-For: 192.0.2.66, unknown, 10.0.0.2"], "10.0.0.2"),
    ("10.0.0.1", ["X-Forwarded-For: 192.0.2.66,"], "10.0.0.1"),
    ("10.0.0.1", ["X-Forwarded-For: [2001:db8::9]:80, 2001:db8:1::1"], "2001:db8::9"),
    ("10.0.0.1", ['Forwarded: for=192.0.2.66, for="[2001:db8::9]:80";proto=https, for=10.0.0.2'], "2001:db8::9"),
    ("10.0.0.1", ["Forwarded: for=192.0.2.66, proto=https"], "10.0.0.1"),
    ("10.0.0.1", ["X-Forwarded-For: 198.51.100.1", "Forwarded: for=192.0.2.66"], "198.51.100.1"),
    ("203.0.113.7", ["X-Forwarded-For: 192.0.2.66", "Forwarded: for=192.0.2.66"], "203.0.113.7"),
    ("unix:", ["X-Forwarded-For: 198.51.100.1"], "198.51.100.1"),
    ("::ffff:10.0.0.1", ["X-Forwarded-For: 198.51.100.1"], "198.51.100.1"),
]  # fmt: skip


@pytest.mark.parametrize(("peer", "lines", "address"), WALKS)
def test_client_is_found_from_the_right(peer: str, lines: list[str], address: str) -> None:
    plan = Plan("site", FakeUpstream(), [Forward(Terms(TRUSTED), [])])
    ex, _ = request(plan, "/", *lines, peer=client(peer))
    assert ex.client_address == address.encode()


@pytest.mark.parametrize(
    ("peer", "field", "walk", "lines", "address"),
    [
        ("10.0.0.1", b"CF-Connecting-IP", True, ["CF-Connecting-IP: 198.51.100.1", "X-Forwarded-For: 192.0.2.66"], "198.51.100.1"),
        ("203.0.113.7", b"CF-Connecting-IP", True, ["CF-Connecting-IP: 198.51.100.1"], "203.0.113.7"),
        ("10.0.0.1", b"X-Real-IP", True, ["Forwarded: for=192.0.2.66"], "10.0.0.1"),
        ("10.0.0.1", b"", False, ["X-Forwarded-For: 192.0.2.66, 10.9.9.9"], "10.9.9.9"),
        ("10.0.0.1", b"-", True, ["X-Forwarded-For: 192.0.2.66", "-: 192.0.2.66"], "10.0.0.1"),
    ],
)
def test_another_field_may_say_who_the_client_is(peer: str, field: bytes, walk: bool, lines: list[str], address: str) -> None:
    terms = Terms(TRUSTED, client_field=field, client_walk=walk)
    ex, _ = request(Plan("site", FakeUpstream(), [Forward(terms, [])]), "/", *lines, peer=client(peer))
    assert ex.client_address == address.encode()


def test_a_route_may_know_the_client_by_another_field() -> None:
    again = ForwardAgain(Terms(TRUSTED, client_field=b"X-Real-IP"), [], True, True)
    plan = Plan("site", FakeUpstream(), [Forward(Terms(TRUSTED), []), again])
    lines = ("X-Forwarded-For: 198.51.100.1", "X-Real-IP: 198.51.100.2")
    ex, _ = request(plan, "/", *lines, peer=client("10.0.0.1"))
    assert ex.client_address == b"198.51.100.2"


def test_a_client_that_was_found_stays_where_a_request_goes_on() -> None:
    terms = Terms(TRUSTED)
    ex, _ = request(Plan("site", FakeUpstream(), [Forward(terms, [])]), "/", "X-Forwarded-For: 198.51.100.1", peer=client("10.0.0.1"))
    ex.around = True
    Forward(Terms(TRUSTED, client_field=b"-"), []).run(ex)
    assert ex.client_address == b"198.51.100.1"
    ForwardAgain(Terms(TRUSTED, client_field=b"-"), [], True, True).run(ex)
    assert ex.client_address == b"198.51.100.1"


def test_unix_peer_may_be_no_more_than_others() -> None:
    terms = Terms(TRUSTED, trusts_sockets=False)
    assert not terms.trusts(b"unix:")
    assert Terms(TRUSTED).trusts(b"unix:")


def test_unix_peer_has_no_address_to_tell() -> None:
    found = sent(Terms(TRUSTED), peer=client("unix:"))
    assert found.get(b"x-real-ip") is None
    assert found.get(b"x-forwarded-for") is None
    assert found.get(b"x-forwarded-proto") == b"http"
    through = sent(Terms(TRUSTED), "X-Forwarded-For: 198.51.100.1", peer=client("unix:"))
    assert through.get(b"x-forwarded-for") == b"198.51.100.1"
    assert through.get(b"x-real-ip") == b"198.51.100.1"


def test_forwarded_is_written_as_the_rfc_has_it() -> None:
    found = sent(Terms(TRUSTED, forwarded=SET), peer=client("2001:db8::7", "https"), authority="photos.example:8443")
    assert found.get_all(b"forwarded") == [b'for="[2001:db8::7]";host="photos.example:8443";proto=https']
    more = sent(Terms(TRUSTED, forwarded=SET), "Forwarded: for=198.51.100.1", peer=client("10.0.0.1"))
    assert more.get_all(b"forwarded") == [b"for=198.51.100.1, for=10.0.0.1;host=photos.example;proto=http"]


@pytest.mark.parametrize(
    ("scheme", "authority", "port"),
    [("https", "a.example", b"443"), ("http", "a.example", b"80"), ("https", "a.example:8443", b"8443"), ("http", "[::1]:81", b"81"),
     ("https", "[::1]", b"443"), ("http", "", b"80")],
)  # fmt: skip
def test_port_is_the_one_the_client_sees(scheme: str, authority: str, port: bytes) -> None:
    found = sent(Terms(TRUSTED), peer=client(scheme=scheme, port=9999), authority=authority)
    assert found.get(b"x-forwarded-port") == port


def test_exactly_one_host() -> None:
    """HTTP/2 has an authority and no line, HTTP/1.0 may have neither."""
    up = FakeUpstream()
    plan = Plan("site", up, [Forward(Terms(TRUSTED), [])])
    request(plan, authority="photos.example:81", section=fields("A: b"))
    assert up.request().fields.get_all(b"host") == [b"photos.example:81"]
    request(plan, authority="other.example", section=fields("A: b", "Host: photos.example"))
    assert up.request().fields.get_all(b"host") == [b"other.example"]
    request(plan, authority="", section=fields("A: b"))
    assert up.request().fields.get_all(b"host") == [b""]
    assert up.request().fields.host == b""


def test_fixed_host() -> None:
    found = sent(Terms(TRUSTED, host_mode=HOST_FIXED, host=b"inner:2283"))
    assert found.get_all(b"host") == [b"inner:2283"]
    assert found.get(b"x-forwarded-host") == b"photos.example"


def test_framing_facts_stay() -> None:
    found = sent(Terms(TRUSTED), "Content-Length: 5", "Expect: 100-continue", "Connection: upgrade", "Upgrade: websocket")
    assert found.content_length == 5
    assert found.expects_continue
    assert found.upgrade == b"websocket"
    chunked = sent(Terms(TRUSTED), "Transfer-Encoding: chunked")
    assert chunked.chunked


def test_sent_fields_copy_every_fact() -> None:
    """A fact that `Fields` learns and `SentFields` forgets would be lost on the way."""
    source = fields("Host: a", "Content-Length: 5", "Connection: upgrade, keep-alive, x", "Upgrade: w", "Expect: 100-continue", "A_b: c")
    copy = SentFields(source, source, b"a")
    names = {name for name in dir(source) if not name.startswith("_") and not callable(getattr(source, name))}
    assert "has_underscore" in names
    for name in names:
        assert getattr(copy, name) == getattr(source, name), name


# ---- the memory of a connection


def once(scope: int = CONNECTION) -> RequestId:
    """Return a value that differs for each exchange but claims not to: it tells which exchange it was made for."""
    return RequestId(scope)


def test_same_fields_on_a_connection_are_remembered_from_the_second_time_on() -> None:
    up = FakeUpstream()
    plan = Plan("site", up, [Forward(Terms(TRUSTED), [SetField(b"X-Made", once())])])
    peer = client("10.0.0.1")
    section = fields("Host: photos.example", "X-Forwarded-For: 198.51.100.1")
    made = []
    for _ in range(4):
        ex, _ = request(plan, section=section, peer=peer)
        assert ex.client_address == b"198.51.100.1"
        made.append(up.request().fields)
    assert made[0] is not made[1]
    assert made[1] is made[2] is made[3]


@pytest.mark.parametrize("changed", ["step", "section", "authority", "connection"])
def test_memory_is_of_one_step_section_authority_and_connection(changed: str) -> None:
    up = FakeUpstream()
    plans = [Plan("site", up, [Forward(Terms(TRUSTED), [SetField(b"X-Made", once())])]) for _ in range(2)]
    sections = [fields("A: b"), fields("A: c")]
    peers = [client(), client("203.0.113.8")]
    seen = []
    for at in (0, 0, 1, 1, 0):
        peer = peers[at if changed == "connection" else 0]
        block = sections[at if changed == "section" else 0]
        authority = ("a.example", "b.example")[at if changed == "authority" else 0]
        ex, _ = request(plans[at if changed == "step" else 0], section=block, peer=peer, authority=authority)
        sent = up.request().fields
        seen.append(sent.get(b"x-made"))
        assert sent.get(b"a") == block.get(b"a")
        assert sent.get(b"host") == authority.encode()
        assert sent.get(b"x-forwarded-for") == peer.address
        assert came_fields(ex.request) is block
    assert seen[1] not in seen[2:4]


def test_edits_of_two_routes_do_not_mix() -> None:
    up = FakeUpstream()
    forward = Forward(Terms(TRUSTED), [])
    plans = [Plan(name, up, [forward, EditRequest([SetField(b"Route", Const(name.encode()))], True)]) for name in ("a", "b")]
    peer, section = client(), fields("Host: a")
    for plan in (plans[0], plans[1], plans[0]):
        request(plan, section=section, peer=peer, authority="a")
        assert up.request().fields.get(b"route") == plan.name.encode()


def test_later_edits_are_remembered_behind_it() -> None:
    up = FakeUpstream()
    steps: list[Step] = [
        Forward(Terms(TRUSTED), []),
        EditRequest([SetField(b"S", once(FIELDS))], True),
        EditRequest([SetField(b"W", once(EXCHANGE))], False),
    ]
    plan = Plan("site", up, steps)
    peer, section = client(), fields("Host: a")
    steady, wild = set(), set()
    for _ in range(5):
        request(plan, section=section, peer=peer, authority="a")
        steady.add(up.request().fields.get(b"s"))
        wild.add(up.request().fields.get(b"w"))
    assert (len(steady), len(wild)) == (2, 5)


def test_route_that_forwards_otherwise_starts_again() -> None:
    again = ForwardAgain(Terms(TRUSTED, KEEP, host_mode=HOST_FIXED, host=b"inner"), [AddField(b"X-Site", Const(b"1"))], True)
    lines = ("X-Forwarded-For: 192.0.2.66", "A_B: c")
    found = sent(Terms(TRUSTED, host_mode=HOST_FIXED, host=b"outer"), *lines, rest=[again])
    assert found.block == b"Host: inner\r\nX-Forwarded-For: 192.0.2.66\r\nX-Site: 1\r\n"


@pytest.mark.parametrize("steady", [True, False])
def test_starting_again_is_remembered_only_if_steady(steady: bool) -> None:
    up = FakeUpstream()
    plan = Plan("site", up, [Forward(Terms(TRUSTED), []), ForwardAgain(Terms(TRUSTED), [SetField(b"N", once(FIELDS))], steady)])
    peer, section = client(), fields("Host: a")
    seen = set()
    for _ in range(5):
        request(plan, section=section, peer=peer, authority="a")
        seen.add(up.request().fields.get(b"n"))
    assert len(seen) == (2 if steady else 5)


def test_edits_see_the_client_and_what_it_sent() -> None:
    edits = [SetField(b"X-Client", ClientIp(FIELDS)), SetField(b"X-Was", Header(b"x-forwarded-for"))]
    up = FakeUpstream()
    request(Plan("site", up, [Forward(Terms(TRUSTED), list(edits))]), "/", "X-Forwarded-For: 198.51.100.1", peer=client("10.0.0.1"))
    assert up.request().fields.get(b"x-client") == b"198.51.100.1"
    assert up.request().fields.get(b"x-was") == b"198.51.100.1"
