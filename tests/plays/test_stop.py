"""Plays: the worker stops. What is in flight is finished, what is idle is closed."""

from collections.abc import Callable

from .play import Play

Plays = Callable[..., Play]
GET = ("GET / HTTP/1.1", "Host: a", "")
OK = ("HTTP/1.1 200 OK", "Content-Length: 2", "", "ok")


def test_idle_connections_close_at_once(play: Plays) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("").stop().client_closed().upstream_closed().done()


def test_a_request_in_flight_is_answered_and_told_of_the_close(play: Plays) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).stop().upstream(*OK)
    one.client_sees("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close", "", "ok").client_closed().logged("").done()


def test_a_body_in_flight_is_finished(play: Plays) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).upstream("HTTP/1.1 200 OK", "Content-Length: 5", "", "he")
    one.client_sees("HTTP/1.1 200 OK", "Content-Length: 5", "", "he").stop().upstream("llo").client_sees("llo").client_closed()
    one.logged("").done()


def test_an_upload_in_flight_is_finished(play: Plays) -> None:
    one = play()
    head = ("POST / HTTP/1.1", "Host: a", "Content-Length: 5", "")
    one.client(*head, "he").upstream_sees(*head, "he").stop().client("llo").upstream_sees("llo").upstream(*OK)
    one.client_sees("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close", "", "ok").client_closed().logged("").done()


def test_an_unfinished_head_does_not_hold_it_up(play: Plays) -> None:
    play().client("GET / HTT").quiet().stop().client_closed().done()
