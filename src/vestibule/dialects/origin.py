"""Where each part of a model was written, kept with the parts while they are put together.

Facts: a part's path in the model is known only when the whole is, while its line is known when it is made.

Rules: values of the model are frozen and may be equal, so a place is kept with the object itself and not with what it
says. What was made by ``replace`` has lost its place and has that of what encloses it, unless it is moved.

Not here: places by path, and diagnostics (``record``).
"""

from __future__ import annotations

import dataclasses
from typing import TypeVar

from vestibule.dialects.record import Record
from vestibule.model.config import Config
from vestibule.model.diagnostic import Span

T = TypeVar("T")


class Origins:
    """Remembers the span of objects of one model; it keeps them alive, so that no other object takes their place."""

    def __init__(self) -> None:
        self._spans: dict[int, tuple[object, Span]] = {}

    def at(self, span: Span, value: T) -> T:
        """Note where a value was written and return it. What was noted first stays."""
        self._spans.setdefault(id(value), (value, span))
        return value

    def span_of(self, value: object) -> Span | None:
        """Return where a value was written, if it was noted."""
        found = self._spans.get(id(value))
        return found[1] if found is not None else None

    def move(self, old: object, new: T) -> T:
        """Let a changed value have the place of the one it was made from."""
        span = self.span_of(old)
        return self.at(span, new) if span is not None else new

    def tell(self, config: Config, record: Record) -> None:
        """Give a record the path of everything in a whole configuration that has a place."""
        self._walk(config, "", record)

    def _walk(self, value: object, path: str, record: Record) -> None:
        span = self.span_of(value)
        if span is not None and path:
            record.origin(path, span)
        if isinstance(value, tuple):
            for at, item in enumerate(value):
                self._walk(item, f"{path}[{at}]", record)
        elif dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                self._walk(getattr(value, field.name), f"{path}.{field.name}" if path else field.name, record)
