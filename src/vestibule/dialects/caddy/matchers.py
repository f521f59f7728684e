"""Matchers of Caddy as tests of the model.

Facts (Caddy's documentation, "Request matchers"): ``*`` is any request, ``/path`` a path, ``@name`` a set declared in the
site. Different matchers of a set must all hold; of the values of one, any. Paths are compared decoded and without regard
to case; ``*`` at an end stands for anything.

Not here: placeholders, order of directives (``flow``).
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from vestibule.dialects.caddy.cel import read_expression
from vestibule.dialects.caddy.files import FileReader, first_found
from vestibule.dialects.caddy.lexer import Token
from vestibule.dialects.caddy.placeholders import State, spelt, text_expr
from vestibule.dialects.caddy.report import Report, near
from vestibule.dialects.caddy.tree import Segment
from vestibule.dialects.read import Unreadable
from vestibule.model.config import PathMatch
from vestibule.model.expr import AllOf, AnyOf, Call, Compare, Const, Expr, InNet, InSet, Match, Not, Var

PRIVATE_RANGES = ("192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/8", "127.0.0.0/8", "fd00::/8", "::1/128")
"""What ``private_ranges`` stands for."""

KINDS = (
    "path",
    "path_regexp",
    "host",
    "method",
    "header",
    "header_regexp",
    "query",
    "protocol",
    "remote_ip",
    "client_ip",
    "not",
    "vars",
    "vars_regexp",
    "expression",
    "tls",
    "file",
)

_VERSIONS = {"http/1.0": "HTTP/1.0", "http/1.1": "HTTP/1.1", "http/2": "HTTP/2.0", "http/3": ""}
"""Versions of HTTP, with what requests of them are called here; with ``+`` later ones count, too."""

_REGEXPS = {"path_regexp": 1, "header_regexp": 2, "vars_regexp": 2}
"""Matchers with a regular expression, and how many words they have without the name that may come first."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """A test, with the single path it is about if it is about no more, for the order of directives."""

    test: Expr | None = None
    path: str = ""
    """The pattern of the only path, as written; empty where there are more or other conditions."""
    found: Expr | None = None
    """The path that a matcher ``file`` found."""

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
        self._files = FileReader(report)
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
        if token.text.startswith("/") and not (segment.name in ("rewrite", "root") and len(segment.tokens) == 2):
            return self.by_path(token, _order_path(token.text), state), 2
        return ANY, 1

    def by_path(self, token: Token, path: str, state: State) -> Matcher | None:
        """Return the matcher of a path, which is `path` among others; None, noted, where it cannot be had."""
        try:
            return Matcher(path_test(token.text, state), path)
        except Unreadable as bad:
            self._report.error(token, bad.code, bad.message, bad.hint)
            return None

    def _by_name(self, token: Token, state: State) -> Matcher | None:
        segment = self._named.get(token.text)
        if segment is None:
            hint = near(token.text, list(self._named))
            self._report.error(token, "unknown-reference", f"there is no matcher `{token.text}`", hint)
            return None
        return self.read(segment, state)

    def path_of(self, segment: Segment) -> str:
        """Return the only path that a directive is for, whatever else its matcher asks; empty where there is none."""
        text = segment.tokens[1].text if len(segment.tokens) > 1 else ""
        named = self._named.get(text)
        if named is None:
            return text if text.startswith("/") else ""
        paths = [path for line in _lines(named) if line.name == "path" and not line.head.quoted for path in line.texts()]
        return paths[0] if len(paths) == 1 else ""

    def has_one(self, segment: Segment) -> bool:
        """Tell whether a directive has a matcher other than that for any request."""
        text = segment.tokens[1].text if len(segment.tokens) > 1 else ""
        return text.startswith(("@", "/"))

    def patterns(self) -> dict[str, tuple[Expr, str]]:
        """Return the regular expressions of named matchers by name; those without one have the matcher's, without ``@``."""
        found: dict[str, tuple[Expr, str]] = {}
        for segment in self._named.values():
            for line in _lines(segment):
                self._pattern(segment, line, found)
        return found

    @classmethod
    def _pattern(cls, segment: Segment, line: Segment, found: dict[str, tuple[Expr, str]]) -> None:
        """Note the regular expressions of one line of a named matcher, those in an expression too."""

        def note(kind: str, words: list[str], state: State) -> Expr:
            least = _REGEXPS.get(kind)
            if least is not None and len(words) in (least, least + 1):
                name = words[0] if len(words) > least else segment.name[1:]
                found[name] = (_subject(kind, words[-2:], state), words[-1])
            return Const(True)

        # What cannot be read is told where the matcher is.
        with contextlib.suppress(Unreadable):
            if line.head.quoted or line.name == "expression":
                read_expression(_expression_of(line), State(), note)
            else:
                note(line.name, line.texts(), State())

    def pattern_of(self, segment: Segment) -> str:
        """Return the name of the regular expression in the matcher of a directive; empty where there is none."""
        named = self._named.get(segment.tokens[1].text) if len(segment.tokens) > 1 else None
        found: dict[str, tuple[Expr, str]] = {}
        for line in _lines(named) if named is not None else ():
            self._pattern(segment if named is None else named, line, found)
        return next(iter(found), "")

    def check(self, state: State) -> None:
        """Read every named matcher, so that their mistakes are told even if nobody uses them."""
        for segment in self._named.values():
            self.read(segment, state)

    def read(self, segment: Segment, state: State) -> Matcher | None:
        """Read the set that a named matcher declares; None, noted, after a mistake."""
        lines = _lines(segment)
        if len(segment.tokens) < 2 and segment.block is None:
            self._report.error(segment.head, "missing", f"the matcher `{segment.name}` says nothing")
            return None
        return self._set(lines, state)

    def _set(self, lines: tuple[Segment, ...], state: State) -> Matcher | None:
        """Read lines that must all hold; lines of one kind are alternatives, but for some."""
        groups: dict[str, list[Expr]] = {}
        paths: list[str] = []
        found: Expr | None = None
        for number, line in enumerate(_single_pairs(lines)):
            test = self._one(line, state)
            if test is None:
                return None
            if line.name == "file" and isinstance(test, Compare):
                found = test.left
            if line.name == "path" and not line.head.quoted:
                paths.extend(line.texts())
            # Two lines of these must both hold; of the others, either.
            alone = line.head.quoted or line.name in ("not", "header_regexp", "expression")
            key = f"{line.name} {number}" if alone else line.name
            if line.name in ("header", "query") and len(line.tokens) > 1:
                key = f"{line.name} {line.token(1).text.partition('=')[0].lower()}"
            groups.setdefault(key, []).append(test)
        tests = [_joined(each, AnyOf) for each in groups.values()]
        only = _order_path(paths[0]) if len(paths) == 1 and len(groups) == 1 else ""
        return Matcher(_joined(tests, AllOf), only, found) if tests else ANY

    def _one(self, line: Segment, state: State) -> Expr | None:
        """Read one line; None, noted, if it cannot be had."""
        kind = line.name
        try:
            if line.head.quoted or kind == "expression":
                return read_expression(_expression_of(line), state, self._test)
            if kind == "not":
                return self._not(line, state)
            if kind == "file":
                return self._file(line, state)
            if kind in KINDS:
                return self._test(kind, line.texts(), state)
        except Unreadable as bad:
            self._report.error(line.head, bad.code, bad.message, bad.hint)
            return None
        self._report.error(line.head, "unknown-matcher", f"there is no matcher `{kind}`", near(kind, KINDS))
        return None

    def _file(self, line: Segment, state: State) -> Expr | None:
        """``file [PATH…]``, or a block with ``root``, ``try_files`` and ``try_policy``; None, noted, after a mistake."""
        tokens = line.tokens[1:]
        policy = ""
        for inner in line.inside():
            if inner.name == "root" and len(inner.tokens) == 2:
                state = replace(state, root=inner.token(1).text)
            elif inner.name == "try_files":
                tokens = (*tokens, *inner.tokens[1:])
            elif inner.name == "try_policy":
                policy = self._files.policy(inner)
            elif inner.name == "split_path":
                self._report.not_built(inner.head, "`split_path`", "leave it out; there is no FastCGI")
            else:
                known = ("root", "try_files", "try_policy")
                self._report.error(inner.head, "unknown-option", f"`{inner.name}` is unknown in `file`", near(inner.name, known))
        tokens = tokens or (replace(line.head, text="{path}"),)
        tries = self._files.read_tries(tokens, state, policy == "first_exist_fallback")
        if any(each.query is not None or each.status for each in tries):
            self._report.not_built(line.head, "a query or a status in a matcher `file`", "use `try_files`")
            return None
        if not tries:
            return None
        return _is_there(first_found(tries), state)

    def _not(self, line: Segment, state: State) -> Expr | None:
        """``not`` before one matcher, or before a block of them that must not all hold."""
        if len(line.tokens) > 1:
            found = self._set((Segment(line.tokens[1:], line.block),), state)
        elif line.block:
            found = self._set(line.block, state)
        else:
            raise Unreadable("missing", "`not` needs a matcher")
        if found is None or found.test is None:
            return None
        return found.test.test if isinstance(found.test, Not) else Not(found.test)

    @staticmethod
    def _test(kind: str, words: list[str], state: State) -> Expr:
        """Return the test of a matcher that has no block. Raises ``Unreadable``."""
        if kind == "tls":
            return _tls(words)
        if not words:
            raise Unreadable("missing", f"the matcher `{kind}` needs a value")
        most = {"header": 2, "protocol": 1}.get(kind, len(words))
        if len(words) > most:
            raise Unreadable("syntax", f"`{words[most]}` is not expected here", "leave it out")
        if kind == "file":
            found = [Call("existing", (Const(state.root), text_expr(word, replace(state, wire=True)))) for word in words]
            return AnyOf(tuple([_is_there(each, state) for each in found]))
        if kind == "path":
            return _joined([path_test(word, state) for word in words], AnyOf)
        if kind in _REGEXPS:
            return _regexp(kind, words, state)
        if kind == "host":
            return _hosts(words, state)
        if kind == "method":
            return InSet(text_expr("{method}", state), tuple([word.upper() for word in words]))
        if kind == "protocol":
            return _protocol(words)
        if kind in ("remote_ip", "client_ip"):
            forwarded = kind == "remote_ip" and words[0] == "forwarded"
            subject = Var("client_ip") if kind == "client_ip" or forwarded else Var("peer_ip")
            return InNet(subject, networks(words[1:] if forwarded else words))
        if kind == "header":
            return _header(words, state)
        if kind == "query":
            return _query(words, state)
        return _joined([_equal(_variable(words[0], state), word, state) for word in words[1:]] or [Const(False)], AnyOf)


def _is_there(found: Expr, state: State) -> Expr:
    """Return the test for a path that was looked for. Raises ``Unreadable``."""
    if not state.root or "{" in state.root:
        raise Unreadable("missing", "the matcher `file` needs a `root` without placeholders", "write `root * /srv/www`")
    return Compare("!=", found, Const(""))


def _lines(segment: Segment) -> tuple[Segment, ...]:
    """Return what a named matcher declares: the rest of its line, or the lines of its block."""
    if len(segment.tokens) > 1:
        return (Segment(segment.tokens[1:], segment.block),)
    return segment.inside()


def _expression_of(line: Segment) -> str:
    """Return an expression: a text in quotes or backticks alone, or what stands behind ``expression``, with its own quotes."""
    if line.head.quoted:
        return line.name
    tokens = line.tokens[1:]
    return tokens[0].text if len(tokens) == 1 else " ".join([each.raw for each in tokens])


def _single_pairs(lines: tuple[Segment, ...]) -> list[Segment]:
    """Return lines with each pair of ``query`` on one of its own, since pairs of one name are alternatives and others are not."""
    found: list[Segment] = []
    for line in lines:
        if line.name == "query" and len(line.tokens) > 2:
            found.extend([Segment((line.head, token)) for token in line.tokens[1:]])
        else:
            found.append(line)
    return found


def _joined(tests: list[Expr], how: Callable[[tuple[Expr, ...]], Expr]) -> Expr:
    return tests[0] if len(tests) == 1 else how(tuple(tests))


# ---------------------------------------------------------------- single matchers


def _order_path(pattern: str) -> str:
    """Return a pattern that the order of directives can go by; one with placeholders is a test like others."""
    return "" if "{" in pattern else pattern


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


def path_test(pattern: str, state: State) -> Expr:
    """Return the test of one path. Raises ``Unreadable``."""
    if "{" in pattern:
        plain = Call("lower", (text_expr(pattern.removesuffix("*"), state),))
        if "*" in pattern.removesuffix("*"):
            raise Unreadable("not-built", "placeholders in a path with `*` before its end: not built yet")
        path = Call("lower", (Var("decoded_path"),))
        if pattern.endswith("*"):
            return Compare("!=", Call("replace_prefix", (path, plain, Const(""))), path)
        return Compare("==", path, plain)
    if pattern in ("*", "/*"):
        return Const(True)
    return Match(path_pattern(pattern), Var("decoded_path"), ignore_case=True)


def _regexp(kind: str, words: list[str], state: State) -> Expr:
    least = _REGEXPS[kind]
    if len(words) not in (least, least + 1):
        raise Unreadable("syntax", f"`{kind}` takes a name, which may be left out, and a regular expression")
    subject = _subject(kind, words[-2:], state)
    if isinstance(subject, Call) and subject.function == "first_item":
        return Call("any_item", subject.arguments)
    return Match(words[-1], subject)


def _subject(kind: str, words: list[str], state: State) -> Expr:
    """Return what a regular expression is searched for in; the expression is the last word."""
    if kind == "path_regexp":
        return Var("decoded_path")
    if kind == "vars_regexp":
        return _variable(words[0], state)
    field = _field(words[0], state)
    lines = _lines_of(field)
    return field if lines is None else Call("first_item", (lines, Match(words[-1], Var("item"))))


def _variable(word: str, state: State) -> Expr:
    """Return the value of a placeholder, or of a variable by its name."""
    return text_expr(word if "{" in word else f"{{vars.{word}}}", state)


def _field(name: str, state: State) -> Expr:
    return Var("host_port") if name.lower() == "host" else text_expr(f"{{header.{name}}}", state)


def _lines_of(field: Expr) -> Expr | None:
    """Return the lines of a field, of which one is enough, where it is as the client sent it."""
    return Var("each_header", field.argument) if isinstance(field, Var) and field.name == "header" else None


def _equal(subject: Expr, word: str, state: State) -> Expr:
    """Return the test for one value, which may hold placeholders."""
    if "{" not in word:
        return InSet(subject, (word,))
    value = text_expr(word, state)
    return InSet(subject, (str(value.value),)) if isinstance(value, Const) else Compare("==", subject, value)


def _hosts(words: list[str], state: State) -> Expr:
    plain = tuple([word.lower() for word in words if "*" not in word and "{" not in word])
    tests: list[Expr] = [InSet(Var("host"), plain)] if plain else []
    for word in words:
        if "{" in word:
            if "*" in word:
                raise Unreadable("not-built", "placeholders and `*` in one host: not built yet")
            tests.append(Compare("==", Var("host"), Call("lower", (text_expr(word, state),))))
        elif "*" in word:
            tests.append(Match("^" + r"[^.]+".join([re.escape(part) for part in word.lower().split("*")]) + r"\Z", Var("host")))
    return _joined(tests, AnyOf)


def _protocol(words: list[str]) -> Expr:
    word = words[0]
    if word == "https":
        return Var("tls")
    if word == "http":
        return Not(Var("tls"))
    if word == "grpc":
        return Match("^application/grpc", Var("header", "content-type"))
    plain = word.removesuffix("+")
    if plain not in _VERSIONS:
        raise Unreadable("bad-value", f"`{word}` is no protocol", near(word, ["http", "https", "grpc", *_VERSIONS]))
    at = list(_VERSIONS).index(plain)
    # Nobody speaks HTTP/3 here.
    spoken = [name for name in list(_VERSIONS.values())[at : None if word != plain else at + 1] if name]
    return InSet(Var("protocol"), tuple(spoken)) if spoken else Const(False)


def _tls(words: list[str]) -> Expr:
    """``tls`` is any request over TLS; ``early_data`` one that came before the end of the handshake, and none is taken then."""
    if words not in ([], ["early_data"]):
        raise Unreadable("syntax", f"`{words[0]}` is not expected here", "write `tls` or `tls early_data`")
    return Const(False) if words else Var("tls")


def _header(words: list[str], state: State) -> Expr:
    """``header Name value``, with ``*`` at the ends; ``Name`` alone is any value, ``!Name`` no field."""
    name = words[0]
    if name.startswith("!"):
        return Compare("==", text_expr(f"{{header.{name[1:]}}}", state), Const(""))
    subject = _field(name, state)
    if len(words) == 1 or words[1] == "*":
        return Compare("!=", subject, Const(""))
    value = words[1]
    if "{" in value:
        if "*" in value:
            raise Unreadable("not-built", "placeholders and `*` in one value: not built yet")
        return AllOf((Compare("!=", subject, Const("")), _equal(subject, value, state)))
    lines = _lines_of(subject)
    return _text_match(subject, value) if lines is None else Call("any_item", (lines, _text_match(Var("item"), value)))


def _text_match(subject: Expr, value: str) -> Expr:
    """Return the test for a value with ``*`` at its ends."""
    if value.startswith("*") and value.endswith("*"):
        return Match(re.escape(value[1:-1]), subject)
    if value.startswith("*"):
        return Match(re.escape(value[1:]) + r"\Z", subject)
    if value.endswith("*"):
        return Match("^" + re.escape(value[:-1]), subject)
    return InSet(subject, (value,))


def _query(words: list[str], state: State) -> Expr:
    """``query name=value``, ``name=*`` for any value; an empty text for no query. Values of one name are alternatives."""
    tests: dict[str, list[Expr]] = {}
    for word in words:
        if word == "":
            tests.setdefault("", []).append(Compare("==", Var("query"), Const("")))
            continue
        name, mark, value = word.partition("=")
        if not mark:
            raise Unreadable("syntax", f"`{word}` has no `=`", "write `query name=value` or `query name=*`")
        there: Expr = Match("(?:^|&)" + spelt(name) + "(?:=|&|\\Z)", Var("query"))
        if value == "*":
            test = there
        else:
            sent: Expr = Var("arg", name)
            if " " in value or "+" in value:
                sent = Call("replace", (sent, Const(r"\+"), Const(" "), Const("g")))
            test = _equal(Call("url_decode", (sent,)), value, state)
            if "{" in value:
                test = AllOf((Compare("!=", Var("arg", name), Const("")), test))
            elif not value:
                test = AllOf((there, test))
        tests.setdefault(name, []).append(test)
    return _joined([_joined(each, AnyOf) for each in tests.values()], AllOf)


class AnswerMatchers:
    """Conditions on answers: ``status``, ``header``, by name or in the block of ``match``."""

    def __init__(self, lines: tuple[Segment, ...], report: Report) -> None:
        self._report = report
        self._named = {line.name: line for line in lines if line.name.startswith("@")}

    def named(self, token: Token) -> Expr | None:
        """Return the test of a name; None, noted, if there is none."""
        line = self._named.get(token.text)
        if line is None:
            self._report.error(token, "unknown-reference", f"there is no matcher `{token.text}`", near(token.text, list(self._named)))
            return None
        return self.read(line)

    def read(self, line: Segment) -> Expr | None:
        """Return the test that the rest of a line says, or its block; None, noted, after a mistake."""
        statuses: list[Expr] = []
        fields: dict[str, list[Expr]] = {}
        for inner in _lines(line):
            try:
                if inner.name == "status" and len(inner.tokens) > 1:
                    statuses.extend([_status(word) for word in inner.texts()])
                elif inner.name == "header" and len(inner.tokens) > 1:
                    fields.setdefault(inner.token(1).text.lower(), []).append(_answer_header(inner.texts()))
                else:
                    raise Unreadable("syntax", f"`{' '.join(inner.texts(0))}` is no condition on answers", "write `status` or `header`")
            except Unreadable as bad:
                self._report.error(inner.head, bad.code, bad.message, bad.hint)
                return None
        tests = [_joined(each, AnyOf) for each in ([statuses] if statuses else []) + list(fields.values())]
        return _joined(tests, AllOf) if tests else Const(True)


def _status(word: str) -> Expr:
    status = Var("status")
    if re.fullmatch("[1-5](?:xx)?", word):
        first = int(word[0]) * 100
        return AllOf((Compare(">=", status, Const(first)), Compare("<=", status, Const(first + 99))))
    if not re.fullmatch("[1-5][0-9][0-9]", word):
        raise Unreadable("bad-value", f"`{word}` is no status", "write `200` or `2xx`")
    return Compare("==", status, Const(int(word)))


def _answer_header(words: list[str]) -> Expr:
    name = words[0]
    if name.startswith("!"):
        return Compare("==", Var("response_header", name[1:].lower()), Const(""))
    subject = Var("response_header", name.lower())
    if len(words) == 1 or words[1] == "*":
        return Compare("!=", subject, Const(""))
    return Call("any_item", (Var("each_response_header", name.lower()), _text_match(Var("item"), words[1])))
