"""``ssl_*``: certificates of servers, and how TLS is spoken on a socket.

Facts: the versions, ciphers and client certificates of a socket are those of its default server, since they are settled before a
name is known. nginx's own defaults are as vestibule's ``intermediate`` profile or weaker, and that profile takes their place.

Rules: TLS before 1.2 is not spoken, whatever a file asks for.
"""

from __future__ import annotations

from typing import Literal

from vestibule.dialects.nginx.flow import not_built
from vestibule.dialects.nginx.listening import Door
from vestibule.dialects.nginx.scope import Scope
from vestibule.dialects.record import Record
from vestibule.model.config import Certificate, TlsProfile
from vestibule.model.diagnostic import Span

_VERSIONS = ("SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_CLIENT_SETTINGS = ("ssl_verify_client", "ssl_client_certificate")


class Tls:
    """Collects certificates and profiles."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._certificates: dict[tuple[str, str, str], Certificate] = {}
        self._profiles: dict[TlsProfile, str] = {}

    def certificates(self) -> tuple[Certificate, ...]:
        """Return those that were asked for."""
        return tuple(self._certificates.values())

    def profiles(self) -> tuple[TlsProfile, ...]:
        """Return those that are not built in."""
        return tuple(self._profiles)

    def certificates_of(self, scope: Scope, span: Span) -> tuple[str, ...]:
        """Return the names of a server's certificates."""
        files, keys = scope.nearest("ssl_certificate"), scope.nearest("ssl_certificate_key")
        if len(files) != len(keys):
            message = f"there are {len(files)} `ssl_certificate` and {len(keys)} `ssl_certificate_key`"
            self._record.error(files[0].span if files else span, "missing", message, "each needs the other")
        names: list[str] = []
        for file, key in zip(files, keys, strict=False):
            for each in (file, key):
                if "$" in each.text() or each.text().startswith(("data:", "engine:")):
                    not_built(self._record, each.place(0), "a certificate that is no file", "name a PEM file")
            password = scope.text("ssl_password_file")
            known = (file.text(), key.text(), password)
            if known not in self._certificates:
                name = file.text() if all(file.text() != each.name for each in self._certificates.values()) else " ".join(known)
                place = f"certificates[{len(self._certificates)}]"
                self._record.origin(place, file.span)
                self._record.origin(f"{place}.key", key.span)
                self._certificates[known] = Certificate(name, file.text(), key.text() if key.text() != file.text() else "", password)
            names.append(self._certificates[known].name)
        return tuple(names)

    def profile(self, door: Door, scopes: list[Scope], default: Scope) -> str:
        """Return the TLS profile of a socket, making it where no built-in one says the same."""
        if not door.tls:
            return "intermediate"
        minimum, maximum = self._versions(default)
        ciphers = default.text("ssl_ciphers")
        client_ca, verify = self._client_certificates(default, scopes)
        tickets = default.flag("ssl_session_tickets", True)
        bare = TlsProfile("", minimum, maximum, _cipher_list(ciphers), (), tickets, client_ca, verify)
        if bare == TlsProfile(""):
            return "intermediate"
        for known, name in self._profiles.items():
            if bare == TlsProfile("", *[getattr(known, each) for each in TlsProfile.__slots__[1:]]):
                return name
        name = f"nginx {len(self._profiles) + 1}"
        self._record.origin(f"tls_profiles[{len(self._profiles)}]", door.span)
        self._profiles[TlsProfile(name, *[getattr(bare, each) for each in TlsProfile.__slots__[1:]])] = name
        return name

    def _versions(self, scope: Scope) -> tuple[Literal["1.2", "1.3"], Literal["1.2", "1.3"]]:
        directive = scope.find("ssl_protocols")
        if directive is None:
            return "1.2", "1.3"
        for word in directive.args:
            if word.text not in _VERSIONS:
                self._record.error(word.span, "bad-value", f"`{word.text}` is no version of TLS", "write `TLSv1.2 TLSv1.3`")
            elif word.text not in _VERSIONS[-2:]:
                self._record.warning(word.span, "differs", f"`{word.text}` is not spoken", "it is broken; 1.2 is the oldest version")
        asked = [text for text in directive.texts if text in _VERSIONS[-2:]]
        if not asked:
            return "1.2", "1.3"
        return "1.2" if "TLSv1.2" in asked else "1.3", "1.3" if "TLSv1.3" in asked else "1.2"

    def _client_certificates(self, default: Scope, scopes: list[Scope]) -> tuple[str, Literal["require", "optional"]]:
        for scope in scopes:
            for name in _CLIENT_SETTINGS:
                if scope.text(name) != default.text(name):
                    found = scope.find(name) or default.find(name)
                    assert found is not None
                    not_built(self._record, found.span, f"`{name}` that differs between servers of one socket", "use two ports")
        directive = default.find("ssl_verify_client")
        if directive is None or directive.text() == "off":
            return "", "require"
        if directive.text() not in ("on", "optional"):
            not_built(self._record, directive.place(0), f"`{directive.text()}` for client certificates", "write `on` or `optional`")
        ca = default.text("ssl_client_certificate")
        if not ca:
            self._record.error(directive.span, "missing", "client certificates need their authorities", "add `ssl_client_certificate`")
        return ca, "require" if directive.text() == "on" else "optional"


def _cipher_list(text: str) -> tuple[str, ...]:
    """Split a list of OpenSSL; nginx's default says no more than that broken ciphers are left out."""
    return () if text in ("", "DEFAULT", "HIGH:!aNULL:!MD5") else tuple(text.split(":"))
