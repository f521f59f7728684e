"""Quantities as people write them: sizes, durations, addresses, networks, host names, server addresses.

Rules: every ``parse_`` function raises ``ValueError`` whose text says what was expected; every ``format_`` function
writes a form that its ``parse_`` counterpart reads back to the same value.

Facts: KB and MB are powers of 1000 and KiB and MiB powers of 1024, as IEC 80000-13 has it.
"""

from __future__ import annotations

import ipaddress
import re

from vestibule.model.config import ANY_HOST, Address, InheritedAddress, Server, TcpAddress, UdpAddress, UnixAddress

_SIZE_UNITS = {
    "TiB": 1024**4,
    "TB": 1000**4,
    "GiB": 1024**3,
    "GB": 1000**3,
    "MiB": 1024**2,
    "MB": 1000**2,
    "KiB": 1024,
    "KB": 1000,
    "kB": 1000,
    "B": 1,
}
_DURATION_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}

_SIZE = re.compile(r"([0-9]+)(?:\.([0-9]+))? ?([A-Za-z]*)", re.ASCII)
_DURATION_PART = re.compile(r"([0-9]+)(ms|[dhms])", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)

MAX_QUANTITY = 2**53
"""Larger sizes and durations are refused: JSON readers elsewhere lose digits beyond this."""


def parse_size(text: str) -> int:
    """Read ``16KiB``, ``50GB``, ``1.5MB`` or a bare number of bytes."""
    match = _SIZE.fullmatch(text.strip())
    expected = "expected a size such as `50GB`, `16KiB` or a number of bytes"
    if match is None:
        raise ValueError(expected)
    whole, fraction, unit = match.groups()
    factor = 1 if unit == "" else _SIZE_UNITS.get(unit)
    if factor is None:
        raise ValueError(f"unknown unit `{unit}`; sizes are in B, KB, MB, GB, TB, or KiB, MiB, GiB, TiB")
    scale = int("1" + "0" * len(fraction or ""))
    total, left = divmod(int(whole + (fraction or "")) * factor, scale)
    if left:
        raise ValueError("that is not a whole number of bytes")
    if total > MAX_QUANTITY:
        raise ValueError("the size is too large")
    return total


def format_size(size: int) -> str:
    """Write a size in the largest unit that divides it."""
    for unit, factor in _SIZE_UNITS.items():
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


def parse_duration(text: str) -> int:
    """Read ``10m``, ``75s``, ``500ms``, ``1h30m`` as milliseconds."""
    stripped = text.strip()
    expected = "expected a duration such as `75s`, `10m`, `1h30m` or `500ms`"
    if stripped == "0":
        return 0
    total, at, last = 0, 0, MAX_QUANTITY
    while at < len(stripped):
        part = _DURATION_PART.match(stripped, at)
        if part is None:
            raise ValueError(expected)
        factor = _DURATION_UNITS[part[2]]
        if factor >= last:
            raise ValueError("units of a duration go from large to small, each once")
        total, at, last = total + int(part[1]) * factor, part.end(), factor
    if stripped == "":
        raise ValueError(expected)
    if total > MAX_QUANTITY:
        raise ValueError("the duration is too long")
    return total


def format_duration(duration_ms: int) -> str:
    """Write a duration in the largest unit that divides it."""
    for unit, factor in _DURATION_UNITS.items():
        if duration_ms >= factor and duration_ms % factor == 0:
            return f"{duration_ms // factor}{unit}"
    return f"{duration_ms}ms"


def parse_port(text: str, lowest: int = 1) -> int:
    """Read a port number in decimal digits."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and lowest <= int(text) <= 65_535):
        raise ValueError(f"expected a port from {lowest} to 65535, not `{text}`")
    return int(text)


def parse_listen(text: str) -> Address:
    """Read an address to listen on.

    ``8080``, ``:8080`` and ``*:8080`` are every address of both families; ``127.0.0.1:80`` and ``[::1]:80`` one of
    them; ``udp://`` before one of these takes datagrams; ``unix:/path`` is a unix socket; ``systemd:name`` one passed by socket
    activation.
    """
    if text.startswith("udp://"):
        address = parse_listen(text.removeprefix("udp://"))
        if not isinstance(address, TcpAddress):
            raise ValueError("expected a port after `udp://`, with or without an address")
        return UdpAddress(address.port, address.host)
    if text.startswith("unix:"):
        if len(text) == len("unix:"):
            raise ValueError("expected the path of a socket after `unix:`")
        return UnixAddress(text.removeprefix("unix:"))
    if text.startswith("systemd:"):
        if len(text) == len("systemd:"):
            raise ValueError("expected the name of a socket after `systemd:`")
        return InheritedAddress(text.removeprefix("systemd:"))
    if text.isascii() and text.isdigit():
        return TcpAddress(parse_port(text, 0))
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError("expected an address such as `:8080`, `127.0.0.1:8080`, `[::1]:8080` or `unix:/path`")
    return TcpAddress(parse_port(port, 0), parse_listen_host(host) if host else "*")


def parse_listen_host(text: str) -> str:
    """Read ``*``, an IPv4 address, or an IPv6 address with or without its brackets; return it without them."""
    if text == "*":
        return text
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        raise ValueError(f"`{bare}` is no address to listen on; write `*`, an IPv4 or an IPv6 address") from None
    if address.version == 6 and bare == text:
        raise ValueError(f"an IPv6 address is written in brackets before a port: `[{bare}]:443`")
    return str(address)


def format_listen(address: Address) -> str:
    """Write an address to listen on. Options of it (``v6only``, ``mode``, owner) are not part of the text."""
    if isinstance(address, UnixAddress):
        return f"unix:{address.path}"
    if isinstance(address, InheritedAddress):
        return f"systemd:{address.name}"
    place = f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"
    return f"udp://{place}" if isinstance(address, UdpAddress) else place


def parse_network(text: str) -> str:
    """Read an address or a network and return its canonical text; host bits that are set are a mistake."""
    try:
        return str(ipaddress.ip_network(text, strict=True))
    except ValueError:
        pass
    try:
        wanted = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"`{text}` is neither an address nor a network such as `10.0.0.0/8`") from None
    raise ValueError(f"`{text}` has bits outside its mask; write `{wanted}`")


def mask_network(text: str) -> str:
    """Read an address or a network as `parse_network` does, and take off the bits outside its mask, as other programs do."""
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return parse_network(text)


def parse_host(text: str) -> str:
    """Read a host a site answers to: a name, an address, ``*.`` and a name, or ``*``; return it in lower case.

    Names beyond ASCII are returned in the form that goes over the wire (IDNA).
    """
    if text == ANY_HOST:
        return text
    wildcard = text.startswith("*.")
    name = (text[2:] if wildcard else text).lower()
    if name.startswith("[") and name.endswith("]"):
        return f"[{ipaddress.IPv6Address(name[1:-1])}]"
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            raise ValueError(f"`{text}` cannot be a host name") from None
    if "://" in name:
        raise ValueError(f"`{text}` is a URL; write the host alone")
    if ":" in name:
        raise ValueError(f"`{text}` has a port; write the host alone and say the port with `listen`")
    labels = name.removesuffix(".").split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"`{text}` is no host name")
    return ("*." if wildcard else "") + ".".join(labels)


def is_private_host(host: str) -> bool:
    """Tell whether no public authority would certify the host: localhost, an address, or a name without public suffix."""
    name = host.removeprefix("*.")
    if name.startswith("["):
        return True
    last = name.rpartition(".")[2]
    # RFC 6761 and RFC 8375 name the first four, RFC 9476 `alt`; `internal` is reserved by ICANN; `lan` and `home` are habit.
    reserved = ("localhost", "local", "test", "invalid", "alt", "internal", "lan", "home")
    return "." not in name or last in reserved or name.endswith(".home.arpa") or last.isdigit()


def parse_server(text: str) -> Server:
    """Read the address of an upstream server: ``http://host:port``, ``https://host``, or ``unix:/path``."""
    expected = "expected a server such as `http://immich:2283`, `https://host` or `unix:/run/app.sock`"
    if text.startswith("unix:"):
        if len(text) == len("unix:"):
            raise ValueError("expected the path of a socket after `unix:`")
        return Server(path=text.removeprefix("unix:"))
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("http", "https"):
        raise ValueError(expected)
    authority, slash, path = rest.partition("/")
    if path or "?" in authority or "#" in authority:
        raise ValueError("the address of a server has no path; use `rewrite` to change paths")
    if "@" in authority:
        raise ValueError("the address of a server has no user; set an Authorization header instead")
    if slash and not authority:
        raise ValueError(expected)
    host, port = split_authority(authority)
    tls = scheme == "https"
    return Server(parse_server_host(host), parse_port(port) if port else (443 if tls else 80), tls=tls)


def parse_resolver(text: str) -> tuple[str, int]:
    """Read a name server, ``9.9.9.9``, ``127.0.0.1:5353``, ``2620:fe::fe`` or ``[::1]:5353``, as address and port."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return str(ipaddress.ip_address(bare)), 53
    except ValueError:
        pass
    host, _, port = text.rpartition(":")
    try:
        return str(ipaddress.ip_address(host.strip("[]"))), parse_port(port)
    except ValueError:
        raise ValueError(f"`{text}` is no address of a name server") from None


def split_authority(authority: str) -> tuple[str, str]:
    """Split off the port, if there is one, keeping the brackets of an IPv6 address."""
    if authority.endswith("]"):
        return authority, ""
    host, colon, port = authority.rpartition(":")
    if authority.startswith("[") and not host.endswith("]"):
        raise ValueError("an IPv6 address ends with `]`")
    if not colon:
        return authority, ""
    if not port:
        raise ValueError("expected a port after `:`")
    return host, port


def parse_local_address(text: str) -> str:
    """Read an address that connections are made from, IPv6 with brackets or without. Raises ``ValueError``."""
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise ValueError(f"`{text}` is no address to connect from") from None


def parse_server_host(text: str) -> str:
    """Read a name or an address to connect to; an IPv6 address comes in brackets and is returned without them."""
    if text.startswith("[") and text.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            raise ValueError(f"`{text}` is no IPv6 address") from None
    host = parse_host(text)
    if host == ANY_HOST or host.startswith("*."):
        raise ValueError("a server needs a name or an address, not a wildcard")
    return host


def format_server(server: Server) -> str | None:
    """Write a server as ``parse_server`` reads it; None where it has more to it than an address."""
    if server != type(server)(server.host, server.port, server.path, server.tls):
        return None
    if server.path:
        return None if server.tls or server.host or server.port else f"unix:{server.path}"
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{'https' if server.tls else 'http'}://{host}:{server.port}"
