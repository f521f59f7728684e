"""``SSL*``: certificates of virtual hosts, and how TLS is spoken on a socket.

Facts: versions and ciphers of a socket are those of its first virtual host, since they are settled before a name is known.

Rules: TLS before 1.2 is not spoken, whatever a file asks for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from vestibule.dialects.apache.scope import Scope, not_built
from vestibule.dialects.record import Record
from vestibule.model.config import Certificate, TlsProfile
from vestibule.model.diagnostic import Span

_VERSIONS = ("SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_SPOKEN = _VERSIONS[-2:]


class Tls:
    """Collects certificates and profiles."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._certificates: dict[tuple[str, str], Certificate] = {}
        self._profiles: list[TlsProfile] = []

    def certificates(self) -> tuple[Certificate, ...]:
        """Return those that were asked for."""
        return tuple(self._certificates.values())

    def profiles(self) -> tuple[TlsProfile, ...]:
        """Return those that are not built in."""
        return tuple(self._profiles)

    def certificates_of(self, scope: Scope, span: Span) -> tuple[str, ...]:
        """Return the names of a virtual host's certificates."""
        files, keys = scope.nearest("SSLCertificateFile"), scope.nearest("SSLCertificateKeyFile")
        if keys and len(files) != len(keys):
            message = f"there are {len(files)} `SSLCertificateFile` and {len(keys)} `SSLCertificateKeyFile`"
            self._record.error(files[0].span if files else span, "missing", message, "each needs the other")
        names: list[str] = []
        for at, file in enumerate(files):
            key = keys[at].text() if at < len(keys) else ""
            known = (file.text(), key)
            if known not in self._certificates:
                place = f"certificates[{len(self._certificates)}]"
                self._record.origin(place, file.span)
                if key:
                    self._record.origin(f"{place}.key", keys[at].span)
                taken = any(each.name == file.text() for each in self._certificates.values())
                self._certificates[known] = Certificate(" ".join(known) if taken else file.text(), *known)
            names.append(self._certificates[known].name)
        return tuple(names)

    def profile(self, default: Scope, scopes: list[Scope], span: Span) -> str:
        """Return the TLS profile of a socket, making it where no built-in one says the same."""
        minimum, maximum = self._versions(default)
        ca, verify = self._client_certificates(default, scopes)
        ciphers = default.find("SSLCipherSuite")
        text = "" if ciphers is None or len(ciphers.args) == 2 else ciphers.text()
        bare = TlsProfile("", minimum, maximum, _cipher_list(text), (), default.flag("SSLSessionTickets", True), ca, verify)
        if bare == TlsProfile(""):
            return "intermediate"
        for known in self._profiles:
            if replace(known, name="") == bare:
                return known.name
        self._record.origin(f"tls_profiles[{len(self._profiles)}]", span)
        self._profiles.append(replace(bare, name=f"httpd {len(self._profiles) + 1}"))
        return self._profiles[-1].name

    def _versions(self, scope: Scope) -> tuple[Literal["1.2", "1.3"], Literal["1.2", "1.3"]]:
        directive = scope.find("SSLProtocol")
        spoken = set(_SPOKEN)
        for at, word in enumerate(directive.args if directive is not None else ()):
            sign = word.text[0] if word.text[0] in "+-" else ""
            name = word.text.removeprefix(sign)
            versions = set(_SPOKEN) if name.lower() == "all" else {each for each in _SPOKEN if each.lower() == name.lower()}
            if name.lower() not in ("all", "sslv2", *[each.lower() for each in _VERSIONS]):
                self._record.error(word.span, "bad-value", f"`{word.text}` is no version of TLS", "write `all -SSLv3 -TLSv1 -TLSv1.1`")
            if not sign and at == 0:
                spoken = set()
            if sign != "-" and not versions and name.lower() != "all":
                self._record.warning(word.span, "differs", f"`{name}` is not spoken", "it is broken; 1.2 is the oldest version")
            spoken = spoken - versions if sign == "-" else spoken | versions
        if not spoken:
            return "1.2", "1.3"
        return "1.2" if "TLSv1.2" in spoken else "1.3", "1.3" if "TLSv1.3" in spoken else "1.2"

    def _client_certificates(self, default: Scope, scopes: list[Scope]) -> tuple[str, Literal["require", "optional"]]:
        for scope in scopes:
            for name in ("SSLVerifyClient", "SSLCACertificateFile"):
                if scope.text(name) != default.text(name):
                    found = scope.find(name) or default.find(name)
                    assert found is not None
                    not_built(self._record, found, 0, f"`{name}` that differs between virtual hosts of one socket", "use two ports")
        directive = default.find("SSLVerifyClient")
        if directive is None or directive.text().lower() == "none":
            return "", "require"
        if directive.text().lower() not in ("require", "optional"):
            not_built(self._record, directive, 0, f"`{directive.text()}` for client certificates", "write `require` or `optional`")
        ca = default.text("SSLCACertificateFile")
        if not ca:
            self._record.error(directive.span, "missing", "client certificates need their authorities", "add `SSLCACertificateFile`")
        return ca, "require" if directive.text().lower() == "require" else "optional"


def _cipher_list(text: str) -> tuple[str, ...]:
    """Split a list of OpenSSL; Debian's default says no more than that broken ciphers are left out."""
    return () if text in ("", "DEFAULT", "HIGH:!aNULL", "HIGH:!aNULL:!MD5") else tuple(text.split(":"))
