"""``filter bwlim-out`` and ``bwlim-in``: how many bytes of a body pass in a time.

Facts (HAProxy configuration manual, chapter 9.7): a filter does nothing until ``set-bandwidth-limit`` names it. With
``default-limit`` and ``default-period`` each stream has its own, which the rule may change; with ``limit`` and ``key`` all streams of
a key share, in the period that the table counts bytes in.

Rules
  A later rule for the same filter counts instead of the earlier.
  The pace is what counts: a period of a minute is not used up at its beginning. ``min-size`` is ours to choose.
  A filter that cannot be read is noted, and rules that name it do nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from vestibule.dialects.haproxy.answers import condition_at
from vestibule.dialects.haproxy.lexer import Line
from vestibule.dialects.haproxy.quantity import parse_time
from vestibule.dialects.haproxy.report import Report
from vestibule.dialects.haproxy.sample import as_text, read_sample
from vestibule.dialects.haproxy.settings import Settings
from vestibule.dialects.haproxy.state import State
from vestibule.dialects.haproxy.tree import Section, Statement
from vestibule.model.config import BandwidthLimit
from vestibule.model.diagnostic import did_you_mean
from vestibule.model.expr import Const, Expr

_SIZE = re.compile(r"([0-9]{1,12})([kKmMgG]?)")
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_SECOND_MS = 1_000
_OWN = ("default-limit", "default-period", "min-size")
_SHARED = ("limit", "key", "table", "min-size")

Period = Callable[[str, str], int | None]
"""The period in which the table of a proxy counts something; None where it does not."""


@dataclass(frozen=True, slots=True)
class _Filter:
    """One filter: of which body, and how many bytes in which period; the word of its key where it is shared."""

    of: str
    line: Line
    size: int = 0
    period_ms: int = 0
    key_at: int = 0
    zone: str = ""


class Paces:
    """The filters of one proxy, and the rules that put them in."""

    def __init__(self, settings: Settings, name: str, report: Report, period: Period) -> None:
        self._report = report
        self._proxy = name
        self._period = period
        self._filters: dict[str, _Filter | None] = {}
        for rule, of in (("filter bwlim-out", "response"), ("filter bwlim-in", "request")):
            for statement in settings.all(rule):
                self._declare(statement, of)

    def _declare(self, statement: Statement, of: str) -> None:
        line, first = statement.line, statement.first
        name = line.text(first)
        if not name:
            self._report.error(line, first, "missing", "a filter needs a name")
            return
        self._filters[name] = None
        places = {line.text(at): at + 1 for at in range(first + 1, len(line.words), 2)}
        is_shared = "key" in places
        for word, at in places.items():
            if word not in (_SHARED if is_shared else _OWN):
                hint = "`limit` needs a `key`" if word == "limit" else ""
                self._report.error(line, at - 1, "unknown-option", f"`{word}` is no option of this filter", hint)
                return
        size = self._size(line, places, "limit" if is_shared else "default-limit")
        period = self._shared_period(line, places) if is_shared else self._time(line, places)
        if size is None or period is None:
            return
        zone = f"{line.text(places['table']) if 'table' in places else self._proxy} {name}" if is_shared else f"{self._proxy} {name}"
        self._filters[name] = _Filter(of, line, size, period, places.get("key", 0), zone)

    def _size(self, line: Line, places: dict[str, int], option: str) -> int | None:
        at = places.get(option)
        found = _SIZE.fullmatch(line.text(at)) if at is not None else None
        if found is None:
            self._report.error(line, at or 0, "bad-value", f"a filter needs its `{option}`, as `625k`")
            return None
        return int(found[1]) * _UNITS[found[2].lower()]

    def _time(self, line: Line, places: dict[str, int]) -> int | None:
        at = places.get("default-period", len(line.words))
        try:
            return parse_time(line.text(at))
        except ValueError:
            self._report.error(line, min(at, len(line.words) - 1), "bad-value", "a filter needs its `default-period`, as `1s`")
            return None

    def _shared_period(self, line: Line, places: dict[str, int]) -> int | None:
        table = line.text(places["table"]) if "table" in places else self._proxy
        for counter in ("bytes_out_rate", "bytes_in_rate"):
            period = self._period(table, counter)
            if period is not None:
                return period
        at = places.get("table", 0)
        message = f"the table of `{table}` counts no bytes"
        self._report.error(line, at, "unknown-reference", message, "write `stick-table ... store bytes_out_rate(1s)`")
        return None

    def limit(self, statement: Statement, state: State, response: bool) -> tuple[BandwidthLimit | None, int]:
        """Read a ``set-bandwidth-limit``: the limit, None, noted, where there is none; and where the condition of the rule begins."""
        line, first = statement.line, statement.first
        end = condition_at(line, first)
        name = line.text(first) if first < end else ""
        if name not in self._filters:
            hint = did_you_mean(name, sorted(self._filters)) if self._filters else "write `filter bwlim-out NAME ...`"
            self._report.error(line, first, "unknown-reference", f"there is no filter `{name}` here", hint)
            return None, end
        found = self._filters[name]
        if found is None:
            return None, end
        if response and found.of == "request":
            self._report.not_built(line, first, "a pace of the request set by the answer", "use `http-request`")
            return None, end
        places = {line.text(at): at + 1 for at in range(first + 1, end, 2)}
        for word, at in places.items():
            if word not in ("limit", "period"):
                self._report.error(line, at - 1, "unknown-option", f"`{word}` is no option of `set-bandwidth-limit`")
                return None, end
        if found.key_at:
            key = read_sample(found.line, found.key_at, state, self._report)
            if key is None:
                return None, end
            return BandwidthLimit(_per_second(found.size, found.period_ms), found.of, key=as_text(key), zone=found.zone), end
        rate = self._rate(line, places, found, state)
        return (BandwidthLimit(rate, found.of, zone=found.zone) if rate is not None else None), end

    def _rate(self, line: Line, places: dict[str, int], found: _Filter, state: State) -> Expr | None:
        period = found.period_ms
        if "period" in places:
            try:
                period = parse_time(line.text(places["period"]))
            except ValueError:
                self._report.not_built(line, places["period"], "a period that depends on the request", "write a time")
                return None
        if "limit" not in places:
            return _per_second(found.size, period)
        at = places["limit"]
        size = _SIZE.fullmatch(line.text(at))
        if size is not None:
            return _per_second(int(size[1]) * _UNITS[size[2].lower()], period)
        expr = read_sample(line, at, state, self._report)
        if expr is not None and period != _SECOND_MS:
            self._report.not_built(line, at, "a limit that depends on the request for anything but a second", "write `period 1s`")
            return None
        return None if expr is None else as_text(expr)


def counted(section: Section | None, counter: str) -> int | None:
    """Return the period of a counter in a proxy's ``stick-table``; None if it has none."""
    for statement in section.effective() if section is not None else []:
        if statement.name == "stick-table":
            for word in " ".join(statement.arguments()).replace(",", " ").split():
                if word.startswith(f"{counter}(") and word.endswith(")"):
                    try:
                        return parse_time(word.removeprefix(f"{counter}(").removesuffix(")"))
                    except ValueError:
                        return None
    return None


def _per_second(size: int, period_ms: int) -> Expr:
    """Return a rate; one that is less than a byte in a second is one."""
    return Const(str(max(1, size * _SECOND_MS // period_ms) if size else 0))
