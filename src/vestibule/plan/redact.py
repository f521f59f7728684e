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


# Query names whose judgement is kept. Anyone may send new ones; past this they are forgotten.
_JUDGED_MOST: Final = 512
_JUDGED_LONGEST: Final = 64


class Redactor:
    """Replaces secret values in targets. `shares` also hides the share in a path of Immich."""

    def __init__(self, names: list[bytes], shares: bool) -> None:
        self._names: set[bytes] = {name.lower() for name in names}
        self._shares = shares
        self._judged: dict[bytes, bool] = {}

    def is_secret(self, name: bytes) -> bool:
        """Tell whether values of this query name, as sent, are hidden. `key[]` and `key[0]` are `key`."""
        judged = self._judged.get(name)
        if judged is None:
            judged = self._judge(name)
            if len(self._judged) >= _JUDGED_MOST:
                self._judged.clear()
            if len(name) <= _JUDGED_LONGEST:
                self._judged[name] = judged
        return judged

    def _judge(self, name: bytes) -> bool:
        plain = url_decode(name.replace(b"+", b" ")).lower().strip()
        return plain.partition(b"[")[0] in self._names

    def query(self, query: bytes) -> bytes:
        """Return a query without secret values."""
        pairs = query.split(b"&")
        for pair in pairs:
            # Some applications separate by `;` as well.
            if b";" in pair or self.is_secret(pair.partition(b"=")[0]):
                return b"&".join([b";".join([self._pair(piece) for piece in each.split(b";")]) for each in pairs])
        return query

    def _pair(self, pair: bytes) -> bytes:
        at = pair.find(b"=")
        if at < 0 or at + 1 == len(pair) or not self.is_secret(pair[:at]):
            return pair
        return pair[: at + 1] + HIDDEN

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
