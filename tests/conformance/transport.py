"""What every transport must do: the rules in the header of `net/transport.py`, one check for each sentence."""

import gc
import os
import random
import re
from collections.abc import Callable

from vestibule.net.reactor import SCRATCH_BYTES

from .pair import Pair, settle

Maker = Callable[[], Pair]
OURS = re.compile(r"vestibule|tests|ssl$|_ssl$|socket$|_socket$")
BODY = random.Random(1).randbytes(3_000_000)


def check_transport(maker: Maker, clogged_maker: Maker) -> None:
    """Run every check on transports that `maker` makes; `clogged_maker` makes one that can send no more."""
    for check in CHECKS:
        pair = maker()
        check(pair)
        pair.close()
    for check in CLOGGED_CHECKS:
        pair = clogged_maker()
        check(pair)
        pair.close()
    check_nothing_survives(maker)


def check_order(pair: Pair) -> None:
    """Bytes arrive in order in both directions, whatever the pieces."""
    rng = random.Random(2)
    at = 0
    while at < 500_000:
        size = rng.choice((1, 2, 100, 16_384, 16_385, 70_000))
        pair.write(BODY[at : at + size])
        pair.far.send(BODY[at : at + size])
        at += size
        if rng.random() < 0.5:
            pair.turn()
    pair.until(lambda: len(pair.far.got) >= at and len(pair.owner.got) >= at)
    assert pair.far.got == BODY[:at]
    assert pair.owner.got == BODY[:at]


def check_debt_at_once(pair: Pair) -> None:
    """False, and then a flush that takes everything: the debt is paid although the socket was never full."""
    pair.far.reads = True
    for round_number in range(1, 4):
        assert pair.write(BODY[:65_535])
        assert not pair.write(b"x")
        assert pair.owner.count("drained") == round_number - 1
        pair.until(lambda: pair.transport.queued() == 0)
        pair.turn(3)
        assert pair.owner.count("drained") == round_number


def check_debt_of_many(pair: Pair) -> None:
    """However often it was said, False is one debt."""
    for _ in range(20):
        assert not pair.write(BODY[:150_000])
    pair.until(lambda: len(pair.far.got) == 20 * 150_000)
    for _ in range(3):
        assert pair.write(b"x")
        pair.turn()
    assert pair.owner.count("drained") == 1


def check_many_pieces(pair: Pair) -> None:
    """Pieces of all sizes arrive in order, however few of them the kernel takes at a time."""
    sizes = [1, 40_000, 7, 100_000, 16_375, 3, 65_536] * 40
    at = 0
    sent = b""
    for size in sizes:
        piece = BODY[at % 1000 : at % 1000 + size]
        pair.write(piece)
        sent += piece
        at += 13
    pair.until(lambda: len(pair.far.got) >= len(sent))
    assert pair.far.got == sent
    assert pair.transport.queued() == 0
    assert pair.transport.bytes_out >= len(sent)


def check_no_debt(pair: Pair) -> None:
    """Who was never told False is owed nothing."""
    for _ in range(30):
        assert pair.write(b"x" * 1000)
        pair.turn()
    pair.until(lambda: len(pair.far.got) == 30_000)
    assert pair.owner.events == []


def check_pause_is_bounded(pair: Pair) -> None:
    """After `pause` no more comes than one read; after `resume` all comes."""
    pair.owner.on_first = pair.transport.pause
    pair.far.send(BODY)
    pair.turn(50)
    assert 0 < len(pair.owner.got) <= 2 * SCRATCH_BYTES
    had = len(pair.owner.got)
    pair.turn(20)
    assert len(pair.owner.got) == had
    assert pair.transport.is_paused()
    pair.transport.resume()
    pair.until(lambda: len(pair.owner.got) == len(BODY))
    assert pair.owner.got == BODY


def check_pause_taken_back(pair: Pair) -> None:
    """A pause and a resume within a turn change nothing."""
    pair.transport.pause()
    pair.transport.resume()
    pair.far.send(b"hello")
    pair.until(lambda: pair.owner.got == b"hello")


def check_end_is_half(pair: Pair) -> None:
    """`end` says goodbye after what is queued; the other direction stays."""
    pair.write(BODY[:200_000])
    pair.transport.end()
    pair.until(lambda: pair.far.ended)
    assert pair.far.got == BODY[:200_000] and not pair.far.broken
    pair.far.send(b"still here")
    pair.until(lambda: pair.owner.got == b"still here")
    pair.transport.end()
    pair.transport.close()
    pair.turn(3)
    assert not pair.far.broken


def check_far_end_is_half(pair: Pair) -> None:
    """The far end's goodbye is told once, after its last byte; we may go on writing."""
    pair.far.send(b"bye")
    pair.far.finish()
    pair.until(lambda: "end" in pair.owner.events)
    assert pair.owner.got == b"bye"
    pair.write(BODY[:100_000])
    pair.until(lambda: len(pair.far.got) == 100_000)
    pair.turn(5)
    assert pair.owner.count("end") == 1
    assert pair.owner.count("lost") == 0


def check_close_delivers(pair: Pair) -> None:
    """`close` sends what is queued, ends in good order, and calls nobody."""
    pair.write(BODY[:1_000_000])
    pair.transport.close()
    pair.until(lambda: pair.far.ended or pair.far.broken)
    assert pair.far.got == BODY[:1_000_000] and not pair.far.broken
    pair.transport.close()
    assert pair.write(b"late"), "a closed transport takes everything and sends nothing"
    pair.turn(3)
    assert pair.owner.events == []
    assert pair.transport.closed and pair.transport.sock.fileno() == -1


def check_close_with_nothing(pair: Pair) -> None:
    """An empty queue is closed by the end of the turn."""
    pair.transport.close()
    pair.turn()
    assert pair.transport.sock.fileno() == -1
    pair.until(lambda: pair.far.ended)
    assert not pair.far.broken


def check_abort_is_silent(pair: Pair) -> None:
    """After `abort` nobody is called, and what was queued is gone."""
    pair.write(BODY[:1000])
    pair.transport.abort()
    pair.far.send(b"hello")
    pair.turn(5)
    assert pair.owner.events == [] and pair.far.got == b""


def check_reset_is_seen(pair: Pair) -> None:
    """`reset` is no orderly end."""
    pair.transport.reset()
    pair.until(lambda: pair.far.broken)
    assert pair.owner.events == []


def check_lost_once(pair: Pair) -> None:
    """A reset from the far end is told once, and nothing after it."""
    pair.far.reset()
    pair.until(lambda: "lost" in pair.owner.events)
    pair.write(BODY)
    pair.transport.resume()
    pair.transport.end()
    pair.turn(5)
    assert pair.owner.events == ["lost"]


def check_bytes_before_a_reset(pair: Pair) -> None:
    """Sending to a peer that is gone loses the transport once, after what the peer had said."""
    pair.far.send(b"last words")
    pair.far.close()
    for _ in range(5):
        pair.write(BODY[:100_000])
        pair.turn(2)
    pair.until(lambda: "lost" in pair.owner.events)
    assert pair.owner.got == b"last words"
    assert pair.owner.events[-1] == "lost" and pair.owner.count("lost") == 1


def check_quiet(pair: Pair) -> None:
    """`is_quiet` hears bytes and ends that were not read yet."""
    assert pair.transport.is_quiet()
    pair.far.send(b"x")
    assert not pair.transport.is_quiet()
    pair.until(lambda: pair.owner.got == b"x")
    assert pair.transport.is_quiet()
    pair.far.close()
    assert not pair.transport.is_quiet()


def check_clogged_debt(pair: Pair) -> None:
    """A clogged transport pays when its peer reads again, and once."""
    assert pair.transport.queued() >= 65_536
    before = pair.owner.count("drained")
    pair.turn(5)
    assert pair.owner.count("drained") == before
    pair.far.reads = True
    pair.until(lambda: pair.owner.count("drained") == before + 1)
    assert pair.transport.queued() < 32_768, "paid at half the mark"
    pair.until(lambda: pair.transport.queued() == 0)
    pair.turn(5)
    assert pair.owner.count("drained") == before + 1


def check_clogged_still_reads(pair: Pair) -> None:
    """A direction that is full does not hold up the other."""
    pair.far.send(b"hello")
    pair.until(lambda: pair.owner.got == b"hello")


def check_clogged_close(pair: Pair) -> None:
    """A peer that takes nothing of what is queued is dropped after a while; one that reads gets it all."""
    pair.write(BODY)
    pair.transport.close()
    pair.turn(3)
    assert pair.transport.sock.fileno() >= 0
    sent = pair.transport.bytes_out
    pair.far.reads = True
    pair.until(lambda: pair.transport.bytes_out > sent)
    pair.far.reads = False
    settle(pair)
    pair.wait(30)
    assert pair.transport.sock.fileno() >= 0, "it took some, so it is waited for"
    pair.wait(31)
    assert pair.transport.sock.fileno() == -1
    assert "lost" not in pair.owner.events


def check_clogged_lost(pair: Pair) -> None:
    """The debt of a transport that is lost is not paid."""
    before = pair.owner.count("drained")
    pair.far.reset()
    pair.until(lambda: "lost" in pair.owner.events)
    pair.turn(3)
    assert pair.owner.count("drained") == before
    assert pair.owner.count("lost") == 1


def check_nothing_survives(maker: Maker) -> None:
    """What was closed leaves neither a descriptor nor anything for the collector."""
    maker().close()
    gc.collect()
    gc.disable()
    try:
        before = len(os.listdir("/proc/self/fd"))
        for ending in ("close", "abort", "lost") * 5:
            pair = maker()
            pair.write(b"x" * 1000)
            pair.far.send(b"y" * 1000)
            pair.turn(2)
            if ending == "lost":
                pair.far.reset()
                pair.turn(2)
            elif ending == "close":
                pair.transport.close()
            pair.close()
        del pair
        assert len(os.listdir("/proc/self/fd")) == before
        assert garbage() == []
    finally:
        gc.enable()


def settle_garbage() -> None:
    """Collect until nothing more is found: what is freed may let go of others, as what earlier tests left does."""
    for _ in range(10):
        if not gc.collect():
            return


def garbage() -> list[str]:
    """Collect, and name what of ours only the collector could free."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    found = [type(thing).__qualname__ for thing in gc.garbage if OURS.match(type(thing).__module__)]
    gc.garbage.clear()
    return found


CHECKS: tuple[Callable[[Pair], None], ...] = (
    check_order,
    check_debt_at_once,
    check_debt_of_many,
    check_many_pieces,
    check_no_debt,
    check_pause_is_bounded,
    check_pause_taken_back,
    check_end_is_half,
    check_far_end_is_half,
    check_close_delivers,
    check_close_with_nothing,
    check_abort_is_silent,
    check_reset_is_seen,
    check_lost_once,
    check_bytes_before_a_reset,
    check_quiet,
)
CLOGGED_CHECKS: tuple[Callable[[Pair], None], ...] = (
    check_clogged_debt,
    check_clogged_still_reads,
    check_clogged_close,
    check_clogged_lost,
)
