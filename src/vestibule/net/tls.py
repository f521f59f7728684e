"""TLS contexts: made from PEM bytes, found by server name.

Facts
  The `ssl` module loads keys from files only, and a worker may not open any: an anonymous file in
  memory serves. Sessions resume across workers only if all encrypt tickets with one key; the module
  has no call for that, OpenSSL has (SSL_CTRL_SET_TLSEXT_TICKET_KEYS).
  A resumed session is not verified again, whichever context it began with (RFC 8446 4.6.1), and OpenSSL opens tickets before it
  asks which context serves. Where contexts of one listener ask clients for different things, no session may be resumed.
  Mozilla's intermediate profile is TLS 1.2 and 1.3 with forward secrecy and AEAD; modern is 1.3 alone.

Rules: a context never falls back to something weaker than asked for; an error is raised instead.

Not here: where certificates come from (`control/certs.py`), the byte pump (`transport.py`).
"""

import hashlib
import hmac
import os
import ssl
from typing import Any, Final

from mypy_extensions import mypyc_attr

from vestibule.net import openssl
from vestibule.net.demand import PAIRS_MOST, Demand, DemandedHosts, DemandedPair
from vestibule.net.openssl import TICKET_KEY_BYTES

INTERMEDIATE_CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)

_PRIORITIZE_CHACHA: Final = 1 << 21  # SSL_OP_PRIORITIZE_CHACHA in openssl/ssl.h

# The protocol by which an issuer looks at a challenge (RFC 8737 4), and as it stands in a client's hello.
ACME_TLS: Final = "acme-tls/1"
ACME_OFFER: Final = b"\x0aacme-tls/1"

# What becomes of a client's certificate: one is required, one is verified if there is one, any is taken, any is and has to be there.
VERIFY_REQUIRED: Final = "require"
VERIFY_OPTIONAL: Final = "optional"
VERIFY_ANY: Final = "any"
VERIFY_SHOWN: Final = "shown"


@mypyc_attr(native_class=False)
class AskedObject(ssl.SSLObject):
    """A server-side TLS object that remembers which name its client asked for.

    `validates` is set before the handshake where the client offers `ACME_TLS`, `rules` in it: what was asked of the client
    (`ClientAuth.rules`), or nothing.
    """

    asked_name = ""
    validates = False
    rules = b""


@mypyc_attr(native_class=False)
class AskingContext(ssl.SSLContext):
    """A context that remembers what it asks of clients."""

    rules = b""


class ClientAuth:
    """What is asked of clients: by whom their certificates must be signed (PEM), and how that is checked.

    With `crl_pem` every authority on the way needs a revocation list that is in force (RFC 5280 6.3);
    `depth` bounds the authorities on the way, -1 leaves that to OpenSSL. Clients are not told of the authorities in `more_pem`.
    """

    def __init__(self, ca_pem: bytes, verify: str = VERIFY_REQUIRED, crl_pem: bytes = b"", depth: int = -1, more_pem: bytes = b"") -> None:
        self.ca_pem = ca_pem
        self.more_pem = more_pem
        self.verify = verify
        self.crl_pem = crl_pem
        self.depth = depth

    def ticket_key(self, key: bytes) -> bytes:
        """Return the ticket key of sessions that were let in by exactly these rules.

        A session resumes without its certificate being looked at again, so one that began where less
        is asked, or before a revocation list changed, must not open here.
        """
        rules = self._written()
        first = hmac.digest(key, b"client certificates 1\0" + rules, hashlib.sha512)
        second = hmac.digest(key, b"client certificates 2\0" + rules, hashlib.sha512)
        return (first + second)[:TICKET_KEY_BYTES]

    def rules(self) -> bytes:
        """Return what tells these rules from others."""
        return hashlib.sha256(self._written()).digest()

    def _written(self) -> bytes:
        return b"\0".join([self.verify.encode(), b"%d" % self.depth, self.ca_pem + self.more_pem, self.crl_pem])

    def arm(self, made: ssl.SSLContext) -> None:
        """Have a context ask so. Raises ValueError or ssl.SSLError."""
        if self.ca_pem:
            made.load_verify_locations(cadata=self.ca_pem.decode("ascii"))
            for der in made.get_ca_certs(binary_form=True):
                openssl.name_authority(made, der)
            # Whoever names an intermediate authority means its members, and not all of its root's.
            made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if self.more_pem:
            made.load_verify_locations(cadata=self.more_pem.decode("ascii"))
            made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if self.crl_pem:
            _load_lists(made, self.crl_pem)
            made.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
        if self.depth >= 0:
            openssl.set_depth(made, self.depth)
        if self.verify in (VERIFY_ANY, VERIFY_SHOWN):
            openssl.ask_any(made, self.verify == VERIFY_SHOWN)
        else:
            made.verify_mode = ssl.CERT_OPTIONAL if self.verify == VERIFY_OPTIONAL else ssl.CERT_REQUIRED


def server_context(
    chain_pem: bytes,
    key_pem: bytes,
    minimum: str = "1.2",
    maximum: str = "1.3",
    ciphers: str = INTERMEDIATE_CIPHERS,
    alpn: tuple[str, ...] = ("http/1.1",),
    ticket_key: bytes = b"",
    clients: ClientAuth | None = None,
    groups: str = "",
    suites: str = "",
) -> ssl.SSLContext:
    """Make the context of one certificate.

    `chain_pem` is the leaf and its chain, `key_pem` its unencrypted key; `add_pair` adds one of another
    key type. `ticket_key` (80 bytes) is shared by all workers; empty resumes no sessions.
    Raises ValueError or ssl.SSLError with the reason.
    """
    made = AskingContext(ssl.PROTOCOL_TLS_SERVER)
    _limit(made, minimum, maximum, ciphers or INTERMEDIATE_CIPHERS, suites, groups)
    # Our order holds, but a client that wants ChaCha20 first, as phones without AES instructions do, gets it.
    made.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | _PRIORITIZE_CHACHA
    made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    made.sslobject_class = AskedObject
    openssl.keep_no_sessions(made)
    add_pair(made, chain_pem, key_pem)
    if alpn:
        openssl.set_protocols(made, alpn)
    if clients is not None:
        clients.arm(made)
        made.rules = clients.rules()
    if not ticket_key:
        made.options |= ssl.OP_NO_TICKET
        made.num_tickets = 0
    else:
        # Where this does nothing OpenSSL makes a key for each context, and sessions resume within a worker only.
        openssl.set_ticket_key(made, clients.ticket_key(ticket_key) if clients is not None else ticket_key)
    return made


def client_context(
    verify: bool = True,
    ca_pem: bytes = b"",
    chain_pem: bytes = b"",
    key_pem: bytes = b"",
    check_name: bool = True,
    crl_pem: bytes = b"",
    offers: tuple[str, ...] = ("http/1.1",),
    minimum: str = "1.2",
    maximum: str = "1.3",
    ciphers: str = "",
    suites: str = "",
    groups: str = "",
    depth: int = -1,
) -> ssl.SSLContext:
    """Make the context for connections to an upstream that may speak these protocols; with none, ALPN is left out.

    Raises ValueError or ssl.SSLError with the reason.

    With `crl_pem` every authority on the way needs a revocation list that is in force (RFC 5280 6.3).
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _limit(made, minimum, maximum, ciphers, suites, groups)
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    else:
        made.check_hostname = check_name
        if ca_pem:
            made.load_verify_locations(cadata=ca_pem.decode("ascii"))
        else:
            made.load_default_certs(ssl.Purpose.SERVER_AUTH)
        if crl_pem:
            _load_lists(made, crl_pem)
            made.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
        if depth >= 0:
            openssl.set_depth(made, depth)
    if chain_pem:
        add_pair(made, chain_pem, key_pem)
    if offers:
        made.set_alpn_protocols(list(offers))
    return made


def _limit(made: ssl.SSLContext, minimum: str, maximum: str, ciphers: str, suites: str, groups: str) -> None:
    """Set versions, ciphers, suites and groups of a context; empty leaves the library's. Raises ValueError or ssl.SSLError."""
    made.minimum_version = ssl.TLSVersion.TLSv1_3 if minimum == "1.3" else ssl.TLSVersion.TLSv1_2
    made.maximum_version = ssl.TLSVersion.TLSv1_2 if maximum == "1.2" else ssl.TLSVersion.TLSv1_3
    if ciphers:
        made.set_ciphers(ciphers)
    if suites:
        openssl.set_suites(made, suites)
    if groups:
        openssl.set_groups(made, groups)


def add_pair(made: ssl.SSLContext, chain_pem: bytes, key_pem: bytes) -> None:
    """Load a certificate with its key; one for each type of key may be there, and the client's hello chooses."""
    fd = _memory_file(chain_pem.rstrip(b"\n") + b"\n" + key_pem)
    try:
        made.load_cert_chain(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def _load_lists(made: ssl.SSLContext, crl_pem: bytes) -> None:
    fd = _memory_file(crl_pem)
    try:
        made.load_verify_locations(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def _memory_file(data: bytes) -> int:
    fd = os.memfd_create("pem", os.MFD_CLOEXEC)
    while data:
        data = data[os.write(fd, data) :]
    return fd


class OpenChallenges:
    """What issuers are shown in a handshake while they look, by host name; the same for all listeners of a worker."""

    def __init__(self) -> None:
        self.contexts: dict[str, ssl.SSLContext] = {}

    def replace(self, pairs: dict[str, tuple[bytes, bytes]]) -> None:
        """Show exactly these from now on. Raises ValueError or ssl.SSLError, and then all is as before."""
        self.contexts = {name.lower(): server_context(chain, key, alpn=(ACME_TLS,)) for name, (chain, key) in pairs.items()}


class DemandedContexts:
    """Makes the context of a certificate that was demanded, as the other contexts of the listener are."""

    def make(self, pair: DemandedPair) -> ssl.SSLContext | None:
        """Return it; None, told, where it cannot be made."""
        raise NotImplementedError


class NamePattern:
    """Tells which server names it is for."""

    def is_for(self, name: str) -> bool:
        """Tell whether it is for this one."""
        raise NotImplementedError


class _Demanded:
    """A context with the certificate it was made from."""

    def __init__(self, pair: DemandedPair, context: ssl.SSLContext) -> None:
        self.pair = pair
        self.context = context


class TlsChoice:
    """Which certificate a client gets, by the name it asks for (RFC 6066 3).

    `base` is the context a handshake starts with; where no name matches, the handshake is refused
    unless `default` is there.
    """

    def __init__(self, base: ssl.SSLContext, default: ssl.SSLContext | None, challenges: OpenChallenges | None = None) -> None:
        self.base = base
        self.default = default
        self.challenges = challenges
        self.demand: Demand | None = None
        """Where certificates of names that nobody wrote down are; None where there are no such hosts."""
        self._exact: dict[str, ssl.SSLContext] = {}
        self._wildcards: dict[str, ssl.SSLContext] = {}
        self._refused: set[str] = set()
        self._spared: set[str] = set()
        self._goes_deep = False
        self._patterns: list[tuple[NamePattern, ssl.SSLContext]] = []
        self._hosts = DemandedHosts()
        self._contexts = DemandedContexts()
        self._demanded: dict[str, _Demanded] = {}

    def serve_on_demand(self, demand: Demand, hosts: DemandedHosts, contexts: DemandedContexts) -> None:
        """Serve hosts whose certificates come when clients ask for them."""
        self.demand = demand
        self._hosts = hosts
        self._contexts = contexts

    def add(self, name: str, context: ssl.SSLContext) -> None:
        """Serve `context` for a host name, or for one label more with `*.name`."""
        name = name.lower().rstrip(".")
        if name.startswith("*."):
            self._wildcards[name[2:]] = context
        else:
            self._exact[name] = context

    def go_by_sites(self) -> None:
        """Have wildcards be for any number of labels, as they are for sites: what is asked of clients goes with the site."""
        self._goes_deep = True

    def add_pattern(self, pattern: NamePattern, context: ssl.SSLContext) -> None:
        """Serve `context` for names that a pattern is for, where no name fits."""
        self._patterns.append((pattern, context))

    def refuse(self, name: str) -> None:
        """Refuse handshakes for a host name, or for one label more with `*.name`, whatever there is for it."""
        self._refused.add(name.lower().rstrip("."))

    def spare(self, name: str) -> None:
        """Have no wildcard be for a host name."""
        self._spared.add(name.lower().rstrip("."))

    def find(self, name: str) -> ssl.SSLContext | None:
        """Return the context for a server name (empty where the client sent none), or None to refuse."""
        if name:
            name = name.lower().rstrip(".")
            _, _, parent = name.partition(".")
            if self._refused and (name in self._refused or f"*.{parent}" in self._refused):
                return None
            found = self._exact.get(name)
            if found is not None:
                return found
            found = self._wildcards.get(parent)
            if found is not None and name not in self._spared:
                return found
            if self.demand is not None and self._hosts.has(name):
                found = self._find_demanded(self.demand, name)
                if found is not None:
                    return found
            if self._goes_deep:
                found = self._find_deep(name)
                if found is not None:
                    return found
        return self.default

    def _find_deep(self, name: str) -> ssl.SSLContext | None:
        _, _, parent = name.partition(".")
        while parent:
            found = self._wildcards.get(parent)
            if found is not None:
                return found
            _, _, parent = parent.partition(".")
        for pattern, context in self._patterns:
            if pattern.is_for(name):
                return context
        return None

    def lacking(self, name: str) -> Demand | None:
        """Return who is to be asked for the certificate of a name that is served on demand; None where there is one, or never."""
        _, _, parent = name.partition(".")
        if self.demand is None or name in self._exact or parent in self._wildcards or not self._hosts.has(name):
            return None
        return self.demand if self.demand.find(name) is None else None

    def _find_demanded(self, demand: Demand, name: str) -> ssl.SSLContext | None:
        pair = demand.find(name)
        held = self._demanded.pop(name, None)
        if pair is None:
            return None
        if held is None or held.pair is not pair:
            made = self._contexts.make(pair)
            if made is None:
                return None
            held = _Demanded(pair, made)
        # Used last, so it goes last.
        self._demanded[name] = held
        while len(self._demanded) > PAIRS_MOST:
            del self._demanded[next(iter(self._demanded))]
        return held.context

    def is_validated(self) -> bool:
        """Tell whether an issuer may come and look at a challenge now."""
        return self.challenges is not None and len(self.challenges.contexts) > 0

    def replace(self, old: ssl.SSLContext, new: ssl.SSLContext) -> None:
        """Serve `new` wherever `old` is served. Handshakes that began with the old one end with it."""
        for held in (self._exact, self._wildcards):
            for name in list(held):
                if held[name] is old:
                    held[name] = new
        self._patterns = [(pattern, new if held_for is old else held_for) for pattern, held_for in self._patterns]
        if self.default is old:
            self.default = new
        if self.base is old:
            self.base = new
            self.arm()

    def arm(self) -> None:
        """Have the base context ask this choice in every handshake."""
        self.base.sni_callback = self.choose

    def choose(self, connection: Any, name: str | None, base: ssl.SSLContext) -> int | None:
        """Pick the context of a handshake; called by OpenSSL. An int refuses, with this alert."""
        connection.asked_name = name or ""
        if connection.validates and self.challenges is not None:
            shown = self.challenges.contexts.get((name or "").lower())
            if shown is None:
                return int(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)
            connection.context = shown
            return None
        found = self.find(name or "")
        if found is None:
            return int(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)
        asked = base.rules if isinstance(base, AskingContext) else b""
        rules = found.rules if isinstance(found, AskingContext) else b""
        connection.rules = rules
        if found is not base:
            # The connection may have had the last reference to `base`, whose certificate was renewed: nothing asks it from here on.
            connection.context = found
            if rules != asked and not openssl.ask_as(connection, found):
                return int(ssl.ALERT_DESCRIPTION_INTERNAL_ERROR)
        return None
