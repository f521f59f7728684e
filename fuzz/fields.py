"""Any bytes as a header section. Permitted exits: `Fields`, and `ProtocolError` of the side that sent them.

Invariants
  1. What was parsed is forwarded as a section that parses to the same lines.
  2. Every line is one name and one value, without a control byte; no framing is ambiguous.
"""

from fuzz.drive import main
from vestibule.fault import CLIENT, UPSTREAM, ProtocolError
from vestibule.http.fields import Fields, parse_fields, parse_trailers

LINES_MOST = 100
SEEDS = [
    b"Host: a\r\nContent-Length: 5\r\nX_Y: z\r\n",
    b"Transfer-Encoding: chunked\r\nConnection: keep-alive, X\r\nX: \t1 \r\nTE: trailers\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\nExpect: 100-continue\r\n",
]
WORDS = [
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    b"\t",
    b":",
    b": ",
    b"\0",
    b"\x7f",
    b"\xff",
    b",",
    b"Host",
    b"Content-Length",
    b"Transfer-Encoding",
    b"chunked",
    b"Connection",
    b"Upgrade",
    b"h2c",
    b"Expect",
    b"100-continue",
    b"X_Y",
    b"close",
    b"5",
    b"TE",
]


def target(data: bytes) -> None:
    for side in (CLIENT, UPSTREAM):
        for parse in (parse_fields, parse_trailers):
            try:
                fields = parse(data + b"\r\n", side, LINES_MOST)
            except ProtocolError as error:
                assert error.kind.side == side, error
                continue
            _check(fields, side)


def _check(fields: Fields, side: int) -> None:
    assert len(fields.names) == len(fields.lines) <= LINES_MOST
    assert fields.block == b"".join(line + b"\r\n" for line in fields.lines)
    assert not (fields.chunked and fields.content_length >= 0)
    for name, value in fields.pairs():
        assert name and name == name.lower()
        assert not any(c < 32 and c != 9 for c in value) and 127 not in value
    clean = fields.end_to_end()
    again = parse_fields(clean.block, side, LINES_MOST)
    assert again.pairs() == clean.pairs()
    assert again.content_length == fields.content_length
    dropped = {b"connection", b"transfer-encoding", b"upgrade", b"te", b"keep-alive", b"proxy-connection", *fields.nominated}
    assert not dropped & {name for name, _ in clean.pairs()}


if __name__ == "__main__":
    main(target, SEEDS, WORDS)
