"""Texts of rules: new paths, addresses, what conditions look at; with variables, groups and maps in them.

Facts: ``$1`` is a group of the rule's pattern, ``%1`` one of the last condition's, ``%{NAME}`` a variable, ``${map:key|default}`` what a
``RewriteMap`` has for a key. A backslash takes the meaning of the character behind it.

Not here: rules (``rewriting``), variables (``variables``).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from vestibule.dialects.apache.scope import Scope
from vestibule.dialects.apache.tree import Directive
from vestibule.dialects.apache.variables import Names
from vestibule.dialects.read import ReadText
from vestibule.dialects.record import Record
from vestibule.model.diagnostic import Span
from vestibule.model.expr import EMPTY, Call, Compare, Const, Expr, If, Var, concat

Escaping: TypeAlias = Literal["", "path", "whole", "query"]
"""How groups are written: as they are, as in the path of a target, or with all marks escaped, in a path or in a query."""

_INTERNAL = {"tolower": "lower", "toupper": "upper", "escape": "encode_path", "unescape": "url_decode"}
_MOST_KEYS = 200


class RuleTexts:
    """Reads texts of one virtual host."""

    def __init__(self, record: Record, names: Names, scope: Scope, read_text: ReadText) -> None:
        self._record = record
        self._names = names
        self._scope = scope
        self._read_text = read_text
        self._maps: dict[str, dict[str, str]] = {}

    def read(self, text: str, span: Span, escaping: Escaping = "") -> Expr:
        """Return the expression that a text is."""
        parts: list[Expr] = []
        at = 0
        plain = ""
        while at < len(text):
            char, behind = text[at], text[at + 1 : at + 2]
            made: Expr | None = None
            if char == "\\" and behind:
                plain += {"t": "\t", "n": "\n"}.get(behind, behind) if behind in "tn" else behind
                at += 2
                continue
            if char in "$%" and behind.isdecimal():
                found = self._names.captured(behind) if char == "$" else self._names.captured_before(behind)
                made, at = _escaped(found, escaping), at + 2
            elif char in "$%" and behind == "{":
                end = _closing(text, at + 1)
                inside = text[at + 2 : end]
                made = self._names.variable(inside, span) if char == "%" else self._mapped(inside, span)
                at = end + 1
            if made is None:
                plain += char
                at += 1
            else:
                parts += [Const(plain), made]
                plain = ""
        return concat([*parts, Const(plain)])

    def _mapped(self, text: str, span: Span) -> Expr:
        """Return what stands for ``${map:key|default}``."""
        name, colon, rest = text.partition(":")
        if not colon:
            self._record.error(span, "unknown-reference", f"`${{{text}}}` is neither defined nor a map", "write `Define` or `${map:key}`")
            return EMPTY
        key, _, default = rest.partition("|")
        directive = next((each for each in reversed(self._scope.all("RewriteMap")) if each.text() == name), None)
        if directive is None:
            self._record.error(span, "unknown-reference", f"there is no map `{name}`", "define it with `RewriteMap`")
            return EMPTY
        subject = self.read(key, span)
        kind, _, source = directive.text(1).partition(":")
        if kind.lower() == "int":
            return self._internal(directive, source.lower(), subject)
        found = self._table(directive, kind.lower(), source)
        made = self.read(default, span)
        for each, value in reversed(found.items()):
            made = If(Compare("==", subject, Const(each)), _one_of(value) if kind.lower() == "rnd" else Const(value), made)
        return made

    def _internal(self, directive: Directive, function: str, subject: Expr) -> Expr:
        if function not in _INTERNAL:
            self._record.error(directive.place(1), "bad-value", f"there is no internal map `{function}`", "write `int:tolower`")
            return EMPTY
        return Call(_INTERNAL[function], (subject,))

    def _table(self, directive: Directive, kind: str, source: str) -> dict[str, str]:
        """Return the keys and values of a map in a text file."""
        name = directive.text()
        if name in self._maps:
            return self._maps[name]
        table = self._maps[name] = {}
        if kind not in ("txt", "rnd", ""):
            hint = "programs are not run" if kind == "prg" else "write the map as a text file, `txt:PATH`"
            self._record.error(directive.place(1), "not-built", f"a map of the kind `{kind}` is not built yet", hint)
            return table
        try:
            text = self._read_text(source or directive.text(1))
        except (OSError, UnicodeError) as bad:
            reason = bad.strerror if isinstance(bad, OSError) and bad.strerror else str(bad)
            self._record.error(directive.place(1), "include", f"`{source}` cannot be read: {reason}", "check the path")
            return table
        for line in text.splitlines():
            words = line.split()
            if len(words) > 1 and not words[0].startswith("#"):
                table.setdefault(words[0], words[1])
        if len(table) > _MOST_KEYS:
            self._record.error(
                directive.span, "too-many", f"`{name}` has more than {_MOST_KEYS} keys", "use a regular expression, or fewer"
            )
            table.clear()
        return table


def _one_of(text: str) -> Expr:
    """Return one of the values of `rnd:` between bars, another one for each request."""
    values = text.split("|")
    made: Expr = Const(values[-1])
    chosen = Call("modulo", (Call("checksum", (Var("request_id"), Const("crc32"))), Const(len(values))))
    for at, value in reversed(list(enumerate(values[:-1]))):
        made = If(Compare("==", chosen, Const(at)), Const(value), made)
    return made


def _closing(text: str, at: int) -> int:
    """Return where the brace at a place is closed; the end of the text where it is not."""
    depth = 0
    while at < len(text):
        depth += 1 if text[at] == "{" else -1 if text[at] == "}" else 0
        if depth == 0:
            return at
        at += 1
    return len(text)


def _escaped(found: Expr, escaping: Escaping) -> Expr:
    if found == EMPTY or not escaping:
        return found
    if escaping == "query":
        return Call("url_encode", (found,))
    # What `B` has escaped is escaped again on its way into a path, as in httpd.
    return Call("encode_path", (found if escaping == "path" else Call("url_encode", (found,)),))
