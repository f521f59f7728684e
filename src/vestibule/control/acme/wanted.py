"""From the configuration to what is wanted: which certificates, from whom, proven how; with secrets read.

Facts: a wildcard can be proven by DNS only (RFC 8555 section 7.1.3 and the Baseline Requirements). TLS-ALPN-01 is asked for at port 443
and HTTP-01 at port 80 of the name (RFC 8737 section 3, RFC 8555 section 8.3); which of our listeners that reaches is the router's business.

Rules:
* One certificate for each site, with all its hosts. Two sites with the same hosts share it.
* Secrets are read here, at load, so that a missing one is a mistake of the configuration and not of a night three months later.
* A secret never is in a message.

Not here: reading the model from a file, asking anybody.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vestibule.control.acme.seen import Places
from vestibule.control.acme.store import safe_name
from vestibule.control.certs import Problem
from vestibule.model.acme import Challenge, DnsProvider
from vestibule.model.acme import Issuer as Declared
from vestibule.model.config import ANY_HOST, Config, OnDemand, Site

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
LETS_ENCRYPT_STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"
ZERO_SSL = "https://acme.zerossl.com/v2/DV90"


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer with everything it needs."""

    name: str
    directory: str
    ca_file: str = ""
    email: str = ""
    eab_kid: str = ""
    eab_key: str = ""

    def __repr__(self) -> str:
        return f"Issuer({self.name})"


@dataclass(frozen=True, slots=True)
class Dns:
    """A DNS provider with its secrets."""

    name: str
    provider: str
    zones: tuple[str, ...]
    options: Mapping[str, str]
    wait_s: float
    seen_within_s: float = 0.0
    places: Places = field(default_factory=Places)

    def __repr__(self) -> str:
        return f"Dns({self.name})"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A certificate that should be there."""

    id: str
    names: tuple[str, ...]
    sites: tuple[str, ...]
    """The sites it is for."""
    issuers: tuple[Issuer, ...]
    key_type: str
    kinds: Mapping[str, tuple[Challenge, ...]]
    """For each name how it may be proven, most wanted first."""
    dns: Mapping[str, Dns]
    """For each name who writes its records, where somebody does."""


class Demanded:
    """What is wanted for a name that nobody wrote down, where the configuration serves such names."""

    def __init__(self, config: Config, issuers: Mapping[str, Issuer], providers: list[Dns]) -> None:
        self._config = config
        self._issuers = issuers
        self._providers = providers
        self._sites = [site for site in config.sites if site.on_demand]

    @property
    def terms(self) -> OnDemand:
        """The bounds."""
        return self._config.acme.on_demand

    def find(self, name: str) -> Wanted | None:
        """Return what is wanted for a name; None if no site serves it on demand."""
        parent = name.partition(".")[2]
        for host in (name, f"*.{parent}", ANY_HOST):
            for site in self._sites:
                if host in site.hosts:
                    return self._wanted(site, name)
        return None

    def _wanted(self, site: Site, name: str) -> Wanted:
        dns = _dns_for(name, self._providers)
        kinds = {name: _kinds(self._config, [site], name, dns is not None)}
        issuers = tuple(self._issuers[each] for each in _issuer_names(self._config, site) if each in self._issuers)
        key_type = self._config.acme.key_type
        return Wanted(safe_name((name,), key_type), (name,), (), issuers, key_type, kinds, {} if dns is None else {name: dns})


class Wishes:
    """What a configuration wants, and what is wrong with that."""

    def __init__(self) -> None:
        self.demanded: Demanded | None = None
        self.wanted: list[Wanted] = []
        self.problems: list[Problem] = []
        self.files: set[Path] = set()


def wishes_of(config: Config, base: Path, environment: Mapping[str, str] = os.environ) -> Wishes:
    """Return what a configuration wants, reading the secrets it names. Never raises."""
    wishes = Wishes()
    if not config.wants_acme:
        return wishes
    secrets = _Secrets(wishes, base, environment)
    issuers = _issuers(config, base, secrets)
    providers = [_provider(secrets, f"dns_providers[{at}]", each) for at, each in enumerate(config.dns_providers)]
    if any(site.on_demand for site in config.sites):
        wishes.demanded = Demanded(config, issuers, providers)
    by_names: dict[tuple[str, ...], list[int]] = {}
    for at, site in enumerate(config.sites):
        if site.acme:
            by_names.setdefault(names_of(site), []).append(at)
    for names, places in by_names.items():
        first = config.sites[places[0]]
        chosen = tuple(issuers[name] for name in _issuer_names(config, first) if name in issuers)
        dns = {name: found for name in names if (found := _dns_for(name, providers)) is not None}
        kinds: dict[str, tuple[Challenge, ...]] = {}
        for name in names:
            kinds[name] = _kinds(config, [config.sites[at] for at in places], name, name in dns)
            if not kinds[name]:
                wishes.problems.append(Problem(f"sites[{places[0]}].hosts", _no_way(name)))
        sites = tuple(config.sites[at].name for at in places)
        wishes.wanted.append(Wanted(safe_name(names, config.acme.key_type), names, sites, chosen, config.acme.key_type, kinds, dns))
    return wishes


def id_of(config: Config, site: Site) -> str:
    """Return the id of the certificate of a site."""
    return safe_name(names_of(site), config.acme.key_type)


def names_of(site: Site) -> tuple[str, ...]:
    """Return the names of a site's certificate. The first stays first; one that a wildcard of the site covers is left out."""
    hosts = dict.fromkeys(host.strip("[]") for host in site.hosts)
    wild = {host[1:] for host in hosts if host.startswith("*.")}
    return tuple(host for host in hosts if host.startswith("*.") or "." + host.partition(".")[2] not in wild)


class _Secrets:
    """Reads values that may be in files or in the environment."""

    def __init__(self, wishes: Wishes, base: Path, environment: Mapping[str, str]) -> None:
        self._wishes = wishes
        self._base = base
        self._environment = environment

    def read(self, key: str, value: str) -> str:
        kind, _, rest = value.partition(":")
        if kind == "env":
            found = self._environment.get(rest, "")
            if not found:
                self._wrong(key, f"the environment has no variable `{rest}`; set it for the service, or name a file with `file:`")
            return found
        if kind != "file":
            return value
        path = self._base / rest
        self._wishes.files.add(path)
        try:
            lines = path.read_text(errors="replace").splitlines()
        except OSError as bad:
            self._wrong(key, f"{path} cannot be read: {bad.strerror}; its first line must be the secret")
            return ""
        if not lines or not lines[0].strip():
            self._wrong(key, f"{path} is empty; its first line must be the secret")
            return ""
        return lines[0].strip()

    def _wrong(self, key: str, text: str) -> None:
        self._wishes.problems.append(Problem(key, text))

    def note(self, key: str, text: str) -> None:
        self._wrong(key, text)


def _issuer_names(config: Config, site: Site) -> tuple[str, ...]:
    given = site.issuers or config.acme.issuers
    if config.acme.staging:
        # Only one has a place for trying things out, unless the others are the user's own choice for this site.
        return ("letsencrypt",)
    if given:
        return given
    zero = next((each for each in config.issuers if each.name == "zerossl"), None)
    can_zero = bool(config.acme.email or (zero is not None and (zero.email or zero.eab_kid)))
    return ("letsencrypt", "zerossl") if can_zero else ("letsencrypt",)


def _issuers(config: Config, base: Path, secrets: _Secrets) -> dict[str, Issuer]:
    usual = {"letsencrypt": LETS_ENCRYPT_STAGING if config.acme.staging else LETS_ENCRYPT, "zerossl": ZERO_SSL}
    declared = {each.name: (f"issuers[{at}]", each) for at, each in enumerate(config.issuers)}
    for name in usual:
        declared.setdefault(name, ("acme", Declared(name)))
    found: dict[str, Issuer] = {}
    for name, (key, each) in declared.items():
        ca_file = str(base / each.ca) if each.ca else ""
        if ca_file and not Path(ca_file).is_file():
            where = "check the path, which counts from the directory of the configuration file"
            secrets.note(f"{key}.ca", f"{ca_file} does not exist; {where}")
        eab_key = secrets.read(f"{key}.eab_key", each.eab_key) if each.eab_key else ""
        directory = each.directory or usual.get(name, "")
        found[name] = Issuer(name, directory, ca_file, each.email or config.acme.email, each.eab_kid, eab_key)
    return found


def _provider(secrets: _Secrets, key: str, given: DnsProvider) -> Dns:
    from vestibule.control.acme.dns import trouble_with

    options = {name: secrets.read(f"{key}.options", value) for name, value in given.options}
    trouble = trouble_with(given.provider, options)
    if trouble:
        secrets.note(f"{key}.provider", trouble)
    places = Places(given.resolvers)
    return Dns(given.name, given.provider, given.zones, options, given.wait_ms / 1000, given.seen_within_ms / 1000, places)


def _dns_for(name: str, providers: list[Dns]) -> Dns | None:
    """Return who writes the records of a name: the one with the longest zone it is in."""
    best: Dns | None = None
    longest = -1
    bare = name.removeprefix("*.")
    for each in providers:
        for given in each.zones or ("",):
            zone = given.strip(".").lower()
            if (not zone or bare == zone or bare.endswith("." + zone)) and len(zone) > longest:
                best, longest = each, len(zone)
    return best


def _kinds(config: Config, sites: list[Site], name: str, has_dns: bool) -> tuple[Challenge, ...]:
    doors = {each.name: each for each in config.listeners}
    here = [doors[listener] for site in sites for listener in site.listeners if listener in doors]
    possible: list[Challenge] = ["dns-01"] if has_dns else []
    if not name.startswith("*."):
        if any(each.tls for each in here):
            possible.append("tls-alpn-01")
        if any(not each.tls for each in here):
            possible.append("http-01")
    wanted = config.acme.challenges
    return tuple(each for each in wanted if each in possible) if wanted else tuple(possible)


def _no_way(name: str) -> str:
    if name.startswith("*."):
        return (
            f"the wildcard `{name}` can be proven by DNS only; declare one of `dns_providers` for it, and let `acme.challenges` have dns-01"
        )
    return f"there is no way to prove `{name}`: give the site a listener on port 80 or 443, or declare one of `dns_providers` for it"
