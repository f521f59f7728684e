"""Field values that a proxy reads and writes: lists, and who forwarded for whom.

Facts: a field that is a list may come in several lines, which mean the same as one (RFC 9110 5.3).
`Forwarded` holds elements of `name=value` pairs; a value that is no token, as an IPv6 address or a
host with a port, is quoted (RFC 7239 4). X-Forwarded-For is the older habit: bare addresses, the
client first, each hop appended by the next.

Rules: reading never fails; what is not understood is an empty entry, so that nobody walks past it.

Not here: whom to believe (`plan/steps/forward.py`).
"""

from typing import Final

from vestibule.http.name import TOKEN_CHARS

# What a field value may not hold (RFC 9110 5.5), TAB excepted.
CONTROLS: Final = bytes(c for c in range(256) if (c < 32 and c != 9) or c == 127)
_TO_BLANK: Final = bytes(32 if (c < 32 and c != 9) or c == 127 else c for c in range(256))


def clean_value(value: bytes) -> bytes:
    """Return a value that can stand on one field line: control bytes become blanks, outer blanks go."""
    if len(value.translate(None, CONTROLS)) != len(value):
        value = value.translate(_TO_BLANK)
    return value.strip(b" \t")


def split_list(value: bytes, mark: bytes = b",") -> list[bytes]:
    """Return the members of a list without outer blanks; a mark within a quoted string does not split.

    Empty members are kept as empty, since here each one stands for a hop.
    """
    if b'"' not in value:
        return [part.strip(b" \t") for part in value.split(mark)]
    members: list[bytes] = []
    begin = 0
    quoted = False
    skip = False
    for i in range(len(value)):
        c = value[i]
        if skip:
            skip = False
        elif quoted and c == 92:
            skip = True
        elif c == 34:
            quoted = not quoted
        elif c == mark[0] and not quoted:
            members.append(value[begin:i].strip(b" \t"))
            begin = i + 1
    members.append(value[begin:].strip(b" \t"))
    return members


def unquote(value: bytes) -> bytes:
    """Return what a quoted string says (RFC 9110 5.6.4); anything else as it is."""
    if len(value) < 2 or value[0] != 34 or value[-1] != 34:
        return value
    inner = value[1:-1]
    if b"\\" not in inner:
        return inner
    out: list[bytes] = []
    i = 0
    while i < len(inner):
        if inner[i] == 92 and i + 1 < len(inner):
            i += 1
        out.append(inner[i : i + 1])
        i += 1
    return b"".join(out)


def quote(value: bytes) -> bytes:
    """Return a token as it is, anything else as a quoted string (RFC 9110 5.6.4)."""
    if value and not value.translate(None, TOKEN_CHARS):
        return value
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def forwarded_node(address: bytes) -> bytes:
    """Return an address as a node of Forwarded: IPv6 in brackets and quotes, what is no address `unknown` (RFC 7239 6)."""
    if b":" in address:
        return b'"[' + address + b']"' if address != b"unix:" else b"unknown"
    return address or b"unknown"


def forwarded_element(address: bytes, host: bytes, scheme: bytes) -> bytes:
    """Return one element of Forwarded: for whom, the host asked for, and the scheme (RFC 7239 5)."""
    element = b"for=" + forwarded_node(address)
    if host:
        element += b";host=" + quote(host)
    return element + b";proto=" + scheme


def forwarded_for(values: list[bytes]) -> list[bytes]:
    """Return the `for` of every element of Forwarded in order; empty where an element names none."""
    nodes: list[bytes] = []
    for value in values:
        for element in split_list(value):
            nodes.append(_for_of(element))
    return nodes


def _for_of(element: bytes) -> bytes:
    for pair in split_list(element, b";"):
        name, _, value = pair.partition(b"=")
        if name.strip(b" \t").lower() == b"for":
            return unquote(value.strip(b" \t"))
    return b""
