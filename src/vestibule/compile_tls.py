"""Certificates of sites to the TLS contexts of listeners.

Facts: a client names the host it wants in its hello (RFC 6066 3); one that connects to a bare address
names none. A wildcard in a certificate stands for one label (RFC 6125 6.4.3).

Rules: contexts are made for each listener, since the one a handshake begins with belongs to its choice.
Who names no host, or one that nobody has, gets what `unknown_sni` says; a site for any host, or for an
address, is a default by its nature.

Not here: reading of files (`control/certs.py`), the handshake (`net/`).
"""

import ssl

from vestibule.compile_expr import Mistakes
from vestibule.link.messages import INTERNAL_PREFIX, Assets, KeyPair
from vestibule.model import config as model
from vestibule.net.tls import INTERMEDIATE_CIPHERS, TlsChoice, server_context

_ALPN = {"h1": "http/1.1", "h2": "h2"}

MODERN = model.TlsProfile("modern", minimum="1.3")
INTERMEDIATE = model.TlsProfile("intermediate")


class TlsMaker:
    """Makes the choice of certificates for each listener of a configuration."""

    def __init__(self, mistakes: Mistakes, config: model.Config, assets: Assets) -> None:
        self._mistakes = mistakes
        self._config = config
        self._assets = assets
        self._made: dict[tuple[str, str], ssl.SSLContext | None] = {}

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
        here = [at for at in range(len(self._config.sites)) if listener.name in self._config.sites[at].listeners]
        served: dict[str, ssl.SSLContext] = {}
        firsts: dict[str, ssl.SSLContext] = {}
        for at in here:
            site = self._config.sites[at]
            for host, context in self.contexts(f"sites[{at}]", site, listener, profile):
                served[host] = context
                firsts.setdefault(site.name, context)
        if not firsts:
            if not here:
                self._mistakes.add(f"{key}.tls", "no site is served here, so there is no certificate")
            return None
        default = self._default(listener, [self._config.sites[at] for at in here], served, firsts)
        choice = TlsChoice(next(iter(firsts.values())), default)
        for host, context in served.items():
            if host != model.ANY_HOST:
                choice.add(host, context)
        choice.arm()
        return choice

    def _default(
        self,
        listener: model.Listener,
        sites: list[model.Site],
        served: dict[str, ssl.SSLContext],
        firsts: dict[str, ssl.SSLContext],
    ) -> ssl.SSLContext | None:
        for site in sites:
            for host in site.hosts:
                if (host == model.ANY_HOST or _is_address(host)) and host in served:
                    return served[host]
        if listener.unknown_sni != "default":
            return None
        return firsts.get(listener.default_site) or next(iter(firsts.values()))

    def contexts(self, key: str, site: model.Site, listener: model.Listener, profile: model.TlsProfile) -> list[tuple[str, ssl.SSLContext]]:
        """Make the contexts of a site on a listener, one for each host; none after a mistake."""
        names = list(site.certificates)
        if site.internal_tls:
            names.append(INTERNAL_PREFIX + site.name)
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
        for host in site.hosts:
            at = self._covering(f"{key}.certificates", host, names, pairs)
            context = self._context(f"{key}.certificates", names[at], pairs[at], listener, profile)
            if context is not None:
                found.append((host, context))
        return found

    def _covering(self, key: str, host: str, names: list[str], pairs: list[KeyPair]) -> int:
        """Return which certificate is for a host: the only one, or the one with its name in it."""
        if len(pairs) == 1:
            return 0
        fit: list[int] = []
        for at in range(len(pairs)):
            try:
                if _covers(_names_of(pairs[at]), host):
                    fit.append(at)
            except ValueError as bad:
                self._mistakes.add(key, f"the certificate `{names[at]}` cannot be read: {bad}")
        if len(fit) > 1:
            both = "`, `".join([names[at] for at in fit])
            self._mistakes.add(key, f"`{both}` are all for `{host}`; certificates that differ by key type only are not part of this build")
        elif not fit and host != model.ANY_HOST:
            self._mistakes.add(key, f"none of the certificates is for `{host}`")
        return fit[0] if fit else 0

    def _context(self, key: str, name: str, pair: KeyPair, listener: model.Listener, profile: model.TlsProfile) -> ssl.SSLContext | None:
        if (listener.name, name) in self._made:
            return self._made[(listener.name, name)]
        context = self._make(key, name, pair, listener, profile)
        self._made[(listener.name, name)] = context
        return context

    def _make(self, key: str, name: str, pair: KeyPair, listener: model.Listener, profile: model.TlsProfile) -> ssl.SSLContext | None:
        authorities = self._assets.authorities.get(profile.client_ca, "") if profile.client_ca else ""
        if profile.client_ca and not authorities:
            self._mistakes.add("tls_profiles", f"`{profile.client_ca}`, the client_ca of `{profile.name}`, was not read")
            return None
        if profile.groups:
            self._mistakes.add("tls_profiles", f"`groups` of `{profile.name}` is not part of this build; the library's are used without")
        try:
            return server_context(
                pair.chain_pem.encode(),
                pair.key_pem.encode(),
                profile.minimum,
                profile.maximum,
                ":".join(profile.ciphers) or INTERMEDIATE_CIPHERS,
                tuple([_ALPN[protocol] for protocol in listener.protocols]),
                bytes.fromhex(self._assets.ticket_key) if profile.tickets else b"",
                authorities.encode(),
                profile.client_verify == "require",
            )
        except (OSError, ValueError) as bad:
            self._mistakes.add(key, f"`{name}`: {reason(bad)}")
            return None


def _names_of(pair: KeyPair) -> list[str]:
    """Return the names a certificate is for (RFC 6125 6.4). Raises ValueError."""
    from cryptography import x509  # a large library, needed only where a site has several certificates

    leaf = x509.load_pem_x509_certificate(pair.chain_pem.encode())
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
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
