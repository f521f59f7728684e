"""From a configuration to what a request meets."""

import json
import os
import socket
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.e2e.certs import Authority, revocations
from vestibule import compile_upstream
from vestibule.compile import CompileError, Reporter, compile_config, dry_compile
from vestibule.compile_state import Registry, Root
from vestibule.contract import Client, Plan, Relays, Stream
from vestibule.exchange import Exchange
from vestibule.fault import Fault
from vestibule.http.fields import Fields, parse_fields
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.link.messages import Assets, KeyPair
from vestibule.model import config as m
from vestibule.model.expr import Call, Compare, Concat, Const, Expr, InNet, Match, Var
from vestibule.net.reactor import Reactor
from vestibule.proxy.balance import Server

WEB = m.Listener("web", m.TcpAddress(8080))
TLS = m.Listener("tls", m.TcpAddress(8443), tls=True)
# Names without addresses: no test opens a socket.
IMMICH = m.Upstream("immich", (m.Server("immich.example", 2283),))
OTHER = m.Upstream("other", (m.Server("inner.example", 80),))
SITE = m.Site("photos", ("photos.example",), ("web",), m.Proxy("immich"))
NO_LOG = m.AccessLog(target="off")


def config(*sites: m.Site, **more: object) -> m.Config:
    values: dict[str, object] = {
        "listeners": (WEB,), "sites": sites or (SITE,), "upstreams": (IMMICH, OTHER), "access_log": NO_LOG, **more,
    }  # fmt: skip
    return m.Config(**values)  # type: ignore[arg-type]


def built(made: m.Config, assets: Assets | None = None, registry: Registry | None = None, logs: dict[str, int] | None = None) -> Root:
    return compile_config(made, assets or Assets(), registry or Registry(), Reactor(), logs or {}, None)


def reasons(made: m.Config, assets: Assets | None = None) -> list[str]:
    with pytest.raises(CompileError) as caught:
        built(made, assets)
    assert dry_compile(made, assets or Assets()) == caught.value.reasons
    return caught.value.reasons


class Down(Stream):
    """A client in memory."""

    def __init__(self) -> None:
        self.head: ResponseHead | None = None
        self.body = b""

    def send_head(self, head: RequestHead | ResponseHead, end: bool) -> bool:
        assert isinstance(head, ResponseHead)
        self.head = head
        return True

    def send_body(self, data: bytes, end: bool) -> bool:
        self.body += data
        return True

    def refuse_rest(self) -> None:
        pass

    def abort(self, fault: Fault) -> None:
        pass

    def release(self) -> None:
        pass


class Up(Down):
    """An upstream in memory: keeps the request and answers when told."""

    def __init__(self) -> None:
        super().__init__()
        self.request: RequestHead | None = None

    def send_head(self, head: RequestHead | ResponseHead, end: bool) -> bool:
        assert isinstance(head, RequestHead)
        self.request = head
        return True


def asked(
    root: Root,
    target: str = "/",
    *lines: str,
    host: str = "photos.example",
    door: str = "web",
    method: str = "GET",
    peer: Client | None = None,
    section: Fields | None = None,
) -> tuple[Exchange, Down]:
    """Send a request through a door; where it reaches an upstream the connection is never made."""
    block = "".join(f"{line}\r\n" for line in (f"Host: {host}", *lines)).encode()
    section = section or parse_fields(block, 0, 100)
    scheme = b"https" if root.doors[door].tls is not None or door == "tls" else b"http"
    down = Down()
    ex = Exchange(down, peer or Client(b"203.0.113.7", 5, b"192.0.2.1", 80, scheme), root.doors[door].plan, Relays(), 0)
    ex.on_request(RequestHead(method.encode(), target.encode(), host.encode(), section, b"HTTP/1.1"), True)
    return ex, down


def reaches(ex: Exchange, name: str) -> bool:
    """Tell whether the exchange waits for a connection to this upstream."""
    return ex.waiting and getattr(ex.plan.source, "name", "") == name


def answer(ex: Exchange, down: Down, status: int = 200, *lines: str) -> Fields:
    """Have the upstream answer; return the fields that the client gets."""
    block = "".join(f"{line}\r\n" for line in lines).encode()
    ex.connected(Up(), "immich.example:2283")
    ex.on_response(ResponseHead(status, b"", parse_fields(block, 1, 100)), True)
    assert down.head is not None
    return down.head.fields


def pair(name: str, own: rsa.RSAPrivateKey | None = None) -> KeyPair:
    key = own or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False).sign(key, hashes.SHA256())
    )  # fmt: skip
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return KeyPair(made.public_bytes(serialization.Encoding.PEM).decode(), private.decode())


PHOTOS = pair("photos.example")


def certified(*names: str) -> Assets:
    assets = Assets()
    assets.ticket_key = "00" * 80
    for name in names:
        assets.certificates[name] = PHOTOS
    return assets


# ---- sites


def test_smallest_configuration_forwards() -> None:
    ex, _ = asked(built(config()), "/a", "X-Forwarded-For: 192.0.2.66")
    assert reaches(ex, "immich")
    assert ex.request.fields.get(b"x-forwarded-for") == b"203.0.113.7"
    assert ex.plan.body_most == -1
    assert ex.timeouts.body_idle_ms == 600_000


def test_what_sites_have_alike_is_there_once() -> None:
    kinds: dict[str, dict[str, object]] = {
        "a": {}, "b": {}, "host": {"forwarding": m.Forwarding(host="other.test")},
        "times": {"timeouts": m.Timeouts(connect_ms=7)}, "plain": {"immich": not SITE.immich},
    }  # fmt: skip
    sites = [replace(SITE, name=name, hosts=(f"{name}.test",), **own) for name, own in kinds.items()]  # type: ignore[arg-type]
    root = built(config(*sites))
    alike: dict[str, list[bool]] = {}
    first: list[object] = []
    for name in kinds:
        plan = asked(root, host=f"{name}.test")[0].plan
        parts = [plan.request, plan.timeouts, plan.error_page, plan.response, plan.filters, plan.errors, plan.log]
        first = first or parts
        alike[name] = [part is other for part, other in zip(parts, first, strict=True)]
    assert alike["b"] == [True] * 7
    assert alike["host"] == [False] + [True] * 6
    assert alike["times"] == [True, False] + [True] * 5
    assert alike["plain"] == [True, False, False] + [True] * 4


@pytest.mark.interpreted_only  # whom it tells is a trait
def test_sites_share_the_one_who_tells_of_faults() -> None:
    sites = [replace(SITE, name=name, hosts=(f"{name}.test",)) for name in "ab"]
    root = compile_config(config(*sites), Assets(), Registry(), Reactor(), {}, Reporter())
    one, other = asked(root, host="a.test")[0].plan, asked(root, host="b.test")[0].plan
    assert one.log is other.log and len(one.log) == 1 and (one.site, other.site) == ("a", "b")


def test_hosts() -> None:
    wide = replace(SITE, name="wide", hosts=("*.photos.example",), source=m.Proxy("other"))
    root = built(config(SITE, wide))
    assert reaches(asked(root, host="photos.example:8080")[0], "immich")
    assert reaches(asked(root, host="a.photos.example")[0], "other")
    _, down = asked(root, host="elsewhere.example")
    assert down.head is not None
    assert down.head.status == 421


@pytest.mark.parametrize("how", ["any", "default_site"])
def test_default_site(how: str) -> None:
    last = replace(SITE, name="last", hosts=("*",) if how == "any" else ("last.example",), source=m.Proxy("other"))
    listener = WEB if how == "any" else replace(WEB, default_site="last")
    ex, _ = asked(built(config(SITE, last, listeners=(listener,))), host="elsewhere.example")
    assert reaches(ex, "other")


def test_host_of_another_listener_is_misdirected() -> None:
    second = m.Listener("second", m.TcpAddress(8081))
    other = replace(SITE, name="other", hosts=("other.example",), listeners=("second",))
    ex, down = asked(built(config(SITE, other, listeners=(WEB, second))), host="other.example")
    assert down.head is not None
    assert down.head.status == 421
    assert ex.fault is not None
    assert ex.fault.kind.name == "client.misdirected"


# ---- datagrams


def test_datagrams_have_sessions_and_pools_of_their_own() -> None:
    routes = (m.TcpRoute("immich"),)
    udp = m.Listener("udp", m.UdpAddress(53), routes=routes, sessions=m.Sessions(1_000, 1, 2, 3))
    plain = m.Listener("plain", m.UdpAddress(54), routes=routes)
    tcp = m.Listener("tcp", m.TcpAddress(53), routes=routes)
    made = config(SITE)
    root = built(replace(made, listeners=(*made.listeners, udp, plain, tcp)))
    limits = root.doors["udp"].sessions
    assert limits is not None
    assert (limits.idle_ms, limits.responses, limits.requests, limits.most) == (1_000, 1, 2, 3)
    limits = root.doors["plain"].sessions
    assert limits is not None
    assert (limits.idle_ms, limits.responses, limits.requests, limits.most) == (120_000, -1, -1, 4_096)
    assert root.doors["tcp"].sessions is None and root.doors["web"].sessions is None
    assert len([name for name in root.named if name.startswith("pool immich ")]) == 3


# ---- routes


def test_a_redirect_in_the_place_of_an_error_leads_on() -> None:
    """Its status is its own; that of a text is the error's."""
    away = m.ErrorRoute(m.Redirect(Const("http://a.example/"), 302), (403,))
    text = m.ErrorRoute(m.Respond(200, Const("gone")), (410,))
    routes = tuple([m.Route(m.Respond(200), path=m.PathMatch("exact", f"/{each}"), request=(m.Deny(each),)) for each in (403, 410)])
    root = built(config(replace(SITE, source=m.Switch(routes), errors=(away, text))))
    found = [asked(root, f"/{each}")[1] for each in (403, 410)]
    assert [each.head and each.head.status for each in found] == [302, 410]
    assert found[0].head is not None and found[0].head.fields.get(b"location") == b"http://a.example/"


def test_an_answer_without_a_body_has_a_length_in_the_place_of_an_error() -> None:
    """The status that says that there is none is not the one that the client sees."""
    route = m.Route(m.Respond(200), request=(m.Deny(405),))
    root = built(config(replace(SITE, source=m.Switch((route,)), errors=(m.ErrorRoute(m.Respond(204), (405,)),))))
    head = asked(root)[1].head
    assert head is not None and (head.status, head.fields.get(b"content-length")) == (405, b"0")


def test_a_route_gives_the_request_back_with_another_path() -> None:
    """The fields are those of the site then; what the route changed does not stay, and what the site changed does."""
    old = m.Route(
        m.Again(),
        path=m.PathMatch("prefix", "/old/"),
        request=(m.SetHeader("X-Old", Const("1")), m.Rewrite(Const("/new/"))),
        forwarding=m.Forwarding(host="old.example"),
    )
    named = m.Route(m.Proxy("other"), name="@rest", when=Compare("==", Const("a"), Const("b")))
    back = m.Route(m.Again("@rest"), path=m.PathMatch("exact", "/back"))
    new = m.Route(m.Proxy("immich"), path=m.PathMatch("prefix", "/new/"))
    site = replace(SITE, source=m.Switch((old, named, back, new)), request=(m.SetHeader("X-Site", Const("1")),))
    root = built(config(site))
    ex, _ = asked(root, "/old/a?b=1")
    assert reaches(ex, "immich") and ex.request.target == b"/new/?b=1"
    fields = ex.request.fields
    assert (fields.get(b"x-old"), fields.get(b"x-site"), fields.get_all(b"host")) == (None, b"1", [b"photos.example"])
    assert reaches(asked(root, "/back")[0], "other")
    ex, down = asked(root, "/elsewhere")
    assert down.head is not None and down.head.status == 404


def routed(*routes: m.Route, **more: object) -> m.Site:
    return replace(SITE, source=m.Switch(routes), **more)  # type: ignore[arg-type]


def test_routes_inherit_and_override() -> None:
    slow = m.Timeouts(body_idle_ms=5)
    site = routed(
        m.Route(m.Proxy("other"), path=m.PathMatch("prefix", "/other/"), timeouts=slow, limits=m.Limits(body_bytes=10)),
        m.Route(m.Proxy("immich")),
        limits=m.Limits(body_bytes=99),
    )
    root = built(config(site))
    ex, _ = asked(root, "/other/x")
    assert reaches(ex, "other")
    assert (ex.plan.body_most, ex.timeouts.body_idle_ms) == (10, 5)
    ex, _ = asked(root, "/x")
    assert reaches(ex, "immich")
    assert (ex.plan.body_most, ex.timeouts.body_idle_ms) == (99, 600_000)


def test_route_may_allow_a_larger_body_than_its_site() -> None:
    site = routed(m.Route(m.Proxy("immich"), limits=m.Limits(body_bytes=1_000)), limits=m.Limits(body_bytes=10))
    ex, _ = asked(built(config(site)), "/", "Content-Length: 500", method="POST")
    assert reaches(ex, "immich")
    ex, down = asked(built(config(site)), "/", "Content-Length: 5000", method="POST")
    assert down.head is not None
    assert down.head.status == 413
    assert ex.fault is not None
    assert "limits.body is 1000" in ex.fault.detail


@pytest.mark.parametrize("order", ["written", "best"])
def test_conditions_of_routes(order: str) -> None:
    test = Compare("==", Var("header", "X-A"), Const("1"))
    site = replace(SITE, source=m.Switch((
        m.Route(m.Respond(201), methods=("PUT",)),
        m.Route(m.Respond(202), when=test),
        m.Route(m.Respond(203), path=m.PathMatch("regex", r"\.jpg$", ignore_case=True)),
        m.Route(m.Respond(204), path=m.PathMatch("exact", "/a")),
    ), order))  # type: ignore[arg-type]  # fmt: skip
    root = built(config(site))
    found = []
    for target, method, lines in (("/", "PUT", ()), ("/", "GET", ("X-A: 1",)), ("/A.JPG", "GET", ()), ("/a", "GET", ()), ("/b", "GET", ())):
        _, down = asked(root, target, *lines, method=method)
        assert down.head is not None
        found.append(down.head.status)
    assert found == [201, 202, 203, 204, 404]


# ---- actions


def test_actions_run_in_order() -> None:
    site = replace(SITE, request=(
        m.SetHeader("X-Was", Var("path")),
        m.StripPrefix("/photos"),
        m.SetHeader("X-Is", Var("path")),
        m.Rewrite(query=Const("a=1")),
        m.RemoveHeader("Cookie"),
        m.AddHeader("X-Client", Concat((Const("<"), Var("client_ip"), Const(">")))),
    ))  # fmt: skip
    ex, _ = asked(built(config(site)), "/photos/x?y", "Cookie: a=b")
    fields = ex.request.fields
    assert ex.request.target == b"/x?a=1"
    assert (fields.get(b"x-was"), fields.get(b"x-is"), fields.get(b"x-client")) == (b"/photos/x", b"/x", b"<203.0.113.7>")
    assert fields.get(b"cookie") is None


def test_what_steps_keep_and_count_is_there_for_later_ones() -> None:
    site = replace(SITE, request=(
        m.SetVariable("who", Var("client_ip")),
        m.Count(Var("kept", "who"), "all", "seen"),
        m.Count(Var("kept", "who"), "now", "open", while_open=True),
        m.SetMethod(Const("PUT")),
        m.RemoveHeaders("^x-in"),
        m.Count(Var("kept", "who"), "all", "looked", how="look"),
        m.Count(Var("kept", "who"), "marks", "mark", 7, how="set"),
        m.Count(Var("kept", "who"), "bytes", "sent", of="bytes_out"),
        m.SetHeader("X-Told", Concat((Var("kept", "who"), Const(" "), Var("kept", "seen"), Const(" "), Var("kept", "open")))),
        m.SetHeader("X-Looked", Concat((Var("kept", "looked"), Var("kept", "mark")))),
        m.SetHeader("X-Twice", Var("request_header", "x-told")),
    ))  # fmt: skip
    root = built(config(site))
    for count in (b"1", b"2"):
        ex, down = asked(root, "/", "X-In-A: 1", "X-Out: 2")
        fields = ex.request.fields
        assert (ex.request.method, fields.get(b"x-in-a"), fields.get(b"x-out")) == (b"PUT", None, b"2")
        assert fields.get(b"x-looked") == count + b"7"
        assert fields.get(b"x-told") == fields.get(b"x-twice") == b"203.0.113.7 " + count + b" 1"
        answer(ex, down)


def test_counts_outlive_reloads_that_leave_them() -> None:
    registry = Registry()
    site = replace(SITE, request=(m.Count(Const("k"), "all", "seen"), m.SetHeader("X-Seen", Var("kept", "seen"))))
    for count in (b"1", b"2"):
        ex, _ = asked(built(config(site), registry=registry))
        assert ex.request.fields.get(b"x-seen") == count
    ex, _ = asked(built(config(replace(site, request=(replace(site.request[0], period_ms=1000), site.request[1]))), registry=registry))
    assert ex.request.fields.get(b"x-seen") == b"1"


def test_answers_are_changed_and_replaced() -> None:
    bad = Compare("==", Var("status"), Const(500))
    site = replace(SITE, response=(
        m.SetVariable("was", Var("status")),
        m.When(
            bad,
            (m.ReplaceAnswer(503, Const("later"), (("X-Was", Var("kept", "was")),)), m.Count(Const("k"), "bad", "bad")),
            (m.SetStatus(299, "Fine"), m.SetHeader("X-Bad", Var("kept", "bad"))),
        ),
    ))  # fmt: skip
    root = built(config(site))
    ex, down = asked(root)
    fields = answer(ex, down, 500, "X-Secret: 1", "Content-Length: 0")
    assert down.head is not None and down.head.status == 503
    assert (fields.get(b"x-was"), fields.get(b"x-secret"), fields.get(b"content-length")) == (b"500", None, b"5")
    ex, down = asked(root)
    answer(ex, down, 200, "Content-Length: 0")
    assert down.head is not None and (down.head.status, down.head.reason) == (299, b"Fine")


def test_bodies_are_dropped_and_paced_where_a_test_says() -> None:
    slow = Compare("==", Var("path"), Const("/slow"))
    site = replace(SITE,
        request=(m.DropBody(), m.BandwidthLimit(Const("9k"), "request", key=Var("client_ip"), zone="up")),
        response=(m.When(slow, (m.BandwidthLimit(Const("10k"), after=Const("1k")),)),),
    )  # fmt: skip
    root = built(config(site))
    ex, _ = asked(root, "/slow", "Content-Length: 0")
    assert ex.request.fields.content_length == -1 and ex.pacing is not None
    for path, is_paced in (("/slow", True), ("/", False)):
        ex, _ = asked(built(config(replace(site, request=()))), path)
        ex.connected(Up(), "immich.example:2283")
        ex.on_response(ResponseHead(200, b"", parse_fields(b"Content-Length: 9\r\n", 1, 100)), False)
        assert (ex.pacing is not None) is is_paced


def test_leading_steady_edits_are_part_of_forwarding() -> None:
    site = replace(SITE, request=(m.SetHeader("X-Host", Var("host")), m.RemoveHeader("X-Real-IP"), m.SetHeader("X-M", Var("method"))))
    root = built(config(site))
    peer = Client(b"203.0.113.7", 5, b"192.0.2.1", 80, b"http")
    section = parse_fields(b"Host: photos.example\r\n", 0, 100)
    for _ in range(2):
        ex, _ = asked(root, peer=peer, section=section)
    assert peer.memo_to is not None
    assert peer.memo_to.get(b"x-host") == b"photos.example"
    assert peer.memo_to.get(b"x-real-ip") is None
    assert peer.memo_to.get(b"x-m") is None
    assert ex.request.fields.get(b"x-m") == b"GET"


def test_condition_around_actions() -> None:
    lan = InNet(Var("client_ip"), ("10.0.0.0/8",))
    site = replace(
        SITE,
        request=(
            m.When(lan, (m.Deny(404),)),
            m.When(Match("^/x", Var("path")), (m.Rewrite(path=Const("/y")), m.SetHeader("A", Const("1")))),
        ),
    )
    root = built(config(site, trusted_proxies=("127.0.0.1",)))
    inside = Client(b"127.0.0.1", 5, b"192.0.2.1", 80, b"http")
    _, down = asked(root, "/x", "X-Forwarded-For: 10.0.0.5", peer=inside)
    assert down.head is not None
    assert down.head.status == 404
    ex, _ = asked(root, "/x", "X-Forwarded-For: 10.0.0.5")
    assert ex.request.target == b"/y"
    assert ex.request.fields.get(b"a") == b"1"


def test_response_actions_run_from_the_inside_out() -> None:
    inner = (m.SetHeader("A", Const("inner")), m.SetHeader("B", Const("inner")))
    site = routed(m.Route(m.Proxy("immich"), response=inner), response=(m.SetHeader("B", Const("outer")), m.RemoveHeader("Server")))
    ex, down = asked(built(config(site)))
    found = answer(ex, down, 200, "Server: x", "Content-Length: 0")
    assert found.block == b"Content-Length: 0\r\nA: inner\r\nB: outer\r\n"


def test_response_actions_see_the_response() -> None:
    site = replace(
        SITE,
        response=(
            m.SetHeader("X-Up", Var("upstream")),
            m.When(Compare(">=", Var("status"), Const(400)), (m.SetHeader("X-Bad", Const("1")),)),
        ),
    )
    root = built(config(site))
    ex, down = asked(root)
    assert answer(ex, down, 200).block == b"X-Up: immich\r\n"
    ex, down = asked(root)
    assert answer(ex, down, 404).block == b"X-Up: immich\r\nX-Bad: 1\r\n"


# ---- forwarding


def test_forwarding_of_a_route() -> None:
    quiet = m.Forwarding(x_forwarded="remove", host="upstream", underscores="allow")
    site = routed(
        m.Route(m.Proxy("other"), path=m.PathMatch("prefix", "/other"), forwarding=quiet, request=(m.SetHeader("B", Const("2")),)),
        m.Route(m.Proxy("immich")),
        request=(m.SetHeader("A", Const("1")),),
    )
    root = built(config(site))
    ex, _ = asked(root, "/other", "A_B: c", "X-Real-IP: 192.0.2.66")
    assert ex.request.fields.block == b"Host: inner.example\r\nA_B: c\r\nA: 1\r\nB: 2\r\n"
    ex, _ = asked(root, "/", "A_B: c")
    assert ex.request.fields.get(b"host") == b"photos.example"
    assert ex.request.fields.get(b"a_b") is None


@pytest.mark.parametrize(
    ("server", "host"),
    [
        (m.Server("inner.example", 80), b"inner.example"),
        (m.Server("inner.example", 443, tls=True), b"inner.example"),
        (m.Server("inner.example", 2283), b"inner.example:2283"),
        (m.Server("::1", 2283), b"[::1]:2283"),
        (m.Server(path="/run/app.sock"), b"localhost"),
    ],
)
def test_host_of_the_upstream(server: m.Server, host: bytes) -> None:
    site = replace(SITE, forwarding=m.Forwarding(host="upstream"), request=(m.Deny(),))
    ex, _ = asked(built(config(site, upstreams=(m.Upstream("immich", (server, server)),))))
    assert ex.request.fields.get_all(b"host") == [host]


def test_host_of_the_upstream_below_a_switch() -> None:
    site = routed(m.Route(m.Proxy("other")), forwarding=m.Forwarding(host="upstream"))
    ex, _ = asked(built(config(site)))
    assert ex.request.fields.get_all(b"host") == [b"inner.example"]


def test_a_name_that_stands_for_many_servers_has_no_host_of_each() -> None:
    upstream = m.Upstream("immich", (m.Server("a", 80), m.Server("b", 80, resolve="all")))
    made = config(replace(SITE, forwarding=m.Forwarding(host="upstream")), upstreams=(upstream,))
    assert reasons(made)[0].startswith("sites[0].forwarding.host: the servers of `immich` have different addresses")


# ---- sources


def test_respond_and_redirect() -> None:
    site = routed(
        m.Route(m.Respond(200, Const("hi"), (("X-A", Var("site")),)), path=m.PathMatch("exact", "/hi")),
        m.Route(m.Redirect(Concat((Const("/new"), Var("path"))), 302)),
    )
    root = built(config(site))
    _, down = asked(root, "/hi")
    assert down.head is not None
    assert (down.head.status, down.body, down.head.fields.get(b"x-a")) == (200, b"hi", b"photos")
    _, down = asked(root, "/a")
    assert down.head is not None
    assert (down.head.status, down.head.fields.get(b"location")) == (302, b"http://photos.example/new/a")


# ---- TLS


def secure(*sites: m.Site, **more: object) -> m.Config:
    return config(*sites, listeners=(WEB, TLS), certificates=(m.Certificate("c", "c.pem"), m.Certificate("d", "d.pem")), **more)


BOTH = replace(SITE, listeners=("web", "tls"), certificates=("c",))


def test_certificates_are_chosen_by_name() -> None:
    wild = replace(BOTH, name="wild", hosts=("*.photos.example",), certificates=("d",))
    tls = built(secure(BOTH, wild), certified("c", "d")).doors["tls"].tls
    assert tls is not None
    assert tls.find("photos.example") is tls.base
    assert tls.find("PHOTOS.example.") is tls.base
    assert tls.find("a.photos.example") not in (None, tls.base)
    assert tls.find("a.b.photos.example") is None
    assert tls.find("") is None


@pytest.mark.parametrize("host", ["*", "127.0.0.1", "[::1]"])
def test_site_for_any_host_or_an_address_serves_who_names_none(host: str) -> None:
    site = replace(BOTH, hosts=("photos.example", host))
    tls = built(secure(site), certified("c")).doors["tls"].tls
    assert tls is not None
    assert tls.find("") is tls.base


def test_unknown_name_gets_the_default_site() -> None:
    other = replace(BOTH, name="other", hosts=("other.example",), certificates=("d",))
    lenient = replace(TLS, unknown_sni="default", default_site="other")
    tls = built(config(BOTH, other, listeners=(WEB, lenient)), certified("c", "d")).doors["tls"].tls
    assert tls is not None
    assert tls.find("nowhere.example") is tls.find("other.example")


def test_each_listener_has_its_own_choice() -> None:
    second = replace(TLS, name="second", unknown_sni="default")
    root = built(config(replace(BOTH, listeners=("tls", "second")), listeners=(TLS, second)), certified("c"))
    one, two = root.doors["tls"].tls, root.doors["second"].tls
    assert one is not None
    assert two is not None
    assert one.base is not two.base
    assert one.find("x") is None
    assert two.find("x") is two.base


def test_certificates_of_one_site_go_to_the_hosts_they_name() -> None:
    assets = certified("c")
    assets.certificates["d"] = pair("*.other.example")
    site = replace(BOTH, hosts=("photos.example", "a.other.example", "*.other.example"), certificates=("c", "d"))
    tls = built(secure(site), assets).doors["tls"].tls
    assert tls is not None
    assert tls.find("photos.example") is tls.base
    assert tls.find("a.other.example") is tls.find("b.other.example") is not tls.base
    assert reasons(secure(replace(site, hosts=("photos.example", "x.example"))), assets) == [
        "sites[0].certificates: none of the certificates is for `x.example`"
    ]
    assets.certificates["d"] = pair("photos.example", rsa.generate_private_key(65537, 2048))
    assert built(secure(replace(site, hosts=("photos.example", "*"))), assets).doors["tls"].tls
    assets.certificates["d"] = pair("photos.example")
    assert reasons(secure(replace(site, hosts=("photos.example",))), assets)[0].startswith(
        "sites[0].certificates: `c` and `d` are both ECDSA certificates for `photos.example`"
    )


def test_certificate_of_the_local_authority() -> None:
    site = replace(BOTH, certificates=(), internal_tls=True)
    assert built(secure(site), certified("internal:photos")).doors["tls"].tls is not None


def test_redirect_to_https_and_hsts() -> None:
    site = replace(BOTH, redirect_http=True, https_port=8443, hsts=m.Hsts(60), response=(m.SetHeader("A", Const("1")),))
    root = built(secure(site), certified("c"))
    _, down = asked(root, "/a?b=c", method="POST", host="photos.example:8080")
    assert down.head is not None
    assert (down.head.status, down.head.fields.get(b"location")) == (308, b"https://photos.example:8443/a?b=c")
    assert down.head.fields.get(b"strict-transport-security") is None
    _, down = asked(root, "/.well-known/acme-challenge/x")
    assert down.head is not None
    assert down.head.status == 404
    ex, down = asked(root, "/.well-known/acme-challenge/x", door="tls")
    assert reaches(ex, "immich")
    assert answer(ex, down).get(b"strict-transport-security") == b"max-age=60"


# ---- state


def test_pools_outlive_a_reload_and_go_with_their_name() -> None:
    registry = Registry()
    first = built(config(), registry=registry)
    first.activate()
    assert registry.sweep(first) == 0
    assert registry.figures() == {"immich.example:2283": {"connections": 0, "idle": 0}}
    same = built(config(replace(SITE, hosts=("new.example",))), registry=registry)
    assert same.made == []
    same.activate()
    assert registry.sweep(same) == 0
    changed = built(config(replace(SITE, source=m.Proxy("other"))), registry=registry)
    assert len(changed.made) == 1
    changed.activate()
    assert registry.sweep(changed) == 1
    assert list(registry.figures()) == ["inner.example:80"]


def test_discarded_generation_leaves_nothing() -> None:
    registry = Registry()
    first = built(config(), registry=registry)
    first.activate()
    registry.sweep(first)
    before = [key for key, _ in registry.items()]
    built(config(replace(SITE, source=m.Proxy("other"), access_log=m.AccessLog())), registry=registry).discard()
    assert [key for key, _ in registry.items()] == before
    with pytest.raises(CompileError):
        built(config(replace(SITE, source=m.Proxy("other")), replace(SITE, source=m.Proxy("none"))), registry=registry)
    assert [key for key, _ in registry.items()] == before


def test_servers_at_the_same_address_have_connections_of_their_own() -> None:
    registry = Registry()
    twin = m.Server("immich.example", 2283)
    upstream = replace(IMMICH, servers=(twin, m.Server("immich.example", 2284), replace(twin), replace(twin, weight=2)))
    built(config(upstreams=(upstream,)), registry=registry)
    pools = [key for key, _ in registry.items() if key.startswith("pool ")]
    assert len(pools) == 4
    assert sorted([key.partition(" again ")[2].partition(" ")[0] for key in pools]) == ["", "", "1", "2"]


@pytest.mark.interpreted_only  # a function of a module is replaced
def test_thousands_of_servers_are_not_compared_each_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker compiles between two turns, and serves nobody meanwhile."""
    texts: list[m.Server] = []

    def text_of(server: m.Server) -> str:
        texts.append(server)
        return f"{server.host}:{server.port}"

    monkeypatch.setattr(compile_upstream, "server_text", text_of)
    servers = tuple([m.Server("192.0.2.1", 1 + at) for at in range(50)])
    built(config(upstreams=(replace(IMMICH, servers=servers),)))
    assert len(texts) <= 4 * len(servers)


def test_servers_take_turns_over_a_reload() -> None:
    registry = Registry()
    upstream = replace(IMMICH, servers=tuple([m.Server("immich.example", 2283 + at) for at in range(3)]))
    chosen: list[str] = []
    for _ in range(6):
        root = built(config(upstreams=(upstream,)), registry=registry)
        root.activate()
        registry.sweep(root)
        ex, _ = asked(root)
        assert isinstance(ex.chosen, Server)
        chosen.append(ex.chosen.address.decode())
    assert chosen == [f"immich.example:{port}" for port in (2283, 2284, 2285)] * 2
    more = replace(upstream, servers=(*upstream.servers, m.Server("immich.example", 2286)))
    ex, _ = asked(built(config(upstreams=(more,)), registry=registry))
    assert isinstance(ex.chosen, Server) and ex.chosen.address == b"immich.example:2283"


def test_servers_at_one_address_keep_connections_of_their_own() -> None:
    root = built(config(upstreams=(replace(IMMICH, servers=(*IMMICH.servers, m.Server("immich.example", 2283))),)))
    assert len([key for key in root.made if key.startswith("pool ")]) == 2


def test_changed_settings_are_another_pool() -> None:
    registry = Registry()
    for upstream in (IMMICH, replace(IMMICH, pool=m.Pool(max_idle=1)), replace(IMMICH, servers=(m.Server("immich.example", 2284),))):
        root = built(config(upstreams=(upstream,)), registry=registry)
        assert len(root.made) == 1
    assert len(registry.items()) == 3


def test_an_upstream_is_found_by_its_name_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked for one by one and compared as a whole, ten thousand of them took half a minute, in each worker."""

    def compared(one: m.Upstream, other: object) -> bool:
        raise AssertionError("upstreams are compared")

    monkeypatch.setattr(m.Upstream, "__eq__", compared)
    upstreams = [replace(IMMICH, name=f"u{at}") for at in range(3)]
    sites = [m.Site(f"s{at}", (f"{at}.example",), ("web",), m.Proxy(f"u{at}")) for at in range(3)]
    assert len(built(config(*sites, upstreams=tuple(upstreams))).made) == 3


def test_what_the_files_of_an_upstream_hold_is_read_anew_by_a_reload() -> None:
    """A revoked certificate must not be believed because the name of the list is the same."""
    authority = Authority()
    pem = authority.root.public_bytes(serialization.Encoding.PEM).decode()
    upstream = replace(IMMICH, servers=(m.Server("immich.example", 443, tls=True),), tls=m.UpstreamTls(ca="ca.pem", crl="crl.pem"))
    registry = Registry()
    for lists in (revocations(authority), revocations(authority, authority.middle)):
        assets = Assets()
        assets.authorities["ca.pem"] = pem
        assets.revocations["crl.pem"] = lists.decode()
        for count in (1, 0):
            assert len(built(config(upstreams=(upstream, OTHER)), assets, registry).made) == count


def test_what_a_server_is_left_out_for_changes_when_it_is_served() -> None:
    """A configuration that is refused changes nothing."""
    registry = Registry()
    root = built(config(), registry=registry)
    root.activate()
    standing = registry.board.find("immich immich.example:2283")
    servers = (m.Server("immich.example", 2283, max_fails=7, fail_window_ms=9_000), m.Server("second.example", 2283))
    own = replace(IMMICH, servers=servers, passive=replace(IMMICH.passive, max_fails=0))
    other = built(config(upstreams=(own, OTHER)), registry=registry)
    assert (standing.max_fails, standing.fail_window_ms) == (-1, -1)
    other.discard()
    other = built(config(upstreams=(own, OTHER)), registry=registry)
    other.activate()
    assert (standing.max_fails, standing.fail_window_ms) == (7, 9_000)
    assert [server.watches for server in other._sources[0].servers] == [True, False]


def test_addresses_are_learned() -> None:
    assets = Assets()
    assets.addresses["inner.example"] = ["192.0.2.8"]
    registry = Registry()
    built(config(), assets, registry)
    assert registry.book.find("inner.example") == ["192.0.2.8"]


# ---- logs


def test_logs_go_to_their_files_and_change_with_the_generation(tmp_path: Path) -> None:
    registry = Registry()
    path = str(tmp_path / "access.log")
    made = config(replace(SITE, access_log=m.AccessLog(target=path), source=m.Respond(204)))
    fds = [os.open(tmp_path / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for name in ("one", "two", "three")]
    first = built(made, registry=registry, logs={path: fds[0]})
    first.activate()
    asked(first, "/1?key=s3cr3t")
    second = built(made, registry=registry, logs={path: fds[1]})
    asked(first, "/2")
    second.activate()
    asked(first, "/3")
    registry.flusher.flush()
    second.reopen_logs({path: fds[2]})
    asked(second, "/4")
    registry.flusher.flush()
    assert registry.sweep(second) == 0
    targets = [[json.loads(line)["target"] for line in (tmp_path / name).read_text().splitlines()] for name in ("one", "two", "three")]
    assert targets == [["/1?key=***", "/2"], ["/3"], ["/4"]]
    for fd in fds[:2]:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)
    registry.keep(set())


@pytest.mark.parametrize(
    ("immich", "said", "outside", "hold_ms"),
    [(True, None, None, 10_000), (False, None, None, 0), (True, 0, None, 0), (False, 300, None, 300), (False, None, 400, 400)],
)
def test_requests_are_held_for_immich_unless_something_else_is_said(
    immich: bool, said: int | None, outside: int | None, hold_ms: int
) -> None:
    site = replace(SITE, immich=immich, timeouts=None if said is None else m.Timeouts(hold_ms=said))
    ex, _ = asked(built(replace(config(site), timeouts=m.Timeouts(hold_ms=outside))), "/")
    assert ex.timeouts.hold_ms == hold_ms


def test_descriptors_of_nobody_are_closed(tmp_path: Path) -> None:
    for served in (True, False):
        fd = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
        root = built(config(), logs={"unused": fd})
        if served:
            root.activate()
        else:
            root.discard()
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)


@pytest.mark.parametrize("form", ["combined", "template"])
def test_other_formats(form: str, tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    template: Expr | None = Concat((Const('"'), Var("target"), Const('" '), Var("status"))) if form == "template" else None
    log = m.AccessLog(target=path, format=form, template=template)  # type: ignore[arg-type]
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    registry = Registry()
    root = built(config(replace(SITE, access_log=log, source=m.Respond(204))), registry=registry, logs={path: fd})
    root.activate()
    asked(root, "/share/s3cr3t?key=s3cr3t")
    registry.flusher.flush()
    text = Path(path).read_text()
    assert "s3cr3t" not in text
    assert (text == '"/share/***?key=***" 204\n') == (form == "template")


@pytest.mark.parametrize(("escape", "line"), [("text", '\\"a\\x01'), ("json", '\\"a\\u0001')])
def test_how_values_of_a_template_are_escaped(escape: str, line: str, tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    template = Concat((Const('"'), Call("url_decode", (Var("arg", "a"),)), Var("arg", "none"), Const('"')))
    log = m.AccessLog(path, "template", template, escape=escape)  # type: ignore[arg-type]
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    registry = Registry()
    root = built(config(replace(SITE, access_log=log, source=m.Respond(204))), registry=registry, logs={path: fd})
    root.activate()
    asked(root, "/?a=%22a%01")
    registry.flusher.flush()
    assert Path(path).read_text() == f'"{line}"\n'


def test_several_logs_have_a_line_each_and_one_may_be_a_syslog_server(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    line = Concat((Var("method"), Const(" "), Var("status")))
    also = (
        m.AccessLog(f"syslog:{tmp_path}/socket", "template", line, syslog=m.Syslog("local0", "notice", "a", "rfc5424")),
        m.AccessLog(path, "template", line, when=Match("never", Var("path"))),
    )
    log = m.AccessLog(path, "template", line, also=also)
    registry = Registry()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(f"{tmp_path}/socket")
        server.settimeout(5)
        root = built(config(replace(SITE, access_log=log, source=m.Respond(204))), registry=registry, logs={path: fd})
        root.activate()
        asked(root, "/")
        registry.flusher.flush()
        said = server.recv(1000)
    assert said.startswith(b"<133>1 ")
    assert said.endswith(b" - - GET 204")
    assert Path(path).read_text() == "GET 204\n"
    asked(root, "/")
    assert registry.lines_lost() == 0
    registry.keep(set())


# ---- mistakes


MISTAKES = [
    (config(replace(SITE, source=m.Proxy("none"))), "sites[0].source.upstream: there is no upstream `none`"),
    (config(trusted_proxies=("10/8",)), "trusted_proxies[0]: not an address or network"),
    (config(replace(SITE, request=(m.RemoveHeader("Host"),))), "sites[0].request[0]: a request keeps its Host"),
    (config(replace(SITE, request=(m.SetHeader("Host", Const("")),))), "sites[0].request[0]: a request keeps its Host"),
    (config(replace(SITE, request=(m.AddHeader("Host", Const("a")),))), "sites[0].request[0]: a message has one Host at most"),
    (config(replace(SITE, response=(m.Deny(403),))), "sites[0].response[0]: this cannot be done"),
    (config(replace(SITE, request=(m.SetHeader("A", Var("nonsense")),))), "sites[0].request[0].value: the variable `nonsense`"),
    (config(routed(m.Route(m.Respond(), path=m.PathMatch("regex", "(")))), "sites[0].source.routes[0].path.value: no regular expression"),
    (config(routed(m.Route(m.Respond(), when=Match("(", Var("path"))))), "sites[0].source.routes[0].when: missing )"),
    (config(routed(m.Route(m.Respond(), when=Var("path")))), "sites[0].source.routes[0].when: a test is expected"),
    (config(upstreams=(replace(IMMICH, servers=()),)), "upstreams[0].servers: an upstream needs a server"),
    (secure(BOTH), "sites[0].certificates: the certificate `c` was not read"),
    (secure(replace(BOTH, certificates=())), "sites[0].certificates: the site `photos` is served with TLS and has no certificate"),
]  # fmt: skip


@pytest.mark.parametrize(("made", "reason"), MISTAKES, ids=[reason[:50] for _, reason in MISTAKES])
def test_mistake_is_named(made: m.Config, reason: str) -> None:
    assert reasons(made)[0].startswith(reason)


def test_log_that_was_not_opened_is_no_mistake_before_it_is_opened() -> None:
    made = config(replace(SITE, access_log=m.AccessLog(target="/x/log")))
    assert dry_compile(made, Assets()) == []
    with pytest.raises(CompileError, match="`/x/log` was not opened"):
        built(made)


def test_all_mistakes_are_found_and_each_once() -> None:
    second = m.Listener("second", m.TcpAddress(8081))
    bad = replace(SITE, listeners=("web", "second"), source=m.Proxy("none"), request=(m.RemoveHeader("Host"),))
    assert len(reasons(config(bad, listeners=(WEB, second)))) == 2


def test_broken_certificate_is_named() -> None:
    assets = certified("c")
    assets.certificates["c"] = KeyPair(PHOTOS.chain_pem, pair("x").key_pem)
    assert reasons(secure(BOTH), assets)[0].startswith("sites[0].certificates: ")


def test_plan_without_configuration_objects() -> None:
    """What serves holds no part of the model: a plan is numbers, texts and nodes."""
    plan: Plan = built(config()).doors["web"].plan
    assert plan.timeouts is not None
    assert not isinstance(plan.timeouts, m.Timeouts)


def test_what_a_profile_asks_of_clients_is_never_less_than_written() -> None:
    profile = m.TlsProfile("p", client_ca="ca.pem", client_crl="crl.pem", groups=("X25519",))
    papers = (m.Certificate("c", "c.pem"),)
    made = config(BOTH, listeners=(WEB, replace(TLS, tls_profile="p")), certificates=papers, tls_profiles=(profile,))
    assets = certified("c")
    assert reasons(made, assets) == ["tls_profiles: `ca.pem`, the client_ca of `p`, was not read"]
    assets.authorities["ca.pem"] = PHOTOS.chain_pem
    assert reasons(made, assets) == ["tls_profiles: `crl.pem`, the client_crl of `p`, was not read"]
    more = replace(made, tls_profiles=(replace(profile, client_crl="", client_ca_more="more.pem"),))
    assert reasons(more, assets) == ["tls_profiles: `more.pem`, the client_ca_more of `p`, was not read"]
    bad = replace(made, tls_profiles=(replace(profile, client_crl="", groups=("X25519", "none")),))
    assert "X25519:none" in reasons(bad, assets)[0]
    door = built(replace(made, tls_profiles=(replace(profile, client_crl=""),)), assets).doors["tls"]
    assert door.tls is not None
    assert door.tls.base.verify_mode is ssl.CERT_REQUIRED


def test_certificates_of_a_site_for_any_host_are_for_the_names_in_them() -> None:
    assets = certified("c")
    assets.certificates["d"] = pair("other.example")
    site = replace(BOTH, hosts=("*",), certificates=("c", "d"))
    for unknown in ("refuse", "default", "strict"):
        door = replace(TLS, unknown_sni=unknown)
        papers = (m.Certificate("c", "c.pem"), m.Certificate("d", "d.pem"))
        tls = built(config(site, listeners=(WEB, door), certificates=papers), assets).doors["tls"].tls
        assert tls is not None
        assert tls.find("other.example") not in (None, tls.find("photos.example"))
        assert tls.find("nowhere.example") is (None if unknown == "strict" else tls.base)


def test_requests_are_counted_where_somebody_wants_to_know_and_nowhere_else() -> None:
    routes = (m.Route(m.Metrics("nginx"), path=m.PathMatch("exact", "/nginx")), m.Route(m.Proxy("immich")))
    site = replace(SITE, source=m.Switch(routes))
    registry = Registry()
    root = built(config(site), registry=registry)
    ex, down = asked(root, "/a")
    assert registry.counts.active() == {"photos": {"active": 1}}
    assert root.servers_now() == {"immich": {"immich.example:2283": {"connections": 1, "idle": 0, "active": 1, "waiting": 0}}}
    answer(ex, down, 404)
    counts = registry.counts.site("photos")
    assert (counts.begun, counts.ended, counts.classes[4]) == (1, 1, 1)
    assert registry.counts.server("immich", "immich.example:2283").attempts == 1
    assert asked(root, "/nginx")[1].head is not None
    assert asked(root, host="nobody.example")[1].head is not None
    assert (counts.ended, registry.counts.site("-").ended) == (2, 1)

    quiet = built(config())
    assert quiet.doors["web"].plan.log == []
    assert quiet.servers_now() == {}
    assert asked(quiet)[0].plan.log == []
    assert built(config(process=m.Process(command_sockets=(m.CommandSocket("a"),)))).counts


def test_metrics_in_the_place_of_an_error_are_found() -> None:
    site = replace(SITE, errors=(m.ErrorRoute(m.Metrics("json")),))
    assert config(site).metrics == (m.Metrics("json"),)
    assert config().wants_counts is False


def test_what_cannot_be_built_leaves_nothing_whatever_the_reason() -> None:
    registry = Registry()
    bad = replace(SITE, name="bad", hosts=("bad.example",), source=m.Respond(200, Const("\ud800")))
    with pytest.raises(ValueError):
        built(replace(config(), sites=(SITE, bad)), registry=registry)
    assert list(registry.items()) == []


@pytest.mark.parametrize(("verify", "refused"), [("require", True), ("shown", True), ("any", False)])
def test_a_connection_from_before_certificates_were_asked_for(verify: str, refused: bool) -> None:
    profile = m.TlsProfile("p", client_ca="ca.pem", client_verify=verify)  # type: ignore[arg-type]
    papers = (m.Certificate("c", "c.pem"),)
    made = config(BOTH, listeners=(WEB, replace(TLS, tls_profile="p")), certificates=papers, tls_profiles=(profile,))
    assets = certified("c")
    assets.authorities["ca.pem"] = PHOTOS.chain_pem
    _, down = asked(built(made, assets), door="tls")
    assert (down.head is not None and down.head.status == 403) is refused
