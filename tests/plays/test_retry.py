"""Plays: upstream connections that die, and what may be sent again (RFC 9110 9.2.2, RFC 9112 9.3.1)."""

from collections.abc import Callable

import pytest

from vestibule.proxy.pool import PoolLimits
from vestibule.proxy.upstream import Upstream

from .play import Play

Plays = Callable[..., Play]
GET = ("GET / HTTP/1.1", "Host: a", "")
OK = ("HTTP/1.1 200 OK", "Content-Length: 2", "", "ok")
POST = ("POST / HTTP/1.1", "Host: a", "Content-Length: 5", "", "hello")


def warm(one: Play) -> Play:
    """Bring a play to one kept upstream connection."""
    return one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("")


@pytest.mark.parametrize("how", ["ends", "resets"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
def test_what_may_be_repeated_is_sent_again_once_over_a_new_connection(play: Plays, method: str, how: str) -> None:
    one = warm(play())
    head = (f"{method} / HTTP/1.1", "Host: a", "")
    one.client(*head).upstream_sees(*head)
    (one.upstream_ends if how == "ends" else one.upstream_resets)()
    one.until(lambda: len(one.upstreams) == 2, lambda: "not sent again")
    one.upstream_sees(*head)
    (one.upstream_ends if how == "ends" else one.upstream_resets)()
    one.client_answered(502) if method != "HEAD" else one.quiet()
    one.client_now.got.clear()
    one.connections(2).logged("upstream.lost").done()


@pytest.mark.parametrize(
    "head", [POST, ("PUT / HTTP/1.1", "Host: a", "Content-Length: 5", "", "hello"), ("POST / HTTP/1.1", "Host: a", "")]
)
def test_what_may_not_be_repeated_is_not(play: Plays, head: tuple[str, ...]) -> None:
    one = warm(play())
    one.client(*head).upstream_sees(*head).upstream_ends().client_answered(502, "before it answered").connections(1)
    one.logged("upstream.lost").done()


def test_a_kept_connection_that_was_closed_is_no_attempt(play: Plays) -> None:
    one = warm(play())
    source = one.plan.source
    assert isinstance(source, Upstream)
    source.tries_most = 1
    one.client(*GET).upstream_sees(*GET).upstream_ends()
    one.until(lambda: len(one.upstreams) == 2, lambda: "not sent again")
    one.upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("").connections(2).done()


def test_a_fresh_connection_that_dies_is_not_tried_again(play: Plays) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).upstream_ends().client_answered(502).connections(1).logged("upstream.lost").done()


def test_a_post_meets_no_connection_the_upstream_has_closed(play: Plays) -> None:
    """The close came in the very turn of the request, behind it; a look at the socket tells."""
    one = warm(play()).quiet()
    one.client(*POST)
    one.upstream_now.sock.close()
    one.until(lambda: len(one.upstreams) == 2, lambda: "no new connection")
    one.upstream_sees(*POST).upstream(*OK).client_sees(*OK).logged("").done()


def test_an_answer_begun_is_not_asked_for_again(play: Plays) -> None:
    one = warm(play())
    one.client(*GET).upstream_sees(*GET).upstream("HTTP/1.1 200 O").quiet().upstream_ends().client_answered(502).connections(1)
    one.logged("upstream.truncated").done()


def test_an_interim_answer_is_a_sign_of_life(play: Plays) -> None:
    """After a 1xx the server has the request: repeating it could do it twice."""
    one = warm(play())
    one.client(*GET).upstream_sees(*GET).upstream("HTTP/1.1 102 Processing", "").client_sees("HTTP/1.1 102 Processing", "")
    one.upstream_ends().client_answered(502).connections(1).logged("upstream.lost").done()


def test_nobody_listens(play: Plays) -> None:
    one = play()
    one.upstream_gone().client(*GET).client_answered(502, "refused").logged("upstream.refused")
    one.client(*POST).client_answered(502, "refused").logged("upstream.refused").done()


def test_a_name_without_an_address(play: Plays) -> None:
    one = play(address="immich.invalid")
    one.client(*GET).client_answered(502, "no address").logged("upstream.unresolved").done()


def test_an_early_refusal_before_the_reset_reaches_the_client(play: Plays) -> None:
    """A server that refuses an upload and closes on it resets the connection; its answer was sent before."""
    one = play()
    head = ("POST / HTTP/1.1", "Host: a", "Content-Length: 50000000", "")
    one.client(*head).upstream_sees(*head)
    one.upstream_now.most = 0
    one.client(bytes(2_000_000)).quiet()
    one.upstream("HTTP/1.1 413 Too Much", "Connection: close", "Content-Length: 2", "", "no").upstream_ends()
    one.client_sees("HTTP/1.1 413 Too Much", "Content-Length: 2", "Connection: close", "", "no").logged("").done()


def test_an_idle_connection_is_closed_before_the_upstream_does(play: Plays) -> None:
    one = warm(play())
    one.idle(3.5).upstream_quiet().idle(0.5).upstream_closed().done()


def test_connections_are_waited_for_in_turn(play: Plays) -> None:
    one = play(pool=PoolLimits(connections_most=1))
    one.client("GET /1 HTTP/1.1", "Host: a", "").upstream_sees("GET /1 HTTP/1.1", "Host: a", "")
    one.new_client().client("GET /2 HTTP/1.1", "Host: a", "").upstream_quiet()
    one.upstream(*OK).upstream_sees("GET /2 HTTP/1.1", "Host: a", "").upstream(*OK).client_sees(*OK)
    one.clients.reverse()
    one.client_sees(*OK).logged("", "").connections(1).done()


def test_waiting_ends(play: Plays) -> None:
    one = play(pool=PoolLimits(connections_most=1, wait_ms=2000, waiting_most=1))
    one.client(*GET).upstream_sees(*GET).new_client().client(*GET).quiet()
    one.new_client().client(*GET).client_answered(503, "in use").logged("upstream.busy")
    one.clients.insert(0, one.clients.pop())
    one.idle(2).client_answered(503, "in use").logged("upstream.busy")
    one.clients.insert(0, one.clients.pop())
    one.upstream(*OK).client_sees(*OK).logged("").done()


def test_a_client_that_leaves_the_queue_gives_up_its_place(play: Plays) -> None:
    one = play(pool=PoolLimits(connections_most=1))
    one.client("GET /1 HTTP/1.1", "Host: a", "").upstream_sees("GET /1 HTTP/1.1", "Host: a", "")
    one.new_client().client("GET /2 HTTP/1.1", "Host: a", "").quiet().client_resets().quiet().logged("client.gone")
    one.upstream(*OK).upstream_quiet()
    one.clients.reverse()
    one.client_sees(*OK).logged("").done()
