"""Which server gets a request, and how a client stays with one: ``balance``, ``hash-type``, ``cookie``, ``stick``.

Facts (HAProxy configuration manual, chapter 4.2): ``balance`` is ``roundrobin`` unless said; where what it hashes is not there, a
request is shared in turn. ``cookie`` ties a client to the server whose own ``cookie`` value it brings. ``stick on`` ties what a
sample yields to the server that it came to first, in a table.

Rules
  ``map-based`` hashes are HAProxy's own, by its sums; all others are one consistent hash, which is not HAProxy's but as even. Both are
  the same in all workers and after every start.
  ``stick on`` needs no table: its sample is the key of that hash. Clients stay as long as their server is there.

Not here: servers (``servers``), checks of them (``checking``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from vestibule.dialects.haproxy.report import Report
from vestibule.dialects.haproxy.sample import sample_expr
from vestibule.dialects.haproxy.settings import Settings
from vestibule.dialects.haproxy.state import State
from vestibule.dialects.haproxy.tree import Statement
from vestibule.dialects.haproxy.variables import FETCHES
from vestibule.dialects.read import Unreadable
from vestibule.model.config import Balance, Sticky
from vestibule.model.diagnostic import did_you_mean
from vestibule.model.expr import Call, Const, Expr, Var

_METHODS = ("roundrobin", "static-rr", "leastconn", "first", "source", "uri", "url_param", "hdr", "random", "hash", "rdp-cookie")

_COOKIE_OPTIONS = (
    *("insert", "rewrite", "prefix", "indirect", "nocache", "httponly", "secure", "domain", "dynamic", "attr", "preserve", "postonly"),
    *("maxidle", "maxlife"),
)

_PLAIN: dict[str, Literal["round_robin", "least_connections", "first", "source"]] = {
    "roundrobin": "round_robin",
    "static-rr": "round_robin",
    "leastconn": "least_connections",
    "first": "first",
    "source": "source",
}

_HASH_TYPES = ("map-based", "consistent", "sdbm", "djb2", "wt6", "crc32", "murmur3", "none", "avalanche")

_SUMS: dict[str, Literal["sdbm", "djb2", "crc32"]] = {"sdbm": "sdbm", "djb2": "djb2", "crc32": "crc32"}
_NO_TABLE = {"consistent", "avalanche", "wt6", "murmur3", "none"}
"""Words of ``hash-type`` with which servers are chosen by the consistent hash."""

_SAME_SITE: dict[str, Literal["lax", "strict", "none"]] = {"samesite=lax": "lax", "samesite=strict": "strict", "samesite=none": "none"}


class Sharing:
    """Reads how one backend shares its requests."""

    def __init__(self, settings: Settings, report: Report) -> None:
        self._settings = settings
        self._report = report

    # ------------------------------------------------------------ balance

    def balance(self) -> Balance:
        """Return which server gets the next request."""
        statement = self._settings.last("balance")
        found = Balance() if statement is None else self._method(statement)
        stuck = self._stuck()
        if stuck is not None:
            found = Balance("source") if stuck == Var("peer_ip") else Balance("hash", stuck)
        table = self._hash_type()
        bound = self._settings.number("hash-balance-factor")
        if bound is not None and found.method in ("hash", "source"):
            found = replace(found, bound=bound)
        elif found.method == "hash" and stuck is None:
            found = replace(found, table=table)
        return found

    def _method(self, statement: Statement) -> Balance:
        words = statement.arguments()
        name, _, rest = "".join(words[:1]).partition("(")
        argument = rest.removesuffix(")")
        if name in _PLAIN:
            return Balance(_PLAIN[name])
        if name == "random":
            return Balance("random_two")
        key: Expr | None = None
        if name == "uri":
            key = self._uri(statement, words[1:])
        elif name == "url_param":
            key = self._parameter(statement, words[1:])
        elif name == "hdr":
            key = self._field(statement, argument, words[1:])
        elif name == "hash":
            key = self._sample(statement, 1)
        elif name == "rdp-cookie":
            self._report.not_built(statement.line, statement.first, "`balance rdp-cookie`", "write `balance source`")
        else:
            hint = did_you_mean(name, _METHODS)
            self._report.error(statement.line, statement.first, "bad-value", f"`{name}` is no way to balance", hint)
        return Balance() if key is None else Balance("hash", key)

    def _uri(self, statement: Statement, words: list[str]) -> Expr:
        """``uri [whole] [path-only] [len N] [depth N]``."""
        key: Expr = FETCHES["pathq"] if "whole" in words else Var("path")
        at = 0
        while at < len(words):
            word, place = words[at], statement.first + 1 + at
            if word in ("len", "depth"):
                at += 1
                text = words[at] if at < len(words) else ""
                if not text.isdecimal() or not 1 <= int(text) <= 9_999:
                    self._report.error(statement.line, place + 1, "bad-value", f"`{text}` is no number", f"write `{word} 4`")
                    return key
                # The depth counts directories; the slash that begins the last of them does not count.
                pattern = f"^.{{0,{text}}}" if word == "len" else f"^/?(?:[^/?]*/){{0,{int(text) - 1}}}[^/?]*"
                key = Call("capture", (key, Const(pattern), Const("0")))
            elif word not in ("whole", "path-only"):
                self._report.error(
                    statement.line, place, "syntax", f"`{word}` is not expected here", "options are `whole`, `len` and `depth`"
                )
            at += 1
        return key

    def _parameter(self, statement: Statement, words: list[str]) -> Expr | None:
        if not words:
            self._report.error(statement.line, statement.first, "missing", "`url_param` needs a name", "write `balance url_param NAME`")
            return None
        if "check_post" in words[1:]:
            hint = "write `balance url_param NAME`"
            self._report.not_built(statement.line, statement.first + 2, "looking for a parameter in the body", hint)
        return Var("arg", words[0])

    def _field(self, statement: Statement, name: str, words: list[str]) -> Expr | None:
        if not name:
            self._report.error(statement.line, statement.first, "missing", "`hdr` needs the name of a field", "write `balance hdr(NAME)`")
            return None
        if name.lower() != "host":
            return Var("header", name.lower())
        return Var("host") if "use_domain_only" in words else Var("host_port")

    def _sample(self, statement: Statement, offset: int) -> Expr | None:
        at = statement.first + offset
        try:
            return sample_expr(statement.line.text(at), State())
        except Unreadable as bad:
            self._report.error(statement.line, at, bad.code, bad.message, bad.hint)
            return None

    def _hash_type(self) -> Literal["", "sdbm", "djb2", "crc32"]:
        """Return the sum that says which server of a table is meant; none for the consistent hash."""
        statement = self._settings.last("hash-type")
        words = statement.arguments() if statement is not None else []
        for at, word in enumerate(words):
            if statement is not None and word not in _HASH_TYPES:
                hint = did_you_mean(word, _HASH_TYPES)
                self._report.error(statement.line, statement.first + at, "bad-value", f"`{word}` is no way to hash", hint)
        if not _NO_TABLE.isdisjoint(words):
            return ""
        sums = [_SUMS[word] for word in words if word in _SUMS]
        return sums[-1] if sums else "sdbm"

    # ------------------------------------------------------------ stickiness

    def _stuck(self) -> Expr | None:
        """Return what ``stick on`` ties to a server; None where nothing is."""
        found: Expr | None = None
        for statement in self._settings.all("stick"):
            words = statement.arguments()
            verb = "".join(words[:1])
            if verb not in ("on", "match", "store-request", "store-response"):
                hint = did_you_mean(verb, ("on", "match", "store-request"))
                self._report.error(statement.line, statement.first, "syntax", f"`stick {verb}` is unknown", hint)
            elif verb == "store-response" or any(word in ("if", "unless") for word in words[2:]):
                what = "`stick store-response`" if verb == "store-response" else "`stick` with a condition"
                self._report.not_built(statement.line, statement.first, what, "write `stick on src`, or use `cookie`")
            elif found is None:
                found = self._sample(statement, 1)
        return found

    def sticky(self, has_marks: bool) -> Sticky | None:
        """Return how cookies tie clients to servers; ``has_marks`` says that servers have values for them."""
        statement = self._settings.last("cookie")
        if statement is None:
            return None
        words = statement.arguments()
        if not words:
            self._report.error(statement.line, 0, "missing", "`cookie` needs a name", "write `cookie NAME insert indirect nocache`")
            return None
        found = Sticky(words[0], give=False, signed=False, http_only=False, secure="never", same_site="")
        at = 1
        while at < len(words):
            found, used = self._option(statement, at, words, found)
            at += used
        if not has_marks and not found.signed:
            hint = "give servers a `cookie` of their own"
            self._report.warning(statement.line, 0, "no-effect", "no server has a `cookie`, so nobody stays", hint)
            return None
        return found

    def _option(self, statement: Statement, at: int, words: list[str], found: Sticky) -> tuple[Sticky, int]:
        """Take one option of ``cookie``; return what it comes to and how many words it has."""
        word, place = words[at], statement.first + at
        value = words[at + 1] if at + 1 < len(words) else ""
        if word == "insert":
            return replace(found, give=True), 1
        if word == "rewrite":
            return replace(found, give=True, how="rewrite"), 1
        if word == "prefix":
            return replace(found, give=True, how="prefix"), 1
        if word == "indirect":
            return replace(found, hidden=found.how == "own"), 1
        if word == "nocache":
            return replace(found, private=True), 1
        if word == "httponly":
            return replace(found, http_only=True), 1
        if word == "secure":
            return replace(found, secure="always"), 1
        if word == "dynamic":
            return replace(found, signed=True), 1
        if word == "domain":
            if found.domain:
                self._report.not_built(statement.line, place, "a second domain of a cookie", "name one")
            return replace(found, domain=value), 2
        if word == "attr" and value.lower() in _SAME_SITE:
            return replace(found, same_site=_SAME_SITE[value.lower()]), 2
        if word == "attr":
            return replace(found, attributes=(*found.attributes, value)), 2
        if word == "preserve":
            return replace(found, yields=True), 1
        if word == "postonly":
            return replace(found, posts=True), 1
        if word in ("maxidle", "maxlife"):
            self._report.not_built(statement.line, place, f"`{word}` of a cookie", "leave it out")
            return found, 2
        self._report.error(statement.line, place, "syntax", f"`{word}` is no option of a cookie", did_you_mean(word, _COOKIE_OPTIONS))
        return found, 1
