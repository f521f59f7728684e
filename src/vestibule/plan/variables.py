"""The variables of expressions: one node for each name of the vocabulary.

Rules: a node says the narrowest scope that is true. Request fields and target are those the client
sent, whatever steps have made of them since; `path` and `query` are those that go upstream.

Not here: the table of names with their meaning (`model/vocabulary.py`); a test holds both together.
"""

import base64
import binascii
import secrets
import time
import uuid
from typing import Final

from vestibule.contract import Source
from vestibule.exchange import Exchange
from vestibule.fault import UPSTREAM, ProtocolError
from vestibule.http.dates import Almanac
from vestibule.http.target import host_of, normal_path
from vestibule.plan.certificates import NODES
from vestibule.plan.connection import (
    AnnouncedIp,
    AnnouncedPort,
    AnnouncedServerIp,
    AnnouncedServerPort,
    AnnouncedTlv,
    ClientPort,
    ConnectionMs,
    ConnectionNumber,
    ConnectionRequests,
    FirstBytes,
    Hostname,
    PeerIp,
    ProcessId,
    Scheme,
    ServerIp,
    ServerPort,
    TargetOrigin,
    Tls,
    TlsAlpn,
    TlsCipher,
    TlsCiphers,
    TlsClientBase64,
    TlsClientError,
    TlsClientFingerprint,
    TlsClientIssuer,
    TlsClientName,
    TlsClientNotAfter,
    TlsClientNotBefore,
    TlsClientPem,
    TlsClientSerial,
    TlsClientSha1,
    TlsClientSubject,
    TlsClientVerify,
    TlsHello,
    TlsProtocol,
    TlsResumed,
    TlsSession,
    TlsSni,
    TlsVersion,
)
from vestibule.plan.expr import CONNECTION, EXCHANGE, FIELDS, Const, Node, NumberNode, TruthNode
from vestibule.plan.functions import url_decode
from vestibule.plan.lists import make_list_variable
from vestibule.plan.password import basic_of
from vestibule.plan.request_id import request_id
from vestibule.plan.sent import LINE, came_fields, came_method, came_target, own_method, own_target
from vestibule.plan.tries import ADDRESSES, CONNECT, HEAD, STATUSES, TOOK, Tried

ALMANAC: Final = Almanac()

# What a name may be made of to stand in a field: everything but controls.
_VISIBLE: Final = bytes([code for code in range(32, 256) if code != 127])


def now_ms() -> int:
    """Return milliseconds since 1970. Only texts for people use it; time-outs run on the reactor's clock."""
    return int(time.time() * 1000)


class Protocol(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return ex.request.protocol


# ---- the request


class ClientIp(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return ex.client_address


class Method(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return came_method(ex.request)


class SentMethod(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return own_method(ex.request)


class Target(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return came_target(ex.request)


class Path(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return _path(ex)


def _path(ex: Exchange) -> bytes:
    return own_target(ex.request).partition(b"?")[0]


def _query(ex: Exchange) -> bytes:
    return own_target(ex.request).partition(b"?")[2]


class DecodedPath(Node):
    """The path in normal form. One that has none is refused before (`CheckPath`); in a log it stays as it is."""

    def find(self, ex: Exchange) -> bytes | None:
        path = _path(ex)
        try:
            return normal_path(path)
        except ProtocolError:
            return path


class Query(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return _query(ex)


class Arg(Node):
    """The first value of a query name, as sent; the name is compared percent-decoded."""

    def __init__(self, name: bytes) -> None:
        super().__init__(EXCHANGE)
        self._name = name

    def find(self, ex: Exchange) -> bytes | None:
        query = _query(ex)
        if not query:
            return None
        for pair in query.split(b"&"):
            name, _, value = pair.partition(b"=")
            if name == self._name or (b"%" in name and url_decode(name) == self._name):
                return value
        return None


class Host(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return host_of(ex.request.authority)


class HostOr(Node):
    """The host, or that of its site where the request names none."""

    def __init__(self, otherwise: bytes) -> None:
        super().__init__(FIELDS)
        self._otherwise = otherwise

    def find(self, ex: Exchange) -> bytes | None:
        return host_of(ex.request.authority) or self._otherwise


class HostPort(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return ex.request.authority


def _joined(values: list[bytes], lower: bytes) -> bytes | None:
    """Return the lines of a request field as one; Cookie is the one field whose lines are joined otherwise (RFC 9113 8.2.3)."""
    if not values:
        return None
    return values[0] if len(values) == 1 else (b"; " if lower == b"cookie" else b", ").join(values)


class Header(Node):
    """A request field as the client sent it."""

    def __init__(self, lower: bytes) -> None:
        super().__init__(FIELDS)
        self._lower = lower

    def find(self, ex: Exchange) -> bytes | None:
        return _joined(came_fields(ex.request).get_all(self._lower), self._lower)


class HeaderLine(Node):
    """The last line of a request field as the client sent it."""

    def __init__(self, lower: bytes) -> None:
        super().__init__(FIELDS)
        self._lower = lower

    def find(self, ex: Exchange) -> bytes | None:
        values = came_fields(ex.request).get_all(self._lower)
        return values[-1] if values else None


class HeaderLines(NumberNode):
    """How many lines a request field came with."""

    def __init__(self, lower: bytes) -> None:
        super().__init__(FIELDS)
        self._lower = lower

    def value(self, ex: Exchange) -> int:
        return len(came_fields(ex.request).get_all(self._lower))


class HeaderNames(Node):
    """The names of the lines that a request came with, in lower case."""

    def find(self, ex: Exchange) -> bytes | None:
        return b",".join([name.lower for name in came_fields(ex.request).names])


class Body(Node):
    """What of the body was read and has not gone on."""

    def find(self, ex: Exchange) -> bytes | None:
        return ex.held_back_body()


class RequestHeader(Node):
    """A request field as steps have left it."""

    def __init__(self, lower: bytes) -> None:
        super().__init__(EXCHANGE)
        self._lower = lower

    def find(self, ex: Exchange) -> bytes | None:
        return _joined(ex.request.fields.get_all(self._lower), self._lower)


class RequestHeaderLine(Node):
    """The last line of a request field as steps have left it."""

    def __init__(self, lower: bytes) -> None:
        super().__init__(EXCHANGE)
        self._lower = lower

    def find(self, ex: Exchange) -> bytes | None:
        values = ex.request.fields.get_all(self._lower)
        return values[-1] if values else None


class FirstRequest(TruthNode):
    def test(self, ex: Exchange) -> bool:
        return ex.client.requests <= 1


class Kept(Node):
    """What a step kept, for the request or else for its connection."""

    def __init__(self, name: bytes) -> None:
        super().__init__(EXCHANGE)
        self._name = name

    def find(self, ex: Exchange) -> bytes | None:
        own = ex.kept
        if own is not None and self._name in own:
            return own[self._name]
        shared = ex.client.kept
        return None if shared is None else shared.get(self._name)


class Cookie(Node):
    """The value of the first cookie of this name (RFC 6265 4.2.1)."""

    def __init__(self, name: bytes) -> None:
        super().__init__(FIELDS)
        self._name = name

    def find(self, ex: Exchange) -> bytes | None:
        for line in came_fields(ex.request).get_all(b"cookie"):
            for pair in line.split(b";"):
                name, mark, value = pair.partition(b"=")
                if mark and name.strip(b" \t") == self._name:
                    return value.strip(b" \t")
        return None


class RequestId(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return request_id(ex)


class Time(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return ALMANAC.iso(now_ms())


class Random(NumberNode):
    def value(self, ex: Exchange) -> int:
        return secrets.randbits(32)


class Uuid(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return str(uuid.uuid4()).encode()


class TimeMs(NumberNode):
    def value(self, ex: Exchange) -> int:
        return now_ms()


class TlsClientDays(Node):
    """How long the client's certificate is valid yet, which is less every day."""

    def find(self, ex: Exchange) -> bytes | None:
        shown = ex.client.certificate
        return None if shown is None else b"%d" % shown.days_left(now_ms())


class TimeLocal(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return ALMANAC.log(now_ms())


# ---- the upstream


class Upstream(Node):
    """The name of the upstream of this plan, once it was asked, or was to be."""

    def __init__(self, name: bytes) -> None:
        super().__init__(EXCHANGE)
        self._name = name

    def find(self, ex: Exchange) -> bytes | None:
        if ex.upstream_name or ex.chosen is not None:
            return self._name
        return self._name if ex.fault is not None and ex.fault.kind.side == UPSTREAM else None


class UpstreamCount(NumberNode):
    """A number of servers or requests of some upstream. Which source that is comes when all are made."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(EXCHANGE)
        self.name = name
        self.of: Source | None = None
        self._what = what

    def value(self, ex: Exchange) -> int:
        if self.of is None:
            return 0
        return self.of.count_servers() if self._what == "upstream_servers" else self.of.count_requests(self._what == "upstream_waiting")


class UpstreamAddress(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return ex.upstream_name.encode() if ex.upstream_name else None


class User(Node):
    """The name in Basic credentials (RFC 7617 2). Two Authorization lines name nobody, as nobody lets them pass."""

    def find(self, ex: Exchange) -> bytes | None:
        lines = came_fields(ex.request).get_all(b"authorization")
        text = basic_of(lines[0]) if len(lines) == 1 else None
        if text is None:
            return None
        try:
            name, colon, _ = base64.b64decode(text.strip(b" \t"), validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return None
        return name if colon and not name.translate(None, _VISIBLE) else None


class UpstreamMark(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return None if ex.chosen is None else ex.chosen.token


class UpstreamConnectMs(NumberNode):
    def value(self, ex: Exchange) -> int:
        return ex.connect_ms


# ---- the response


class Status(NumberNode):
    def value(self, ex: Exchange) -> int:
        return -1 if ex.response is None else ex.response.status


class ResponseHeader(Node):
    """A field of the response as it is now."""

    def __init__(self, lower: bytes) -> None:
        super().__init__(EXCHANGE)
        self._lower = lower

    def find(self, ex: Exchange) -> bytes | None:
        if ex.response is None:
            return None
        values = ex.response.fields.get_all(self._lower)
        if not values:
            return None
        return values[0] if len(values) == 1 else b", ".join(values)


class UpstreamHeader(Node):
    """A field of a server's last answer as it came."""

    def __init__(self, lower: bytes) -> None:
        super().__init__(EXCHANGE)
        self._lower = lower

    def find(self, ex: Exchange) -> bytes | None:
        if ex.came is None:
            return None
        values = ex.came.get_all(self._lower)
        return b", ".join(values) if values else None


class ResponseHeaderLine(Node):
    """The last line of a field of the response as it is now."""

    def __init__(self, lower: bytes) -> None:
        super().__init__(EXCHANGE)
        self._lower = lower

    def find(self, ex: Exchange) -> bytes | None:
        values = ex.response.fields.get_all(self._lower) if ex.response is not None else []
        return values[-1] if values else None


class ResponseHeaderLines(NumberNode):
    """How many lines a field of the response has now."""

    def __init__(self, lower: bytes) -> None:
        super().__init__(EXCHANGE)
        self._lower = lower

    def value(self, ex: Exchange) -> int:
        return len(ex.response.fields.get_all(self._lower)) if ex.response is not None else 0


class ResponseHeaderNames(Node):
    """The names of the fields of the response as it is now, in lower case."""

    def find(self, ex: Exchange) -> bytes | None:
        return b",".join([name.lower for name in ex.response.fields.names]) if ex.response is not None else None


class Proxied(TruthNode):
    def test(self, ex: Exchange) -> bool:
        return ex.up is not None


class Around(TruthNode):
    def test(self, ex: Exchange) -> bool:
        return ex.around or ex.error_status != 0


class FieldLine(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return LINE.value


class HeadMs(NumberNode):
    def value(self, ex: Exchange) -> int:
        return ex.head_ms


# ---- the end


class BytesIn(NumberNode):
    def value(self, ex: Exchange) -> int:
        return ex.request_bytes


class BytesOut(NumberNode):
    def value(self, ex: Exchange) -> int:
        return ex.response_bytes


class RequestSize(NumberNode):
    """Head and body of the request, as HTTP/1.1 writes them but for chunks."""

    def value(self, ex: Exchange) -> int:
        head = ex.request
        line = len(came_method(head)) + len(came_target(head)) + len(head.protocol) + 4
        return line + len(came_fields(head).block) + 2 + ex.request_bytes


class ResponseSize(NumberNode):
    """Head and body of the response, as HTTP/1.1 writes them but for chunks."""

    def value(self, ex: Exchange) -> int:
        size = ex.head_bytes
        if size == 0 and ex.response is not None:
            size = len(b"HTTP/1.1 200 \r\n") + len(ex.response.reason) + len(ex.response.fields.block) + 2
        return size + ex.response_bytes


class TotalMs(NumberNode):
    def value(self, ex: Exchange) -> int:
        return total_ms(ex)


class AuthHeader(Node):
    """A field of the answer of the server that was asked whether the request may pass."""

    def __init__(self, lower: bytes) -> None:
        super().__init__(EXCHANGE)
        self._lower = lower

    def find(self, ex: Exchange) -> bytes | None:
        answer = ex.auth_answer
        if answer is None:
            return None
        values = answer.get_all(self._lower)
        return b", ".join(values) if values else None


class ErrorStatus(NumberNode):
    def value(self, ex: Exchange) -> int:
        return ex.error_status


class DatagramsIn(NumberNode):
    def value(self, ex: Exchange) -> int:
        return ex.datagrams_in


class DatagramsOut(NumberNode):
    def value(self, ex: Exchange) -> int:
        return ex.datagrams_out


class FaultKind(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return None if ex.fault is None else ex.fault.kind.name.encode()


def total_ms(ex: Exchange) -> int:
    """Return how long the exchange has taken until now, or did until it ended."""
    ended = ex.ended_ms or int(time.monotonic() * 1000)
    return max(0, ended - ex.began_ms)


class Place:
    """Where an expression stands: the names that are fixed there."""

    def __init__(self, listener: bytes = b"", site: bytes = b"", upstream: bytes = b"", default_host: bytes = b"") -> None:
        self.listener = listener
        self.site = site
        self.upstream = upstream
        self.default_host = default_host


_NODES: Final[dict[str, Node]] = {
    "peer_ip": PeerIp(CONNECTION),
    "client_port": ClientPort(CONNECTION),
    "server_ip": ServerIp(CONNECTION),
    "server_port": ServerPort(CONNECTION),
    "scheme": Scheme(CONNECTION),
    "tls": Tls(CONNECTION),
    "tls_version": TlsVersion(CONNECTION),
    "tls_cipher": TlsCipher(CONNECTION),
    "tls_resumed": TlsResumed(CONNECTION),
    "tls_session": TlsSession(CONNECTION),
    "tls_protocol": TlsProtocol(CONNECTION),
    "tls_sni": TlsSni(CONNECTION),
    "tls_alpn": TlsAlpn(CONNECTION),
    "tls_hello": TlsHello(CONNECTION),
    "tls_client_verify": TlsClientVerify(CONNECTION),
    "tls_client_error": TlsClientError(CONNECTION),
    "tls_client_subject": TlsClientSubject(CONNECTION),
    "tls_client_name": TlsClientName(CONNECTION),
    "tls_client_issuer": TlsClientIssuer(CONNECTION),
    "tls_client_serial": TlsClientSerial(CONNECTION),
    "tls_client_fingerprint": TlsClientFingerprint(CONNECTION),
    "tls_client_short_fingerprint": TlsClientSha1(CONNECTION),
    "tls_client_not_before": TlsClientNotBefore(CONNECTION),
    "tls_client_not_after": TlsClientNotAfter(CONNECTION),
    "tls_client_days": TlsClientDays(EXCHANGE),
    "tls_ciphers": TlsCiphers(CONNECTION),
    "tls_client_certificate": TlsClientBase64(CONNECTION),
    "tls_client_pem": TlsClientPem(CONNECTION),
    "announced_ip": AnnouncedIp(CONNECTION),
    "announced_port": AnnouncedPort(CONNECTION),
    "announced_server_ip": AnnouncedServerIp(CONNECTION),
    "announced_server_port": AnnouncedServerPort(CONNECTION),
    "connection_number": ConnectionNumber(CONNECTION),
    "connection_ms": ConnectionMs(EXCHANGE),
    "connection_requests": ConnectionRequests(EXCHANGE),
    "hostname": Hostname(CONNECTION),
    "process_id": ProcessId(CONNECTION),
    # One connection may carry requests of HTTP/1.0 and of HTTP/1.1 with equal fields.
    "protocol": Protocol(EXCHANGE),
    "client_ip": ClientIp(FIELDS),
    "method": Method(EXCHANGE),
    "sent_method": SentMethod(EXCHANGE),
    "target": Target(EXCHANGE),
    "target_origin": TargetOrigin(EXCHANGE),
    "path": Path(EXCHANGE),
    "decoded_path": DecodedPath(EXCHANGE),
    "query": Query(EXCHANGE),
    "host": Host(FIELDS),
    "host_port": HostPort(FIELDS),
    "request_id": RequestId(EXCHANGE),
    "time": Time(EXCHANGE),
    "random": Random(EXCHANGE),
    "uuid": Uuid(EXCHANGE),
    "time_ms": TimeMs(EXCHANGE),
    "time_local": TimeLocal(EXCHANGE),
    "upstream_address": UpstreamAddress(EXCHANGE),
    "tried_addresses": Tried(ADDRESSES),
    "tried_statuses": Tried(STATUSES),
    "tried_connect_seconds": Tried(CONNECT),
    "tried_head_seconds": Tried(HEAD),
    "tried_seconds": Tried(TOOK),
    "user": User(FIELDS),
    "header_names": HeaderNames(FIELDS),
    "response_header_names": ResponseHeaderNames(EXCHANGE),
    "body": Body(EXCHANGE),
    "upstream_mark": UpstreamMark(EXCHANGE),
    "upstream_connect_ms": UpstreamConnectMs(EXCHANGE),
    "status": Status(EXCHANGE),
    "head_ms": HeadMs(EXCHANGE),
    "field_line": FieldLine(EXCHANGE),
    "around": Around(EXCHANGE),
    "first_request": FirstRequest(EXCHANGE),
    "proxied": Proxied(EXCHANGE),
    "bytes_in": BytesIn(EXCHANGE),
    "bytes_out": BytesOut(EXCHANGE),
    "request_size": RequestSize(EXCHANGE),
    "response_size": ResponseSize(EXCHANGE),
    "total_ms": TotalMs(EXCHANGE),
    "fault": FaultKind(EXCHANGE),
    "datagrams_in": DatagramsIn(EXCHANGE),
    "datagrams_out": DatagramsOut(EXCHANGE),
    "error_status": ErrorStatus(EXCHANGE),
}


def make_variable(name: str, argument: str, place: Place) -> Node | None:
    """Return the node of a variable, or None if there is no such variable."""
    if name == "host" and place.default_host:
        return HostOr(place.default_host)
    node = _NODES.get(name) or NODES.get(name)
    if node is not None:
        return node
    if name == "listener":
        return Const(place.listener)
    if name == "site":
        return Const(place.site)
    if name == "upstream":
        return Upstream(place.upstream)
    if name in ("upstream_servers", "upstream_requests", "upstream_waiting"):
        return UpstreamCount(argument, name)
    key = argument.encode("utf-8", "surrogateescape")
    if name == "arg":
        return Arg(key)
    if name == "header":
        return Header(key.lower())
    if name == "cookie":
        return Cookie(key)
    if name == "response_header":
        return ResponseHeader(key.lower())
    if name == "upstream_header":
        return UpstreamHeader(key.lower())
    if name == "header_line":
        return HeaderLine(key.lower())
    if name == "header_lines":
        return HeaderLines(key.lower())
    if name == "response_header_line":
        return ResponseHeaderLine(key.lower())
    if name == "response_header_lines":
        return ResponseHeaderLines(key.lower())
    if name == "request_header":
        return RequestHeader(key.lower())
    if name == "request_header_line":
        return RequestHeaderLine(key.lower())
    if name == "kept":
        return Kept(key)
    if name == "first_bytes":
        return FirstBytes(int(argument))
    if name == "auth_header":
        return AuthHeader(key.lower())
    if name == "announced_tlv":
        return AnnouncedTlv(argument)
    return make_list_variable(name, key.lower())
