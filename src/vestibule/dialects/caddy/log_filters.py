"""``format filter`` of ``log``: what a line of the access log leaves out or writes otherwise.

Facts (Caddy's documentation, "log"): the address of the client is ``request>remote_ip`` for who is connected and ``request>client_ip`` for
whom trusted proxies name. A filter of fields that are not logged here says nothing.

Rules: with a filter that is not only one of the query, a line is a template that has the names of the log in JSON. What is said of one
of the two addresses holds for the other, unless it has a filter of its own: nobody who masks one wants to read it in the other.
"""

from __future__ import annotations

import re
from dataclasses import replace

from vestibule.dialects.caddy.report import Report
from vestibule.dialects.caddy.tree import Segment
from vestibule.model.config import AccessLog
from vestibule.model.expr import EMPTY, Call, Const, Expr, Var, concat

_SHOWN: tuple[tuple[str, str, Expr], ...] = (
    ("remote_ip", "peer_ip", Var("peer_ip")),
    ("client_ip", "client_ip", Var("client_ip")),
    ("host", "host", Var("host_port")),
    ("headers>referer", "referer", Var("header", "Referer")),
    ("headers>user-agent", "user_agent", Var("header", "User-Agent")),
    ("method", "method", Var("method")),
    ("uri", "target", Var("target")),
    ("proto", "protocol", Var("protocol")),
)
"""Fields of Caddy's log that ours has, too: its name, ours, and what it shows."""

_REST: tuple[tuple[str, Expr], ...] = (
    ("status", Var("status")),
    ("bytes_in", Var("bytes_in")),
    ("bytes_out", Var("bytes_out")),
    ("total_ms", Var("total_ms")),
)
_NAMES: tuple[tuple[str, Expr], ...] = (
    ("site", Var("site")),
    ("upstream", Var("upstream")),
    ("upstream_address", Var("upstream_address")),
    ("fault", Var("fault")),
)
_ADDRESSES = ("remote_ip", "client_ip")


def filtered(log: AccessLog, lines: tuple[Segment, ...], report: Report) -> AccessLog:
    """Return a log with the filters of a block."""
    shown: dict[str, Expr] = {}
    log = _read(log, lines, shown, report)
    if not shown:
        return log
    for one, other in (_ADDRESSES, _ADDRESSES[::-1]):
        if one in shown and other not in shown:
            shown[other] = _of_other(shown[one], Var(one.replace("remote", "peer")), Var(other.replace("remote", "peer")))
    parts: list[Expr] = [Const('{"time":"'), Var("time"), Const('"')]
    for name, ours, whole in _SHOWN:
        value = shown.get(name, whole)
        if value != EMPTY:
            parts += [Const(f',"{ours}":"'), value, Const('"')]
    for ours, value in _REST:
        parts += [Const(f',"{ours}":'), value]
    for ours, value in _NAMES:
        parts += [Const(f',"{ours}":"'), value, Const('"')]
    return replace(log, format="template", template=concat([*parts, Const("}")]), escape="json")


def _of_other(made: Expr, one: Expr, other: Expr) -> Expr:
    """Return what a filter of one address makes of the other."""
    return replace(made, arguments=(other, *made.arguments[1:])) if isinstance(made, Call) and made.arguments[:1] == (one,) else made


def _read(log: AccessLog, lines: tuple[Segment, ...], shown: dict[str, Expr], report: Report) -> AccessLog:
    known = {name: value for name, _, value in _SHOWN}
    for line in lines:
        name = line.name.removeprefix("request>").lower()
        if name == "fields":
            log = _read(log, line.inside(), shown, report)
        elif name == "wrap":
            report.left_out(line.head, "`wrap`", "the access log is vestibule's JSON")
        elif name == "uri" and line.texts()[:1] == ["query"]:
            # What is replaced, hashed or deleted there is redacted here.
            hidden = tuple([inner.token(1).text for inner in line.inside() if len(inner.tokens) > 1])
            log = replace(log, redact=tuple(dict.fromkeys((*log.redact, *hidden))))
        elif name == "headers":
            for each in ("headers>referer", "headers>user-agent"):
                _filter(line, each, known[each], shown, report)
        elif name in known:
            _filter(line, name, known[name], shown, report)
    return log


def _filter(line: Segment, name: str, value: Expr, shown: dict[str, Expr], report: Report) -> None:
    """Note what a filter makes of one field."""
    kind, *words = (*line.texts(), "")
    words = words[:-1]
    if kind == "delete":
        shown[name] = EMPTY
    elif kind == "replace" and words:
        shown[name] = Const(words[0])
    elif kind == "hash":
        digest = Call("hex", (Call("digest", (value, Const("sha256"))),))
        shown[name] = Call("capture", (digest, Const("^.{8}"), Const("0")))
    elif kind == "regexp" and len(words) == 2:
        try:
            re.compile(words[0])
        except re.error as bad:
            report.error(line.token(2), "bad-regex", f"`{words[0]}` is no regular expression: {bad}")
            return
        shown[name] = Call("replace", (value, Const(words[0]), Const(re.sub(r"\$\{?(\d)\}?", r"\\\1", words[1])), Const("g")))
    elif kind == "ip_mask" and name in _ADDRESSES:
        bits = _bits(line, words, report)
        if bits is not None:
            shown[name] = Call("mask", (value, Const(bits[0]), Const(bits[1])))
    else:
        report.not_built(line.head, f"this filter of `{line.name}`", "write `delete`, `replace TEXT`, `hash` or `ip_mask`")


def _bits(line: Segment, words: list[str], report: Report) -> tuple[int, int] | None:
    """Read ``ip_mask 16 32``, or the same in a block; what is not said keeps nothing of an address, as in Caddy."""
    said = dict(zip(("ipv4", "ipv6"), words, strict=False))
    for inner in line.inside():
        if inner.name not in ("ipv4", "ipv6"):
            report.error(inner.head, "unknown-option", f"`{inner.name}` is unknown in `ip_mask`", "write `ipv4 24` and `ipv6 48`")
            return None
        said[inner.name] = "".join(inner.texts()[:1])
    made: list[int] = []
    for key, most in (("ipv4", 32), ("ipv6", 128)):
        text = said.get(key, "0")
        if not text.isdecimal() or int(text) > most:
            report.error(line.head, "out-of-range", f"`{text}` is no number of bits of an address", f"write 0 to {most}")
            return None
        made.append(int(text))
    return made[0], made[1]
