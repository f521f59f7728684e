"""The options of ``bind`` and ``server`` lines.

Facts: names and numbers of arguments are those of the configuration manuals of HAProxy 2.6 to 2.8, chapter 5.

Not here: what supported options do (``listen``, ``servers``).
"""

from __future__ import annotations

from dataclasses import dataclass

from vestibule.dialects.haproxy.directives import State


@dataclass(frozen=True, slots=True)
class Option:
    """One row: an option, how many arguments it takes, what becomes of it, and what to do or why it does no harm."""

    name: str
    arguments: int
    state: State
    advice: str = ""


def _rows(state: State, arguments: int, names: str, advice: str = "") -> list[Option]:
    return [Option(name, arguments, state, advice) for name in names.split()]


_KERNEL = "the kernel's default is right"
_LIBRARY = "what the TLS library does by itself is right"
_NOTHING = "it has no effect here"

BIND_OPTIONS: dict[str, Option] = {
    each.name: each
    for each in (
        *_rows("supported", 0, "ssl v6only v4v6 no-tls-tickets no-sslv3 no-tlsv10 no-tlsv11 no-tlsv12 no-tlsv13 force-tlsv12 force-tlsv13"),
        *_rows("supported", 1, "crt crt-list alpn npn ca-file verify ssl-min-ver ssl-max-ver ciphers backlog maxconn mode user group"),
        *_rows("supported", 0, "strict-sni"),
        *_rows("supported", 1, "ciphersuites curves ecdhe crl-file crt-ignore-err ca-ignore-err ca-verify-file"),
        *_rows("harmless", 0, "defer-accept tfo", _KERNEL),
        *_rows("harmless", 0, "prefer-client-ciphers no-strict-sni force-sslv3 force-tlsv10 force-tlsv11 allow-0rtt no-alpn", _LIBRARY),
        *_rows("harmless", 1, "sigalgs client-sigalgs ca-sign-file ca-sign-pass tls-ticket-keys", _LIBRARY),
        *_rows("harmless", 1, "name id nice process thread shards level severity-output label", _NOTHING),
        *_rows("harmless", 1, "tcp-ut mss", _KERNEL),
        *_rows("supported", 0, "accept-proxy"),
        *_rows("supported", 1, "proto"),
        *_rows("error", 0, "accept-netscaler-cip transparent", "leave it out"),
        *_rows("error", 0, "generate-certificates", "name the certificates with `crt`"),
        *_rows("error", 1, "interface namespace uid gid expose-fd", "leave it out"),
    )
}

SERVER_OPTIONS: dict[str, Option] = {
    each.name: each
    for each in (
        *_rows("supported", 0, "ssl no-ssl backup no-backup disabled enabled send-proxy send-proxy-v2 no-send-proxy no-send-proxy-v2"),
        *_rows("supported", 0, "send-proxy-v2-ssl send-proxy-v2-ssl-cn no-send-proxy-v2-ssl no-send-proxy-v2-ssl-cn"),
        *_rows(
            "supported", 1, "weight maxconn verify ca-file crl-file crt sni verifyhost cookie pool-max-conn pool-purge-delay maxqueue proto"
        ),
        *_rows("supported", 0, "check no-check check-ssl no-check-ssl check-send-proxy no-check-send-proxy agent-check no-agent-check"),
        *_rows("supported", 1, "inter fastinter downinter rise fall port addr slowstart check-sni check-alpn"),
        *_rows("supported", 1, "agent-addr agent-port agent-inter agent-send"),
        *_rows("harmless", 1, "observe on-error error-limit", "checks alone say how servers are"),
        *_rows("harmless", 1, "on-marked-down on-marked-up", "connections in use go on"),
        *_rows("harmless", 1, "check-proto", "checks speak HTTP/1.1"),
        *_rows("harmless", 1, "init-state", "servers are well until a check says otherwise"),
        *_rows("error", 1, "track", "write `check` for this server as well"),
        *_rows("error", 1, "check-via-socks4", "leave it out"),
        *_rows("harmless", 1, "resolvers resolve-prefer resolve-net resolve-opts init-addr", "names are looked up again and again anyway"),
        *_rows("supported", 1, "alpn npn proxy-v2-options source"),
        *_rows("harmless", 1, "ws", "WebSockets have HTTP/1.1, unless the server speaks HTTP/2 alone"),
        *_rows("harmless", 0, "tfo non-stick stick no-tfo", _NOTHING),
        *_rows("harmless", 1, "tcp-ut minconn id max-reuse pool-low-conn shard log-proto hash-key label guid", _NOTHING),
        *_rows("supported", 1, "ciphers ciphersuites ssl-min-ver ssl-max-ver curves ecdhe"),
        *_rows("supported", 0, "no-sslv3 no-tlsv10 no-tlsv11 no-tlsv12 no-tlsv13 force-tlsv12 force-tlsv13"),
        *_rows("harmless", 1, "sigalgs", _LIBRARY),
        *_rows("harmless", 0, "no-tls-tickets no-verifyhost", _LIBRARY),
        *_rows("harmless", 0, "ssl-reuse no-ssl-reuse tls-tickets allow-0rtt", _LIBRARY),
        *_rows("error", 1, "set-proxy-v2-tlv-fmt", "leave it out"),
        *_rows("error", 1, "namespace socks4 redir usesrc interface", "leave it out"),
    )
}
