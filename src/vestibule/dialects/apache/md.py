"""``MD*``: certificates that are issued automatically, as mod_md has them.

Facts (its manual): ``MDomain`` names the domains that are to have certificates; a virtual host with TLS whose name is one of them
needs no ``SSLCertificateFile``. Let's Encrypt is asked unless ``MDCertificateAuthority`` names another. Its store, its windows
of renewal and its OCSP stapling are its own.

Rules: each virtual host gets a certificate for its own hosts. One with a file of its own keeps that.

Not here: getting certificates, and which virtual hosts speak TLS (``lower``).
"""

from __future__ import annotations

from vestibule.dialects.apache.scope import Scope, not_built
from vestibule.dialects.record import Record
from vestibule.model.config import Acme, Challenge, Issuer

_LETS_ENCRYPT = ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory")
_STAGING = ("letsencrypt-test", "https://acme-staging-v02.api.letsencrypt.org/directory")
_CHALLENGES: tuple[Challenge, ...] = ("http-01", "tls-alpn-01", "dns-01")
_ISSUER = "httpd"


class ManagedDomains:
    """What a file says of certificates that are issued."""

    def __init__(self, record: Record, main: Scope) -> None:
        self._record = record
        self._main = main
        words = [word.text.lower() for each in main.own("MDomain") for word in each.args]
        self._names = {word for word in words if word not in ("auto", "manual")}
        self.issuers: tuple[Issuer, ...] = ()
        self.acme = self._read() if self._names else Acme()

    def has(self, hosts: tuple[str, ...]) -> bool:
        """Tell whether a virtual host of these hosts gets its certificate issued."""
        return any(host in self._names for host in hosts)

    def _read(self) -> Acme:
        main = self._main
        authority = main.find("MDCertificateAuthority")
        url = authority.text() if authority is not None else _LETS_ENCRYPT[0]
        names: tuple[str, ...] = ()
        if url not in _LETS_ENCRYPT + _STAGING:
            assert authority is not None  # it said something else
            if not url.startswith("https://"):
                not_built(self._record, authority, 0, f"the authority `{url}`", "write the URL of its directory")
            self._record.origin("issuers[0].directory", authority.place(0))
            self.issuers, names = (Issuer(_ISSUER, url, main.text("MDCACertificateFile")),), (_ISSUER,)
        kind = main.text("MDPrivateKeys").lower()
        return Acme(
            email=main.text("MDContactEmail").removeprefix("mailto:"),
            issuers=names,
            staging=url in _STAGING,
            key_type="rsa" if kind.startswith("rsa") else "ecdsa",
            challenges=self._challenges(),
        )

    def _challenges(self) -> tuple[Challenge, ...]:
        directive = self._main.find("MDCAChallenges")
        found: list[Challenge] = []
        for word in directive.args if directive is not None else ():
            known = next((each for each in _CHALLENGES if each == word.text.lower()), None)
            if known is None:
                self._record.error(word.span, "bad-value", f"`{word.text}` is no challenge", "write http-01 or tls-alpn-01")
            elif known == "dns-01":
                self._record.error(
                    word.span, "not-built", "proofs by a program of mod_md are not built yet", "declare `dns_providers` in TOML"
                )
            else:
                found.append(known)
        return tuple(found)
