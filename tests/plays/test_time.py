"""Plays: every time-out, with the fault it is logged as. Time-outs are about progress, not totals."""

from collections.abc import Callable

from vestibule.contract import Timeouts

from .play import Play

Plays = Callable[..., Play]
GET = ("GET / HTTP/1.1", "Host: a", "")
OK = ("HTTP/1.1 200 OK", "Content-Length: 2", "", "ok")
POST5 = ("POST / HTTP/1.1", "Host: a", "Content-Length: 5", "")


def test_a_silent_client_is_closed(play: Plays) -> None:
    play().idle(60).client_closed().done()


def test_a_head_that_does_not_end_is_answered(play: Plays) -> None:
    one = play(timeouts=Timeouts(request_head_ms=10_000))
    one.client("GET / HT").idle(6).client("TP/1.1\r\n").idle(3).client_quiet().idle(1).client_answered(408, "in time").client_closed()
    one.logged("client.timeout_head").done()


def test_a_kept_connection_is_closed_after_its_time(play: Plays) -> None:
    one = play(timeouts=Timeouts(keep_alive_ms=20_000))
    one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("").idle(19).client_quiet().idle(1).client_closed().done()


def test_the_next_head_has_its_own_time(play: Plays) -> None:
    one = play(timeouts=Timeouts(keep_alive_ms=20_000, request_head_ms=5_000))
    one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("").idle(15).client("GET").idle(4).client_quiet()
    one.idle(1).client_answered(408).client_closed().logged("client.timeout_head").done()


def test_a_body_that_stops_is_answered(play: Plays) -> None:
    one = play(timeouts=Timeouts(body_idle_ms=3_000))
    one.client(*POST5, "h").upstream_sees(*POST5, "h").idle(2).client("e").upstream_sees("e").idle(2).upstream_quiet()
    one.idle(1).client_answered(408, "body").upstream_closed().client_closed().logged("client.timeout_body").done()


def test_a_client_that_takes_nothing_is_dropped(play: Plays) -> None:
    one = play(timeouts=Timeouts(body_idle_ms=3_000))
    one.client(*GET).upstream_sees(*GET).client_stops_reading()
    one.upstream("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "1312d00", bytes(20_000_000), b"").quiet().quiet()
    one.idle(3).logged("client.timeout_write").upstream_closed()
    one.client_now.got.clear()
    one.done()


def test_a_client_that_takes_nothing_sees_that_it_was_cut_where_only_the_end_would_tell(play: Plays) -> None:
    """To HTTP/1.0 an orderly end is the end of the answer (RFC 9112 8)."""
    one = play(timeouts=Timeouts(body_idle_ms=3_000))
    one.client("GET / HTTP/1.0", "Host: a", "").upstream_sees("GET / HTTP/1.1", "Host: a", "").client_stops_reading()
    one.upstream("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "1312d00", bytes(20_000_000), b"").quiet().quiet()
    one.idle(3).logged("client.timeout_write").upstream_closed().client_reads_on().client_cut()
    one.client_now.got.clear()
    one.done()


def test_a_client_that_takes_nothing_of_a_relayed_body_is_dropped(play: Plays) -> None:
    one = play(timeouts=Timeouts(body_idle_ms=3_000))
    one.client(*GET).upstream_sees(*GET).client_stops_reading()
    one.upstream("HTTP/1.1 200 OK", "Content-Length: 20000000", "", bytes(20_000_000))
    for _ in range(40):
        one.turn(0)
    one.idle(3).logged("client.timeout_write").upstream_closed()
    one.client_now.got.clear()
    one.done()


def test_an_upstream_that_does_not_answer(play: Plays) -> None:
    one = play(timeouts=Timeouts(response_head_ms=7_000))
    one.client(*GET).upstream_sees(*GET).idle(6.5).client_quiet().idle(0.5).client_answered(504, "answer in time").upstream_closed()
    one.logged("upstream.timeout_head")
    assert "timeouts.response_head" in one.notes.details[0]
    one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("").done()


def test_an_interim_answer_is_progress(play: Plays) -> None:
    one = play(timeouts=Timeouts(response_head_ms=7_000))
    one.client(*GET).upstream_sees(*GET).idle(6).upstream("HTTP/1.1 102 Processing", "").client_sees("HTTP/1.1 102 Processing", "")
    one.idle(6).upstream(*OK).client_sees(*OK).logged("").done()


def test_an_upstream_that_stops_in_its_answer(play: Plays) -> None:
    one = play(timeouts=Timeouts(body_idle_ms=3_000))
    one.client(*GET).upstream_sees(*GET).upstream("HTTP/1.1 200 OK", "Content-Length: 5", "", "h")
    one.client_sees("HTTP/1.1 200 OK", "Content-Length: 5", "", "h").idle(2).upstream("e").client_sees("e").idle(2).client_quiet()
    one.idle(1).client_closed().upstream_closed().logged("upstream.timeout_body").done()


def test_an_upstream_that_stops_in_a_relayed_answer(play: Plays) -> None:
    one = play(timeouts=Timeouts(body_idle_ms=3_000))
    one.client(*GET).upstream_sees(*GET).upstream("HTTP/1.1 200 OK", "Content-Length: 500000", "", bytes(1000))
    one.client_sees("HTTP/1.1 200 OK", "Content-Length: 500000", "", bytes(1000)).upstream(bytes(1000)).client_sees(bytes(1000))
    one.idle(3).client_closed().upstream_closed().logged("upstream.timeout_body").done()


def test_an_upstream_that_takes_nothing(play: Plays) -> None:
    one = play(timeouts=Timeouts(body_idle_ms=3_000))
    head = ("POST / HTTP/1.1", "Host: a", "Content-Length: 30000000", "")
    one.client(*head).upstream_sees(*head)
    one.upstream_now.most = 0
    one.client(bytes(30_000_000))
    for _ in range(40):
        one.turn(0)
    one.idle(3).client_answered(504, "took no byte").logged("upstream.timeout_write")
    one.upstream_now.got.clear()
    one.done()


def test_a_slow_upstream_is_not_the_clients_fault(play: Plays) -> None:
    """The client waits for the upstream to take its body; its own time does not run meanwhile."""
    one = play(timeouts=Timeouts(body_idle_ms=3_000, response_head_ms=30_000))
    one.client(*POST5, "hello").upstream_sees(*POST5, "hello").idle(20).client_quiet().upstream(*OK).client_sees(*OK).logged("").done()


def test_a_slow_client_is_not_the_upstreams_fault(play: Plays) -> None:
    """The upstream waits for a client that reads a little now and then."""
    one = play(timeouts=Timeouts(body_idle_ms=3_000))
    one.client(*GET).upstream_sees(*GET).client_stops_reading()
    one.upstream("HTTP/1.1 200 OK", "Content-Length: 20000000", "", bytes(20_000_000)).quiet()
    for read in range(1, 6):
        one.idle(2)
        one.client_now.most = read * 2_000_000
        for _ in range(10):
            one.turn(0)
    one.client_reads_on().client_sees("HTTP/1.1 200 OK", "Content-Length: 20000000", "", bytes(20_000_000)).logged("").done()


def test_waiting_for_an_answer_longer_than_keep_alive(play: Plays) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET)
    for _ in range(5):
        one.idle(100).client_quiet()
    one.upstream(*OK).client_sees(*OK).logged("").done()


def test_time_begins_when_the_request_comes(play: Plays) -> None:
    """The clock is read after the sleep: a second spent waiting for the client is not the upstream's."""
    one = play()
    one.reactor.ahead_ms += 900
    one.client(*GET).upstream_sees(*GET).client_finishes().turn()
    one.client_quiet().upstream(*OK).client_sees(*OK).client_closed().logged("").done()


def test_so_many_connections_are_taken_in_a_second(play: Plays) -> None:
    one = play()
    one.door.connections_rate = 2
    for _ in range(5):
        one.new_client()
    one.quiet()
    # Two, and one more where a millisecond has gone by.
    assert one.tally.accepted in (2, 3)
    assert one.tally.held_back
    one.idle(1).idle(0.3)
    assert one.tally.accepted in (4, 5)
    one.idle(1).idle(0.3).idle(1)
    assert one.tally.accepted == 6
    one.done()
