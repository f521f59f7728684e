"""Pieces of what happens to a request, and where parts of a model were written."""

from __future__ import annotations

from dataclasses import replace

from vestibule.dialects.origin import Origins
from vestibule.dialects.piece import Piece, reads_path, switched, without_path
from vestibule.dialects.record import Record
from vestibule.model.config import (
    AuthRequest,
    Config,
    Deny,
    Forwarding,
    Listener,
    PathMatch,
    Proxy,
    RemoveHeader,
    Respond,
    Route,
    SetHeader,
    Site,
    Switch,
    TcpAddress,
    Timeouts,
    When,
)
from vestibule.model.diagnostic import Span
from vestibule.model.expr import Call, Const, Var

TLS = Var("tls")


def test_actions_before_a_piece_come_first_and_those_on_the_answer_last() -> None:
    piece = Piece(Respond(204), (RemoveHeader("A"),), (RemoveHeader("B"),)).before([Deny()], [RemoveHeader("C")])
    assert piece.request == (Deny(), RemoveHeader("A"))
    assert piece.response == (RemoveHeader("B"), RemoveHeader("C"))


def test_a_question_keeps_the_host_of_the_client_before_a_server_with_its_own() -> None:
    bare = AuthRequest("judge")
    said = AuthRequest("judge", request=(SetHeader("host", Const("a")),))
    asked = AuthRequest("judge", request=(SetHeader("Host", Var("host_port")),))
    actions = [bare, When(TLS, (bare,), (said,)), Deny()]
    own = Piece(Proxy("p"), forwarding=Forwarding(host="upstream"))
    assert own.before(actions).request == (asked, When(TLS, (asked,), (said,)), Deny())
    for piece in (Piece(Proxy("p")), Piece(Proxy("p"), forwarding=Forwarding())):
        assert piece.before(actions).request == tuple(actions)


def test_a_piece_as_a_route_keeps_what_it_says() -> None:
    timeouts = Timeouts(connect_ms=1)
    path = PathMatch("exact", "/a")
    route = Piece(Proxy("p"), (Deny(),), (), timeouts).route(TLS, path)
    assert route == Route(Proxy("p"), path=path, when=TLS, request=(Deny(),), timeouts=timeouts)


def test_without_routes_the_last_piece_stands_alone() -> None:
    last = Piece(Proxy("p"), (Deny(),))
    assert switched([], last) is last


def test_routes_are_joined_where_nothing_stands_between() -> None:
    one, two = Route(Respond(201), when=TLS), Route(Respond(202))
    inner = Piece(Switch((two,)))
    assert switched([one], inner) == Piece(Switch((one, two)))
    # An action between them must run only if the first route does not.
    between = inner.before([Deny()])
    assert switched([one], between) == Piece(Switch((one, Route(Switch((two,)), request=(Deny(),)))))
    best = Piece(Switch((two,), "best"))
    assert switched([one], best) == Piece(Switch((one, Route(best.source))))


def test_equal_values_have_places_of_their_own() -> None:
    origins = Origins()
    first = origins.at(Span("f", 1, 1), RemoveHeader("A"))
    second = origins.at(Span("f", 2, 1), RemoveHeader("A"))
    assert origins.at(Span("f", 9, 9), first) is first
    listener = origins.at(Span("f", 3, 1), Listener("l", TcpAddress(80)))
    moved = origins.move(listener, replace(listener, tls=True))
    site = Site("s", ("*",), ("l",), Respond(), request=(first, second))
    record = Record("f")
    origins.tell(Config((moved,), (site,), ()), record)
    assert record.place("sites[0].request[0].name").line == 1
    assert record.place("sites[0].request[1]").line == 2
    assert record.place("listeners[0].address.port").line == 3
    assert origins.span_of(site) is None
    assert origins.span_of(origins.move(site, replace(site, name="t"))) is None


def test_what_follows_from_a_target_is_not_known_once_it_was_rewritten() -> None:
    below = Call("lower", (Var("path"),))
    assert reads_path(below) and reads_path(Var("query")) and not reads_path(Var("host"))
    assert without_path({"a": below, "b": Var("host"), "c": None}) == {"a": None, "b": Var("host"), "c": None}
