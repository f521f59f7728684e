"""What every dialect takes and gives: a source text in, a model with its diagnostics out.

Rules: a dialect reads no file itself; it asks the ``ReadText`` it was given. It never raises on bad input.

Not here: the dialects, and how a file's dialect is recognised (``dialects/__init__.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from vestibule.model.config import Config
from vestibule.model.diagnostic import Diagnostic, Span, has_errors

ReadText: TypeAlias = Callable[[str], str]
"""Returns the text of an included file, named as the configuration names it. Raises ``OSError``, ``UnicodeError``."""


class Unreadable(Exception):
    """A text of a dialect that cannot be had as an expression: the code, what is wrong, and how to mend it."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


@runtime_checkable
class FindsFiles(Protocol):
    """A ``ReadText`` that also knows which files there are."""

    def find_files(self, pattern: str) -> list[str]:
        """Return the files that a pattern matches, named as it names them, in the order of their names."""
        ...


@runtime_checkable
class KnowsEnvironment(Protocol):
    """A ``ReadText`` that also knows the variables of the environment."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Return them by name."""
        ...


def environment_of(read_text: ReadText) -> Mapping[str, str] | None:
    """Return the variables of the environment; None where the text stands alone."""
    return read_text.environment if isinstance(read_text, KnowsEnvironment) else None


def is_pattern(name: str) -> bool:
    """Tell whether the name of an included file is a pattern of the shell rather than one name."""
    return any(mark in name for mark in "*?[")


def find_files(read_text: ReadText, pattern: str) -> list[str]:
    """Return the files that a pattern matches; none where the text stands alone."""
    return read_text.find_files(pattern) if isinstance(read_text, FindsFiles) else []


def _path_itself(path: str) -> Span:
    return Span(key=path)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The outcome of reading one configuration. The model is there whenever the syntax allows one, for ``check`` and
    ``adapt`` to look at; it may be used only when ``ok``.

    ``place`` returns where in the file a place in the model was written (``certificates[0].cert``, ``upstreams[1]``), for
    those who find a mistake later, in the files it names or in what can be built.
    """

    config: Config | None
    diagnostics: tuple[Diagnostic, ...]
    files: tuple[str, ...] = ()
    place: Callable[[str], Span] = _path_itself

    @property
    def ok(self) -> bool:
        """Whether there is a model and nothing forbids its use; warnings do not."""
        return self.config is not None and not has_errors(self.diagnostics)


Parse: TypeAlias = Callable[[str, str, ReadText], Loaded]
"""Reads a text. Takes the name it is told by in mistakes, the text, and what reads others."""


def read_nothing(path: str) -> str:
    """Refuse to read: the ``ReadText`` of a text that stands alone."""
    raise FileNotFoundError(f"{path} cannot be read here")


def place_of(text: str, offset: int) -> tuple[int, int]:
    """Return line and column, counted from 1, of an offset in a text."""
    line = text.count("\n", 0, offset) + 1
    return line, offset - (text.rfind("\n", 0, offset) + 1) + 1
