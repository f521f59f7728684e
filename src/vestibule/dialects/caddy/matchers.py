"""Matchers of Caddy as tests of the model.

Facts (Caddy's documentation, "Request matchers"): ``*`` is any request, ``/path`` a path, ``@name`` a set declared in the
site. Different matchers of a set must all hold; of the values of one, any. Paths are compared decoded and without regard
to case; ``*`` at an end stands for anything.

Not here: placeholders, order of directives (``flow``).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

from vestibule.dialects.caddy.lexer import Token
from vestibule.dialects.caddy.placeholders import State, Unreadable, text_expr
from vestibule.dialects.caddy.report import Report, near
from vestibule.dialects.caddy.tree import Segment
from vestibule.model.config import PathMatch
from vestibule.model.expr import AllOf, AnyOf, Compare, Const, Expr, InNet, InSet, Match, Not, Var

PRIVATE_RANGES = ("192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/8", "127.0.0.0/8", "fd00::/8", "::1/128")
"""What ``private_ranges`` stands for."""

KINDS = ("path", "path_regexp", "host", "method", "header", "header_regexp", "query", "protocol", "remote_ip", "client_ip", "not", "vars")
_UNBUILT = ("expression", "file", "vars_regexp", "tls")


@dataclass(frozen=True, slots=True)
class Matcher:
    """A test, with the single path it is about if it is about no more, for the order of directives."""

    test: Expr | None = None
    path: str = ""
    """The pattern of the only path, as written; empty where there are more or other conditions."""

    def as_path(self) -> PathMatch | None:
        """Return the test as a condition on the path, where it is one."""
        return path_match(self.path) if self.path else None


ANY = Matcher()


def networks(words: list[str]) -> tuple[str, ...]:
    """Read addresses and networks. Raises ``Unreadable``."""
    found: list[str] = []
    for word in words:
        if word == "private_ranges":
            found.extend(PRIVATE_RANGES)
            continue
        try:
            found.append(str(ipaddress.ip_network(word.partition("%")[0], strict=False)))
        except ValueError:
            raise Unreadable(
                "bad-network", f"`{word}` is neither an address nor a network", "write `10.0.0.0/8` or `private_ranges`"
            ) from None
    return tuple(found)


class Matchers:
    """The named matchers of a site, and how tokens become tests."""

    def __init__(self, segments: tuple[Segment, ...], report: Report) -> None:
        self._report = report
        self._named: dict[str, Segment] = {}
        for segment in segments:
            if segment.name.startswith("@"):
                if segment.name in self._named:
                    report.error(segment.head, "duplicate-name", f"the matcher `{segment.name}` is here already")
                self._named[segment.name] = segment

    def inner(self, segments: tuple[Segment, ...]) -> Matchers:
        """Return the matchers that hold in a block: those around it, and its own."""
        found = Matchers(segments, self._report)
        found._named = {**self._named, **found._named}
        return found

    def take(self, segment: Segment, state: State) -> tuple[Matcher | None, int]:
        """Read the matcher of a directive: its test, or None, noted, and the index of the first token after it."""
        if len(segment.tokens) < 2:
            return ANY, 1
        token = segment.tokens[1]
        if token.text == "*":
            return ANY, 2
        if token.text.startswith("@"):
            return self._by_name(token, state), 2
        # With one argument, `rewrite` has a target and no matcher.
        if token.text.startswith("/") and not (segment.name == "rewrite" and len(segment.tokens) == 2):
            try:
                return Matcher(path_test(token.text), token.text), 2
            except Unreadable as bad:
                self._report.error(token, bad.code, bad.message, bad.hint)
                return None, 2
        return ANY, 1

    def _by_name(self, token: Token, state: State) -> Matcher | None:
        segment = self._named.get(token.text)
        if segment is None:
            hint = near(token.text, list(self._named))
            self._report.error(token, "unknown-reference", f"there is no matcher `{token.text}`", hint)
            return None
        return self.read(segment, state)

    def path_of(self, segment: Segment) -> str:
        """Return the only path a directive is about, for the order of directives; empty where there is none."""
        text = segment.tokens[1].text if len(segment.tokens) > 1 else ""
        named = self._named.get(text)
        if named is None:
            return text if text.startswith("/") else ""
        lines = [named.texts()] if len(named.tokens) > 1 else [inner.texts(0) for inner in named.inside()]
        return lines[0][1] if len(lines) == 1 and len(lines[0]) == 2 and lines[0][0] == "path" else ""

    def has_one(self, segment: Segment) -> bool:
        """Tell whether a directive has a matcher other than that for any request."""
        text = segment.tokens[1].text if len(segment.tokens) > 1 else ""
        return text.startswith(("@", "/"))

    def patterns(self) -> dict[str, tuple[Expr, str]]:
        """Return the regular expressions of named matchers by name; those without one have the matcher's, without ``@``."""
        found: dict[str, tuple[Expr, str]] = {}
        for segment in self._named.values():
            lines = [segment.texts()] if len(segment.tokens) > 1 else [inner.texts(0) for inner in segment.inside()]
            for words in lines:
                if words[:1] == ["path_regexp"] and len(words) in (2, 3):
                    found[words[1] if len(words) == 3 else segment.name[1:]] = (Var("decoded_path"), words[-1])
                elif words[:1] == ["header_regexp"] and len(words) in (3, 4):
                    found[words[1] if len(words) == 4 else segment.name[1:]] = (Var("header", words[-2].lower()), words[-1])
        return found

    def check(self, state: State) -> None:
        """Read every named matcher, so that their mistakes are told even if nobody uses them."""
        for segment in self._named.values():
            self.read(segment, state)

    def read(self, segment: Segment, state: State) -> Matcher | None:
        """Read the set that a named matcher declares; None, noted, after a mistake."""
        lines: list[tuple[Token, list[str], Segment | None]] = []
        if len(segment.tokens) > 1:
            # On one line, a text in quotes or backticks is an expression.
            lines.append((segment.tokens[1], segment.texts(2), segment))
        elif segment.block is not None:
            lines.extend([(inner.head, inner.texts(), inner) for inner in segment.block])
        else:
            self._report.error(segment.head, "missing", f"the matcher `{segment.name}` says nothing")
            return None
        return self._set(lines, state, in_line=len(segment.tokens) > 1)

    def _set(self, lines: list[tuple[Token, list[str], Segment | None]], state: State, in_line: bool) -> Matcher | None:
        """Read lines that must all hold; lines of one kind are alternatives, but for ``not``."""
        groups: dict[str, list[Expr]] = {}
        order: list[str] = []
        paths: list[str] = []
        for number, (token, words, segment) in enumerate(lines):
            if in_line and token.quoted:
                self._report.not_built(token, "expressions as matchers", "use `path`, `header` and the like")
                return None
            test = self._one(token, words, segment, in_line, state)
            if test is None:
                return None
            if token.text == "path":
                paths.extend(words)
            # Two lines of `header` or `not` must both hold; of the others, either.
            key = f"{token.text} {number}" if token.text in ("not", "header", "header_regexp", "query", "vars") else token.text
            if token.text in ("header", "query") and words:
                key = f"{token.text} {words[0].lower()}"
            if key not in groups:
                order.append(key)
            groups.setdefault(key, []).append(test)
        tests = [_joined(groups[key], AnyOf) for key in order]
        only = paths[0] if len(paths) == 1 and len(order) == 1 else ""
        return Matcher(_joined(tests, AllOf), only)

    def _one(self, token: Token, words: list[str], segment: Segment | None, in_line: bool, state: State) -> Expr | None:
        kind = token.text
        try:
            if kind == "not":
                return self._not(token, words, segment, in_line, state)
            if kind in KINDS:
                return self._test(kind, words, state)
        except Unreadable as bad:
            self._report.error(token, bad.code, bad.message, bad.hint)
            return None
        if kind in _UNBUILT:
            self._report.not_built(token, f"the matcher `{kind}`")
        else:
            self._report.error(token, "unknown-matcher", f"there is no matcher `{kind}`", near(kind, KINDS))
        return None

    def _not(self, token: Token, words: list[str], segment: Segment | None, in_line: bool, state: State) -> Expr | None:
        """``not`` before one matcher, or before a block of them that must not all hold."""
        if words and segment is not None:
            first = 2 if in_line else 1
            inner = segment.tokens[first]
            found = self._set([(inner, words[1:], None)], state, in_line=False)
        elif segment is not None and segment.block:
            found = self._set([(inner.head, inner.texts(), inner) for inner in segment.block], state, in_line=False)
        else:
            raise Unreadable("missing", "`not` needs a matcher")
        if found is None or found.test is None:
            return None
        return found.test.test if isinstance(found.test, Not) else Not(found.test)

    @staticmethod
    def _test(kind: str, words: list[str], state: State) -> Expr:
        """Return the test of a matcher that has no block. Raises ``Unreadable``."""
        if not words:
            raise Unreadable("missing", f"the matcher `{kind}` needs a value")
        if kind == "path":
            return _joined([path_test(word) for word in words], AnyOf)
        if kind in ("path_regexp", "header_regexp"):
            return _regexp(kind, words, state)
        if kind == "host":
            return _hosts(words)
        if kind == "method":
            return InSet(Var("method"), tuple([word.upper() for word in words]))
        if kind == "protocol":
            return _protocol(words)
        if kind in ("remote_ip", "client_ip"):
            forwarded = kind == "remote_ip" and words[0] == "forwarded"
            subject = Var("client_ip") if kind == "client_ip" or forwarded else Var("peer_ip")
            return InNet(subject, networks(words[1:] if forwarded else words))
        if kind == "header":
            return _header(words, state)
        if kind == "query":
            return _query(words)
        return InSet(text_expr(words[0] if "{" in words[0] else f"{{vars.{words[0]}}}", state), tuple(words[1:]))


def _joined(tests: list[Expr], how: Callable[[tuple[Expr, ...]], Expr]) -> Expr:
    return tests[0] if len(tests) == 1 else how(tuple(tests))


# ---------------------------------------------------------------- single matchers


def path_match(pattern: str) -> PathMatch | None:
    """Return the condition of the model for one path, where it can say it; None is any path."""
    if pattern in ("*", "/*"):
        return None
    plain = pattern.removesuffix("*")
    if "*" not in plain and plain.lower() == plain.upper() and plain.startswith("/"):
        return PathMatch("prefix" if pattern.endswith("*") else "exact", plain)
    return PathMatch("regex", path_pattern(pattern), ignore_case=True)


def path_pattern(pattern: str) -> str:
    """Return the regular expression of a path: ``*`` at the ends is anything, within it anything but a slash."""
    if pattern.endswith("*") and "*" not in pattern[:-1]:
        return "^" + re.escape(pattern[:-1])
    if pattern.startswith("*") and "*" not in pattern[1:]:
        return re.escape(pattern[1:]) + r"\Z"
    if pattern.startswith("*") and pattern.endswith("*") and "*" not in pattern[1:-1]:
        return re.escape(pattern[1:-1])
    return "^" + "[^/]*".join([re.escape(part) for part in pattern.split("*")]) + r"\Z"


def path_test(pattern: str) -> Expr:
    """Return the test of one path."""
    if "{" in pattern:
        raise Unreadable("not-built", "placeholders in a path: not built yet")
    if pattern in ("*", "/*"):
        return Const(True)
    return Match(path_pattern(pattern), Var("decoded_path"), ignore_case=True)


def _regexp(kind: str, words: list[str], state: State) -> Expr:
    wanted = 1 if kind == "path_regexp" else 2
    if len(words) not in (wanted, wanted + 1):
        raise Unreadable("syntax", f"`{kind}` takes a name, which may be left out, and a regular expression")
    pattern = words[-1]
    if kind == "path_regexp":
        return Match(pattern, Var("decoded_path"))
    return Match(pattern, text_expr(f"{{header.{words[-2]}}}", state))


def _hosts(words: list[str]) -> Expr:
    plain = tuple([word.lower() for word in words if "*" not in word and "{" not in word])
    tests: list[Expr] = [InSet(Var("host"), plain)] if plain else []
    for word in words:
        if "{" in word:
            raise Unreadable("not-built", "placeholders in a host: not built yet")
        if "*" in word:
            tests.append(Match("^" + r"[^.]+".join([re.escape(part) for part in word.lower().split("*")]) + r"\Z", Var("host")))
    return _joined(tests, AnyOf)


def _protocol(words: list[str]) -> Expr:
    word = words[0]
    if word == "https":
        return Var("tls")
    if word == "http":
        return Not(Var("tls"))
    names = {"http/1.0": "HTTP/1.0", "http/1.1": "HTTP/1.1", "http/2": "HTTP/2", "http/3": "HTTP/3", "http/1": "HTTP/1.1"}
    if word not in names:
        raise Unreadable("bad-value", f"`{word}` is no protocol", near(word, ["http", "https", *names]))
    return Compare("==", Var("protocol"), Const(names[word]))


def _header(words: list[str], state: State) -> Expr:
    """``header Name value``, with ``*`` at the ends; ``Name`` alone is any value, ``!Name`` no field."""
    name = words[0]
    if name.startswith("!"):
        return Compare("==", text_expr(f"{{header.{name[1:]}}}", state), Const(""))
    subject: Expr = Var("host_port") if name.lower() == "host" else text_expr(f"{{header.{name}}}", state)
    if len(words) == 1 or words[1] == "*":
        return Compare("!=", subject, Const(""))
    value = words[1]
    if "{" in value:
        raise Unreadable("not-built", "placeholders in the value of a matcher: not built yet")
    if value.startswith("*") and value.endswith("*"):
        return Match(re.escape(value[1:-1]), subject)
    if value.startswith("*"):
        return Match(re.escape(value[1:]) + r"\Z", subject)
    if value.endswith("*"):
        return Match("^" + re.escape(value[:-1]), subject)
    return InSet(subject, (value,))


def _query(words: list[str]) -> Expr:
    """``query name=value``, ``name=*`` for any value; an empty text for no query."""
    tests: list[Expr] = []
    for word in words:
        if word == "":
            tests.append(Compare("==", Var("query"), Const("")))
            continue
        name, mark, value = word.partition("=")
        if not mark:
            raise Unreadable("syntax", f"`{word}` has no `=`", "write `query name=value` or `query name=*`")
        if value == "*":
            tests.append(Match("(?:^|&)" + re.escape(name) + "(?:=|&|\\Z)", Var("query")))
        else:
            tests.append(InSet(Var("arg", name), (value,)))
    return _joined(tests, AnyOf)
