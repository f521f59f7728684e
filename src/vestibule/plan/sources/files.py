"""A directory answers: files with validators and ranges (RFC 9110 13, 14).

Facts
  A file may grow, shrink or be replaced while it is sent; the descriptor stays with what was opened.
  Opening a FIFO waits for its other end, unless it is opened without waiting.

Rules
  What stands at a path is told by `plan/lookup.py`. What is hidden counts as not there, in lists too.
  Only regular files are sent. Bodies are read in pieces as the client takes them, one piece in each turn.
  A file that ends before its Content-Length breaks the connection: half a picture must not look whole.
  A file that stands for an error is sent whole, whatever conditions and ranges the request has.

  A file that was compressed beforehand stands beside it, with the ending of its coding.

Not here: conditions and ranges (`http/ranges.py`), pages that list (`listing.py`), which directory (`compile.py`).
"""

import os
import re
import stat
from typing import Final

from vestibule.contract import Plan, Source, Stream
from vestibule.exchange import Exchange
from vestibule.fault import PROXY_DENIED, PROXY_INTERNAL, PROXY_NO_ROUTE, UPSTREAM_TRUNCATED, Fault, ProtocolError
from vestibule.http.dates import http_date
from vestibule.http.fields import Fields, fields_of
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.http.ranges import FAILED, NOT_MODIFIED, judge, parse_ranges, wants_parts
from vestibule.http.semantics import clean_value
from vestibule.http.target import normal_path
from vestibule.net.reactor import Later, Reactor
from vestibule.plan.expr import Node
from vestibule.plan.filters.compress import accepts_coding, joined
from vestibule.plan.lookup import DIRECTORY, FILE, FORBIDDEN, NOTHING, look, name_of
from vestibule.plan.sent import came_target
from vestibule.plan.sources.listing import MOST, arranged, as_json, as_page, read_entries
from vestibule.plan.steps.deny import refuse

_PIECE: Final = 131_072
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_WELL_KNOWN: Final = b".well-known"  # the one name with a dot that is meant for others (RFC 8615)

# How a client that asks for a directory without `/` is sent to the path with it.
URL: Final = 0  # the whole URL, 301
PATH: Final = 1  # the path, 308
STAY: Final = 2  # not at all
BARE: Final = 3  # the path, 301


class Part:
    """Bytes to send: what stands before them, where they begin in the file, how many they are."""

    def __init__(self, before: bytes, start: int, count: int) -> None:
        self.before = before
        self.start = start
        self.left = count


class FileStream(Stream, Later):
    """The upstream side of an exchange that a file answers."""

    def __init__(self, ex: Exchange, reactor: Reactor, fd: int, parts: list[Part], after: bytes) -> None:
        self._ex = ex
        self._reactor = reactor
        self._fd = fd
        self._parts = parts
        self._after = after
        self._at = 0
        self._paused = False
        self._asked = False

    def begin(self, head: ResponseHead) -> None:
        """Deliver the head; the body follows from the next turn on."""
        bare = not self._parts
        self._ex.on_response(head, bare)
        if not bare:
            self._ask()

    def on_turn(self) -> None:
        """Deliver the next piece."""
        self._asked = False
        if self._fd < 0 or self._paused:
            return
        part = self._parts[self._at]
        want = min(part.left, _PIECE)
        try:
            data = os.pread(self._fd, want, part.start)
        except OSError as error:
            self._ex.fail(Fault(PROXY_INTERNAL, f"reading a file: {error.strerror}"))
            return
        if not data and want:
            self._ex.fail(Fault(UPSTREAM_TRUNCATED, "the file became shorter while it was sent"))
            return
        part.start += len(data)
        part.left -= len(data)
        if part.before:
            data = part.before + data
            part.before = b""
        if part.left == 0:
            self._at += 1
        last = self._at == len(self._parts)
        self._ex.on_response_body(data + self._after if last else data, last)
        if not last:
            self._ask()

    def _ask(self) -> None:
        if not self._asked and not self._paused and self._fd >= 0:
            self._asked = True
            self._reactor.call_later(self)

    def send_head(self, head: RequestHead | ResponseHead, end: bool) -> bool:
        return True

    def send_body(self, data: bytes, end: bool) -> bool:
        return True  # a GET's body means nothing here (RFC 9110 9.3.1)

    def send_trailers(self, fields: Fields) -> bool:
        return True

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._ask()

    def abort(self, fault: Fault) -> None:
        self._close()

    def release(self) -> None:
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Manner:
    """How a directory answers. `hide` are patterns of names, and of paths that begin with `/`; `codings` are codings with the endings
    of files that are in them; `status` is that of every file, 0 the usual ones; `slash` is one of those above,
    `origin` what stands before the path in a URL."""

    def __init__(
        self,
        hidden: bool = False,
        hide: list[re.Pattern[bytes]] | None = None,
        listing: bool = False,
        codings: list[tuple[bytes, bytes]] | None = None,
        status: int = 0,
        slash: int = URL,
        origin: Node | None = None,
    ) -> None:
        self.hidden = hidden
        self.hide: list[re.Pattern[bytes]] = hide or []
        self.listing = listing
        self.codings: list[tuple[bytes, bytes]] = codings or []
        self.status = status
        self.slash = slash
        self.origin = origin

    def hides(self, path: bytes) -> bool:
        """Tell whether a path in normal form is hidden, or stands below what is."""
        if not self.hidden and path.find(b"/.") >= 0:
            for segment in path.split(b"/"):
                if segment[:1] == b"." and segment != _WELL_KNOWN:
                    return True
        return any(pattern.search(path) is not None for pattern in self.hide)


class Files(Source):
    """Answers from a directory. `types` are Content-Types by the ending of a name; `otherwise` answers where no file is."""

    def __init__(
        self,
        reactor: Reactor,
        root: bytes,
        strip: bytes,
        index: list[bytes],
        tries: list[Node],
        otherwise: Plan | None,
        default_type: bytes,
        types: dict[bytes, bytes],
        manner: Manner,
    ) -> None:
        self._reactor = reactor
        self._root = root.rstrip(b"/")
        self._strip = strip
        self._index = index
        self._tries = tries
        self._otherwise = otherwise
        self._default_type = default_type
        self._types = types
        self._manner = manner

    def start(self, ex: Exchange) -> None:
        try:
            path = normal_path(ex.request.path())
        except ProtocolError as error:
            refuse(ex, error)
            return
        if self._tries:
            for each in self._tries:
                wanted = each.text(ex)
                if self._try(ex, wanted):
                    return
        else:
            inside = self._inside(path)
            what, name = self._find(inside)
            if what == FORBIDDEN:
                ex.fail(Fault(PROXY_DENIED, "the file may not be read"))
                return
            if what == DIRECTORY and (path[-1:] != b"/" or self._manner.slash == PATH) and self._slash(ex, ex.request.path()):
                return
            if what == DIRECTORY:
                directory = name
                name = self._first_index(inside, directory)
                if not name and self._manner.listing and self._list(ex, path, inside, directory):
                    return
                what = FILE if name else NOTHING
            elif path[-1:] == b"/":
                what = NOTHING
            if what == FILE:
                self._send(ex, name)
                return
        if self._otherwise is not None:
            ex.enter(self._otherwise)
        else:
            ex.fail(Fault(PROXY_NO_ROUTE))

    def _try(self, ex: Exchange, wanted: bytes) -> bool:
        """Answer with what is at one of the paths to try, if it is there."""
        try:
            path = normal_path(wanted if wanted[:1] == b"/" else b"/" + wanted)
        except ProtocolError:
            return False
        path = self._inside(path)
        what, name = self._find(path)
        if what == FILE and path[-1:] != b"/":
            self._send(ex, name)
            return True
        if what == DIRECTORY and path[-1:] == b"/":
            came = ex.request.path()
            if self._manner.slash in (URL, BARE) and came[-1:] != b"/" and wanted == came + b"/":
                return self._slash(ex, came)
            index = self._first_index(path, name)
            if index:
                if self._manner.slash != PATH or not self._slash(ex, path):
                    self._send(ex, index)
                return True
        return False

    def _inside(self, path: bytes) -> bytes:
        """Return a path in normal form as it is below the root; empty where it is none there."""
        if not self._strip:
            return path
        if not path.startswith(self._strip):
            return b""
        path = b"/" + path[len(self._strip) :].lstrip(b"/")
        if path.find(b"/..") >= 0 and b".." in path.split(b"/"):
            return b""  # `/img../a` without `/img` climbs, though before it did not
        return path

    def _find(self, path: bytes) -> tuple[int, bytes]:
        """Return what stands at a path below the root, and its name for the system."""
        name = b"" if self._manner.hides(path) else name_of(self._root, path)
        if not path or not name:
            return NOTHING, b""
        what = look(name.rstrip(b"/") or b"/")
        return what, name.rstrip(b"/") if what == FILE else name  # the root itself may be a file

    def _first_index(self, path: bytes, directory: bytes) -> bytes:
        """Return the name of a directory's index, if it has one; the path is the directory's."""
        for each in self._index:
            name = directory.rstrip(b"/") + b"/" + each
            if look(name) == FILE and not self._manner.hides(path.rstrip(b"/") + b"/" + each):
                return name
        return b""

    def _slash(self, ex: Exchange, path: bytes) -> bool:
        """Send the client to the directory's own path, so that links in its index mean what they should. Return whether it is sent.
        The directory was found at `path`."""
        head = ex.request
        if self._manner.slash == STAY:
            return False
        if self._manner.slash == PATH:
            came, _, query = came_target(head).partition(b"?")
            last = path.rstrip(b"/").rpartition(b"/")[2]
            if came[:1] != b"/" or came[-1:] == b"/" or came.rpartition(b"/")[2] != last:
                return False  # it asked for the directory, or for something else, and need not know of directories
            ex.answer(308, [(b"Location", _one_slash(came + b"/" + (b"?" + query if query else b"")))], b"")
            return True
        location = _one_slash(head.path() + b"/" + (b"?" + head.query() if b"?" in head.target else b""))
        origin = self._manner.origin
        if self._manner.slash != BARE and origin is not None:
            location = clean_value(origin.text(ex)) + location
        elif self._manner.slash != BARE and head.authority:
            location = ex.client.scheme + b"://" + head.authority + location
        ex.answer(301, [(b"Location", location)], b"")
        return True

    def _list(self, ex: Exchange, path: bytes, inside: bytes, directory: bytes) -> bool:
        """Answer with what a directory holds, which stands at `inside` below the root; return whether it could be read."""
        head = ex.request
        if head.method != b"GET" and head.method != b"HEAD":
            self._refuse_method(ex)
            return True
        try:
            found = read_entries(directory)
        except OSError:
            return False
        below = inside.rstrip(b"/") + b"/"
        shown = [each for each in found if not self._manner.hides(below + each.name.replace(b"%", b"%25"))]
        shown = arranged(shown, head.query())
        if b"application/json" in (joined(head.fields, b"accept") or b"").lower():
            body = as_json(shown)
            kind = b"application/json; charset=utf-8"
        else:
            body = as_page(path.rstrip(b"/") + b"/", shown, len(found) < MOST)
            kind = b"text/html; charset=utf-8"
        ex.answer(self._manner.status or 200, [(b"Content-Type", kind), (b"Vary", b"Accept")], body)
        return True

    def _refuse_method(self, ex: Exchange) -> None:
        down = ex.down
        if not ex.request_ended and down is not None:
            down.refuse_rest()
        ex.answer(405, [(b"Allow", b"GET, HEAD")], b"")

    def _send(self, ex: Exchange, name: bytes) -> None:
        """Answer with a file."""
        head = ex.request
        if head.method != b"GET" and head.method != b"HEAD":
            self._refuse_method(ex)
            return
        coding, sent = self._compressed(ex, name)
        try:
            fd = os.open(sent, _FLAGS)
        except FileNotFoundError:
            ex.fail(Fault(PROXY_NO_ROUTE))
            return
        except OSError as error:
            ex.fail(Fault(PROXY_DENIED, error.strerror or "the file cannot be opened"))
            return
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            ex.fail(Fault(PROXY_DENIED, "this is no file"))
            return
        size = status.st_size
        changed = int(status.st_mtime)
        tag = b'"%x-%x"' % (status.st_mtime_ns // 1000, size)
        pairs = [(b"Last-Modified", http_date(changed)), (b"ETag", tag), (b"Accept-Ranges", b"bytes")]
        kind = self._type(name)
        if self._manner.codings:
            pairs.append((b"Vary", b"Accept-Encoding"))
        if coding:
            pairs.append((b"Content-Encoding", coding))
        if ex.error_status < 400 and self._manner.status == 0:
            found = judge(head.fields, tag, changed)
            if found in (NOT_MODIFIED, FAILED):
                os.close(fd)
                ex.answer(found, pairs, b"")
                return
            if head.method == b"GET" and wants_parts(head.fields, tag, changed):
                ranges = parse_ranges(head.fields.get(b"range") or b"", size)
                if ranges is not None and not ranges:
                    os.close(fd)
                    ex.answer(416, [(b"Content-Range", b"bytes */%d" % size)], b"")
                    return
                if ranges is not None:
                    self._send_parts(ex, fd, size, ranges, pairs, kind)
                    return
        pairs.append((b"Content-Type", kind))
        pairs.append((b"Content-Length", b"%d" % size))
        parts = [Part(b"", 0, size)] if size and head.method == b"GET" else []
        self._begin(ex, fd, parts, b"", self._manner.status or 200, pairs)

    def _compressed(self, ex: Exchange, name: bytes) -> tuple[bytes, bytes]:
        """Return the coding to send a file in, empty for none, and the name of the file that is in it."""
        if self._manner.codings:
            accepted = joined(ex.request.fields, b"accept-encoding")
            for coding, ending in self._manner.codings:
                if accepts_coding(accepted, coding) and look(name + ending) == FILE:
                    return coding, name + ending
        return b"", name

    def _send_parts(
        self, ex: Exchange, fd: int, size: int, ranges: list[tuple[int, int]], pairs: list[tuple[bytes, bytes]], kind: bytes
    ) -> None:
        """Answer 206, with one part or with several (RFC 9110 15.3.7)."""
        if len(ranges) == 1:
            start, count = ranges[0]
            pairs.append((b"Content-Type", kind))
            pairs.append((b"Content-Range", b"bytes %d-%d/%d" % (start, start + count - 1, size)))
            pairs.append((b"Content-Length", b"%d" % count))
            self._begin(ex, fd, [Part(b"", start, count)], b"", 206, pairs)
            return
        mark = os.urandom(12).hex().encode()
        parts: list[Part] = []
        total = 0
        for start, count in ranges:
            before = b"\r\n--%s\r\nContent-Type: %s\r\nContent-Range: bytes %d-%d/%d\r\n\r\n" % (
                mark,
                kind,
                start,
                start + count - 1,
                size,
            )
            parts.append(Part(before, start, count))
            total += len(before) + count
        after = b"\r\n--%s--\r\n" % mark
        pairs.append((b"Content-Type", b"multipart/byteranges; boundary=" + mark))
        pairs.append((b"Content-Length", b"%d" % (total + len(after))))
        self._begin(ex, fd, parts, after, 206, pairs)

    def _begin(self, ex: Exchange, fd: int, parts: list[Part], after: bytes, status: int, pairs: list[tuple[bytes, bytes]]) -> None:
        down = ex.down
        if not ex.request_ended and down is not None:
            down.refuse_rest()
        stream = FileStream(ex, self._reactor, fd, parts, after)
        ex.connected(stream, "file")
        stream.begin(ResponseHead(status, b"", fields_of(pairs)))

    def _type(self, name: bytes) -> bytes:
        dot = name.rfind(b".")
        if dot < name.rfind(b"/"):
            return self._default_type
        return self._types.get(name[dot + 1 :].lower(), self._default_type)


def _one_slash(location: bytes) -> bytes:
    """Return a path that names no host."""
    return b"/" + location.lstrip(b"/") if location[:2] == b"//" else location
