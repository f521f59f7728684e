"""Lines of a haproxy.cfg as words.

Facts (HAProxy configuration manual, chapters 2.2 and 2.3): words are separated by blanks and tabs; ``#`` starts a
comment; a backslash takes the meaning of a blank, ``#``, a quote or a backslash away and makes ``\\n \\r \\t \\xHH``;
within "weak" quotes backslashes work and ``$NAME`` is a variable of the environment, ``${NAME-text}`` with what stands for it
where there is none; within 'strong' quotes nothing has
a meaning. Quotes may begin in the middle of a word. Addresses (of ``bind``, ``server``, ``log`` …) have variables also without quotes.

Rules: an unknown escape stays as it is, since regular expressions are full of them. A line that cannot be read is a
mistake and is left out.

Not here: what the words mean (``tree``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from vestibule.dialects.haproxy.condition import ConditionError, holds
from vestibule.dialects.haproxy.report import Report
from vestibule.model.diagnostic import Span

_PLAIN_ESCAPES = " \\#\"'"
_LETTER_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_HEX = re.compile(r"x([0-9A-Fa-f]{2})")
_VARIABLE = re.compile(r"\$(?:\{[^}]*\}|[A-Za-z_][A-Za-z0-9_]*)")

_ADDRESSES = {"bind": 1, "log": 1, "dispatch": 1, "source": 1, "server": 2, "server-template": 3, "nameserver": 2, "peer": 2}
"""Which word of a line is an address."""

_ADDRESS_OPTIONS = ("addr", "agent-addr")


@dataclass(frozen=True, slots=True)
class Word:
    """One word without its quotes, and the column it begins in."""

    text: str
    column: int
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """The words of one line, at least one, and where it stands."""

    file: str
    number: int
    words: tuple[Word, ...]

    def text(self, at: int) -> str:
        """Return a word by its index, or nothing where the line is shorter."""
        return self.words[at].text if at < len(self.words) else ""

    def texts(self, first: int = 0) -> list[str]:
        """Return the words from an index on."""
        return [word.text for word in self.words[first:]]


class _Broken(Exception):
    """A line that cannot be read: the column, what is wrong and how to mend it."""

    def __init__(self, column: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.column = column
        self.message = message
        self.hint = hint


def read_lines(file: str, text: str, report: Report, environment: Mapping[str, str] | None = None) -> list[Line]:
    """Return the lines that hold words and whose ``.if`` holds. Without an environment, variables of it are a mistake."""
    lines: list[Line] = []
    blocks = _Blocks(file, report, environment or {})
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if blocks.takes(number, raw) or blocks.hidden:
            continue
        try:
            words = _words(raw.rstrip("\r"), environment)
        except _Broken as bad:
            report.record.error(Span(file, number, bad.column), "syntax", bad.message, bad.hint)
            continue
        if words:
            lines.append(Line(file, number, tuple(words)))
    blocks.end()
    return lines


class _Blocks:
    """The ``.if`` blocks of one file: which of them hold, and so which lines are read."""

    def __init__(self, file: str, report: Report, environment: Mapping[str, str]) -> None:
        self._file = file
        self._report = report
        self._environment = environment
        # For each open block: where it began, whether its part here is read, and whether one before was.
        self._open: list[tuple[int, bool, bool]] = []

    @property
    def hidden(self) -> bool:
        """Whether lines here are left out."""
        return any(not reads for _, reads, _ in self._open)

    def takes(self, number: int, raw: str) -> bool:
        """Tell whether a line is one of these, and act on it."""
        name, _, rest = raw.strip().partition(" ")
        if not name.startswith("."):
            return False
        if name == ".if":
            reads = not self.hidden and self._holds(number, rest)
            self._open.append((number, reads, reads))
        elif name in (".elif", ".else", ".endif"):
            if not self._open:
                self._wrong(number, f"`{name}` without an `.if`")
                return True
            at, _, done = self._open.pop()
            if name != ".endif":
                reads = not done and not self.hidden and (name == ".else" or self._holds(number, rest))
                self._open.append((at, reads, done or reads))
        elif name in (".notice", ".warning", ".diag", ".alert"):
            if name in (".warning", ".alert") and not self.hidden:
                self._say(number, name == ".alert", rest.strip().strip("\"'"))
        else:
            self._wrong(number, f"`{name}` is unknown")
        return True

    def end(self) -> None:
        """Tell of a block that is never closed."""
        for at, _, _ in self._open:
            self._wrong(at, "this `.if` has no `.endif`")

    def _holds(self, number: int, text: str) -> bool:
        try:
            return holds(text.partition("#")[0].strip(), self._environment)
        except ConditionError as bad:
            self._wrong(number, str(bad))
            return False

    def _wrong(self, number: int, message: str) -> None:
        self._report.record.error(Span(self._file, number, 1), "condition", message)

    def _say(self, number: int, fatal: bool, text: str) -> None:
        if fatal:
            self._report.record.error(Span(self._file, number, 1), "alert", text)
        else:
            self._report.record.warning(Span(self._file, number, 1), "warning", text)


def _words(raw: str, environment: Mapping[str, str] | None) -> list[Word]:
    """Split one line."""
    words: list[Word] = []
    at = 0
    while at < len(raw):
        if raw[at] in " \t":
            at += 1
        elif raw[at] == "#":
            break
        else:
            word, at = _word(raw, at, environment)
            words.append(word)
    for index, word in enumerate(words):
        if "$" in word.text and not word.quoted and _is_address(words, index):
            words[index] = replace(word, text=_with_variables(word, environment))
    return words


def _with_variables(word: Word, environment: Mapping[str, str] | None) -> str:
    return _VARIABLE.sub(lambda found: _variable(found[0], word.column - 1 + found.start(), environment), word.text)


def _is_address(words: list[Word], index: int) -> bool:
    """Tell whether a word of a line is an address."""
    return _ADDRESSES.get(words[0].text) == index or (words[0].text == "server" and words[index - 1].text in _ADDRESS_OPTIONS)


def _word(raw: str, start: int, environment: Mapping[str, str] | None) -> tuple[Word, int]:
    """Read the word that begins at ``start`` and return it with the index behind it."""
    parts: list[str] = []
    at = start
    quote = ""
    quoted = False
    while at < len(raw):
        char = raw[at]
        if quote == "'":
            if char == "'":
                quote = ""
            else:
                parts.append(char)
            at += 1
        elif quote and raw.startswith("\\$", at):
            # Otherwise a variable of the environment would begin.
            parts.append("$")
            at += 2
        elif char == "\\":
            piece, at = _escape(raw, at)
            parts.append(piece)
        elif char == '"' or (char == "'" and not quote):
            quote = "" if quote else char
            quoted = True
            at += 1
        elif char == "$" and quote and (found := _VARIABLE.match(raw, at)):
            parts.append(_variable(found[0], at, environment))
            at = found.end()
        elif not quote and char in " \t#":
            break
        else:
            parts.append(char)
            at += 1
    if quote:
        raise _Broken(start + 1, f"the quote {quote} is never closed", f"end the word with {quote}")
    return Word("".join(parts), start + 1, quoted), at


def _variable(text: str, at: int, environment: Mapping[str, str] | None) -> str:
    """Return what a variable of the environment stands for."""
    if environment is None:
        raise _Broken(at + 1, f"the environment variable `{text}` is not read", "write its value")
    name, dash, default = text[1:].strip("{}").partition("-")
    value = environment.get(name, "")
    return value or (default if dash else "")


def _escape(raw: str, at: int) -> tuple[str, int]:
    """Read what follows a backslash and return it with the index behind it."""
    after = raw[at + 1 : at + 2]
    if after and after in _PLAIN_ESCAPES:
        return after, at + 2
    if after in _LETTER_ESCAPES:
        return _LETTER_ESCAPES[after], at + 2
    if after == "x":
        found = _HEX.match(raw, at + 1)
        if found is None:
            raise _Broken(at + 1, "`\\x` needs two hexadecimal digits")
        # A byte above 127 alone is no UTF-8; the model carries it as a surrogate.
        return bytes([int(found[1], 16)]).decode("utf-8", "surrogateescape"), at + 4
    return "\\", at + 1
