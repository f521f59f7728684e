"""The global option ``servers``: how connections of clients are taken.

Facts (Caddy's documentation, "Global options"): a block without an address holds for every listener that has no block of its
own; blocks are not merged. ``listener_wrappers`` stand in order; ``tls`` among them marks where TLS begins.
``client_ip_headers`` name the fields that say who the client is, behind trusted proxies.

Rules: trusted proxies are one list for the whole configuration, so blocks must not differ in them.

Not here: other global options (``lower``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from vestibule.dialects.caddy.matchers import networks
from vestibule.dialects.caddy.proxy import TIMEOUTS, Proxies
from vestibule.dialects.caddy.quantity import parse_bytes
from vestibule.dialects.caddy.report import Report, near
from vestibule.dialects.caddy.tree import Segment
from vestibule.dialects.read import Unreadable
from vestibule.model.config import Limits, Listener, TcpAddress, Timeouts

_HARMLESS = (
    "keepalive_interval",
    "log_credentials",
    "metrics",
    "name",
    "strict_sni_host",
    "trusted_proxies_strict",
    "trusted_proxies_unix",
    "trace",
    "experimental_http3",
    "allow_h2c",
    "enable_full_duplex",
    "protocol",
    "0rtt",
)
_KNOWN = ("trusted_proxies", "timeouts", "max_header_size", "client_ip_headers", "protocols", "listener_wrappers", *_HARMLESS)

_TIMEOUTS = {"read_body": "body_idle_ms", "write": "body_idle_ms", "read_header": "request_head_ms", "idle": "keep_alive_ms"}

_LIMITS = Limits()

_EVERYBODY = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True, slots=True)
class Taking:
    """How the connections of one listener are taken."""

    timeouts: Timeouts = TIMEOUTS
    limits: Limits = _LIMITS
    protocols: tuple[Literal["h1", "h2"], ...] = Listener("", TcpAddress(0)).protocols
    proxy_from: tuple[str, ...] | None = None
    """The networks that send PROXY headers; None is that nobody does."""


class ServersReader:
    """Reads the ``servers`` of one file."""

    def __init__(self, report: Report, proxies: Proxies) -> None:
        self._report = report
        self._proxies = proxies
        self.everywhere = Taking()
        self._at: dict[str, Taking] = {}
        self._client_headers: list[str] = []

    def at(self, host: str, port: int) -> Taking:
        """Return how connections to an address are taken."""
        plain = "" if host == "*" else f"[{host}]" if ":" in host else host
        return self._at.get(f"{plain}:{port}", self._at.get(f":{port}", self.everywhere))

    def read(self, segment: Segment) -> None:
        """Read one block."""
        taking = Taking()
        for line in segment.inside():
            taking = self._line(taking, line)
        if len(segment.tokens) < 2:
            self.everywhere = taking
        for token in segment.tokens[1:]:
            self._at[token.text.removeprefix("tcp/").replace("0.0.0.0:", ":")] = taking

    def _line(self, taking: Taking, line: Segment) -> Taking:
        words = line.texts()
        if line.name == "trusted_proxies":
            self._trusted(line)
        elif line.name == "timeouts":
            return replace(taking, timeouts=self._timeouts(taking.timeouts, line))
        elif line.name == "max_header_size":
            try:
                return replace(taking, limits=replace(taking.limits, head_bytes=parse_bytes("".join(words))))
            except ValueError as bad:
                self._report.error(line.token(1), "bad-value", str(bad), "write `16KB`")
        elif line.name == "client_ip_headers":
            self._headers(line)
        elif line.name == "protocols":
            return replace(taking, protocols=self._protocols(taking, line, words))
        elif line.name == "listener_wrappers":
            return self._wrappers(taking, line)
        elif line.name in _HARMLESS:
            why = "a host that asks for certificates of clients is served under its own name alone, others are as safe under any"
            self._report.left_out(line.head, f"`{line.name}`", why if line.name == "strict_sni_host" else "it has no effect here")
        else:
            self._report.error(line.head, "unknown-option", f"`{line.name}` is unknown in `servers`", near(line.name, _KNOWN))
        return taking

    def _trusted(self, line: Segment) -> None:
        if line.texts()[:1] != ["static"]:
            self._report.not_built(line.token(1), "this source of trusted proxies", "write `trusted_proxies static NETWORK`")
            return
        found = self._proxies.networks(line)
        if self._proxies.trusted not in ((), found):
            self._report.not_built(line.head, "other trusted proxies on another listener", "name them all in both places")
        self._proxies.trusted = found

    def _headers(self, line: Segment) -> None:
        for token in line.tokens[1:]:
            if not self._client_headers and token.text.lower() != "x-forwarded-for":
                self._proxies.forwarding = replace(self._proxies.forwarding, client_field=token.text)
            elif self._client_headers:
                self._report.left_out(token, f"`{token.text}`", "one field says who the client is, the first")
            self._client_headers.append(token.text)

    def _protocols(self, taking: Taking, line: Segment, words: list[str]) -> tuple[Literal["h1", "h2"], ...]:
        known: dict[str, Literal["h1", "h2"]] = {"h1": "h1", "h2": "h2"}
        for at, word in enumerate(words):
            if word in ("h3", "h2c"):
                self._report.left_out(line.token(at + 1), f"`{word}`", "HTTP/1.1 and HTTP/2 over TLS are spoken")
            elif word not in known:
                self._report.error(line.token(at + 1), "bad-value", f"`{word}` is no protocol", "write h1 or h2")
        found = tuple([known[word] for word in ("h2", "h1") if word in words])
        if not found:
            self._report.not_built(line.head, "leaving out both HTTP/1.1 and HTTP/2", "add `h1`")
        return found or taking.protocols

    def _timeouts(self, timeouts: Timeouts, segment: Segment) -> Timeouts:
        for line in segment.inside():
            if line.name not in _TIMEOUTS:
                hint = near(line.name, list(_TIMEOUTS))
                self._report.error(line.head, "unknown-option", f"`{line.name}` is unknown in `timeouts`", hint)
                continue
            duration = self._proxies.duration(line, 1)
            if duration:
                timeouts = replace(timeouts, **{_TIMEOUTS[line.name]: duration})
        return timeouts

    def _wrappers(self, taking: Taking, segment: Segment) -> Taking:
        for line in segment.inside():
            if line.name == "proxy_protocol":
                taking = replace(taking, proxy_from=self._proxy_protocol(line))
            elif line.name == "http_redirect":
                self._report.left_out(line.head, "`http_redirect`", "a client that speaks plain HTTP to a port with TLS is told so")
            elif line.name != "tls":
                self._report.not_built(line.head, f"the wrapper `{line.name}`", "leave it out")
        return taking

    def _proxy_protocol(self, segment: Segment) -> tuple[str, ...]:
        allowed: tuple[str, ...] = ()
        for line in segment.inside():
            if line.name == "allow":
                try:
                    allowed = (*allowed, *networks(line.texts()))
                except Unreadable as bad:
                    self._report.error(line.token(1), bad.code, bad.message, bad.hint)
            elif line.name == "timeout":
                self._report.left_out(line.head, "`timeout`", "the header is due as soon as a request would be")
            elif line.name == "fallback_policy" and line.texts() in (["require"], ["reject"]):
                pass
            elif line.name == "fallback_policy":
                self._report.left_out(
                    line.head, "`fallback_policy`", "every connection must begin with a PROXY header from who may send it"
                )
            else:
                self._report.not_built(line.head, f"`{line.name}` of `proxy_protocol`", "write `allow NETWORK`")
        return allowed or _EVERYBODY
