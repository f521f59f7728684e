"""Certificates of sites to the TLS contexts of listeners.

Facts: a client names the host it wants in its hello (RFC 6066 3); one that connects to a bare address
names none. A wildcard in a certificate stands for one label (RFC 6125 6.4.3).

A context may hold one certificate of each key type; the client's hello chooses among them.

Rules: contexts are made for each listener, since the one a handshake begins with belongs to its choice.
Who names no host, or one that nobody has, gets what `unknown_sni` says; a site for any host, or for an
address, is a default by its nature, unless that says `strict`. Of several certificates of a site for any host, each is for the
names in it.

Not here: reading of files (`control/certs.py`), the handshake (`net/`).
"""

import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from vestibule.compile_expr import Mistakes
from vestibule.compile_state import Certificates
from vestibule.link.messages import ACME_PREFIX, INTERNAL_PREFIX, Assets, KeyPair
from vestibule.model import config as model
from vestibule.net.demand import Demand, DemandedHosts, DemandedPair
from vestibule.net.tls import (
    INTERMEDIATE_CIPHERS,
    ClientAuth,
    DemandedContexts,
    NamePattern,
    OpenChallenges,
    TlsChoice,
    add_pair,
    server_context,
)

_ALPN = {"h1": "http/1.1", "h2": "h2"}

MODERN = model.TlsProfile("modern", minimum="1.3")
INTERMEDIATE = model.TlsProfile("intermediate")


class _Made:
    """A context with what it was made from."""

    def __init__(self, names: list[str], listener: model.Listener, profile: model.TlsProfile, context: ssl.SSLContext) -> None:
        self.names = names
        self.listener = listener
        self.profile = profile
        self.context = context


class _OnDemand(DemandedContexts):
    """Makes the contexts of a listener for certificates that came on demand."""

    def __init__(self, maker: "TlsMaker", listener: model.Listener, profile: model.TlsProfile) -> None:
        self._maker = maker
        self._listener = listener
        self._profile = profile

    def make(self, pair: DemandedPair) -> ssl.SSLContext | None:
        return self._maker.demanded(pair, self._listener, self._profile)


class TlsMaker(Certificates):
    """Makes the choice of certificates for each listener of a configuration, and renews them while it serves."""

    def __init__(
        self,
        mistakes: Mistakes,
        config: model.Config,
        assets: Assets,
        challenges: OpenChallenges,
        demand: Demand,
        pattern: Callable[[str], NamePattern],
    ) -> None:
        self._pattern = pattern
        self._mistakes = mistakes
        self._config = config
        self._assets = assets
        self._challenges = challenges if config.wants_acme else None
        self._demand = demand
        self._made: dict[tuple[str, str, str], _Made | None] = {}
        self._choices: dict[str, TlsChoice] = {}

    def profile(self, key: str, listener: model.Listener) -> model.TlsProfile:
        """Return the TLS profile of a listener."""
        for profile in (*self._config.tls_profiles, INTERMEDIATE, MODERN):
            if profile.name == listener.tls_profile:
                return profile
        self._mistakes.add(f"{key}.tls_profile", f"there is no TLS profile `{listener.tls_profile}`")
        return INTERMEDIATE

    def choice(self, key: str, listener: model.Listener) -> TlsChoice | None:
        """Make the choice of certificates of a listener; None after a mistake."""
        profile = self.profile(key, listener)
        sites = self._sites(key, listener)
        if self.differ(listener):
            # A session is resumed before it is known which site it is for.
            profile = replace(profile, tickets=False)
        served: dict[str, ssl.SSLContext] = {}
        firsts: dict[str, ssl.SSLContext] = {}
        demanded = DemandedHosts()
        is_demanded = False
        for place, site in sites:
            for host, context in self.contexts(place, site, listener, self._with_clients(place, site, profile)):
                firsts.setdefault(site.name, context)
                if site.on_demand:
                    # What was made here is nothing but a context to begin handshakes with.
                    demanded.add(host)
                    is_demanded = True
                elif host:
                    served[host] = context
        for place, site in sites:
            for name, context in self._by_names(place, site, listener, self._with_clients(place, site, profile)):
                served.setdefault(name, context)
        if not firsts:
            if not sites:
                self._mistakes.add(f"{key}.tls", "no site is served here, so there is no certificate")
            return None
        # Whose certificates come on demand has none for whoever asks for another name, or for none.
        written = [site for _, site in sites if not site.on_demand]
        default = self._default(listener, written, served, {site.name: firsts[site.name] for site in written if site.name in firsts})
        choice = TlsChoice(next(iter(firsts.values())), default, self._challenges)
        for host, context in served.items():
            if host != model.ANY_HOST:
                choice.add(host, context)
        if is_demanded:
            choice.serve_on_demand(self._demand, demanded, _OnDemand(self, listener, profile))
        shown = {name for _, site in sites for name in site.certificates}
        for name in sorted(shown):
            for host in self._spared_by(name):
                if host not in served:
                    choice.spare(host)
        if self.differ(listener):
            choice.go_by_sites()
            for place, site in sites:
                self._add_patterns(choice, place, site, firsts)
        for host in listener.refused_sni:
            choice.refuse(host)
        choice.arm()
        self._choices[listener.name] = choice
        return choice

    def _add_patterns(self, choice: TlsChoice, place: str, site: model.Site, firsts: dict[str, ssl.SSLContext]) -> None:
        for pattern in site.host_patterns if site.name in firsts else ():
            try:
                choice.add_pattern(self._pattern(pattern), firsts[site.name])
            except ValueError as bad:
                self._mistakes.add(f"{place}.host_patterns", str(bad))

    def differ(self, listener: model.Listener) -> bool:
        """Tell whether sites of a listener ask clients for other certificates than the listener does."""
        for site in self._config.sites:  # noqa: SIM110 - because mypyc makes a slow generator of `any(...)`
            if site.client_profile and listener.name in site.listeners:
                return True
        return False

    def rules(self, key: str, site: model.Site, listener: model.Listener) -> bytes:
        """Return what is asked of clients of a site, as `ClientAuth.rules` has it; nothing where nothing is."""
        profile = self._with_clients(key, site, self.profile(key, listener))
        clients = self._clients(profile) if profile.asks_clients else None
        return b"" if clients is None else clients.rules()

    def _with_clients(self, place: str, site: model.Site, profile: model.TlsProfile) -> model.TlsProfile:
        """Return the profile of a listener with the client certificates that a site asks for."""
        if not site.client_profile:
            return profile
        for own in (*self._config.tls_profiles, INTERMEDIATE, MODERN):
            if own.name == site.client_profile:
                return replace(
                    profile,
                    name=f"{profile.name} {own.name}",
                    client_ca=own.client_ca,
                    client_ca_more=own.client_ca_more,
                    client_verify=own.client_verify,
                    client_crl=own.client_crl,
                    client_depth=own.client_depth,
                )
        self._mistakes.add(f"{place}.client_profile", f"there is no TLS profile `{site.client_profile}`")
        return profile

    def _sites(self, key: str, listener: model.Listener) -> list[tuple[str, model.Site]]:
        """Return the sites of a listener with their places; one that passes connections on is as a site for any host."""
        if listener.routes:
            source = model.Proxy("")
            return [(key, model.Site(listener.name, (model.ANY_HOST,), (listener.name,), source, certificates=listener.certificates))]
        sites = self._config.sites
        return [(f"sites[{at}]", sites[at]) for at in range(len(sites)) if listener.name in sites[at].listeners]

    def renew(self, pairs: dict[str, tuple[str, str]]) -> list[str]:
        for name, (chain, key) in pairs.items():
            if name in self._assets.certificates:
                self._assets.certificates[name] = KeyPair(chain, key)
        mistakes = Mistakes()
        before = self._mistakes
        self._mistakes = mistakes
        for made in self._made.values():
            if made is None or not _share(made.names, pairs):
                continue
            held = [self._assets.certificates[name] for name in made.names]
            context = self._make("certificates", made.names, held, made.listener, made.profile)
            choice = self._choices.get(made.listener.name)
            if context is not None and choice is not None:
                choice.replace(made.context, context)
                made.context = context
        self._mistakes = before
        return mistakes.lines

    def _default(
        self,
        listener: model.Listener,
        sites: list[model.Site],
        served: dict[str, ssl.SSLContext],
        firsts: dict[str, ssl.SSLContext],
    ) -> ssl.SSLContext | None:
        if listener.unknown_sni == "strict":
            return None
        for site in sites:
            for host in site.hosts:
                if (host == model.ANY_HOST or _is_address(host)) and host in served:
                    return served[host]
        if listener.unknown_sni != "default":
            return None
        return firsts.get(listener.default_site) or next(iter(firsts.values()), None)

    def contexts(self, key: str, site: model.Site, listener: model.Listener, profile: model.TlsProfile) -> list[tuple[str, ssl.SSLContext]]:
        """Make the contexts of a site on a listener, one for each host; none after a mistake."""
        names = list(site.certificates)
        if site.internal_tls or site.on_demand:
            names.append(INTERNAL_PREFIX + site.name)
        if site.acme:
            names.append(ACME_PREFIX + site.name)
        if not names:
            self._mistakes.add(f"{key}.certificates", f"the site `{site.name}` is served with TLS and has no certificate")
            return []
        pairs: list[KeyPair] = []
        for name in names:
            pair = self._assets.certificates.get(name)
            if pair is None:
                self._mistakes.add(f"{key}.certificates", f"the certificate `{name}` was not read")
            else:
                pairs.append(pair)
        if len(pairs) != len(names):
            return []
        found: list[tuple[str, ssl.SSLContext]] = []
        # Without a name it serves those in its certificates, and whoever is let in without one.
        for host in site.hosts or ("",):
            here = self._covering(f"{key}.certificates", host, names, pairs)
            context = self._context(f"{key}.certificates", [names[at] for at in here], [pairs[at] for at in here], listener, profile)
            if context is not None:
                found.append((host, context))
        return found

    def _by_names(
        self, key: str, site: model.Site, listener: model.Listener, profile: model.TlsProfile
    ) -> list[tuple[str, ssl.SSLContext]]:
        """Return which certificates of a site for any host, or for those that a pattern fits, are for the names in them."""
        is_any = model.ANY_HOST in site.hosts and (len(site.certificates) > 1 or listener.unknown_sni == "strict")
        if not is_any and not site.host_patterns:
            return []
        names = [name for name in site.certificates if name in self._assets.certificates]
        pairs = [self._assets.certificates[name] for name in names]
        fit: dict[str, dict[str, int]] = {}
        spared = [self._spared_by(name) for name in names]
        for at in range(len(pairs)):
            try:
                leaf = _leaf_of(pairs[at])
                hosts = [host.lower() for host in self._shown_for(names[at], leaf)]
            except ValueError:
                continue  # told by `contexts`
            kind = _key_type(leaf)
            for others in spared:
                # A name that one of them is not for is a name of its own: others may be for it.
                for host in others:
                    if host not in spared[at] and _covers(hosts, host):
                        fit.setdefault(host, {}).setdefault(kind, at)
            for host in hosts:
                fit.setdefault(host, {}).setdefault(kind, at)
        found: list[tuple[str, ssl.SSLContext]] = []
        for host, chosen in fit.items():
            here = sorted(chosen.values())
            context = self._context(f"{key}.certificates", [names[at] for at in here], [pairs[at] for at in here], listener, profile)
            if context is not None:
                found.append((host, context))
        return found

    def _shown_for(self, name: str, leaf: Any) -> list[str]:
        """Return the names that a certificate is shown for: those that are said, or those in it."""
        for certificate in self._config.certificates:
            if certificate.name == name and certificate.hosts:
                said = [host for host in certificate.hosts if not host.startswith("!")]
                if said or "!*" in certificate.hosts:
                    return said
        return _names_of(leaf)

    def _spared_by(self, name: str) -> list[str]:
        """Return the names that a certificate is not for, whatever wildcards say."""
        for certificate in self._config.certificates:
            if certificate.name == name:
                return [host[1:].lower() for host in certificate.hosts if host.startswith("!")]
        return []

    def _covering(self, key: str, host: str, names: list[str], pairs: list[KeyPair]) -> list[int]:
        """Return which certificates are for a host: the only one, or those with its name in them, one of each key type."""
        if len(pairs) == 1:
            return [0]
        fit: list[int] = []
        types: dict[str, int] = {}
        for at in range(len(pairs)):
            try:
                leaf = _leaf_of(pairs[at])
                if host in ("", model.ANY_HOST) or _covers(_names_of(leaf), host):
                    kind = _key_type(leaf)
                    first = types.setdefault(kind, at)
                    if first == at:
                        fit.append(at)
                    elif host not in ("", model.ANY_HOST):
                        both = f"`{names[first]}` and `{names[at]}`"
                        self._mistakes.add(key, f"{both} are both {kind} certificates for `{host}`; leave one out")
            except ValueError as bad:
                self._mistakes.add(key, f"the certificate `{names[at]}` cannot be read: {bad}")
        if not fit and len({_key_type(_leaf_of(each)) for each in pairs}) == len(pairs):
            return list(range(len(pairs)))  # meant to be equal but for their keys; that they do not name the host is told by `check`
        if not fit:
            self._mistakes.add(key, f"none of the certificates is for `{host}`")
        return fit or [0]

    def _context(
        self, key: str, names: list[str], pairs: list[KeyPair], listener: model.Listener, profile: model.TlsProfile
    ) -> ssl.SSLContext | None:
        known = (listener.name, profile.name, "\0".join(names))
        if known not in self._made:
            context = self._make(key, names, pairs, listener, profile)
            self._made[known] = None if context is None else _Made(names, listener, profile, context)
        made = self._made[known]
        return None if made is None else made.context

    def _make(
        self, key: str, names: list[str], pairs: list[KeyPair], listener: model.Listener, profile: model.TlsProfile
    ) -> ssl.SSLContext | None:
        clients: ClientAuth | None = None
        if profile.asks_clients:
            clients = self._clients(profile)
            if clients is None:
                return None
        name = names[0]
        try:
            made = server_context(
                pairs[0].chain_pem.encode(),
                pairs[0].key_pem.encode(),
                profile.minimum,
                profile.maximum,
                ":".join(profile.ciphers) or INTERMEDIATE_CIPHERS,
                listener.alpn if listener.routes else tuple([_ALPN[protocol] for protocol in listener.protocols]),
                bytes.fromhex(self._assets.ticket_key) if profile.tickets else b"",
                clients,
                ":".join(profile.groups),
                ":".join(profile.suites),
            )
            for at in range(1, len(names)):
                name = names[at]
                add_pair(made, pairs[at].chain_pem.encode(), pairs[at].key_pem.encode())
            return made
        except (OSError, ValueError) as bad:
            self._mistakes.add(key, f"`{name}`: {reason(bad)}")
            return None

    def demanded(self, pair: DemandedPair, listener: model.Listener, profile: model.TlsProfile) -> ssl.SSLContext | None:
        """Make the context of a certificate that came while it serves."""
        before = self._mistakes
        self._mistakes = Mistakes()
        held = KeyPair(pair.chain.decode("ascii"), pair.key.decode("ascii"))
        made = self._make("demand", ["a certificate on demand"], [held], listener, profile)
        self._mistakes = before
        return made

    def _clients(self, profile: model.TlsProfile) -> ClientAuth | None:
        """Make what a profile asks of clients; None, noted, if something of it is missing: nobody is let in by less."""
        authorities = self._assets.authorities.get(profile.client_ca, "")
        more = self._assets.authorities.get(profile.client_ca_more, "")
        lists = self._assets.revocations.get(profile.client_crl, "")
        if profile.client_ca and not authorities:
            self._mistakes.add("tls_profiles", f"`{profile.client_ca}`, the client_ca of `{profile.name}`, was not read")
            return None
        if profile.client_ca_more and not more:
            self._mistakes.add("tls_profiles", f"`{profile.client_ca_more}`, the client_ca_more of `{profile.name}`, was not read")
            return None
        if profile.client_crl and not lists:
            self._mistakes.add("tls_profiles", f"`{profile.client_crl}`, the client_crl of `{profile.name}`, was not read")
            return None
        depth = -1 if profile.client_depth is None else profile.client_depth
        return ClientAuth(authorities.encode(), profile.client_verify, lists.encode(), depth, more.encode())


def _share(names: list[str], pairs: dict[str, tuple[str, str]]) -> bool:
    for name in names:  # noqa: SIM110 - because mypyc makes a slow generator of `any(...)`
        if name in pairs:
            return True
    return False


def _leaf_of(pair: KeyPair) -> Any:
    """Return the certificate of a pair. Raises ValueError."""
    from cryptography import x509  # a large library, needed only where a site has several certificates

    return x509.load_pem_x509_certificate(pair.chain_pem.encode())


def _key_type(leaf: Any) -> str:
    """Name the type of a certificate's key, of which OpenSSL keeps one each."""
    name = type(leaf.public_key()).__name__.lower()
    for kind in ("rsa", "ed25519", "ed448"):
        if kind in name:
            return kind.upper() if kind == "rsa" else kind.capitalize()
    return "ECDSA"


def _names_of(leaf: Any) -> list[str]:
    """Return the names a certificate is for (RFC 6125 6.4)."""
    from cryptography import x509

    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        # What was common before there was the extension; clients that insist on it look for themselves.
        return [str(each.value) for each in leaf.subject.get_attributes_for_oid(x509.oid.NameOID.COMMON_NAME)]
    return [*found.get_values_for_type(x509.DNSName), *[str(each) for each in found.get_values_for_type(x509.IPAddress)]]


def _covers(names: list[str], host: str) -> bool:
    lowered = [name.lower() for name in names]
    parent = "*." + host.partition(".")[2]
    return host.strip("[]") in lowered or (not host.startswith("*.") and "." in host and parent in lowered)


def _is_address(host: str) -> bool:
    return host.startswith("[") or (host.count(".") == 3 and host.replace(".", "").isdigit())


def reason(bad: Exception) -> str:
    """Return what went wrong, in the words of the library that found it."""
    return str(bad) or type(bad).__name__
