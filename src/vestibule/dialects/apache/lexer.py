"""httpd's configuration text to lines of words.

Facts, as httpd reads it:
* A line is one directive. A backslash at its end joins the next line to it.
* ``#`` begins a comment only where a line begins.
* A word may be quoted by ``"`` or ``'``; inside, a backslash keeps the quote from ending it and is itself written twice.
* ``${NAME}`` is replaced where ``Define`` has given the name a value, anywhere in a line.

Rules: never raises on bad input.

Not here: sections and includes (``tree``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from vestibule.model.diagnostic import Span

_BLANK = " \t\r\f\v"


@dataclass(frozen=True, slots=True)
class Word:
    """One argument without its quotes."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Line:
    """One directive: the text after continuation, with the place where it begins."""

    text: str
    span: Span


def lines(file: str, text: str) -> list[Line]:
    """Return the lines of a text that are no comments, joined where they are continued."""
    found: list[Line] = []
    pending = ""
    start = 0
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = raw.rstrip("\r")
        if not pending:
            start = number
        if line.endswith("\\"):
            pending += line[:-1]
            continue
        whole = pending + line
        pending = ""
        bare = whole.strip(_BLANK)
        if bare and not bare.startswith("#"):
            column = len(whole) - len(whole.lstrip(_BLANK)) + 1
            found.append(Line(bare, Span(file, start, column)))
    if pending.strip(_BLANK):
        found.append(Line(pending.strip(_BLANK), Span(file, start, 1)))
    return found


def words(text: str, span: Span, keeps_escaped: bool = False) -> list[Word]:
    """Split the arguments of a directive; ``span`` is where ``text`` begins. ``keeps_escaped`` says that a backslash before a blank
    keeps it from ending a word, as in rules."""
    found: list[Word] = []
    at = 0
    while True:
        while at < len(text) and text[at] in _BLANK:
            at += 1
        if at >= len(text):
            return found
        begin = at
        word, at = _quoted(text, at) if text[at] in "\"'" else _plain(text, at, keeps_escaped)
        found.append(Word(word, Span(span.file, span.line, span.column + begin)))


def _plain(text: str, at: int, keeps_escaped: bool) -> tuple[str, int]:
    end = at
    while end < len(text) and text[end] not in _BLANK:
        # The backslash stays, and is the pattern's.
        end += 2 if keeps_escaped and text[end] == "\\" and text[end + 1 : end + 2].isspace() else 1
    return text[at:end], end


def _quoted(text: str, at: int) -> tuple[str, int]:
    quote = text[at]
    at += 1
    parts: list[str] = []
    while at < len(text) and text[at] != quote:
        # A backslash is only special before a quote or another one; regular expressions need theirs.
        if text[at] == "\\" and at + 1 < len(text) and text[at + 1] in (quote, "\\"):
            at += 1
        parts.append(text[at])
        at += 1
    return "".join(parts), at + 1


def name_of(line: Line) -> str:
    """Return the name of the directive or section of a line, as written, without ``<`` or ``</``."""
    found = re.match(rf"</?([^{_BLANK}>]+)|([^{_BLANK}]+)", line.text)
    assert found is not None  # a line is never empty
    return found[1] or found[2]
