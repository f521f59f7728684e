"""Reading single values and flat tables, with every mistake noted at its key.

Rules: a value that cannot be read is noted and left at its default, so that reading goes on.

Not here: tables with a structure of their own (``parse``, ``routes``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from vestibule.dialects.toml.form import Form, ListOf, Text, kind_name
from vestibule.dialects.toml.notes import Notes, join
from vestibule.dialects.toml.schema import ACCESS_LOG, COMPRESSION, FORWARDING, LIMITS, TIMEOUTS
from vestibule.dialects.toml.table import Table
from vestibule.model.config import AccessLog, Compression, Forwarding, Limits, Timeouts

T = TypeVar("T")

TomlTable = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Missing:
    """Stands for a value that was not given or could not be read."""


MISSING = Missing()


@dataclass(frozen=True, slots=True)
class Level:
    """What holds at one level of nesting, for the levels inside to start from."""

    timeouts: Timeouts
    limits: Limits
    forwarding: Forwarding
    access_log: AccessLog


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in the file (``key``) and the place in the model (``path``) that is read from it."""

    notes: Notes
    key: str
    path: str

    def inside(self, name: str, field: str = "") -> Spot:
        """Return the spot of a key in this table; ``field`` is its name in the model, where that differs."""
        path = f"{self.path}.{field or name}" if self.path else field or name
        return Spot(self.notes, join(self.key, name), path)

    def at(self, index: int, place: int = -1) -> Spot:
        """Return the spot of an item of this array; ``place`` is its index in the model, where that differs."""
        return Spot(self.notes, join(self.key, index), f"{self.path}[{index if place < 0 else place}]")

    def error(self, code: str, message: str, hint: str = "") -> None:
        """Note a mistake here."""
        self.notes.error(self.key, code, message, hint)

    def mark(self) -> None:
        """Remember that this place of the model came from this key."""
        self.notes.origin(self.path, self.key)

    def value(self, form: Form, value: object) -> Any:
        """Return the model's value, or ``MISSING`` with the mistake noted. Items of an array are noted one by one."""
        try:
            if not isinstance(form, ListOf):
                return form.read(value)
            items = form.items(value)
        except ValueError as bad:
            self.error("bad-value", str(bad))
            return MISSING
        alone = not isinstance(value, list)
        read: list[Any] = []
        for index, item in enumerate(items):
            spot = self if alone else self.at(index, len(read))
            one = spot.value(form.item, item)
            if one is MISSING:
                self.notes.hush(self.key)
                continue
            spot.mark()
            read.append(one)
        return tuple(read)

    def text(self, value: object, what: str) -> str | None:
        """Return a text; None, noted, if it is none."""
        read = self.value(Text(what), value)
        return read if isinstance(read, str) else None

    def array(self, value: object) -> list[object]:
        """Return the items of an array; of anything else, noted, none."""
        if not isinstance(value, list):
            self.error("bad-value", f"expected an array, not {kind_name(value)}")
            return []
        return value

    def tables(self, value: object) -> list[tuple[str, object]]:
        """Return the named tables in a table of tables."""
        if not isinstance(value, dict):
            self.error("bad-value", f"expected a table of tables, not {kind_name(value)}")
            return []
        return list(value.items())

    def section(self, table: Table, value: object) -> Section | None:
        """Return a table with its known keys; unknown ones are noted and left out. None, noted, if it is no table."""
        self.mark()
        if not isinstance(value, dict):
            self.error("bad-value", f"expected a table, not {kind_name(value)}")
            return None
        known = table.names()
        for name in value:
            if name not in known:
                self.notes.unknown(self.key, name, known)
        return Section(self, table, {name: item for name, item in value.items() if name in known})


@dataclass(frozen=True, slots=True)
class Section:
    """One table of the file, its keys known to exist."""

    spot: Spot
    table: Table
    data: TomlTable

    def __contains__(self, name: str) -> bool:
        return name in self.data

    def inside(self, name: str, field: str = "") -> Spot:
        """Return the spot of a key, remembered as the origin of its place in the model."""
        spot = self.spot.inside(name, field)
        spot.mark()
        return spot

    def mark(self, *names: str) -> None:
        """Remember keys as the origins of fields of the same names, given or not: ``check`` may miss one."""
        for name in names:
            self.inside(name)

    def read(self, name: str, default: T) -> T:
        """Return the value of a key, or the default where it is not given or cannot be read."""
        if name not in self.data:
            return default
        value = self.spot.inside(name).value(self.table.key(name).form, self.data[name])
        return default if value is MISSING else value

    def error(self, name: str, code: str, message: str, hint: str = "") -> None:
        """Note a mistake at a key; without a name, at the table."""
        (self.spot.inside(name) if name else self.spot).error(code, message, hint)

    def given(self, *names: str) -> list[str]:
        """Return which of the keys are given."""
        return [name for name in names if name in self.data]


def read_flat(spot: Spot, table: Table, value: object, base: T) -> T:
    """Return ``base`` with what a flat table changes."""
    section = spot.section(table, value)
    if section is None:
        return base
    changes: dict[str, Any] = {}
    for key in table.keys:
        if not key.field:
            continue
        section.inside(key.name, key.field)
        read = section.read(key.name, MISSING)
        if read is not MISSING:
            changes[key.field] = read
    return replace(base, **changes)  # type: ignore[type-var]  # each table of the schema names a dataclass


def read_access_log(spot: Spot, value: object, base: AccessLog) -> AccessLog:
    """Return the access log: a target alone, a table, or an array of them. A template alone means the format of that name, and
    giving another format drops the template of the level around. One that is no array is the only one."""
    if isinstance(value, list):
        if not value:
            spot.error("empty-value", "a log needs a target", "write `off` for none")
            return base
        spot.mark()
        logs = [
            read_access_log(Spot(spot.notes, spot.at(at).key, f"{spot.path}.also[{at - 1}]" if at else spot.path), item, AccessLog())
            for at, item in enumerate(value)
        ]
        return replace(logs[0], also=tuple(logs[1:]))
    if isinstance(value, str):
        value = {"target": value}
    log = read_flat(spot, ACCESS_LOG, value, replace(base, also=()))
    if isinstance(value, dict):
        if "target" in value and "file" not in value:
            log = replace(log, file=None)
        if "template" in value and "format" not in value:
            return replace(log, format="template")
        if "template" not in value and log.format != "template":
            return replace(log, template=None)
    return log


def read_level(section: Section, outer: Level) -> tuple[dict[str, Any], Level]:
    """Return what a site or route sets for itself, as fields, and what then holds inside it."""
    own: dict[str, Any] = {}
    for table, base in ((TIMEOUTS, outer.timeouts), (LIMITS, outer.limits), (FORWARDING, outer.forwarding)):
        if table.title in section:
            own[table.title] = read_flat(section.inside(table.title), table, section.data[table.title], base)
    if "access_log" in section:
        own["access_log"] = read_access_log(section.inside("access_log"), section.data["access_log"], outer.access_log)
    inner = replace(outer, **own)
    if "compress" in section:
        spot = section.inside("compress", "compression")
        value = section.data["compress"]
        if isinstance(value, bool):
            own["compression"] = Compression() if value else Compression(types=())
        else:
            own["compression"] = read_flat(spot, COMPRESSION, value, Compression())
    return own, inner
