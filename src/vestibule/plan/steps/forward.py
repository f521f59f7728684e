"""What every proxied request goes through: who the client is, and what the upstream is told of it.

Facts
  A client can write anything into X-Forwarded-For; only what a trusted peer appended can be believed.
  Walking the list from the right, past trusted addresses, the first that is not trusted is the client.
  Many applications read `X_Real_IP` as `X-Real-IP`.
  A client may name X-Forwarded-For in Connection, so that the next hop drops it (RFC 9110 7.6.1).

Rules
  Hop-by-hop fields go first, so that nothing of ours can be nominated away.
  Spellings of the forwarding fields that we do not write ourselves never pass while we write them.
  Exactly one Host line leaves here (RFC 9112 3.2).
  The result depends on the fields, the authority and the connection, and is remembered on the
  connection. Header edits that depend on no more are part of it.

Not here: the Host of a server that is chosen later (`proxy/upstream.py`).
"""

from typing import Final

from vestibule.contract import PASS, Client, Step
from vestibule.exchange import Exchange
from vestibule.fault import ProtocolError
from vestibule.http.address import NetworkSet, bare_address
from vestibule.http.fields import Fields
from vestibule.http.semantics import forwarded_element, forwarded_for, split_list
from vestibule.http.target import split_authority
from vestibule.plan.sent import SentFields, came_fields
from vestibule.plan.steps.edit import Edit

# What happens to a family of forwarding fields.
SET: Final = 0  # write them: anew for an untrusted peer, continued for a trusted one
REMOVE: Final = 1  # delete an untrusted peer's
KEEP: Final = 2  # leave them as they came

# Which Host the upstream is sent.
HOST_CLIENT: Final = 0
HOST_FIXED: Final = 1

UNIX_PEER: Final = b"unix:"

# In place of the field that says who the client is: none does.
NO_FIELD: Final = b"-"

_WRITTEN: Final = frozenset((b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"x-real-ip"))


class Terms:
    """How requests are forwarded; one for each distinct `forwarding` of a configuration.

    `host` is the literal Host where `host_mode` is HOST_FIXED.
    """

    def __init__(
        self,
        trusted: NetworkSet,
        x_forwarded: int = SET,
        forwarded: int = REMOVE,
        host_mode: int = HOST_CLIENT,
        host: bytes = b"",
        allow_underscores: bool = False,
        client_field: bytes = b"",
        client_walk: bool = True,
        client_announced: bool = False,
        trusts_sockets: bool = True,
    ) -> None:
        self.trusted = trusted
        self.x_forwarded = x_forwarded
        self.forwarded = forwarded
        self.host_mode = host_mode
        self.host = host
        self.allow_underscores = allow_underscores
        self.client_field = client_field.lower()
        self.client_walk = client_walk
        self.client_announced = client_announced
        self.trusts_sockets = trusts_sockets

    def trusts(self, address: bytes) -> bool:
        """Tell whether what this peer says of others is believed.

        Who may open a unix socket is decided by its permissions, so whoever did is trusted, unless it is said that they are not.
        """
        return self.trusts_sockets if address == UNIX_PEER else self.trusted.has(address)

    def client_of(self, client: Client, fields: Fields) -> bytes:
        """Return the address of the client, walking what trusted hops say from the right."""
        peer = client.address
        if self.client_announced:
            return peer if client.announced is None or not self.trusts(peer) else client.announced.source
        if not self.trusts(peer) or self.client_field == NO_FIELD:
            return peer
        lists = fields.get_all(self.client_field or b"x-forwarded-for")
        nodes: list[bytes] = []
        if lists:
            for value in lists:
                nodes.extend(split_list(value))
        elif not self.client_field:
            nodes = forwarded_for(fields.get_all(b"forwarded"))
        address = peer
        for i in range(len(nodes) - 1, -1, -1):
            node = bare_address(nodes[i])
            if not node:
                break
            address = node
            if not self.client_walk or not self.trusted.has(address):
                break
        return address

    def forward(self, ex: Exchange, came: Fields) -> Fields:
        """Return the fields to send in place of `came`; `ex.client_address` is set already."""
        trusted = self.trusts(ex.client.address)
        came = came.end_to_end()
        fields = _kept(came, self, trusted)
        if self.host_mode == HOST_FIXED:
            fields = fields.with_host(self.host)
        elif fields.host is None or fields.host != ex.request.authority:
            fields = fields.with_host(ex.request.authority)
        added: list[tuple[bytes, bytes]] = []
        if self.x_forwarded == SET:
            _add_x_forwarded(added, ex, came, trusted)
        if self.forwarded == SET:
            _add_forwarded(added, ex, came, trusted)
        return fields.plus(added) if added else fields


def _kept(fields: Fields, terms: Terms, trusted: bool) -> Fields:
    """Return the fields without those that we write ourselves or must not believe."""
    dropped: list[bytes] = []
    for name in fields.names:
        lower = name.lower
        if name.underscore:
            if not terms.allow_underscores:
                dropped.append(lower)
                continue
            lower = lower.replace(b"_", b"-")
        mode = KEEP
        if lower.startswith(b"x-forwarded-") or lower == b"x-real-ip":
            mode = terms.x_forwarded
        elif lower == b"forwarded":
            mode = terms.forwarded
        if mode == KEEP:
            continue
        if not trusted or (mode == SET and (name.underscore or lower in _WRITTEN or lower == b"forwarded")):
            dropped.append(name.lower)
    return fields.without(dropped) if dropped else fields


def _add_x_forwarded(added: list[tuple[bytes, bytes]], ex: Exchange, came: Fields, trusted: bool) -> None:
    client = ex.client
    peer = client.address
    chain: list[bytes] = []
    proto = b""
    host = b""
    port = b""
    if trusted:
        chain = [value for value in came.get_all(b"x-forwarded-for") if value]
        proto = came.get(b"x-forwarded-proto") or b""
        host = came.get(b"x-forwarded-host") or b""
        port = came.get(b"x-forwarded-port") or b""
    if peer != UNIX_PEER:
        chain.append(peer)
    if ex.client_address != UNIX_PEER:
        added.append((b"X-Real-IP", ex.client_address))
    if chain:
        added.append((b"X-Forwarded-For", b", ".join(chain)))
    if not host:
        host = ex.request.authority
    if not port:
        port = _port_of(host, proto or client.scheme)
    added.append((b"X-Forwarded-Proto", proto or client.scheme))
    if host:
        added.append((b"X-Forwarded-Host", host))
    added.append((b"X-Forwarded-Port", port))


def _port_of(host: bytes, scheme: bytes) -> bytes:
    """Return the port the client connected to, as it sees it: that of the host it asked for, or the scheme's own.

    Our own port would be wrong wherever a router or a container maps it.
    """
    try:
        port = split_authority(host)[1]
    except ProtocolError:
        port = b""
    if port and not port.translate(None, b"0123456789"):
        return port
    return b"443" if scheme == b"https" else b"80"


def _add_forwarded(added: list[tuple[bytes, bytes]], ex: Exchange, came: Fields, trusted: bool) -> None:
    elements = came.get_all(b"forwarded") if trusted else []
    elements.append(forwarded_element(ex.client.address, ex.request.authority, ex.client.scheme))
    added.append((b"Forwarded", b", ".join(elements)))


class Forward(Step):
    """The first step of a site: finds the client's address and makes the fields to send, edits included."""

    def __init__(self, terms: Terms, edits: list[Edit]) -> None:
        self._terms = terms
        self._edits = edits

    def run(self, ex: Exchange) -> int:
        client = ex.client
        head = ex.request
        if client.memo_step is self and client.memo_from is head.fields:
            sent = client.memo_to
            if isinstance(sent, SentFields) and sent.authority == head.authority:
                head.fields = sent
                ex.client_address = client.memo_address
                return PASS
        came = head.fields
        _find_client(self._terms, ex, came)
        made = make_sent(self._terms, self._edits, ex, came)
        # Worth remembering from the second time on: most connections that idle have asked once.
        again = client.memo_step is self and client.memo_from is came
        client.memo_step = self
        client.memo_from = came
        client.memo_to = made if again else None
        client.memo_address = ex.client_address
        head.fields = made
        return PASS


class ForwardAgain(Step):
    """For a route that forwards otherwise than its site: starts again from what the client sent.

    `edits` are those of the site and of the routes around this one, in order. `steady` says that
    they depend on fields and connection alone, `anew` that the client may be another one by these terms.
    """

    def __init__(self, terms: Terms, edits: list[Edit], steady: bool, anew: bool = False) -> None:
        self._terms = terms
        self._edits = edits
        self._steady = steady
        self._anew = anew

    def run(self, ex: Exchange) -> int:
        head = ex.request
        before = head.fields
        if self._anew:
            _find_client(self._terms, ex, came_fields(head))
        if not isinstance(before, SentFields):
            head.fields = make_sent(self._terms, self._edits, ex, before)
            return PASS
        if self._steady and before.next_step is self and before.next_fields is not None:
            head.fields = before.next_fields
            return PASS
        made = make_sent(self._terms, self._edits, ex, before.came)
        if self._steady:
            before.next_step = self
            before.next_fields = made
        head.fields = made
        return PASS


def _find_client(terms: Terms, ex: Exchange, came: Fields) -> None:
    """Say who the client is. One that was found stays, wherever the request goes on."""
    if not ex.around or ex.client_address == ex.client.address:
        ex.client_address = terms.client_of(ex.client, came.end_to_end())


def make_sent(terms: Terms, edits: list[Edit], ex: Exchange, came: Fields) -> SentFields:
    """Return the fields to send for `came`."""
    fields = terms.forward(ex, came)
    for edit in edits:
        fields = edit.apply(ex, fields)
    return SentFields(fields, came, ex.request.authority)
