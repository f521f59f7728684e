"""What a client may send that must not get through, as a table.

Facts: RFC 9112 for the framing, RFC 9110 for the meaning; the classes are those which broke other
proxies. `SMUGGLED` follows wherever a wrong reading would make a second request of what remains.
Rules: `reach` says what the upstream may see: `nothing`, or a request `cut` before its end (its
head had been forwarded when the fault appeared in the body). What `may_begin` is false for is no
fault at the beginning of a connection: there it is another version of HTTP.
"""

from dataclasses import dataclass

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: photos.test\r\n\r\n"
HOST = b"Host: photos.test\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
EMPTY = b"0\r\n\r\n"
LONG = b"b" * 65536


@dataclass(frozen=True)
class Case:
    """One request, and what may come of it."""

    name: str
    send: bytes
    statuses: tuple[int, ...]
    rfc: str
    reach: str = "nothing"
    may_begin: bool = True


def _get(*lines: bytes, target: bytes = b"/", host: bytes = HOST) -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\n" + host + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + SMUGGLED


def _post(*lines: bytes, body: bytes = b"hello") -> bytes:
    head = b"POST / HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    return head + body + SMUGGLED


def _chunked(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"\r\n0\r\n\r\n" + SMUGGLED


def _line(line: bytes) -> bytes:
    return line + b"\r\n" + HOST + b"\r\n" + SMUGGLED


BAD = (400,)
CODING = (400, 501)

LENGTH = [
    Case(f"length {value!r}", _post(b"Content-Length: " + value), BAD, "9110 8.6")
    for value in (
        b"+5", b"-1", b"0x5", b"1_0", b"5 0", b"5,", b"5, 6", b"5, 5", b"", b"5.0", b"5e0", b"\xb2",
        b"18446744073709551621", b"9" * 400, b"5;a", b"'5'", b"NaN", b"5\x0b", b"\xd9\xa5",
    )
] + [
    Case("two lengths, different", _post(b"Content-Length: 5", b"Content-Length: 6"), BAD, "9112 6.3"),
    Case("two lengths, the same", _post(b"Content-Length: 5", b"Content-Length: 5"), BAD, "9112 6.3"),
    Case("two lengths in two cases", _post(b"Content-Length: 5", b"CONTENT-LENGTH: 0"), BAD, "9112 6.3"),
    Case("length and coding", _post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=EMPTY), BAD, "9112 6.1"),
    Case("coding and length", _post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=EMPTY), BAD, "9112 6.1"),
    Case("coding and length 0", _post(b"Transfer-Encoding: chunked", b"Content-Length: 0", body=EMPTY), BAD, "9112 6.1"),
]  # fmt: skip

CODINGS = [
    Case(f"coding {value!r}", _post(b"Transfer-Encoding: " + value, body=EMPTY), CODING, "9112 6.1")
    for value in (
        b"xchunked", b"chunked, gzip", b"gzip, chunked", b"identity", b",chunked", b"chunked,", b"chunked;a=b",
        b"\x0bchunked", b"chunked\x00", b"chunked\x85", b"chunked, chunked", b"chunked chunked", b"\"chunked\"",
        b"chunke", b"", b"chunked, identity",
    )
] + [
    Case(
        f"coding {value!r} and length",
        _post(b"Transfer-Encoding: " + value, b"Content-Length: 5"), CODING, "9112 6.1",
    )
    for value in (b"xchunked", b"identity", b"", b"\x0bchunked", b"gzip")
] + [
    Case("two codings", _post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=EMPTY), CODING, "9112 7.1"),
    Case("chunked and identity", _post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=EMPTY), CODING, "9112 6.1"),
    Case("blank before the colon", _post(b"Transfer-Encoding : chunked", body=EMPTY), BAD, "9112 5.1"),
    Case("tab before the colon", _post(b"Transfer-Encoding\t: chunked", body=EMPTY), BAD, "9112 5.1"),
    Case("coding folded", _post(b"Transfer-Encoding:\r\n chunked", body=EMPTY), CODING, "9112 5.2"),
    Case("coding behind a fold", _post(b"X: y\r\n Transfer-Encoding: chunked", body=EMPTY), BAD, "9112 5.2"),
    Case("coding in 1.0", b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + EMPTY + SMUGGLED, CODING, "9112 6.1"),
]  # fmt: skip

CHUNKS = [
    Case(f"chunk {name}", _chunked(body), BAD, "9112 7.1", reach="cut")
    for name, body in (
        ("size 0x5", b"0x5\r\nhello"), ("size +5", b"+5\r\nhello"), ("size -5", b"-5\r\nhello"),
        ("size 0_5", b"0_5\r\nhello"), ("size with a blank before", b" 5\r\nhello"), ("size empty", b"\r\nhello"),
        ("size 2^64+5", b"10000000000000005\r\nhello"), ("size of many zeros", b"0" * 70000 + b"5\r\nhello"),
        ("size not hexadecimal", b"g\r\nhello"), ("size ended by LF", b"5\nhello"), ("size ended by CR", b"5\rhello"),
        ("size with NUL", b"5\x00\r\nhello"), ("size and blank", b"5 \r\nhello"),
        ("extension with LF", b"5;a\nb\r\nhello"), ("extension with CR", b"5;a\rb\r\nhello"),
        ("extension with NUL", b"5;a\x00\r\nhello"), ("extension of 64 KiB", b"5;" + b"a" * 65536 + b"\r\nhello"),
        ("data ended by LF", b"5\r\nhello\n0\r\n\r\n"), ("data too long", b"5\r\nhelloXX\r\n"),
        ("data with nothing after", b"5\r\nhello0\r\n\r\n"),
    )
] + [
    Case("trailer without a colon", _post(b"Transfer-Encoding: chunked", body=b"0\r\nnonsense\r\n\r\n"), BAD, "9112 7.1.2", "cut"),
    Case("trailer folded", _post(b"Transfer-Encoding: chunked", body=b"0\r\nA: b\r\n c\r\n\r\n"), BAD, "9112 5.2", "cut"),
    Case("trailer ended by LF", _post(b"Transfer-Encoding: chunked", body=b"0\r\nA: b\n\r\n"), BAD, "9112 7.1.2", "cut"),
    Case("trailers of 64 KiB", _post(b"Transfer-Encoding: chunked", body=b"0\r\nA: " + LONG + b"\r\n\r\n"), (400, 431), "6585 5", "cut"),
]  # fmt: skip

SYNTAX = [
    Case("bare LF after the request line", b"GET / HTTP/1.1\n" + HOST + b"\r\n" + SMUGGLED, BAD, "9112 2.2"),
    Case("bare LF after a field", b"GET / HTTP/1.1\r\nHost: photos.test\nA: b\r\n\r\n" + SMUGGLED, BAD, "9112 2.2"),
    Case("bare LF at the end", b"GET / HTTP/1.1\r\n" + HOST + b"\n" + SMUGGLED, BAD, "9112 2.2"),
    Case("only bare LF", b"GET / HTTP/1.1\nHost: photos.test\n\n" + SMUGGLED.replace(b"\r", b""), BAD, "9112 2.2"),
    Case("bare CR in a value", _get(b"A: b\rc"), BAD, "9112 2.2"),
    Case("CR CR LF", b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\r\n\r\n" + SMUGGLED, BAD, "9112 2.2"),
    Case("NUL in a value", _get(b"A: b\x00c"), BAD, "9110 5.5"),
    Case("a control byte in a value", _get(b"A: b\x01c"), BAD, "9110 5.5"),
    Case("DEL in a value", _get(b"A: b\x7fc"), BAD, "9110 5.5"),
    Case("a folded field", _get(b"A: b\r\n c"), BAD, "9112 5.2"),
    Case("a blank before the first field", b"GET / HTTP/1.1\r\n " + HOST + b"\r\n" + SMUGGLED, BAD, "9112 2.2"),
    Case("a tab before the first field", b"GET / HTTP/1.1\r\n\tA: b\r\n" + HOST + b"\r\n" + SMUGGLED, BAD, "9112 2.2"),
    Case("no colon", _get(b"nonsense"), BAD, "9112 5"),
    Case("an empty name", _get(b": b"), BAD, "9110 5.1"),
    Case("a blank in a name", _get(b"A B: c"), BAD, "9110 5.1"),
    Case("NUL in a name", _get(b"A\x00: b"), BAD, "9110 5.1"),
    Case("a byte above 127 in a name", _get(b"\xc3\xa4: b"), BAD, "9110 5.1"),
    Case("brackets in a name", _get(b"X[1]: b"), BAD, "9110 5.1"),
    Case("a slash in a name", _get(b"X/Y: b"), BAD, "9110 5.1"),
]

HOSTS = [
    Case("no host", _get(host=b""), BAD, "9112 3.2"),
    Case("two hosts, different", _get(b"Host: other.test"), BAD, "9112 3.2"),
    Case("two hosts, the same", _get(b"Host: photos.test"), BAD, "9112 3.2"),
] + [
    Case(f"host {value!r}", _get(host=b"Host: " + value + b"\r\n"), BAD, "9112 3.2")
    for value in (
        b"user@photos.test", b"photos.test/path", b"photos.test,other.test", b"photos.test other.test",
        b"photos.test:80x", b"photos.test:99999", b"photos.test:-1", b"photos.test:80:80", b"photos.test?q",
        b"photos.test#f", b"[::1", b"[::g]", b"\\photos.test", b"photos\xfftest", b"<photos>",
    )
]  # fmt: skip

LINES = [
    Case("HTTP/0.9", b"GET /\r\n\r\n" + SMUGGLED, BAD, "9112 2.3"),
    Case("HTTP/1.32", _line(b"GET / HTTP/1.32"), (400, 505), "9112 2.3"),
    Case("HTTP/2.0", _line(b"GET / HTTP/2.0"), (505,), "9110 15.6.6"),
    Case("HTTP/3.0", _line(b"GET / HTTP/3.0"), (505,), "9110 15.6.6"),
    Case("HTTP/0.1", _line(b"GET / HTTP/0.1"), (400, 505), "9110 15.6.6"),
    Case("http/1.1", _line(b"GET / http/1.1"), BAD, "9112 2.3"),
    Case("HTTP/1", _line(b"GET / HTTP/1"), BAD, "9112 2.3"),
    Case("HTTP/1.1 and more", _line(b"GET / HTTP/1.1 x"), BAD, "9112 3"),
    Case("HTTP/ 1.1", _line(b"GET / HTTP/ 1.1"), BAD, "9112 2.3"),
    Case("two blanks after the method", _line(b"GET  / HTTP/1.1"), BAD, "9112 3"),
    Case("two blanks before the version", _line(b"GET /  HTTP/1.1"), BAD, "9112 3"),
    Case("tab after the method", _line(b"GET\t/ HTTP/1.1"), BAD, "9112 3"),
    Case("blank before the method", _line(b" GET / HTTP/1.1"), BAD, "9112 3"),
    Case("a method that is no token", _line(b"G@T / HTTP/1.1"), (400, 405, 501), "9110 9.1"),
    Case("a method of brackets", _line(b"GET() / HTTP/1.1"), (400, 405, 501), "9110 9.1"),
    Case("no target", _line(b"GET HTTP/1.1"), BAD, "9112 3"),
    Case("a method of 64 KiB", _line(b"G" * 65536 + b" / HTTP/1.1"), (400, 414, 431, 501), "9112 3"),
    Case("junk before the request", b"junk\r\n" + SMUGGLED, BAD, "9112 2.2"),
    Case("TLS on a plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", BAD, "9112 3"),
    Case("the HTTP/2 preface", PREFACE, (400, 505), "9113 3.4", may_begin=False),
    Case("CONNECT", b"CONNECT photos.test:443 HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED, (400, 405, 501), "9110 9.3.6"),
    Case("CONNECT to a path", b"CONNECT / HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED, (400, 405, 501), "9110 9.3.6"),
]  # fmt: skip

TARGETS = [
    Case(f"target {value!r}", _get(target=value), BAD, "9112 3.2")
    for value in (
        b"/\x00", b"/a b", b"/#f", b"/\xe9", b"*", b"\\", b"/\x7f", b"/\x01", b"photos.test", b"", b"/%00", b"/%", b"/%zz",
        b"//user@photos.test:80x/..\x0b", b"http://", b"http:///a", b"ftp://photos.test/", b"http://user@photos.test/", b"?q",
    )
] + [
    Case("a target of 64 KiB", _get(target=b"/" + b"a" * 65536), (414, 431), "9110 15.5.15"),
    Case("a target over the limit", _get(target=b"/" + b"a" * 9000), (414,), "9110 15.5.15"),
]  # fmt: skip

LIMITS = [
    Case("101 fields", _get(*[b"A%d: b" % i for i in range(101)]), (431,), "6585 5"),
    Case("5,000 fields", _get(*[b"A%d: b" % i for i in range(5000)]), (431,), "6585 5"),
    Case("a field of 17 KiB", _get(b"A: " + b"b" * 17000), (431,), "6585 5"),
    Case("a field of 64 KiB", _get(b"A: " + b"b" * 65536), (431,), "6585 5"),
    Case("fields of 17 KiB together", _get(*[b"A%d: %b" % (i, b"b" * 1000) for i in range(17)]), (431,), "6585 5"),
]

EXPECTATIONS = [
    Case("an unknown expectation", _post(b"Expect: 200-maybe", b"Content-Length: 5"), (417,), "9110 10.1.1"),
    Case("an obfuscated expectation", _post(b"Expect: y 100-continue", b"Content-Length: 5"), (417, 400), "9110 10.1.1"),
]

CASES = LENGTH + CODINGS + CHUNKS + SYNTAX + HOSTS + LINES + TARGETS + LIMITS + EXPECTATIONS
