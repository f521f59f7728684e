"""Rules by which HAProxy answers itself: ``redirect``, ``return``, ``deny`` with a body.

Facts (HAProxy configuration manual, chapter 4.2): a redirect is 302 unless ``code`` says otherwise; ``scheme`` keeps host,
path and query, ``prefix`` keeps path and query, ``location`` keeps nothing. ``return`` is 200 without a body.

Not here: conditions and order (``rules``).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Protocol

from vestibule.dialects.haproxy.formats import format_expr, read_format
from vestibule.dialects.haproxy.lexer import Line
from vestibule.dialects.haproxy.report import Report
from vestibule.dialects.haproxy.state import State
from vestibule.dialects.haproxy.variables import FETCHES
from vestibule.dialects.read import ReadText, Unreadable
from vestibule.model.config import Redirect, ReplaceAnswer, Respond, Source
from vestibule.model.expr import Compare, Const, Expr, Var, concat

_OURS = ("connection", "content-length", "transfer-encoding", "keep-alive")
"""Fields of a file that belong to the connection it is sent on."""

_REDIRECT_CODES = (301, 302, 303, 307, 308)


def condition_at(line: Line, first: int) -> int:
    """Return the index of the ``if`` or ``unless`` of a line, or its length."""
    for at in range(first, len(line.words)):
        if line.text(at) in ("if", "unless") and not line.words[at].quoted:
            return at
    return len(line.words)


def read_redirect(line: Line, first: int, end: int, state: State, report: Report, literal: bool = False) -> Source | None:
    """Read the words of a redirect between two indexes; None, noted, if they cannot be read.

    ``literal`` says that the target is no format, as that of a ``redirect`` line.
    """
    where = next((at for at in range(first, end) if line.text(at) in ("location", "prefix", "scheme")), end)
    kind = line.text(where)
    if where + 1 >= end:
        report.error(line, first, "syntax", "a redirect says where to", "write `location URL`, `prefix URL` or `scheme https`")
        return None
    location: Expr | None = Const(line.text(where + 1)) if literal else read_format(line, where + 1, state, report)
    code, keeps_query, at = 302, True, first
    while at < end:
        word = line.text(at)
        if at == where:
            at += 1
        elif word == "code":
            code, at = _redirect_code(line, at + 1, report), at + 1
        elif word == "drop-query":
            keeps_query = False
        elif word == "ignore-empty":
            pass  # the condition of the rule holds it, see `unless_empty`
        elif word in ("set-cookie", "clear-cookie", "append-slash", "keep-query", "set-cookie-fmt"):
            report.not_built(line, at, f"`{word}` of a redirect")
            return None
        else:
            report.error(line, at, "syntax", f"`{word}` is not expected here", "options are `code` and `drop-query`")
            return None
        at += 1
    if location is None:
        return None
    rest = _target(state) if keeps_query else Var("path")
    if kind == "scheme":
        location = concat([location, Const("://"), Var("host_port"), rest])
    elif kind == "prefix":
        # A prefix of `/` alone stands for no prefix.
        location = rest if location == Const("/") else concat([location, rest])
    return Redirect(location, code)  # type: ignore[arg-type]  # one of the codes of redirects


def unless_empty(line: Line, first: int, end: int, state: State, report: Report) -> Expr | None:
    """Return the test that a redirect with ``ignore-empty`` leads somewhere; None for those without it."""
    words = [line.text(at) for at in range(first, end)]
    where = next((at for at, word in enumerate(words) if word in ("location", "prefix", "scheme")), len(words))
    if "ignore-empty" not in words or where + 1 >= len(words):
        return None
    target = read_format(line, first + where + 1, state, report)
    return None if target is None else Compare("!=", target, Const(""))


def _target(state: State) -> Expr:
    """Return path and query as they are now: as the client sent them, to the letter, until a rule changes them."""
    return FETCHES["pathq"] if state.rewritten else Var("target")


def _redirect_code(line: Line, at: int, report: Report) -> int:
    text = line.text(at)
    if text.isdecimal() and int(text) in _REDIRECT_CODES:
        return int(text)
    report.error(line, at, "out-of-range", f"`{text}` is no code of a redirect", "use 301, 302, 303, 307 or 308")
    return 302


class Pages(Protocol):
    """The answers of ``http-errors`` sections."""

    def page(self, name: str, status: int) -> Respond | None:
        """Return what a section says for a status, without a name the proxy itself."""

    def is_silent(self, name: str, status: int) -> bool:
        """Tell whether that is to send nothing at all."""


def read_return(
    line: Line, first: int, end: int, state: State, report: Report, read_text: ReadText, status: int, pages: Pages | None = None
) -> Respond | None:
    """Read the words of an answer between two indexes; None, noted, if they cannot be read."""
    sound = True
    body: Expr | None = None
    content_type = ""
    headers: list[tuple[str, Expr]] = []
    at = first
    while at < end:
        word, value = line.text(at), line.text(at + 1)
        if at + 1 >= end and word != "default-errorfiles":
            report.error(line, at, "missing", f"nothing follows `{word}`")
            return None
        if word in ("status", "deny_status"):
            if value.isdecimal() and 200 <= int(value) <= 599:
                status = int(value)
            else:
                report.error(line, at + 1, "out-of-range", f"`{value}` is no status of an answer", "use 200 to 599")
        elif word == "content-type":
            content_type = value
        elif word == "string":
            body = Const(value)
        elif word == "lf-string":
            body = read_format(line, at + 1, state, report)
            sound = sound and body is not None
        elif word == "file":
            body = _file(line, at + 1, report, read_text)
            sound = sound and body is not None
        elif word == "hdr":
            expr = read_format(line, at + 2, state, report)
            headers.append((value, expr if expr is not None else Const("")))
            at += 1
        elif word == "default-errorfiles":
            page = pages.page("", status) if pages is not None else None
            if page is not None:
                return page
            at -= 1
        elif word == "lf-file":
            body = _formatted_file(line, at + 1, state, report, read_text)
            sound = sound and body is not None
        elif word == "errorfile":
            return whole_answer(line, at + 1, report, read_text)
        elif word == "errorfiles":
            page = pages.page(value, status) if pages is not None else None
            if page is None:
                report.error(line, at + 1, "unknown-reference", f"no `http-errors {value}` has an answer for {status}")
            return page
        else:
            report.error(line, at, "syntax", f"`{word}` is not expected here", "options are `status`, `content-type`, `string` and `hdr`")
            return None
        at += 2
    if body == Const(""):
        body = None  # what has no body has no type
    if content_type and body is not None:
        headers.insert(0, ("Content-Type", Const(content_type)))
    return Respond(status, body, tuple(headers)) if sound else None


def whole_answer(line: Line, at: int, report: Report, read_text: ReadText) -> Respond | None:
    """Read a file that holds an answer with its status line and fields; None, noted, if it holds none."""
    text = _file(line, at, report, read_text)
    if not isinstance(text, Const):
        return None
    head, _, body = str(text.value).replace("\r\n", "\n").partition("\n\n")
    start, *rows = head.split("\n")
    parts = start.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/") or not parts[1].isdecimal() or not 200 <= int(parts[1]) <= 599:
        report.error(line, at, "bad-value", f"`{line.text(at)}` holds no answer", "it begins with `HTTP/1.1 503 Service Unavailable`")
        return None
    headers = []
    for row in rows:
        name, _, value = row.partition(":")
        if name.strip() and name.strip().lower() not in _OURS:
            headers.append((name.strip(), Const(value.strip())))
    return Respond(int(parts[1]), Const(body) if body else None, tuple(headers))


def _formatted_file(line: Line, at: int, state: State, report: Report, read_text: ReadText) -> Expr | None:
    """Read a file whose text is a format."""
    text = _file(line, at, report, read_text)
    if not isinstance(text, Const):
        return None
    try:
        return format_expr(str(text.value), state)
    except Unreadable as bad:
        report.error(line, at, bad.code, bad.message, bad.hint)
        return None


def _file(line: Line, at: int, report: Report, read_text: ReadText) -> Expr | None:
    try:
        return Const(read_text(line.text(at)))
    except (OSError, UnicodeError) as bad:
        report.error(line, at, "unreadable", f"`{line.text(at)}` cannot be read: {bad}")
        return None


def refusal(status: int) -> Respond:
    """Return the page of HAProxy for a status."""
    try:
        words = HTTPStatus(status).phrase
    except ValueError:
        words = "Error"
    page = f"<html><body><h1>{status} {words}</h1>\nThe answer was refused.\n</body></html>\n"
    return Respond(status, Const(page), (("Content-Type", Const("text/html")), ("Cache-Control", Const("no-cache"))))


def replacement(source: Source) -> ReplaceAnswer:
    """Return what puts an answer of our own in the place of a server's."""
    if isinstance(source, Respond):
        return ReplaceAnswer(source.status, source.body, source.headers)
    assert isinstance(source, Redirect)
    fields: tuple[tuple[str, Expr], ...] = (("Location", source.location),)
    if source.status in (302, 303, 307):
        fields = (("Cache-Control", Const("no-cache")), *fields)
    return ReplaceAnswer(source.status, None, fields)


def answer_of(status: int, text: str) -> Respond:
    """Return the answer of ``monitor-uri``: a small page."""
    return Respond(status, Const(text), (("Content-Type", Const("text/html")), ("Cache-Control", Const("no-cache"))))
