"""A configuration in JSON as lines of a Caddyfile, the ground that its readers stand on.

Facts: Caddy's own form is JSON (Caddy's documentation, "JSON Config Structure"); a Caddyfile is made into it, and its directives
are handlers there, one for one but for a few. Durations are texts such as `5s` or whole nanoseconds.

Rules: every part of the document is read, or is an error that names its place (`apps.http.servers.srv0.routes[0]`), or a warning
that says why it does no harm. What is read becomes the lines that a Caddyfile would have, so that there is one meaning of each.

Not here: routes and handlers (``handlers``), servers and certificates (``apps``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from vestibule.dialects.caddy.lexer import Token
from vestibule.dialects.caddy.report import Report
from vestibule.dialects.caddy.tree import Segment
from vestibule.model.diagnostic import Span

_BEGIN = re.compile(r'\s*\{\s*(?:"|\}\s*\Z)')
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


def is_json(text: str) -> bool:
    """Tell whether a configuration is in JSON; one of global options begins otherwise."""
    return _BEGIN.match(text) is not None


def below(path: str, key: str | int) -> str:
    """Return the place of an item of a list, or of what stands under a key."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    step = key if _PLAIN.fullmatch(key) else json.dumps(key)
    return f"{path}.{step}" if path else step


class Document:
    """One configuration in JSON: takes it apart with its places, and makes lines of a Caddyfile of it."""

    def __init__(self, name: str, report: Report) -> None:
        self._name = name
        self._report = report

    def parse(self, text: str) -> dict[str, object]:
        """Return the whole of it; nothing, noted, where it is no JSON."""
        try:
            found = json.loads(text)
            if "\\ud" in text.lower():
                # Half a surrogate pair is no character; Go reads U+FFFD.
                whole = json.dumps(found, ensure_ascii=False).encode("utf-16", "surrogatepass")
                found = json.loads(whole.decode("utf-16", "replace"))
            return self.table(found, "")
        except json.JSONDecodeError as bad:
            self._report.record.error(Span(self._name, bad.lineno, bad.colno), "syntax", f"this is no JSON: {bad.msg}")
        except RecursionError:
            self._report.record.error(Span(self._name), "too-deep", "this JSON is nested too deeply")
        return {}

    # ------------------------------------------------------------ taking apart

    def table(self, value: object, path: str) -> dict[str, object]:
        """Return an object by its keys; empty, noted, if it is none. What is null is as good as not there."""
        if isinstance(value, dict):
            return {str(key): each for key, each in value.items() if each is not None}
        if value is not None:
            self.wrong(path, "an object is expected here")
        return {}

    def items(self, value: object, path: str) -> list[tuple[str, object]]:
        """Return the items of a list with their places; none, noted, if it is no list."""
        if isinstance(value, list):
            return [(below(path, at), each) for at, each in enumerate(value)]
        if value is not None:
            self.wrong(path, "a list is expected here")
        return []

    def entries(self, value: object, path: str) -> list[tuple[str, str, object]]:
        """Return what an object has: places, keys and values."""
        return [(below(path, key), key, each) for key, each in self.table(value, path).items()]

    def text(self, value: object, path: str) -> str:
        """Return a text, or a number or a truth as a text."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, (str, int)):
            return str(value)
        if isinstance(value, float) and value.is_integer():
            return str(int(value))
        if value is not None:
            self.wrong(path, "a text is expected here")
        return ""

    def texts(self, value: object, path: str) -> list[str]:
        """Return the texts of a list; one alone counts as a list."""
        if isinstance(value, str):
            return [value]
        return [self.text(each, place) for place, each in self.items(value, path)]

    def duration(self, value: object, path: str) -> str:
        """Return a duration as a Caddyfile has it."""
        return f"{value}ns" if isinstance(value, int) and not isinstance(value, bool) else self.text(value, path)

    def wrong(self, path: str, message: str, hint: str = "") -> None:
        """Note a mistake."""
        self._report.record.error(self.span(path), "syntax", message, hint)

    def not_built(self, path: str, what: str, hint: str = "leave it out") -> None:
        """Note what Caddy knows and vestibule does not do."""
        self._report.not_built(self._token(path, what), what, hint)

    def left_out(self, path: str, why: str) -> None:
        """Note what is left out and does no harm."""
        self._report.left_out(self._token(path, ""), f"`{path.rpartition('.')[2]}`", why)

    def rest(self, value: dict[str, object], path: str, known: Iterable[str], harmless: dict[str, str] | None = None) -> None:
        """Note the keys of an object that nobody reads; of some, why that does no harm."""
        taken = set(known)
        for key in value:
            if key in taken:
                continue
            if harmless is not None and key in harmless:
                self.left_out(below(path, key), harmless[key])
            else:
                self.not_built(below(path, key), f"`{key}` here")

    # ------------------------------------------------------------ lines

    def span(self, path: str) -> Span:
        """Return a place as messages show it."""
        return Span(self._name, key=path)

    def _token(self, path: str, text: str, fresh: bool = False, quoted: bool = False) -> Token:
        return Token(text, self.span(path), fresh, quoted)

    def key(self, path: str, text: str) -> Token:
        """Return the address of a site."""
        return self._token(path, text, fresh=True)

    def line(self, path: str, *words: str, block: Sequence[Segment] | None = None) -> Segment:
        """Return a line of a Caddyfile: a name and its arguments, and a block where there is one."""
        first, *others = words
        tokens = (self._token(path, first, fresh=True), *[self._token(path, word, quoted=True) for word in others])
        return Segment(tokens, None if block is None else tuple(block))

    def matched(self, path: str, name: str, matcher: str, *words: str, block: Sequence[Segment] | None = None) -> Segment:
        """Return a directive under a matcher, which may be none."""
        segment = self.line(path, name, *words, block=block)
        if not matcher:
            return segment
        return Segment((segment.tokens[0], self._token(path, matcher), *segment.tokens[1:]), segment.block)
