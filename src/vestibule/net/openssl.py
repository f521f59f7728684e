"""What OpenSSL can do and Python's `ssl` module has no words for, through `ctypes`.

Facts
  `_ssl` is linked to OpenSSL, so its symbols are found through it, unless somebody built Python with
  OpenSSL inside and hid them. `struct PySSLContext` begins with PyObject_HEAD and `SSL_CTX *ctx`;
  `struct PySSLSocket` with PyObject_HEAD, a weak reference, `SSL *ssl`, `PySSLContext *ctx`.
  Groups, depth and verification of a handshake are those of the context it began with: changing the
  context in the SNI callback changes certificates and authorities only (SSL_set_SSL_CTX(3)), until `ask_as` says more.

  OpenSSL keeps errors in a queue, where the `ssl` module would find them at its next call.

Rules: what cannot be reached is told (`False`, or Unreachable), never passed over: the caller knows
whether going on without it is safe. Nothing here is called per request, a little per piece of a long body.

Not here: what contexts are made of (`tls.py`).
"""

import ctypes
import ssl
import sys
from typing import Any, Final

_SET_TICKET_KEYS: Final = 59  # SSL_CTRL_SET_TLSEXT_TICKET_KEYS in openssl/ssl.h
_SET_GROUPS_LIST: Final = 92  # SSL_CTRL_SET_GROUPS_LIST
_SET_CACHE_MODE: Final = 44  # SSL_CTRL_SET_SESS_CACHE_MODE
_SET_BUFFER_SIZE: Final = 117  # BIO_C_SET_BUFF_SIZE in openssl/bio.h
_OF_READS: Final = 0
_OF_WRITES: Final = 1
_SET_CONNECTION: Final = 109  # BIO_C_SET_SSL
_FLUSH: Final = 11  # BIO_CTRL_FLUSH
_SHOULD_RETRY: Final = 8  # BIO_FLAGS_SHOULD_RETRY
_LEAVE_OPEN: Final = 0  # BIO_NOCLOSE
_VERIFY_PEER: Final = 1  # SSL_VERIFY_PEER
_FAIL_WITHOUT: Final = 2  # SSL_VERIFY_FAIL_IF_NO_PEER_CERT
TICKET_KEY_BYTES: Final = 80
SOURCE_LEAST: Final = 4_097  # what a buffer of OpenSSL's own size has no place for (BIO_f_buffer(3))

# The layouts above are known up to this version of Python.
_UNKNOWN_FROM: Final = (3, 15)


# What an ALPN callback answers (SSL_CTX_set_alpn_select_cb(3)): the chosen one is there, or the handshake ends.
_KNOWN_OFFERS: Final = 64  # browsers send three or four; anyone may send others
_ALPN_CHOSEN: Final = 0
_ALPN_REFUSE: Final = 2
_ALPN_CALLBACK: Final[Any] = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_void_p,  # unsigned char **out, as a number: a pointer object for each handshake costs more than the choice
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_uint,
    ctypes.c_void_p,
)


class Unreachable(ValueError):
    """This build of Python does not let us reach OpenSSL."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} cannot be set with this build of Python, which hides OpenSSL; use the system's Python")


def _find_library() -> Any:
    """Return OpenSSL as `ctypes` has it, or None where it is hidden."""
    if sys.implementation.name != "cpython" or sys.version_info >= _UNKNOWN_FROM:
        return None
    module: Any = sys.modules.get("_ssl")
    try:
        library = ctypes.CDLL(module.__file__)
        _declare(library)
    except (AttributeError, OSError, TypeError):
        return None  # linked in a way that hides its symbols, or not OpenSSL
    return library


def _declare(library: Any) -> None:
    """Say what the functions take, as their manual pages do. Raises AttributeError if one is missing."""
    library.SSL_CTX_ctrl.restype = ctypes.c_long
    library.SSL_CTX_ctrl.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
    library.BIO_f_buffer.restype = ctypes.c_void_p
    library.BIO_f_buffer.argtypes = []
    library.BIO_f_ssl.restype = ctypes.c_void_p
    library.BIO_f_ssl.argtypes = []
    library.BIO_read.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    library.BIO_free_all.restype = None
    library.BIO_free_all.argtypes = [ctypes.c_void_p]
    library.BIO_new.restype = ctypes.c_void_p
    library.BIO_new.argtypes = [ctypes.c_void_p]
    library.BIO_new_socket.restype = ctypes.c_void_p
    library.BIO_new_socket.argtypes = [ctypes.c_int, ctypes.c_int]
    library.BIO_push.restype = ctypes.c_void_p
    library.BIO_push.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    library.BIO_int_ctrl.restype = ctypes.c_long
    library.BIO_int_ctrl.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_int]
    library.BIO_ctrl.restype = ctypes.c_long
    library.BIO_ctrl.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
    library.BIO_test_flags.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.BIO_number_written.restype = ctypes.c_uint64
    library.BIO_number_written.argtypes = [ctypes.c_void_p]
    library.SSL_set0_rbio.restype = None
    library.SSL_set0_rbio.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    library.SSL_set0_wbio.restype = None
    library.SSL_set0_wbio.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    library.SSL_CTX_set_ciphersuites.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.SSL_CTX_set_verify_depth.restype = None
    library.SSL_CTX_set_verify_depth.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.SSL_CTX_set_verify.restype = None
    library.SSL_CTX_set_verify.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    library.SSL_CTX_get_verify_mode.argtypes = [ctypes.c_void_p]
    library.SSL_CTX_get_verify_callback.restype = ctypes.c_void_p
    library.SSL_CTX_get_verify_callback.argtypes = [ctypes.c_void_p]
    library.SSL_CTX_get_verify_depth.argtypes = [ctypes.c_void_p]
    library.SSL_CTX_get0_param.restype = ctypes.c_void_p
    library.SSL_CTX_get0_param.argtypes = [ctypes.c_void_p]
    library.SSL_get0_param.restype = ctypes.c_void_p
    library.SSL_get0_param.argtypes = [ctypes.c_void_p]
    library.SSL_set_verify.restype = None
    library.SSL_set_verify.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    library.SSL_set_verify_depth.restype = None
    library.SSL_set_verify_depth.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.X509_VERIFY_PARAM_get_flags.restype = ctypes.c_ulong
    library.X509_VERIFY_PARAM_get_flags.argtypes = [ctypes.c_void_p]
    library.X509_VERIFY_PARAM_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_ulong]
    library.X509_VERIFY_PARAM_clear_flags.argtypes = [ctypes.c_void_p, ctypes.c_ulong]
    library.SSL_CTX_set_alpn_select_cb.restype = None
    library.SSL_CTX_set_alpn_select_cb.argtypes = [ctypes.c_void_p, _ALPN_CALLBACK, ctypes.c_void_p]
    library.SSL_CTX_add_client_CA.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    library.SSL_get_verify_result.restype = ctypes.c_long
    library.SSL_get_verify_result.argtypes = [ctypes.c_void_p]
    library.SSL_get_certificate.restype = ctypes.c_void_p
    library.SSL_get_certificate.argtypes = [ctypes.c_void_p]
    library.i2d_X509.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    library.d2i_X509.restype = ctypes.c_void_p
    library.d2i_X509.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_char_p), ctypes.c_long]
    library.ERR_clear_error.restype = None
    library.ERR_clear_error.argtypes = []
    library.X509_free.restype = None
    library.X509_free.argtypes = [ctypes.c_void_p]
    library.X509_verify_cert_error_string.restype = ctypes.c_char_p
    library.X509_verify_cert_error_string.argtypes = [ctypes.c_long]


_LIBRARY: Final[Any] = _find_library()


def _go_on(_passed: int, _store: int) -> int:
    """Let a handshake go on whatever was found; the result stays with the session (SSL_CTX_set_verify(3))."""
    return 1


_GO_ON: Final[Any] = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)(_go_on)


class _AlpnChoice:
    """Chooses the protocol of a connection, in the server's order. OpenSSL holds a pointer, so it must live for ever."""

    def __init__(self, protocols: tuple[str, ...]) -> None:
        self._names = [name.encode("ascii") for name in protocols]
        self._buffers = [ctypes.create_string_buffer(name, len(name)) for name in self._names]
        self._addresses = [ctypes.addressof(buffer) for buffer in self._buffers]
        self._known: dict[bytes, int] = {}
        self.callback = _ALPN_CALLBACK(self.choose)

    def choose(self, _ssl: Any, out: int, length: int, offered: int, size: int, _argument: Any) -> int:
        """Answer OpenSSL. Nothing may be raised into it."""
        asked = ctypes.string_at(offered, size)
        at = self._known.get(asked, -2)
        if at == -2:
            at = find_protocol(self._names, asked)
            if len(self._known) < _KNOWN_OFFERS:
                self._known[asked] = at
        if at < 0:
            return _ALPN_REFUSE
        ctypes.c_void_p.from_address(out).value = self._addresses[at]
        ctypes.c_ubyte.from_address(length).value = len(self._names[at])
        return _ALPN_CHOSEN


_ALPN_CHOICES: Final[dict[tuple[str, ...], _AlpnChoice]] = {}


def find_protocol(names: list[bytes], offered: bytes) -> int:
    """Return the first of `names` in a client's list (RFC 7301 3.1: each with its length before it), or -1."""
    known: set[bytes] = set()
    at = 0
    while at < len(offered):
        end = at + 1 + offered[at]
        if end > len(offered):
            return -1
        known.add(offered[at + 1 : end])
        at = end
    for index in range(len(names)):
        if names[index] in known:
            return index
    return -1


def _context_of(made: ssl.SSLContext) -> Any:
    return ctypes.c_void_p.from_address(id(made) + object.__basicsize__)


def is_reachable() -> bool:
    """Tell whether OpenSSL itself can be called."""
    return _LIBRARY is not None


def set_ticket_key(made: ssl.SSLContext, key: bytes) -> bool:
    """Have session tickets made with this key (`TICKET_KEY_BYTES`); False leaves OpenSSL's own."""
    if len(key) != TICKET_KEY_BYTES:
        raise ValueError(f"a ticket key has {TICKET_KEY_BYTES} bytes")
    if _LIBRARY is None:
        return False
    buffer = ctypes.create_string_buffer(key, TICKET_KEY_BYTES)
    return bool(_LIBRARY.SSL_CTX_ctrl(_context_of(made), _SET_TICKET_KEYS, TICKET_KEY_BYTES, buffer))


def keep_no_sessions(made: ssl.SSLContext) -> None:
    """Turn off the store of sessions of clients without tickets: 20,000 of them would be kept for each context."""
    if _LIBRARY is not None:
        _LIBRARY.SSL_CTX_ctrl(_context_of(made), _SET_CACHE_MODE, 0, None)


def set_protocols(made: ssl.SSLContext, protocols: tuple[str, ...]) -> None:
    """Speak these protocols, most wanted first, and end the handshake of a client that offers none of them (RFC 7301 3.2).

    The `ssl` module would go on as if nothing had been offered, which lets a client of one protocol talk to a server of another.
    """
    made.set_alpn_protocols(list(protocols))
    if _LIBRARY is None:
        return
    choice = _ALPN_CHOICES.get(protocols)
    if choice is None:
        choice = _AlpnChoice(protocols)
        _ALPN_CHOICES[protocols] = choice
    _LIBRARY.SSL_CTX_set_alpn_select_cb(_context_of(made), choice.callback, None)


def set_groups(made: ssl.SSLContext, groups: str) -> None:
    """Allow these key exchange groups, `:` between them, most wanted first. Raises ValueError."""
    if _LIBRARY is None:
        raise Unreachable("groups")
    if _LIBRARY.SSL_CTX_ctrl(_context_of(made), _SET_GROUPS_LIST, 0, ctypes.create_string_buffer(groups.encode())) != 1:
        _LIBRARY.ERR_clear_error()
        raise ValueError(f"OpenSSL does not know all of the groups `{groups}`; names are such as X25519 and prime256v1")


def set_suites(made: ssl.SSLContext, suites: str) -> None:
    """Allow these suites of TLS 1.3, `:` between them. Raises ValueError."""
    if _LIBRARY is None:
        raise Unreachable("suites of TLS 1.3")
    if _LIBRARY.SSL_CTX_set_ciphersuites(_context_of(made), suites.encode()) != 1:
        _LIBRARY.ERR_clear_error()
        raise ValueError(f"OpenSSL does not know all of the suites `{suites}`; names are such as TLS_AES_128_GCM_SHA256")


def set_depth(made: ssl.SSLContext, depth: int) -> None:
    """Allow so many authorities between a certificate of the other side and one that is trusted. Raises ValueError."""
    if _LIBRARY is None:
        raise Unreachable("the depth of certificates")
    _LIBRARY.SSL_CTX_set_verify_depth(_context_of(made), depth)


def ask_any(made: ssl.SSLContext, needed: bool = False) -> None:
    """Ask clients for a certificate and go on with any, or, unless one is needed, none; `verify_result` says what it was. Raises
    ValueError."""
    if _LIBRARY is None:
        raise Unreachable("taking any client certificate")
    _LIBRARY.SSL_CTX_set_verify(_context_of(made), _VERIFY_PEER | (_FAIL_WITHOUT if needed else 0), _GO_ON)


def name_authority(made: ssl.SSLContext, der: bytes) -> None:
    """Tell clients that certificates of this authority are wanted, so that browsers offer no other."""
    if _LIBRARY is None:
        return  # a courtesy: who has several certificates chooses himself
    found = _LIBRARY.d2i_X509(None, ctypes.byref(ctypes.c_char_p(der)), len(der))
    if found:
        _LIBRARY.SSL_CTX_add_client_CA(_context_of(made), found)
        _LIBRARY.X509_free(found)
    else:
        _LIBRARY.ERR_clear_error()


def _address_of(connection: ssl.SSLObject) -> Any:
    """Return OpenSSL's `SSL *` of a connection, or None where it cannot be reached."""
    inner: Any = connection
    inner = inner._sslobj
    head = object.__basicsize__
    word = ctypes.sizeof(ctypes.c_void_p)
    if _LIBRARY is None or ctypes.c_void_p.from_address(id(inner) + head + 2 * word).value != id(inner.context):
        return None
    return ctypes.c_void_p.from_address(id(inner) + head + word)


def ask_as(connection: ssl.SSLObject, made: ssl.SSLContext) -> bool:
    """Ask the client of a handshake, in its SNI callback, for the certificate that clients of another context are asked for.

    That context must be the connection's already. False: it cannot be done, and the handshake must not go on.
    """
    address = _address_of(connection)
    if address is None:
        return False
    context = _context_of(made)
    _LIBRARY.SSL_set_verify(address, _LIBRARY.SSL_CTX_get_verify_mode(context), _LIBRARY.SSL_CTX_get_verify_callback(context))
    _LIBRARY.SSL_set_verify_depth(address, _LIBRARY.SSL_CTX_get_verify_depth(context))
    own = _LIBRARY.SSL_get0_param(address)
    _LIBRARY.X509_VERIFY_PARAM_clear_flags(own, _LIBRARY.X509_VERIFY_PARAM_get_flags(own))
    _LIBRARY.X509_VERIFY_PARAM_set_flags(own, _LIBRARY.X509_VERIFY_PARAM_get_flags(_LIBRARY.SSL_CTX_get0_param(context)))
    return True


def verify_result(connection: ssl.SSLObject) -> int:
    """Return OpenSSL's number for what verifying the peer's certificate came to; 0 if it is to be believed, -1 if unknown.

    Also right for a resumed session, which remembers what was found when it began.
    """
    address = _address_of(connection)
    return -1 if address is None else int(_LIBRARY.SSL_get_verify_result(address))


class Source:
    """A connection that OpenSSL reads for from its socket, and that gives many records with one call. Must be closed before it is gone."""

    def __init__(self, chain: int, into: bytearray) -> None:
        self._chain = chain
        self._into: Any = (ctypes.c_char * len(into)).from_buffer(into)  # keeps the bytes where they are
        self._address = ctypes.addressof(self._into)

    def read(self, most: int) -> int:
        """Decrypt what has come to the start of the buffer, up to `most` bytes (at least `SOURCE_LEAST`); return how many."""
        return max(int(_LIBRARY.BIO_read(self._chain, self._address, most)), 0)

    def is_drained(self) -> bool:
        """Tell whether the last read stopped since no further record is whole. If it was not for that, the connection says what for."""
        return bool(_LIBRARY.BIO_test_flags(self._chain, _SHOULD_RETRY))

    def close(self) -> None:
        """Let go of the connection. It may not be read from here again."""
        _LIBRARY.BIO_free_all(self._chain)
        self._chain = 0


def read_from(connection: ssl.SSLObject, descriptor: int, most: int, into: bytearray) -> Source | None:
    """Have OpenSSL itself read from a socket from now on, `most` bytes at a time; what it was given in memory must be used up.

    What the buffer holds, neither epoll nor `pending` tells. None: it cannot.
    """
    address = _address_of(connection)
    if address is None:
        return None
    # Not SSL_set_read_ahead(3): it moves all it has read to the front before each record.
    buffer, _ = _buffered(descriptor, most, _OF_READS)
    _LIBRARY.SSL_set0_rbio(address, buffer)
    # A buffer over the connection reads from it until it is full. It keeps nothing itself: from its own size on it reads to where it
    # was told to. Both are ours; they hold the socket's buffer once more and the connection not at all.
    records = _LIBRARY.BIO_new(_LIBRARY.BIO_f_ssl())
    _LIBRARY.BIO_ctrl(records, _SET_CONNECTION, _LEAVE_OPEN, address)
    return Source(_LIBRARY.BIO_push(_LIBRARY.BIO_new(_LIBRARY.BIO_f_buffer()), records), into)


def own_certificate(connection: ssl.SSLObject) -> bytes:
    """Return the certificate that we showed in a handshake (DER); nothing where OpenSSL is hidden."""
    found = _address_of(connection)
    certificate = None if found is None else _LIBRARY.SSL_get_certificate(found)
    size = 0 if not certificate else int(_LIBRARY.i2d_X509(certificate, None))
    if size <= 0:
        return b""
    buffer = ctypes.create_string_buffer(size)
    # i2d moves the pointer that it is given (i2d_X509(3)).
    _LIBRARY.i2d_X509(certificate, ctypes.byref(ctypes.c_void_p(ctypes.addressof(buffer))))
    return buffer.raw


class Sink:
    """Where OpenSSL itself writes: a buffer before a socket. Both are the connection's, and gone with it."""

    def __init__(self, buffer: int, end: int) -> None:
        self._buffer = buffer
        self._end = end

    def flush(self) -> bool:
        """Send what the buffer holds; False: the socket did not take it all yet. Raises OSError where it takes nothing any more."""
        if _LIBRARY.BIO_ctrl(self._buffer, _FLUSH, 0, None) == 1:
            return True
        if _LIBRARY.BIO_test_flags(self._buffer, _SHOULD_RETRY):
            return False
        raise BrokenPipeError("write failed")

    def sent(self) -> int:
        """Return how many bytes the socket took."""
        return int(_LIBRARY.BIO_number_written(self._end))


def write_to(connection: ssl.SSLObject, descriptor: int, most: int) -> Sink | None:
    """Have OpenSSL write to a socket from now on, `most` bytes at a time; what it wrote to memory must be taken. None: it cannot."""
    address = _address_of(connection)
    if address is None:
        return None
    buffer, end = _buffered(descriptor, most, _OF_WRITES)
    _LIBRARY.SSL_set0_wbio(address, buffer)
    return Sink(buffer, end)


def _buffered(descriptor: int, most: int, direction: int) -> tuple[int, int]:
    """Return a buffer of `most` bytes in one direction before a socket, and that socket's end."""
    buffer = _LIBRARY.BIO_new(_LIBRARY.BIO_f_buffer())
    _LIBRARY.BIO_int_ctrl(buffer, _SET_BUFFER_SIZE, most, direction)
    end = _LIBRARY.BIO_new_socket(descriptor, _LEAVE_OPEN)
    return _LIBRARY.BIO_push(buffer, end), end


def words_of(result: int) -> str:
    """Return a result of verification in OpenSSL's words; empty if all is well."""
    if result == 0:
        return ""
    if result < 0 or _LIBRARY is None:
        return "not verified"
    return str(_LIBRARY.X509_verify_cert_error_string(result).decode("ascii", "replace"))
