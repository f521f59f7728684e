"""Request targets, authorities and paths: what is allowed, and the one form that routing sees.

Facts: a target is in origin, absolute, authority or asterisk form (RFC 9112 3.2). Two spellings of one
path that a router and an application read differently are a way around access rules.

Rules: a target is forwarded as it came; it is *matched* in normal form: percent-encoded characters
decoded except an encoded slash or percent sign, dot segments resolved, empty segments merged.
"""

from typing import Final

from vestibule.fault import CLIENT_BAD_HOST, CLIENT_BAD_TARGET, ProtocolError

# Everything visible except the fragment mark; bytes over 0x7e must be percent-encoded (RFC 3986 2).
_TARGET_CHARS: Final = bytes(c for c in range(33, 127) if c != 35)

# reg-name and IPv4 characters, and those of an IP literal within brackets (RFC 3986 3.2.2).
_NAME_CHARS: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%!$&'()*+;="
_LITERAL_CHARS: Final = b"0123456789abcdefABCDEF:.vV"
_DIGITS: Final = b"0123456789"
_HEX: Final = b"0123456789abcdefABCDEF"


def check_target(target: bytes) -> None:
    """Raise ProtocolError if the bytes cannot stand in a request target at all."""
    if target.translate(None, _TARGET_CHARS):
        raise ProtocolError(CLIENT_BAD_TARGET, "a byte that must be percent-encoded, or a fragment")


def check_authority(authority: bytes) -> None:
    """Raise ProtocolError unless this is a host with an optional port (RFC 9110 7.2): no user, path or list."""
    host, port = split_authority(authority)
    if host[:1] == b"[":
        good = len(host) > 3 and not host[1:-1].translate(None, _LITERAL_CHARS)
    else:
        good = bool(host) and not host.translate(None, _NAME_CHARS)
    if not good or len(port) > 5 or port.translate(None, _DIGITS) or (port and not 0 < _port(port) < 65536):
        raise ProtocolError(CLIENT_BAD_HOST, repr(authority[:80])[1:])


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

    Raises ProtocolError for a broken percent-encoding, an encoded NUL, or a path that climbs over the root.
    """
    # `find`, because `in` between bytes first tries the left one as a number, and fails expensively.
    if path.find(b"%") >= 0:
        path = _decode(path)
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
