"""Request targets, authorities and paths: what is allowed, and the one form that routing sees.

Facts: a target is in origin, absolute, authority or asterisk form (RFC 9112 3.2). Two spellings of one
path that a router and an application read differently are a way around access rules.

Rules: a target is forwarded as it came; it is *matched* in normal form: percent-encoded characters
decoded except an encoded slash or percent sign, dot segments resolved, empty segments merged. A dot segment
beside an encoded slash climbs for those readers alone that take that for a slash, so it is refused.
"""

from typing import Final

from vestibule.fault import CLIENT_BAD_HOST, CLIENT_BAD_TARGET, ProtocolError

# Everything visible except the fragment mark; bytes over 0x7e must be percent-encoded (RFC 3986 2).
_TARGET_CHARS: Final = bytes(c for c in range(33, 127) if c != 35)

# reg-name and IPv4 characters, and those of an IP literal within brackets (RFC 3986 3.2.2).
_NAME_CHARS: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%!$&'()*+;="
_LITERAL_CHARS: Final = b"0123456789abcdefABCDEF:.vV"
_FUTURE_CHARS: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:"
_DIGITS: Final = b"0123456789"
_HEX: Final = b"0123456789abcdefABCDEF"


def check_target(target: bytes) -> None:
    """Raise ProtocolError if the bytes cannot stand in a request target at all."""
    if target.translate(None, _TARGET_CHARS):
        raise ProtocolError(CLIENT_BAD_TARGET, "a byte that must be percent-encoded, or a fragment")


def check_authority(authority: bytes) -> None:
    """Raise ProtocolError unless this is a host with an optional port (RFC 9110 7.2): no user, path or list."""
    if not is_authority(authority):
        raise ProtocolError(CLIENT_BAD_HOST, repr(authority[:80])[1:])


def is_authority(authority: bytes) -> bool:
    """Tell whether this is a host with an optional port."""
    try:
        host, port = split_authority(authority)
    except ProtocolError:
        return False
    if host[:1] == b"[":
        good = len(host) > 3 and host.find(b"..") < 0 and (not host[1:-1].translate(None, _LITERAL_CHARS) or _is_future(host[1:-1]))
    else:
        good = bool(host) and host.find(b"..") < 0 and not host.translate(None, _NAME_CHARS)
    return good and len(port) <= 5 and not port.translate(None, _DIGITS) and (not port or 0 < _port(port) < 65536)


def _is_future(literal: bytes) -> bool:
    """Tell whether this is an address of a kind to come (IPvFuture, RFC 3986 3.2.2)."""
    version, dot, rest = literal[1:].partition(b".")
    is_numbered = bool(dot) and bool(version) and not version.translate(None, _HEX)
    return literal[:1] in (b"v", b"V") and is_numbered and bool(rest) and not rest.translate(None, _FUTURE_CHARS)


def split_authority(authority: bytes) -> tuple[bytes, bytes]:
    """Return host (an IP literal with its brackets) and port digits, both as written; the port may be empty.

    Raises ProtocolError where a colon is followed by nothing but is not the end of the host.
    """
    if authority[:1] == b"[":
        end = authority.find(b"]")
        if end < 0 or (len(authority) > end + 1 and authority[end + 1] != 58):
            raise ProtocolError(CLIENT_BAD_HOST, repr(authority[:80])[1:])
        return authority[: end + 1], authority[end + 2 :]
    host, _, port = authority.partition(b":")
    return host, port


def is_same(one: bytes, other: bytes, tls: bool) -> bool:
    """Tell whether two authorities of a scheme are one (RFC 9110 4.2.3): no port, and an empty one, are that of the scheme."""
    usual = b"443" if tls else b"80"
    host, port = split_authority(one)
    other_host, other_port = split_authority(other)
    return host.lower() == other_host.lower() and (port or usual) == (other_port or usual)


def _port(digits: bytes) -> int:
    value = 0
    for c in digits:
        value = value * 10 + c - 48
    return value


def host_of(authority: bytes) -> bytes:
    """Return the host for routing: lower case, without port and without one trailing dot."""
    if authority[:1] == b"[":
        return authority[: authority.find(b"]") + 1].lower()
    colon = authority.find(b":")
    host = (authority if colon < 0 else authority[:colon]).lower()
    return host[:-1] if host[-1:] == b"." else host


def split_absolute(target: bytes) -> tuple[bytes, bytes]:
    """Take an absolute-form target apart into authority and origin form.

    Raises ProtocolError for other schemes than http and https, or an empty authority (RFC 9112 3.2.2).
    """
    scheme, mark, rest = target.partition(b"://")
    if not mark or scheme.lower() not in (b"http", b"https"):
        raise ProtocolError(CLIENT_BAD_TARGET, "neither a path nor an http URI")
    end = len(rest)
    for mark in (b"/", b"?"):
        at = rest.find(mark)
        if 0 <= at < end:
            end = at
    origin = rest[end:]
    if origin[:1] != b"/":
        origin = b"/" + origin
    return rest[:end], origin


def normal_path(path: bytes) -> bytes:
    """Return the path as routing sees it.

    Raises ProtocolError for a broken percent-encoding, an encoded NUL, a path that climbs over the root, or one
    that climbs only for who takes an encoded slash for a slash.
    """
    # `find`, because `in` between bytes first tries the left one as a number, and fails expensively.
    if path.find(b"%") >= 0:
        path = _decode(path)
        if path.find(b"%2F") >= 0:
            _check_encoded_slashes(path)
    if path.find(b"//") >= 0 or path.find(b"/.") >= 0:
        path = _resolve(path)
    return path


def _decode(path: bytes) -> bytes:
    parts = path.split(b"%")
    out: list[bytes] = [parts[0]]
    for part in parts[1:]:
        code = part[:2]
        if len(code) != 2 or code.translate(None, _HEX):
            raise ProtocolError(CLIENT_BAD_TARGET, "broken percent-encoding")
        byte = bytes.fromhex(code.decode("ascii"))
        if byte == b"\0":
            raise ProtocolError(CLIENT_BAD_TARGET, "encoded NUL")
        # An encoded slash is part of a segment, not between two; an encoded percent sign must not seem to begin one.
        out.append(b"%2F" if byte == b"/" else b"%25" if byte == b"%" else byte)
        out.append(part[2:])
    return b"".join(out)


def _check_encoded_slashes(path: bytes) -> None:
    """Refuse dot segments that an encoded slash hides, and those that take away a segment with one in it."""
    kept: list[bytes] = []
    for segment in path.split(b"/"):
        parts = segment.split(b"%2F")
        if segment == b"..":
            if kept and kept.pop().find(b"%2F") >= 0:
                raise ProtocolError(CLIENT_BAD_TARGET, "a dot segment behind an encoded slash")
        elif len(parts) > 1 and (b".." in parts or b"." in parts):
            raise ProtocolError(CLIENT_BAD_TARGET, "a dot segment beside an encoded slash")
        elif segment not in (b"", b"."):
            kept.append(segment)


def with_slashes(path: bytes) -> bytes:
    """Return a path in normal form as it is for who takes an encoded slash for a slash (RFC 3986 2.2 leaves it open)."""
    path = path.replace(b"%2F", b"/")
    return _resolve(path) if path.find(b"//") >= 0 else path


def _resolve(path: bytes) -> bytes:
    kept: list[bytes] = []
    segments = path.split(b"/")
    for segment in segments[1:]:
        if segment == b"..":
            if not kept:
                raise ProtocolError(CLIENT_BAD_TARGET, "the path climbs over the root")
            kept.pop()
        elif segment not in (b"", b"."):
            kept.append(segment)
    ends_open = segments[-1] in (b"", b".", b"..")
    return b"/" + b"/".join(kept) + (b"/" if ends_open and kept else b"")
