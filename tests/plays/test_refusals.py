"""Plays: what is no HTTP is answered, not forwarded, and ends the connection; answers before it are delivered."""

from collections.abc import Callable

import pytest

from .play import Play

Plays = Callable[..., Play]
GET = ("GET / HTTP/1.1", "Host: a", "")
OK = ("HTTP/1.1 200 OK", "Content-Length: 2", "", "ok")

REFUSED = [
    (400, "client.bad_framing", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, "client.bad_syntax", "GET / HTTP/1.1\nHost: a\n\n"),
    (400, "client.bad_host", "GET / HTTP/1.1\r\n\r\n"),
    (400, "client.bad_target", "GET /# HTTP/1.1\r\nHost: a\r\n\r\n"),
    (405, "client.bad_method", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"),
    (414, "client.target_too_long", "GET /" + "a" * 9000 + " HTTP/1.1\r\nHost: a\r\n\r\n"),
    (431, "client.head_too_large", "GET / HTTP/1.1\r\nHost: a\r\n" + "X: y\r\n" * 100 + "\r\n"),
    (431, "client.head_too_large", "GET / HTTP/1.1\r\nHost: a\r\nX: " + "y" * 17_000),
    (501, "client.bad_coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
    (505, "client.bad_version", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
]


@pytest.mark.parametrize(("status", "fault", "request_text"), REFUSED)
def test_a_bad_request_is_refused(play: Plays, status: int, fault: str, request_text: str) -> None:
    one = play()
    one.client(request_text).client_answered(status).client_closed().connections(0).logged(fault).done()


@pytest.mark.parametrize(("status", "fault", "request_text"), REFUSED[:3])
def test_a_bad_request_behind_a_good_one(play: Plays, status: int, fault: str, request_text: str) -> None:
    one = play()
    one.client("\r\n".join(GET) + "\r\n" + request_text).upstream_sees(*GET).upstream_quiet().upstream(*OK).client_sees(*OK)
    one.client_answered(status).client_closed().logged("", fault).connections(1).done()


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        ("upstream.bad_framing", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("upstream.bad_framing", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        ("upstream.bad_syntax", "HTTP/1.1 200 OK\r\nA: b\x00c\r\n\r\n"),
        ("upstream.bad_syntax", "HTTP/1.1 2000 OK\r\n\r\n"),
        ("upstream.bad_syntax", "SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        ("upstream.head_too_large", "HTTP/1.1 200 OK\r\nA: " + "b" * 70_000),
        ("upstream.head_too_large", "HTTP/1.1 200 OK\r\n" + "A: b\r\n" * 300 + "\r\n"),
    ],
)
def test_a_bad_answer_is_told_and_the_connection_dropped(play: Plays, fault: str, answer: str) -> None:
    one = play()
    one.client(*GET).upstream_sees(*GET).upstream(answer).client_answered(502).upstream_closed().logged(fault)
    one.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("").connections(2).done()


def test_a_large_answer_head_within_the_limit_passes(play: Plays) -> None:
    one = play()
    answer = ("HTTP/1.1 200 OK", "A: " + "b" * 60_000, "Content-Length: 0", "")
    one.client(*GET).upstream_sees(*GET).upstream(*answer).client_sees(*answer).logged("").done()
