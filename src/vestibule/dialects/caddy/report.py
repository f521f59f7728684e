"""What is found wrong in a Caddyfile, with its place.

Not here: the diagnostics themselves (``record``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vestibule.dialects.record import Record
from vestibule.model.diagnostic import did_you_mean

if TYPE_CHECKING:
    from vestibule.dialects.caddy.lexer import Token

NOT_BUILT = "not built yet"


_LISTED_MOST = 8


def near(word: str, known: Sequence[str]) -> str:
    """Return a hint that names the nearest known word; without one, all of them where they are few."""
    hint = did_you_mean(word, known)
    return hint if hint.startswith("did") or len(known) <= _LISTED_MOST else "see the matrix of directives"


class Report:
    """Notes mistakes at tokens."""

    def __init__(self, record: Record) -> None:
        self.record = record

    def error(self, token: Token, code: str, message: str, hint: str = "") -> None:
        """Note what forbids the file."""
        self.record.error(token.span, code, message, hint)

    def warning(self, token: Token, code: str, message: str, hint: str = "") -> None:
        """Note what is left out and does no harm, or is probably not meant."""
        self.record.warning(token.span, code, message, hint)

    def not_built(self, token: Token, what: str, hint: str = "") -> None:
        """Note what Caddy knows and vestibule does not do."""
        self.error(token, "not-built", f"{what}: {NOT_BUILT}", hint)

    def left_out(self, token: Token, what: str, why: str) -> None:
        """Note what is left out and does no harm."""
        self.warning(token, "left-out", f"{what} is left out", why)
