"""What a key and a table of the TOML language are, and forms that several tables use.

Rules:
* A key with a ``field`` is documented by that field's own text and has its default; sugar has its own ``doc``.
* Each table lists its keys in the order they are written and documented.
* An example is TOML that can stand where the key stands; the tests parse them all.

Not here: the tables (``schema`` and its parts ``schema_*``).
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields

from vestibule.dialects.toml.form import (
    Choice,
    Form,
    ListOf,
    Text,
)
from vestibule.model.diagnostic import did_you_mean
from vestibule.model.quantity import parse_host, parse_network


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table."""

    name: str
    form: Form
    example: str
    field: str = ""
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """One table: the class of the model it fills, and its keys."""

    title: str
    cls: type
    doc: str
    keys: tuple[Key, ...]

    def names(self) -> list[str]:
        """Return the names of the keys."""
        return [key.name for key in self.keys]

    def key(self, name: str) -> Key:
        """Return a key that is known to be there."""
        for key in self.keys:
            if key.name == name:
                return key
        raise KeyError(name)


class Inline(Form):
    """A small table of its own, mostly written on one line."""

    def __init__(self, table: Table) -> None:
        super().__init__(f"a table as in [{table.title}]")
        self._table = table

    def read(self, value: object) -> object:
        if not isinstance(value, dict):
            raise self.wrong(value)
        changes: dict[str, object] = {}
        for name, item in value.items():
            if name not in self._table.names():
                raise ValueError(f"`{name}` is not known here; {did_you_mean(name, self._table.names())}")
            key = self._table.key(name)
            try:
                changes[key.field] = key.form.read(item)
            except ValueError as bad:
                raise ValueError(f"`{name}`: {bad}") from None
        for field in fields(self._table.cls):
            if field.default is MISSING and field.name not in changes:
                raise ValueError(f"`{field.name}` is missing")
        return self._table.cls(**changes)

    def write(self, value: object) -> str:
        usual = {field.name: field.default for field in fields(self._table.cls)}
        told = [key for key in self._table.keys if getattr(value, key.field) != usual[key.field]]
        return "{ " + ", ".join([f"{key.name} = {key.form.write(getattr(value, key.field))}" for key in told]) + " }"


NETWORKS = ListOf(Text("a network", parse_network), one_alone=True)
HOSTS = ListOf(Text("a host", parse_host), one_alone=True)
NAMES = ListOf(Text("a name"), one_alone=True)
FORWARD = Choice("set", "remove", "pass")
LOG_TARGET = Text('"stdout", "stderr", "off", a path or "syslog:HOST:PORT"')
TABLE = "a table"
LOG = 'a table, an array of tables, or "stdout", "stderr", "off", a path or "syslog:HOST:PORT"'
