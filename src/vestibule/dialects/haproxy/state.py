"""What is known where a rule of a haproxy.cfg stands: fields and variables that rules before it set, what is counted, what was captured.

Rules: a state is never changed, rules make new ones; but what has to be kept or looked up is gathered in what all states share.

Not here: reading of expressions (``sample``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from vestibule.dialects.piece import reads_path, without_path
from vestibule.dialects.read import ReadText, Unreadable, read_nothing
from vestibule.model.config import Count
from vestibule.model.expr import Call, Const, Expr, Var


def not_built(what: str, hint: str = "") -> Unreadable:
    """Return the mistake of using what HAProxy has and vestibule has not."""
    return Unreadable("not-built", f"{what}: not built yet", hint)


@dataclass(frozen=True, slots=True)
class Tracked:
    """What a slot counts by, and in the table of which proxy."""

    table: str
    counters: tuple[str, ...] = ()
    """The counters that the table keeps."""


class CountedTable(Protocol):
    """A ``stick-table``, as far as samples ask it."""

    @property
    def name(self) -> str:
        """The proxy that it stands in."""

    @property
    def periods(self) -> Mapping[str, int]:
        """The counters that it keeps."""

    @property
    def is_tracked(self) -> bool:
        """Whether any rule counts in it."""

    def look(self, counter: str, key: Expr, name: str) -> Count:
        """Return what looks a counter of a key up, or, without one, whether it is there."""


class Lookups:
    """What has to be looked up before the rule that is being read."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str, Expr], str] = {}
        self._waiting: dict[str, Count] = {}

    def add(self, table: CountedTable, counter: str, key: Expr) -> Expr:
        """Look a counter up; return what reads it. Without a counter it is whether the key is in the table."""
        name = self._names.setdefault((table.name, counter, key), f"look{len(self._names)}.{counter or 'found'}")
        self._waiting[name] = table.look(counter, key, name)
        return Call("number", (Var("kept", name),))

    def take(self) -> list[Count]:
        """Return what was asked for since the last time."""
        taken = list(self._waiting.values())
        self._waiting.clear()
        return taken


class PatternFiles:
    """The files of maps and of patterns that were read, each with what it is."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def note(self, name: str, kind: str) -> None:
        """Remember a file; one that is both is a map."""
        if self.names.get(name) != "map":
            self.names[name] = kind


_IDENTITY = Var("request_id")


def _no_table(name: str) -> CountedTable | None:
    return None


@dataclass(frozen=True, slots=True)
class State:
    """What is known where a rule stands: fields and variables set before it, and the name of the frontend.

    A value of None cannot be told any more.
    """

    frontend: str = ""
    read_text: ReadText = read_nothing
    headers: dict[str, Expr | None] = field(default_factory=dict)
    variables: dict[str, Expr | None] = field(default_factory=dict)
    rewritten: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    """What ``env`` reads."""
    captures: dict[tuple[str, str], Expr] = field(default_factory=dict)
    """What was captured, by the fetch that reads it and its slot."""
    slots: Mapping[tuple[str, int], int] = field(default_factory=dict)
    """Which slot a line declares, by its file and its number."""
    logged: dict[tuple[str, str], Expr] | None = None
    """What rules capture, as lines of logs read it. Shared by the states of a frontend; None where nothing is logged."""
    tracked: dict[str, Tracked] = field(default_factory=dict)
    """What is counted by, for each slot."""
    addresses: dict[str, Expr] = field(default_factory=dict)
    """Addresses and ports that a rule changed, by their fetch."""
    real: set[str] = field(default_factory=set)
    """Variables that are kept while a request is served, since their expression cannot stand in for them. Shared by all states."""
    assigned: set[str] = field(default_factory=set)
    """Variables that any rule so far sets. Shared by the states of a frontend."""
    removed: tuple[str, ...] = ()
    """Patterns of the names of fields that were removed."""
    raw: bool = False
    """Whether there are only bytes: what is known of TLS is what a passed-on ClientHello says."""
    files: PatternFiles = field(default_factory=PatternFiles)
    """Files of maps and of patterns. Shared by all states."""
    identity: Expr = _IDENTITY
    """What identifies a request: ``unique-id``."""
    proxy: str = ""
    """The section whose rules are read."""
    backends: Mapping[str, bool] = field(default_factory=dict)
    """All backends, and whether they have servers."""
    backend: str = ""
    """The backend that serves the request; empty until one is chosen, and where that cannot be told."""
    servers: tuple[tuple[str, str], ...] = ()
    """The servers of that backend, names with addresses, where one of them has answered."""
    tables: Callable[[str], CountedTable | None] = _no_table
    lookups: Lookups | None = None
    """Where lookups of tables wait for their rule; None where nothing can be looked up."""

    def table(self, name: str) -> CountedTable | None:
        """Return the table of a proxy, of this one where none is named."""
        return self.tables(name or self.proxy)

    def with_header(self, name: str, value: Expr | None) -> State:
        """Return the state after a field was set."""
        return replace(self, headers={**self.headers, name.lower(): value})

    def with_variable(self, name: str, value: Expr | None) -> State:
        """Return the state after a variable was set."""
        return replace(self, variables={**self.variables, name: value})

    def forgetting(self) -> State:
        """Return the state where any rule may have answered: what variables hold then has to be kept."""
        return replace(self, variables=dict.fromkeys(self.assigned))

    def with_address(self, fetch: str, value: Expr) -> State:
        """Return the state after an address or a port was changed."""
        return replace(self, addresses={**self.addresses, fetch: value})

    def with_tracked(self, slot: str, table: str, counters: tuple[str, ...]) -> State:
        """Return the state after a slot counts by something. One that does already goes on."""
        return self if slot in self.tracked else replace(self, tracked={**self.tracked, slot: Tracked(table, counters)})

    def with_removed(self, pattern: str) -> State:
        """Return the state after fields were removed by their names: none of them is what the client sent any more."""
        return replace(self, removed=(*self.removed, pattern))

    def with_capture(self, value: Expr, number: int, length: int = 0, name: str = "capture.req.hdr") -> State:
        """Return the state after a value was captured in a slot, as long as `length` allows; 0 is as long as it is."""
        if length:
            value = Call("slice", (value, Const(0), Const(length)))
        return replace(self, captures={**self.captures, (name, str(number)): value})

    def after_rewrite(self) -> State:
        """Return the state after the target changed: what was made from the old one is lost."""
        # What was captured stays what it was.
        captures = {key: value for key, value in self.captures.items() if not reads_path(value)}
        return replace(
            self,
            headers=without_path(self.headers),
            variables=without_path(self.variables),
            rewritten=True,
            captures=captures,
        )
