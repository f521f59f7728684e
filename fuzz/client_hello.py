"""Any bytes as a ClientHello. Permitted exits: NEED, FOUND and NOT_TLS.

Invariants
  1. What was decided stays decided with more behind it.
  2. What needs more is shorter than the bound.
  3. It is the same whether the bytes come at once or in two pieces.
"""

from fuzz.drive import main
from vestibule.http.client_hello import FOUND, HELLO_MOST, NEED, NOT_TLS, ClientHello

_BODY = b"\x03\x03" + b"r" * 32 + b"\0" + b"\0\x02\x13\x01" + b"\x01\0"
_NAME = b"\0\0\0\x0e\0\x0c\0\0\x09a.example"
_ALPN = b"\0\x10\0\x05\0\x03\x02h2"
_EXTENSIONS = (len(_NAME + _ALPN)).to_bytes(2, "big") + _NAME + _ALPN
_MESSAGE = b"\x01" + len(_BODY + _EXTENSIONS).to_bytes(3, "big") + _BODY + _EXTENSIONS

SEEDS = [
    b"\x16\x03\x01" + len(_MESSAGE).to_bytes(2, "big") + _MESSAGE,
    b"".join([b"\x16\x03\x01\0\x01" + _MESSAGE[at : at + 1] for at in range(len(_MESSAGE))]),
]
WORDS = [b"\x16\x03\x01", b"\0\x01", b"\x01", b"\0\0", b"\0\x10", b"\0", b"\xff", _NAME, _ALPN, _BODY]


def target(data: bytes) -> None:
    hello = ClientHello()
    said = hello.read(data)
    assert said in (NEED, FOUND, NOT_TLS)
    parted = ClientHello()
    if parted.read(data[: len(data) // 2]) == NEED:
        assert parted.read(data) == said
        assert (parted.name, parted.protocols) == (hello.name, hello.protocols)
    if said == NEED:
        assert len(data) < HELLO_MOST
        assert (hello.name, hello.protocols) == (b"", [])
        return
    again = ClientHello()
    assert again.read(data + b"\x16\x03\x01") == said
    assert (again.name, again.protocols) == (hello.name, hello.protocols)


if __name__ == "__main__":
    main(target, SEEDS, WORDS)
