"""HPACK: the examples of RFC 7541, an independent codec on the other side, and what must be refused."""

import hpack as other
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestibule.http import huffman
from vestibule.http.fields import EMPTY, fields_of
from vestibule.http.hpack import Decoder, Encoder, HpackError, HpackFlood, encode_integer, encode_string

REQUESTS = [
    [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")],
    [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com"), (b"cache-control", b"no-cache")],
    [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":path", b"/index.html"),
        (b":authority", b"www.example.com"),
        (b"custom-key", b"custom-value"),
    ],
]
LOCATION = (b"location", b"https://www.example.com")
COOKIE = (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1")
RESPONSES = [
    [(b":status", b"302"), (b"cache-control", b"private"), (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"), LOCATION],
    [(b":status", b"307"), (b"cache-control", b"private"), (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"), LOCATION],
    [
        (b":status", b"200"),
        (b"cache-control", b"private"),
        (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT"),
        LOCATION,
        (b"content-encoding", b"gzip"),
        COOKIE,
    ],
]

# Appendix C of RFC 7541: (section, blocks, lists, table size, bytes in the table after each block).
EXAMPLES = [
    (
        "C.3",
        [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ],
        REQUESTS,
        4096,
        [57, 110, 164],
    ),
    (
        "C.4",
        [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ],
        REQUESTS,
        4096,
        [57, 110, 164],
    ),
    (
        "C.5",
        [
            "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
            "6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
            "4803333037c1c0bf",
            "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f51"
            "57454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
        ],
        RESPONSES,
        256,
        [222, 222, 215],
    ),
    (
        "C.6",
        [
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
            "4883640effc1c0bf",
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab27"
            "0fb5291f9587316065c003ed4ee5b1063d5007",
        ],
        RESPONSES,
        256,
        [222, 222, 215],
    ),
]


def decoder(most: int = 65_536, count: int = 1000, table: int = 4096) -> Decoder:
    return Decoder(most, count, table)


@pytest.mark.parametrize(("blocks", "lists", "table", "sizes"), [row[1:] for row in EXAMPLES], ids=[row[0] for row in EXAMPLES])
def test_examples_of_appendix_c(blocks: list[str], lists: list[list[tuple[bytes, bytes]]], table: int, sizes: list[int]) -> None:
    one = decoder(table=table)
    for block, pairs, size in zip(blocks, lists, sizes, strict=True):
        assert one.decode(bytes.fromhex(block)) == pairs
        assert one.table_bytes == size


@pytest.mark.parametrize(
    ("block", "pair", "size"),
    [
        ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", (b"custom-key", b"custom-header"), 55),
        ("040c2f73616d706c652f70617468", (b":path", b"/sample/path"), 0),
        ("100870617373776f726406736563726574", (b"password", b"secret"), 0),
        ("82", (b":method", b"GET"), 0),
    ],
)
def test_examples_of_c_2(block: str, pair: tuple[bytes, bytes], size: int) -> None:
    one = decoder()
    assert one.decode(bytes.fromhex(block)) == [pair]
    assert one.table_bytes == size


@pytest.mark.parametrize(("value", "bits", "coded"), [(10, 5, "0a"), (1337, 5, "1f9a0a"), (42, 8, "2a"), (31, 5, "1f00"), (127, 7, "7f00")])
def test_integers_of_c_1(value: int, bits: int, coded: str) -> None:
    assert encode_integer(value, bits, 0).hex() == coded


@given(st.binary(max_size=200))
def test_huffman_round_trip(text: bytes) -> None:
    coded = huffman.encode(text)
    assert huffman.decode(coded) == text
    assert huffman.coded_size(text) == len(coded)


@pytest.mark.parametrize(
    "coded",
    ["ff", "ffffffff", "1fff", "18", "f1e3c2e5f23a6ba0ab90f4", "fffffffc", "ffffffff07"],
    ids=["only padding of eight", "EOS", "eight bits too many", "padding of zeros", "cut", "EOS and more", "EOS inside"],
)
def test_huffman_refuses(coded: str) -> None:
    """RFC 7541 5.2: padding longer than seven bits, padding that is not of EOS, and EOS itself."""
    if coded == "f1e3c2e5f23a6ba0ab90f4":
        assert huffman.decode(bytes.fromhex(coded + "ff")) == b"www.example.com"
        coded = "f1e3c2e5f23a6ba0ab90f400"
    with pytest.raises(huffman.HuffmanError):
        huffman.decode(bytes.fromhex(coded))


@pytest.mark.parametrize(
    "block",
    [
        "80",  # index 0
        "be",  # index 62 of an empty table
        "ffffffffff0f",  # an index past everything
        "ff8080808080808001",  # an integer with too many bytes
        "7f",  # an integer that is cut
        "ff80",
        "40",  # a name that is missing
        "4003",  # a name that is cut
        "400161",  # a value that is missing
        "40016105",  # a value that is cut
        "4085ffffffffff0161",  # a name with EOS
        "823f00",  # a size update after a field
        "3fe21f",  # a size update over the limit
    ],
)
def test_refused_blocks(block: str) -> None:
    with pytest.raises(HpackError):
        decoder().decode(bytes.fromhex(block))


def test_size_updates_in_front_are_taken() -> None:
    one = decoder()
    one.decode(bytes.fromhex("400161016240016301644001650166"))
    assert one.table_bytes == 3 * 34
    assert one.decode(bytes.fromhex("203fe11f82")) == [(b":method", b"GET")]
    assert one.table_bytes == 0
    one.decode(bytes.fromhex("3f2540016101624001630164"))  # 68: room for two
    assert one.table_bytes == 68
    one.decode(bytes.fromhex("4001650166"))
    assert one.table_bytes == 68
    assert one.decode(bytes.fromhex("bfbe")) == [(b"c", b"d"), (b"e", b"f")]


def test_entry_larger_than_the_table_empties_it() -> None:
    """RFC 7541 4.4: not an error."""
    one = decoder(table=64)
    one.decode(bytes.fromhex("4001610162"))
    assert one.table_bytes == 34
    assert one.decode(b"\x40\x01x\x28" + b"y" * 40) == [(b"x", b"y" * 40)]
    assert one.table_bytes == 0


def test_many_insertions_keep_the_table_small() -> None:
    one = decoder()
    for i in range(5000):
        value = b"%08d" % i
        assert one.decode(b"\x40\x01a\x08" + value) == [(b"a", value)]
    assert one.table_bytes <= 4096
    assert one.decode(b"\xbe\xbf") == [(b"a", b"00004999"), (b"a", b"00004998")]


def test_limits_count_while_decoding_and_keep_the_table() -> None:
    """A bomb: one long value in the table, then thousands of one-byte references."""
    one = decoder(most=8192, count=100)
    bomb = b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000
    assert len(one.decode(bomb)) == 1
    pairs = one.decode(b"\xbe" * 400)
    assert one.over
    assert len(pairs) == 2
    assert one.count == 400
    pairs = one.decode(b"\x82" * 101)
    assert one.over
    assert len(pairs) == 100
    assert one.decode(b"\xbe")[0][0] == b"a"
    assert not one.over


@pytest.mark.parametrize("reference", [b"\xbe", b"\x82"])
def test_a_list_far_over_the_limit_is_not_decoded_to_its_end(reference: bytes) -> None:
    """Each byte is a field; the work must not grow with what the peer likes to send."""
    one = decoder(most=8192, count=100)
    one.decode(b"\x40\x01a\x01b")
    with pytest.raises(HpackFlood, match="over 400 fields"):
        one.decode(reference * 10_000)
    assert one.count == 401


def test_limit_passed_by_an_insertion_still_inserts() -> None:
    one = decoder(count=1)
    one.decode(bytes.fromhex("824001610162"))
    assert one.over
    assert one.decode(b"\xbe") == [(b"a", b"b")]


NAMES = st.sampled_from(
    [b"server", b"cache-control", b"x-a", b"etag", b"set-cookie", b"content-type", b"vary", b"x-powered-by", b"x-frame-options"]
)
VALUES = st.one_of(
    st.sampled_from([b"nginx", b"no-cache", b"text/html", b"", b"a" * 130, b"b" * 600]),
    st.text(alphabet="abcXYZ019 -_=;,/", max_size=30).map(lambda text: text.strip().encode()),
)
LISTS = st.lists(st.tuples(NAMES, VALUES), max_size=12)


@given(st.lists(st.tuples(st.sampled_from([200, 204, 206, 304, 404, 500, 103, 418]), LISTS), max_size=12), st.booleans())
def test_encoder_against_both_decoders(heads: list[tuple[int, list[tuple[bytes, bytes]]]], twice: bool) -> None:
    """decode(encode(x)) = x, for our decoder and for one written by others, in one connection."""
    encoder = Encoder()
    ours = decoder(most=1 << 20)
    theirs = other.Decoder(max_header_list_size=1 << 20)
    for status, pairs in heads:
        fields = fields_of(pairs) if pairs else EMPTY
        for _ in range(2 if twice else 1):
            block = encoder.head(status, fields)
            expected = [(b":status", b"%d" % status), *pairs]
            assert ours.decode(block) == expected
            assert [(bytes(name), bytes(value)) for name, value in theirs.decode(block, raw=True)] == expected
        assert encoder.table_bytes == ours.table_bytes <= 4096


@given(st.lists(st.tuples(st.integers(0, 9000), LISTS), max_size=10))
def test_encoder_follows_table_sizes(steps: list[tuple[int, list[tuple[bytes, bytes]]]]) -> None:
    encoder = Encoder()
    theirs = other.Decoder(max_header_list_size=1 << 20)
    for size, pairs in steps:
        encoder.limit_table(size)
        theirs.max_allowed_table_size = size
        block = encoder.head(200, fields_of(pairs) if pairs else EMPTY)
        assert [(bytes(name), bytes(value)) for name, value in theirs.decode(block, raw=True)] == [(b":status", b"200"), *pairs]
        assert encoder.table_bytes <= min(size, 4096)


def test_encoder_announces_the_smallest_size_in_between() -> None:
    """RFC 7541 4.2: lowered and raised between two blocks, both are told."""
    encoder = Encoder()
    encoder.head(200, fields_of([(b"server", b"one")]))
    encoder.limit_table(0)
    encoder.limit_table(4096)
    assert encoder.head(204, EMPTY).hex() == "203fe11f89"
    assert encoder.head(204, EMPTY).hex() == "89"


def test_steady_fields_shrink_and_cookies_are_never_indexed() -> None:
    encoder = Encoder()
    first = encoder.head(200, fields_of([(b"server", b"vestibule"), (b"set-cookie", b"a=b")]))
    again = encoder.head(200, fields_of([(b"server", b"vestibule"), (b"set-cookie", b"a=b")]))
    assert len(again) < len(first)
    assert again == b"\x88\xbe\x1f\x28\x03a=b"


def test_encoder_memory_is_of_this_table() -> None:
    """A block kept from before an insertion would name the wrong entry."""
    encoder = Encoder()
    theirs = other.Decoder()
    one = fields_of([(b"server", b"one")])
    two = fields_of([(b"server", b"two")])
    for fields in (one, one, two, one, two, one):
        block = encoder.head(200, fields)
        assert [bytes(value) for _, value in theirs.decode(block, raw=True)] == [b"200", fields.get(b"server")]


def test_hop_by_hop_fields_stay_out() -> None:
    fields = fields_of([(b"Connection", b"X-Hop"), (b"X-Hop", b"1"), (b"Keep-Alive", b"timeout=5"), (b"Etag", b'"x"')])
    assert decoder().decode(Encoder().head(200, fields)) == [(b":status", b"200"), (b"etag", b'"x"')]


@given(st.lists(st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=8), max_size=8))
def test_decoder_against_another_encoder(lists: list[list[tuple[bytes, bytes, bool]]]) -> None:
    theirs = other.Encoder()
    ours = decoder(most=1 << 20)
    for rows in lists:
        block = theirs.encode([other.NeverIndexedHeaderTuple(n, v) if secret else other.HeaderTuple(n, v) for n, v, secret in rows])
        assert ours.decode(block) == [(name, value) for name, value, _ in rows]


@given(st.binary(max_size=300))
def test_any_bytes_decode_or_are_refused(block: bytes) -> None:
    """The only exits: a list, or HpackError; and never more in memory than the limits."""
    one = decoder(most=4096, count=50)
    try:
        pairs = one.decode(block)
    except HpackError:
        return
    assert len(pairs) <= 50
    assert sum(len(name) + len(value) + 32 for name, value in pairs) <= 4096
    assert one.table_bytes <= 4096


def test_strings_use_the_shorter_form() -> None:
    assert encode_string(b"www.example.com").hex() == "8cf1e3c2e5f23a6ba0ab90f4ff"
    assert encode_string(b"\x01\x02").hex() == "020102"


REQUEST = [(b"Host", b"a.example"), (b"Accept", b"*/*"), (b"X-A", b"v" * 200)]


@pytest.mark.parametrize(("method", "scheme"), [(b"GET", b"https"), (b"POST", b"http"), (b"PROPFIND", b"https")])
def test_requests_are_understood_by_others(method: bytes, scheme: bytes) -> None:
    encoder = Encoder()
    theirs = other.Decoder()
    expected = [(b":method", method), (b":scheme", scheme), (b":path", b"/a"), (b":authority", b"a.example")]
    for _ in range(2):
        block = encoder.request(method, scheme, b"/a", b"a.example", fields_of(REQUEST))
        assert theirs.decode(block, raw=True) == [*expected, (b"accept", b"*/*"), (b"x-a", b"v" * 200)]


def test_extended_connect() -> None:
    block = Encoder().request(b"CONNECT", b"https", b"/ws", b"a", fields_of([]), b"websocket")
    pseudo = [(b":method", b"CONNECT"), (b":scheme", b"https"), (b":path", b"/ws"), (b":authority", b"a"), (b":protocol", b"websocket")]
    assert other.Decoder().decode(block, raw=True) == pseudo


@pytest.mark.parametrize(("value", "stays"), [(b"trailers", True), (b"gzip, Trailers", True), (b"gzip", False)])
def test_te_of_requests(value: bytes, stays: bool) -> None:
    block = Encoder().request(b"GET", b"https", b"/", b"a", fields_of([(b"TE", value)]))
    assert ((b"te", b"trailers") in other.Decoder().decode(block, raw=True)) is stays


def test_a_request_and_trailers_begin_with_the_size_of_the_table() -> None:
    encoder = Encoder()
    encoder.limit_table(0)
    assert encoder.request(b"GET", b"https", b"/", b"a", EMPTY).startswith(b"\x20\x82")
    encoder.limit_table(100)
    block = encoder.trailers(fields_of([(b"x-sum", b"1")]))
    theirs = other.Decoder()
    theirs.max_allowed_table_size = 100
    assert block.startswith(b"\x3f\x45") and theirs.decode(block, raw=True) == [(b"x-sum", b"1")]
    assert theirs.decode(encoder.trailers(fields_of([(b"x-sum", b"2")])), raw=True) == [(b"x-sum", b"2")]


def test_what_an_encoder_remembers_is_bounded() -> None:
    encoder = Encoder()
    kept = [fields_of([(b"x-a", b"%d" % i)]) for i in range(40)]
    for fields in kept:
        encoder.head(200, fields)
    assert 0 < len(encoder._blocks) <= 16
    encoder.forget()
    assert encoder._blocks == {}
    assert decoder().decode(encoder.head(200, kept[0])) == [(b":status", b"200"), (b"x-a", b"0")]


def test_names_and_strings_that_are_learnt_are_bounded() -> None:
    theirs = other.Decoder(max_header_list_size=1 << 20)
    ours = decoder()
    for i in range(1100):
        name = b"x-name-%d" % i
        block = Encoder().head(200, fields_of([(name, b"v")]))
        assert theirs.decode(block, raw=True) == ours.decode(block) == [(b":status", b"200"), (name, b"v")]


def test_fields_known_without_decoding_count() -> None:
    one = decoder(most=100, count=3)
    one.begin(b"\x82")
    one.account(10, 2)
    assert not one.over
    one.account(0, 1)
    assert one.over
    one.begin(b"\x82")
    one.account(60, 0)
    assert one.over
