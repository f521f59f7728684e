"""Answers in the place of errors: ``errorfile``, ``errorfiles`` with ``http-errors`` sections, ``http-error``, ``errorloc``.

Facts (HAProxy configuration manual, chapters 4.2 and 12.4): a file holds a whole answer, status line and fields included; the last
line for a status counts. They stand for what HAProxy itself answers, never for answers of servers.

Not here: answers of rules (``answers``).
"""

from __future__ import annotations

from vestibule.dialects.haproxy.answers import read_return, whole_answer
from vestibule.dialects.haproxy.report import Report, span
from vestibule.dialects.haproxy.settings import Settings
from vestibule.dialects.haproxy.state import State
from vestibule.dialects.haproxy.tree import Section, Statement
from vestibule.dialects.origin import Origins
from vestibule.dialects.read import ReadText
from vestibule.model.config import ErrorRoute, HangUp, Redirect, Respond, Source
from vestibule.model.diagnostic import did_you_mean
from vestibule.model.expr import Const

STATUSES = (200, 400, 401, 403, 404, 405, 407, 408, 410, 413, 425, 429, 500, 501, 502, 503, 504)
_OTHER_THAN_ERRORS = 200


class ErrorPages:
    """Reads the answers in the place of errors; ``http-errors`` sections are known by name."""

    def __init__(self, sections: list[Section], report: Report, origins: Origins, read_text: ReadText) -> None:
        self._report = report
        self._origins = origins
        self._read_text = read_text
        self._named = {each.name: each for each in sections if each.kind == "http-errors"}

    def routes(self, settings: Settings) -> tuple[ErrorRoute, ...] | None:
        """Return who answers in the place of the errors of a proxy; None where nothing is said."""
        found = self._all(settings)
        found.pop(_OTHER_THAN_ERRORS, None)
        if not found:
            return None
        return tuple([found[status] for status in sorted(found)])

    def of(self, settings: Settings) -> OwnPages:
        """Return what rules of one proxy may refer to."""
        return OwnPages(self, settings)

    def _all(self, settings: Settings) -> dict[int, ErrorRoute]:
        """Return what a proxy says, by status; the last word counts, and it may be to say nothing."""
        found: dict[int, ErrorRoute | None] = {}
        for statement in settings.statements:
            found.update(self._of(statement))
        return {status: route for status, route in found.items() if route is not None}

    def route(self, name: str, settings: Settings | None, status: int) -> ErrorRoute | None:
        """Return what a section says for a status, without a name the proxy itself; None where nothing is said."""
        if settings is not None and not name:
            return self._all(settings).get(status)
        section = self._named.get(name)
        return dict(self._of_section(section)).get(status) if section is not None else None

    def _of(self, statement: Statement) -> list[tuple[int, ErrorRoute | None]]:
        if statement.name in ("errorfile", "errorloc", "errorloc302", "errorloc303"):
            return self._single(statement)
        if statement.name == "http-error":
            return self._answered(statement)
        return self._several(statement) if statement.name == "errorfiles" else []

    def _of_section(self, section: Section) -> list[tuple[int, ErrorRoute | None]]:
        return [each for statement in section.lines for each in self._of(statement)]

    def _single(self, statement: Statement) -> list[tuple[int, ErrorRoute | None]]:
        line, first = statement.line, statement.first
        status = self._status(statement, first)
        value = line.text(first + 1)
        if not value:
            self._report.error(line, first, "missing", f"`{statement.name}` needs a status and what to send")
            return []
        if status is None:
            return []
        source: Source | None
        if statement.name != "errorfile":
            source = Redirect(Const(value), 303 if statement.name == "errorloc303" else 302)
        elif value == "/dev/null":
            # Nothing at all is sent.
            return [(status, self._origins.at(span(line), ErrorRoute(Respond(status), (status,), 0, request=(HangUp(),))))]
        else:
            source = whole_answer(line, first + 1, self._report, self._read_text)
        return [] if source is None else [(status, self._route(statement, status, source))]

    def _answered(self, statement: Statement) -> list[tuple[int, ErrorRoute | None]]:
        """``http-error status CODE …``, with the words of ``http-request return``."""
        line, first = statement.line, statement.first
        status = self._status(statement, first + 1) if line.text(first) == "status" else None
        if line.text(first) != "status":
            self._report.error(line, first, "missing", "`http-error` says first which status it is for", "write `http-error status 503 …`")
        if "default-errorfiles" in line.texts(first) and status is not None:
            return [(status, None)]
        pages = OwnPages(self, None)
        answer = read_return(line, first, len(line.words), State(read_text=self._read_text), self._report, self._read_text, 200, pages)
        return [] if status is None or answer is None else [(status, self._route(statement, status, answer))]

    def _several(self, statement: Statement) -> list[tuple[int, ErrorRoute | None]]:
        line, first = statement.line, statement.first
        section = self._named.get(line.text(first))
        if section is None:
            hint = did_you_mean(line.text(first), list(self._named))
            self._report.error(line, first, "unknown-reference", f"there is no `http-errors {line.text(first)}`", hint)
            return []
        wanted = [self._status(statement, at) for at in range(first + 1, len(line.words))]
        return [each for each in self._of_section(section) if not wanted or each[0] in wanted]

    def _status(self, statement: Statement, at: int) -> int | None:
        text = statement.line.text(at)
        if text.isdecimal() and int(text) in STATUSES:
            return int(text)
        known = ", ".join(map(str, STATUSES))
        self._report.error(statement.line, at, "bad-value", f"`{text}` is no status that can be answered otherwise", f"known are {known}")
        return None

    def _route(self, statement: Statement, status: int, source: Source) -> ErrorRoute:
        return self._origins.at(span(statement.line), ErrorRoute(source, (status,), 0))


class OwnPages:
    """What rules of one proxy may refer to."""

    def __init__(self, pages: ErrorPages, settings: Settings | None) -> None:
        self._pages = pages
        self._settings = settings

    def page(self, name: str, status: int) -> Respond | None:
        """Return what a section says for a status, without a name the proxy itself; None where nothing is said."""
        route = self._route(name, status)
        return route.source if route is not None and isinstance(route.source, Respond) else None

    def is_silent(self, name: str, status: int) -> bool:
        """Tell whether that is to send nothing at all."""
        route = self._route(name, status)
        return route is not None and bool(route.request)

    def _route(self, name: str, status: int) -> ErrorRoute | None:
        if self._settings is None and not name:
            return None
        return self._pages.route(name, self._settings, status)
