"""Fuzz the HPACK decoder: any bytes, as one block after another on one connection.

The only exits: a list within the limits, or `HpackError`. Besides: the table never holds more than its limit,
and what the encoder makes of a decoded list decodes to the same list.
"""

from fuzz.drive import main
from vestibule.fault import ProtocolError
from vestibule.http.fields import fields_of
from vestibule.http.hpack import Decoder, Encoder, HpackError

LIST_MOST = 8192
COUNT_MOST = 60

SEEDS = [
    bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff fffe 828684be5886a8eb10649cbf fffe 828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"),
    bytes.fromhex("203fe11f82400161016240016301645f8349509f0f0d0133"),
    b"\x82\x87\x84\x41\x01a\x40\x01x\x32" + b"y" * 50 + b"\xff\xfe\x82\x87\x84\xbf\xbe",
]
WORDS = [
    b"\x82",
    b"\xbe",
    b"\xbf",
    b"\x80",
    b"\xff\xfe",
    b"\x20",
    b"\x3f\xe1\x1f",
    b"\x40\x01a\x01b",
    b"\x00\x01c\x01d",
    b"\x10\x06cookie\x03a=b",
    b"\x40\x81\x1f\x81\x1f",
    b"\x5f\x86\xff\xff\xff",
    b"\x0f\x0d\x013",
    b"\x7f\x00",
    b"\x40\x04host\x00",
]


def target(data: bytes) -> None:
    decoder = Decoder(LIST_MOST, COUNT_MOST)
    for block in data.split(b"\xff\xfe"):
        try:
            pairs = decoder.decode(block)
        except HpackError:
            return
        assert len(pairs) <= COUNT_MOST
        assert sum(len(name) + len(value) + 32 for name, value in pairs) <= LIST_MOST
        assert 0 <= decoder.table_bytes <= 4096
        assert decoder.over or len(pairs) == decoder.count
        try:
            fields = fields_of([(name, value) for name, value in pairs if name[:1] != b":"])
        except (ProtocolError, ValueError):
            continue  # no lines of a header, so there is nothing to encode
        clean = fields.end_to_end()
        assert Decoder(1 << 20, 1000).decode(Encoder().section(fields)) == clean.pairs()


if __name__ == "__main__":
    main(target, SEEDS, WORDS)
