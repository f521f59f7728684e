"""HAProxy's commands on what is counted by keys: `show table` and `clear table`.

Facts (HAProxy management guide, 9.3): a line tells the key, when it is forgotten in milliseconds, and its counters; those of a period have
it in parentheses.

Rules: each worker counts by itself, and what they have is added up. A number of a line is made from its key, for nobody takes one.

Not here: how commands come in (`commands.py`), what counts (`plan/steps/count.py`).
"""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from vestibule.model.config import Config

HELP = (
    ("show table", "user", "report what is counted in a table, or which tables there are"),
    ("clear table", "operator", "forget a key of a table, or all"),
)

_ORDER = (
    *("gpt0", "gpc0", "gpc0_rate", "conn_cnt", "conn_rate", "conn_cur", "sess_cnt", "sess_rate", "http_req_cnt", "http_req_rate"),
    *("http_err_cnt", "http_err_rate", "bytes_in_cnt", "bytes_in_rate", "bytes_out_cnt", "bytes_out_rate", "gpc1", "gpc1_rate"),
    *("http_fail_cnt", "http_fail_rate"),
)

Counted = Callable[[str, str], Awaitable[list[dict[str, Any]]]]
"""Returns what each worker has counted in a table, having forgotten a key of it first, or with `*` all."""


class Tables:
    """Answers commands on tables."""

    def __init__(self, counted: Counted, read: Callable[[], Config | None]) -> None:
        self.help = HELP
        self._counted = counted
        self._read = read

    async def answer(self, verb: str, words: list[str], payload: str) -> str:
        """Return what a command is answered."""
        del payload
        tables = self._tables()
        if verb == "show table" and not words:
            return "".join([self._head(name, about, len(await self._rows(name, ""))) for name, about in tables.items()])
        name = words[0] if words else ""
        if name not in tables:
            return "No such table.\n"
        key = words[2] if words[1:2] == ["key"] and len(words) == 3 else ""
        if len(words) > 1 and not key:
            return "Only `key <key>` is known here behind the name of a table.\n"
        if verb == "clear table":
            await self._counted(name, key or "*")
            return ""
        about = tables[name]
        rows = await self._rows(name, "")
        lines = [self._head(name, about, len(rows))]
        for each in sorted(rows, key=_rank):
            if key in ("", each):
                lines.append(_line(about, each, rows[each]))
        return "".join(lines)

    def _tables(self) -> dict[str, list[str]]:
        """Return the tables of what is served, each with its type, its size, and its counters with their periods."""
        config = self._read()
        sockets = config.process.command_sockets if config is not None else ()
        return {name: what.split()[1:] for each in sockets for name, what in each.lists if what.startswith("table ")}

    @staticmethod
    def _head(name: str, about: list[str], used: int) -> str:
        return f"# table: {name}, type: {about[0]}, size:{about[1]}, used:{used}\n"

    async def _rows(self, name: str, forget: str) -> dict[str, dict[str, tuple[int, int]]]:
        """Return the counters of each key, all workers together: how many, and when it is forgotten."""
        rows: dict[str, dict[str, tuple[int, int]]] = {}
        for worker in await self._counted(name, forget):
            for counter, keys in worker.items():
                for key, (count, left) in keys.items():
                    had = rows.setdefault(key, {}).get(counter, (0, 0))
                    rows[key][counter] = (had[0] + int(count), max(had[1], int(left)))
        return rows


def _line(about: list[str], key: str, counters: dict[str, tuple[int, int]]) -> str:
    """Write the line of a key."""
    kept = dict([word.partition(":")[::2] for word in about[2:]])
    names = sorted(kept, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
    left = max([each[1] for each in counters.values()], default=0)
    told = [f"{name}({kept[name]})" if kept[name] not in ("", "0") else name for name in names]
    values = " ".join([f"{shown}={counters.get(name, (0, 0))[0]}" for shown, name in zip(told, names, strict=True)])
    shown = f"::ffff:{key}" if about[0] == "ipv6" and "." in key and ":" not in key else key
    return f"{zlib.crc32(key.encode()) | 1 << 32:#x}: key={shown} use=0 exp={left} {values}".rstrip() + "\n"


def _rank(key: str) -> tuple[int, int, str]:
    """Sort addresses by their bits, before other keys."""
    try:
        address = ipaddress.ip_address(key)
    except ValueError:
        return 1, 0, key
    mapped = int(address) | 0xFFFF << 32 if address.version == 4 else int(address)
    return 0, mapped, ""
