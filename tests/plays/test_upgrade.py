"""Plays: a switch of protocols, asked for or not, and the tunnel after it."""

from collections.abc import Callable

import pytest

from vestibule.contract import Timeouts

from .play import Play

Plays = Callable[..., Play]
GET = ("GET / HTTP/1.1", "Host: a", "")
OK = ("HTTP/1.1 200 OK", "Content-Length: 2", "", "ok")
ASK = ("GET /ws HTTP/1.1", "Host: a", "Sec-WebSocket-Key: x", "Connection: Upgrade", "Upgrade: websocket", "")
SWITCH = ("HTTP/1.1 101 Switching Protocols", "Sec-WebSocket-Accept: y", "Connection: Upgrade", "Upgrade: websocket", "")


def tunnel(one: Play) -> Play:
    """Bring a play to an open tunnel."""
    return one.client(*ASK).upstream_sees(*ASK).upstream(*SWITCH).client_sees(*SWITCH)


def test_bytes_pass_both_ways_after_the_switch(play: Plays) -> None:
    one = tunnel(play())
    assert one.tally.tunnels == 1
    one.client("GET / HTTP/1.1\r\n\r\n\x00").upstream_sees("GET / HTTP/1.1\r\n\r\n\x00").upstream("0\r\n\r\n").client_sees("0\r\n\r\n")
    one.client(bytes(300_000)).upstream_sees(bytes(300_000)).upstream(bytes(300_000)).client_sees(bytes(300_000))
    one.client_leaves().upstream_finished().upstream_ends().logged("").done()


def test_bytes_right_behind_the_heads_are_not_lost(play: Plays) -> None:
    one = play()
    one.client(*ASK, "early").upstream_sees(*ASK).upstream(*SWITCH, "first").client_sees(*SWITCH, "first").upstream_sees("early")
    one.client_leaves().upstream_ends().logged("").done()


def test_each_side_may_finish_alone(play: Plays) -> None:
    one = tunnel(play())
    one.client("bye").client_finishes().upstream_sees("bye").upstream_finished().upstream("still here").client_sees("still here")
    one.upstream_ends().client_closed().logged("").done()
    two = tunnel(play())
    two.upstream("bye").upstream_half_closes().client_sees("bye").client_closed().client("still here").upstream_sees("still here")
    two.client_leaves().upstream_closed().logged("").done()


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_a_reset_ends_both_sides(play: Plays, who: str) -> None:
    one = tunnel(play())
    if who == "client":
        one.client_resets().upstream_closed().logged("client.gone").done()
    else:
        one.upstream_resets().client_cut().logged("upstream.truncated").done()


def test_a_refused_upgrade_is_an_ordinary_answer(play: Plays) -> None:
    one = play()
    one.client(*ASK).upstream_sees(*ASK).upstream(*OK).client_sees(*OK).logged("")
    one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("").connections(1).done()


def test_a_pipelined_request_behind_a_refused_upgrade_is_a_request(play: Plays) -> None:
    one = play()
    one.client(*ASK, *GET).upstream_sees(*ASK).upstream(*OK).client_sees(*OK).upstream_sees(*GET).upstream(*OK).client_sees(*OK)
    one.logged("", "").done()


@pytest.mark.parametrize(
    ("request_head", "switch"),
    [
        (GET, SWITCH),
        (ASK, ("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: h2c", "")),
        (ASK, ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "")),
        (ASK, ("HTTP/1.1 101 Switching Protocols", "")),
        (GET, ("HTTP/1.1 101 Switching Protocols", "")),
    ],
)
def test_a_switch_nobody_asked_for_is_a_fault(play: Plays, request_head: tuple[str, ...], switch: tuple[str, ...]) -> None:
    one = play()
    one.client(*request_head).upstream_sees(*request_head).upstream(*switch, "evil").client_answered(502, "nobody asked")
    one.upstream_closed().logged("upstream.bad_upgrade").done()


def test_an_empty_protocol_is_none(play: Plays) -> None:
    one = play()
    ask = ("GET /ws HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: websocket,", "")
    one.client(*ask).upstream_sees(*ask).upstream("HTTP/1.1 101 Switching Protocols", "").client_answered(502)
    one.upstream_closed().logged("upstream.bad_upgrade").done()


def test_http2_is_not_asked_for_on_behalf_of_a_client(play: Plays) -> None:
    one = play()
    one.client("GET / HTTP/1.1", "Host: a", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk", "")
    one.upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("").done()


def test_an_old_client_cannot_upgrade(play: Plays) -> None:
    one = play()
    one.client("GET / HTTP/1.0", "Host: a", "Connection: Upgrade", "Upgrade: websocket", "").upstream_sees(*GET).upstream(*SWITCH)
    one.client_answered(502).client_closed().upstream_closed().logged("upstream.bad_upgrade").done()


def test_a_chunked_request_that_asks_for_an_upgrade_keeps_its_framing(play: Plays) -> None:
    """Without it the upstream would read the chunks as the next request."""
    one = play()
    one.client("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Connection: upgrade", "Upgrade: x", "", "5", "hello", "0", "")
    one.upstream_sees(
        "POST / HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: x", "Transfer-Encoding: chunked", "", "5", "hello", "0", ""
    )
    one.upstream(*OK).client_sees(*OK).logged("").done()


def test_a_limit_on_bodies_is_none_on_tunnels(play: Plays) -> None:
    one = tunnel(play(body_most=10))
    one.client(bytes(100)).upstream_sees(bytes(100)).client(bytes(100)).upstream_sees(bytes(100))
    one.client_leaves().upstream_ends().logged("").done()


@pytest.mark.parametrize("seconds", [6, 120])
def test_an_idle_tunnel_ends(play: Plays, seconds: int) -> None:
    one = tunnel(play(timeouts=Timeouts(tunnel_idle_ms=seconds * 1000)))
    most = seconds * 5 / 6
    one.idle(most).upstream("ping").client_sees("ping").idle(most).client("pong").upstream_sees("pong").idle(most).upstream_quiet()
    one.idle(seconds / 6 + 1).upstream_closed().logged("proxy.tunnel_idle")
    one.until(lambda: one.client_now.ended or one.client_now.reset, lambda: "the client's side stays open")
    one.done()


def test_a_tunnel_keeps_a_slow_reader_in_bounds(play: Plays) -> None:
    one = tunnel(play())
    one.client_stops_reading().upstream(bytes(20_000_000))
    for _ in range(60):
        one.turn(0)
    queued = [pollable.queued() for pollable in one.reactor.pollables() if hasattr(pollable, "queued")]
    assert max(queued) <= 65_536 + 131_072, queued
    one.client_reads_on().client_sees(bytes(20_000_000)).client_leaves().upstream_ends().logged("").done()
