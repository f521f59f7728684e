"""Plays: interim responses and expectations (RFC 9110 10.1.1, 15.2)."""

from collections.abc import Callable

import pytest

from .play import Play

Plays = Callable[..., Play]
GET = ("GET / HTTP/1.1", "Host: a", "")
OK = ("HTTP/1.1 200 OK", "Content-Length: 2", "", "ok")
EXPECTING = ("POST / HTTP/1.1", "Host: a", "Content-Length: 5", "Expect: 100-continue", "")


@pytest.mark.parametrize("line", ["102 Processing", "103 Early Hints", "104 Upload Resumption Supported", "199 Odd"])
def test_interim_heads_pass_before_the_answer(play: Plays, line: str) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).upstream(f"HTTP/1.1 {line}", "Link: </a>; rel=preload", "")
    one.client_sees(f"HTTP/1.1 {line}", "Link: </a>; rel=preload", "").upstream(f"HTTP/1.1 {line}", "")
    one.client_sees(f"HTTP/1.1 {line}", "").upstream(*OK).client_sees(*OK).logged("").done()


def test_a_client_waits_for_100_and_gets_it(play: Plays) -> None:
    one = play()
    one.client(*EXPECTING).upstream_sees(*EXPECTING).upstream("HTTP/1.1 100 Continue", "").client_sees("HTTP/1.1 100 Continue", "")
    one.client("hello").upstream_sees("hello").upstream(*OK).client_sees(*OK).logged("")
    one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("").connections(1).done()


def test_a_client_that_does_not_wait_for_100(play: Plays) -> None:
    one = play()
    one.client(*EXPECTING, "hello").upstream_sees(*EXPECTING, "hello").upstream("HTTP/1.1 100 Continue", "", *OK)
    one.client_sees("HTTP/1.1 100 Continue", "", *OK).logged("").done()


def test_a_final_answer_instead_of_100_leaves_the_rest_of_the_request_to_the_client(play: Plays) -> None:
    """The upstream connection serves again only once the whole request went over it."""
    one = play()
    one.client(*EXPECTING).upstream_sees(*EXPECTING).upstream("HTTP/1.1 403 No", "Content-Length: 0", "")
    one.client_sees("HTTP/1.1 403 No", "Content-Length: 0", "").client_leaves().upstream_closed().logged("client.gone").done()


def test_a_client_that_sends_its_body_after_the_refusal_is_taken_on(play: Plays) -> None:
    one = play()
    one.client(*EXPECTING).upstream_sees(*EXPECTING).upstream("HTTP/1.1 403 No", "Content-Length: 0", "")
    one.client_sees("HTTP/1.1 403 No", "Content-Length: 0", "").client("hello").upstream_sees("hello").logged("")
    one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("").connections(1).done()


def test_a_late_100_poisons_nobody(play: Plays) -> None:
    one = play()
    one.client(*EXPECTING, "hello").upstream_sees(*EXPECTING, "hello").upstream(*OK).client_sees(*OK).logged("")
    one.upstream("HTTP/1.1 100 Continue", "").upstream_closed()
    one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("").connections(2).done()


def test_another_expectation_is_refused(play: Plays) -> None:
    one = play()
    one.client("POST / HTTP/1.1", "Host: a", "Content-Length: 5", "Expect: y 100-continue", "", "hello")
    one.client_answered(417).client_closed().connections(0).logged("client.bad_expectation").done()


def test_an_old_client_gets_no_interim_heads(play: Plays) -> None:
    one = play()
    one.client("GET / HTTP/1.0", "Host: a", "").upstream_sees(*GET).upstream("HTTP/1.1 103 Early Hints", "", *OK)
    one.client_sees("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close", "", "ok").client_closed().logged("").done()


def test_interim_heads_without_end_are_an_upstream_fault(play: Plays) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).upstream(*(("HTTP/1.1 102 Processing", "") * 101))
    for _ in range(100):
        one.client_sees("HTTP/1.1 102 Processing", "")
    one.client_answered(502).upstream_closed().logged("upstream.bad_syntax").done()
