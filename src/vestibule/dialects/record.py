"""What a reader of a configuration language keeps beside the model: its mistakes, and where each place of the model was written.

Rules: one mistake for one place: what ``check`` finds where a mistake was noted already is a consequence and left out.

Not here: the notes of TOML, whose places are keys and not lines (``toml/notes``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from vestibule.model.config import Config, Route, Source, Switch
from vestibule.model.diagnostic import Diagnostic, Severity, Span, error, warning

_LAST_STEP = re.compile(r"(?:\.[^.\[\]]+|\[[0-9]+\])$")


class Record:
    """Collects the diagnostics of one configuration, included files too, and the origin of each place in the model."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._origins: dict[str, Span] = {}
        self._routes: dict[int, tuple[Route, Span]] = {}
        self.diagnostics: list[Diagnostic] = []

    def error(self, span: Span, code: str, message: str, hint: str = "") -> None:
        """Note what forbids the configuration; twice the same is once."""
        self._note(error(span, code, message, hint))

    def warning(self, span: Span, code: str, message: str, hint: str = "") -> None:
        """Note what is allowed and worth a word."""
        self._note(warning(span, code, message, hint))

    def _note(self, found: Diagnostic) -> None:
        if found not in self.diagnostics:
            self.diagnostics.append(found)

    @property
    def has_errors(self) -> bool:
        """Whether something forbids the configuration so far."""
        return any(each.severity is Severity.ERROR for each in self.diagnostics)

    def origin(self, model_path: str, span: Span) -> None:
        """Remember where a place of the model was written."""
        self._origins[model_path] = span

    def mark(self, route: Route, span: Span) -> Route:
        """Remember where a route was written, before it is known where it will stand; return it."""
        self._routes[id(route)] = (route, span)
        return route

    def changed(self, before: Route, after: Route) -> Route:
        """Remember that one route took the place of another; return it."""
        if id(before) in self._routes:
            self.mark(after, self._routes[id(before)][1])
        return after

    def settle(self, config: Config) -> None:
        """Find where the marked routes stand now that the model is whole."""
        for at, site in enumerate(config.sites):
            self._settle(f"sites[{at}].source", site.source)

    def _settle(self, path: str, source: Source) -> None:
        if isinstance(source, Switch):
            for at, route in enumerate(source.routes):
                place = f"{path}.routes[{at}]"
                if id(route) in self._routes:
                    self._origins.setdefault(place, self._routes[id(route)][1])
                self._settle(f"{place}.source", route.source)

    def place(self, model_path: str) -> Span:
        """Return the place in the file of a place in the model: its own, or the nearest one around it."""
        path = model_path
        while path:
            if path in self._origins:
                return self._origins[path]
            shorter = _LAST_STEP.sub("", path)
            if shorter == path:
                break
            path = shorter
        return self._origins.get("", Span(self._file, key=model_path))

    def merge(self, checked: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
        """Return all diagnostics, leaving out those of ``check`` that follow from a mistake already noted, sorted by place."""
        reported = {each.span for each in self.diagnostics if each.severity is Severity.ERROR}
        found = list(self.diagnostics)
        for each in checked:
            follows = each.span in reported or (reported and each.severity is Severity.WARNING)
            if not follows and each not in found:
                found.append(each)
        # Included files stay in the order they were met; within one, the reader goes from top to bottom.
        files = {name: at for at, name in enumerate(dict.fromkeys([self._file, *[each.span.file for each in found]]))}
        return tuple(sorted(found, key=lambda each: (files[each.span.file], each.span.line, each.span.column)))
