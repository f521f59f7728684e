"""Converters of HAProxy as functions of the model.

Facts (HAProxy configuration manual, chapter 7.3.1): a converter takes what stands before its comma. ``field`` and ``word`` count from 1,
or from the end from -1; ``regsub`` replaces the first match, all with ``g``; ``hex`` writes capitals; ``sha2`` is of 256 bits unless
said. Numbers are of 64 bits with a sign; here they are never below 0.

Not here: maps, and reading of expressions (``sample``).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from vestibule.model.expr import Call, Compare, Concat, Const, Expr, If, Kind, Match, Not, Var, concat, walk
from vestibule.model.vocabulary import kind_of

_JSON_PLACE = re.compile(r"\$(?:\.[A-Za-z0-9_$-]+|\[\d{1,6}\])+")

WITHOUT_PORT = r"^\[?([0-9.]+(?=:[0-9]*\Z)|[0-9a-fA-F:.]+)\]?(?::[0-9]*)?\Z"
"""An address in a text, the port behind it apart."""

Variable = Callable[[str], Expr]
"""What a variable is, by its name; raises if it is none."""

PLAIN: dict[str, str] = {
    "lower": "lower",
    "upper": "upper",
    "length": "length",
    "base64": "base64",
    "b64dec": "base64_decode",
    "ub64enc": "base64url",
    "ub64dec": "base64url_decode",
}
"""Converters without arguments that are functions of the model."""

ARITHMETIC: dict[str, str] = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "div": "divide",
    "mod": "modulo",
    "and": "bit_and",
    "or": "bit_or",
    "xor": "bit_xor",
}

SUMS = ("crc32", "crc32c", "djb2", "sdbm", "wt6")
_XXHASHES = ("xxh32", "xxh64", "xxh3")
_BYTES = ("base64_decode", "base64url_decode", "hex_decode", "digest", "hmac", "slice")
_HTTP_DATE = "%a, %d %b %Y %H:%M:%S"
_DIGESTS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")

NAMES = (
    *PLAIN,
    *ARITHMETIC,
    *SUMS,
    *_XXHASHES,
    "add_item",
    "be2dec",
    "be2hex",
    "bool",
    "bytes",
    "cpl",
    "cut_crlf",
    "digest",
    "even",
    "field",
    "hex",
    "hex2i",
    "hmac",
    "host_only",
    "http_date",
    "ipmask",
    "json",
    "json_query",
    "jwt_header_query",
    "jwt_payload_query",
    "language",
    "ltime",
    "ltrim",
    "ms_ltime",
    "ms_utime",
    "neg",
    "not",
    "odd",
    "param",
    "port_only",
    "regsub",
    "rtrim",
    "secure_memcmp",
    "sha1",
    "sha2",
    "strcmp",
    "url_dec",
    "url_enc",
    "us_ltime",
    "us_utime",
    "utime",
    "word",
)
"""All that ``converted`` knows."""


class BadArgument(Exception):
    """An argument of a converter that cannot be used; the text says why."""


def converted(expr: Expr, name: str, arguments: tuple[str, ...], variable: Variable) -> Expr:
    """Return an expression with one of ``NAMES`` applied. Raises ``BadArgument``."""
    if name == "length" and _is_bytes(expr):
        # What counts is a text there, which a zero byte ends.
        return Call("length", (Call("capture", (expr, Const("^[^\\x00]*"), Const("0"))),))
    if name in PLAIN:
        return Call(PLAIN[name], (_text(expr),))
    if name in ARITHMETIC:
        return Call(ARITHMETIC[name], (_number(expr), _operand(arguments, variable)))
    if name in SUMS:
        total = Call("checksum", (_text(expr), Const(name)))
        return Call("spread", (total,)) if _int(arguments, 0, 0) else total
    if name in _XXHASHES:
        total = Call("xxhash", (_text(expr), Const(name), Const(_int(arguments, 0, 0))))
        return Call("number", (total,)) if name == "xxh32" else total
    if name in ("neg", "cpl"):
        return _below_zero(_number(expr), name)
    if name == "http_date":
        return _http_date(_number(expr), arguments)
    if name in ("digest", "sha1", "sha2", "hmac"):
        return _digest(expr, name, arguments, variable)
    if name in ("field", "word"):
        return _part(expr, name, arguments)
    if name in ("bool", "not", "even", "odd"):
        return _truth(expr, name)
    unit, _, kind = name.rpartition("_")
    if kind in ("ltime", "utime"):
        # ltime(<format>[,<offset>])
        second = _number(expr)
        if unit:
            second = Call("divide", (second, Const(1_000 if unit == "ms" else 1_000_000)))
        offset = _int(arguments, 1, 0)
        if offset:
            second = Call("add" if offset > 0 else "subtract", (second, Const(abs(offset))))
        return Call("format_date", (second, Const("".join(arguments[:1])), Const("local" if kind == "ltime" else "utc")))
    if name in ("strcmp", "secure_memcmp"):
        equal = Compare("==", _text(expr), _text(variable("".join(arguments[:1]))))
        return If(equal, Const(0), Const(1)) if name == "strcmp" else equal
    return _shaped(_text(expr), name, arguments, variable)


def _shaped(expr: Expr, name: str, arguments: tuple[str, ...], variable: Variable) -> Expr:
    """Apply a converter of one text to another."""
    if name == "hex":
        return Call("upper", (Call("hex", (expr,)),))
    if name in ("be2dec", "be2hex"):
        return _chunks(expr, name, arguments)
    if name == "hex2i":
        return Call("hex_number", (expr,))
    if name == "param":
        key, between = (*arguments, "", "")[:2]
        if not key:
            raise BadArgument("a name is needed")
        return Call("item_at", (Call("form_values", (expr, Const(key), Const(between or "&"))), Const(1)))
    if name == "language":
        liked = Call("preferred", (expr, Const("".join(arguments[:1])), Const("".join(arguments[1:2]))))
        return If(Compare("==", expr, Const("")), Const(""), liked) if arguments[1:2] else liked
    if name in ("jwt_header_query", "jwt_payload_query"):
        part = Call("field", (expr, Const(1 if name == "jwt_header_query" else 2), Const(1), Const(".")))
        text = Call("base64url_decode", (part,))
        return _shaped(text, "json_query", arguments, variable) if arguments else text
    if name == "json":
        # Slashes are escaped as well, so that the text may stand in a script of a page.
        return Call("replace", (Call("json", (expr,)), Const("/"), Const("\\/"), Const("g")))
    if name == "url_enc":
        return Call("url_encode", (expr,))
    if name == "url_dec":
        # In a form a plus sign is a blank, and behind the question mark of a target.
        if arguments[:1] in ((), ("0",), ("",)):
            if Var("target") not in walk(expr):
                return Call("url_decode", (expr,))
            before, after = Call("field", (expr, Const(1), Const(1), Const("?"))), Call("field", (expr, Const(2), Const(0), Const("?")))
            split = concat([before, Const("?"), Call("replace", (after, Const("\\+"), Const(" "), Const("g")))])
            return Call("url_decode", (If(Match("\\?", expr), split, expr),))
        return Call("url_decode", (Call("replace", (expr, Const("\\+"), Const(" "), Const("g"))),))
    if name == "json_query":
        if not arguments or not _JSON_PLACE.fullmatch(arguments[0]):
            raise BadArgument(f"`{''.join(arguments[:1])}` is no place of a document that is known here")
        found = Call("json_value", (expr, Const(arguments[0])))
        return Call("number", (found,)) if arguments[1:] == ("int",) else found
    if name == "cut_crlf":
        return Call("capture", (expr, Const("^[^\\r\\n]*"), Const("0")))
    if name == "bytes":
        first, count = _int(arguments, 0, 0), _int(arguments, 1, -1)
        return Call("slice", (expr, Const(first), Const(count)))
    if name in ("ltrim", "rtrim"):
        return Call("trim_start" if name == "ltrim" else "trim_end", (expr, Const("".join(arguments[:1]))))
    if name == "host_only":
        return Call("capture", (expr, Const("^(\\[[^\\]]*\\]|[^:]*)"), Const("1")))
    if name == "port_only":
        return Call("number", (Call("capture", (expr, Const(":([0-9]+)$"), Const("1"))),))
    if name == "ipmask":
        four, six = ("".join(arguments[:1]), 32), ("".join(arguments[1:2]), 128)
        if kind_of(expr) is Kind.TEXT:
            expr = Call("capture", (expr, Const(WITHOUT_PORT), Const("1")))
        return Call("mask_by", (expr, Const(_mask(*four)), Const(_mask(*six) if six[0] else "")))
    if name == "regsub":
        return _substituted(expr, arguments)
    # add_item(<delimiter>,<variable>,<suffix>)
    delimiter, held, suffix = (*arguments, "", "", "")[:3]
    item = concat([variable(held) if held else Const(""), Const(suffix)])
    return concat([expr, If(Compare("==", expr, Const("")), Const(""), Const(delimiter)), item])


def _text(expr: Expr) -> Expr:
    return If(expr, Const("1"), Const("0")) if kind_of(expr) is Kind.TEST else expr


def _is_bytes(expr: Expr) -> bool:
    """Tell whether an expression yields bytes, and no text."""
    return isinstance(expr, Call) and expr.function in _BYTES and (expr.function != "slice" or _is_bytes(expr.arguments[0]))


def _number(expr: Expr) -> Expr:
    kind = kind_of(expr)
    if _has_sign(expr):
        raise BadArgument("it counts with what may be below 0")
    if kind is Kind.TEST:
        return If(expr, Const(1), Const(0))
    return expr if kind is Kind.NUMBER else Call("number", (expr,))


def _has_sign(expr: Expr) -> bool:
    """Tell whether an expression is written as a number that may be below 0."""
    if isinstance(expr, If):
        return _has_sign(expr.otherwise)
    if isinstance(expr, Concat) and expr.parts[0] == Const("-"):
        return kind_of(expr.parts[1]) is Kind.NUMBER
    return isinstance(expr, Call) and expr.function == "xxhash"


def _below_zero(number: Expr, name: str) -> Expr:
    """``neg`` and ``cpl``: a number below 0, as it is written."""
    if name == "cpl":
        return Concat((Const("-"), Call("add", (number, Const(1)))))
    return If(Compare("==", number, Const(0)), Const("0"), Concat((Const("-"), number)))


def _http_date(moment: Expr, arguments: tuple[str, ...]) -> Expr:
    """``http_date([<offset>[,<unit>]])``: the offset is in the unit."""
    units = {"s": 1, "ms": 1_000, "us": 1_000_000}
    unit = "".join(arguments[1:2]) or "s"
    if unit not in units:
        raise BadArgument(f"`{unit}` is no unit of a date; write `s`, `ms` or `us`")
    offset = _int(arguments, 0, 0)
    if offset:
        moment = Call("add" if offset > 0 else "subtract", (moment, Const(abs(offset))))
    factor = units[unit]
    second = moment if factor == 1 else Call("divide", (moment, Const(factor)))
    date: Expr = Call("format_date", (second, Const(_HTTP_DATE), Const("utc")))
    if factor > 1:
        # The leading 1 keeps the zeros.
        part = Call("add", (Call("modulo", (moment, Const(factor))), Const(factor)))
        date = concat([date, Const("."), Call("slice", (part, Const(1), Const(-1)))])
    return concat([date, Const(" GMT")])


def _chunks(expr: Expr, name: str, arguments: tuple[str, ...]) -> Expr:
    """``be2dec(<between>,<size>[,<whole>])``, and ``be2hex``, where all may be left out."""
    size = _int(arguments, 1, 1 if name == "be2hex" else 0)
    if name == "be2hex" and not arguments:
        return _shaped(expr, "hex", (), lambda _: expr)
    if not 0 < size <= (8 if name == "be2dec" else 9999):
        raise BadArgument(f"`{size}` is no size of a number in bytes")
    form = ("whole-" if _int(arguments, 2, 0) else "") + ("decimal" if name == "be2dec" else "hex")
    found = Call("chunks", (expr, Const("".join(arguments[:1])), Const(size), Const(form)))
    return Call("upper", (found,)) if name == "be2hex" else found


def _truth(expr: Expr, name: str) -> Expr:
    if name in ("even", "odd"):
        return Compare("==", Call("bit_and", (_number(expr), Const(1))), Const(0 if name == "even" else 1))
    test = expr if kind_of(expr) is Kind.TEST else Compare("!=", _number(expr), Const(0))
    return Not(test) if name == "not" else test


def _operand(arguments: tuple[str, ...], variable: Variable) -> Expr:
    text = "".join(arguments[:1])
    if text.isdecimal() and len(text) < 19:
        return Const(int(text))
    if text.startswith("-"):
        raise BadArgument(f"`{text}` is below 0")
    return _number(variable(text))


def _int(arguments: tuple[str, ...], at: int, usual: int) -> int:
    text = arguments[at] if at < len(arguments) else ""
    if not text:
        return usual
    if not text.removeprefix("-").isdecimal() or len(text) > 9:
        raise BadArgument(f"`{text}` is no number")
    return int(text)


def _mask(text: str, bits: int) -> str:
    """Read a mask: a number of bits, or written as an address."""
    kind = ipaddress.IPv4Address if bits == 32 else ipaddress.IPv6Address
    if "." not in text and ":" not in text:
        kept = _int((text,), 0, bits)
        if not 0 <= kept <= bits:
            raise BadArgument(f"`{text}` is no mask")
        return str(kind((1 << bits) - (1 << (bits - kept))))
    try:
        return str(kind(text))
    except ValueError:
        raise BadArgument(f"`{text}` is no mask") from None


def _digest(expr: Expr, name: str, arguments: tuple[str, ...], variable: Variable) -> Expr:
    algorithm = "sha1"
    if name == "sha2":
        bits = _int(arguments, 0, 256)
        algorithm = f"sha{bits}" if bits > 1 else "sha2"
    elif name != "sha1":
        algorithm = "".join(arguments[:1]).lower()
    if algorithm not in _DIGESTS:
        raise BadArgument(f"`{algorithm}` is no digest that is known here")
    if name != "hmac":
        return Call("digest", (_text(expr), Const(algorithm)))
    key = "".join(arguments[1:2])
    given = variable(key) if re.fullmatch(r"(?:proc|sess|txn|req|res)\..+", key) else Const(key)
    return Call("hmac", (_text(expr), Const(algorithm), Call("base64_decode", (given,))))


def _part(expr: Expr, name: str, arguments: tuple[str, ...]) -> Expr:
    """``field(<index>,<delimiters>[,<count>])``, and ``word``."""
    index, count = _int(arguments, 0, 0), _int(arguments, 2, 1)
    delimiters = "".join(arguments[1:2])
    if not index or not delimiters:
        raise BadArgument(f"`{name}` needs a number and delimiters")
    return Call(name, (_text(expr), Const(index), Const(count), Const(delimiters)))


def _substituted(expr: Expr, arguments: tuple[str, ...]) -> Expr:
    """``regsub(<regex>,<text>[,<flags>])``."""
    if not arguments:
        raise BadArgument("a regular expression and a text are needed")
    pattern, replacement, flags = (*arguments, "", "", "")[:3]
    return Call("replace", (expr, Const(pattern), Const(replacement), Const("".join(sorted(set(flags) & {"g", "i"})))))
