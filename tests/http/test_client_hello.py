"""The ClientHello: as real clients write it, at every split and in any records; and what is none."""

import ssl

import pytest

from vestibule.http.client_hello import FOUND, HELLO_MOST, NEED, NOT_TLS, ClientHello


def hello(name: str | None = "Photos.Example.org", alpn: tuple[str, ...] = ("h2", "http/1.1"), version: str = "1.3") -> bytes:
    """Return what OpenSSL sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if version == "1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def records(message: bytes, size: int) -> bytes:
    """Return a handshake message in records of so many bytes."""
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join([b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces])


def handshake(extensions: bytes | None, kind: int = 1) -> bytes:
    """Return a ClientHello with these extensions; None leaves even their length out."""
    body = b"\x03\x03" + b"r" * 32 + b"\0" + b"\0\x02\x13\x01" + b"\x01\0"
    if extensions is not None:
        body += len(extensions).to_bytes(2, "big") + extensions
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def extension(kind: int, value: bytes) -> bytes:
    return kind.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value


def server_name(name: bytes) -> bytes:
    entry = b"\0" + len(name).to_bytes(2, "big") + name
    return extension(0, len(entry).to_bytes(2, "big") + entry)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_real_client(version: str) -> None:
    found = ClientHello()
    assert found.read(hello(version=version)) == FOUND
    assert found.name == b"photos.example.org"
    assert found.protocols == [b"h2", b"http/1.1"]


def test_a_client_that_names_nothing() -> None:
    found = ClientHello()
    assert found.read(hello(None, ())) == FOUND
    assert (found.name, found.protocols) == (b"", [])


def test_every_beginning_needs_more() -> None:
    data = hello()
    assert [at for at in range(len(data)) if ClientHello().read(data[:at]) != NEED] == []


@pytest.mark.parametrize("size", [1, 3, 4, 5, 64, 16_384])
def test_any_records(size: int) -> None:
    found = ClientHello()
    assert found.read(records(hello()[5:], size)) == FOUND
    assert found.name == b"photos.example.org"


def test_what_follows_does_not_matter() -> None:
    assert ClientHello().read(hello() + b"\x17\x03\x03\0\x05hello") == FOUND


def test_grease_and_unknown_extensions_are_skipped() -> None:
    """RFC 8701."""
    found = ClientHello()
    text = extension(0x1A1A, b"") + extension(0xFF01, b"\0") + server_name(b"a.example") + extension(0x2A2A, b"\0")
    assert found.read(records(handshake(text), 16_384)) == FOUND
    assert found.name == b"a.example"


def test_no_extensions_at_all() -> None:
    assert ClientHello().read(records(handshake(None), 16_384)) == FOUND


def test_the_first_of_two_names_counts() -> None:
    entry = b"".join([b"\0\0\x09" + name for name in (b"a.example", b"b.example")])
    found = ClientHello()
    assert found.read(records(handshake(extension(0, len(entry).to_bytes(2, "big") + entry)), 16_384)) == FOUND
    assert found.name == b"a.example"


NONE = {
    "HTTP": b"GET / HTTP/1.1\r\n",
    "SSL 2": b"\x80\x2e\x01\x00\x02",
    "one byte of SSH": b"S",
    "a record of version 2": b"\x16\x02\x00\x00\x05hello",
    "an alert": b"\x15\x03\x01\x00\x02\x01\x00",
    "an empty record": b"\x16\x03\x01\x00\x00",
    "a record too long": b"\x16\x03\x01\xff\xff" + b"\x01",
    "a ServerHello": records(handshake(b"", 2), 16_384),
    "a message too long": b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
    "extensions cut short": records(handshake(b"\0\0\0\x09abc"), 16_384),
    "a name cut short": records(handshake(extension(0, b"\0\x09\0\0\x09a")), 16_384),
    "a list of names that is longer than it says": records(handshake(extension(0, b"\0\x02\0\0\x01a")), 16_384),
    "a protocol cut short": records(handshake(extension(16, b"\0\x03\x09h2")), 16_384),
    "another record in between": b"\x16\x03\x01\x00\x01\x01" + b"\x17\x03\x01\x00\x01a",
    "no end": records(b"\x01\x00\x7f\xff" + b"a" * (HELLO_MOST - 1_000), 64)[:HELLO_MOST],
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_none(name: str) -> None:
    found = ClientHello()
    assert found.read(NONE[name]) == NOT_TLS
    assert (found.name, found.protocols) == (b"", [])


def body(after_random: bytes) -> bytes:
    """Return a ClientHello of which only the beginning is as it should be, in one record."""
    text = b"\x03\x03" + b"r" * 32 + after_random
    return records(b"\x01" + len(text).to_bytes(3, "big") + text, 16_384)


@pytest.mark.parametrize(
    "data",
    [
        body(b"\x09abc"),  # a session that is longer than the message
        body(b""),  # nothing where its length should be
        body(b"\0\0\x02\x13\x01\x01\0\0\x05ab"),  # extensions longer than the message
        body(b"\0\0\x02\x13\x01\x01\0\0\x01a"),  # an extension without a length
        records(handshake(extension(16, b"\0\x09\x02h2")), 16_384),  # a list of protocols longer than its extension
        records(handshake(extension(0, b"\0\x04\0\0\x09a")), 16_384),  # a name longer than its list
        records(handshake(extension(0, b"\0")), 16_384),  # a list of names without a length
    ],
)
def test_lengths_that_do_not_fit(data: bytes) -> None:
    found = ClientHello()
    assert found.read(data) == NOT_TLS
    assert (found.name, found.protocols) == (b"", [])


def test_nothing_and_another_kind_of_name() -> None:
    assert ClientHello().read(b"") == NEED
    entry = b"\x01\0\x03abc" + b"\0\0\x09a.example"
    found = ClientHello()
    assert found.read(records(handshake(extension(0, len(entry).to_bytes(2, "big") + entry)), 16_384)) == FOUND
    assert found.name == b"a.example"


@pytest.mark.parametrize("size", [1, 3, 400])
@pytest.mark.parametrize("step", [1, 7])
def test_what_comes_in_pieces_is_looked_at_once(size: int, step: int) -> None:
    data = records(handshake(server_name(b"a.example")), size)
    found = ClientHello()
    ends = [*range(step, len(data), step), len(data)]
    assert [found.read(data[:end]) for end in ends[:-1]] == [NEED] * (len(ends) - 1)
    assert found.read(data) == FOUND
    assert found.name == b"a.example"


def test_a_hello_of_tiny_records_costs_no_more_for_its_last_byte_than_for_its_first() -> None:
    """Whoever sends a byte at a time would else have us read a hello of 32 KiB thousands of times."""

    class Counted(bytes):
        looks = 0

        def __getitem__(self, at):  # type: ignore[no-untyped-def]
            Counted.looks += 1
            return super().__getitem__(at)

    data = records(b"\x01\0\x70\0" + bytes(5_000), 1)
    found = ClientHello()
    for end in range(1, len(data)):
        assert found.read(Counted(data[:end])) == NEED
    assert Counted.looks < 20 * len(data)
