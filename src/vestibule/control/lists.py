"""HAProxy's commands on maps and lists of patterns: `show map`, `add acl` and their kin.

Facts (HAProxy management guide, 9.3): an entry has a number by which it is deleted or set; `prepare` opens another version beside the one
that serves, `@N` names it, and `commit` puts it in the place of the other. In a payload, each line is an entry.

Rules: a change reads the configuration anew with the changed file, so that it holds everywhere or nowhere. Several at once are best said
in one payload. What is said here is over with the next reload, as in HAProxy.

Not here: how commands come in (`commands.py`), where changed files are (`changes.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from vestibule.control.changes import Changes
from vestibule.model.config import Config

Renew = Callable[[], Awaitable[list[str]]]
"""Serves the configuration with its files as they are changed; returns the reasons against it."""

_ACTS = ("show", "add", "del", "clear", "prepare", "commit")
HELP = (
    ("show map", "user", "show content of a map, or list all maps"),
    ("show acl", "user", "show content of a list of patterns, or list all lists"),
    *[(f"{act} {kind}", "admin", f"{act} entries of a {kind}") for act in _ACTS[1:] for kind in ("map", "acl")],
    ("set map", "admin", "set the value of an entry"),
)

_FIRST = 0x1000
_NAMES = {"map": "map", "acl": "ACL"}


class _Entry:
    """A line of a file: a key, and in a map its value."""

    def __init__(self, number: int, key: str, value: str) -> None:
        self.number = number
        self.key = key
        self.value = value


class _List:
    """A file of patterns: the entries that serve, and versions beside them."""

    def __init__(self, path: Path, name: str, kind: str) -> None:
        self.path = path
        self.name = name
        self.kind = kind
        self.serving: list[_Entry] = []
        self.others: dict[int, list[_Entry]] = {}
        self.last = 0

    def parse(self, text: str) -> list[tuple[str, str]] | str:
        """Return the entries of a text, or what is wrong with one of them."""
        found: list[tuple[str, str]] = []
        for line in map(str.strip, text.splitlines()):
            if not line or line.startswith("#"):
                continue
            # Between a key and its value is any white space.
            key, value = (*line.split(None, 1), "")[:2] if self.kind == "map" else (line, "")
            if self.kind == "map" and not value.strip():
                return f"Missing value in '{line}'.\n"
            found.append((key, value.strip()))
        return found

    def text(self) -> str:
        """Return what serves as a file has it."""
        return "".join(f"{each.key} {each.value}".rstrip() + "\n" for each in self.serving)


class Lists:
    """Answers commands on the files that the configuration names as maps and lists of patterns."""

    def __init__(self, base: Path, changes: Changes, renew: Renew, read: Callable[[], Config | None]) -> None:
        self._base = base
        self._changes = changes
        self._renew = renew
        self._read = read
        self._known: dict[tuple[str, str], _List] = {}
        self._begun = changes.begun
        self._number = _FIRST
        self.help = HELP

    async def answer(self, verb: str, words: list[str], payload: str) -> str:
        """Return what a command is answered."""
        act, _, kind = verb.partition(" ")
        if act == "show" and not words:
            return self._index(kind)
        version = 0
        if words and words[0].startswith("@") and words[0][1:].isdecimal():
            version = int(words.pop(0)[1:])
        found = self._find(kind, words[0] if words else "")
        if found is None:
            return f"Unknown {_NAMES[kind]} identifier. Please use #<id> or <file>.\n"
        if act == "prepare":
            found.last += 1
            found.others[found.last] = []
            return f"New version created: {found.last}\n"
        entries = found.serving
        if version:
            if version not in found.others:
                return f"Version number {version} is out of range.\n"
            entries = found.others[version]
        if act == "show":
            return "".join(f"{each.number:#x} {each.key} {each.value}".rstrip() + "\n" for each in entries)
        if act == "commit":
            if not version:
                return "Missing version number.\n"
            return await self._serve(found, found.others.pop(version))
        changed = self._changed(act, found, list(entries), words[1:], payload)
        if isinstance(changed, str):
            return changed
        if version:
            found.others[version] = changed
            return ""
        return await self._serve(found, changed)

    def _changed(self, act: str, found: _List, entries: list[_Entry], words: list[str], payload: str) -> list[_Entry] | str:
        """Return the entries after a command, or what is wrong with it."""
        if act == "clear":
            return []
        if act == "add":
            given = found.parse(payload) if payload else found.parse(" ".join(words))
            if isinstance(given, str) or not given:
                takes = "a key and a value" if found.kind == "map" else "a pattern"
                return given if isinstance(given, str) else f"'add {found.kind}' expects three parameters: identifier and {takes}.\n"
            return entries + [self._entry(key, value) for key, value in given]
        if not words:
            return "This command expects two parameters: identifier and key.\n"
        key = words[0] if found.kind == "map" else " ".join(words)
        hit = [each for each in entries if each.key == key or f"#{each.number:#x}" == key]
        if not hit:
            return "Key not found.\n"
        if act == "del":
            return [each for each in entries if each not in hit]
        if len(words) < 2:
            return "'set map' expects three parameters: map identifier, key and value.\n"
        value = " ".join(words[1:])
        for at, each in enumerate(entries):
            if each in hit:
                entries[at] = _Entry(each.number, each.key, value)
        return entries

    def _entry(self, key: str, value: str) -> _Entry:
        self._number += 1
        return _Entry(self._number, key, value)

    async def _serve(self, found: _List, entries: list[_Entry]) -> str:
        """Have other entries serve; return the reasons against it."""
        before = found.serving
        found.serving = entries
        held = self._changes.put(found.path, found.text().encode("utf-8", "surrogateescape"))
        reasons = await self._renew()
        if reasons:
            found.serving = before
            self._changes.put(found.path, held)
        return "".join(f"{reason}\n" for reason in reasons)

    def _names(self, kind: str) -> list[str]:
        """Return the files of a kind that what is served names."""
        config = self._read()
        sockets = config.process.command_sockets if config is not None else ()
        return list(dict.fromkeys(name for each in sockets for name, what in each.lists if what == kind))

    def _find(self, kind: str, name: str) -> _List | None:
        """Return a list by its file or its number."""
        if self._begun != self._changes.begun:
            # Somebody reloaded: what was said is over.
            self._begun = self._changes.begun
            self._known.clear()
        names = self._names(kind)
        if name.startswith("#") and name[1:].isdecimal():
            name = names[int(name[1:])] if int(name[1:]) < len(names) else ""
        if name not in names:
            return None
        found = self._known.get((kind, name))
        if found is None:
            path = self._base / name
            found = _List(path, name, kind)
            try:
                text = self._changes.where(path).read_text(encoding="utf-8", errors="surrogateescape")
            except OSError:
                text = ""
            given = found.parse(text)
            found.serving = [self._entry(key, value) for key, value in given] if not isinstance(given, str) else []
            self._known[kind, name] = found
        return found

    def _index(self, kind: str) -> str:
        """Return which lists there are."""
        lines = ["# id (file) description"]
        for at, name in enumerate(self._names(kind)):
            found = self._find(kind, name)
            count = len(found.serving) if found is not None else 0
            lines.append(f"{at} ({name}) pattern loaded from file '{name}' used by {kind}. curr_ver=0 next_ver=0 entry_cnt={count}")
        return "".join(f"{line}\n" for line in lines)
