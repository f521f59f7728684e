"""Plays: two things that happen in one moment, and ends that are seen twice, late, or by one side only."""

from collections.abc import Callable

import pytest

from vestibule.contract import PASS, UP, Source, Step, Timeouts
from vestibule.exchange import Exchange
from vestibule.http.fields import fields_of
from vestibule.http.head import ResponseHead
from vestibule.plan.expr import Const
from vestibule.plan.steps.bandwidth import BandwidthLimit, SharedAccounts
from vestibule.proxy.down_h1 import H1DownConnection
from vestibule.proxy.up_h1 import H1UpConnection

from .play import Play, text

Plays = Callable[..., Play]
GET = ("GET / HTTP/1.1", "Host: a", "")
OK = ("HTTP/1.1 200 OK", "Content-Length: 2", "", "ok")
CHUNKED = ("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "")
ASK = ("GET /ws HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: websocket", "")
SWITCH = ("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket", "")

# The end of an upload that is one read, and as many bytes as are enough at a time.
LAST = ("fff3", bytes(0xFFF3), "0", "")


class Seen(Step):
    """Remembers the exchange."""

    def __init__(self) -> None:
        self.ex: Exchange | None = None

    def run(self, ex: Exchange) -> int:
        self.ex = ex
        return PASS


def seen(one: Play) -> Seen:
    """Remember the exchange of a play."""
    step = Seen()
    one.plan.request = [*one.plan.request, step]
    return step


def exchange_of(step: Seen) -> Exchange:
    assert step.ex is not None
    return step.ex


def down_of(one: Play) -> H1DownConnection:
    """Return the connection to the client."""
    owners = [getattr(pollable, "owner", None) for pollable in one.reactor.pollables()]
    (down,) = [owner for owner in owners if isinstance(owner, H1DownConnection)]
    return down


def again(one: Play, connections: int) -> None:
    """See that both connections serve again."""
    one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("").connections(connections).done()


# ---------------------------------------------------------------- the client's side


def test_what_a_client_still_sends_is_read_while_a_large_answer_goes(play: Plays) -> None:
    """The answer is over for us, the connection is closing, and the client takes its time."""

    class Long(Source):
        def start(self, ex: Exchange) -> None:
            ex.answer(403, [], bytes(8_000_000))

    one = play()
    one.plan.source = Long()
    one.client_stops_reading().client("POST / HTTP/1.1", "Host: a", "Content-Length: 90000", "", "some").quiet().logged("")
    assert down_of(one).transport.queued() > 0
    one.client_reads_on().client_sees("HTTP/1.1 403 Forbidden", "Content-Length: 8000000", "Connection: close", "", bytes(8_000_000))
    one.client("more").client_closed().idle(2.5)
    assert one.tally.connections == 0
    one.done()


def test_little_of_a_request_that_is_answered_already_is_read_and_the_connection_kept(play: Plays) -> None:
    class Short(Source):
        def start(self, ex: Exchange) -> None:
            ex.answer(403, [], b"no")

    answered = ("HTTP/1.1 403 Forbidden", "Content-Length: 2", "", "no")
    one = play()
    one.plan.source = Short()
    one.client("POST / HTTP/1.1", "Host: a", "Content-Length: 9", "", "some").client_sees(*answered).logged("")
    one.client("more").client("!").client(*GET).client_sees(*answered).logged("").done()


def test_what_is_read_and_goes_nowhere_has_its_time(play: Plays) -> None:
    class Short(Source):
        def start(self, ex: Exchange) -> None:
            ex.answer(403, [], b"no")

    one = play()
    one.plan.source = Short()
    one.client("POST / HTTP/1.1", "Host: a", "Content-Length: 9", "", "some")
    one.client_sees("HTTP/1.1 403 Forbidden", "Content-Length: 2", "", "no").logged("").idle(80)
    assert one.tally.connections == 0
    one.client_closed().done()


def test_a_client_that_goes_in_the_moment_in_which_its_next_request_would_begin(play: Plays) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("")
    one.reactor.call_later(down_of(one))  # as for a request that waits
    one.client_resets().quiet()
    assert one.tally.connections == 0
    one.done()


def test_the_last_bytes_of_a_tunnel_may_come_with_its_end(play: Plays) -> None:
    """As HTTP/2 tells both."""
    one = play()
    step = seen(one)
    one.client(*ASK).upstream_sees(*ASK).upstream(*SWITCH).client_sees(*SWITCH)
    ex = exchange_of(step)
    ex.on_request_body(b"", False)
    one.upstream_quiet()
    ex.on_request_body(b"bye", True)
    one.upstream_sees("bye").upstream_finished()
    ex.on_response_body(b"farewell", True)
    one.client_sees("farewell").client_closed().logged("").done()


def test_what_follows_an_answer_that_has_no_body_is_not_sent(play: Plays) -> None:
    class Odd(Source):
        def start(self, ex: Exchange) -> None:
            down = ex.down
            assert down is not None
            down.send_head(ResponseHead(204, b"", fields_of([])), True)
            assert down.send_body(b"evil", False) and down.send_trailers(fields_of([(b"X", b"evil")]))
            ex.answer(204, [], b"")

    one = play()
    one.plan.source = Odd()
    one.client(*GET).client_sees("HTTP/1.1 204 No Content", "", "HTTP/1.1 204 No Content", "").logged("").done()


def test_trailers_for_a_client_that_knows_none(play: Plays) -> None:
    one = play()
    one.client("GET / HTTP/1.0", "Host: a", "").upstream_sees(*GET)
    one.upstream("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "5", "hello", "0", "X-Sum: 1", "")
    one.client_sees("HTTP/1.1 200 OK", "Connection: close", "", "hello").client_closed().logged("").done()


def test_an_end_that_came_with_the_last_bytes_is_not_read_again(play: Plays) -> None:
    """TLS tells both at once, while the server has enough for now."""
    one = play()
    one.client(*CHUNKED).upstream_sees(*CHUNKED)
    down = down_of(one)
    down.on_data(text(LAST))
    assert down.transport.is_paused()
    down.on_end()
    one.upstream_sees(*LAST)
    assert down.transport.is_paused(), "the server takes more, and there is none"
    one.upstream(*OK).client_sees(*OK).client_closed().logged("").done()


def test_a_client_that_resets_after_its_early_answer(play: Plays) -> None:
    one = play()
    one.client(*CHUNKED).upstream_sees(*CHUNKED).upstream(*OK).client_sees(*OK)
    one.client_resets().upstream_closed().logged("client.gone").done()


def test_an_upload_ends_behind_its_early_answer_faster_than_the_server_reads(play: Plays) -> None:
    one = play()
    one.client(*CHUNKED).upstream_sees(*CHUNKED).upstream(*OK).client_sees(*OK)
    one.client(*LAST).upstream_sees(*LAST).logged("")
    again(one, 1)


# ---------------------------------------------------------------- the server's side


def test_an_answer_that_comes_with_the_last_bytes_of_the_upload(play: Plays) -> None:
    """The connection is kept while it still sends, and nobody waits for it to drain."""
    one = play()
    one.client(*CHUNKED).upstream_sees(*CHUNKED)
    one.client(*LAST).upstream(*OK).client_sees(*OK).upstream_sees(*LAST).logged("")
    again(one, 1)


def test_an_idle_connection_that_is_reset_is_forgotten(play: Plays) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("")
    one.upstream_resets().quiet()
    assert one.pool.idle() == 0 and one.pool.connections == 0
    again(one, 2)


def test_a_connection_that_was_lost_is_not_kept_by_who_has_not_heard(play: Plays) -> None:
    one = play()
    step = seen(one)
    one.client(*GET).upstream_sees(*GET)
    up = exchange_of(step).up
    assert isinstance(up, H1UpConnection)
    one.upstream_resets().client_answered(502).logged("upstream.lost")
    up.release()
    up.abort(exchange_of(step).fault or pytest.fail("no fault"))
    assert one.pool.idle() == 0 and one.pool.connections == 0
    one.done()


@pytest.mark.parametrize(("says", "fault"), [("", "upstream.lost"), ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "upstream.bad_syntax")])
def test_a_server_behind_a_limit_of_bandwidth_fails_as_any_other(play: Plays, says: str, fault: str) -> None:
    one = play()
    one.plan.request = [*one.plan.request, BandwidthLimit(one.reactor, UP, Const(b"1"), None, None, SharedAccounts())]
    one.client("POST / HTTP/1.1", "Host: a", "Content-Length: 2", "", "hi").upstream_sees(
        "POST / HTTP/1.1", "Host: a", "Content-Length: 2", ""
    )
    if says:
        one.upstream(says)
    else:
        one.upstream_resets()
    one.client_answered(502).logged(fault)
    one.upstream_now.got.clear()
    one.done()


def test_the_clients_side_keeps_the_time_of_a_tunnel(play: Plays) -> None:
    one = play(timeouts=Timeouts(response_head_ms=2_000, body_idle_ms=2_000, tunnel_idle_ms=60_000))
    one.client(*ASK).upstream_sees(*ASK).upstream(*SWITCH).client_sees(*SWITCH)
    one.idle(5).idle(5).client_quiet().upstream_quiet()
    one.client("still here").upstream_sees("still here").idle(61).client_cut().upstream_closed().logged("proxy.tunnel_idle").done()


def test_the_clients_side_keeps_the_time_of_its_body(play: Plays) -> None:
    """Nothing moves at the server, because the client's next chunk has no end yet."""
    one = play(timeouts=Timeouts(body_idle_ms=10_000))
    begun = ("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "")
    one.client(*CHUNKED).upstream_sees(*CHUNKED).upstream(*begun).client_sees(*begun)
    one.idle(6).client("0000").idle(5).upstream_quiet().client_quiet()
    one.client("2", "hi", "0", "").upstream_sees("2", "hi", "0", "").upstream("0", "").client_sees("0", "").logged("")
    again(one, 1)
