"""Plays: the ordinary course of messages, one after the other on kept connections."""

from collections.abc import Callable

import pytest

from tests.cast import Spoken
from vestibule.contract import Source, Timeouts
from vestibule.exchange import Exchange
from vestibule.http.h1 import HeadLimits
from vestibule.proxy.door import Door

from .play import Play

Plays = Callable[..., Play]
GET = ("GET / HTTP/1.1", "Host: a", "")
OK = ("HTTP/1.1 200 OK", "Content-Length: 2", "", "ok")


def test_a_kept_connection_serves_again_on_both_sides(play: Plays) -> None:
    one = play()
    for path in ("/a", "/b", "/c"):
        one.client(f"GET {path} HTTP/1.1", "Host: a", "")
        one.upstream_sees(f"GET {path} HTTP/1.1", "Host: a", "").upstream(*OK).client_sees(*OK).logged("")
    one.connections(1).done()


def test_pipelined_requests_are_answered_in_order_one_at_a_time(play: Plays) -> None:
    one = play()
    one.client("GET /1 HTTP/1.1", "Host: a", "", "GET /2 HTTP/1.1", "Host: a", "")
    one.upstream_sees("GET /1 HTTP/1.1", "Host: a", "").upstream_quiet().upstream(*OK)
    one.upstream_sees("GET /2 HTTP/1.1", "Host: a", "").upstream(*OK)
    one.client_sees(*OK).client_sees(*OK).logged("", "").connections(1).done()


def test_fields_pass_in_order_with_their_case_and_hops_stop_here(play: Plays) -> None:
    one = play()
    one.client("GET / HTTP/1.1", "hOsT: a", "X-One: 1", "Connection: keep-alive, X-Two", "X-Two: 2", "Keep-Alive: 5", "x-one: 3", "")
    one.upstream_sees("GET / HTTP/1.1", "hOsT: a", "X-One: 1", "x-one: 3", "")
    one.upstream("HTTP/1.1 200 Fine", "B: 1", "Keep-Alive: 5", "A:2", "Connection: Gone", "Gone: 1", "content-length: 2", "", "ok")
    one.client_sees("HTTP/1.1 200 Fine", "B: 1", "A:2", "content-length: 2", "", "ok").logged("").done()


@pytest.mark.parametrize("framing", ["Content-Length: 5", "Transfer-Encoding: chunked", "X-None: 1"])
def test_an_answer_to_head_has_no_body(play: Plays, framing: str) -> None:
    one = play()
    one.client("HEAD / HTTP/1.1", "Host: a", "").upstream_sees("HEAD / HTTP/1.1", "Host: a", "")
    one.upstream("HTTP/1.1 200 OK", framing, "")
    if "chunked" in framing:
        one.client_sees("HTTP/1.1 200 OK", "")
    else:
        one.client_sees("HTTP/1.1 200 OK", framing, "")
    one.logged("").client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("").connections(1).done()


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_some_statuses_have_no_body(play: Plays, status: str) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).upstream(f"HTTP/1.1 {status}", "ETag: x", "")
    one.client_sees(f"HTTP/1.1 {status}", "ETag: x", "").logged("")
    one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("").connections(1).done()


def test_a_body_on_an_answer_that_has_none_poisons_nobody(play: Plays) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).upstream("HTTP/1.1 304 Not Modified", "", "HTTP/1.1 200 OK", "Content-Length: 4", "", "evil")
    one.client_sees("HTTP/1.1 304 Not Modified", "").logged("").upstream_closed()
    one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("").connections(2).done()


def test_surplus_bytes_end_the_upstream_connection_and_reach_nobody(play: Plays) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).upstream("HTTP/1.1 200 OK", "Content-Length: 2", "", "okHTTP/1.1 200 OK", "Content-Length: 0", "")
    one.client_sees(*OK).logged("").upstream_closed()
    one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("").connections(2).done()


def test_bytes_on_an_idle_upstream_connection_end_it(play: Plays) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("")
    one.upstream(*OK).upstream_closed()
    one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("").connections(2).done()


def test_an_old_client_gets_a_body_ended_by_the_close(play: Plays) -> None:
    one = play()
    one.client("GET / HTTP/1.0", "Host: a", "").upstream_sees(*GET)
    one.upstream("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "5", "hello", "0", "")
    one.client_sees("HTTP/1.1 200 OK", "Connection: close", "", "hello").logged("").client_closed().done()


def test_an_old_client_may_keep_its_connection(play: Plays) -> None:
    one = play()
    one.client("GET / HTTP/1.0", "Host: a", "Connection: keep-alive", "").upstream_sees(*GET).upstream(*OK)
    one.client_sees("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: keep-alive", "", "ok").logged("")
    one.client("GET / HTTP/1.0", "").upstream_sees("GET / HTTP/1.1", "").upstream(*OK)
    one.client_sees("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close", "", "ok").logged("").client_closed().done()


def test_a_client_that_wants_to_close_is_closed(play: Plays) -> None:
    one = play()
    one.client("GET / HTTP/1.1", "Host: a", "Connection: close", "").upstream_sees(*GET).upstream(*OK)
    one.client_sees("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close", "", "ok").client_closed().logged("").done()


def test_an_upstream_that_closes_leaves_the_client_connected(play: Plays) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).upstream("HTTP/1.1 200 OK", "Connection: close", "Content-Length: 2", "", "ok")
    one.client_sees(*OK).logged("").upstream_closed()
    one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("").connections(2).done()


def test_so_many_requests_and_no_more(play: Plays) -> None:
    one = play(requests_most=2)
    one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("")
    one.client(*GET).upstream_sees(*GET).upstream(*OK)
    one.client_sees("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close", "", "ok").client_closed().logged("").done()


def test_a_client_that_has_finished_sending_gets_its_answer(play: Plays) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).client_finishes().quiet().upstream(*OK)
    one.client_sees(*OK).client_closed().logged("").done()


def test_pipelined_requests_nobody_reads_the_answers_of_wait_in_the_kernel(play: Plays) -> None:
    """The proxy must not collect answers for a client that asks and never reads."""
    one = play()
    one.client_stops_reading()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n" + bytes(30_000)
    one.client(*(GET * 2000))
    served = 0
    for _ in range(1500):
        one.turn(0)
        if one.upstreams and one.upstream_now.got:
            assert bytes(one.upstream_now.got) == text_of(GET)
            one.upstream_now.got.clear()
            one.upstream(answer)
            served += 1
    queued = [pollable.queued() for pollable in one.reactor.pollables() if hasattr(pollable, "queued")]
    assert max(queued) < 65_536 + 131_072, f"{served} answers wait in the proxy, {max(queued)} bytes"
    one.break_off()


def test_pipelined_bytes_wait_in_the_kernel_while_a_request_is_served(play: Plays) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET)
    one.client("POST / HTTP/1.1", "Host: a", "Content-Length: 20000000", "", bytes(20_000_000))
    for _ in range(40):
        one.turn(0)
    read = max(getattr(pollable, "bytes_in", 0) for pollable in one.reactor.pollables())
    assert read <= 2 * 131_072, f"{read} bytes of the next request are held"
    one.break_off()


class Long(Source):
    """Answers 30 kB at once."""

    def start(self, ex: Exchange) -> None:
        ex.answer(200, [], bytes(30_000))


def test_local_answers_nobody_reads_are_bounded_and_all_come_in_the_end(play: Plays) -> None:
    one = play()
    one.plan.source = Long()
    one.client_stops_reading().client(*(GET * 300))
    for _ in range(100):
        one.turn(0)
    queued = max(pollable.queued() for pollable in one.reactor.pollables() if hasattr(pollable, "queued"))
    assert queued < 65_536 + 131_072, f"{queued} bytes wait in the proxy"
    one.client_reads_on()
    whole = 300 * len(b"HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n" + bytes(30_000))
    one.until(lambda: len(one.client_now.got) >= whole, lambda: f"{len(one.client_now.got)} of {whole} bytes came")
    assert len(one.client_now.got) == whole
    one.break_off()


def text_of(lines: tuple[str, ...]) -> bytes:
    return "\r\n".join(lines).encode() + b"\r\n"


def test_a_log_may_ask_what_is_spoken_with_the_server(play: Plays) -> None:
    one = play()
    spoken = Spoken()
    one.plan.log = [*one.plan.log, spoken]
    one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("")
    assert spoken.seen == [None], "plain HTTP"
    one.done()


def test_the_next_request_is_read_by_the_limits_of_a_new_configuration(play: Plays) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("")
    one.porch.change_door(Door("play", one.plan, HeadLimits(1_000, 0, 1), Timeouts()))
    one.client("GET / HTTP/1.1", "Host: a", "X-A: 1", "")
    one.client_answered(431).client_closed().logged("client.head_too_large").done()
