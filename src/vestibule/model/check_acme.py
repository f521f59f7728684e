"""Whether what is said of automatic certificates makes sense.

Not here: whether secrets are there and providers are known, which only the machine knows (`control/acme/wanted.py`).
"""

from __future__ import annotations

from vestibule.model.config import ANY_HOST, BUILT_IN_ISSUERS, Acme, Config, Site
from vestibule.model.findings import Findings
from vestibule.model.quantity import parse_resolver


def check_acme(found: Findings, config: Config) -> None:
    """Check issuers, DNS providers and how sites use them."""
    known = [*BUILT_IN_ISSUERS, *[each.name for each in config.issuers]]
    found.unique("issuers", "issuer", [each.name for each in config.issuers])
    found.unique("dns_providers", "DNS provider", [each.name for each in config.dns_providers])
    _check_defaults(found, config.acme, known)
    for at, issuer in enumerate(config.issuers):
        path = f"issuers[{at}]"
        if not issuer.directory and issuer.name not in BUILT_IN_ISSUERS:
            found.error(f"{path}.directory", "empty-value", "an issuer needs the URL of its directory")
        elif issuer.directory and not issuer.directory.startswith("https://"):
            # RFC 8555 section 6.1
            found.error(f"{path}.directory", "bad-value", "ACME is spoken over HTTPS only", "the URL begins with `https://`")
        _check_email(found, f"{path}.email", issuer.email)
        if bool(issuer.eab_kid) != bool(issuer.eab_key):
            found.error(f"{path}.eab_kid", "conflict", "`eab_kid` and `eab_key` go together")
        if issuer.eab_key and not issuer.eab_key.startswith(("file:", "env:")):
            found.error(f"{path}.eab_key", "bad-value", "a key does not stand in the configuration", "write `file:PATH` or `env:NAME`")
    for at, provider in enumerate(config.dns_providers):
        if not provider.provider:
            found.error(f"dns_providers[{at}].provider", "empty-value", "name the provider: `rfc2136`, `hook`, or one of dns-lexicon")
        found.at_least(f"dns_providers[{at}].wait_ms", provider.wait_ms, 0)
        found.at_least(f"dns_providers[{at}].seen_within_ms", provider.seen_within_ms, 0)
        for number, resolver in enumerate(provider.resolvers):
            try:
                parse_resolver(resolver)
            except ValueError as bad:
                found.error(f"dns_providers[{at}].resolvers[{number}]", "bad-value", str(bad), "write `9.9.9.9` or `127.0.0.1:5353`")
        options = [name for name, _ in provider.options]
        if len(set(options)) != len(options):
            found.error(f"dns_providers[{at}].options", "duplicate-name", "an option is given twice")
    for at, site in enumerate(config.sites):
        for number, name in enumerate(site.issuers):
            found.reference(f"sites[{at}].issuers[{number}]", "issuer", name, known)
        if site.on_demand:
            _check_on_demand(found, f"sites[{at}]", site, config)
        elif site.acme:
            _check_site(found, f"sites[{at}]", site, config)


def _check_on_demand(found: Findings, path: str, site: Site, config: Config) -> None:
    doors = [each for each in config.listeners if each.name in site.listeners]
    if site.acme or site.internal_tls or site.certificates:
        found.error(f"{path}.on_demand", "conflict", "the site has a certificate already", "leave that out, or `on_demand`")
    if doors and not any(each.tls for each in doors):
        found.error(f"{path}.on_demand", "conflict", "the site is not served with TLS", 'add a listener with TLS, or say `tls = "off"`')
    if not config.acme.on_demand.ask and any("*" in host for host in site.hosts):
        text = "anybody could have certificates issued for any name below these hosts"
        found.error(
            f"{path}.on_demand", "no-limit", text, "set `acme.on_demand.ask` to a URL that says which names are yours, or name the hosts"
        )


def _check_defaults(found: Findings, acme: Acme, known: list[str]) -> None:
    _check_email(found, "acme.email", acme.email)
    for at, name in enumerate(acme.issuers):
        found.reference(f"acme.issuers[{at}]", "issuer", name, known)
    if len(set(acme.challenges)) != len(acme.challenges):
        found.error("acme.challenges", "bad-list", "name each challenge once")
    demand = acme.on_demand
    if demand.ask and (not demand.ask.startswith(("http://", "https://")) or "#" in demand.ask or " " in demand.ask):
        found.error("acme.on_demand.ask", "bad-value", f"`{demand.ask}` is no URL", "write `http://127.0.0.1:5555/may-have`")
    found.at_least("acme.on_demand.ask_within_ms", demand.ask_within_ms, 1)
    found.at_least("acme.on_demand.orders", demand.orders, 1)
    found.at_least("acme.on_demand.per_ms", demand.per_ms, 1_000)
    found.at_least("acme.on_demand.names", demand.names, 1)


def _check_email(found: Findings, path: str, email: str) -> None:
    name, at, domain = email.partition("@")
    if email and (not at or not name or "." not in domain or any(char in email for char in " ,:?<>")):
        found.error(path, "bad-value", f"`{email}` is no e-mail address", "write one address such as `you@example.org`")


def _check_site(found: Findings, path: str, site: Site, config: Config) -> None:
    doors = [each for each in config.listeners if each.name in site.listeners]
    if ANY_HOST in site.hosts:
        found.error(f"{path}.hosts", "no-name", "a certificate is issued for names, and this site is for any host", "name its hosts")
    if site.internal_tls or site.certificates:
        found.error(f"{path}.acme", "conflict", "the site has a certificate already", "leave that out, or the automatic one")
    if doors and not any(each.tls for each in doors):
        found.error(f"{path}.acme", "conflict", "the site is not served with TLS", 'add a listener with TLS, or say `tls = "off"`')
