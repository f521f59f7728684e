"""TLS contexts: made from PEM bytes, found by server name.

Facts
  The `ssl` module loads keys from files only, and a worker may not open any: an anonymous file in
  memory serves. Sessions resume across workers only if all encrypt tickets with one key; the module
  has no call for that, OpenSSL has (SSL_CTRL_SET_TLSEXT_TICKET_KEYS).
  Mozilla's intermediate profile is TLS 1.2 and 1.3 with forward secrecy and AEAD; modern is 1.3 alone.

Rules: a context never falls back to something weaker than asked for; an error is raised instead.

Not here: where certificates come from (`control/certs.py`), the byte pump (`transport.py`).
"""

import ctypes
import os
import ssl
import sys
from typing import Any, Final

from mypy_extensions import mypyc_attr

INTERMEDIATE_CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)

_SET_TICKET_KEYS: Final = 59  # SSL_CTRL_SET_TLSEXT_TICKET_KEYS in openssl/ssl.h
_GET_TICKET_KEYS: Final = 58
TICKET_KEY_BYTES: Final = 80


@mypyc_attr(native_class=False)
class AskedObject(ssl.SSLObject):
    """A server-side TLS object that remembers which name its client asked for."""

    asked_name = ""


def server_context(
    chain_pem: bytes,
    key_pem: bytes,
    minimum: str = "1.2",
    maximum: str = "1.3",
    ciphers: str = INTERMEDIATE_CIPHERS,
    alpn: tuple[str, ...] = ("http/1.1",),
    ticket_key: bytes = b"",
    client_ca_pem: bytes = b"",
    client_required: bool = False,
) -> ssl.SSLContext:
    """Make the context of one certificate.

    `chain_pem` is the leaf and its chain, `key_pem` its unencrypted key; `ticket_key` (80 bytes) is
    shared by all workers, empty leaves OpenSSL's own. Raises ValueError or ssl.SSLError with the reason.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_3 if minimum == "1.3" else ssl.TLSVersion.TLSv1_2
    made.maximum_version = ssl.TLSVersion.TLSv1_2 if maximum == "1.2" else ssl.TLSVersion.TLSv1_3
    made.set_ciphers(ciphers or INTERMEDIATE_CIPHERS)
    # Clients choose: all suites of the profile are good, and phones without AES instructions know best.
    made.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    made.sslobject_class = AskedObject
    _load_chain(made, chain_pem, key_pem)
    made.set_alpn_protocols(list(alpn))
    if client_ca_pem:
        made.load_verify_locations(cadata=client_ca_pem.decode("ascii"))
        made.verify_mode = ssl.CERT_REQUIRED if client_required else ssl.CERT_OPTIONAL
    if ticket_key:
        _set_ticket_key(made, ticket_key)
    return made


def client_context(
    verify: bool = True, ca_pem: bytes = b"", chain_pem: bytes = b"", key_pem: bytes = b"", check_name: bool = True
) -> ssl.SSLContext:
    """Make the context for connections to an upstream. Raises ValueError or ssl.SSLError with the reason."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    else:
        made.check_hostname = check_name
        if ca_pem:
            made.load_verify_locations(cadata=ca_pem.decode("ascii"))
        else:
            made.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if chain_pem:
        _load_chain(made, chain_pem, key_pem)
    made.set_alpn_protocols(["http/1.1"])
    return made


def _load_chain(made: ssl.SSLContext, chain_pem: bytes, key_pem: bytes) -> None:
    fd = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        whole = chain_pem.rstrip(b"\n") + b"\n" + key_pem
        while whole:
            whole = whole[os.write(fd, whole) :]
        made.load_cert_chain(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def _set_ticket_key(made: ssl.SSLContext, key: bytes) -> None:
    """Give OpenSSL the ticket key; leave its own where this build of Python does not let us reach it."""
    if len(key) != TICKET_KEY_BYTES:
        raise ValueError(f"a ticket key has {TICKET_KEY_BYTES} bytes")
    if sys.implementation.name != "cpython" or sys.version_info >= (3, 15):
        return  # the layout below is known up to 3.14
    module: Any = sys.modules.get("_ssl")
    try:
        library = ctypes.CDLL(module.__file__)
        control = library.SSL_CTX_ctrl
    except (AttributeError, OSError, TypeError):
        return  # OpenSSL is linked in a way that hides its symbols
    control.restype = ctypes.c_long
    control.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
    # struct PySSLContext is PyObject_HEAD followed by SSL_CTX *ctx.
    pointer = ctypes.c_void_p.from_address(id(made) + object.__basicsize__)
    control(pointer, _SET_TICKET_KEYS, TICKET_KEY_BYTES, ctypes.create_string_buffer(key, TICKET_KEY_BYTES))


class TlsChoice:
    """Which certificate a client gets, by the name it asks for (RFC 6066 3).

    `base` is the context a handshake starts with; where no name matches, the handshake is refused
    unless `default` is there.
    """

    def __init__(self, base: ssl.SSLContext, default: ssl.SSLContext | None) -> None:
        self.base = base
        self.default = default
        self._exact: dict[str, ssl.SSLContext] = {}
        self._wildcards: dict[str, ssl.SSLContext] = {}

    def add(self, name: str, context: ssl.SSLContext) -> None:
        """Serve `context` for a host name, or for one label more with `*.name`."""
        name = name.lower().rstrip(".")
        if name.startswith("*."):
            self._wildcards[name[2:]] = context
        else:
            self._exact[name] = context

    def find(self, name: str) -> ssl.SSLContext | None:
        """Return the context for a server name (empty where the client sent none), or None to refuse."""
        if name:
            name = name.lower().rstrip(".")
            found = self._exact.get(name)
            if found is not None:
                return found
            _, _, parent = name.partition(".")
            found = self._wildcards.get(parent)
            if found is not None:
                return found
        return self.default

    def arm(self) -> None:
        """Have the base context ask this choice in every handshake."""
        self.base.sni_callback = self.choose

    def choose(self, connection: Any, name: str | None, base: ssl.SSLContext) -> int | None:
        """Pick the context of a handshake; called by OpenSSL. An int refuses, with this alert."""
        connection.asked_name = name or ""
        found = self.find(name or "")
        if found is None:
            return int(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)
        if found is not base:
            connection.context = found
        return None
