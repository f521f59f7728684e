"""Tokens of a Caddyfile.

Facts (Caddy's documentation, "Caddyfile Concepts"): tokens are separated by blanks; a quote or a backtick at the
beginning of a token lets it hold blanks and line ends, ``\\"`` is a quote within quotes; ``#`` at the beginning of a token
starts a comment; a backslash at the end of a line joins the next; ``<<MARK`` begins a text of several lines. ``{$NAME}``
and ``{$NAME:default}`` are variables of the environment, put in before anything is read.

Rules: where the environment is not known, a default is used, with a warning.

Not here: blocks and imports (``tree``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from vestibule.dialects.record import Record
from vestibule.model.diagnostic import Span

_ENVIRONMENT = re.compile(r"\{\$([A-Za-z_][A-Za-z0-9_]*)(:[^}\n]*)?\}")
_HEREDOC = re.compile(r"<<([A-Za-z0-9_-]+)[ \t]*$")


@dataclass(frozen=True, slots=True)
class Token:
    """One token without its quotes. ``fresh`` says that it is the first of its line."""

    text: str
    span: Span
    fresh: bool
    quoted: bool = False
    quote: str = ""

    @property
    def raw(self) -> str:
        """The text as it was written, in its quotes."""
        escaped = self.text.replace('"', '\\"') if self.quote == '"' else self.text
        return f"{self.quote}{escaped}{self.quote}"

    @property
    def opens(self) -> bool:
        """Whether this begins a block."""
        return self.text == "{" and not self.quoted

    @property
    def closes(self) -> bool:
        """Whether this ends a block."""
        return self.text == "}" and not self.quoted


def read_tokens(file: str, text: str, record: Record, environment: Mapping[str, str] | None = None) -> list[Token]:
    """Return all tokens of a text; what cannot be read is noted."""
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n")
    return _Lexer(file, _put_environment(file, plain, record, environment), record).run()


def _put_environment(file: str, text: str, record: Record, environment: Mapping[str, str] | None) -> str:
    def put(found: re.Match[str]) -> str:
        line = text.count("\n", 0, found.start()) + 1
        span = Span(file, line, found.start() - (text.rfind("\n", 0, found.start()) + 1) + 1)
        if text[text.rfind("\n", 0, found.start()) + 1 : found.start()].lstrip().startswith("#"):
            return found[0]
        name = found[1]
        if environment is not None and environment.get(name):
            return environment[name]
        if found[2] is not None:
            if environment is None:
                record.warning(span, "environment", f"the environment variable `{name}` is not read", "its default is used")
            return found[2][1:]
        if environment is None:
            record.error(span, "environment", f"the environment variable `{name}` is not read", "write its value")
        else:
            record.warning(span, "environment", f"the environment variable `{name}` is not set", f"write `{{${name}:DEFAULT}}` or set it")
        return ""

    return _ENVIRONMENT.sub(put, text)


class _Lexer:
    """Reads one text; used once."""

    def __init__(self, file: str, text: str, record: Record) -> None:
        self._file = file
        self._text = text
        self._record = record
        self._at = 0
        self._line = 1
        self._line_start = 0
        self._fresh = True

    def run(self) -> list[Token]:
        """Return the tokens."""
        tokens: list[Token] = []
        text = self._text
        while self._at < len(text):
            char = text[self._at]
            if char == "\n":
                self._newline()
            elif char in " \t\r":
                self._at += 1
            elif char == "\\" and text[self._at + 1 : self._at + 2] == "\n":
                fresh = self._fresh
                self._at += 1
                self._newline()
                self._fresh = fresh
            elif char == "#":
                end = text.find("\n", self._at)
                self._at = len(text) if end < 0 else end
            else:
                tokens.append(self._token(char))
                self._fresh = False
        return tokens

    def _newline(self) -> None:
        self._at += 1
        self._line += 1
        self._line_start = self._at
        self._fresh = True

    def _token(self, char: str) -> Token:
        span = Span(self._file, self._line, self._at - self._line_start + 1)
        if char in '"`':
            return Token(self._quoted(char, span), span, self._fresh, quoted=True, quote=char)
        end = self._text.find("\n", self._at)
        heredoc = _HEREDOC.match(self._text[self._at : len(self._text) if end < 0 else end])
        if heredoc is not None:
            return Token(self._heredoc(heredoc[1], span), span, self._fresh, quoted=True)
        start = self._at
        while self._at < len(self._text) and self._text[self._at] not in " \t\r\n":
            if self._text.startswith("\\\n", self._at):
                break
            self._at += 1
        return Token(self._text[start : self._at], span, self._fresh)

    def _quoted(self, quote: str, span: Span) -> str:
        parts: list[str] = []
        self._at += 1
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == quote:
                self._at += 1
                return "".join(parts)
            if char == "\\" and quote == '"' and self._text[self._at + 1 : self._at + 2] in ('"', "\\"):
                # A backslash before anything but a quote stays, and so does one before a backslash.
                parts.append('"' if self._text[self._at + 1] == '"' else "\\\\")
                self._at += 2
                continue
            parts.append(char)
            self._at += 1
            if char == "\n":
                self._line += 1
                self._line_start = self._at
        self._record.error(span, "syntax", f"the quote {quote} is never closed", f"end the token with {quote}")
        return "".join(parts)

    def _heredoc(self, mark: str, span: Span) -> str:
        """Read lines until one that begins with the mark; its indentation is taken off every line. The line goes on behind it."""
        lines: list[str] = []
        last = re.compile(rf"([ \t]*){re.escape(mark)}(?=\s|\Z)")
        end = self._text.find("\n", self._at)
        while 0 <= end < len(self._text):
            start = end + 1
            end = self._text.find("\n", start)
            line = self._text[start:] if end < 0 else self._text[start:end]
            closing = last.match(line)
            if closing is not None:
                self._line += len(lines) + 1
                self._line_start = start
                self._at = start + closing.end()
                return "\n".join([each.removeprefix(closing[1]) for each in lines])
            lines.append(line)
        self._record.error(span, "syntax", f"the text that begins with `<<{mark}` never ends", f"write `{mark}` on a line of its own")
        self._at = len(self._text)
        return ""
