"""Steps of a check that talks with a server: what is said, and what must come.

Facts: a step is a word and, behind a blank, a text. ``send TEXT`` and ``send_hex BYTES`` are sent as they are. ``expect``, ``expect_hex``
and ``expect_pattern`` wait until this came in what the server said since something was sent; ``refuse`` and its kin must not be in it.
``connect`` begins a new connection, to another port where one follows. ``await N`` has the next step that looks for something wait for
as many bytes (0: until the server closes), unless it finds it before. ``explain PATTERN`` waits for what it looks for, too, and its groups
``code`` (digits), ``number`` (bytes, the lowest first) and ``info`` are what is told of the check; it decides nothing, and what comes next
is decided by what was heard until then. ``tell TEXT`` is told from there on. From ``disagree`` on a server that says something else has
answered, and not broken its protocol. ``skip N M`` waits for a message that begins with its own length, ``N`` bytes with the lowest first,
and ``M`` bytes more, and leaves it out of what was heard.

Not here: who talks (`control/check.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_TEXTS = ("send", "send_hex", "expect", "expect_hex", "expect_pattern", "refuse", "refuse_hex", "refuse_pattern", "explain", "tell")
_NUMBERS = {"connect": 65_535, "await": 65_536}
VERBS = (*_TEXTS, *_NUMBERS, "disagree", "skip")

UNCOUNTED = ("await", "explain", "tell", "disagree", "skip")
"""Verbs of steps that are not counted where one is named, since HAProxy has them as parts of others."""


_Said = Literal["send", "expect", "refuse", "explain", "tell"]
_NAMED: dict[str, _Said] = {"send": "send", "expect": "expect", "refuse": "refuse", "explain": "explain", "tell": "tell"}


@dataclass(frozen=True, slots=True)
class Step:
    """One step: bytes to send or to look for, or a pattern to search with."""

    verb: Literal["send", "expect", "refuse", "connect", "await", "explain", "tell", "disagree", "skip"]
    data: bytes
    pattern: re.Pattern[bytes] | None = None
    number: int = 0

    def text(self, at: int) -> str:
        """Say which step of a talk this is, in HAProxy's words, which programs look for."""
        if self.verb == "connect":
            what = f"connect port {self.number}" if self.number else "connect"
        elif self.verb == "send":
            what = "send"
        else:
            what = "expect regex" if self.pattern is not None else f"expect string '{self.data.decode('utf-8', 'replace')}'"
        return f" at step {at} of tcp-check ({what})"

    def end_of(self, heard: bytes) -> int:
        """Return where the message ends that what was heard begins with; -1 where it is not whole yet."""
        size, more = self.data
        end = size + more + int.from_bytes(heard[:size], "little")
        return end if len(heard) >= max(size, end) else -1

    def is_in(self, heard: bytes) -> bool:
        """Tell whether what is looked for was heard."""
        return self.data in heard if self.pattern is None else self.pattern.search(heard) is not None


def read_step(text: str) -> Step:
    """Read a step. Raises ``ValueError`` with the reason."""
    word, _, rest = text.partition(" ")
    if word not in VERBS:
        raise ValueError(f"`{word}` is no step; steps begin with {', '.join(VERBS)}")
    if word in _NUMBERS:
        if (rest and not rest.isdecimal()) or int(rest or "0") > _NUMBERS[word]:
            raise ValueError(f"`{rest}` is no number that `{word}` takes")
        return Step("connect" if word == "connect" else "await", b"", None, int(rest or "0"))
    if word == "skip":
        if re.fullmatch("[1-4] [0-9]", rest) is None:
            raise ValueError(f"`{rest}` is no shape of a message; write `skip 3 1`")
        return Step("skip", bytes([int(rest[0]), int(rest[2])]))
    if word == "disagree" and not rest:
        return Step("disagree", b"")
    if not rest or word == "disagree":
        raise ValueError(f"{'nothing' if not rest else 'too much'} follows `{word}`")
    name, _, form = word.partition("_")
    data = rest.encode("utf-8", "surrogateescape")
    if form == "hex":
        try:
            data = bytes.fromhex(rest)
        except ValueError:
            raise ValueError(f"`{rest}` are no bytes in hexadecimal") from None
    verb = _NAMED[name]
    if form != "pattern" and verb != "explain":
        return Step(verb, data)
    try:
        return Step(verb, data, re.compile(data))
    except (re.error, OverflowError, RecursionError) as bad:
        raise ValueError(f"`{rest}` is no regular expression: {bad}") from None
