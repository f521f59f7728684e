"""Field names: one object per name, found by the spelling on the wire.

Facts: names are case-insensitive tokens (RFC 9110 5.1). A handful steer framing or forwarding; the
rest only passes. The same few spellings come again and again, so one dict look-up gives lower case,
validity and role at once.

Not here: the values (`fields.py`).
"""

from typing import Final

from mypy_extensions import mypyc_attr

# Roles of a name in parsing and forwarding. PLAIN must stay 0: it is the common case.
PLAIN: Final = 0
CONTENT_LENGTH: Final = 1
TRANSFER_ENCODING: Final = 2
CONNECTION: Final = 3
HOST: Final = 4
UPGRADE: Final = 5
EXPECT: Final = 6
TE: Final = 7
HOP_BY_HOP: Final = 8  # names a single hop by definition, carries nothing we read

TOKEN_CHARS: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

# A table of names never seen before may be filled by anyone; past this it is started afresh.
_LEARNED_MOST: Final = 2048
_LEARNED_LONGEST: Final = 64


@mypyc_attr(acyclic=True)
class FieldName:
    """A valid field name: its lower-case form and its role."""

    def __init__(self, lower: bytes, role: int, underscore: bool) -> None:
        self.lower = lower
        self.role = role
        self.underscore = underscore


_ROLES: Final[dict[bytes, int]] = {
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"host": HOST,
    b"upgrade": UPGRADE,
    b"expect": EXPECT,
    b"te": TE,
    b"keep-alive": HOP_BY_HOP,
    b"proxy-connection": HOP_BY_HOP,
    b"proxy-authenticate": HOP_BY_HOP,
    b"proxy-authorization": HOP_BY_HOP,
    b"http2-settings": HOP_BY_HOP,
}

_COMMON: Final = (
    b"Accept Accept-Encoding Accept-Language Accept-Ranges Access-Control-Allow-Origin Age Authorization "
    b"Cache-Control Connection Content-Disposition Content-Encoding Content-Length Content-Range "
    b"Content-Type Cookie DNT Date ETag Expect Expires Forwarded Host HTTP2-Settings If-Match "
    b"If-Modified-Since If-None-Match If-Range If-Unmodified-Since Keep-Alive Last-Modified Link Location "
    b"Origin Pragma Priority Proxy-Authenticate Proxy-Authorization Proxy-Connection Range Referer "
    b"Sec-CH-UA Sec-CH-UA-Mobile Sec-CH-UA-Platform Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site "
    b"Sec-Fetch-User Sec-WebSocket-Accept Sec-WebSocket-Extensions Sec-WebSocket-Key "
    b"Sec-WebSocket-Protocol Sec-WebSocket-Version Server Set-Cookie Strict-Transport-Security TE Trailer "
    b"Transfer-Encoding Upgrade Upgrade-Insecure-Requests User-Agent Vary Via WWW-Authenticate "
    b"X-Forwarded-For X-Forwarded-Host X-Forwarded-Port X-Forwarded-Proto X-Real-IP X-Powered-By "
    b"x-api-key x-immich-checksum x-immich-share-key x-immich-user-token"
)


def _make(spelling: bytes) -> FieldName:
    lower = spelling.lower()
    return FieldName(lower, _ROLES.get(lower, PLAIN), b"_" in lower)


def _fill() -> dict[bytes, FieldName]:
    table: dict[bytes, FieldName] = {}
    for spelling in _COMMON.split():
        name = _make(spelling)
        table[spelling] = name
        table[name.lower] = name
    return table


_NAMES: Final[dict[bytes, FieldName]] = _fill()
_BASE: Final = len(_NAMES)


def find_name(spelling: bytes) -> FieldName | None:
    """Return the name spelled so on the wire, or None if it is not a token (RFC 9110 5.6.2)."""
    name = _NAMES.get(spelling)
    if name is not None:
        return name
    return _learn(spelling)


def _learn(spelling: bytes) -> FieldName | None:
    if not spelling or spelling.translate(None, TOKEN_CHARS):
        return None
    name = _make(spelling)
    if len(spelling) <= _LEARNED_LONGEST:
        if len(_NAMES) >= _BASE + _LEARNED_MOST:
            _NAMES.clear()
            _NAMES.update(_fill())
        _NAMES[spelling] = name
    return name
