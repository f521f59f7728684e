"""How much oddness an HTTP/2 connection may show before it is closed.

Facts
  Each known flood is made of frames that are legal one by one: opening and cancelling streams
  (CVE-2023-44487), provoking our own resets (CVE-2025-8671), PING and SETTINGS that ask for answers,
  empty DATA and CONTINUATION, WINDOW_UPDATE by single bytes, oversized header lists.
  A gallery cancels a lot too: a fast scroll drops four thumbnails of five, a drag of the scrubber
  nearly all of them for some seconds.

Rules: a `Budget` is spent by odd things and earned back by time and by useful work. So what counts is
not how much a client cancels, but how much it cancels for each thing that it lets us finish.

Not here: limits on single messages (`hpack.py`, `h2.py`), time-outs (`proxy/down_h2.py`).
"""

from typing import Final

# Cancelled streams, and the streams we had to reset: a burst of a thousand, a hundred per second for
# ever, and eight for each answer that the client took whole.
RESETS_BURST: Final = 1000
RESETS_PER_SECOND: Final = 100
EARNED_PER_ANSWER: Final = 8

# A stream error is nothing a working client makes; a header list over the limit costs decoding.
COST_CANCEL: Final = 1
COST_REFUSED: Final = 1
COST_STREAM_ERROR: Final = 5
COST_TOO_LARGE: Final = 3

# Frames that carry nothing. A client that reads sends about one WINDOW_UPDATE for two DATA frames it gets;
# each DATA frame that moves earns two.
FRAMES_BURST: Final = 2000
FRAMES_PER_SECOND: Final = 200
EARNED_PER_DATA: Final = 2

COST_FRAME: Final = 1
COST_EMPTY_CONTINUATION: Final = 20


class Budget:
    """A sum that is spent and earned, never over `burst`."""

    def __init__(self, burst: int, per_second: int) -> None:
        self.burst = burst
        self.per_second = per_second
        self.left = burst
        self._at_ms = 0

    def spend(self, cost: int, now_ms: int) -> bool:
        """Take `cost`; return False when the budget cannot bear it."""
        self.left -= cost
        if self.left < 0:
            self._refill(now_ms)
        elif self._at_ms == 0:
            self._at_ms = now_ms
        return self.left >= 0

    def earn(self, gain: int) -> None:
        """Give back for useful work."""
        self.left = min(self.left + gain, self.burst)

    def _refill(self, now_ms: int) -> None:
        """Add what time has earned since the last look; done only when the budget is empty."""
        gain = (now_ms - self._at_ms) * self.per_second // 1000
        if gain > 0:
            self._at_ms = now_ms
            self.left = min(self.left + gain, self.burst)
