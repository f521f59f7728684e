"""What is said of automatic certificates, and does not make sense."""

from dataclasses import replace

import pytest

from vestibule.model.check import check
from vestibule.model.config import (
    Acme,
    Config,
    DnsProvider,
    Issuer,
    Listener,
    OnDemand,
    Proxy,
    Server,
    Site,
    TcpAddress,
    Upstream,
)
from vestibule.model.diagnostic import has_errors

PLAIN = Listener("web", TcpAddress(8080))
SECURE = Listener("tls", TcpAddress(8443), tls=True)
SITE = Site("photos", ("photos.example",), ("tls",), Proxy("immich"), acme=True)
ISSUER = Issuer("own", "https://ca.example/directory")
PROVIDER = DnsProvider("zone", "rfc2136")


def config(site: Site = SITE, **more: object) -> Config:
    made = Config((PLAIN, SECURE), (site,), (Upstream("immich", (Server("immich", 2283),)),))
    return replace(made, **more)  # type: ignore[arg-type]


def found(made: Config) -> list[tuple[str, str]]:
    """Path and code of every mistake."""
    return [(each.span.key, each.code) for each in check(made) if has_errors([each])]


def test_what_makes_sense() -> None:
    acme = Acme(
        "you@example.org", ("own", "letsencrypt"), challenges=("dns-01", "http-01"), on_demand=OnDemand("http://127.0.0.1:5555/may")
    )
    issuer = replace(ISSUER, email="you@example.org", eab_kid="k", eab_key="env:KEY")
    provider = replace(PROVIDER, resolvers=("9.9.9.9", "127.0.0.1:5353"), options=(("a", "1"), ("b", "2")))
    made = config(replace(SITE, issuers=("own", "zerossl")), acme=acme, issuers=(issuer, Issuer("zerossl")), dns_providers=(provider,))
    assert found(made) == []
    assert found(config(replace(SITE, acme=False, on_demand=True, hosts=("*",)), acme=acme, issuers=(issuer,))) == []
    assert found(config(replace(SITE, acme=False, on_demand=True))) == [], "one that is named needs nobody to ask"
    assert found(config(replace(SITE, acme=False, listeners=("web",)))) == []


@pytest.mark.parametrize(
    ("issuer", "wrong"),
    [
        (replace(ISSUER, directory=""), ("directory", "empty-value")),
        (replace(ISSUER, directory="http://ca.example/"), ("directory", "bad-value")),
        (replace(ISSUER, eab_kid="k"), ("eab_kid", "conflict")),
        (replace(ISSUER, eab_key="file:/k"), ("eab_kid", "conflict")),
        (replace(ISSUER, eab_kid="k", eab_key="secret"), ("eab_key", "bad-value")),
        *[(replace(ISSUER, email=text), ("email", "bad-value")) for text in ("you", "@example.org", "you@example", "a b@example.org")],
    ],
)
def test_issuers(issuer: Issuer, wrong: tuple[str, str]) -> None:
    assert found(config(issuers=(issuer,))) == [(f"issuers[0].{wrong[0]}", wrong[1])]


@pytest.mark.parametrize(
    ("provider", "wrong"),
    [
        (replace(PROVIDER, provider=""), ("provider", "empty-value")),
        (replace(PROVIDER, wait_ms=-1), ("wait_ms", "out-of-range")),
        (replace(PROVIDER, seen_within_ms=-1), ("seen_within_ms", "out-of-range")),
        (replace(PROVIDER, resolvers=("9.9.9.9", "dns.example")), ("resolvers[1]", "bad-value")),
        (replace(PROVIDER, options=(("a", "1"), ("a", "2"))), ("options", "duplicate-name")),
    ],
)
def test_providers(provider: DnsProvider, wrong: tuple[str, str]) -> None:
    assert found(config(dns_providers=(provider,))) == [(f"dns_providers[0].{wrong[0]}", wrong[1])]


@pytest.mark.parametrize(
    ("acme", "wrong"),
    [
        (Acme("you"), ("email", "bad-value")),
        (Acme(issuers=("letsencrypt", "unknown")), ("issuers[1]", "unknown-reference")),
        (Acme(challenges=("http-01", "http-01")), ("challenges", "bad-list")),
        *[(Acme(on_demand=OnDemand(text)), ("on_demand.ask", "bad-value")) for text in ("ask.example", "http://a/#b", "http://a/ b")],
        (Acme(on_demand=OnDemand(ask_within_ms=0)), ("on_demand.ask_within_ms", "out-of-range")),
        (Acme(on_demand=OnDemand(orders=0)), ("on_demand.orders", "out-of-range")),
        (Acme(on_demand=OnDemand(per_ms=999)), ("on_demand.per_ms", "out-of-range")),
        (Acme(on_demand=OnDemand(names=0)), ("on_demand.names", "out-of-range")),
    ],
)
def test_what_holds_for_all(acme: Acme, wrong: tuple[str, str]) -> None:
    assert found(config(acme=acme)) == [(f"acme.{wrong[0]}", wrong[1])]


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"issuers": ("unknown",)}, ("issuers[0]", "unknown-reference")),
        ({"hosts": ("*",)}, ("hosts", "no-name")),
        ({"internal_tls": True}, ("acme", "conflict")),
        ({"certificates": ("own",)}, ("acme", "conflict")),
        ({"listeners": ("web",)}, ("acme", "conflict")),
        ({"acme": False, "on_demand": True, "internal_tls": True}, ("on_demand", "conflict")),
        ({"acme": False, "on_demand": True, "listeners": ("web",)}, ("on_demand", "conflict")),
        ({"acme": False, "on_demand": True, "hosts": ("*.example",)}, ("on_demand", "no-limit")),
        ({"on_demand": True}, ("on_demand", "conflict")),
    ],
)
def test_sites(changes: dict[str, object], wrong: tuple[str, str]) -> None:
    assert (f"sites[0].{wrong[0]}", wrong[1]) in found(config(replace(SITE, **changes)))  # type: ignore[arg-type]


def test_a_site_of_an_unknown_listener_is_told_of_once() -> None:
    for acme in (True, False):
        site = replace(SITE, acme=acme, on_demand=not acme, listeners=("unknown",))
        assert found(config(site)) == [("sites[0].listeners[0]", "unknown-reference")]


def test_names_are_given_once() -> None:
    assert len(found(config(issuers=(ISSUER, ISSUER), dns_providers=(PROVIDER, PROVIDER)))) == 2
