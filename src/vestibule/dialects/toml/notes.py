"""Where the reader of TOML keeps what it finds: mistakes, and which key each place of the model came from.

Rules: one mistake for one key: what ``check`` finds at a key already reported, or below one that could not be read, is a
consequence and left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from vestibule.dialects.toml.form import key_text
from vestibule.model.diagnostic import Diagnostic, Severity, Span, did_you_mean, error, warning

_LAST_STEP = re.compile(r"(?:\.[^.\[\]]+|\[[0-9]+\])$")


def join(path: str, key: str | int) -> str:
    """Return the path of a key or an item inside the table or array at ``path``."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key_text(key)}" if path else key_text(key)


class Notes:
    """Collects the diagnostics of one file and the origin of each place in the model."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._origins: dict[str, str] = {}
        self._hushed: set[str] = set()
        self.diagnostics: list[Diagnostic] = []

    def error(self, key: str, code: str, message: str, hint: str = "") -> None:
        """Note a mistake at a key."""
        self.diagnostics.append(error(Span(self._file, key=key), code, message, hint))

    def warning(self, key: str, code: str, message: str, hint: str = "") -> None:
        """Note at a key what is allowed and probably not meant."""
        self.diagnostics.append(warning(Span(self._file, key=key), code, message, hint))

    def unknown(self, table: str, key: str, known: list[str]) -> None:
        """Note a key that the table does not have."""
        self.error(join(table, key), "unknown-key", f"there is no key `{key}` here", did_you_mean(key, known))

    def hush(self, key: str) -> None:
        """Leave out what ``check`` may find at a key: something noted elsewhere has left its value incomplete."""
        self._hushed.add(key)

    def origin(self, model_path: str, key: str) -> None:
        """Remember which key a place of the model came from."""
        self._origins[model_path] = key

    def place(self, model_path: str) -> Span:
        """Return the place in the file of a place in the model: its own, or the nearest one around it."""
        path = model_path
        while path:
            if path in self._origins:
                return Span(self._file, key=self._origins[path])
            shorter = _LAST_STEP.sub("", path)
            if shorter == path:
                break
            path = shorter
        return Span(self._file, key=model_path.partition("[")[0].partition(".")[0])

    def merge(self, checked: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
        """Return all diagnostics, leaving out those of ``check`` that follow from a mistake already noted."""
        reported = {each.span.key: each.code for each in self.diagnostics if each.severity is Severity.ERROR}
        for each in checked:
            if each.severity is Severity.WARNING and reported:
                continue
            if each.span.key not in self._hushed and not any(_follows(each.span.key, key, code) for key, code in reported.items()):
                self.diagnostics.append(each)
        return tuple(self.diagnostics)


def _follows(key: str, outer: str, code: str) -> bool:
    """Whether a mistake at a key follows from one at another: at the same key, or below one that could not be read."""
    return key == outer or (code == "bad-value" and key.startswith((f"{outer}.", f"{outer}[")))
