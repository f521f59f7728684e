"""``key=value`` behind addresses: of ``ProxyPass``, ``BalancerMember`` and ``ProxySet``.

Facts: behind ``balancer://`` the keys are a balancer's, else a worker's, as httpd calls a server. A time without a unit is seconds,
but for ``acquire``, ``flushwait`` and the like, which are milliseconds.

Rules: a key is used, or changes nothing that a user could see (``QUIET``), or is an error.

Not here: what comes of them (``upstreams``).
"""

from __future__ import annotations

from dataclasses import dataclass

from vestibule.dialects.apache.scope import not_built, parse_count, parse_flag, parse_time
from vestibule.dialects.apache.tree import Directive
from vestibule.dialects.record import Record
from vestibule.model.diagnostic import Span, did_you_mean

HEALTH = ("hcmethod", "hcuri", "hcinterval", "hcpasses", "hcfails", "hcexpr", "hctemplate")
WORKER = (
    "loadfactor", "status", "lbset", "route", "retry", "timeout", "connectiontimeout", "max", "acquire", "ttl", "disablereuse",
    "enablereuse", *HEALTH,
)  # fmt: skip
BALANCER = (
    "lbmethod", "stickysession", "stickysessionsep", "nofailover", "maxattempts", "failonstatus",
)  # fmt: skip
QUIET = (
    "upgrade", "keepalive", "flushpackets", "flushwait", "iobuffersize", "receivebuffersize", "responsefieldsize", "min", "smax", "ping",
    "addressttl", "growth", "nonce", "failontimeout", "forcerecovery", "scolonpathdelim", "timeout", "bufsize",
)  # fmt: skip
"""What vestibule does by itself, or what only tunes httpd's inside."""

_BARE = ("nocanon", "noquery")
_NOT_BUILT = {
    "redirect": "name another `route` for the member",
    "secret": "only HTTP upstreams are spoken to",
    "interpolate": "write the path as it is",
    "mapping": "write the path as it is",
}


@dataclass(frozen=True, slots=True)
class Option:
    """One value with its place."""

    text: str
    span: Span


class Options:
    """The options of one server, of one balancer, or of one ``ProxyPass``. Mistakes in values are noted, and the default taken."""

    def __init__(self, record: Record, given: dict[str, Option] | None = None) -> None:
        self._record = record
        self.given = given or {}

    def over(self, other: Options) -> Options:
        """Return these options where they say something, else those of another."""
        return Options(self._record, {**other.given, **self.given})

    def text(self, key: str) -> str:
        """Return a value; empty where it is not given."""
        found = self.given.get(key)
        return found.text if found is not None else ""

    def time(self, key: str, unit: int = 1) -> int | None:
        """Return a time in milliseconds, None where it is not given. ``unit`` is what a second of a bare number is worth."""
        found = self.given.get(key)
        if found is None:
            return None
        try:
            made = parse_time(found.text)
        except ValueError as bad:
            self._record.error(found.span, "bad-value", str(bad))
            return None
        return made // unit if found.text.isdecimal() else made

    def count(self, key: str) -> int | None:
        """Return a number, None where it is not given."""
        found = self.given.get(key)
        try:
            return None if found is None else parse_count(found.text)
        except ValueError as bad:
            assert found is not None
            self._record.error(found.span, "bad-value", str(bad))
            return None

    def flag(self, key: str) -> bool | None:
        """Return ``On`` or ``Off``, None where it is not given."""
        found = self.given.get(key)
        try:
            return None if found is None else parse_flag(found.text)
        except ValueError as bad:
            assert found is not None
            self._record.error(found.span, "bad-value", str(bad))
            return None

    def not_built(self, key: str, what: str, hint: str) -> None:
        """Note that a value cannot be done."""
        self._record.error(self.given[key].span, "not-built", f"{what} is not built yet", hint)


def read_options(record: Record, directive: Directive, first: int, known: tuple[str, ...]) -> Options:
    """Read the arguments of a directive from one on; those that mean nothing are noted."""
    found: dict[str, Option] = {}
    for at in range(first, len(directive.args)):
        word = directive.args[at]
        key, equals, value = word.text.partition("=")
        key = key.lower()
        if not equals and key in _BARE:
            if key == "noquery":
                not_built(record, directive, at, "`noquery`", "take it out")
            continue
        if equals and key in _NOT_BUILT:
            not_built(record, directive, at, f"`{key}`", _NOT_BUILT[key])
        elif not equals or key not in (*known, *QUIET):
            near = did_you_mean(key, [*known, *QUIET])
            hint = near if near.startswith("did") else ""
            record.error(word.span, "unknown-option", f"`{word.text}` is no option here", hint)
        else:
            found[key] = Option(value, word.span)
    return Options(record, found)
