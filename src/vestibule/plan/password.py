"""Passwords against what was stored for them: a hash as ``crypt`` or ``htpasswd`` write it, or the password itself.

Facts
  ``$6$`` and ``$5$`` are SHA-512 and SHA-256 crypt (U. Drepper, "Unix crypt using SHA-256 and SHA-512"), 5000 rounds
  unless ``rounds=`` says otherwise; ``$1$`` is MD5 crypt and ``$apr1$`` Apache's variety of it; ``$2b$``, ``$2y$``
  and ``$2a$`` are bcrypt; ``{SHA}`` and ``{SSHA}`` are one round of SHA-1, the latter salted (RFC 2307).
  ``$argon2id$`` is Argon2id (RFC 9106), ``$scrypt$`` scrypt (RFC 7914) in the form that passlib writes.
  ``$y$`` is yescrypt, which the system's ``libcrypt`` alone knows; the hashes of SHA-2 it makes in
  a third of the time, and without the interpreter's lock.
  ``{CRYPT}`` is crypt(3) as it first was (DES), which the system does: eight bytes of a password count, and it is broken.
  All but those and SHA-1 are slow on purpose: some milliseconds to a tenth of a second.

Rules
  Comparisons take the same time wherever the difference is.
  What cannot be read as a hash matches nothing.

Not here: which forms a configuration may hold (`model/check_route.py`), who is asked (`steps/auth_basic.py`).
"""

import base64
import binascii
import ctypes
import hashlib
import hmac
from typing import Any, Final

from vestibule.http.number import parse_decimal

_ALPHABET: Final = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

# The order in which the bytes of a digest are written, three to each group of four characters.
_MD5_ORDER: Final = (0, 6, 12, 1, 7, 13, 2, 8, 14, 3, 9, 15, 4, 10, 5)

# Judged credentials that are kept; each is a digest and a truth.
_REMEMBERED_MOST: Final = 1_024

# More than `struct crypt_data` of any libcrypt in use.
_CRYPT_DATA_BYTES: Final = 262_144

# A hash takes 128 bytes for each unit of r times N: 64 MiB at most.
_SCRYPT_LOG_N_MOST: Final = 19
_SCRYPT_WORK_MOST: Final = 1 << 19
_SCRYPT_LANES_MOST: Final = 16

_ROUNDS_DEFAULT: Final = 5_000
_ROUNDS_LEAST: Final = 1_000
# Drepper allows 999,999,999; a million takes seconds, in which nobody else is served.
_ROUNDS_MOST: Final = 1_000_000


def _find_crypt() -> Any:
    """Return `crypt_r` of the system, or None where it has none."""
    try:
        function = ctypes.CDLL("libcrypt.so.1").crypt_r
    except (OSError, AttributeError):
        return None
    function.restype = ctypes.c_char_p
    function.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p]
    return function


_CRYPT: Final = _find_crypt()

# Hashes whose libraries let go of the interpreter's lock while they work.
_UNLOCKED: Final[tuple[bytes, ...]] = (
    (b"$2a$", b"$2b$", b"$2y$", b"$argon2id$", b"$scrypt$")
    if _CRYPT is None
    else (b"$2a$", b"$2b$", b"$2y$", b"$argon2id$", b"$scrypt$", b"$y$", b"$5$", b"$6$")
)


def has_yescrypt() -> bool:
    """Tell whether the system knows `$y$` hashes."""
    return _system_crypt(b"", b"$y$j75$abcd$") != b""


def _system_crypt(password: bytes, stored: bytes) -> bytes:
    """Hash a password the way `stored` was made, by the system; empty if it cannot."""
    if _CRYPT is None or b"\0" in password or b"\0" in stored:
        return b""
    made = _CRYPT(password, stored, ctypes.create_string_buffer(_CRYPT_DATA_BYTES))
    return made if isinstance(made, bytes) and made[:1] == b"$" else b""


def _old_crypt(password: bytes, stored: bytes) -> bytes:
    """Hash a password as crypt(3) first did, by the system; empty if it does that no more. Eight bytes of a password count."""
    if _CRYPT is None or b"\0" in password or b"\0" in stored or len(stored) != 13:
        return b""
    made = _CRYPT(password, stored, ctypes.create_string_buffer(_CRYPT_DATA_BYTES))
    return made if isinstance(made, bytes) and len(made) == 13 else b""


def basic_of(line: bytes) -> bytes | None:
    """Return the credentials in a value of Authorization, if it is of Basic (RFC 7617)."""
    scheme, _, text = line.partition(b" ")
    return text if scheme.lower() == b"basic" else None


def verify(password: bytes, stored: bytes) -> bool:
    """Tell whether this is the password that was stored."""
    if stored.startswith(b"{PLAIN}"):
        return hmac.compare_digest(password, stored[7:])
    if stored.startswith(b"{CRYPT}"):
        made = _old_crypt(password, stored[7:])
        return made != b"" and hmac.compare_digest(made, stored[7:])
    if stored.startswith((b"{SHA}", b"{SSHA}")):
        return _verify_sha1(password, stored.partition(b"}")[2])
    if stored.startswith((b"$2a$", b"$2b$", b"$2y$")):
        return _verify_bcrypt(password, stored)
    if stored.startswith(b"$argon2id$"):
        return _verify_argon2(password, stored)
    if stored.startswith(b"$scrypt$"):
        return _verify_scrypt(password, stored)
    made = crypt(password, stored)
    return made != b"" and hmac.compare_digest(made, stored)


def crypt(password: bytes, stored: bytes) -> bytes:
    """Hash a password the way `stored` was made; empty if that is no hash known here."""
    parts = stored.split(b"$")
    if len(parts) < 3 or parts[0]:
        return b""
    scheme = parts[1]
    if scheme in (b"1", b"apr1"):
        return _md5_crypt(password, b"$" + scheme + b"$", parts[2][:8])
    if scheme == b"y":
        return _system_crypt(password, stored)
    if scheme not in (b"5", b"6"):
        return b""
    rounds = -1
    salt = parts[2]
    if salt.startswith(b"rounds="):
        digits = salt[7:]
        if not digits or digits.translate(None, b"0123456789") or len(digits) > 9 or len(parts) < 4:
            return b""
        rounds = int(digits)
        salt = parts[3]
        if rounds > _ROUNDS_MOST:
            return b""
        if rounds < _ROUNDS_LEAST:  # which not every libcrypt takes
            return _sha_crypt(password, scheme, salt[:16], _ROUNDS_LEAST)
    return _system_crypt(password, stored) or _sha_crypt(password, scheme, salt[:16], rounds)


def _verify_sha1(password: bytes, text: bytes) -> bool:
    """Compare with base64 of a SHA-1 digest, which the salt follows if there is one."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(raw) >= 20 and hmac.compare_digest(hashlib.sha1(password + raw[20:]).digest(), raw[:20])


def _verify_bcrypt(password: bytes, stored: bytes) -> bool:
    try:
        import bcrypt
    except ImportError:
        return False
    try:
        # bcrypt looks at 72 bytes and no NUL; some versions of the library refuse more instead.
        return b"\0" not in password and bcrypt.checkpw(password[:72], stored)
    except ValueError:
        return False


def has_bcrypt() -> bool:
    """Tell whether the library for `$2y$` hashes is installed."""
    try:
        import bcrypt
    except ImportError:
        return False
    return bcrypt.checkpw is not None


def _verify_argon2(password: bytes, stored: bytes) -> bool:
    from cryptography.exceptions import InvalidKey

    if not has_argon2():
        return False
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    try:
        Argon2id.verify_phc_encoded(password, stored.decode("ascii"))
    except (InvalidKey, ValueError):
        return False
    return True


def _verify_scrypt(password: bytes, stored: bytes) -> bool:
    """Compare with `$scrypt$ln=LOG_N,r=R,p=P$SALT$HASH`, whose salt and hash are base64 without its `=`."""
    parts = stored.split(b"$")
    if len(parts) != 5:
        return False
    numbers = [parse_decimal(each.partition(b"=")[2]) for each in parts[2].split(b",")]
    if len(numbers) != 3 or min(numbers) < 1:
        return False
    log_n, r, p = numbers
    if log_n > _SCRYPT_LOG_N_MOST or (r << log_n) > _SCRYPT_WORK_MOST or p > _SCRYPT_LANES_MOST:
        return False
    try:
        salt, made = [base64.b64decode(each + b"=" * (-len(each) % 4)) for each in parts[3:]]
        size = 256 * ((r << log_n) + r * p)
        return hmac.compare_digest(hashlib.scrypt(password, salt=salt, n=1 << log_n, r=r, p=p, maxmem=size, dklen=len(made)), made)
    except (binascii.Error, ValueError):
        return False


def has_argon2() -> bool:
    """Tell whether the library knows `$argon2id$` hashes, and so does the OpenSSL that it was built with."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

        Argon2id(salt=bytes(16), length=32, iterations=1, lanes=1, memory_cost=8)
    except (ImportError, UnsupportedAlgorithm):
        return False
    return hasattr(Argon2id, "verify_phc_encoded")


def _encode(groups: list[tuple[int, int]]) -> bytes:
    """Write numbers as characters of six bits, lowest first: pairs of a number and how many characters it takes."""
    out = bytearray()
    for number, count in groups:
        for i in range(count):
            out.append(_ALPHABET[number >> 6 * i & 63])
    return bytes(out)


def _repeat(digest: bytes, size: int) -> bytes:
    """Return the digest, over and over, `size` bytes long."""
    return (digest * (size // len(digest) + 1))[:size]


def _sha_crypt(password: bytes, scheme: bytes, salt: bytes, rounds: int) -> bytes:
    """SHA-256 or SHA-512 crypt; the numbers are the steps of Drepper's description."""
    name = "sha512" if scheme == b"6" else "sha256"
    # Steps 4 to 8: the alternate sum.
    alternate = hashlib.new(name, password + salt + password).digest()
    # Steps 1 to 3 and 9 to 12: one piece for each bit of the length.
    first = hashlib.new(name, password + salt + _repeat(alternate, len(password)))
    bits = len(password)
    while bits:
        first.update(alternate if bits & 1 else password)
        bits >>= 1
    digest = first.digest()
    # Steps 13 to 20: a string of the password's length and one of the salt's.
    p = _repeat(hashlib.new(name, password * len(password)).digest(), len(password))
    s = _repeat(hashlib.new(name, salt * (16 + digest[0])).digest(), len(salt))
    # Step 21: the rounds.
    for i in range(_ROUNDS_DEFAULT if rounds < 0 else rounds):
        head, tail = (p, digest) if i & 1 else (digest, p)
        digest = hashlib.new(name, head + (s if i % 3 else b"") + (p if i % 7 else b"") + tail).digest()
    said = b"" if rounds < 0 else b"rounds=%d$" % rounds
    return b"$" + scheme + b"$" + said + salt + b"$" + _sha_text(digest)


def _sha_text(digest: bytes) -> bytes:
    """Step 22: bytes of three thirds of the digest, the order turning by one from group to group."""
    third = len(digest) // 3
    groups: list[tuple[int, int]] = []
    # SHA-256 turns the other way, because Drepper's tables do.
    turn = 1 if len(digest) == 64 else 2
    for i in range(third):
        three = (i, i + third, i + 2 * third)
        at = i * turn % 3
        a, b, c = three[at], three[(at + 1) % 3], three[(at + 2) % 3]
        groups.append((digest[a] << 16 | digest[b] << 8 | digest[c], 4))
    if len(digest) == 64:
        groups.append((digest[63], 2))
    else:
        groups.append((digest[31] << 8 | digest[30], 3))
    return _encode(groups)


def _md5_crypt(password: bytes, magic: bytes, salt: bytes) -> bytes:
    """MD5 crypt (P.-H. Kamp) with the magic of either variety."""
    alternate = hashlib.md5(password + salt + password).digest()
    first = hashlib.md5(password + magic + salt + _repeat(alternate, len(password)))
    bits = len(password)
    while bits:
        first.update(b"\0" if bits & 1 else password[:1])
        bits >>= 1
    digest = first.digest()
    for i in range(1_000):
        head, tail = (password, digest) if i & 1 else (digest, password)
        digest = hashlib.md5(head + (salt if i % 3 else b"") + (password if i % 7 else b"") + tail).digest()
    groups: list[tuple[int, int]] = []
    for i in range(0, len(_MD5_ORDER), 3):
        a, b, c = _MD5_ORDER[i], _MD5_ORDER[i + 1], _MD5_ORDER[i + 2]
        groups.append((digest[a] << 16 | digest[b] << 8 | digest[c], 4))
    groups.append((digest[11], 2))
    return magic + salt + b"$" + _encode(groups)


class Users:
    """Names with their stored passwords. Credentials once judged are remembered by their digest, the wrong ones as well, in tables
    that are emptied when they are full. A name that nobody has costs as much time as a wrong password.

    `slow` says that judging takes long enough for others to be served meanwhile, and lets them.
    """

    def __init__(self, names: list[bytes], secrets: list[bytes]) -> None:
        self._users: dict[bytes, bytes] = {}
        for i in range(len(names)):
            self._users[names[i]] = secrets[i]
        self._decoy = secrets[0] if secrets else b"{PLAIN}"
        self._right: set[bytes] = set()
        self._wrong: set[bytes] = set()
        self.slow = any(secret.startswith(_UNLOCKED) for secret in secrets)

    def accepts(self, line: bytes) -> bool:
        """Tell whether a value of Authorization shows one of them (RFC 7617)."""
        text = basic_of(line)
        if text is None:
            return False
        known = self.known(text)
        if known is not None:
            return known
        accepted = self.judge(text)
        self.remember(text, accepted)
        return accepted

    def known(self, text: bytes) -> bool | None:
        """Return what is remembered of credentials as Basic has them."""
        digest = hashlib.sha256(text).digest()
        if digest in self._right:
            return True
        return False if digest in self._wrong else None

    def remember(self, text: bytes, accepted: bool) -> None:
        """Keep a verdict. Wrong ones, of which anybody can make many, never push out right ones."""
        table = self._right if accepted else self._wrong
        if len(table) >= _REMEMBERED_MOST:
            table.clear()
        table.add(hashlib.sha256(text).digest())

    def judge(self, text: bytes) -> bool:
        """Tell whether credentials as Basic has them are those of a user."""
        try:
            name, colon, password = base64.b64decode(text.strip(b" \t"), validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return False
        if not colon:
            return False
        stored = self._users.get(name)
        if stored is None:
            verify(password, self._decoy)
            return False
        return verify(password, stored)
