"""Certificates of sites to the TLS contexts of listeners.

Facts: a client names the host it wants in its hello (RFC 6066 3); one that connects to a bare address
names none. A certificate covers one label with a wildcard (RFC 6125 6.4.3).

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
        contexts: dict[str, ssl.SSLContext] = {}
        for at in here:
            site = self._config.sites[at]
            context = self.site_context(f"sites[{at}]", site, listener, profile)
            if context is not None:
                contexts[site.name] = context
        if not contexts:
            if not here:
                self._mistakes.add(f"{key}.tls", "no site is served here, so there is no certificate")
            return None
        default = self._default(listener, [self._config.sites[at] for at in here], contexts)
        choice = TlsChoice(next(iter(contexts.values())), default)
        for at in here:
            site = self._config.sites[at]
            if site.name in contexts:
                for host in site.hosts:
                    if host != model.ANY_HOST:
                        choice.add(host, contexts[site.name])
        choice.arm()
        return choice

    def _default(self, listener: model.Listener, sites: list[model.Site], contexts: dict[str, ssl.SSLContext]) -> ssl.SSLContext | None:
        for site in sites:
            if any(host == model.ANY_HOST or _is_address(host) for host in site.hosts) and site.name in contexts:
                return contexts[site.name]
        if listener.unknown_sni != "default":
            return None
        return contexts.get(listener.default_site) or next(iter(contexts.values()))

    def site_context(self, key: str, site: model.Site, listener: model.Listener, profile: model.TlsProfile) -> ssl.SSLContext | None:
        """Make the context of a site on a listener; None after a mistake."""
        names = list(site.certificates)
        if site.internal_tls:
            names.append(INTERNAL_PREFIX + site.name)
        if not names:
            self._mistakes.add(f"{key}.certificates", f"the site `{site.name}` is served with TLS and has no certificate")
            return None
        pairs: list[KeyPair] = []
        for name in names:
            pair = self._assets.certificates.get(name)
            if pair is None:
                self._mistakes.add(f"{key}.certificates", f"the certificate `{name}` was not read")
            else:
                pairs.append(pair)
        if len(pairs) != len(names):
            return None
        made = (listener.name, "\n".join(names))
        if made not in self._made:
            self._made[made] = self._context(key, pairs, profile)
        return self._made[made]

    def _context(self, key: str, pairs: list[KeyPair], profile: model.TlsProfile) -> ssl.SSLContext | None:
        authorities = self._assets.authorities.get(profile.client_ca, "") if profile.client_ca else ""
        if profile.client_ca and not authorities:
            self._mistakes.add("tls_profiles", f"`{profile.client_ca}`, the client_ca of `{profile.name}`, was not read")
            return None
        if profile.groups:
            self._mistakes.add("tls_profiles", f"`groups` of `{profile.name}` is not part of this build; the library's are used without")
        if len(pairs) > 1:
            self._mistakes.add(f"{key}.certificates", "several certificates for one site are not part of this build; name one")
            return None
        try:
            return server_context(
                pairs[0].chain_pem.encode(),
                pairs[0].key_pem.encode(),
                profile.minimum,
                profile.maximum,
                ":".join(profile.ciphers) or INTERMEDIATE_CIPHERS,
                ("http/1.1",),
                bytes.fromhex(self._assets.ticket_key) if profile.tickets else b"",
                authorities.encode(),
                profile.client_verify == "require",
            )
        except (OSError, ValueError) as bad:
            self._mistakes.add(f"{key}.certificates", reason(bad))
            return None


def _is_address(host: str) -> bool:
    return host.startswith("[") or (host.count(".") == 3 and host.replace(".", "").isdigit())


def reason(bad: Exception) -> str:
    """Return what went wrong, in the words of the library that found it."""
    return str(bad) or type(bad).__name__
