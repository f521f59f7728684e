"""A Caddyfile as `caddy fmt` writes it.

Facts: blocks are indented by tabs; one blank stands between tokens, and at most one empty line between others. What
stands in quotes, in a heredoc and in a comment stays as it is.

Not here: what tokens mean (``lexer``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_HEREDOC = re.compile(r"<<([A-Za-z0-9_-]+)\Z")


@dataclass(slots=True)
class _Line:
    """The tokens of a line as they were written, and how many empty lines stand before it."""

    tokens: list[str] = field(default_factory=list)
    empty: int = 0
    goes_on: bool = False
    """Whether it is the rest of the line before."""


def formatted(text: str) -> str:
    """Return a Caddyfile in Caddy's usual form. What is never closed is left as it is."""
    out: list[str] = []
    depth = 0
    opened = False
    for line in _lines(text.replace("\r\n", "\n").rstrip()):
        closes = line.tokens[0] == "}"
        if closes:
            depth = max(depth - 1, 0)
        if out and not opened and not closes and line.empty:
            out.append("")
        inner = depth + 1 if line.goes_on else depth
        out.append("\t" * inner + " ".join(line.tokens))
        opened = line.tokens[-1] == "{"
        depth += opened
    return "\n".join(out) + "\n" if out else ""


def _lines(text: str) -> list[_Line]:
    """Take a text into lines of raw tokens."""
    lines: list[_Line] = []
    line = _Line()
    at = 0
    while at < len(text):
        char = text[at]
        if char == "\n":
            if line.tokens:
                lines.append(line)
                line = _Line()
            else:
                line.empty += 1
            at += 1
        elif char in " \t\r":
            at += 1
        elif text.startswith("\\\n", at):
            line.tokens.append("\\")
            lines.append(line)
            line = _Line(goes_on=True)
            at += 2
        else:
            end = _end(text, at)
            line.tokens.append(text[at:end].rstrip() if char == "#" else text[at:end])
            at = end
    if line.tokens:
        lines.append(line)
    return lines


def _end(text: str, at: int) -> int:
    """Return where the token that begins here ends."""
    char = text[at]
    if char == "#":
        end = text.find("\n", at)
        return len(text) if end < 0 else end
    if char in '"`':
        end = at + 1
        while end < len(text) and text[end] != char:
            end += 2 if text[end] == "\\" and char == '"' else 1
        at = min(end + 1, len(text))
    while at < len(text) and text[at] not in " \t\r\n" and not text.startswith("\\\n", at):
        at += 1
    start = max(text.rfind(" ", 0, at), text.rfind("\t", 0, at), text.rfind("\n", 0, at)) + 1
    heredoc = _HEREDOC.match(text[start:at])
    if heredoc is not None and text[at : at + 1] == "\n":
        closing = re.compile(rf"^[ \t]*{re.escape(heredoc[1])}(?=\s|\Z)", re.MULTILINE).search(text, at)
        return closing.end() if closing is not None else len(text)
    return at
