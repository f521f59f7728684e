"""Keeps secrets out of logs: values of query names, shares in paths, credentials.

Facts: Immich puts the key of a share into the query (`key`, `slug`) and into the path of its page
(`/share/KEY`, `/s/SLUG`); OAuth puts `code` and `state` there. All come again in Referer. A name may be
percent-encoded (RFC 3986 2.1), and case means nothing to a careless application.

Rules: a name that could be read as a secret one is treated as one; only values are replaced.
"""

from typing import Final

from vestibule.plan.functions import url_decode

HIDDEN: Final = b"***"

# Fields that let somebody in; never written whatever a template says.
SECRET_FIELDS: Final = frozenset(
    b"authorization cookie proxy-authorization set-cookie x-api-key x-immich-session-token x-immich-share-key "
    b"x-immich-share-slug x-immich-user-token".split()
)


class Redactor:
    """Replaces secret values in targets. `shares` also hides the share in a path of Immich."""

    def __init__(self, names: list[bytes], shares: bool) -> None:
        self._names: set[bytes] = {name.lower() for name in names}
        self._shares = shares

    def is_secret(self, name: bytes) -> bool:
        """Tell whether values of this query name, as sent, are hidden. `key[]` and `key[0]` are `key`."""
        lower = name.lower()
        if lower in self._names:
            return True
        if b"%" in lower or b"[" in lower or b"+" in lower:
            plain = url_decode(lower.replace(b"+", b" ")).lower().strip()
            return plain.partition(b"[")[0] in self._names
        return False

    def query(self, query: bytes) -> bytes:
        """Return a query without secret values."""
        if b"=" not in query:
            return query
        out: list[bytes] = []
        changed = False
        for pair in query.split(b"&"):
            parts: list[bytes] = []
            # Some applications separate by `;` as well.
            for piece in pair.split(b";"):
                name, mark, value = piece.partition(b"=")
                if mark and value and self.is_secret(name):
                    parts.append(name + b"=" + HIDDEN)
                    changed = True
                else:
                    parts.append(piece)
            out.append(b";".join(parts))
        return b"&".join(out) if changed else query

    def target(self, target: bytes) -> bytes:
        """Return a request target without secret values."""
        at = target.find(b"?")
        if at < 0:
            return self._path(target) if self._shares else target
        path = target[:at]
        if self._shares:
            path = self._path(path)
        return path + b"?" + self.query(target[at + 1 :])

    def _path(self, path: bytes) -> bytes:
        if path[:2] != b"/s" and path[:2] != b"/%":
            return path
        first, slash, rest = path[1:].partition(b"/")
        if not slash or not rest or url_decode(first) not in (b"share", b"s"):
            return path
        _, more, tail = rest.partition(b"/")
        return b"/" + first + b"/" + HIDDEN + more + tail

    def link(self, link: bytes) -> bytes:
        """Return an absolute URL (a Referer) without secret values, user and password."""
        scheme, mark, rest = link.partition(b"://")
        if not mark:
            return self.target(link)
        end = len(rest)
        for c in (b"/", b"?", b"#"):
            at = rest.find(c)
            if 0 <= at < end:
                end = at
        authority = rest[:end]
        at = authority.rfind(b"@")
        if at >= 0:
            authority = HIDDEN + authority[at:]
        target, hash_mark, fragment = rest[end:].partition(b"#")
        # OAuth's implicit grant puts its token into the fragment.
        return scheme + mark + authority + self.target(target) + hash_mark + (self.query(fragment) if fragment else b"")
