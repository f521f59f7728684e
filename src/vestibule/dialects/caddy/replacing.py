"""Replacing parts: of the target (``uri``) and of fields (``header NAME FIND REPLACEMENT``).

Facts (Caddy's documentation of ``uri`` and ``header``): ``uri replace`` replaces texts in the path as it is sent and in the query;
``path_regexp`` what a regular expression matches in the path; ``query`` edits single names. ``$1`` is a group. So is ``${1}``
in fields; in ``uri``, Caddy reads the placeholder ``{1}`` first. An empty match right behind another is none (Go).

Rules: a regular expression and what takes its place are known beforehand; placeholders in them are refused.

Not here: matchers and order (``flow``).
"""

from __future__ import annotations

import re
from dataclasses import replace

from vestibule.dialects.caddy.lexer import Token
from vestibule.dialects.caddy.placeholders import State, spelt, text_expr
from vestibule.dialects.caddy.report import Report, near
from vestibule.dialects.caddy.tree import Segment
from vestibule.dialects.read import Unreadable
from vestibule.model.config import Action, Rewrite, StripPrefix, When
from vestibule.model.expr import EMPTY, Call, Compare, Concat, Const, Expr, If, Match, Var

_GROUP = re.compile(r"\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))")
_HELD = re.compile(r"\{[A-Za-z$][^{}]*\}")
"""A placeholder; `{3}` in a regular expression is none."""

_PATH = Var("path")
_QUERY = Var("query")
_ALL = "g"
_USES = ("strip_prefix", "strip_suffix", "replace", "path_regexp", "query")


def as_done(lines: tuple[Segment, ...], words: tuple[str, ...] = ()) -> tuple[Segment, ...]:
    """Return lines with the edits of fields among them in the order they are done in, whatever order they are written in: fields are
    added, set, removed, replaced in parts. ``words`` are those that such lines begin with; without them, all are such."""

    def rank(line: Segment) -> int:
        if words and line.name not in words:
            return 0
        edit = line.texts(1 if words else 0)
        mark = "".join(edit[:1])[:1]
        if len(edit) > 2:
            return 3
        if mark == "-" or (len(edit) == 1 and mark not in ("+", ">", "?")):
            return 2
        return 0 if mark == "+" and not edit[0].startswith(MORE) else 1

    return tuple(sorted(lines, key=rank))


MORE = "++"
"""What begins a further value of a field that is set, which only JSON has."""


def replaced(subject: Expr, find: str, replacement: str) -> Expr:
    """Return a text with what a regular expression matches replaced everywhere. Raises ``Unreadable``."""
    _fixed(_GROUP.sub("", replacement))
    return Call("replace", (subject, Const(find), Const(_with_groups(find, replacement)), Const(_flags(find))))


def _flags(find: str) -> str:
    """Return how often to replace: what takes a whole line leaves nothing but an empty match behind it."""
    if find.startswith(("^", "\\A")) or not _is_found_in_nothing(find):
        return _ALL
    if find.lstrip("(").startswith(".*") and "?" not in find and "|" not in find:
        return ""
    raise Unreadable("not-built", f"`{find}`, which also matches nothing: not built yet", "write what must be there, such as `.+`")


def _is_found_in_nothing(find: str) -> bool:
    try:
        return re.search(find, "") is not None
    except re.error:
        return False  # the check of the model tells it


def _fixed(*texts: str) -> None:
    for text in texts:
        if _HELD.search(text):
            raise Unreadable("not-built", f"the placeholder in `{text}`: not built yet", "write the text")
        if re.search(r"\\[0-9]", text):
            raise Unreadable("not-built", f"the backslash before a digit in `{text}`: not built yet", "leave it out")


def _with_groups(find: str, replacement: str) -> str:
    """Write groups as ``\\1``; those that there are none of are nothing."""
    try:
        pattern = re.compile(find)
    except re.error:
        return replacement  # the check of the model tells it

    def put(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        number = int(name) if name.isdecimal() else pattern.groupindex.get(name, -1)
        if not 0 <= number <= pattern.groups:
            return ""
        if number > 9:
            raise Unreadable("not-built", f"the group {number}: not built yet", "use nine groups at most")
        return f"\\{number}"

    return _GROUP.sub(put, replacement)


def read_uri(segment: Segment, first: int, state: State, report: Report) -> list[Action] | None:
    """Read ``uri USE …``, whose use is the token ``first``; None, noted, if it cannot be read."""
    words = segment.texts(first)
    use = "".join(words[:1])
    if use not in _USES:
        report.error(segment.token(first), "syntax", "`uri` needs to know what to do", near(use, _USES))
        return None
    try:
        if use == "query":
            lines = [segment.tokens[first + 1 :]] if len(words) > 1 else [line.tokens for line in segment.inside()]
            if not lines:
                raise Unreadable("missing", "`uri query` needs what to edit", "write `uri query NAME VALUE`")
            return [action for line in lines for action in _query(line, state)]
        return _path(use, words[1:], state)
    except Unreadable as bad:
        report.error(segment.token(first), bad.code, bad.message, bad.hint)
        return None


def strip_prefix(prefix: str) -> StripPrefix:
    """Return the action that takes a prefix off, whatever its case, as paths are matched."""
    return StripPrefix(prefix, ignore_case=prefix.lower() != prefix.upper())


def _path(use: str, words: list[str], state: State) -> list[Action]:
    if use == "strip_prefix":
        if not words or not words[0]:
            raise Unreadable("missing", "`strip_prefix` needs a prefix")
        return [strip_prefix(words[0] if words[0].startswith("/") else f"/{words[0]}")]
    if use == "strip_suffix":
        if not words:
            raise Unreadable("missing", "`strip_suffix` needs a suffix")
        # What stands before the suffix; a path without it has no such group and stays.
        pattern = "^(/.*)" + re.escape(words[0]) + r"\Z"
        return [When(Match(pattern, _PATH), (Rewrite(Call("capture", (_PATH, Const(pattern), Const("1")))),))]
    if len(words) < 2:
        raise Unreadable("missing", f"`{use}` needs what to replace, and by what", f"write `uri {use} /old /new`")
    if use == "path_regexp":
        if "${" in words[1]:
            raise Unreadable("bad-value", "`${` begins a placeholder here, not a group", "write `$1`")
        return [Rewrite(replaced(_PATH, words[0], words[1]))]
    flags = _ALL
    if len(words) > 2 and words[2] not in ("0", "-1"):
        if words[2] != "1":
            raise Unreadable("not-built", f"the limit {words[2]}: not built yet", "write 1, or none")
        flags = ""
    if not words[0]:
        raise Unreadable("missing", "`replace` needs what to replace", "write `uri replace /old /new`")
    if flags and _HELD.search(words[0] + words[1]):
        find, by = [text_expr(word, replace(state, wire=True)) for word in words[:2]]
        return [Rewrite(Call("replace_text", (_PATH, find, by)), Call("replace_text", (_QUERY, find, by)))]
    _fixed(words[0], words[1])
    path, query = [Call("replace", (each, Const(re.escape(words[0])), Const(words[1]), Const(flags))) for each in (_PATH, _QUERY)]
    return [Rewrite(path, query)]


def _query(tokens: tuple[Token, ...], state: State) -> list[Action]:
    """Read one edit of the query: ``-NAME``, ``NAME>NEW``, ``+NAME VALUE``, ``NAME VALUE``, ``NAME FIND REPLACEMENT``."""
    mark, name = (tokens[0].text[0], tokens[0].text[1:]) if tokens[0].text[:1] in ("-", "+") else ("", tokens[0].text)
    name, renames, new = name.partition(">")
    for each in (name, new):
        if not re.fullmatch("[A-Za-z0-9_.~-]*", each) or (each is name and not each):
            raise Unreadable("not-built", f"the name `{each}` in a query: not built yet", "write the name")
    key = spelt(name)
    if renames:
        return [Rewrite(None, Call("replace", (_QUERY, Const(f"(^|&){key}(?=[=&]|$)"), Const(f"\\1{new}"), Const(_ALL))))]
    without = Call("replace", (_QUERY, Const(f"(?:^|&){key}(?:=[^&]*)?(?=&|$)"), Const(""), Const(_ALL)))
    removal = Rewrite(None, Call("trim_start", (without, Const("&"))))
    if mark == "-":
        return [removal]
    if len(tokens) > 2:
        raise Unreadable("not-built", "replacing a part of a value in a query: not built yet", "set the whole value")
    if len(tokens) < 2:
        raise Unreadable("missing", f"`{name}` needs a value", "write `uri query NAME VALUE`")
    pair = Concat((Const(f"{name}="), Call("url_encode", (text_expr(tokens[1].text, state),))))
    addition = Rewrite(None, If(Compare("==", _QUERY, EMPTY), pair, Concat((_QUERY, Const("&"), pair))))
    return [addition] if mark == "+" else [removal, addition]
