"""Sections inside sections: what holds at a place of the file, and whether every directive may stand where it stands.

Facts: a virtual host takes over what the server outside says and it does not; where the same is said twice in one section, the
later one holds.

Rules: ``prune`` notes every mistake of place and number and hands on what is supported.

Not here: what directives mean (``lower`` and its neighbours).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

from vestibule.dialects.apache.directives import DIRECTIVES, How, Row
from vestibule.dialects.apache.tree import Directive
from vestibule.dialects.record import Record
from vestibule.model.diagnostic import did_you_mean

T = TypeVar("T")

_SECTIONS = {
    "virtualhost": "virtual host",
    "location": "location",
    "locationmatch": "location",
    "proxy": "proxy",
    "proxymatch": "proxy",
    "requireall": "location",
    "requireany": "location",
    "requirenone": "location",
    "if": "location",
    "elseif": "location",
    "else": "location",
    "limit": "location",
    "limitexcept": "location",
}

_TIME = re.compile(r"([0-9]{1,9})(ms|s|mi|min|h|d|)", re.ASCII)
_TIME_UNITS = {"": 1_000, "ms": 1, "s": 1_000, "mi": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_KEEPS_LINKS = {"none", "-followsymlinks", "symlinksifownermatch", "+symlinksifownermatch"}


class Pruner:
    """Checks a tree against the table."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._warned: set[str] = set()

    def prune(self, directives: Iterable[Directive], context: str) -> tuple[Directive, ...]:
        """Return what is supported among directives that stand in a context, sections included."""
        kept: list[Directive] = []
        for directive in directives:
            row = DIRECTIVES.get(directive.name)
            if row is None:
                self._unknown(directive, context)
            elif self._fits(directive, row, context):
                if row.how is How.MISSING and [each.lower() for each in directive.texts] == ["off"]:
                    continue  # it is off here
                if row.how is How.MISSING:
                    self._record.error(directive.span, "not-built", f"`{row.name}` is not supported", row.doc)
                elif row.how is not How.SUPPORTED:
                    self._left_out(directive, row)
                    if directive.name == "options" and _KEEPS_LINKS & {each.lower() for each in directive.texts}:
                        hint = "keep none below the directory that lead out of it"
                        self._record.warning(directive.span, "differs", "symbolic links are followed, whatever `Options` says", hint)
                else:
                    kept.append(self._inside(directive))
        return tuple(kept)

    def _inside(self, directive: Directive) -> Directive:
        if directive.block is None:
            return directive
        inner = self.prune(directive.block, _SECTIONS.get(directive.name, "directory"))
        return Directive(directive.name, directive.written, directive.args, directive.span, directive.raw, inner)

    def _fits(self, directive: Directive, row: Row, context: str) -> bool:
        if context not in row.contexts:
            if context in ("location", "directory") and "virtual host" in row.contexts:
                message = f"`{row.name}` in a section is not built yet"
                self._record.error(directive.span, "not-built", message, "write it in the virtual host")
                return False
            where = ", ".join(f"`{each}`" for each in row.contexts)
            self._record.error(directive.span, "wrong-place", f"`{row.name}` cannot stand in a `{context}`", f"it belongs into: {where}")
            return False
        if row.section != (directive.block is not None):
            written = f"<{row.name} ...>" if row.section else f"{row.name} ..."
            self._record.error(directive.span, "no-section", f"`{row.name}` is written `{written}`")
            return False
        if not row.accepts(len(directive.args)):
            plural = "" if row.takes in ("1", "1+") else "s"
            wanted = f"at least {row.takes[:-1]}" if row.takes.endswith("+") else row.takes.replace("-", " to ")
            message = f"`{row.name}` takes {wanted} argument{plural}, and has {len(directive.args)} here"
            self._record.error(directive.span, "arguments", message)
            return False
        return True

    def _unknown(self, directive: Directive, context: str) -> None:
        near = did_you_mean(directive.written, [row.name for row in DIRECTIVES.values() if context in row.contexts])
        hint = near if near.startswith("did") else "check its spelling; modules of others are not supported"
        self._record.error(directive.span, "unknown-directive", f"there is no directive `{directive.written}`", hint)

    def _left_out(self, directive: Directive, row: Row) -> None:
        if row.name not in self._warned:
            self._warned.add(row.name)
            self._record.warning(directive.span, "left-out", f"`{row.name}` is left out", row.doc)


class Scope:
    """The directives of one section, and of those around it."""

    def __init__(self, record: Record, directives: Iterable[Directive], outer: Scope | None = None) -> None:
        self.record = record
        self.outer = outer
        self.directives = tuple(directives)
        self._places: dict[str, list[int]] = {}
        for at, each in enumerate(self.directives):
            self._places.setdefault(each.name, []).append(at)

    def own(self, *names: str) -> list[Directive]:
        """Return the directives of this section that have one of these names, in order."""
        places = [at for name in {name.lower() for name in names} for at in self._places.get(name, ())]
        return [self.directives[at] for at in sorted(places)]

    def nearest(self, *names: str) -> list[Directive]:
        """Return the directives of these names of the nearest section that has any."""
        found = self.own(*names)
        return found if found or self.outer is None else self.outer.nearest(*names)

    def all(self, *names: str) -> list[Directive]:
        """Return the directives of these names of the outer sections and this one, in the order they apply."""
        outer = self.outer.all(*names) if self.outer is not None else []
        return [*outer, *self.own(*names)]

    def find(self, name: str) -> Directive | None:
        """Return the directive of this name that holds here, or None."""
        found = self.nearest(name)
        return found[-1] if found else None

    def text(self, name: str, default: str = "") -> str:
        """Return the first argument of a directive that holds here."""
        found = self.find(name)
        return default if found is None else found.text()

    def flag(self, name: str, default: bool) -> bool:
        """Tell whether something is on here."""
        return self._value(name, parse_flag, default)

    def time(self, name: str, default: int) -> int:
        """Return a time that holds here, in milliseconds; a bare number is seconds."""
        return self._value(name, parse_time, default)

    def count(self, name: str, default: int) -> int:
        """Return a number that holds here."""
        return self._value(name, parse_count, default)

    def _value(self, name: str, parse: Callable[[str], T], default: T) -> T:
        found = self.find(name)
        if found is None:
            return default
        try:
            return parse(found.text())
        except ValueError as bad:
            self.record.error(found.place(0), "bad-value", str(bad))
            return default


def authorities_between(scope: Scope, name: str) -> int:
    """Return how many authorities may stand between a certificate and a trusted one. httpd counts that, too; 1 unless said."""
    found = scope.count(name, 1)
    directive = scope.find(name)
    if found < 1 and directive is not None:
        not_built(scope.record, directive, 0, f"`{name} 0`, for certificates that sign themselves,", "write `1` or more")
    return max(found - 1, 0)


def parse_flag(text: str) -> bool:
    """Read ``On`` or ``Off``."""
    if text.lower() not in ("on", "off"):
        raise ValueError(f"`{text}` is neither `On` nor `Off`")
    return text.lower() == "on"


def parse_time(text: str) -> int:
    """Read ``60``, ``500ms``, ``10min`` as milliseconds."""
    found = _TIME.fullmatch(text.lower())
    if found is None:
        raise ValueError(f"`{text}` is no time; write it in seconds")
    return int(found[1]) * _TIME_UNITS[found[2]]


def parse_count(text: str) -> int:
    """Read a number."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise ValueError(f"`{text}` is no number")
    return int(text)


def not_built(record: Record, directive: Directive, at: int, what: str, hint: str = "take it out, or keep httpd for this part") -> None:
    """Note something that is known and cannot be done yet."""
    record.error(directive.place(at), "not-built", f"{what} is not built yet", hint)
