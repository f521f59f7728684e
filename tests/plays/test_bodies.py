"""Plays: bodies in both directions and both framings, limits, early answers, and peers that stop half-way."""

from collections.abc import Callable

import pytest

from .play import Play

Plays = Callable[..., Play]
GET = ("GET / HTTP/1.1", "Host: a", "")
OK = ("HTTP/1.1 200 OK", "Content-Length: 2", "", "ok")
POST5 = ("POST / HTTP/1.1", "Host: a", "Content-Length: 5", "")
CHUNKED = ("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "")


def again(one: Play, connections: int) -> None:
    """Show that the client's connection serves on."""
    one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("").connections(connections).done()


def test_the_first_bytes_reach_the_upstream_before_the_last_are_sent(play: Plays) -> None:
    one = play()
    one.client(*POST5).upstream_sees(*POST5).client("he").upstream_sees("he").client("llo").upstream_sees("llo")
    one.upstream(*OK).client_sees(*OK).logged("")
    again(one, 1)


def test_chunks_pass_both_ways_with_trailers(play: Plays) -> None:
    one = play()
    one.client("POST / HTTP/1.1", "Host: a", "Trailer: X-Sum", "Transfer-Encoding: chunked", "", "5;ext=1", "hello", b"")
    one.upstream_sees("POST / HTTP/1.1", "Host: a", "Trailer: X-Sum", "Transfer-Encoding: chunked", "", "5", "hello", b"")
    one = one.client("0", "X-Sum: 1", "Host: evil", "")
    one.upstream_sees("0", "X-Sum: 1", "")
    one.upstream("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "2", "ok", "0", "X-After: 2", "Content-Length: 9", "")
    one.client_sees("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "2", "ok", "0", "X-After: 2", "").logged("")
    again(one, 1)


@pytest.mark.parametrize("kept", [True, False])
def test_an_empty_chunked_body_ends(play: Plays, kept: bool) -> None:
    """Whether the upstream connection was there already or had to be made."""
    one = play()
    if kept:
        one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("")
    one.client(*CHUNKED, "0", "").upstream_sees(*CHUNKED, "0", "").upstream(*OK).client_sees(*OK).logged("")
    again(one, 1)


def test_an_empty_chunked_body_with_trailers_ends(play: Plays) -> None:
    one = play()
    one.client(*CHUNKED, "0", "X-Sum: 1", "").upstream_sees(*CHUNKED, "0", "X-Sum: 1", "").upstream(*OK).client_sees(*OK).logged("")
    again(one, 1)


def test_a_body_sent_before_the_connection_is_made_arrives(play: Plays) -> None:
    one = play()
    one.client(*POST5, "hello").upstream_sees(*POST5, "hello").upstream(*OK).client_sees(*OK).logged("")
    one.client("PUT / HTTP/1.1", "Host: a", "Content-Length: 0", "").upstream_sees("PUT / HTTP/1.1", "Host: a", "Content-Length: 0", "")
    one.upstream(*OK).client_sees(*OK).logged("")
    again(one, 1)


def test_a_body_until_the_close_becomes_chunks(play: Plays) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).upstream("HTTP/1.1 200 OK", "", "hello")
    one.client_sees("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "5", "hello", b"").upstream_ends()
    one.client_sees("0", "").logged("")
    again(one, 2)


@pytest.mark.parametrize("how", ["ends", "resets"])
def test_an_answer_cut_short_of_its_length_ends_short(play: Plays, how: str) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).upstream("HTTP/1.1 200 OK", "Content-Length: 10", "", "hello")
    one.client_sees("HTTP/1.1 200 OK", "Content-Length: 10", "", "hello")
    (one.upstream_ends if how == "ends" else one.upstream_resets)()
    one.client_closed().logged("upstream.truncated").done()


@pytest.mark.parametrize("how", ["ends", "resets"])
def test_an_answer_cut_between_chunks_gets_no_last_chunk(play: Plays, how: str) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).upstream("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "5", "hello", b"")
    one.client_sees("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "5", "hello", b"")
    (one.upstream_ends if how == "ends" else one.upstream_resets)()
    one.client_closed().logged("upstream.truncated").done()


def test_an_answer_until_the_close_that_was_reset_gets_no_last_chunk(play: Plays) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).upstream("HTTP/1.1 200 OK", "", "hello")
    one.client_sees("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "5", "hello", b"").upstream_resets()
    one.client_closed().logged("upstream.truncated").done()


def test_an_old_client_is_reset_where_the_close_would_look_like_the_end(play: Plays) -> None:
    one = play()
    one.client("GET / HTTP/1.0", "Host: a", "").upstream_sees(*GET).upstream(
        "HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "5", "hello", b""
    )
    one.client_sees("HTTP/1.1 200 OK", "Connection: close", "", "hello").upstream_ends().client_cut().logged("upstream.truncated").done()


def test_a_bad_chunk_from_the_upstream_cuts_the_answer(play: Plays) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).upstream("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "5", "hello", b"")
    one.client_sees("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "5", "hello", b"").upstream("0x1", "a", "")
    one.client_closed().upstream_closed().logged("upstream.bad_framing").done()


def test_a_bad_chunk_from_the_client_is_refused_and_the_upstream_request_aborted(play: Plays) -> None:
    one = play()
    one.client(*CHUNKED, "5", "hello", b"").upstream_sees(*CHUNKED, "5", "hello", b"").client("+1", "a", "")
    one.client_answered(400, "ambiguous").upstream_closed().client_closed().logged("client.bad_framing").done()


@pytest.mark.parametrize("how", ["leaves", "resets", "finishes"])
def test_a_client_that_stops_in_the_middle_of_its_body_ends_the_upstream_request(play: Plays, how: str) -> None:
    one = play()
    one.client(*POST5, "he").upstream_sees(*POST5, "he")
    {"leaves": one.client_leaves, "resets": one.client_resets, "finishes": one.client_finishes}[how]()
    one.upstream_closed().logged("client.gone")
    if how == "finishes":
        one.client_closed()
    one.done()


def test_a_client_that_leaves_while_it_waits_ends_the_upstream_request(play: Plays) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).client_resets().upstream_closed().logged("client.gone").done()


def test_a_client_that_closes_while_it_waits_has_a_second(play: Plays) -> None:
    """A close looks like the end of sending until something is sent; within a second the upstream is told."""
    one = play()
    one.client(*GET).upstream_sees(*GET).client_leaves().upstream_quiet().idle(0.5).upstream_quiet()
    one.idle(0.3).upstream_closed().logged("client.gone").done()


def test_a_client_that_has_finished_sending_and_reads_slowly_is_not_taken_for_gone(play: Plays) -> None:
    one = play()
    size = 20_000_000
    one.client(*GET).upstream_sees(*GET).client_stops_reading().client_finishes().quiet()
    one.upstream("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", f"{size:x}", bytes(size), b"")
    for read in range(1, 5):
        one.idle(0.5)
        one.client_now.most = read * 1_500_000
        for _ in range(10):
            one.turn(0)
    assert one.tally.exchanges == 1
    one.client_stops_reading()
    for _ in range(20):
        one.turn(0)
    one.idle(0.9).idle(0.9).idle(0.9).logged("client.gone").break_off()


def test_a_client_that_leaves_in_the_middle_of_an_answer_ends_it(play: Plays) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).upstream("HTTP/1.1 200 OK", "Content-Length: 10", "", "hello")
    one.client_sees("HTTP/1.1 200 OK", "Content-Length: 10", "", "hello").client_resets().upstream_closed().logged("client.gone").done()


def test_a_body_announced_too_large_is_refused_before_anybody_is_asked(play: Plays) -> None:
    one = play(body_most=4)
    one.client(*POST5, "hello").client_answered(413, "larger").client_finishes().client_closed()
    one.connections(0).logged("client.body_too_large").done()


def test_a_body_that_grows_too_large_is_refused_on_the_way(play: Plays) -> None:
    one = play(body_most=7)
    one.client(*CHUNKED, "5", "hello", b"").upstream_sees(*CHUNKED, "5", "hello", b"").client("5", "hello", b"")
    one.client_answered(413, "larger").upstream_closed().client_closed().logged("client.body_too_large").done()


def test_an_early_answer_passes_while_the_request_goes_on(play: Plays) -> None:
    one = play()
    one.client(*POST5, "he").upstream_sees(*POST5, "he").upstream(*OK).client_sees(*OK)
    one.client("llo").upstream_sees("llo").logged("")
    again(one, 1)


def test_an_early_answer_of_an_upstream_that_closes_ends_both(play: Plays) -> None:
    one = play()
    one.client(*POST5, "he").upstream_sees(*POST5, "he").upstream("HTTP/1.1 403 No", "Connection: close", "Content-Length: 2", "", "no")
    one.client_sees("HTTP/1.1 403 No", "Content-Length: 2", "Connection: close", "", "no")
    one.upstream_closed().client_closed().logged("").done()


def test_after_an_early_answer_surplus_is_not_collected(play: Plays) -> None:
    """While the request goes on, an upstream that goes on talking is poison, not something to keep."""
    one = play()
    one.client(*POST5, "he").upstream_sees(*POST5, "he").upstream(*OK).client_sees(*OK)
    one.upstream(*OK).upstream_closed().logged("").client_closed().done()


def test_a_local_answer_with_a_body_under_way_is_read_to_its_end_for_a_while(play: Plays) -> None:
    """Closing with unread bytes would make the kernel destroy the answer with a reset."""
    one = play(body_most=10)
    one.client("POST / HTTP/1.1", "Host: a", "Content-Length: 3000000", "", bytes(2_000_000))
    one.client_answered(413).client_closed().logged("client.body_too_large")
    one.client(bytes(900_000)).quiet()
    assert not one.client_now.reset
    one.done()


def test_lingering_ends(play: Plays) -> None:
    one = play(body_most=10)
    one.client("POST / HTTP/1.1", "Host: a", "Content-Length: 3000000", "").client_answered(413).client_closed()
    assert one.tally.connections == 1
    one.idle(1).client("x").idle(1.5).client("x").idle(1)
    assert one.tally.connections == 1
    one.idle(2)
    assert one.tally.connections == 0
    one.logged("client.body_too_large").done()


@pytest.mark.parametrize("size", [70_000, 300_000, 3_000_000])
@pytest.mark.parametrize("kept", [True, False])
def test_a_large_upload_arrives_whole(play: Plays, size: int, kept: bool) -> None:
    body = bytes(i * 7 % 251 for i in range(1000)) * (size // 1000)
    one = play()
    if kept:
        one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("")
    head = ("POST / HTTP/1.1", "Host: a", f"Content-Length: {size}", "")
    one.client(*head, body).upstream_sees(*head, body).upstream(*OK).client_sees(*OK).logged("")
    again(one, 1)


@pytest.mark.parametrize("size", [70_000, 300_000, 3_000_000])
def test_a_large_answer_arrives_whole(play: Plays, size: int) -> None:
    body = bytes(i * 7 % 251 for i in range(1000)) * (size // 1000)
    one = play()
    answer = ("HTTP/1.1 200 OK", f"Content-Length: {size}", "", body)
    one.client(*GET).upstream_sees(*GET).upstream(*answer).client_sees(*answer).logged("")
    again(one, 1)


def test_a_relayed_answer_cut_short_ends_short(play: Plays) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).upstream("HTTP/1.1 200 OK", "Content-Length: 500000", "", "a").client_sees(
        "HTTP/1.1 200 OK", "Content-Length: 500000", "", "a"
    )
    one.upstream(bytes(200_000)).client_sees(bytes(200_000)).upstream_ends().client_closed().logged("upstream.truncated").done()


def test_a_relayed_upload_cut_short_ends_the_upstream_request(play: Plays) -> None:
    one = play()
    head = ("POST / HTTP/1.1", "Host: a", "Content-Length: 500000", "", "a")
    one.client(*head).upstream_sees(*head).client(bytes(200_000)).upstream_sees(bytes(200_000)).client_leaves()
    one.upstream_closed().logged("client.gone").done()


def test_an_upload_is_relayed_whatever_the_answer_before_was(play: Plays) -> None:
    """The framing of the last answer says nothing about this body."""
    one = play()
    chunked = ("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "2", "ok", "0", "")
    one.client(*GET).upstream_sees(*GET).upstream(*chunked).client_sees(*chunked).logged("")
    head = ("POST / HTTP/1.1", "Host: a", "Content-Length: 500000", "", "a")
    one.client(*head).upstream_sees(*head)
    relayed = [pollable for pollable in one.reactor.pollables() if getattr(pollable, "source_bypass", None) is not None]
    assert len(relayed) == 1
    one.client(bytes(499_999)).upstream_sees(bytes(499_999)).upstream(*OK).client_sees(*OK).logged("")
    again(one, 1)


def test_an_early_answer_during_a_relayed_upload(play: Plays) -> None:
    one = play()
    head = ("POST / HTTP/1.1", "Host: a", "Content-Length: 500001", "", "a")
    one.client(*head).upstream_sees(*head).client(bytes(200_000)).upstream_sees(bytes(200_000))
    one.upstream(*OK).client_sees(*OK).client(bytes(300_000)).upstream_sees(bytes(300_000)).logged("")
    again(one, 1)


def test_an_upload_meets_a_slow_upstream_with_bounded_memory(play: Plays) -> None:
    one = play()
    head = ("POST / HTTP/1.1", "Host: a", "Content-Length: 30000000", "")
    one.client(*head).upstream_sees(*head)
    one.upstream_now.most = 0
    one.client(bytes(30_000_000))
    for _ in range(60):
        one.turn(0)
    queued = [pollable.queued() for pollable in one.reactor.pollables() if hasattr(pollable, "queued")]
    assert max(queued) <= 65_536 + 131_072, queued
    one.upstream_now.most = None
    one.upstream_sees(bytes(30_000_000)).upstream(*OK).client_sees(*OK).logged("")
    again(one, 1)


def test_a_reset_upstream_waits_for_a_client_that_does_not_read(play: Plays) -> None:
    """epoll tells of a reset whatever was asked for; what came before it stays in the kernel until it is wanted."""
    one = play()
    one.client(*GET).upstream_sees(*GET).client_stops_reading()
    one.upstream("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", b"1000000\r\n" + bytes(8_000_000))
    for _ in range(60):
        one.turn(0)
    one.upstream_resets()
    for _ in range(60):
        one.turn(0)
    queued = [pollable.queued() for pollable in one.reactor.pollables() if hasattr(pollable, "queued")]
    assert max(queued) <= 65_536 + 2 * 131_072, queued
    one.client_reads_on()
    one.logged("upstream.truncated")
    one.client_now.got.clear()
    one.client_closed().done()
