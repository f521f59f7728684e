"""How many arguments lines of a Caddyfile take, so that none is read and forgotten.

Facts: those of Caddy's documentation of each directive; Caddy refuses surplus arguments, too.

Rules: what is left out, or an error anyway, is not looked at. A matcher is no argument.

Not here: what arguments mean (``rules`` and its neighbours).
"""

from __future__ import annotations

from typing import TypeAlias

from vestibule.dialects.caddy.directives import DIRECTIVES, OPTIONS, PROXY_OPTIONS, TRANSPORT_OPTIONS, Directive
from vestibule.dialects.caddy.report import Report
from vestibule.dialects.caddy.tree import Segment

Lines: TypeAlias = "dict[str, int | tuple[int, Lines | None]]"
"""Lines by name, each with the most arguments, or with these and the lines of its block. `*` is any other name."""

_ANY = 10_000
_SITE: Lines = {}

_EDITS: Lines = {"defer": 0, "match": (_ANY, {"status": _ANY, "header": 2}), "*": 2}
_TRANSPORT: Lines = {
    **dict.fromkeys(("tls", "tls_insecure_skip_verify"), 0),
    **dict.fromkeys(("tls_server_name", "dial_timeout", "response_header_timeout", "read_timeout", "write_timeout", "keepalive"), 1),
    **dict.fromkeys(("keepalive_idle_conns", "keepalive_idle_conns_per_host", "max_conns_per_host", "proxy_protocol"), 1),
    "tls_client_auth": 2,
}
_FALLBACK: Lines = {"max_age": 1, "*": _ANY}
_DYNAMIC: Lines = {"name": 1, "port": 1, "*": _ANY}
_HEALTH = ["uri", "path", "port", "interval", "timeout", "passes", "fails", "method", "body", "request_body"]
_PROXY: Lines = {
    **dict.fromkeys(("header_up", "header_down"), 3),
    **dict.fromkeys(("lb_retries", "lb_try_duration", "fail_duration", "max_fails", "unhealthy_latency", "unhealthy_request_count"), 1),
    **{f"health_{name}": 1 for name in _HEALTH},
    "health_headers": (0, None),
    "lb_policy": (_ANY, _FALLBACK),
    "method": 1,
    "rewrite": 1,
    "replace_status": 2,
    "transport": (1, _TRANSPORT),
    "dynamic": (_ANY, _DYNAMIC),
    "handle_response": (_ANY, _SITE),
}
_FILES: Lines = {"root": 1, "browse": (1, None), "status": 1, "disable_canonical_uris": 0, "pass_thru": 0}
_LOG: Lines = {"output": (_ANY, None), "format": (_ANY, None), "level": 1}
_ISSUER: Lines = {"dir": 1, "email": 1, "*": _ANY}
_TLS: Lines = {
    "protocols": 2,
    "eab": 2,
    "client_auth": (0, None),
    "on_demand": 0,
    "issuer": (_ANY, _ISSUER),
    **dict.fromkeys(("ca", "ca_root", "key_type", "propagation_delay", "propagation_timeout", "dns_ttl"), 1),
    **dict.fromkeys(("dns_challenge_override_domain", "insecure_secrets_log"), 1),
}

_SITE |= {
    "respond": (2, {"body": 1, "close": 0}),
    "redir": 2,
    "header": (3, _EDITS),
    "request_header": (3, _EDITS),
    "root": 1,
    "file_server": (1, _FILES),
    "try_files": (_ANY, {"policy": 1}),
    "basicauth": (2, {"*": _ANY}),
    "basic_auth": (2, {"*": _ANY}),
    "forward_auth": (_ANY, {"uri": 1, "header_up": 3, "transport": (1, _TRANSPORT), "copy_headers": (_ANY, {"*": 1})}),
    "rewrite": 1,
    "uri": (4, None),
    "method": 1,
    "vars": (2, {"*": 1}),
    "error": 2,
    "abort": 0,
    "handle": (0, _SITE),
    "handle_path": (1, _SITE),
    "route": (0, _SITE),
    "handle_errors": (_ANY, _SITE),
    "request_body": (0, None),
    "metrics": (0, None),
    "log": (1, _LOG),
    "log_skip": 0,
    "skip_log": 0,
    "tls": (2, _TLS),
    "invoke": 1,
    "intercept": (0, {"handle_response": (_ANY, _SITE), "replace_status": 2}),
    "reverse_proxy": (_ANY, _PROXY),
    "copy_response": (1, None),
    "copy_response_headers": (0, None),
}

_TIMES: Lines = {"*": 1}
_GLOBAL: Lines = {
    **dict.fromkeys(("debug", "local_certs"), 0),
    **dict.fromkeys(("http_port", "https_port", "email", "acme_ca", "acme_ca_root", "key_type", "grace_period", "default_sni"), 1),
    "fallback_sni": 1,
    "order": 3,
    "acme_eab": (0, {"*": 1}),
    "on_demand_tls": (0, {"ask": 1, "interval": 1, "burst": 1, "*": _ANY}),
    "servers": (
        1,
        {
            "timeouts": (0, _TIMES),
            "trusted_proxies_strict": 0,
            "max_header_size": 1,
            "listener_wrappers": (0, {"tls": 0, "proxy_protocol": (0, {"timeout": 1, "*": _ANY}), "*": _ANY}),
            "*": _ANY,
        },
    ),
}

_URI = {"strip_prefix": 2, "strip_suffix": 2, "replace": 4, "path_regexp": 3}
_POLICIES = {"random_choose": 2, "query": 2, "header": 2, "cookie": 3, "weighted_round_robin": _ANY}
_PATHS = ("handle_path",)
_WITHOUT_MATCHER = ("tls", "log", "bind", "invoke", "handle_errors", "map", *_PATHS)


def check_site(segments: tuple[Segment, ...], report: Report) -> None:
    """Note surplus arguments within a site."""
    _check(segments, _SITE, report)


def check_options(segments: tuple[Segment, ...], report: Report) -> None:
    """Note surplus arguments among the global options."""
    _check(segments, _GLOBAL, report)


def _check(segments: tuple[Segment, ...], lines: Lines, report: Report) -> None:
    for segment in segments:
        row = _row(segment.name, lines)
        known = lines.get(segment.name, lines.get("*"))
        if known is None or segment.name.startswith("@") or (row is not None and row.state != "supported"):
            continue
        most, inside = known if isinstance(known, tuple) else (known, None)
        first = 2 if lines is _SITE and segment.name not in _WITHOUT_MATCHER and _has_matcher(segment) else 1
        most = _most(segment, first, most, lines)
        if len(segment.tokens) - first > most:
            message = f"`{segment.name}` takes {_words(most)} here, and not `{segment.token(first + most).text}`"
            report.error(segment.token(first + most), "syntax", message, "leave it out")
        if segment.block is not None and inside is not None:
            _check(segment.inside(), inside, report)
        elif segment.block and not isinstance(known, tuple) and known != _ANY:
            report.error(segment.block[0].head, "syntax", f"`{segment.name}` takes no block", "leave it out")


def _row(name: str, lines: Lines) -> Directive | None:
    """Return what is said of a line where it is carried out or not."""
    for own, table in ((_SITE, DIRECTIVES), (_GLOBAL, OPTIONS), (_PROXY, PROXY_OPTIONS), (_TRANSPORT, TRANSPORT_OPTIONS)):
        if lines is own:
            return table.get(name)
    return None


def _most(segment: Segment, first: int, most: int, lines: Lines) -> int:
    """Return the most arguments where that depends on them, or on the block."""
    word = "".join(segment.texts(first)[:1])
    if segment.name == "uri":
        return _URI.get(word, _ANY)
    if segment.name == "lb_policy" or (segment.name == "fallback" and lines is _FALLBACK):
        return _POLICIES.get(word, 1)
    if segment.name == "order" and "".join(segment.texts()[1:2]) in ("first", "last"):
        return 2
    if segment.name == "tls" and lines is _SITE and word in ("internal", "off"):
        return 1
    if segment.name in ("header", "request_header") and lines is _SITE:
        if segment.block is not None:
            return 0
        return 1 if word.startswith("-") else most
    if lines is _EDITS and segment.name.startswith("-"):
        return 0
    return most


def _has_matcher(segment: Segment) -> bool:
    text = segment.tokens[1].text if len(segment.tokens) > 1 else ""
    if text.startswith("/") and segment.name in ("rewrite", "root") and len(segment.tokens) == 2:
        return False
    return text == "*" or text.startswith(("@", "/"))


def _words(most: int) -> str:
    return "nothing" if most == 0 else "one argument" if most == 1 else f"{most} arguments"
