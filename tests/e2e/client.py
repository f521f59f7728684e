"""A client of the proxy, for any HTTP version.

Facts: `Client.request` is what most tests need and says nothing that only one HTTP version has;
`Exchange` is the same in steps. `raw` and its `Wire` are HTTP/1, for tests about bytes.
"""

import socket
import ssl
from collections.abc import Iterable

from .client_h1 import LineExchange, Wire
from .client_h2 import FrameConnection, FrameExchange, FrameTunnel
from .message import (
    TIMEOUT_S,
    Connection,
    Exchange,
    Field,
    Head,
    Malformed,
    Response,
    Truncated,
    Tunnel,
    close_all,
    render,
)

__all__ = ["Client", "Connection", "Exchange", "Field", "Head", "Malformed", "Response", "Truncated", "Tunnel", "Wire", "close_all"]


class Client:
    """Makes requests to one address. Each `open` is a new connection unless given one.

    `version` is `h1` or `h2`: with TLS the one that is asked for and insisted on, without TLS by prior knowledge.
    """

    def __init__(
        self,
        address: tuple[str, int] | str,
        tls: ssl.SSLContext | None = None,
        name: str = "photos.test",
        version: str = "h1",
        upstream_version: str = "h1",
    ) -> None:
        self.address = address
        self.tls = tls
        self.name = name
        self.version = version
        self.upstream_version = upstream_version

    def speaking(self, version: str) -> "Client":
        """Return the same client with another HTTP version."""
        return Client(self.address, self.tls, self.name, version, self.upstream_version)

    def spell(self, name: bytes) -> bytes:
        """Return a field name as it comes through: HTTP/2 has them in lower case only (RFC 9113 8.2.1)."""
        return name.lower() if "h2" in (self.version, self.upstream_version) else name

    def connect(self) -> Connection:
        """Open a connection; with TLS, its handshake is done."""
        sock = self._dial()
        if self.version == "h1":
            return Wire(sock)
        return FrameConnection(sock, self.name, b"http" if self.tls is None else b"https")

    def wire(self) -> Wire:
        """Open a connection for bytes, whatever the version."""
        return Wire(self._dial())

    def _dial(self) -> socket.socket:
        if isinstance(self.address, str):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(TIMEOUT_S)
            sock.connect(self.address)
        else:
            sock = socket.create_connection(self.address, TIMEOUT_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls is None:
            return sock
        if self.version == "h2":
            self.tls.set_alpn_protocols(["h2"])
        secured = self.tls.wrap_socket(sock, server_hostname=self.name)
        if self.version == "h2" and secured.selected_alpn_protocol() != "h2":
            secured.close()
            raise Malformed("HTTP/2 was not agreed on")
        return secured

    def open(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
        length: int | None = 0,
        wire: Connection | None = None,
    ) -> Exchange:
        """Send a request head. `length` is that of the body; None says that it is not known beforehand."""
        connection = wire or self.connect()
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        if not any(name.lower() == b"host" for name, _ in fields):
            fields.insert(0, (b"Host", self.name.encode()))
        if length or (length is not None and method in ("POST", "PUT", "PATCH")):
            fields.append((b"Content-Length", b"%d" % length))
        if isinstance(connection, FrameConnection):
            return FrameExchange(connection, method, path, fields, is_whole=length == 0)
        assert isinstance(connection, Wire)
        if length is None:
            fields.append((b"Transfer-Encoding", b"chunked"))
        line = f"{method} {path} HTTP/1.1\r\n".encode("latin-1")
        connection.send(line + render(fields) + b"\r\n")
        return LineExchange(connection, method, length is None)

    def ask_for_tunnel(self, path: str, headers: Iterable[tuple[str, str]] = (), wire: Connection | None = None) -> Exchange:
        """Ask for a WebSocket, in the way of the version (RFC 6455 4.1, RFC 8441 4)."""
        version = ("Sec-WebSocket-Version", "13")
        if self.version == "h1":
            ask = [("Connection", "Upgrade"), ("Upgrade", "websocket"), version, ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
            return self.open("GET", path, [*ask, *headers], wire=wire)
        connection = wire or self.connect()
        assert isinstance(connection, FrameConnection)
        connection.wait_for_settings()
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in (("Host", self.name), version, *headers)]
        return FrameExchange(connection, "CONNECT", path, fields, is_whole=False, protocol=b"websocket")

    def open_tunnel(self, path: str, headers: Iterable[tuple[str, str]] = ()) -> Tunnel:
        """Open a WebSocket's tunnel on a connection of its own. Fails if it is refused."""
        exchange = self.ask_for_tunnel(path, headers)
        head = exchange.read_head()
        if isinstance(exchange, FrameExchange):
            assert head.status == 200, head
            return FrameTunnel(exchange)
        assert head.status == 101, (head, exchange.read_body())
        assert isinstance(exchange, LineExchange)
        return exchange.wire

    def request(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        wire: Connection | None = None,
    ) -> Response:
        """Make a whole request and return its response. Without `wire`, on a connection of its own."""
        exchange = self.open(method, path, headers, len(body), wire)
        try:
            if body:
                exchange.send_body(body)
                exchange.end_body()
            return exchange.read_response()
        finally:
            if wire is None:
                exchange.close()

    def get(self, path: str, *headers: tuple[str, str]) -> Response:
        """Make a GET request."""
        return self.request("GET", path, headers)

    def raw(self, data: bytes) -> Wire:
        """Send bytes as they are on a new connection."""
        wire = self.wire()
        wire.send(data)
        return wire
