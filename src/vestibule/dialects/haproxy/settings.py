"""What a proxy says once: time-outs, limits.

Facts: HAProxy waits for ever where no time-out is given, and warns of it.

Rules: where nothing is said, vestibule's own limits of time hold, with a warning; the last of several lines counts.

Not here: rules (``rules``), logs (``logs``), listeners (``listen``), servers (``servers``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from vestibule.dialects.haproxy.lexer import Line
from vestibule.dialects.haproxy.quantity import parse_time
from vestibule.dialects.haproxy.report import Report
from vestibule.dialects.haproxy.tree import Section, Statement
from vestibule.model.config import Compression, Pool, Retry, Timeouts
from vestibule.model.diagnostic import did_you_mean
from vestibule.model.quantity import parse_local_address
from vestibule.model.upstream import RetryCause

USUAL = Timeouts(hold_ms=0)
"""HAProxy does not have requests wait for a server that cannot be reached."""

_TRIES = 4
"""``retries`` is 3 unless said."""
_NO_BUDGET = 10_000

_CAUSES: dict[str, RetryCause] = {
    "conn-failure": "connect",
    "empty-response": "lost",
    "response-timeout": "timeout",
    "junk-response": "invalid",
}
_RETRY_STATUSES = ("401", "403", "404", "408", "425", "500", "501", "502", "503", "504")


_REUSE: dict[str, Literal["shared", "proven", "safe", "private"]] = {"never": "private", "safe": "safe", "aggressive": "proven"}


class Settings:
    """The statements that hold for one proxy, inherited ones first."""

    def __init__(self, section: Section, report: Report) -> None:
        self.section = section
        self.statements = section.effective()
        self._report = report

    def last(self, *names: str) -> Statement | None:
        """Return the last statement of these names; None if ``no`` took it back."""
        found = [each for each in self.statements if each.name in names]
        return None if not found or found[-1].negated else found[-1]

    def all(self, name: str) -> list[Statement]:
        """Return the statements of a name, or of a family of rules."""
        return [each for each in self.statements if each.name == name or each.name.startswith(name + " ")]

    def has(self, *names: str) -> bool:
        """Tell whether one of these options holds."""
        return any(self.last(name) is not None for name in names)

    # ------------------------------------------------------------ numbers and times

    def number(self, name: str) -> int | None:
        """Return the number of a statement; None where there is none or 0, which means no limit."""
        statement = self.last(name)
        if statement is None:
            return None
        text = "".join(statement.arguments()[:1])
        if not text.isdecimal() or len(text) > 9:
            self._report.error(statement.line, statement.first, "bad-value", f"`{text}` is no number", f"write `{name} 100`")
            return None
        return int(text) or None

    def time(self, name: str) -> int | None:
        """Return a time-out in milliseconds; None where none is given."""
        return self.delay(f"timeout {name}")

    def delay(self, name: str) -> int | None:
        """Return the time that a statement says, in milliseconds; None where there is none."""
        statement = self.last(name)
        if statement is None:
            return None
        text = "".join(statement.arguments()[:1])
        try:
            return parse_time(text)
        except ValueError as bad:
            self._report.error(statement.line, statement.first, "bad-value", str(bad), "write `30s` or `10m`")
            return None

    def warn_of_missing(self, *names: str) -> None:
        """Tell of time-outs that are not given, as HAProxy does."""
        missing = [f"`timeout {name}`" for name in names if self.last(f"timeout {name}") is None]
        if missing:
            self._report.warning(
                self.section.head,
                0,
                "missing-timeouts",
                f"{self.section.kind} `{self.section.name}` has no {' and no '.join(missing)}",
                "vestibule's own limits hold instead",
            )

    # ------------------------------------------------------------ what it comes to

    def pool(self) -> Pool:
        """Return how connections to the servers are kept."""
        pool = Pool()
        reuse = self.last("http-reuse")
        if reuse is not None and reuse.arguments()[:1] not in (["never"], ["safe"], ["aggressive"], ["always"]):
            self._report.error(
                reuse.line, reuse.first, "bad-value", "this is no way to reuse connections", "write never, safe, aggressive or always"
            )
        if reuse is not None and reuse.arguments()[:1] != ["always"]:
            pool = replace(pool, reuse=_REUSE.get("".join(reuse.arguments()[:1]), "shared"))
        if self.has("option http-server-close", "option httpclose", "option forceclose"):
            pool = replace(pool, max_idle=0)
        source = self.last("source")
        if source is not None:
            text, more = (*source.arguments(), "", "")[:2]
            pool = replace(pool, local_address=read_source(text, source.line, source.first, self._report))
            if more:
                advice = "tell servers of clients by `option forwardfor` or `send-proxy`"
                self._report.not_built(source.line, source.first + 1, f"`source … {more}`", advice)
        wait = self.time("queue")
        return pool if wait is None else replace(pool, wait_ms=wait)

    def retry(self) -> Retry:
        """Return how often a request is tried, and after what."""
        statement = self.last("retries")
        retry = Retry(_TRIES, ("connect",))
        if statement is not None:
            text = "".join(statement.arguments()[:1])
            if not text.isdecimal() or len(text) > 4:
                self._report.error(statement.line, statement.first, "bad-value", f"`{text}` is no number", "write `retries 3`")
            else:
                retry = replace(retry, attempts=int(text) + 1)
        return self._causes(retry)

    def _causes(self, retry: Retry) -> Retry:
        """Read ``retry-on``."""
        statement = self.last("retry-on")
        if statement is None:
            return retry
        causes: list[RetryCause] = []
        statuses: list[int] = []
        for at, word in enumerate(statement.arguments()):
            if word == "all-retryable-errors":
                causes.extend(["connect", "lost", "timeout", "invalid"])
                statuses.append(500)
                statuses.extend([502, 503, 504])
            elif word in _CAUSES:
                causes.append(_CAUSES[word])
            elif word in _RETRY_STATUSES:
                statuses.append(int(word))
            elif word not in ("none", "0rtt-rejected"):
                hint = did_you_mean(word, [*_CAUSES, "all-retryable-errors", "none"])
                self._report.error(statement.line, statement.first + at, "bad-value", f"`{word}` is nothing to try again on", hint)
        on = tuple(dict.fromkeys(causes))
        # HAProxy tries again whatever the share of requests that fail.
        budget = _NO_BUDGET if statuses or on not in ((), ("connect",)) else retry.budget
        return replace(retry, on=on, statuses=tuple(dict.fromkeys(statuses)), budget=budget)

    def connection_timeouts(self) -> Timeouts | None:
        """Return the time-outs of client connections; None where they are vestibule's own."""
        client = self.time("client")
        head = self.time("http-request") or client
        idle = self.time("http-keep-alive") or head
        usual = USUAL
        found = replace(usual, request_head_ms=head or usual.request_head_ms, keep_alive_ms=idle or usual.keep_alive_ms)
        return None if found == usual else found


def exchange_timeouts(front: Settings, back: Settings | None) -> Timeouts:
    """Return the time-outs of exchanges between a frontend and a backend.

    The model has one limit for silence in bodies, so the longer of both sides' holds.
    """
    usual = USUAL
    client = front.time("client")
    server = back.time("server") if back is not None else None
    connect = back.time("connect") if back is not None else None
    tunnel = (back.time("tunnel") if back is not None else None) or front.time("tunnel")
    if tunnel is None and client is not None and server is not None:
        tunnel = max(client, server)
    return replace(
        usual,
        connect_ms=connect or usual.connect_ms,
        body_idle_ms=max(client or usual.body_idle_ms, server or usual.body_idle_ms),
        response_head_ms=server or usual.response_head_ms,
        tunnel_idle_ms=tunnel or usual.tunnel_idle_ms,
    )


def compression_of(settings: Settings, report: Report) -> Compression | None:
    """Return what is compressed; None for nothing. HAProxy compresses any type unless some are named."""
    algorithms: list[str] = []
    types: list[str] = []
    for statement in settings.all("compression"):
        words = statement.arguments()
        kind = "".join(words[:1]).removesuffix("-res")
        if kind == "algo":
            algorithms = words[1:]
        elif kind == "type":
            types.extend([word.lower() for word in words[1:]])
        elif kind not in ("offload", "direction", "minsize"):
            hint = did_you_mean(kind, ("algo", "type", "offload"))
            report.error(statement.line, statement.first, "syntax", f"`compression {kind}` is unknown", hint)
        if kind == "algo" and not {"gzip", "identity"} & set(words[1:]):
            report.not_built(statement.line, statement.first + 1, f"`{' '.join(words[1:])}`", "write `compression algo gzip`")
        elif kind == "algo" and {"deflate", "raw-deflate"} & set(words[1:]):
            message = "`deflate` is left out; every client that takes it takes gzip"
            report.warning(statement.line, statement.first + 1, "left-out", message, "leave it out")
    if "gzip" not in algorithms:
        return None
    return Compression(tuple([f"{each.removesuffix('/')}/*" if each.endswith("/") else each for each in types]) or ("*",), 0, 1)


def read_source(text: str, line: Line, at: int, report: Report) -> str:
    """Return the address that ``source`` says connections are made from, its word standing at `at`; empty for any."""
    host, colon, port = text.rpartition(":")
    if not colon or text == "::":
        host, port = text, ""
    if port not in ("", "0"):
        report.not_built(line, at, "a `source` with ports", "write the address alone; one of IPv6 has brackets, or a colon behind it")
        return ""
    if host in ("*", "0.0.0.0", "::", "[::]"):
        return ""
    try:
        return parse_local_address(host)
    except ValueError as bad:
        report.error(line, at, "bad-address", str(bad), "write an address of this machine")
        return ""
