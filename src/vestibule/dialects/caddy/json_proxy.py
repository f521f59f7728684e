"""``reverse_proxy`` of a configuration in JSON as the directive.

Facts (Caddy's documentation, "JSON Config Structure", http.handlers.reverse_proxy): what stands on lines in a Caddyfile is under
``load_balancing``, ``health_checks``, ``headers``, ``transport`` there; ``forward_auth`` is one whose ``handle_response`` for 2xx copies
fields and answers nothing.

Not here: what the directive does (``proxy``), other handlers (``handlers``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from vestibule.dialects.caddy.document import Document, below
from vestibule.dialects.caddy.tree import Segment

_COPIED = re.compile(r"\{http\.reverse_proxy\.header\.([^{}]+)\}")
_BUFFERS = (
    "flush_interval",
    "buffer_requests",
    "buffer_responses",
    "max_buffer_size",
    "request_buffers",
    "response_buffers",
    "verbose_logs",
)
_STREAMS = ("stream_timeout", "stream_close_delay")

_ACTIVE = {
    "uri": "health_uri", "path": "health_path", "port": "health_port", "interval": "health_interval", "timeout": "health_timeout",
    "passes": "health_passes", "fails": "health_fails", "method": "health_method", "expect_body": "health_body",
    "body": "health_request_body", "upstream": "health_upstream", "follow_redirects": "health_follow_redirects",
}  # fmt: skip
_PASSIVE = ("fail_duration", "max_fails", "unhealthy_latency", "unhealthy_request_count")
_TRANSPORT = (
    "dial_timeout", "dial_fallback_delay", "response_header_timeout", "expect_continue_timeout", "read_timeout", "write_timeout",
    "max_response_header_size", "write_buffer_size", "read_buffer_size", "max_conns_per_host", "proxy_protocol", "local_address",
    "forward_proxy_url",
)  # fmt: skip
_SPELLED = {"max_response_header_size": "max_response_header", "write_buffer_size": "write_buffer", "read_buffer_size": "read_buffer"}
_TLS = {
    "insecure_skip_verify": "tls_insecure_skip_verify", "server_name": "tls_server_name", "handshake_timeout": "tls_timeout",
    "root_ca_pem_files": "tls_trusted_ca_certs", "renegotiation": "tls_renegotiation", "except_ports": "tls_except_ports",
    "curves": "tls_curves", "client_certificate_automate": "tls_client_auth",
}  # fmt: skip
_KEPT = {"idle_timeout": "keepalive", "max_idle_conns": "keepalive_idle_conns", "max_idle_conns_per_host": "keepalive_idle_conns_per_host"}
_KEPT |= {"probe_interval": "keepalive_interval"}


class _Routes(Protocol):
    """Who reads what a reverse proxy holds of other things."""

    def routes(self, routes: Sequence[tuple[str, object]]) -> list[Segment]: ...

    def edits(self, table: dict[str, object], path: str, word: str = "") -> list[Segment]: ...

    def answer(self, table: dict[str, object], path: str) -> list[Segment]: ...


class ProxyHandler:
    """Reads every ``reverse_proxy`` of one document."""

    def __init__(self, document: Document, routes: _Routes) -> None:
        self._document = document
        self._routes = routes

    def read(self, path: str, table: dict[str, object], matcher: str) -> list[Segment]:
        """Return the directive, under a matcher."""
        document = self._document
        known = ("handler", "upstreams", "headers", "load_balancing", "health_checks", "transport", "trusted_proxies", "handle_response")
        document.rest(table, path, (*known, "rewrite", "dynamic_upstreams", *_BUFFERS, *_STREAMS))
        servers: list[str] = []
        lines: list[Segment] = []
        for place, each in document.items(table.get("upstreams"), below(path, "upstreams")):
            server = document.table(each, place)
            document.rest(server, place, ("dial", "max_requests"))
            servers.append(document.text(server.get("dial"), place))
            if "max_requests" in server:
                lines.append(document.line(place, "unhealthy_request_count", document.text(server["max_requests"], place)))
        lines += self._headers(path, table)
        lines += self._transport(below(path, "transport"), table.get("transport"))
        if "trusted_proxies" in table:
            place = below(path, "trusted_proxies")
            lines.append(document.line(place, "trusted_proxies", *document.texts(table["trusted_proxies"], place)))
        copied = self._question(path, table)
        if copied is not None:
            target = document.text(document.table(table.get("rewrite"), path).get("uri"), below(path, "rewrite"))
            lines += [document.line(path, "uri", target), *copied]
            return [document.matched(path, "forward_auth", matcher, *servers, block=lines)]
        lines += self._balancing(below(path, "load_balancing"), table.get("load_balancing"))
        lines += self._health(below(path, "health_checks"), table.get("health_checks"))
        lines += self._rewrite(below(path, "rewrite"), table.get("rewrite"))
        lines += self._dynamic(below(path, "dynamic_upstreams"), table.get("dynamic_upstreams"))
        lines += self.responses(below(path, "handle_response"), table.get("handle_response"))
        for key in (*_BUFFERS, *_STREAMS):
            if key in table:
                lines.append(document.line(below(path, key), key, document.text(table[key], path)))
        return [document.matched(path, "reverse_proxy", matcher, *servers, block=lines)]

    def _headers(self, path: str, table: dict[str, object]) -> list[Segment]:
        place = below(path, "headers")
        headers = self._document.table(table.get("headers"), place)
        self._document.rest(headers, place, ("request", "response"))
        lines: list[Segment] = []
        for side, word in (("request", "header_up"), ("response", "header_down")):
            inner = below(place, side)
            edits = {key: each for key, each in self._document.table(headers.get(side), inner).items() if key != "deferred"}
            lines += self._routes.edits(edits, inner, word) if edits else []
        if table.get("rewrite") and self._question(path, table) is not None:
            # The method and target that forward_auth tells by itself.
            return [line for line in lines if line.texts()[:1] not in (["X-Forwarded-Method"], ["X-Forwarded-Uri"])]
        return lines

    # ------------------------------------------------------------ forward_auth

    def _question(self, path: str, table: dict[str, object]) -> list[Segment] | None:
        """Return what is copied, where this asks whether a request may pass; None where it does not."""
        document = self._document
        rewrite = table.get("rewrite")
        responses = table.get("handle_response")
        if not (isinstance(rewrite, dict) and rewrite.get("method") == "GET" and set(rewrite) == {"method", "uri"}):
            return None
        if not (isinstance(responses, list) and len(responses) == 1 and isinstance(responses[0], dict)):
            return None
        if responses[0].get("match") != {"status_code": [2]} or any(key in table for key in ("load_balancing", "health_checks")):
            return None
        place = below(below(below(path, "handle_response"), 0), "routes")
        copied: list[Segment] = []
        for inner, route in document.items(responses[0].get("routes"), place):
            for spot, handler in document.items(document.table(route, inner).get("handle"), below(inner, "handle")):
                pairs = _copied(handler)
                if pairs is None:
                    return None
                copied += [document.line(spot, "copy_headers", pair) for pair in pairs]
        return copied

    # ------------------------------------------------------------ the rest

    def responses(self, path: str, value: object) -> list[Segment]:
        """Return the lines of ``handle_response`` with the matchers they need."""
        document = self._document
        lines: list[Segment] = []
        for at, (place, each) in enumerate(document.items(value, path)):
            entry = document.table(each, place)
            document.rest(entry, place, ("match", "routes", "status_code"))
            name = f"@answer{at}"
            if "match" in entry:
                inner = below(place, "match")
                lines.append(document.line(inner, name, block=self._routes.answer(document.table(entry["match"], inner), inner)))
            matcher = name if "match" in entry else ""
            if "status_code" in entry:
                lines.append(document.matched(place, "replace_status", matcher, document.text(entry["status_code"], place)))
                continue
            inside = self._routes.routes(document.items(entry.get("routes"), below(place, "routes")))
            lines.append(document.matched(place, "handle_response", matcher, block=[document.line(place, "route", block=inside)]))
        return lines

    def _rewrite(self, path: str, value: object) -> list[Segment]:
        document = self._document
        table = document.table(value, path)
        document.rest(table, path, ("method", "uri"))
        lines = [document.line(path, "method", document.text(table["method"], path))] if "method" in table else []
        return lines + ([document.line(path, "rewrite", document.text(table["uri"], path))] if "uri" in table else [])

    def _balancing(self, path: str, value: object) -> list[Segment]:
        document = self._document
        table = document.table(value, path)
        document.rest(table, path, ("selection_policy", "retries", "try_duration", "try_interval", "retry_match"))
        lines: list[Segment] = []
        place = below(path, "selection_policy")
        policy = document.table(table.get("selection_policy"), place)
        if policy:
            document.rest(policy, place, ("policy", "field", "name", "secret", "choose", "key", "weights", "fallback"))
            words = [document.text(policy[key], place) for key in ("policy", "field", "name", "key", "secret", "choose") if key in policy]
            words += document.texts(policy.get("weights"), place)
            fallback = document.table(policy.get("fallback"), place)
            inside = [document.line(place, "fallback", document.text(fallback.get("policy"), place))] if fallback else None
            lines.append(document.line(place, "lb_policy", *words, block=inside))
        if "retries" in table:
            lines.append(document.line(path, "lb_retries", document.text(table["retries"], path)))
        for key in ("try_duration", "try_interval"):
            if key in table:
                lines.append(document.line(path, f"lb_{key}", document.duration(table[key], path)))
        if "retry_match" in table:
            lines.append(document.line(below(path, "retry_match"), "lb_retry_match"))
        return lines

    def _health(self, path: str, value: object) -> list[Segment]:
        document = self._document
        table = document.table(value, path)
        document.rest(table, path, ("active", "passive"))
        lines: list[Segment] = []
        active = document.table(table.get("active"), below(path, "active"))
        document.rest(
            active, below(path, "active"), (*_ACTIVE, "expect_status", "headers"), {"max_size": "a body is read as far as it is asked for"}
        )
        for place, key, held in document.entries(active, below(path, "active")):
            if key in _ACTIVE:
                word = document.duration(held, place) if key in ("interval", "timeout") else document.text(held, place)
                lines.append(document.line(place, _ACTIVE[key], word))
            elif key == "expect_status":
                status = document.text(held, place)
                lines.append(document.line(place, "health_status", f"{status}xx" if len(status) == 1 else status))
            elif key == "headers":
                fields = [document.line(inner, name, *document.texts(each, inner)) for inner, name, each in document.entries(held, place)]
                lines.append(document.line(place, "health_headers", block=fields))
        passive = document.table(table.get("passive"), below(path, "passive"))
        document.rest(passive, below(path, "passive"), (*_PASSIVE, "unhealthy_status"))
        for place, key, held in document.entries(passive, below(path, "passive")):
            if key in _PASSIVE:
                times = key in ("fail_duration", "unhealthy_latency")
                lines.append(document.line(place, key, document.duration(held, place) if times else document.text(held, place)))
            elif key == "unhealthy_status":
                words = [f"{each}xx" if len(each) == 1 else each for each in document.texts(held, place)]
                lines.append(document.line(place, key, *words))
        return lines

    def _transport(self, path: str, value: object) -> list[Segment]:
        document = self._document
        table = document.table(value, path)
        if not table:
            return []
        kind = document.text(table.get("protocol"), below(path, "protocol"))
        document.rest(table, path, ("protocol", "tls", "keep_alive", "versions", "compression", "resolver", "network_proxy", *_TRANSPORT))
        lines: list[Segment] = []
        for place, key, held in document.entries(table, path):
            if key in _TRANSPORT:
                timed = key.endswith(("timeout", "delay"))
                word = document.duration(held, place) if timed else document.text(held, place)
                lines.append(document.line(place, _SPELLED.get(key, key), word))
            elif key == "versions":
                lines.append(document.line(place, key, *document.texts(held, place)))
            elif key == "compression":
                lines.append(document.line(place, key, document.text(held, place)))
            elif key == "resolver":
                lines.append(document.line(place, "resolvers"))
            elif key == "network_proxy":
                lines.append(document.line(place, key))
        kept = document.table(table.get("keep_alive"), below(path, "keep_alive"))
        document.rest(kept, below(path, "keep_alive"), (*_KEPT, "enabled"))
        if kept.get("enabled") is False:
            lines.append(document.line(path, "keepalive", "off"))
        for place, key, held in document.entries(kept, below(path, "keep_alive")):
            if key in _KEPT:
                timed = key in ("idle_timeout", "probe_interval")
                lines.append(document.line(place, _KEPT[key], document.duration(held, place) if timed else document.text(held, place)))
        if "tls" in table:
            lines += self._tls(below(path, "tls"), table["tls"])
        return [document.line(path, "transport", kind, block=lines)]

    def _tls(self, path: str, value: object) -> list[Segment]:
        document = self._document
        table = document.table(value, path)
        document.rest(table, path, (*_TLS, "client_certificate_file", "client_certificate_key_file", "ca"))
        lines = [document.line(path, "tls")]
        for place, key, held in document.entries(table, path):
            if key == "insecure_skip_verify":
                lines += [document.line(place, _TLS[key])] if held is True else []
            elif key in _TLS:
                words = document.texts(held, place) if isinstance(held, list) else [document.text(held, place)]
                lines.append(document.line(place, _TLS[key], *words))
            elif key == "client_certificate_file":
                secret = document.text(table.get("client_certificate_key_file"), place)
                lines.append(document.line(place, "tls_client_auth", document.text(held, place), secret))
            elif key == "ca":
                pool = document.table(held, place)
                words = [document.text(pool.get("provider"), place), *document.texts(pool.get("pem_files"), place)]
                lines.append(document.line(place, "tls_trust_pool", *words))
        return lines

    def _dynamic(self, path: str, value: object) -> list[Segment]:
        document = self._document
        table = document.table(value, path)
        if not table:
            return []
        if table.get("source") not in ("a", "srv"):
            document.not_built(path, f"`{document.text(table.get('source'), path)}` as a source of servers", "write `a` or `srv`")
            return []
        lines: list[Segment] = []
        for place, key, held in document.entries(table, path):
            if key == "refresh":
                lines.append(document.line(place, key, document.duration(held, place)))
            elif key in ("name", "port", "service", "proto"):
                lines.append(document.line(place, key, document.text(held, place)))
            elif key == "resolver":
                lines.append(document.line(place, "resolvers"))
            elif key != "source":
                document.not_built(place, f"`{key}` here")
        return [document.line(path, "dynamic", document.text(table["source"], path), block=lines)]


def _copied(handler: object) -> list[str] | None:
    """Return the fields that a handler copies from an answer, as `copy_headers` has them; None where it does anything else."""
    if not isinstance(handler, dict):
        return None
    if handler.get("handler") == "vars" and len(handler) == 1:
        return []
    request = handler.get("request")
    if handler.get("handler") != "headers" or not isinstance(request, dict) or set(handler) != {"handler", "request"}:
        return None
    if set(request) == {"delete"}:
        return []  # what the client sent under that name is dropped in any case
    pairs: list[str] = []
    fields = request.get("set")
    if set(request) != {"set"} or not isinstance(fields, dict):
        return None
    for name, values in fields.items():
        found = _COPIED.fullmatch(values[0]) if isinstance(values, list) and len(values) == 1 and isinstance(values[0], str) else None
        if found is None:
            return None
        pairs.append(name if found[1].lower() == str(name).lower() else f"{found[1]}>{name}")
    return pairs
