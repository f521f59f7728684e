"""Checks of expressions: what they name, of which kinds their parts are, and whether it is known where they stand.

Rules:
* Each place of use has a phase; an expression that needs a later one is a mistake, not an empty value at run time.

Not here: who uses them (``check_route``, ``check``).
"""

from __future__ import annotations

import re
import warnings

from vestibule.model.diagnostic import did_you_mean
from vestibule.model.expr import (
    AllOf,
    AnyOf,
    Call,
    Compare,
    Concat,
    Const,
    Default,
    Expr,
    If,
    InNet,
    Kind,
    Match,
    Not,
    Phase,
    Var,
    children,
)
from vestibule.model.findings import Findings
from vestibule.model.quantity import parse_network
from vestibule.model.vocabulary import FUNCTIONS, VARIABLES, kind_of

_COUNT = re.compile("[1-9][0-9]{0,3}")
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110 section 5.6.2: what a field name or a method may be made of."""

CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
"""Control bytes, but for the tab."""

_SECRET = re.compile(
    r"\{PLAIN\}.*|\{CRYPT\}[./0-9A-Za-z]{13}|\{S?SHA\}[A-Za-z0-9+/]{27,}=*|\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}"
    r"|\$argon2id\$v=19\$m=[0-9]{1,6},t=[0-9]{1,2},p=[0-9]{1,2}\$[A-Za-z0-9+/]{11,64}\$[A-Za-z0-9+/]{16,172}"
    r"|\$scrypt\$ln=(?:[1-9]|1[0-6]),r=[1-8],p=[1-4]\$[A-Za-z0-9+/]{0,86}\$[A-Za-z0-9+/]{22,86}"
    r"|\$y\$[./A-Za-z0-9]{1,12}\$[./A-Za-z0-9]{0,86}\$[./A-Za-z0-9]{43}"
    r"|\$(?:1|apr1)\$[^$:]{0,8}\$[./A-Za-z0-9]{22}"
    r"|\$5\$(?:rounds=[0-9]{1,7}\$)?[^$:]{0,16}\$[./A-Za-z0-9]{43}|\$6\$(?:rounds=[0-9]{1,7}\$)?[^$:]{0,16}\$[./A-Za-z0-9]{86}",
    re.DOTALL,
)
"""Forms of stored passwords that ``BasicAuth`` knows."""


def is_secret(text: str) -> bool:
    """Tell whether a stored password has a form that ``BasicAuth`` knows."""
    return _SECRET.fullmatch(text) is not None


MAX_DEPTH = 32
"""Switches inside switches and conditions inside conditions. Nobody writes more; recursion stays bounded."""

_PHASE_WORDS = {
    Phase.ACCEPT: "once a connection is accepted",
    Phase.TLS: "after the TLS handshake",
    Phase.REQUEST: "once the request head is read",
    Phase.UPSTREAM: "once a server is chosen",
    Phase.RESPONSE: "once the response head is read",
    Phase.LOG: "in the access log",
}


def check_pattern(found: Findings, path: str, pattern: str) -> None:
    """Check that a regular expression is one."""
    try:
        with warnings.catch_warnings():
            # That a later Python may read it otherwise is no mistake of the file.
            warnings.simplefilter("ignore", FutureWarning)
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as bad:
        found.error(path, "bad-regex", f"`{pattern}` is no regular expression: {bad}")


def check_text(found: Findings, path: str, expr: Expr, phase: Phase, is_field: bool = True) -> None:
    """Check an expression that yields text in a place of the given phase; a field's value has no control bytes."""
    _check_expr(found, path, expr, phase, 0)
    if kind_of(expr) is Kind.TEST:
        found.error(path, "wrong-kind", "a text is expected here, not a test", 'write `if(test, "yes", "no")`')
    if kind_of(expr) is Kind.LIST:
        found.error(path, "wrong-kind", "a text is expected here, not a list", "take one value of it: `item_at(list, 1)`")
    if not is_field:
        return
    for part in expr.parts if isinstance(expr, Concat) else (expr,):
        if isinstance(part, Const) and CONTROL.search(str(part.value)):
            found.error(path, "control-byte", "the value has a control byte in it, a line break for instance")


def check_test(found: Findings, path: str, expr: Expr, phase: Phase) -> None:
    """Check an expression that yields true or false in a place of the given phase."""
    _check_expr(found, path, expr, phase, 0)
    if kind_of(expr) is not Kind.TEST:
        found.error(path, "wrong-kind", "a test is expected here, not a value", 'compare it with something: `== "x"`')


def _check_expr(found: Findings, path: str, expr: Expr, phase: Phase, depth: int, has_item: bool = False) -> None:
    """Check the parts of an expression. Kinds are judged by the parent, names and phases by the node itself; `item` means something
    where `has_item` says so."""
    if depth > MAX_DEPTH:
        found.error(path, "too-deep", f"the expression is nested more than {MAX_DEPTH} deep")
        return
    if isinstance(expr, Var):
        _check_variable(found, path, expr, phase)
        if expr.name == "item" and not has_item:
            found.error(path, "argument", "`item` means nothing here", "it is the value that `any_item(list, test)` looks at")
    elif isinstance(expr, Call):
        _check_call(found, path, expr)
    elif isinstance(expr, Compare):
        _check_compare(found, path, expr)
    elif isinstance(expr, Match):
        check_pattern(found, path, expr.pattern)
    elif isinstance(expr, InNet):
        for network in expr.networks:
            _check_network(found, path, network)
    tries_items = isinstance(expr, Call) and expr.function in ("any_item", "first_item")
    for at, child in enumerate(children(expr)):
        _check_expr(found, path, child, phase, depth + 1, has_item or (tries_items and at == 1))
    _check_child_kinds(found, path, expr)


def _check_network(found: Findings, path: str, network: str) -> None:
    try:
        parse_network(network)
    except ValueError as bad:
        found.error(path, "bad-network", str(bad))


def _check_child_kinds(found: Findings, path: str, expr: Expr) -> None:
    """Tests stand where tests are asked for, and nowhere else."""
    if not isinstance(expr, Call) and any(kind_of(each) is Kind.LIST for each in children(expr)):
        found.error(path, "wrong-kind", "a list stands here", "only functions take one: `any_item(list, test)`, `item_at(list, 1)`")
    tests: tuple[Expr, ...] = ()
    if isinstance(expr, (AllOf, AnyOf)):
        tests = expr.tests
    elif isinstance(expr, (Not, If)):
        tests = (expr.test,)
    if any(kind_of(each) is not Kind.TEST for each in tests):
        found.error(path, "wrong-kind", "`and`, `or`, `not` and `if` join tests, not values", "compare the value first")
    needs_text = isinstance(expr, (Concat, Match)) or (isinstance(expr, Default) and kind_of(expr) is not Kind.TEST)
    if needs_text and any(kind_of(each) is Kind.TEST for each in children(expr)):
        found.error(path, "wrong-kind", "a text is expected here, not a test", 'write `if(test, "yes", "no")`')


def _check_variable(found: Findings, path: str, var: Var, phase: Phase) -> None:
    variable = VARIABLES.get(var.name)
    if variable is None:
        hint = did_you_mean(var.name, list(VARIABLES))
        if not hint.startswith("did"):
            hint = "see the reference of variables"
        found.error(path, "unknown-variable", f"there is no variable `{var.name}`", hint)
        return
    if variable.argument == "count" and not _COUNT.fullmatch(var.argument):
        found.error(path, "argument", f"`{var.name}` needs a number of bytes below 10000", f"write `{var.name}:4`")
    elif variable.argument and not var.argument:
        found.error(path, "argument", f"`{var.name}` needs a {variable.argument} name", f"write `{var.name}:NAME`")
    elif var.argument and not variable.argument:
        found.error(path, "argument", f"`{var.name}` takes no argument")
    elif variable.argument == "type" and not re.fullmatch(r"(?:32\.)?\d{1,3}|32\.verify", var.argument):
        found.error(path, "bad-type", f"`{var.argument}` is no type of a TLV", "write a number, `32.` and a number, or `32.verify`")
    elif variable.argument == "field" and not TOKEN.fullmatch(var.argument):
        found.error(path, "bad-field", f"`{var.argument}` is no field name")
    if variable.phase > phase:
        found.error(
            path,
            "too-early",
            f"`{var.name}` is not known yet",
            f"it is known {_PHASE_WORDS[variable.phase]}, and this is used {_PHASE_WORDS[phase]}",
        )


def _check_call(found: Findings, path: str, call: Call) -> None:
    function = FUNCTIONS.get(call.function)
    if function is None:
        hint = did_you_mean(call.function, list(FUNCTIONS))
        found.error(path, "unknown-function", f"there is no function `{call.function}`", hint)
        return
    if len(call.arguments) != len(function.arguments):
        count = len(function.arguments)
        plural = "" if count == 1 else "s"
        found.error(path, "argument", f"`{call.function}` takes {count} argument{plural}, not {len(call.arguments)}")
        return
    for wanted, argument in zip(function.arguments, call.arguments, strict=True):
        kind = kind_of(argument)
        is_other = (kind is Kind.TEST) != (wanted is Kind.TEST) or (kind is Kind.LIST and wanted is not Kind.LIST)
        if is_other or (wanted is Kind.NUMBER and kind is not Kind.NUMBER):
            found.error(path, "wrong-kind", f"`{call.function}` takes a {wanted.value}, not a {kind_of(argument).value}")
    if call.function in ("existing", "executable") and not (isinstance(call.arguments[0], Const) and call.arguments[0].value):
        found.error(path, "argument", f"the directory of `{call.function}` is a fixed text")
    if call.function == "capture":
        _check_capture(found, path, call.arguments[1], call.arguments[2])
    elif call.function in _FIXED:
        _check_fixed(found, path, call)


_DIGESTS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
_SUMS = ("crc32", "crc32c", "djb2", "sdbm", "wt6", "murmur2")
_XXHASHES = ("xxh32", "xxh64", "xxh3")
_CHUNKS = ("hex", "decimal", "whole-hex", "whole-decimal")
_FORMS = ("merge-slashes", "strip-dot", "strip-dotdot", "strip-dotdot-full", "sort-by-name", "decode-unreserved", "to-uppercase")
_JSON_PLACE = re.compile(r"\$?(?:\.[A-Za-z0-9_$-]+|\[\d{1,6}\]|\['[^']*'\]|\[\"[^\"]*\"\])+")
_FIXED = {
    "digest": (1,),
    "hmac": (1,),
    "checksum": (1,),
    "xxhash": (1, 2),
    "chunks": (3, 1, 2),
    "preferred": (1, 2),
    "set_cookie_values": (1,),
    "joined": (1,),
    "field": (1, 2, 3),
    "word": (1, 2, 3),
    "slice": (1, 2),
    "trim_start": (1,),
    "trim_end": (1,),
    "replace": (1, 2, 3),
    "mask": (1, 2),
    "replace_items": (1,),
    "normalize": (1,),
    "format_date": (1, 2),
    "json_value": (1,),
    "is_user": (1,),
    "item_at": (1,),
    "behind_proxies": (2, 3),
    "expiry": (2,),
    "form_values": (1, 2),
    "form_texts": (1,),
    "cookie_values": (1,),
}
"""Arguments of functions that are known beforehand: they say how the first one is read."""


def _check_fixed(found: Findings, path: str, call: Call) -> None:
    name = call.function
    given = [call.arguments[at] for at in _FIXED[name]]
    fixed = [each.value for each in given if isinstance(each, Const)]
    if len(fixed) < len(given):
        found.error(path, "argument", f"only the first argument of `{name}` may differ from request to request")
        return
    known = (
        _DIGESTS
        if name in ("digest", "hmac")
        else {"checksum": _SUMS, "xxhash": _XXHASHES, "normalize": _FORMS, "chunks": _CHUNKS}.get(name, ())
    )
    if known and fixed[0] not in known:
        found.error(path, "argument", f"`{fixed[0]}` is unknown to `{name}`", f"known are {', '.join(known)}")
    if name in ("field", "word") and (fixed[0] == 0 or not fixed[2]):
        found.error(path, "argument", f"`{name}` counts from 1, and needs separators")
    if name == "mask" and not all(isinstance(bits, int) and 0 <= bits <= most for bits, most in zip(fixed, (32, 128), strict=True)):
        found.error(path, "argument", "an address has not so many bits", "up to 32 of IPv4, and up to 128 of IPv6")
    if name == "behind_proxies":
        for network in str(fixed[0]).split(","):
            _check_network(found, path, network)
        if fixed[1] not in ("last", "all"):
            found.error(path, "argument", f"`{fixed[1]}` is neither `last` nor `all`")
    if name == "expiry" and fixed[0] not in ("date", "control"):
        found.error(path, "argument", f"`{fixed[0]}` is neither `date` nor `control`")
    if name == "is_user":
        for line in str(fixed[0]).split("\n"):
            user, colon, secret = line.partition(":")
            if not user or not colon or not is_secret(secret):
                found.error(path, "bad-hash", f"`{user}` has no password that is stored in a way that is known here")
    if name == "json_value" and not _JSON_PLACE.fullmatch(str(fixed[0])):
        found.error(path, "argument", f"`{fixed[0]}` is no place of a document", "write `$.user.roles[0]`")
    if name == "chunks" and not (isinstance(fixed[2], int) and fixed[2] > 0):
        found.error(path, "argument", "`chunks` needs a number of bytes above 0")
    if name == "item_at" and fixed[0] == 0:
        found.error(path, "argument", "`item_at` counts from 1, or from the end from -1")
    if name == "form_values" and not fixed[1]:
        found.error(path, "argument", "`form_values` needs characters that end a pair")
    if name == "format_date" and fixed[1] not in ("local", "utc"):
        found.error(path, "argument", f"`{fixed[1]}` is neither `local` nor `utc`")
    if name in ("replace", "replace_items"):
        check_pattern(found, path, str(fixed[0]))


def _check_capture(found: Findings, path: str, pattern: Expr, group: Expr) -> None:
    """A pattern is compiled once, so it must be known beforehand, and so must its group."""
    if not isinstance(pattern, Const) or not isinstance(group, Const):
        found.error(path, "argument", "the pattern and the group of `capture` are fixed texts")
        return
    try:
        compiled = re.compile(str(pattern.value))
    except (re.error, OverflowError, RecursionError):
        check_pattern(found, path, str(pattern.value))
        return
    name = str(group.value)
    has_number = name.isascii() and name.isdigit() and len(name) < 4 and int(name) <= compiled.groups
    if not has_number and name not in compiled.groupindex:
        found.error(path, "argument", f"`{pattern.value}` has no group `{name}`")


def _check_compare(found: Findings, path: str, compare: Compare) -> None:
    kinds = (kind_of(compare.left), kind_of(compare.right))
    if Kind.TEST in kinds:
        found.error(path, "wrong-kind", "a test cannot be compared", "it is true or false already; use `not`")
    elif (Kind.NUMBER in kinds or compare.op not in ("==", "!=")) and kinds != (Kind.NUMBER, Kind.NUMBER):
        found.error(path, "wrong-kind", f"`{compare.op}` compares two numbers here, and one side is none")
