"""How certificates are got: the global options ``email``, ``acme_*``, ``cert_issuer`` …, and what ``tls`` says of it.

Facts (Caddy's documentation, "Automatic HTTPS", "tls"): public names have certificates by ACME, from Let's Encrypt and then
ZeroSSL; an issuer or a provider that a site names is for its hosts only. The names of providers are those of Caddy's
plugins, whose options this maps to those of dns-lexicon.

Rules: a secret stays a reference (``{env.NAME}``, ``{file.PATH}``); an account's key that stands in the file is refused,
since it would be in every copy of the configuration.

Not here: which sites want a certificate (``lower``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from vestibule.dialects.caddy.quantity import parse_duration
from vestibule.dialects.caddy.report import Report, near
from vestibule.dialects.caddy.tree import Segment
from vestibule.model.config import Acme, DnsProvider, Issuer

_LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
_STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"
_ZERO_SSL = "https://acme.zerossl.com/v2/DV90"

_PLACEHOLDER = re.compile(r"\{(env|file)\.([^{}]+)\}")

_TOKEN = {"": "auth_token", "api_token": "auth_token", "token": "auth_token", "auth_token": "auth_token"}

_PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    "cloudflare": ("cloudflare", _TOKEN),
    "desec": ("desec", _TOKEN),
    "digitalocean": ("digitalocean", _TOKEN),
    "dnsimple": ("dnsimple", _TOKEN | {"api_access_token": "auth_token"}),
    "duckdns": ("duckdns", _TOKEN),
    "gandi": ("gandi", _TOKEN | {"bearer_token": "auth_token"}),
    "hetzner": ("hetzner", _TOKEN),
    "infomaniak": ("infomaniak", _TOKEN),
    "inwx": ("inwx", {"username": "auth_username", "password": "auth_password"}),
    "linode": ("linode4", _TOKEN),
    "namecheap": ("namecheap", {"api_key": "auth_token", "user": "auth_username", "client_ip": "auth_client_ip"}),
    "netcup": ("netcup", {"customer_number": "auth_customer_id", "api_key": "auth_api_key", "api_password": "auth_api_password"}),
    "njalla": ("njalla", _TOKEN),
    "ovh": (
        "ovh",
        {
            "endpoint": "auth_entrypoint",
            "application_key": "auth_application_key",
            "application_secret": "auth_application_secret",
            "consumer_key": "auth_consumer_key",
        },
    ),
    "porkbun": ("porkbun", {"api_key": "auth_key", "api_secret_key": "auth_secret"}),
    "powerdns": ("powerdns", {"server_url": "pdns_server", "api_token": "auth_token", "server_id": "pdns_server_id"}),
    "rfc2136": ("rfc2136", {"key_name": "key_name", "key_alg": "key_algorithm", "key": "key_secret", "server": "server"}),
    "route53": ("route53", {"access_key_id": "auth_access_key", "secret_access_key": "auth_access_secret"}),
    "vultr": ("vultr", _TOKEN),
}
"""Caddy's providers: the name here, and the options; the empty one is what may stand behind the name."""

_SPREADING = ("propagation_delay", "propagation_timeout", "resolvers")

_TUNING = {
    "dns_ttl": "records live a minute",
    "dns_challenge_override_domain": "records stand at the name itself",
    "reuse_private_keys": "every certificate has a new key",
    "preferred_chains": "the issuer's first chain is used",
    "test_dir": "the issuer itself is asked",
    "timeout": "requests have 30 s",
    "alt_http_port": "the issuer looks at port 80",
    "alt_tlsalpn_port": "the issuer looks at port 443",
    "profile": "the issuer's usual one",
}


@dataclass(slots=True)
class Asked:
    """What a site says of its certificate."""

    issuers: tuple[str, ...] = ()
    dns: DnsProvider | None = None
    spreading: list[Segment] = field(default_factory=list)
    """Lines about how it is seen to that a record has spread."""


class AcmeReader:
    """Reads how certificates are got, and keeps issuers and providers."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.acme = Acme()
        self.issuers: dict[str, Issuer] = {}
        self.providers: list[DnsProvider] = []
        self._main = Issuer("caddy")

    # ------------------------------------------------------------ global options

    def option(self, line: Segment) -> bool:
        """Read a global option; False if it is none of certificates."""
        words = line.texts()
        if line.name == "email":
            self.email("".join(words[:1]), line)
        elif line.name == "acme_ca":
            self._directory("".join(words[:1]))
        elif line.name == "acme_ca_root":
            self._main = replace(self._main, ca="".join(words[:1]))
        elif line.name == "acme_eab":
            self._main = self._eab(self._main, line)
        elif line.name in ("acme_dns", "dns"):
            found = self._provider(line)
            if found is not None:
                self.providers.append(found)
        elif line.name == "key_type":
            self.key_type("".join(words[:1]))
        elif line.name == "on_demand_tls":
            self._on_demand(line)
        elif line.name == "cert_issuer":
            asked = Asked()
            self.issuer(line, asked)
            self.acme = replace(self.acme, issuers=(*self.acme.issuers, *asked.issuers))
        else:
            return False
        return True

    def finish(self) -> None:
        """Bring together what several options say of one issuer."""
        main = self._main
        if main == Issuer("caddy"):
            return
        if main.directory:
            self.issuers[main.name] = main
            self.acme = replace(self.acme, issuers=(main.name, *self.acme.issuers))
        elif main.ca or main.eab_kid:
            # Without a directory they are for the authority that is asked first.
            self.issuers["letsencrypt"] = replace(main, name="letsencrypt")

    def email(self, address: str, line: Segment) -> None:
        """Note an address; there is one for all issuers."""
        if self.acme.email and address != self.acme.email:
            self._report.left_out(line.token(1), f"the address `{address}`", f"issuers are told `{self.acme.email}`")
            return
        self.acme = replace(self.acme, email=address)

    def key_type(self, word: str) -> None:
        """Note what kind of keys is wanted; there is one for all certificates."""
        self.acme = replace(self.acme, key_type="rsa" if word.startswith("rsa") else "ecdsa")

    def _directory(self, url: str) -> None:
        if url == _STAGING:
            self.acme = replace(self.acme, staging=True)
        elif url in (_LETS_ENCRYPT, _ZERO_SSL):
            self.acme = replace(self.acme, issuers=("letsencrypt" if url == _LETS_ENCRYPT else "zerossl",))
        else:
            self._main = replace(self._main, directory=url)

    def _on_demand(self, segment: Segment) -> None:
        """Read ``on_demand_tls { … }``. Caddy lets ``burst`` names through within ``interval``."""
        made = self.acme.on_demand
        for line in segment.inside():
            words = line.texts()
            try:
                if line.name == "ask":
                    made = replace(made, ask="".join(words[:1]))
                elif line.name == "permission" and words[:1] == ["http"]:
                    made = replace(made, ask=self._endpoint(line) or "".join(words[1:2]))
                elif line.name == "interval":
                    made = replace(made, per_ms=parse_duration("".join(words[:1])))
                elif line.name == "burst" and "".join(words).isdecimal():
                    made = replace(made, orders=int("".join(words)))
                else:
                    self._report.not_built(line.head, f"`{line.name}` of `on_demand_tls`", "write `ask URL`, `interval 2m` or `burst 5`")
            except ValueError as bad:
                self._report.error(line.token(1), "bad-value", str(bad), "write `2m`")
        self.acme = replace(self.acme, on_demand=made)

    def _endpoint(self, line: Segment) -> str:
        """Return what the block of ``permission http`` has as ``endpoint``."""
        return next(("".join(inner.texts()[:1]) for inner in line.inside() if inner.name == "endpoint"), "")

    # ------------------------------------------------------------ tls

    def tls_line(self, line: Segment, asked: Asked) -> bool:
        """Read a line of ``tls``; False if it says nothing of how a certificate is got."""
        words = line.texts()
        if line.name == "dns":
            asked.dns = self._provider(line)
        elif line.name == "issuer":
            self.issuer(line, asked)
        elif line.name in ("ca", "ca_root", "eab"):
            name = asked.issuers[0] if asked.issuers else f"caddy-{len(self.issuers) + 2}"
            made = self.issuers.get(name, Issuer(name))
            if line.name == "ca":
                made = replace(made, directory="".join(words[:1]))
            elif line.name == "ca_root":
                made = replace(made, ca="".join(words[:1]))
            else:
                made = self._eab(made, line)
            self.issuers[name] = made
            asked.issuers = (name,)
        elif line.name == "key_type":
            self.key_type("".join(words[:1]))
        elif line.name in _SPREADING:
            asked.spreading.append(line)
        elif line.name in _TUNING:
            self._report.left_out(line.head, f"`{line.name}`", _TUNING[line.name])
        else:
            return False
        return True

    def keep(self, asked: Asked, hosts: tuple[str, ...]) -> tuple[str, ...]:
        """Keep what a site says for its hosts; return the names of its issuers."""
        for line in asked.spreading:
            asked.dns = self._spreading(line, asked.dns)
        if asked.dns is not None:
            zones = tuple(dict.fromkeys(host.removeprefix("*.") for host in hosts))
            self.providers.append(replace(asked.dns, name=f"{asked.dns.name}-{len(self.providers) + 1}", zones=zones))
        return asked.issuers

    def issuer(self, line: Segment, asked: Asked) -> None:
        """Read ``issuer acme [URL] { … }`` and ``issuer zerossl [KEY]``."""
        kind, url, *_ = (*line.texts(), "", "")
        if kind == "zerossl":
            asked.issuers = (*asked.issuers, "zerossl")
            if url or line.block is not None:
                self._report.left_out(line.head, "the API key of ZeroSSL", "its ACME service is asked, which needs an e-mail address")
            return
        if kind != "acme":
            self._report.not_built(line.token(1), f"the issuer `{kind}`", "write `acme`, `zerossl` or `internal`")
            return
        made = Issuer(f"caddy-{len(self.issuers) + 2}", url)
        for inner in line.inside():
            words = inner.texts()
            if inner.name == "dir":
                made = replace(made, directory="".join(words[:1]))
            elif inner.name == "email":
                made = replace(made, email="".join(words[:1]))
            elif inner.name == "trusted_roots":
                made = replace(made, ca="".join(words[:1]))
                if len(words) > 1:
                    self._report.not_built(inner.token(2), "several files of authorities", "put them into one file")
            elif inner.name == "eab":
                made = self._eab(made, inner)
            elif inner.name == "dns":
                asked.dns = self._provider(inner)
            elif inner.name in _SPREADING:
                asked.spreading.append(inner)
            elif inner.name in ("disable_http_challenge", "disable_tlsalpn_challenge"):
                self._report.left_out(inner.head, f"`{inner.name}`", "both are tried in turn; `acme.challenges` of TOML chooses")
            elif inner.name in _TUNING:
                self._report.left_out(inner.head, f"`{inner.name}`", _TUNING[inner.name])
            else:
                known = ["dir", "email", "trusted_roots", "eab", "dns", *_SPREADING, *_TUNING]
                self._report.error(inner.head, "unknown-option", f"`{inner.name}` is unknown in `issuer`", near(inner.name, known))
        if made.directory in ("", _LETS_ENCRYPT):
            made = replace(made, name="letsencrypt", directory="")
        if made != Issuer("letsencrypt"):
            self.issuers[made.name] = made
        asked.issuers = (*asked.issuers, made.name)

    # ------------------------------------------------------------ parts

    def _eab(self, issuer: Issuer, line: Segment) -> Issuer:
        """Read an external account: two words, or a block of ``key_id`` and ``mac_key``."""
        tokens = {inner.name: inner.token(1) for inner in line.inside() if len(inner.tokens) > 1}
        kid = tokens.get("key_id") or (line.token(1) if len(line.tokens) > 2 else None)
        mac = tokens.get("mac_key") or (line.token(2) if len(line.tokens) > 2 else None)
        if kid is None or mac is None:
            self._report.error(line.head, "syntax", "an external account has a key id and a MAC key")
            return issuer
        value = _reference(mac.text)
        if value == mac.text:
            self._report.error(mac, "bad-value", "a key does not stand in the configuration", "write `{env.NAME}` or `{file.PATH}`")
            return issuer
        return replace(issuer, eab_kid=kid.text, eab_key=value)

    def _spreading(self, line: Segment, dns: DnsProvider | None) -> DnsProvider | None:
        """Read how it is seen to that a record has spread; the order of the lines does not count."""
        if dns is None:
            self._report.left_out(line.head, f"`{line.name}`", "the provider of the global options is used as that says")
            return None
        words = line.texts()
        if line.name == "resolvers":
            return replace(dns, resolvers=tuple(words))
        try:
            if line.name == "propagation_timeout":
                return replace(dns, seen_within_ms=0 if words[:1] == ["-1"] else parse_duration("".join(words[:1])))
            return replace(dns, wait_ms=parse_duration("".join(words[:1])))
        except ValueError as bad:
            self._report.error(line.token(1), "bad-value", str(bad), "write `30s`")
            return dns

    def _provider(self, line: Segment) -> DnsProvider | None:
        tokens = line.tokens[1:]
        if not tokens:
            # The global provider is meant, which is for all names anyway.
            return None
        name = tokens[0].text
        if name not in _PROVIDERS:
            self._report.not_built(tokens[0], f"the DNS provider `{name}`", near(name, sorted(_PROVIDERS)))
            return None
        own, known = _PROVIDERS[name]
        options: dict[str, str] = {}
        if len(tokens) > 1:
            if "" in known and len(tokens) > 2:
                self._report.not_built(tokens[2], f"`{tokens[2].text}` behind the DNS provider `{name}`", "write a block of options")
            if "" in known:
                options[known[""]] = _reference(tokens[1].text)
            else:
                self._report.not_built(tokens[1], f"`{tokens[1].text}` behind the DNS provider `{name}`", "write a block of options")
        for inner in line.inside():
            value = "".join(inner.texts()[:1])
            if inner.name not in known:
                hint = near(inner.name, [each for each in known if each])
                self._report.not_built(inner.head, f"`{inner.name}` of the DNS provider `{name}`", hint)
                continue
            options[known[inner.name]] = _reference(value)
        if own == "rfc2136" and ":" in options.get("server", ""):
            options["server"], _, options["port"] = options["server"].rpartition(":")
        return DnsProvider(name, own, (), tuple(options.items()))


def _reference(text: str) -> str:
    """Return a secret as the model refers to it, or the text itself."""
    found = _PLACEHOLDER.fullmatch(text)
    return f"{found[1]}:{found[2]}" if found else text
