"""How ``reverse_proxy`` shares requests among its servers: ``lb_*``, ``health_*``, ``fail_duration`` and its kin, ``dynamic``.

Facts (Caddy's documentation, "reverse_proxy"): a server is chosen at random unless ``lb_policy`` says otherwise; servers are
asked how they are only with ``health_uri`` or ``health_port``, and left out for failures only with ``fail_duration``.
``lb_try_duration`` lets requests wait for a server to come back. A cookie is named ``lb``; a status of ``2xx`` is a class.

Rules: the random choice is in turn here, which shares more evenly and shows nobody anything else.

Not here: servers and transports (``proxy``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from vestibule.dialects.caddy.lexer import Token
from vestibule.dialects.caddy.quantity import parse_duration
from vestibule.dialects.caddy.report import Report, near
from vestibule.dialects.caddy.tree import Segment
from vestibule.model.config import Balance, HealthCheck, Passive, Retry, Server, Sticky
from vestibule.model.expr import Const, Default, Expr, Var
from vestibule.model.quantity import parse_port, parse_server_host

_RANDOM = Balance()
_HASHED: dict[str, Expr] = {
    "ip_hash": Var("peer_ip"),
    "client_ip_hash": Var("client_ip"),
    "uri_hash": Var("target"),
}
_KEYED = {"query": "arg", "header": "header"}

POLICIES = (
    "random",
    "random_choose",
    "round_robin",
    "weighted_round_robin",
    "least_conn",
    "first",
    *_HASHED,
    *_KEYED,
    "cookie",
)

_EVERY_MS = 30_000
_WITHIN_MS = 5_000

_DNS_LEFT_OUT = {
    "refresh": "names are looked up again when what DNS said of them ends",
    "resolvers": "names are looked up by the system",
    "dial_timeout": "names are looked up by the system",
    "dial_fallback_delay": "both families of addresses are tried",
    "grace_period": "what was known of a name serves until it is known anew",
    "versions": "both families of addresses are used",
}

_HEALTH = (
    "health_uri",
    "health_path",
    "health_port",
    "health_interval",
    "health_passes",
    "health_fails",
    "health_timeout",
    "health_method",
    "health_status",
    "health_body",
    "health_headers",
    "health_request_body",
)

_PASSIVE = ("fail_duration", "max_fails", "unhealthy_status", "unhealthy_latency", "unhealthy_request_count")


@dataclass(slots=True)
class Sharing:
    """What one ``reverse_proxy`` says of choosing among servers."""

    balance: Balance = _RANDOM
    sticky: Sticky | None = None
    retry: Retry = field(default_factory=Retry)
    passive: Passive = field(default_factory=Passive)
    hold_ms: int = 0
    weights: tuple[Token, ...] = ()
    most: int | None = None
    """Requests that one server may have at a time."""
    health: HealthCheck | None = None
    check: HealthCheck = field(default_factory=lambda: HealthCheck("http", interval_ms=_EVERY_MS, timeout_ms=_WITHIN_MS, rise=1, fall=1))
    """The health check as far as it is said; it is carried out once it is asked for."""
    retries: int = 0
    fails: Token | None = None
    """What says which answers count as failures, and that has an effect only if failures are counted."""
    counts: bool = False


class SharingReader:
    """Reads these lines of one file."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def line(self, found: Sharing, line: Segment) -> bool:
        """Read a line of ``reverse_proxy``; False if it is about something else."""
        if line.name == "lb_policy":
            self._policy(found, line)
        elif line.name == "lb_retries":
            found.retries = self.number(line, 0) or 0
            found.retry = replace(found.retry, attempts=found.retries + 1)
        elif line.name == "lb_try_duration":
            found.hold_ms = self._duration(line) or 0
        elif line.name in _PASSIVE:
            self._failures(found, line)
        elif line.name in _HEALTH:
            self._check(found, line)
        else:
            return False
        return True

    def finish(self, found: Sharing) -> Sharing:
        """Settle what depends on several lines."""
        if found.hold_ms or found.retries:
            # Whatever fails is tried again, if it may be; nothing limits how many tries there are in all.
            found.retry = replace(found.retry, on=("connect", "lost", "timeout", "invalid"), budget=100 * max(found.retries, 1))
        if found.fails is not None and not found.counts:
            self._report.left_out(found.fails, f"`{found.fails.text}`", "failures count with `fail_duration` only")
            found.passive = Passive()
        return found

    # ------------------------------------------------------------ choosing

    def _policy(self, found: Sharing, line: Segment) -> None:
        words = line.texts()
        policy = "".join(words[:1])
        argument = "".join(words[1:2])
        if policy not in POLICIES:
            self._report.error(line.token(1), "bad-value", f"there is no policy `{policy}`", near(policy, POLICIES))
        elif policy == "random_choose":
            found.balance = Balance("random_two")
            if argument not in ("", "2"):
                self._report.left_out(line.token(2), f"the number {argument}", "the less busy of two is taken")
        elif policy == "weighted_round_robin":
            found.weights = line.tokens[2:]
        elif policy == "least_conn":
            found.balance = Balance("least_connections")
        elif policy == "first":
            found.balance = Balance("first")
        elif policy in _HASHED:
            found.balance = Balance("hash", _HASHED[policy])
        elif policy in _KEYED and not argument:
            self._report.error(line.token(1), "missing", f"`{policy}` needs a name", f"write `lb_policy {policy} NAME`")
        elif policy in _KEYED:
            name = argument.lower() if policy == "header" else argument
            key: Expr = Var("host_port") if name == "host" and policy == "header" else Var(_KEYED[policy], name)
            found.balance = Balance("hash", Default(key, self._fallback(line)))
        elif policy == "cookie":
            self._cookie(found, line)

    def _fallback(self, line: Segment) -> Expr:
        """Return what is hashed where the key is missing; Caddy chooses at random there unless ``fallback`` says how."""
        for inner in line.inside():
            policy = "".join(inner.texts()[:1])
            if inner.name != "fallback":
                self._report.error(inner.head, "unknown-option", f"`{inner.name}` is unknown here", near(inner.name, ("fallback",)))
            elif policy in _HASHED:
                return _HASHED[policy]
            elif policy == "first":
                return Const("")
            elif policy not in ("random", "round_robin", "random_choose", "least_conn"):
                self._report.not_built(inner.token(1), f"the fallback `{policy}`", f"write {', '.join(_HASHED)} or `random`")
        return Var("request_id")

    def _cookie(self, found: Sharing, line: Segment) -> None:
        name = "".join(line.texts()[1:2]) or "lb"
        sticky = Sticky(cookie=name)
        if len(line.tokens) > 3:
            self._report.left_out(line.token(3), "the secret", "marks are signed with a key of the state directory")
        for inner in line.inside():
            if inner.name == "max_age":
                sticky = replace(sticky, max_age_s=(self._duration(inner) or 0) // 1_000)
            elif inner.name == "fallback":
                inside = Segment((inner.head, *inner.tokens[1:]), inner.block)
                self._policy(found, inside)
                if found.sticky is not None:
                    self._report.error(inner.token(1), "conflict", "a cookie cannot stand in for a cookie")
            else:
                self._report.error(
                    inner.head, "unknown-option", f"`{inner.name}` is unknown here", near(inner.name, ("fallback", "max_age"))
                )
        found.sticky = sticky

    def weigh(self, found: Sharing, servers: list[Server]) -> list[Server]:
        """Give servers their weights."""
        if not found.weights:
            return servers
        if len(found.weights) != len(servers):
            self._report.error(
                found.weights[0], "bad-value", f"{len(found.weights)} weights for {len(servers)} servers", "write one for each"
            )
            return servers
        weighed: list[Server] = []
        for token, server in zip(found.weights, servers, strict=True):
            if token.text == "0":
                weighed.append(replace(server, disabled=True))
            elif not token.text.isdecimal() or len(token.text) > 5 or int(token.text) > 65_535:
                self._report.error(token, "bad-value", f"`{token.text}` is no weight", "weights are from 0 to 65535")
            else:
                weighed.append(replace(server, weight=int(token.text)))
        return weighed

    # ------------------------------------------------------------ failures

    def _failures(self, found: Sharing, line: Segment) -> None:
        passive = found.passive
        if line.name == "fail_duration":
            window = self._duration(line)
            found.counts = True
            found.passive = replace(passive, window_ms=window) if window else replace(passive, max_fails=0)
        elif line.name == "max_fails":
            found.passive = replace(passive, max_fails=self.number(line, 1) or 0)
        elif line.name == "unhealthy_request_count":
            found.most = self.number(line, 1)
        elif line.name == "unhealthy_latency":
            found.passive, found.fails = replace(passive, latency_ms=self._duration(line) or 0), line.head
        else:
            found.passive, found.fails = replace(passive, statuses=self.statuses(line.tokens[1:])), line.head

    def statuses(self, tokens: tuple[Token, ...]) -> tuple[int, ...]:
        """Read statuses and classes of them, such as ``2xx``."""
        found: list[int] = []
        for token in tokens:
            if re.fullmatch("[1-5]xx", token.text):
                found.extend(range(int(token.text[0]) * 100, int(token.text[0]) * 100 + 100))
            elif re.fullmatch("[1-5]", token.text):
                found.extend(range(int(token.text) * 100, int(token.text) * 100 + 100))
            elif re.fullmatch("[1-5][0-9][0-9]", token.text):
                found.append(int(token.text))
            else:
                self._report.error(token, "bad-value", f"`{token.text}` is no status", "write `200` or `2xx`")
        return tuple(dict.fromkeys(found))

    # ------------------------------------------------------------ health

    def _check(self, found: Sharing, line: Segment) -> None:
        check = found.check
        value = "".join(line.texts()[:1])
        if line.name in ("health_uri", "health_path"):
            check = replace(check, path=value if value.startswith("/") else f"/{value}")
        elif line.name == "health_port":
            check = replace(check, port=self.number(line, 1) or 0)
        elif line.name == "health_interval":
            check = replace(check, interval_ms=self._duration(line) or _EVERY_MS)
        elif line.name == "health_timeout":
            check = replace(check, timeout_ms=self._duration(line) or _WITHIN_MS)
        elif line.name in ("health_passes", "health_fails"):
            count = self.number(line, 1) or 1
            check = replace(check, rise=count) if line.name == "health_passes" else replace(check, fall=count)
        elif line.name == "health_method":
            check = replace(check, method=value.upper() or "GET")
        elif line.name == "health_status":
            check = replace(check, statuses=tuple([each for each in self.statuses(line.tokens[1:]) if each >= 200]))
        elif line.name == "health_body":
            check = self._check_body(check, line.token(1).text)
        elif line.name == "health_request_body":
            check = replace(check, content=value)
        else:
            check = self._check_headers(check, line)
        found.check = check
        if found.health is not None or line.name in ("health_uri", "health_path", "health_port"):
            found.health = replace(check, fast_ms=check.interval_ms)

    @staticmethod
    def _check_body(check: HealthCheck, pattern: str) -> HealthCheck:
        """Have an answer looked at for a regular expression, or for a text where that says the same."""
        if re.fullmatch(r"(?:[^\\.*+?()\[\]{}|^$]|\\[^A-Za-z0-9])*", pattern):
            return replace(check, body=re.sub(r"\\(.)", r"\1", pattern), pattern="")
        return replace(check, pattern=pattern, body="")

    @staticmethod
    def _check_headers(check: HealthCheck, line: Segment) -> HealthCheck:
        for inner in line.inside():
            # Of several hosts Caddy takes the first.
            if inner.name.lower() == "host" and len(inner.tokens) > 1:
                check = replace(check, host=inner.token(1).text)
            else:
                check = replace(check, headers=(*check.headers, *[(inner.name, value) for value in inner.texts()]))
        return check

    # ------------------------------------------------------------ names that are many servers

    def dynamic(self, line: Segment) -> list[Server]:
        """Read ``dynamic a``, ``dynamic srv`` or ``dynamic multi``."""
        kind = "".join(line.texts()[:1])
        if kind == "multi":
            return [server for inner in line.inside() for server in self.dynamic(Segment((line.head, *inner.tokens), inner.block))]
        if kind not in ("a", "srv"):
            self._report.error(line.token(1), "bad-value", f"`dynamic {kind}` is unknown", near(kind, ("a", "srv", "multi")))
            return []
        given: dict[str, Token] = {}
        words = line.tokens[2:]
        for name, token in zip(("name", "port"), words, strict=False):
            given[name] = token
        for inner in line.inside():
            if inner.name in _DNS_LEFT_OUT:
                self._report.left_out(inner.head, f"`{inner.name}`", _DNS_LEFT_OUT[inner.name])
            elif inner.name in ("name", "port") or (kind == "srv" and inner.name in ("service", "proto")):
                given[inner.name] = inner.token(1)
            else:
                self._report.error(
                    inner.head, "unknown-option", f"`{inner.name}` is unknown in `dynamic {kind}`", near(inner.name, list(_DNS_LEFT_OUT))
                )
        return self._named(line, kind, given)

    def _named(self, line: Segment, kind: str, given: dict[str, Token]) -> list[Server]:
        held = next((token for token in given.values() if "{" in token.text), None)
        if held is not None:
            self._report.not_built(held, "placeholders in `dynamic`", "write the name")
            return []
        name = given["name"].text if "name" in given else ""
        try:
            if not name:
                raise ValueError("`dynamic` needs a name")
            if kind == "a":
                return [Server(parse_server_host(name), parse_port(given["port"].text) if "port" in given else 80, resolve="all")]
            service = f"_{given['service'].text}._{given['proto'].text if 'proto' in given else 'tcp'}." if "service" in given else ""
            if not re.fullmatch(r"[A-Za-z0-9_.-]+", service + name):
                raise ValueError(f"`{service}{name}` is no name of services")
            # Its records say the port.
            return [Server(service + name.removesuffix("."), 80, resolve="srv")]
        except ValueError as bad:
            self._report.error(line.token(2), "bad-value", str(bad), "write `dynamic a NAME PORT` or `dynamic srv NAME`")
            return []

    # ------------------------------------------------------------ values

    def _duration(self, line: Segment) -> int | None:
        try:
            return parse_duration("".join(line.texts()[:1]))
        except ValueError as bad:
            self._report.error(line.token(1), "bad-value", str(bad), "write `30s` or `10m`")
            return None

    def number(self, line: Segment, least: int) -> int | None:
        """Return the number of a line; None, noted, if there is none."""
        text = "".join(line.texts()[:1])
        if not text.isdecimal() or len(text) > 9 or int(text) < least:
            self._report.error(line.token(1), "bad-value", f"`{text}` is no number here")
            return None
        return int(text)
