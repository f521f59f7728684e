"""Conditions of HAProxy as tests of the model.

Facts (HAProxy configuration manual, chapter 7): ``acl NAME FETCH [flags] VALUE…`` declares a test; lines of one name are
alternatives. A condition is tests side by side (all must hold), with ``or`` or ``||`` between groups and ``!`` before a
test; ``{ … }`` is a test without a name. How a value is compared follows from a suffix of the fetch (``path_beg``), from
``-m``, or from what the fetch yields.

Rules
  A condition is kept as alternatives of conjunctions until its use is known, since ``http_auth`` can stand only where it
  asks for credentials.
  Paths are compared as HAProxy does, as they came: percent-encoded.

Not here: expressions (``sample``), which rule a condition belongs to (``rules``).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

from vestibule.dialects.haproxy.counting import RateTest, rate_test
from vestibule.dialects.haproxy.lexer import Line, Word
from vestibule.dialects.haproxy.payload import LENGTHS, length_expr
from vestibule.dialects.haproxy.report import Report
from vestibule.dialects.haproxy.sample import Sample, convert, split_sample, values_expr, whole_expr
from vestibule.dialects.haproxy.slots import LOOKED_UP
from vestibule.dialects.haproxy.state import State, not_built
from vestibule.dialects.haproxy.values import COOKIES, FORMS
from vestibule.dialects.haproxy.variables import FETCHES, NAMED_FETCHES
from vestibule.dialects.read import ReadText, Unreadable
from vestibule.model.diagnostic import did_you_mean
from vestibule.model.expr import (
    AllOf,
    AnyOf,
    Call,
    Compare,
    Const,
    Expr,
    InNet,
    InSet,
    Kind,
    Match,
    Not,
    Var,
)
from vestibule.model.vocabulary import kind_of

METHODS = ("str", "beg", "end", "sub", "dir", "dom", "reg", "len", "int", "ip", "bin", "found", "bool")

_SUFFIXES = ("beg", "end", "sub", "dir", "dom", "reg", "len", "val", "ip", "cnt")

_SUFFIXED = (FETCHES, NAMED_FETCHES, FORMS, COOKIES)

_ONE_VALUE = "of several values one is looked up in the table, the last of a field or cookie, the first of a form; HAProxy tries each"

_NUMBER_OPERATORS = {"eq": "==", "ge": ">=", "gt": ">", "le": "<=", "lt": "<"}

PREDEFINED = {
    "TRUE": "{ always_true }",
    "FALSE": "{ always_false }",
    "LOCALHOST": "{ src 127.0.0.1/8 ::1 }",
    "METH_CONNECT": "{ method CONNECT }",
    "METH_DELETE": "{ method DELETE }",
    "METH_GET": "{ method GET HEAD }",
    "METH_HEAD": "{ method HEAD }",
    "METH_OPTIONS": "{ method OPTIONS }",
    "METH_POST": "{ method POST }",
    "METH_PUT": "{ method PUT }",
    "METH_TRACE": "{ method TRACE }",
    "HTTP_URL_ABS": "{ url_reg ^[^/:]*:// }",
    "HTTP_URL_SLASH": "{ url_beg / }",
    "HTTP_URL_STAR": "{ url * }",
    "HTTP": "{ always_true }",
    "WAIT_END": "{ always_true }",
}
"""The ACLs that exist without being declared, but for those that look at bytes."""


@dataclass(frozen=True, slots=True)
class AuthTest:
    """``http_auth`` or ``http_auth_group``: a user of this list, in one of these groups where some are named."""

    userlist: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Term:
    """One test of a conjunction, or its opposite."""

    test: Expr | AuthTest | RateTest
    negated: bool = False


Condition = tuple[tuple[Term, ...], ...]
"""Alternatives of conjunctions. No alternative: never; one without terms: always."""

ALWAYS: Condition = ((),)


class Acls:
    """The named conditions of one proxy."""

    def __init__(self, report: Report, read_text: ReadText) -> None:
        self._lines: dict[str, list[Line]] = {}
        self._report = report
        self._read_text = read_text
        self.used: set[str] = set()

    def declare(self, line: Line, first: int) -> None:
        """Take an ``acl`` line; its name is the word at ``first``."""
        if len(line.words) < first + 2:
            self._report.error(line, first, "missing", "an acl needs a name and a test", "write `acl NAME FETCH VALUE`")
            return
        self._lines.setdefault(line.text(first), []).append(line)

    def check(self, state: State) -> None:
        """Read the ACLs nobody uses, so that their mistakes are told as well."""
        for name, lines in self._lines.items():
            if name not in self.used:
                for line in lines:
                    self._guarded(line, 2, line.words[2:], state)

    def condition(self, line: Line, at: int, state: State) -> Condition | None:
        """Read the condition that begins with ``if`` or ``unless`` at a word of a line; None, noted, after a mistake.

        Where there is no such word, the condition always holds.
        """
        if at >= len(line.words):
            return ALWAYS
        word = line.text(at)
        if word not in ("if", "unless"):
            self._report.error(line, at, "syntax", f"`{word}` is not expected here", "a condition begins with `if` or `unless`")
            return None
        if at + 1 >= len(line.words):
            self._report.error(line, at, "syntax", f"nothing follows `{word}`", "name an acl or write `{ TEST }`")
            return None
        found = self._alternatives(line, at + 1, state)
        return found if word == "if" or found is None else negate(found)

    def asks_rates(self, line: Line, at: int, state: State) -> bool:
        """Tell whether a condition is about rates that nothing else counts, by name or in braces."""
        words = [line.text(index).lstrip("!") for index in range(at, len(line.words))]
        inside = [each.text(2) for word in words for each in self._lines.get(word, ())]
        found = [word for word in [*words, *inside] if "src_http_req_rate" in word]
        tables = [state.table(word.partition("(")[2].partition(")")[0]) for word in found]
        return any(table is None or not table.is_tracked for table in tables)

    def _alternatives(self, line: Line, at: int, state: State) -> Condition | None:
        groups: list[Condition] = []
        group: Condition = ALWAYS
        sound = True
        while at < len(line.words):
            word = line.words[at]
            if word.text in ("or", "||") and not word.quoted:
                groups.append(group)
                group = ALWAYS
                at += 1
                continue
            one, at = self._test(line, at, state)
            if one is None:
                sound = False
            else:
                group = both(group, one)
        groups.append(group)
        return sum(groups, ()) if sound else None

    def _test(self, line: Line, at: int, state: State) -> tuple[Condition | None, int]:
        """Read one test, with ``!`` before it or not; return it with the index behind."""
        negated = False
        while line.text(at) == "!":
            negated, at = not negated, at + 1
        name = line.text(at)
        if name.startswith("!"):
            negated, name = not negated, name[1:]
        if not name:
            self._report.error(line, at, "syntax", "a test is expected after `!`")
            return None, len(line.words)
        found: Condition | None
        if name == "{":
            end = next((index for index in range(at + 1, len(line.words)) if line.text(index) == "}"), -1)
            if end < 0:
                self._report.error(line, at, "syntax", "the brace is never closed", "end the test with ` }`, a word of its own")
                return None, len(line.words)
            found = self._guarded(line, at + 1, line.words[at + 1 : end], state)
            at = end
        else:
            found = self._named(line, at, name, state)
        return (negate(found) if negated and found is not None else found), at + 1

    def _named(self, line: Line, at: int, name: str, state: State) -> Condition | None:
        self.used.add(name)
        if name in self._lines:
            each = [self._guarded(one, 2, one.words[2:], state) for one in self._lines[name]]
            return None if None in each else sum([one for one in each if one is not None], ())
        if name in PREDEFINED:
            words = tuple([Word(text, line.words[at].column) for text in PREDEFINED[name].split()[1:-1]])
            return self._guarded(line, at, words, state)
        if name in ("HTTP_1.0", "HTTP_1.1", "HTTP_2.0"):
            return ((Term(Compare("==", Var("protocol"), Const(name.replace("_", "/")))),),)
        hint = did_you_mean(name, [*self._lines, *PREDEFINED])
        self._report.error(
            line, at, "unknown-reference", f"there is no acl `{name}`", hint if hint.startswith("did") else "declare it with `acl`"
        )
        return None

    def _guarded(self, line: Line, at: int, words: tuple[Word, ...], state: State) -> Condition | None:
        """Read the words of one test; a mistake is noted at ``at``."""
        if not words:
            self._report.error(line, at, "syntax", "there is no test between the braces")
            return None
        try:
            return self._read(line, at, words, state)
        except Unreadable as bad:
            self._report.error(line, at, bad.code, bad.message, bad.hint)
            return None

    def _read(self, line: Line, at: int, words: tuple[Word, ...], state: State) -> Condition:
        sample, kind = _split_suffix(split_sample(words[0].text))
        flags, patterns = self._flags(words[1:], state)
        if sample.fetch in ("http_auth", "http_auth_group"):
            if not sample.arguments:
                raise Unreadable("argument", f"`{sample.fetch}` needs a userlist", f"write `{sample.fetch}(NAME)`")
            return ((Term(AuthTest(sample.arguments[0], tuple(patterns) if sample.fetch == "http_auth_group" else ())),),)
        method = flags.get("-m", kind)
        rate = rate_test(sample, patterns, state)
        if rate is not None:
            return ((Term(rate),),)
        if method == "cnt":
            sample, method = Sample(sample.fetch + "_cnt", sample.arguments, sample.converters), ""
        values = values_expr(sample, state)
        if values is not None and any(LOOKED_UP.fullmatch(name) or name == "in_table" for name, _ in sample.converters):
            self._report.warning(line, at, "one-value", _ONE_VALUE)
            values = None
        expr = whole_expr(sample, state) if values is None else convert(Var("item"), sample, state)
        if state.raw and sample.fetch in LENGTHS and not sample.arguments:
            expr = convert(length_expr(patterns), sample, state)
        if sample.fetch == "var" and method == "bool" and kind_of(expr) is Kind.TEXT:
            # What a test left there is 1 or 0.
            expr = Not(InSet(expr, ("", "0", "false")))
        if "-f" in flags and not patterns and method not in ("found", "bool"):
            return ((Term(Const(False)),),)  # until a command fills the file
        if values is None:
            return ((Term(_compared(expr, method, patterns, "-i" in flags)),),)
        return ((Term(Call("any_item", (values, _compared_item(expr, method, kind, patterns, "-i" in flags)))),),)

    def _flags(self, words: tuple[Word, ...], state: State) -> tuple[dict[str, str], list[str]]:
        """Take the flags off the front of the values; values out of files are read."""
        flags: dict[str, str] = {}
        patterns: list[str] = []
        at = 0
        while at < len(words) and words[at].text.startswith("-") and not words[at].quoted:
            flag = words[at].text
            at += 1
            if flag == "--":
                break
            if flag in ("-i", "-n"):
                flags[flag] = ""
            elif flag in ("-m", "-f", "-u") and at < len(words):
                if flag == "-f":
                    state.files.note(words[at].text, "acl")
                    patterns.extend(self._file(words[at].text))
                flags[flag] = words[at].text
                at += 1
            elif flag.lstrip("-").isdecimal():
                at -= 1
                break
            else:
                raise Unreadable("syntax", f"`{flag}` is no flag of an acl", "flags are `-i`, `-m METHOD`, `-f FILE` and `--`")
        patterns.extend([word.text for word in words[at:]])
        method = flags.get("-m")
        if method is not None and method not in METHODS:
            raise Unreadable("syntax", f"`-m {method}` is no way to compare", did_you_mean(method, METHODS))
        return flags, patterns

    def _file(self, path: str) -> list[str]:
        try:
            text = self._read_text(path)
        except (OSError, UnicodeError) as bad:
            raise Unreadable("unreadable", f"`{path}` cannot be read: {bad}") from None
        lines = [line.strip() for line in text.splitlines()]
        return [line for line in lines if line and not line.startswith("#")]


# ---------------------------------------------------------------- logic


def both(one: Condition, other: Condition) -> Condition:
    """Return the condition that holds where both do."""
    return tuple([a + b for a in one for b in other])


def negate(condition: Condition) -> Condition:
    """Return the opposite: one term of each alternative must fail."""
    result: Condition = ALWAYS
    for alternative in condition:
        result = both(result, tuple([(Term(term.test, not term.negated),) for term in alternative]))
    return result


Members = Callable[[AuthTest], tuple[tuple[str, str], ...] | None]
"""Who passes a test of credentials: names and passwords; None, noted, if that cannot be told."""


def to_test(condition: Condition, members: Members) -> Expr | None:
    """Return the test of a condition; None, noted, if it names who is not there. Raises ``Unreadable``."""
    groups: list[Expr] = []
    for alternative in condition:
        tests: list[Expr] = []
        for term in alternative:
            test = term.test
            if isinstance(test, RateTest):
                raise not_built("a rate here", "a rate stands in `http-request deny if …`, without `!` and beside other tests only")
            if isinstance(test, AuthTest):
                users = members(test)
                if users is None:
                    return None
                lines = "\n".join([f"{name}:{secret}" for name, secret in users if secret])
                test = Call("is_user", (Var("header", "authorization"), Const(lines))) if lines else Const(False)
            tests.append(opposite(test) if term.negated else test)
        groups.append(_joined(tests, AllOf))
    return _joined(groups, AnyOf)


def _joined(tests: list[Expr], how: Callable[[tuple[Expr, ...]], Expr]) -> Expr:
    return tests[0] if len(tests) == 1 else how(tuple(tests))


def opposite(test: Expr) -> Expr:
    """Return the opposite of a test in its shortest form."""
    if isinstance(test, Not):
        return test.test
    if isinstance(test, Const):
        return Const(not test.value)
    return Not(test)


# ---------------------------------------------------------------- comparisons


def _split_suffix(sample: Sample) -> tuple[Sample, str]:
    """Take a suffix such as ``_beg`` off a fetch; HAProxy has one for every fetch of text."""
    base, mark, suffix = sample.fetch.rpartition("_")
    if mark and suffix in _SUFFIXES and sample.fetch not in FETCHES and any(base in known for known in _SUFFIXED):
        method = {"val": "int"}.get(suffix, suffix)
        return Sample(base, sample.arguments, sample.converters), method
    return sample, ""


def _compared_item(expr: Expr, method: str, suffix: str, patterns: list[str], ignore_case: bool) -> Expr:
    """Return the test of one of several values. A value of the wrong form is none: HAProxy goes on to the next."""
    is_text = kind_of(expr) is Kind.TEXT
    if suffix == "ip" and method == "found":
        return InNet(expr, ("0.0.0.0/0", "::/0"))
    if method == "found" and expr == Var("item"):
        return Const(True)
    if method == "int" and is_text:
        # Digits up to what is none, and as many as a number can have.
        digits = Call("number", (Call("capture", (expr, Const("^0*([0-9]{0,18})"), Const("1"))),))
        test = _compared(digits, "int", patterns, ignore_case)
        return test if suffix == "int" else AllOf((Compare("!=", expr, Const("")), test))
    return _compared(expr, method, patterns, ignore_case)


def _compared(expr: Expr, method: str, patterns: list[str], ignore_case: bool) -> Expr:
    """Return the test of an expression against values."""
    kind = kind_of(expr)
    if not method:
        method = {Kind.TEST: "bool", Kind.NUMBER: "int", Kind.ADDRESS: "ip", Kind.TEXT: "str"}[kind]
    if method == "bool":
        return _bool(expr, patterns)
    if method == "found":
        return Compare("!=", expr, Const("")) if kind is Kind.TEXT else Const(True)
    if not patterns:
        raise Unreadable("missing", "there is no value to compare with", "write values after the fetch, or `-m found`")
    if kind is Kind.TEST:
        raise Unreadable("wrong-kind", "this is true or false and has no text")
    if method == "ip":
        return InNet(expr, tuple([_network(each) for each in patterns]))
    if method == "int":
        return _number(expr if kind is Kind.NUMBER else Call("number", (expr,)), patterns)
    if method == "len":
        return _number(Call("length", (expr,)), patterns)
    if method == "bin":
        values = [_bytes(each) for each in patterns]
        if any("\0" in each for each in values):  # no text of a configuration has one
            return InSet(Call("hex", (expr,)), tuple([each.lower() for each in patterns]))
        return InSet(expr, tuple(values))
    return _text(expr, method, patterns, ignore_case)


def _bytes(text: str) -> str:
    try:
        return bytes.fromhex(text).decode("utf-8", "surrogateescape")
    except ValueError:
        raise Unreadable("bad-value", f"`{text}` are no bytes in hexadecimal", "write `-m bin 0a0d`") from None


def _bool(expr: Expr, patterns: list[str]) -> Expr:
    if kind_of(expr) is Kind.NUMBER:
        return Compare("!=", expr, Const(0))
    if kind_of(expr) is not Kind.TEST:
        raise Unreadable("wrong-kind", "this is a text and neither true nor false", "compare it with a value")
    wanted = [each for each in patterns if each != "eq"]
    if wanted in ([], ["1"], ["true"]):
        return expr
    if wanted in (["0"], ["false"]):
        return opposite(expr)
    raise Unreadable("bad-value", f"`{' '.join(patterns)}` is neither true nor false", "write 1 or 0")


def _network(text: str) -> str:
    """Return a network as the model writes it. HAProxy ignores bits outside the mask and reads dotted masks."""
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise Unreadable("bad-network", f"`{text}` is neither an address nor a network", "write `10.0.0.0/8`") from None


def _number(expr: Expr, patterns: list[str]) -> Expr:
    tests: list[Expr] = []
    op = "=="
    for each in patterns:
        if each in _NUMBER_OPERATORS:
            op = _NUMBER_OPERATORS[each]
            continue
        low, colon, high = each.partition(":")
        if not all(part == "" or part.lstrip("-").isdecimal() for part in (low, high)) or each in ("", ":"):
            raise Unreadable("bad-value", f"`{each}` is no number and no range", "write `443`, `200:299` or `ge 500`")
        if not colon:
            tests.append(Compare(op, expr, Const(int(low))))  # type: ignore[arg-type]  # one of the operators above
            continue
        ends: list[Expr] = []
        if low:
            ends.append(Compare(">=", expr, Const(int(low))))
        if high:
            ends.append(Compare("<=", expr, Const(int(high))))
        tests.append(_joined(ends, AllOf))
    if not tests:
        raise Unreadable("missing", "there is no number to compare with")
    return _joined(tests, AnyOf)


def _text(expr: Expr, method: str, patterns: list[str], ignore_case: bool) -> Expr:
    """Compare a text."""
    if method == "str":
        return InSet(expr, tuple(patterns), ignore_case)
    if method == "reg":
        if any(_back_references(each) for each in patterns):
            raise not_built("a regular expression with what Python has not")
        return Match(_alternatives(patterns) if len(patterns) > 1 else patterns[0], expr, ignore_case)
    around = {
        "beg": ("^", ""),
        "end": ("", "\\Z"),
        "sub": ("", ""),
        "dir": ("(?:^|[/?])", "(?:[/?]|\\Z)"),
        "dom": ("(?:^|[./?:])", "(?:[./?:]|\\Z)"),
    }
    left, right = around[method]
    values = [re.escape(each.strip("/") if method == "dir" else each.strip("./?:") if method == "dom" else each) for each in patterns]
    return Match(left + (_alternatives(values) if len(values) > 1 else values[0]) + right, expr, ignore_case)


def _alternatives(patterns: list[str]) -> str:
    return "(?:" + "|".join(patterns) + ")"


def _back_references(pattern: str) -> bool:
    """Whether a PCRE pattern uses what Python's expressions lack: possessive groups of old, recursion, `\\K`."""
    return "(?R)" in pattern or "\\K" in pattern or "(?|" in pattern
