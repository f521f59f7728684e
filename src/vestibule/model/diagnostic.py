"""Mistakes in a configuration, as values with a place.

Rules: a dialect and ``check`` never raise on bad input and never stop at the first mistake; they collect these.

Not here: faults of requests (``fault.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum


class Severity(Enum):
    """Whether a configuration with this diagnostic may be used."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a file: a line and column, counted from 1, or the path of a key, or both. 0 and empty are unknown."""

    file: str = ""
    line: int = 0
    column: int = 0
    key: str = ""

    def render(self) -> str:
        """Return ``file:line:column`` where the line is known, else ``file:key.path``, as far as known."""
        if self.line:
            return f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"
        return f"{self.file}:{self.key}" if self.file and self.key else self.file or self.key


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One mistake: where, how bad, which (``code`` is stable, for tests and tools), what, and how to mend it."""

    span: Span
    severity: Severity
    code: str
    message: str
    hint: str = ""

    def render(self) -> str:
        """Return one line: place, severity, what is wrong, and how to mend it where that is known."""
        text = f"{self.message}; {self.hint}" if self.hint else self.message
        place = self.span.render()
        return f"{place}: {self.severity.value}: {text}" if place else f"{self.severity.value}: {text}"


def error(span: Span, code: str, message: str, hint: str = "") -> Diagnostic:
    """Return a diagnostic that forbids the use of the configuration."""
    return Diagnostic(span, Severity.ERROR, code, message, hint)


def warning(span: Span, code: str, message: str, hint: str = "") -> Diagnostic:
    """Return a diagnostic that only informs."""
    return Diagnostic(span, Severity.WARNING, code, message, hint)


def has_errors(diagnostics: Iterable[Diagnostic]) -> bool:
    """Tell whether one of the diagnostics forbids the use of the configuration."""
    return any(each.severity is Severity.ERROR for each in diagnostics)


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return a hint that names the nearest known word, or all of them where none is near; empty without any."""
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean `{near[0]}`?"
    if not known:
        return ""
    return "known here: " + ", ".join(f"`{each}`" for each in known)
