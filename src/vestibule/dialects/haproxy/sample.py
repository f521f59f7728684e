"""Sample expressions of HAProxy as expressions of the model.

Facts (HAProxy configuration manual, chapters 7.1 and 8.2.4): an expression is a fetch with arguments in parentheses and
converters after commas.

Rules
  HAProxy reads fields as earlier rules left them, the model as the client sent them. So what rules set is kept in a
  ``State`` and stands in for the field; where a value depends on a path that was rewritten in between, it cannot be
  told any more, and reading it is a mistake. Variables are expressions that stand in for their name.

Not here: what fetches mean (``variables``), what is known where a rule stands (``state``), counters (``slots``), formats (``formats``),
conditions (``acl``).
"""

from __future__ import annotations

import ipaddress
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from vestibule.dialects.haproxy import converters
from vestibule.dialects.haproxy.lexer import Line
from vestibule.dialects.haproxy.payload import LENGTHS, PAYLOADS, length_expr, payload_expr
from vestibule.dialects.haproxy.report import Report
from vestibule.dialects.haproxy.slots import COUNTER, LOOKED_UP, counter_expr, lookup_expr
from vestibule.dialects.haproxy.state import State, not_built
from vestibule.dialects.haproxy.values import (
    COOKIE_NAMES,
    COOKIES,
    COUNTED_COOKIES,
    FIELD_NAMES,
    FORMS,
    alpn_values,
    cookie_names,
    cookie_values,
    each_line,
    field_names,
    form_values,
    is_one,
    is_set_cookie,
    list_item,
)
from vestibule.dialects.haproxy.variables import (
    CERTIFICATE_BYTES,
    CERTIFICATE_NAMES,
    CERTIFICATE_PARTS,
    CERTIFICATES,
    COUNTED_FETCHES,
    FETCHES,
    LISTS,
    NAME_METHODS,
    NAMED_FETCHES,
    NUMBERED_FETCHES,
    RAW_FETCHES,
    UNBUILT_CONVERTERS,
    UNBUILT_FETCHES,
    bearer_of,
    server_of,
)
from vestibule.dialects.read import Unreadable
from vestibule.model.diagnostic import did_you_mean
from vestibule.model.expr import EMPTY, Call, Concat, Const, Default, Expr, If, InNet, InSet, Kind, Match, Var, concat, walk
from vestibule.model.vocabulary import kind_of

_GROUP = re.compile(r"\\([0-9])")
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_EXACT = ("^", "\\Z")
_PATTERN = ("", "a key is a regular expression by itself")

_ESCAPED = tuple("\\\"'(), ")
"""What a backslash before it is meant for; before anything else it stays, since regular expressions are full of them."""

_MAPS = {
    "map_str": _EXACT,
    "map_beg": ("^", ""),
    "map_end": ("", "\\Z"),
    "map_sub": ("", ""),
    "map_dir": ("(?:^|[/?])", "(?:[/?]|\\Z)"),
    "map_dom": ("(?:^|[./?:])", "(?:[./?:]|\\Z)"),
    "map_reg": _PATTERN,
    "map_regm": _PATTERN,
}
"""What stands around a key of a map of each kind, as a regular expression."""

_FLEETING = (
    "time_ms",
    "random",
    "uuid",
    "upstream_servers",
    "response_header",
    "response_header_line",
    "response_header_lines",
    "response_header_names",
    "each_response_header",
    "status",
    "request_header",
    "request_header_line",
    "each_request_header",
    "body",
    "kept",
)
"""Variables whose value changes while a request is served."""

_NEVER_EMPTY = (Var("scheme"), Var("method"), Var("path"), Var("target"), Var("protocol"), Var("request_id"))

_SUMS: dict[str, Callable[[int, int], int]] = {"add": operator.add, "subtract": operator.sub, "multiply": operator.mul}
"""Functions of two numbers that are worked out when the file is read."""

_MAP_MOST = 200
"""Lines of a map: each is a step in a chain."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An expression in parts: the fetch, its arguments, and the converters with theirs."""

    fetch: str
    arguments: tuple[str, ...]
    converters: tuple[tuple[str, tuple[str, ...]], ...] = ()


# ---------------------------------------------------------------- syntax


def split_sample(text: str) -> Sample:
    """Take an expression apart. Raises ``Unreadable``."""
    fetch, arguments, at = _term(text, 0)
    converters: list[tuple[str, tuple[str, ...]]] = []
    while at < len(text):
        if text[at] != ",":
            raise Unreadable("syntax", f"`{text[at:]}` is not expected in `{text}`", "converters follow after a comma")
        name, given, at = _term(text, at + 1)
        converters.append((name, given))
    return Sample(fetch, arguments, tuple(converters))


def _term(text: str, at: int) -> tuple[str, tuple[str, ...], int]:
    """Read a name with arguments and return them with the index behind."""
    found = _NAME.match(text, at)
    if found is None:
        raise Unreadable("syntax", f"a name is expected in `{text}`", "an expression looks like `req.hdr(Host),lower`")
    at = found.end()
    if at >= len(text) or text[at] != "(":
        return found[0], (), at
    arguments: list[str] = [""]
    quote = ""
    at += 1
    while at < len(text):
        char = text[at]
        if quote:
            if char == quote:
                quote = ""
            elif char == "\\" and quote == '"' and text[at + 1 : at + 2] in _ESCAPED:
                at += 1
                arguments[-1] += text[at]
            else:
                arguments[-1] += char
        elif char in "\"'":
            quote = char
        elif char == "\\" and text[at + 1 : at + 2] in _ESCAPED:
            at += 1
            arguments[-1] += text[at]
        elif char == ",":
            arguments.append("")
        elif char == ")":
            return found[0], () if arguments == [""] else tuple(arguments), at + 1
        else:
            arguments[-1] += char
        at += 1
    raise Unreadable("syntax", f"the parenthesis of `{found[0]}(` is never closed")


# ---------------------------------------------------------------- meaning


def sample_expr(text: str, state: State) -> Expr:
    """Return the expression of a whole sample, converters included. Raises ``Unreadable``."""
    return whole_expr(split_sample(text), state)


def values_expr(sample: Sample, state: State) -> Expr | None:
    """Return all that a fetch finds, without converters; None if it is one value at most. Raises ``Unreadable``."""
    name, arguments = sample.fetch, sample.arguments
    if is_one(name, arguments, state):
        return None
    if name in FORMS:
        return form_values(name, arguments)
    if name in COOKIES:
        return cookie_values(name, _cookie_lines(name, state), arguments)
    if name == "req.ssl_alpn":
        return alpn_values()
    lines = each_line(_named(name, arguments[:1], state))
    return Call("items", (lines,)) if name in LISTS else lines


def whole_expr(sample: Sample, state: State) -> Expr:
    """Return the expression of a sample that was taken apart. Raises ``Unreadable``."""
    for (name, first), expr in CERTIFICATE_BYTES.items():
        if sample.fetch == name and sample.converters[: len(first)] == first and not sample.arguments:
            return convert(expr, replace(sample, converters=sample.converters[len(first) :]), state)
    return convert(fetch_expr(sample.fetch, sample.arguments, state), sample, state)


def fetch_expr(name: str, arguments: tuple[str, ...], state: State) -> Expr:
    """Return the expression of a fetch. Raises ``Unreadable``."""
    if name in state.addresses and not arguments:
        return state.addresses[name]
    if name == "unique-id" and not arguments:
        return state.identity
    if name == "be_name" and state.backend and not arguments:
        return Const(state.backend)
    if name in ("srv_name", "srv_id") and state.servers and not arguments:
        return server_of(state.servers, name == "srv_id")
    if name == "ssl_fc_alpn" and state.raw:
        raise not_built(f"the fetch `{name}` in `mode tcp`", "read `req.ssl_alpn`, what the client offers")
    if name == "http_auth_bearer" and arguments:
        return bearer_of(arguments[0].lower())
    if name in FETCHES:
        if arguments:
            raise Unreadable("argument", f"`{name}` takes no argument")
        if name == "url" and state.rewritten:
            return FETCHES["pathq"]
        return FETCHES[name]
    if state.raw and name in RAW_FETCHES:
        return RAW_FETCHES[name]
    if state.raw and name in PAYLOADS:
        return payload_expr(name, arguments)
    if state.raw and name in LENGTHS and not arguments:
        return length_expr()
    if name in ("fe_name", "fe_id"):
        return Const(state.frontend)
    if name == "date":
        return _date(arguments)
    if name in ("str", "meth", "int", "bool", "bin", "ipv4", "ipv6"):
        return _constant(name, arguments)
    if name == "var":
        return _variable(arguments, state)
    if name in FORMS:
        return Call("item_at", (form_values(name, arguments), Const(1)))
    if name in COOKIES or name in COUNTED_COOKIES:
        cookies = cookie_values(name, _cookie_lines(name, state), arguments)
        # Of those without a name the first one counts.
        place = Const(-1 if arguments and arguments[0] else 1)
        return Call("item_at", (cookies, place)) if name in COOKIES else Call("item_count", (cookies,))
    if name in COOKIE_NAMES:
        return cookie_names(name, _cookie_lines(name, state), arguments)
    if name in FIELD_NAMES:
        return field_names(name, arguments)
    if name in NUMBERED_FETCHES:
        return Call("number", (as_text(fetch_expr(NUMBERED_FETCHES[name], arguments, state)),))
    if name in _OF_UPSTREAMS:
        return _of_upstream(name, arguments, state)
    if name == "rand":
        return _random(arguments)
    if name == "env":
        return Const(state.environment.get("".join(arguments[:1]), ""))
    if NAMED_FETCHES.get(name, "").endswith("_line") and arguments[1:] not in ((), ("",), ("-1",)):
        return Call("item_at", (each_line(_named(name, arguments[:1], state)), Const(_place(arguments[1]))))
    if name in NAMED_FETCHES:
        found = _named(name, arguments, state)
        return _item(found, arguments) if name in LISTS else found
    if name in ("hdr_ip", "req.hdr_ip", "shdr_ip", "res.hdr_ip"):
        return _address(_named(name[:-3], arguments[:1], state), arguments)
    if name in COUNTED_FETCHES:
        return _count(_named(COUNTED_FETCHES[name], arguments, state))
    if name in ("capture.req.hdr", "capture.res.hdr"):
        return _captured(name, arguments, state)
    counter = COUNTER.fullmatch(name)
    if counter is not None:
        return counter_expr(counter[1], counter[2], arguments, state)
    looked_up = LOOKED_UP.fullmatch(name)
    if looked_up is not None and name.startswith("src_"):
        return lookup_expr(looked_up[1], state.addresses.get("src", FETCHES["src"]), arguments, state)
    if (name, arguments) in CERTIFICATE_NAMES:
        return CERTIFICATE_NAMES[(name, arguments)]
    if name[:6] in CERTIFICATES and name[6:] in CERTIFICATE_PARTS:
        return _certificate(name, arguments)
    if name in UNBUILT_FETCHES or name.startswith(("sc_", "sc0_", "sc1_", "sc2_", "ssl_c_", "ssl_f_", "ssl_bc", "lua.", "src_")):
        raise not_built(f"the fetch `{name}`", UNBUILT_FETCHES.get(name, ""))
    hint = did_you_mean(
        name, [*FETCHES, *NAMED_FETCHES, *NUMBERED_FETCHES, *FORMS, *COOKIES, *COUNTED_COOKIES, *COOKIE_NAMES, *FIELD_NAMES, "var", "str"]
    )
    raise Unreadable("unknown-fetch", f"there is no fetch `{name}`", hint if hint.startswith("did") else "")


def _cookie_lines(name: str, state: State) -> Expr:
    """Return the lines of the field that holds the cookies that a fetch looks at."""
    return each_line(_named("res.fhdr", ("set-cookie",), state) if is_set_cookie(name) else _named("req.fhdr", ("cookie",), state))


_OF_UPSTREAMS = {"nbsrv": "upstream_servers", "be_conn": "upstream_requests", "queue": "upstream_waiting"}


def _of_upstream(fetch: str, arguments: tuple[str, ...], state: State) -> Expr:
    """``nbsrv([BACKEND])``, ``be_conn`` and ``queue``: how many servers may serve, and how many requests they have."""
    name = "".join(arguments[:1]) or state.backend or state.proxy
    if name not in state.backends:
        hint = did_you_mean(name, list(state.backends)) if name else f"write `{fetch}(BACKEND)`"
        raise Unreadable("unknown-reference", f"there is no backend `{name}`", hint)
    return Var(_OF_UPSTREAMS[fetch], name) if state.backends[name] else Const(0)


def _random(arguments: tuple[str, ...]) -> Expr:
    """``rand([RANGE])``: a number below the range, or of 32 bits."""
    text = "".join(arguments[:1])
    if not text:
        return Var("random")
    if not text.isdecimal() or not 0 < int(text) < 1 << 30:
        raise Unreadable("argument", f"`{text}` is no range of numbers")
    return Call("divide", (Call("multiply", (Var("random"), Const(int(text)))), Const(1 << 32)))


def _certificate(name: str, arguments: tuple[str, ...]) -> Expr:
    """Return a part of a certificate; of a name, one of its types where that is said."""
    whole, part = CERTIFICATES[name[:6]], CERTIFICATE_PARTS[name[6:]]
    if not part:
        return whole
    if arguments and part not in ("subject", "issuer"):
        raise Unreadable("argument", f"`{name}` takes no argument")
    if len(arguments) > 1 and arguments[1:] not in (("1",), ("0",), ("",)):
        raise not_built(f"`{name}` written so", "leave all but the first argument out")
    if arguments and arguments[0]:
        part = f"{part}.{arguments[0]}"
    return Call("certificate", (whole, Const(part)))


def _item(fields: Expr, arguments: tuple[str, ...]) -> Expr:
    """Return one item of a list, the last unless said; what can have no comma stays as it is."""
    text = arguments[1] if len(arguments) > 1 and arguments[1] else "-1"
    place = _place(text)
    if text in ("1", "-1") and (kind_of(fields) is not Kind.TEXT or fields == Var("host_port")):
        return fields
    if text in ("1", "-1") and isinstance(fields, Const) and "," not in str(fields.value):
        return fields
    return list_item(as_text(fields), place)


def _place(text: str) -> int:
    """Read which value of several is meant."""
    if not text.removeprefix("-").isdecimal() or len(text) > 6 or int(text) == 0:
        raise Unreadable("argument", f"`{text}` is no place in a list", "write 1 for the first, -1 for the last")
    return int(text)


def _count(fields: Expr) -> Expr:
    """Return how many there are: lines of a field, or items of its list."""
    if isinstance(fields, Var) and fields.name in ("header_line", "response_header_line"):
        return Var(fields.name + "s", fields.argument)
    return Call("item_count", (Call("items", (each_line(as_text(fields)),)),))


def _address(fields: Expr, arguments: tuple[str, ...]) -> Expr:
    """Return an address out of a list of them, the last unless said; a port behind it does not belong to it."""
    place = _place(arguments[1] if len(arguments) > 1 else "-1")
    item = Call("capture", (list_item(fields, place), Const(converters.WITHOUT_PORT), Const("1")))
    # With all its bits it stays as it is, and what is no address is none.
    return Call("mask", (item, Const(32), Const(128)))


def _captured(name: str, arguments: tuple[str, ...], state: State) -> Expr:
    slot = "".join(arguments[:1])
    held = state.captures.get((name, slot))
    if held is None:
        hint = "a field is captured by `capture request header NAME len N`, or by an `http-request capture` before this line"
        raise Unreadable("argument", f"nothing is captured in slot {slot or '?'} here", hint)
    return held


_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000}


def _date(arguments: tuple[str, ...]) -> Expr:
    """``date([OFFSET[,UNIT]])``: now, in a unit, seconds unless said; the offset is in seconds."""
    text, unit = (*arguments, "", "")[:2]
    if unit and unit not in _UNITS:
        raise Unreadable("argument", f"`{unit}` is no unit of a date", "write `s`, `ms` or `us`")
    digits = text.removeprefix("-")
    if text and (not digits.isdecimal() or len(digits) > 10):
        raise Unreadable("argument", f"`{text}` is no number of seconds")
    factor = _UNITS.get(unit or "s", 1)
    now: Expr = Var("time_ms")
    if factor == 1:
        now = Call("divide", (now, Const(1_000)))
    elif factor > 1_000:
        now = Call("multiply", (now, Const(1_000)))
    if not text or int(digits) == 0:
        return now
    return Call("subtract" if text.startswith("-") else "add", (now, Const(int(digits) * factor)))


def _constant(name: str, arguments: tuple[str, ...]) -> Expr:
    text = arguments[0] if arguments else ""
    if name == "bin":
        try:
            return Const(bytes.fromhex(text).decode("utf-8", "surrogateescape"))
        except ValueError:
            raise Unreadable("argument", f"`{text}` are no bytes in hexadecimal") from None
    if name in ("str", "meth"):
        return Const(text)
    if name in ("ipv4", "ipv6"):
        try:
            return Const(str(ipaddress.ip_address(text)))
        except ValueError:
            raise Unreadable("argument", f"`{text}` is no address") from None
    if name == "bool":
        return Const(text in ("true", "1", "yes", "on"))
    if not text.removeprefix("-").isdecimal():
        raise Unreadable("argument", f"`{text}` is no number")
    return Const(int(text))


def variable_expr(name: str, state: State) -> Expr:
    """Return what a variable is. Raises ``Unreadable``."""
    return _variable((name,), state)


def _variable(arguments: tuple[str, ...], state: State) -> Expr:
    name = arguments[0] if arguments else ""
    if name.partition(".")[0] not in ("proc", "sess", "txn", "req", "res"):
        raise Unreadable("argument", f"`{name}` is no variable", "names begin with `txn.`, `req.`, `res.`, `sess.` or `proc.`")
    otherwise = Const(arguments[1] if len(arguments) > 1 else "")
    if is_shared(name):
        state.real.add(name)
    if name not in state.real:
        if name not in state.variables:
            return otherwise
        value = state.variables[name]
        if value is not None:
            return value
        # What it was cannot be told from where it is read: it has to be kept, and the file is read again with that in mind.
        state.real.add(name)
    kept = Var("kept", name)
    return kept if otherwise == EMPTY else Default(kept, otherwise)


def is_shared(name: str) -> bool:
    """Tell whether a variable belongs to the connection, and so to all its requests."""
    return name.startswith("sess.")


def is_fleeting(value: Expr) -> bool:
    """Tell whether an expression may yield something else when it is evaluated later."""
    return any(isinstance(each, Var) and each.name in _FLEETING for each in walk(value))


def _named(name: str, arguments: tuple[str, ...], state: State) -> Expr:
    if not arguments or not arguments[0]:
        raise Unreadable("argument", f"`{name}` needs a name", f"write `{name}(NAME)`")
    key = arguments[0]
    variable = NAMED_FETCHES[name]
    is_field = variable in ("header", "header_line")
    if is_field:
        wanted = key.lower()
        if wanted not in state.headers and any(re.search(each, wanted) for each in state.removed):
            return Var("request_" + variable, wanted)
        if wanted in state.headers:
            return state.headers[wanted] or Var("request_" + variable, wanted)
    if is_field and key.lower() == "host":
        return Var("host_port")
    if is_field or variable.startswith("response_header"):
        key = key.lower()
    return Var(variable, key)


def convert(expr: Expr, sample: Sample, state: State) -> Expr:
    """Apply the converters of a sample. Raises ``Unreadable``."""
    rest = list(sample.converters)
    while rest:
        name, arguments = rest.pop(0)
        if expr == Var("host_port") and ((name == "field" and arguments[:2] == ("1", ":")) or name == "host_only"):
            # The host is in lower case already, which a comparison that ignores case does not notice.
            expr = Var("host")
            if rest and rest[0][0] == "lower":
                rest.pop(0)
        elif name in ("concat",) and len(arguments) <= 3:
            expr = _concat(expr, arguments, state)
        elif name == "iif" and len(arguments) == 2:
            expr = converters.converted(expr, "bool", (), _held(state))
            is_scheme = expr == Var("tls") and arguments == ("https", "http")
            expr = Var("scheme") if is_scheme else If(expr, Const(arguments[0]), Const(arguments[1]))
        elif name in ("map", "map_int", "map_int_int") or name.removesuffix("_int") in _MAPS:
            kind = name.removesuffix("_int")
            if name.startswith("map_int"):
                _check_numbers(arguments, state)
            expr = _mapped(as_text(expr), _MAPS.get(kind, _EXACT), arguments, state, kind == "map_regm")
            expr = Call("number", (as_text(expr),)) if name.endswith("_int") and name != "map_int" else expr
        elif name == "in_table" or (name.startswith("table_") and LOOKED_UP.fullmatch(name)):
            counter = LOOKED_UP.fullmatch(name)
            expr = lookup_expr(counter[1] if counter is not None else "", as_text(expr), arguments, state)
        elif name in ("map_ip", "map_ip_int"):
            expr = _mapped_address(expr, arguments, state)
            expr = expr if name == "map_ip" else Call("number", (as_text(expr),))
        elif name in converters.NAMES:
            try:
                expr = converters.converted(expr, name, arguments, _held(state))
            except converters.BadArgument as bad:
                raise Unreadable("argument", f"`{name}`: {bad}") from None
        elif name in UNBUILT_CONVERTERS:
            raise not_built(f"the converter `{name}`")
        else:
            hint = did_you_mean(name, [*converters.NAMES, *_MAPS, "concat", "iif", *UNBUILT_CONVERTERS])
            raise Unreadable("unknown-converter", f"there is no converter `{name}`", hint if hint.startswith("did") else "")
    return expr


def _concat(expr: Expr, arguments: tuple[str, ...], state: State) -> Expr:
    """``concat(<start>,<var>,<end>)``."""
    start, name, end = (*arguments, "", "", "")[:3]
    middle = _variable((name,), state) if name else EMPTY
    return concat([expr, Const(start), middle, Const(end)])


def _held(state: State) -> converters.Variable:
    """Return what tells what a variable is."""
    return lambda name: _variable((name,), state)


def _rows(arguments: tuple[str, ...], state: State) -> list[tuple[str, str]]:
    """Return the keys and values of the file of a map."""
    if not arguments:
        raise Unreadable("argument", "`map` needs a file", "write `map(FILE,DEFAULT)`")
    state.files.note(arguments[0], "map")
    try:
        text = state.read_text(arguments[0])
    except (OSError, UnicodeError) as bad:
        raise Unreadable("unreadable", f"`{arguments[0]}` cannot be read: {bad}") from None
    rows = [row.split(None, 1) for row in text.splitlines() if row.strip() and not row.lstrip().startswith("#")]
    if len(rows) > _MAP_MOST:
        raise not_built(f"a map of more than {_MAP_MOST} lines")
    return [(row[0], row[1].strip() if len(row) > 1 else "") for row in rows]


def _check_numbers(arguments: tuple[str, ...], state: State) -> None:
    """Refuse keys of a map of numbers that are none."""
    for key, _ in _rows(arguments, state):
        if not key.isdecimal() or key != str(int(key)):
            raise not_built(f"the key `{key}` in a map of numbers", "write single numbers, without ranges")


def _mapped(expr: Expr, around: tuple[str, str], arguments: tuple[str, ...], state: State, groups: bool) -> Expr:
    """``map(FILE[,DEFAULT])`` and its kin: each line of the file is a key and its value; the first that fits counts. With ``groups``,
    those that the key matched stand in the value."""
    found: Expr = Const(arguments[1] if len(arguments) > 1 else "")
    for key, value in reversed(_rows(arguments, state)):
        pattern = key if around == _PATTERN else around[0] + re.escape(key) + around[1]
        then = concat(with_groups(value, key, expr)) if groups else Const(value)
        found = If(InSet(expr, (key,)) if around == _EXACT else Match(pattern, expr), then, found)
    return found


def with_groups(text: str, pattern: str, subject: Expr) -> list[Expr]:
    """Put what groups matched in the place of ``\\1`` and its kin; ``\\0`` is all that matched."""
    pieces = _GROUP.split(text)
    return [Call("capture", (subject, Const(pattern), Const(piece))) if at % 2 else Const(piece) for at, piece in enumerate(pieces)]


def _mapped_address(expr: Expr, arguments: tuple[str, ...], state: State) -> Expr:
    """``map_ip(FILE[,DEFAULT])``: keys are networks; the narrowest that holds the address counts."""
    found: Expr = Const(arguments[1] if len(arguments) > 1 else "")
    networks: list[tuple[int, str, str]] = []
    for key, value in _rows(arguments, state):
        try:
            network = ipaddress.ip_network(key, strict=False)
        except ValueError:
            raise Unreadable("bad-network", f"`{key}` in `{arguments[0]}` is neither an address nor a network") from None
        networks.append((network.prefixlen, str(network), value))
    for _, text, value in sorted(networks, key=lambda each: each[0]):
        found = If(InNet(expr, (text,)), Const(value), found)
    return found


def as_text(expr: Expr) -> Expr:
    """Return an expression that yields text: HAProxy writes a test as 1 or 0."""
    return If(expr, Const("1"), Const("0")) if kind_of(expr) is Kind.TEST else expr


def constant_of(expr: Expr) -> int | None:
    """Return the number that an expression always is; None where that depends on anything."""
    if isinstance(expr, Const) and isinstance(expr.value, int) and not isinstance(expr.value, bool):
        return expr.value
    if not isinstance(expr, Call) or expr.function not in _SUMS or len(expr.arguments) != 2:
        return None
    one, other = [constant_of(each) for each in expr.arguments]
    return None if one is None or other is None else _SUMS[expr.function](one, other)


def trimmed(expr: Expr) -> Expr:
    """Return a text as it stands in a field: without blanks around it, as far as they are fixed."""
    if isinstance(expr, Const) and isinstance(expr.value, str):
        return Const(expr.value.strip(" \t"))
    if not isinstance(expr, Concat):
        return expr
    first, last = expr.parts[0], expr.parts[-1]
    parts = list(expr.parts)
    if isinstance(first, Const) and isinstance(first.value, str):
        parts[0] = Const(first.value.lstrip(" \t"))
    if isinstance(last, Const) and isinstance(last.value, str):
        parts[-1] = Const(last.value.rstrip(" \t"))
    made = concat(parts)
    # What stands at an end may turn out to be nothing, and the blank beside it is outside then.
    if len(parts) > 1 and may_be_empty(parts[0]) and str(getattr(parts[1], "value", "")).startswith((" ", "\t")):
        made = Call("trim_start", (made, Const(" \t")))
    if len(parts) > 1 and may_be_empty(parts[-1]) and str(getattr(parts[-2], "value", "")).endswith((" ", "\t")):
        made = Call("trim_end", (made, Const(" \t")))
    return made


def may_be_empty(expr: Expr) -> bool:
    """Tell whether a text may come out empty."""
    if isinstance(expr, Const):
        return expr.value == ""
    if isinstance(expr, Concat):
        return all(may_be_empty(each) for each in expr.parts)
    if isinstance(expr, If):
        return may_be_empty(expr.then) or may_be_empty(expr.otherwise)
    if isinstance(expr, Default):
        return may_be_empty(expr.fallback)
    return kind_of(expr) not in (Kind.NUMBER, Kind.TEST, Kind.ADDRESS) and expr not in _NEVER_EMPTY


def read_sample(line: Line, at: int, state: State, report: Report) -> Expr | None:
    """Return the expression of the sample at a word of a line; None, noted, if it cannot be had."""
    try:
        return sample_expr(line.text(at), state)
    except Unreadable as bad:
        report.error(line, at, bad.code, bad.message, bad.hint)
        return None


def read_names(line: Line, at: int, report: Report) -> str | None:
    """Return the pattern of the names that ``NAME -m METHOD`` at a word of a line means; None, noted, if there is none."""
    name, method = line.text(at), line.text(at + 2)
    if method not in NAME_METHODS:
        report.error(line, at + 2, "syntax", f"`-m {method}` is no way to compare", did_you_mean(method, list(NAME_METHODS)))
        return None
    before, after = NAME_METHODS[method]
    pattern = f"(?i:{name})" if method == "reg" else before + re.escape(name.lower()) + after
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as bad:
        report.error(line, at, "bad-regex", f"`{name}` is no regular expression: {bad}")
        return None
    return pattern
