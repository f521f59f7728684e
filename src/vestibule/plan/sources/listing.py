"""The page that lists a directory.

Facts: names are whoever's put the files there: in a page they are escaped, in a link encoded. A link begins with `./`, since a name
with a colon would be a scheme (RFC 3986 4.2).

Rules
  Directories come first, both by name without regard to case, unless the query says otherwise: `sort` by `name`, `namedirfirst`, `size` or
  `time`, `order` as `desc`, `limit` so many.
  A directory is read while others wait, so no more than so many names of it are.

Not here: which names are served (`files.py`).
"""

import html
import json
import os
import stat
import time
from typing import Final

from vestibule.plan.functions import url_encode

# Names that one page has at most. Their states are read in some 10 ms.
MOST: Final = 5_000

_UNITS: Final = ("KiB", "MiB", "GiB", "TiB")

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%(path)s</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color-scheme: light dark }
table { border-collapse: collapse; width: 100%% }
td, th { padding: .2rem .6rem; text-align: left; border-bottom: 1px solid #8884; white-space: nowrap }
td:first-child { white-space: normal; word-break: break-word; width: 70%% }
td:nth-child(2) { text-align: right; font-variant-numeric: tabular-nums }
</style>
</head>
<body>
<h1>%(path)s</h1>
<table>
<tr><th><a href="%(by_name)s">Name</a></th><th><a href="%(by_size)s">Size</a></th><th><a href="%(by_time)s">Changed</a></th></tr>
%(rows)s</table>
%(more)s</body>
</html>
"""


class Entry:
    """One name of a directory."""

    def __init__(self, name: bytes, status: os.stat_result, is_link: bool) -> None:
        self.name = name
        self.is_directory = stat.S_ISDIR(status.st_mode)
        self.is_link = is_link
        self.size = status.st_size
        # As Go writes modes, which those who read Caddy's lists know.
        self.mode = (status.st_mode & 0o777) | ((1 << 31) if self.is_directory else 0) | ((1 << 27) if is_link else 0)
        self.changed_ns = status.st_mtime_ns

    @property
    def link(self) -> str:
        """The link to it, from the page."""
        return "./" + url_encode(self.name).decode("ascii") + ("/" if self.is_directory else "")

    @property
    def shown(self) -> str:
        """Its name for people."""
        return self.name.decode("utf-8", "replace")


def read_entries(directory: bytes) -> list[Entry]:
    """Return what a directory holds and this program may look at; pipes and the like left out. Raises OSError."""
    found: list[Entry] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                status = entry.stat()
                is_link = entry.is_symlink()
            except OSError:
                continue  # gone meanwhile, or a link to nowhere
            if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
                found.append(Entry(entry.name, status, is_link))
            if len(found) >= MOST:
                break
    return found


def _name_key(entry: Entry) -> tuple[bytes, bytes]:
    return entry.name.lower(), entry.name


def _directory_key(entry: Entry) -> tuple[bool, bytes, bytes]:
    return not entry.is_directory, entry.name.lower(), entry.name


def _size_key(entry: Entry) -> tuple[int, bytes]:
    return -1 if entry.is_directory else entry.size, entry.name


def _time_key(entry: Entry) -> tuple[int, bytes]:
    return entry.changed_ns, entry.name


def arranged(entries: list[Entry], query: bytes) -> list[Entry]:
    """Return entries in the order that a query asks for, as many as it asks for."""
    asked: dict[bytes, bytes] = {}
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        asked[name] = value
    sort = asked.get(b"sort", b"")
    if sort == b"name":
        found = sorted(entries, key=_name_key)
    elif sort == b"size":
        found = sorted(entries, key=_size_key)
    elif sort == b"time":
        found = sorted(entries, key=_time_key)
    else:
        found = sorted(entries, key=_directory_key)
    if asked.get(b"order", b"") == b"desc":
        found.reverse()
    limit = asked.get(b"limit", b"")
    if limit.isdigit() and 0 < len(limit) < 9:
        found = found[: int(limit)]
    return found


def as_json(entries: list[Entry]) -> bytes:
    """Return entries as JSON."""
    rows: list[dict[str, object]] = []
    for each in entries:
        name = each.shown + ("/" if each.is_directory else "")
        row: dict[str, object] = {"name": name, "size": each.size, "url": each.link, "mod_time": _moment(each.changed_ns)}
        row["mode"] = each.mode
        row["is_dir"] = each.is_directory
        row["is_symlink"] = each.is_link
        rows.append(row)
    return json.dumps(rows, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def as_page(path: bytes, entries: list[Entry], is_whole: bool) -> bytes:
    """Return entries as a page for the path of the directory, with a way up."""
    rows: list[str] = []
    if path != b"/":
        rows.append('<tr><td><a href="../">../</a></td><td></td><td></td></tr>\n')
    for each in entries:
        size = "" if each.is_directory else sized(each.size)
        shown = html.escape(each.shown) + ("/" if each.is_directory else "")
        rows.append(f'<tr><td><a href="{each.link}">{shown}</a></td><td>{size}</td><td>{_moment(each.changed_ns)[:16]}</td></tr>\n')
    page = _PAGE % {
        "path": html.escape(path.decode("utf-8", "replace")),
        "by_name": "?sort=name",
        "by_size": "?sort=size&amp;order=desc",
        "by_time": "?sort=time&amp;order=desc",
        "rows": "".join(rows),
        "more": "" if is_whole else f"<p>Only {MOST} names are shown.</p>\n",
    }
    return page.encode()


def sized(count: int) -> str:
    """Return a number of bytes for people."""
    if count < 1024:
        return f"{count} B"
    size = count / 1024
    at = 0
    while size >= 1024 and at < len(_UNITS) - 1:
        size /= 1024
        at += 1
    return f"{size:.1f} {_UNITS[at]}"


def _moment(ns: int) -> str:
    """Return a moment as RFC 3339 has it, to the second, and to the nanosecond where it is not whole."""
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 1_000_000_000))
    part = f"{ns % 1_000_000_000:09d}".rstrip("0")
    return f"{text}.{part}Z" if part else f"{text}Z"
