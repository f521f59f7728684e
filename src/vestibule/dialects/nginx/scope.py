"""Blocks inside blocks: what holds at a place of the file, and whether every directive may stand where it stands.

Facts: most directives are inherited one by one from the nearest block outside; those that may be repeated (``proxy_set_header``,
``add_header``, ``allow`` with ``deny``) are inherited as a whole, and only where the block has none of its own.

Rules: ``prune`` notes every mistake of place, number and name, and hands on what is supported, so that what follows never
meets a directive it does not know.

Not here: what directives mean (``lower`` and its neighbours).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from vestibule.dialects.nginx.directives import DIRECTIVES, FOREIGN_PREFIXES, IDLE_PREFIXES, STREAM, How, Row
from vestibule.dialects.nginx.tree import Directive
from vestibule.dialects.nginx.values import parse_count, parse_flag, parse_size, parse_time
from vestibule.dialects.record import Record
from vestibule.model.diagnostic import did_you_mean

T = TypeVar("T")

_REPEATED = (
    "server listen server_name location return rewrite if set break map geo upstream proxy_set_header proxy_redirect proxy_hide_header"
    " proxy_pass_header limit_except set_real_ip_from allow deny add_header ssl_certificate ssl_certificate_key ssl_conf_command"
    " add_trailer split_clients access_log log_format http events error_log error_page types"
    " limit_req limit_conn limit_req_zone limit_conn_zone auth_request_set proxy_cookie_domain proxy_cookie_path proxy_cookie_flags"
    " sub_filter"
)
_REPEATABLE = frozenset(_REPEATED.split())

_FREE = frozenset(("map", "geo", "types", "split_clients"))
"""Blocks whose lines are entries and not directives."""

_MAIN_ONLY = frozenset(("http", "events", "stream", "mail"))

_STREAMS = "bodies stream, whatever is said here"
_FIXED: dict[str, tuple[str, bool, str]] = {
    "proxy_http_version": ("1.1", False, "upstreams are spoken to in HTTP/1.1"),
    "proxy_buffering": ("off", False, _STREAMS),
    "proxy_request_buffering": ("off", False, _STREAMS),
    "proxy_max_temp_file_size": ("0", False, "no temporary files are written"),
    "disable_symlinks": ("off", True, "symbolic links are followed; whoever may make one in the directory decides what is served"),
    "ssl_ocsp": ("off", True, "name a list of revoked certificates by `ssl_crl`"),
    "proxy_cache": ("off", False, "nothing is cached"),
    "proxy_ssl_server_name": ("on", False, "the name of the upstream is always sent"),
}
"""Directives of which one value is what vestibule does; whether another is an error, and what is to say of it."""

_WORDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "satisfy": (("all", "any"),),
    "gzip_static": (("on", "off", "always"),),
    "brotli_static": (("on", "off", "always"),),
    "random": (("two",), ("least_conn", "least_time", "least_time=header", "least_time=last_byte")),
    "least_time": (("header", "last_byte"), ("inflight",)),
}
"""Directives whose arguments are some of a few words."""

_LEFT_OUT: dict[tuple[str, str], tuple[int, str]] = {
    ("keepalive_requests", "upstream"): (0, "how many requests a connection to a server carries is left to the server"),
}
"""Directives, in a context if it is named, of which the arguments from one on have no effect; and why."""

_NO_DIRECTIVES = frozenset(("http2_push", "spdy_headers_comp"))


def outer_context(directives: Iterable[Directive]) -> str:
    """Return the context of the top of a file: ``http`` for the fragments people keep in ``conf.d``, else ``main``."""
    return "main" if any(each.name in _MAIN_ONLY for each in directives) else "http"


class Pruner:
    """Checks a tree against the table."""

    def __init__(self, record: Record, table: Mapping[str, Row] = DIRECTIVES) -> None:
        self._record = record
        self._table = table
        self._warned: set[str] = set()

    def prune(self, directives: Iterable[Directive], context: str) -> tuple[Directive, ...]:
        """Return what is supported among directives that stand in a context, blocks included."""
        kept: list[Directive] = []
        seen: set[str] = set()
        for directive in directives:
            row = self._table.get(directive.name)
            if row is None or not self._fits(directive, row, context):
                if row is None:
                    self._unknown(directive)
                continue
            if row.how is How.MISSING:
                self._record.error(directive.span, "not-built", f"`{directive.name}` is not supported", row.doc)
                continue
            if row.how is How.HARMLESS:
                self._left_out(directive, row)
                continue
            if directive.name in seen and directive.name not in _REPEATABLE:
                self._record.error(directive.span, "duplicate", f"`{directive.name}` is here twice", "take one of them away")
                continue
            if directive.name == "error_log" and context in ("server", "location"):
                self._record.warning(
                    directive.span, "left-out", "this `error_log` is left out", "there is one, that of the outermost level"
                )
                continue
            seen.add(directive.name)
            self._check_fixed(directive)
            self._check_words(directive, context)
            kept.append(self._inside(directive, row))
        return tuple(kept)

    def _check_fixed(self, directive: Directive) -> None:
        value, is_error, message = _FIXED.get(directive.name, (directive.text(), False, ""))
        if directive.text() == value:
            return
        if is_error:
            self._record.error(directive.place(0), "not-built", f"`{directive.name} {directive.text()}` is not supported", message)
        else:
            self._record.warning(directive.place(0), "left-out", f"`{directive.name} {directive.text()}` has no effect", message)

    def _check_words(self, directive: Directive, context: str) -> None:
        """Note arguments that are none of those known, and those that have no effect."""
        for at, words in enumerate(_WORDS.get(directive.name, ())):
            if directive.text(at) and directive.text(at) not in words:
                known = " or ".join(f"`{word}`" for word in words)
                self._record.error(directive.place(at), "bad-value", f"`{directive.text(at)}` is unknown here", f"write {known}")
        if directive.name == "proxy_ignore_headers" and "x-accel-redirect" not in [text.lower() for text in directive.texts]:
            self._record.warning(directive.span, "left-out", f"`{directive.name}` is left out", "nothing is cached")
        for place in ("", context):
            first, message = _LEFT_OUT.get((directive.name, place), (len(directive.args), ""))
            if first < len(directive.args):
                self._record.warning(directive.place(first), "left-out", f"`{directive.text(first)}` has no effect", message)

    def _inside(self, directive: Directive, row: Row) -> Directive:
        if directive.block is None or directive.name in _FREE:
            return directive
        if directive.name == "stream":
            kept = Pruner(self._record, STREAM).prune(directive.block, "stream")
            return Directive(directive.name, directive.args, directive.span, kept)
        context = "stream server" if self._table is STREAM and row.name == "server" else row.name
        return Directive(directive.name, directive.args, directive.span, self.prune(directive.block, context))

    def _fits(self, directive: Directive, row: Row, context: str) -> bool:
        """Check place, number of arguments and block of a directive."""
        name = directive.name
        if name == "server" and context == "upstream":
            return self._server_of_upstream(directive)
        if context not in row.contexts and not (context == "if" and name == "if"):
            where = ", ".join(f"`{each}`" for each in row.contexts)
            self._record.error(directive.span, "wrong-place", f"`{name}` cannot stand in `{context}`", f"it belongs into {where}")
            return False
        if row.block and directive.block is None:
            self._record.error(directive.span, "no-block", f"`{name}` needs a block", f"write `{name} {{ ... }}`")
            return False
        if not row.block and directive.block is not None:
            self._record.error(directive.span, "no-block", f"`{name}` has no block", "a `;` is missing")
            return False
        if not row.accepts(len(directive.args)):
            wanted = {"flag": "`on` or `off`", "0": "no argument"}.get(row.takes, f"{_words(row.takes)}")
            self._record.error(directive.span, "arguments", f"`{name}` takes {wanted}, and has {len(directive.args)} here")
            return False
        if row.takes == "flag" and directive.text() not in ("on", "off"):
            message = f"`{name}` is `on` or `off`, not `{directive.text()}`"
            self._record.error(directive.place(0), "bad-value", message)
            return False
        return True

    def _server_of_upstream(self, directive: Directive) -> bool:
        if directive.block is not None or not directive.args:
            self._record.error(directive.span, "arguments", "a `server` of an upstream is an address with its options")
            return False
        return True

    def _unknown(self, directive: Directive) -> None:
        name = directive.name
        if name.startswith(IDLE_PREFIXES):
            family = name.partition("_")[0]
            if family not in self._warned:
                self._warned.add(family)
                what = f"`{name}` is left out, as all of its kind"
                self._record.warning(directive.span, "left-out", what, f"without `{family}_pass` they mean nothing")
            return
        if name.startswith(FOREIGN_PREFIXES) or name in _NO_DIRECTIVES:
            hint = "it belongs to what vestibule does not serve; take it out, or keep nginx for this part"
            self._record.error(directive.span, "not-built", f"`{name}` is not supported", hint)
            return
        near = did_you_mean(name, list(self._table))
        hint = near if near.startswith("did") else "check its spelling; modules of others are not supported"
        self._record.error(directive.span, "unknown-directive", f"there is no directive `{name}`", hint)

    def _left_out(self, directive: Directive, row: Row) -> None:
        if directive.name not in self._warned:
            self._warned.add(directive.name)
            self._record.warning(directive.span, "left-out", f"`{directive.name}` is left out", row.doc)


def _words(takes: str) -> str:
    if takes.endswith("+"):
        return f"at least {takes[:-1]} argument{'' if takes == '1+' else 's'}"
    if "-" in takes:
        return f"{takes.replace('-', ' to ')} arguments"
    return f"{takes} argument{'' if takes == '1' else 's'}"


class Scope:
    """The directives of one block, and of those around it."""

    def __init__(self, record: Record, directives: Iterable[Directive], outer: Scope | None = None) -> None:
        self.record = record
        self.outer = outer
        self.directives = tuple(directives)
        self._by_name: dict[str, list[Directive]] = {}
        for each in self.directives:
            self._by_name.setdefault(each.name, []).append(each)
        self.prefix = ""
        """The path of a location that has one."""
        self.exact = False

    def own(self, *names: str) -> list[Directive]:
        """Return the directives of this block that have one of these names, in order."""
        known = [name for name in names if name in self._by_name]
        if len(known) < 2:
            return list(self._by_name[known[0]]) if known else []
        return [each for each in self.directives if each.name in known]

    def nearest(self, *names: str) -> list[Directive]:
        """Return the directives of these names of the nearest block that has any."""
        found = self.own(*names)
        return found if found or self.outer is None else self.outer.nearest(*names)

    def find_all(self, name: str) -> tuple[str, ...]:
        """Return all arguments of the directive of this name that holds here."""
        found = self.find(name)
        return found.texts if found is not None else ()

    def find(self, name: str) -> Directive | None:
        """Return the directive of this name that holds here, or None."""
        found = self.nearest(name)
        return found[0] if found else None

    def size(self, name: str, default: int) -> int:
        """Return a size that holds here."""
        return self._value(name, parse_size, default)

    def time(self, name: str, default: int) -> int:
        """Return a time that holds here, in milliseconds."""
        return self._value(name, parse_time, default)

    def count(self, name: str, default: int) -> int:
        """Return a number that holds here."""
        return self._value(name, parse_count, default)

    def flag(self, name: str, default: bool) -> bool:
        """Tell whether something is on here."""
        return self._value(name, parse_flag, default)

    def text(self, name: str, default: str = "") -> str:
        """Return the first argument of a directive that holds here."""
        found = self.find(name)
        return default if found is None else found.text()

    def _value(self, name: str, parse: Callable[[str], T], default: T) -> T:
        found = self.find(name)
        if found is None:
            return default
        try:
            return parse(found.text())
        except ValueError as bad:
            self.record.error(found.place(0), "bad-value", str(bad))
            return default
