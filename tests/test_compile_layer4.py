"""Routes of connections: which a connection takes by its hello and where it comes from, and what then happens to it."""

from dataclasses import replace

import pytest

from tests.conformance.stream import Spy
from tests.test_compile import IMMICH, NO_LOG, OTHER, built, reasons
from vestibule.compile_layer4 import inspects
from vestibule.compile_state import Root
from vestibule.contract import DOWN, UP, Client, Relays
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_GONE, Fault
from vestibule.http.fields import EMPTY
from vestibule.http.head import RequestHead
from vestibule.model import config as m
from vestibule.model.expr import AllOf, AnyOf, Compare, Concat, Const, Expr, InNet, Match, Not, Var
from vestibule.plan.steps.bandwidth import Paces
from vestibule.proxy.raw import Handover

WEB = m.Listener("web", m.TcpAddress(8080))
SITE = m.Site("photos", ("photos.example",), ("web",), m.Proxy("immich"))
OFFICE = InNet(Var("peer_ip"), ("192.0.2.0/24",))
SPEAKS = AnyOf((Compare("==", Var("first_bytes", "4"), Const("SSH-")), Compare("==", Var("first_bytes", "7"), Const("x"))))


def config(*routes: m.TcpRoute, tls: bool = False) -> m.Config:
    door = m.Listener("pass", m.TcpAddress(9000), tls=tls, routes=routes)
    return m.Config((WEB, door), (SITE,), (IMMICH, OTHER), access_log=NO_LOG)


def opened(root: Root, sni: bytes = b"", address: bytes = b"203.0.113.7") -> tuple[Spy, Exchange]:
    """Let a connection in; where it reaches an upstream it is never made."""
    spy = Spy()
    client = Client(address, 5, b"192.0.2.1", 9000, b"http")
    client.hello, client.sni = sni != b"", sni
    ex = Exchange(spy, client, root.doors["pass"].plan, Relays(), 0)
    ex.on_request(RequestHead(b"TCP", sni or b"-", b"", EMPTY, b"TCP"), False)
    return spy, ex


def goes(root: Root, sni: bytes = b"", address: bytes = b"203.0.113.7") -> str:
    """Tell where a connection goes: the name of an upstream or the kind of the fault that closes it."""
    spy, ex = opened(root, sni, address)
    if not ex.over:
        assert ex.waiting and spy.calls == []
        name = str(getattr(ex.plan.source, "name", ""))
        ex.on_fault(DOWN, Fault(CLIENT_GONE))
        return name
    assert ex.fault is not None and spy.calls == ["abort"], "nobody could read a page"
    return ex.fault.kind.name


def test_names_choose_in_the_order_written() -> None:
    root = built(
        config(
            m.TcpRoute("immich", names=("photos.example", "Pictures.Example")),
            m.TcpRoute("other", names=("one.example", "*.photos.example", "*.a-b.example")),
            m.TcpRoute("immich", names=("*.example",)),
        )
    )
    asked = {
        b"photos.example": "immich",
        b"pictures.example": "immich",
        b"www.photos.example": "other",
        b"a.b.photos.example": "other",
        b"x.a-b.example": "other",
        b"x.axb.example": "immich",
        b"one.example": "other",
        b"two.example": "immich",
        b".example": "proxy.no_route",
        b"example": "proxy.no_route",
        b"": "proxy.no_route",
    }
    assert {name: goes(root, name) for name in asked} == asked


def test_a_name_and_a_test_must_both_hold() -> None:
    root = built(config(m.TcpRoute("immich", names=("photos.example",), when=OFFICE), m.TcpRoute("other", when=OFFICE), m.TcpRoute()))
    assert goes(root, b"photos.example", b"192.0.2.9") == "immich"
    assert goes(root, b"", b"192.0.2.9") == "other"
    assert goes(root, b"photos.example") == "proxy.no_route"


def test_a_route_without_a_condition_takes_all() -> None:
    root = built(config(m.TcpRoute("other"), m.TcpRoute("immich", names=("photos.example",))))
    assert goes(root, b"photos.example") == goes(root) == "other"


def test_another_listener_takes_over() -> None:
    root = built(config(m.TcpRoute(listener="web")))
    spy, ex = opened(root)
    assert isinstance(ex.plan.source, Handover)
    assert ex.over and ex.fault is not None and ex.fault.detail == "web" and spy.calls == ["abort"], "this is no connection to hand over"


def test_a_text_is_said_and_then_the_connection_is_closed() -> None:
    root = built(config(m.TcpRoute(answer=Concat((Const("you are "), Var("peer_ip"))))))
    spy, ex = opened(root)
    assert spy.got == b"you are 203.0.113.7" and ex.over and ex.fault is None and spy.calls[-1] == "release"


def test_only_so_many_connections_of_a_key_are_open() -> None:
    root = built(config(m.TcpRoute("immich", concurrency=(m.ConcurrencyLimit(Var("peer_ip"), 1),))))
    _, first = opened(root)
    assert first.waiting
    _, second = opened(root)
    assert second.over and second.fault is not None
    _, other = opened(root, address=b"203.0.113.8")
    assert other.waiting
    for ex in (first, other):
        ex.on_fault(DOWN, Fault(CLIENT_GONE))
    _, third = opened(root)
    assert third.waiting
    third.on_fault(DOWN, Fault(CLIENT_GONE))


@pytest.mark.parametrize(("of", "side"), [("request", UP), ("response", DOWN)])
def test_bytes_in_a_second_are_limited(of: str, side: int) -> None:
    root = built(config(m.TcpRoute("immich", bandwidth=(m.BandwidthLimit(Const("10k"), of),))))
    spy, ex = opened(root)
    assert isinstance(ex.pacing, Paces) and (ex.down is spy) is (side == UP)
    ex.on_fault(DOWN, Fault(CLIENT_GONE))


def test_mistakes_name_their_route() -> None:
    wrong = m.TcpRoute("immich", when=Match("(", Var("tls_sni")))
    (reason,) = reasons(config(m.TcpRoute("immich"), wrong))
    assert "listeners" in reason and "routes[1].when" in reason


@pytest.mark.parametrize(
    ("routes", "tls", "waits"),
    [
        ((m.TcpRoute("immich"),), False, -1),
        ((m.TcpRoute("immich", when=OFFICE),), False, -1),
        ((m.TcpRoute("immich", when=OFFICE), m.TcpRoute("other", names=("a.example",))), False, 0),
        ((m.TcpRoute("other", names=("a.example",)),), True, 0),
        ((m.TcpRoute("other", when=SPEAKS), m.TcpRoute("immich", names=("a.example",))), False, 7),
    ],
)
def test_a_hello_is_awaited_where_a_route_asks_for_it(routes: tuple[m.TcpRoute, ...], tls: bool, waits: int) -> None:
    made = config(*routes, tls=tls)
    assert inspects(made.listeners[1]) == waits
    if not tls:
        assert built(made).doors["pass"].inspects == waits


@pytest.mark.parametrize("name", ["tls_sni", "tls_alpn"])
def test_a_test_may_ask_for_the_hello(name: str) -> None:
    asks: Expr = AllOf((OFFICE, Not(Compare("==", Var(name), Const("h2")))))
    assert inspects(config(m.TcpRoute("immich", when=asks)).listeners[1]) == 0


@pytest.mark.parametrize("alone", [True, False])
def test_sides_end_alone_or_together(alone: bool) -> None:
    made = config(m.TcpRoute("immich"))
    made = replace(made, listeners=(WEB, replace(made.listeners[1], half_close=alone)))
    _, ex = opened(built(made))
    assert ex.plan.half_close is alone
    ex.on_fault(DOWN, Fault(CLIENT_GONE))
