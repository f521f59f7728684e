"""A directory answers: files with validators and ranges (RFC 9110 13, 14).

Facts
  A file may grow, shrink or be replaced while it is sent; the descriptor stays with what was opened.
  Opening a FIFO waits for its other end, unless it is opened without waiting.

Rules
  A path is looked at in normal form, so no segment climbs; a separator or NUL in an encoded byte is no file. Symbolic links
  are followed: who may make one in the directory decides what is served.
  Only regular files are sent. Bodies are read in pieces as the client takes them, one piece in each turn.
  A file that ends before its Content-Length breaks the connection: half a picture must not look whole.
  A file that stands for an error is sent whole, whatever conditions and ranges the request has.

Not here: conditions and ranges (`http/ranges.py`), which directory (`compile.py`).
"""

import os
import stat
from typing import Final

from vestibule.contract import Plan, Source, Stream
from vestibule.exchange import Exchange
from vestibule.fault import PROXY_DENIED, PROXY_INTERNAL, PROXY_NO_ROUTE, UPSTREAM_TRUNCATED, Fault, ProtocolError
from vestibule.http.dates import http_date
from vestibule.http.fields import Fields, fields_of
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.http.ranges import FAILED, NOT_MODIFIED, judge, parse_ranges, wants_parts
from vestibule.http.target import normal_path
from vestibule.net.reactor import Later, Reactor
from vestibule.plan.expr import Node
from vestibule.plan.steps.deny import refuse

_PIECE: Final = 131_072
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_WELL_KNOWN: Final = b".well-known"  # the one name with a dot that is meant for others (RFC 8615)

# What stands at a path.
_NOTHING: Final = 0
_FILE: Final = 1
_DIRECTORY: Final = 2
_FORBIDDEN: Final = 3


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
        hidden: bool,
    ) -> None:
        self._reactor = reactor
        self._root = root.rstrip(b"/")
        self._strip = strip
        self._index = index
        self._tries = tries
        self._otherwise = otherwise
        self._default_type = default_type
        self._types = types
        self._hidden = hidden

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
            what, name = self._find(path)
            if what == _FORBIDDEN:
                ex.fail(Fault(PROXY_DENIED, "the file may not be read"))
                return
            if what == _DIRECTORY and path[-1:] != b"/":
                self._slash(ex)
                return
            if what != _NOTHING and path[-1:] == b"/":
                name = self._first_index(name)
                what = _FILE if name else _NOTHING
            if what == _FILE:
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
        what, name = self._find(path)
        if what == _FILE and path[-1:] != b"/":
            self._send(ex, name)
            return True
        if what == _DIRECTORY and path[-1:] == b"/":
            index = self._first_index(name)
            if index:
                self._send(ex, index)
                return True
        return False

    def _find(self, path: bytes) -> tuple[int, bytes]:
        """Return what stands at a path in normal form, and its name for the system."""
        if self._strip:
            if not path.startswith(self._strip):
                return _NOTHING, b""
            path = b"/" + path[len(self._strip) :].lstrip(b"/")
            if path.find(b"/..") >= 0 and b".." in path.split(b"/"):
                return _NOTHING, b""  # `/img../a` without `/img` climbs, though before it did not
        if path.find(b"%2F") >= 0 or path.find(b"\0") >= 0:
            return _NOTHING, b""
        if not self._hidden and path.find(b"/.") >= 0:
            for segment in path.split(b"/"):
                if segment[:1] == b"." and segment != _WELL_KNOWN:
                    return _NOTHING, b""
        name = self._root + path.replace(b"%25", b"%")
        return _look(name.rstrip(b"/") or b"/"), name

    def _first_index(self, directory: bytes) -> bytes:
        for each in self._index:
            name = directory.rstrip(b"/") + b"/" + each
            if _look(name) == _FILE:
                return name
        return b""

    def _slash(self, ex: Exchange) -> None:
        """Send the client to the directory's own path, so that links in its index mean what they should."""
        head = ex.request
        location = head.path() + b"/" + (b"?" + head.query() if b"?" in head.target else b"")
        if location[:2] == b"//":
            location = b"/" + location.lstrip(b"/")  # else it would name a host
        if head.authority:
            location = ex.client.scheme + b"://" + head.authority + location
        ex.answer(301, [(b"Location", location)], b"")

    def _send(self, ex: Exchange, name: bytes) -> None:
        """Answer with a file."""
        head = ex.request
        if head.method != b"GET" and head.method != b"HEAD":
            down = ex.down
            if not ex.request_ended and down is not None:
                down.refuse_rest()
            ex.answer(405, [(b"Allow", b"GET, HEAD")], b"")
            return
        try:
            fd = os.open(name, _FLAGS)
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
        if ex.error_status == 0:
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
        self._begin(ex, fd, parts, b"", 200, pairs)

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


def _look(name: bytes) -> int:
    """Return what stands at a name of the system."""
    try:
        mode = os.stat(name).st_mode
    except PermissionError:
        return _FORBIDDEN
    except (OSError, ValueError):
        return _NOTHING
    if stat.S_ISREG(mode):
        return _FILE
    return _DIRECTORY if stat.S_ISDIR(mode) else _NOTHING
