"""nginx's configuration text to words and marks.

Facts, as nginx reads it:
* A word ends at a blank, ``;`` or ``{``; one that begins with a quote ends at the same quote, and then must come a blank,
  ``;``, ``{`` or ``)``.
* ``#`` begins a comment only where a word could begin. ``}`` is a mark only there too.
* A backslash keeps the next byte from ending the word. ``\\"``, ``\\'`` and ``\\\\`` lose it, ``\\t``, ``\\r`` and ``\\n``
  become control bytes, any other escape stays as written: regular expressions need theirs.
* ``${`` inside a word is the beginning of a variable, no block.

Rules: never raises on bad input; what is wrong ends the text there, with a place.
"""

from __future__ import annotations

from dataclasses import dataclass

from vestibule.model.diagnostic import Span

_BLANK = " \t\r\n"
_ESCAPES = {'"': '"', "'": "'", "\\": "\\", "t": "\t", "r": "\r", "n": "\n"}


@dataclass(frozen=True, slots=True)
class Word:
    """One word, unquoted. ``mark`` is ``{``, ``}`` or ``;`` where it is that instead."""

    text: str
    span: Span
    mark: str = ""
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Broken:
    """Where and why a text could not be read further."""

    span: Span
    message: str
    hint: str = ""


class Lexer:
    """Cuts one text into words."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._text = text.removeprefix("\ufeff")
        self._at = 0
        self._line = 1
        self._line_at = 0
        self.broken: Broken | None = None

    def words(self) -> list[Word]:
        """Return all words up to the end, or up to what is broken."""
        found: list[Word] = []
        while self._skip():
            char = self._text[self._at]
            span = self._span()
            if char in "{};":
                self._step()
                found.append(Word(char, span, char))
                continue
            word = self._quoted(char, span) if char in "\"'" else self._plain(span)
            if word is None:
                break
            found.append(word)
        return found

    def _span(self) -> Span:
        return Span(self._file, self._line, self._at - self._line_at + 1)

    def _step(self) -> None:
        if self._text[self._at] == "\n":
            self._line += 1
            self._line_at = self._at + 1
        self._at += 1

    def _skip(self) -> bool:
        """Go past blanks and comments; tell whether anything follows."""
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == "#":
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            elif char in _BLANK:
                self._step()
            else:
                return True
        return False

    def _escape(self) -> str:
        """Take a backslash with what follows it."""
        self._step()
        if self._at >= len(self._text):
            return "\\"
        char = self._text[self._at]
        self._step()
        return _ESCAPES.get(char, "\\" + char)

    def _quoted(self, quote: str, span: Span) -> Word | None:
        self._step()
        parts: list[str] = []
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == "\\":
                parts.append(self._escape())
                continue
            self._step()
            if char == quote:
                return self._closed("".join(parts), quote, span)
            parts.append(char)
        self.broken = Broken(span, f"the quote `{quote}` is never closed", "close it, or escape it with `\\`")
        return None

    def _closed(self, text: str, quote: str, span: Span) -> Word | None:
        """Check what follows the closing quote."""
        after = self._text[self._at : self._at + 1]
        if after and after not in _BLANK + ";{)":
            message = f"`{after}` stands right after the closing `{quote}`"
            self.broken = Broken(self._span(), message, "leave a blank between words, or quote the whole word")
            return None
        if after == ")":  # the end of a condition: if ($a = "b")
            text += ")"
            self._step()
        return Word(text, span, quoted=True)

    def _plain(self, span: Span) -> Word:
        parts: list[str] = []
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == "\\":
                parts.append(self._escape())
                continue
            if char in _BLANK or char == ";":
                break
            if char == "{" and (not parts or parts[-1] != "$"):
                break
            self._step()
            parts.append(char)
        return Word("".join(parts), span)
