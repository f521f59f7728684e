"""What is found wrong in a haproxy.cfg, with its place.

Rules: a line that several proxies inherit is told once.

Not here: the diagnostics themselves (``record``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vestibule.dialects.record import Record
from vestibule.model.diagnostic import Span

if TYPE_CHECKING:
    from vestibule.dialects.haproxy.lexer import Line

NOT_BUILT = "not built yet"


class Report:
    """Notes mistakes at words of lines."""

    def __init__(self, record: Record) -> None:
        self.record = record

    def error(self, line: Line, at: int, code: str, message: str, hint: str = "") -> None:
        """Note what forbids the file, at a word of a line (at the last where there is no such word)."""
        self.record.error(span(line, at), code, message, hint)

    def warning(self, line: Line, at: int, code: str, message: str, hint: str = "") -> None:
        """Note what is left out and does no harm, or is probably not meant."""
        self.record.warning(span(line, at), code, message, hint)

    def not_built(self, line: Line, at: int, what: str, hint: str = "") -> None:
        """Note what HAProxy knows and vestibule does not do."""
        self.error(line, at, "not-built", f"{what}: {NOT_BUILT}", hint)


def span(line: Line, at: int = 0) -> Span:
    """Return the place of a word of a line, or of its last one where the line is shorter."""
    words = line.words
    return Span(line.file, line.number, words[min(at, len(words) - 1)].column)
