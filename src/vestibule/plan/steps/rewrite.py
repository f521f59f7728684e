"""Changes to the target that goes upstream.

Rules: what leaves here is in origin form and made of bytes that a target may hold (RFC 3986 3.3, 3.4);
others are percent-encoded. The asterisk form is not rewritten (RFC 9112 3.2.4).

Not here: matching of paths (`plan/switch.py`).
"""

from typing import Final

from vestibule.contract import PASS, Step
from vestibule.exchange import Exchange
from vestibule.plan.expr import Node
from vestibule.plan.functions import url_encode
from vestibule.plan.sent import RewrittenHead, came_target

# Visible bytes but those that end a path or a query.
_IN_PATH: Final = bytes(c for c in range(33, 127) if c not in b"?#")
_IN_QUERY: Final = bytes(c for c in range(33, 127) if c not in b"#")


def change_target(ex: Exchange, target: bytes) -> None:
    """Send another target upstream; what the client sent stays known."""
    head = ex.request
    if target != head.target:
        ex.request = RewrittenHead(head, target, came_target(head))


class Rewrite(Step):
    """Replaces the path, the query or both; None keeps."""

    def __init__(self, path: Node | None, query: Node | None) -> None:
        self._path = path
        self._query = query

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
            change_target(ex, path + b"?" + query)
            return PASS
        change_target(ex, path + b"?" + query if query else path)
        return PASS


class StripPrefix(Step):
    """Takes a prefix off the path; a path that does not begin with it stays."""

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix

    def run(self, ex: Exchange) -> int:
        target = ex.request.target
        end = prefix_end(target, self._prefix)
        if end > 0:
            rest = target[end:]
            change_target(ex, rest if rest[:1] == b"/" else b"/" + rest)
        return PASS


def prefix_end(target: bytes, prefix: bytes) -> int:
    """Return where in a target its decoded prefix ends, or -1 if it does not begin so.

    `/ph%6ftos` begins with `/photos`: routes are matched decoded, and what matched must be found here too.
    """
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
