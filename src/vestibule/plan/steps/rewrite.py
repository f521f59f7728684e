"""Changes to the target that goes upstream.

Rules: what leaves here is in origin form and made of bytes that a target may hold (RFC 3986 3.3, 3.4);
others are percent-encoded. The asterisk form is not rewritten (RFC 9112 3.2.4).

Not here: matching of paths (`plan/switch.py`).
"""

from typing import Final

from vestibule.contract import PASS, Step
from vestibule.exchange import Exchange
from vestibule.fault import ProtocolError
from vestibule.http.target import normal_path
from vestibule.plan.expr import Node
from vestibule.plan.functions import encode_path, url_encode
from vestibule.plan.sent import RewrittenHead, came_target, own_target

# Visible bytes but those that end a path or a query.
_IN_PATH: Final = bytes(c for c in range(33, 127) if c not in b"?#")
_IN_QUERY: Final = bytes(c for c in range(33, 127) if c not in b"#")


def change_target(ex: Exchange, target: bytes, upstream_only: bool = False) -> None:
    """Send another target upstream; what the client sent stays known, and with `upstream_only` this one is not asked for otherwise."""
    head = ex.request
    if target != head.target:
        made = RewrittenHead(head, target, came_target(head))
        made.own_target = own_target(head) if upstream_only else b""
        ex.request = made


class Rewrite(Step):
    """Replaces the path, the query or both; None keeps."""

    def __init__(self, path: Node | None, query: Node | None, upstream_only: bool = False) -> None:
        self._path = path
        self._query = query
        self._upstream_only = upstream_only

    def run(self, ex: Exchange) -> int:
        head = ex.request
        if head.target[:1] != b"/":
            return PASS
        path = head.path()
        query = head.query()
        # Both are read before either changes.
        if self._path is not None:
            path = url_encode(self._path.text(ex), _IN_PATH)
            if path[:1] != b"/":
                path = b"/" + path
        if self._query is not None:
            query = url_encode(self._query.text(ex), _IN_QUERY)
        elif b"?" in head.target:
            change_target(ex, path + b"?" + query, self._upstream_only)
            return PASS
        change_target(ex, path + b"?" + query if query else path, self._upstream_only)
        return PASS


class StripPrefix(Step):
    """Takes a prefix off the path; a path that does not begin with it stays.

    One that begins with it in normal form alone, such as `//photos` or `/./photos`, goes on in that form: routes are matched so, and
    what matched must be found here, too. So does one that climbs: of `/photos/../photos/a`, `/../photos/a` would be left.
    """

    def __init__(self, prefix: bytes, ignore_case: bool = False) -> None:
        self._prefix = prefix
        self._ignore_case = ignore_case

    def run(self, ex: Exchange) -> int:
        target = ex.request.target
        end = prefix_end(target, self._prefix, self._ignore_case)
        if target[:1] == b"/":
            path = ex.request.path()
            if end < 0 or _climbs(path):
                normal = _normal(path)
                if not normal:
                    return PASS
                target = normal + target[len(path) :]
                end = prefix_end(target, self._prefix, self._ignore_case)
        if end > 0:
            rest = target[end:]
            change_target(ex, rest if rest[:1] == b"/" else b"/" + rest)
        return PASS


def _climbs(path: bytes) -> bool:
    """Tell whether a path has segments that take others away."""
    if path.find(b"%") >= 0:
        path = path.replace(b"%2e", b".").replace(b"%2E", b".")
    return path.find(b"/..") >= 0 and b".." in path.split(b"/")


def _normal(path: bytes) -> bytes:
    """Return a path in normal form as it goes into a target; empty where it has none."""
    try:
        return encode_path(normal_path(path))
    except ProtocolError:
        return b""


def prefix_end(target: bytes, prefix: bytes, ignore_case: bool = False) -> int:
    """Return where in a target its decoded prefix ends, or -1 if it does not begin so.

    `/ph%6ftos` begins with `/photos`: routes are matched decoded, and what matched must be found here too.
    """
    if target.startswith(prefix):
        return len(prefix)
    if ignore_case:
        # Lengths and escapes stay what they were.
        target = target.lower()
        prefix = prefix.lower()
        if target.startswith(prefix):
            return len(prefix)
    if b"%" not in target:
        return -1
    at = 0
    for wanted in prefix:
        if at >= len(target):
            return -1
        c = target[at]
        width = 1
        if c == 37:
            c = _escaped(target[at + 1 : at + 3])
            if ignore_case and 65 <= c <= 90:
                c += 32
            width = 3
        if c != wanted:
            return -1
        at += width
    return at


def _escaped(digits: bytes) -> int:
    """Return the byte of two hexadecimal digits, or -1."""
    if len(digits) != 2 or digits.translate(None, b"0123456789abcdefABCDEF"):
        return -1
    return bytes.fromhex(digits.decode("ascii"))[0]
