"""Tables of certificates that come by themselves."""

from __future__ import annotations

from vestibule.dialects.toml.form import COUNT, DURATION, FLAG, PAIRS, PATH, TEXT, Choice, ListOf, Shape
from vestibule.dialects.toml.table import HOSTS, NAMES, TABLE, Key, Table
from vestibule.model import config as model

ACME = Table(
    "acme",
    model.Acme,
    "What holds for certificates that are issued automatically: by ACME, from Let's Encrypt unless you say otherwise.",
    (
        Key("email", TEXT, '"you@example.org"', "email"),
        Key("issuers", NAMES, '["letsencrypt", "zerossl"]', "issuers"),
        Key("staging", FLAG, "true", "staging"),
        Key("key_type", Choice("ecdsa", "rsa"), '"rsa"', "key_type"),
        Key(
            "on_demand",
            Shape(TABLE),
            '{ ask = "http://127.0.0.1:5555/may-have" }',
            doc="What holds for hosts on demand; see `[acme.on_demand]`.",
        ),
        Key("challenges", ListOf(Choice("http-01", "tls-alpn-01", "dns-01")), '["dns-01"]', "challenges"),
    ),
)

ON_DEMAND = Table(
    "acme.on_demand",
    model.OnDemand,
    'What holds for sites with `tls = "on_demand"`.',
    (
        Key("ask", TEXT, '"http://127.0.0.1:5555/may-have"', "ask"),
        Key("ask_within", DURATION, '"2s"', "ask_within_ms"),
        Key("orders", COUNT, "10", "orders"),
        Key("per", DURATION, '"10m"', "per_ms"),
        Key("names", COUNT, "100", "names"),
    ),
)

ISSUER = Table(
    "issuers.NAME",
    model.Issuer,
    "An authority that issues certificates by ACME, besides Let's Encrypt and ZeroSSL.",
    (
        Key("directory", TEXT, '"https://ca.lan/acme/directory"', "directory"),
        Key("ca", PATH, '"house-ca.pem"', "ca"),
        Key("email", TEXT, '"you@example.org"', "email"),
        Key("eab_kid", TEXT, '"kid-1"', "eab_kid"),
        Key("eab_key", TEXT, '"file:eab.key"', "eab_key"),
    ),
)

DNS_PROVIDER = Table(
    "dns_providers.NAME",
    model.DnsProvider,
    "Who writes TXT records, to prove names that cannot be reached from outside, and wildcards.",
    (
        Key("provider", TEXT, '"cloudflare"', "provider"),
        Key("zones", HOSTS, '"example.org"', "zones"),
        Key("options", PAIRS, '{ auth_token = "file:cloudflare.token" }', "options"),
        Key("wait", DURATION, '"30s"', "wait_ms"),
        Key("seen_within", DURATION, '"5m"', "seen_within_ms"),
        Key("resolvers", NAMES, '"9.9.9.9"', "resolvers"),
    ),
)
