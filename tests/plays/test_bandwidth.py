"""Plays: bodies that may pass only so many bytes in a second. The clock is put ahead; a byte in a second keeps the real one out of it."""

from collections.abc import Callable

import pytest

from vestibule.contract import DOWN, PASS, UP, Step
from vestibule.exchange import Exchange
from vestibule.net.reactor import SCRATCH_BYTES
from vestibule.plan.expr import Const
from vestibule.plan.steps.bandwidth import Account, BandwidthLimit, Paces, SharedAccounts, size_of

from .play import Play

Plays = Callable[..., Play]
GET = ("GET / HTTP/1.1", "Host: a", "")
OK5 = ("HTTP/1.1 200 OK", "Content-Length: 5", "")
POST5 = ("POST / HTTP/1.1", "Host: a", "Content-Length: 5", "")
OK2 = ("HTTP/1.1 200 OK", "Content-Length: 2", "", "ok")


class Seen(Step):
    """Remembers the exchange."""

    def __init__(self) -> None:
        self.ex: Exchange | None = None

    def run(self, ex: Exchange) -> int:
        self.ex = ex
        return PASS


def limited(
    one: Play,
    side: int = DOWN,
    rate: bytes = b"1",
    after: bytes = b"",
    key: bytes | None = None,
    shared: SharedAccounts | None = None,
    name: str = "",
) -> Play:
    """Limit every exchange of a play."""
    limit = BandwidthLimit(
        one.reactor,
        side,
        Const(rate),
        Const(after) if after else None,
        None if key is None else Const(key),
        shared or SharedAccounts(),
        name,
    )
    one.plan.request = [*one.plan.request, limit]
    return one


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (b"", 0), (b"0", 0), (b"500", 500), (b"2k", 2048), (b"2K", 2048), (b"1m", 1 << 20), (b"1g", 1 << 30), (b"500KB", 500_000),
        (b"3MiB", 3 << 20), (b"fast", 0), (b"-1", 0), (b"1.5m", 0), (b"k", 0), (b"1kk", 0), (b"9" * 15, 1 << 40), (b"9" * 16, 0),
    ],
)  # fmt: skip
def test_sizes(text: bytes, size: int) -> None:
    assert size_of(text) == size


def test_an_account_gives_moments_in_turns_and_makes_up_for_a_little_lateness() -> None:
    account = Account()
    assert [account.take(1_000_000, 10, 100) for _ in range(3)] == [1_000_000, 1_100_000, 1_200_000]
    assert account.take(1_350_000, 10, 100) == 1_300_000
    assert account.take(9_000_000, 10, 100) == 8_800_000


def test_an_answer_goes_byte_by_byte_and_its_end_with_the_last(play: Plays) -> None:
    one = limited(play())
    one.client(*GET).upstream_sees(*GET).upstream(*OK5, "hello").client_sees(*OK5, b"h").client_quiet()
    for byte in ("e", "l", "l"):
        assert one.tally.exchanges == 1
        one.idle(1).client_sees(byte).client_quiet()
    one.idle(1).client_sees("o").logged("").client_quiet()
    one.done()


def test_pieces_that_come_later_go_on_in_the_same_pace(play: Plays) -> None:
    one = limited(play())
    one.client(*GET).upstream_sees(*GET).upstream(*OK5, "h").client_sees(*OK5, b"h").upstream("i").client_quiet()
    one.idle(1).client_sees("i").upstream("!!!").idle(1).client_sees("!").idle(1).client_sees("!").idle(1).client_sees("!").logged("")
    one.done()


def test_the_upstream_serves_another_while_the_last_bytes_wait(play: Plays) -> None:
    one = limited(play())
    one.client(*GET).upstream_sees(*GET).upstream(*OK5, "hello").client_sees(*OK5, b"h").quiet()
    one.new_client().client(*GET).upstream_sees(*GET).upstream("HTTP/1.1 204 No Content", "").client_sees("HTTP/1.1 204 No Content", "")
    one.logged("").connections(1).break_off()


def test_chunks_and_trailers_keep_their_order(play: Plays) -> None:
    one = limited(play())
    head = ("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "")
    one.client(*GET).upstream_sees(*GET).upstream(*head, "2", "ok", "0", "X-Sum: 2", "").client_sees(*head, "1", "o", b"").client_quiet()
    one.idle(1).client_sees("1", "k", "0", "X-Sum: 2", "").logged("").done()


def test_the_first_bytes_may_pass_at_once(play: Plays) -> None:
    one = limited(play(), after=b"3")
    one.client(*GET).upstream_sees(*GET).upstream(*OK5, "hello").client_sees(*OK5, "hell").client_quiet()
    one.idle(1).client_sees("o").logged("").done()


@pytest.mark.parametrize("rate", [b"", b"0", b"fast"])
def test_no_rate_is_no_limit(play: Plays, rate: bytes) -> None:
    one = limited(play(), rate=rate)
    one.client(*GET).upstream_sees(*GET).upstream(*OK5, "hello").client_sees(*OK5, "hello").logged("").done()


def test_an_upload_goes_byte_by_byte(play: Plays) -> None:
    one = limited(play(), UP)
    one.client(*POST5, "hello").upstream_sees(*POST5, "h").upstream_quiet()
    for byte in ("e", "l", "l", "o"):
        one.idle(1).upstream_sees(byte).upstream_quiet()
    one.upstream(*OK2).client_sees(*OK2).logged("")
    one.client(*GET).upstream_sees(*GET).upstream(*OK2).client_sees(*OK2).logged("").connections(1).done()


def test_an_answer_before_the_upload_has_gone_ends_it(play: Plays) -> None:
    one = limited(play(), UP)
    one.client(*POST5, "hello").upstream_sees(*POST5, "h").upstream(*OK2).client_sees(*OK2).logged("").upstream_closed()
    one.done()


def test_a_key_shares_in_turns_and_leaves_nothing(play: Plays) -> None:
    shared = SharedAccounts()
    one = limited(play(), key=b"k", shared=shared)
    one.client(*GET).upstream_sees(*GET).upstream(*OK5, "hello").client_sees(*OK5, b"h").client_quiet()
    one.new_client().client(*GET).upstream_sees(*GET).upstream(*OK5, "world").client_sees(*OK5).client_quiet()
    first, second = one.clients
    one.idle(1)
    assert (bytes(first.got), bytes(second.got)) == (b"e", b"")
    one.idle(1)
    assert (bytes(first.got), bytes(second.got)) == (b"e", b"w")
    one.idle(1)
    assert (bytes(first.got), bytes(second.got)) == (b"el", b"w")
    assert shared.now[b"k"].users == 2
    one.break_off()
    assert not shared.now


def test_a_client_that_leaves_while_bytes_wait_is_noticed(play: Plays) -> None:
    one = limited(play())
    one.client(*GET).upstream_sees(*GET).upstream(*OK5, "hello").client_sees(*OK5, b"h").quiet().client_resets()
    one.logged("client.gone").connections(1).done()


def test_an_answer_cut_short_is_cut(play: Plays) -> None:
    one = limited(play())
    one.client(*GET).upstream_sees(*GET).upstream(*OK5, "hel").client_sees(*OK5, b"h").upstream_ends().quiet()
    for _ in range(3):
        one.idle(1)
    del one.client_now.got[:]
    one.client_closed().logged("upstream.truncated").done()


def test_what_we_say_ourselves_does_not_wait(play: Plays) -> None:
    one = limited(play())
    one.client(*GET).upstream_sees(*GET).upstream("nonsense", "").client_answered(502).logged("upstream.bad_syntax").done()


def test_the_source_is_paused_and_large_bodies_pass_whole(play: Plays) -> None:
    """No more is held than a read, whatever the upstream would send; the relay of the kernel is not asked."""
    one = limited(play(), rate=b"1m")
    seen = Seen()
    one.plan.request = [*one.plan.request, seen]
    body = bytes(range(256)) * 8_192
    one.client(*GET).upstream_sees(*GET).upstream("HTTP/1.1 200 OK", f"Content-Length: {len(body)}", "")
    one.upstream_now.unsent += body
    one.client_sees("HTTP/1.1 200 OK", f"Content-Length: {len(body)}", "")
    most = 0
    for _ in range(400):
        one.turn()
        one.reactor.ahead_ms += 20
        pacing = seen.ex.pacing if seen.ex is not None else None
        if isinstance(pacing, Paces):
            most = max(most, pacing.downs[0].held())
        if len(one.client_now.got) >= len(body):
            break
    assert 0 < most <= 2 * SCRATCH_BYTES
    assert bytes(one.client_now.got) == body
    one.client_now.got.clear()
    one.logged("").done()


def test_a_switch_of_protocols_is_not_slowed(play: Plays) -> None:
    one = limited(limited(play(), UP))
    ask = ("GET /ws HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: websocket", "")
    one.client(*ask).upstream_sees("GET /ws HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: websocket", "")
    one.upstream("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket", "")
    one.client_sees("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket", "")
    one.client(b"hello there").upstream_sees(b"hello there").upstream(b"good day").client_sees(b"good day")
    one.break_off()


def test_several_limits_all_hold(play: Plays) -> None:
    one = limited(limited(play(), rate=b"1000"), rate=b"1")
    one.client(*GET).upstream_sees(*GET).upstream(*OK5, "hello").client_sees(*OK5, b"h").client_quiet()
    for byte in ("e", "l", "l", "o"):
        one.idle(1).client_sees(byte).client_quiet()
    one.logged("").done()


@pytest.mark.parametrize("side", [DOWN, UP])
def test_a_limit_takes_the_place_of_one_with_its_name(play: Plays, side: int) -> None:
    one = limited(limited(play(), side, rate=b"1", name="a"), side, rate=b"0", name="a")
    one.client(*POST5, "hello").upstream_sees(*POST5, "hello").upstream(*OK2).client_sees(*OK2).logged("").done()
