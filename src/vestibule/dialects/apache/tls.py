"""``SSL*``: certificates of virtual hosts, and how TLS is spoken on a socket.

Facts: versions and ciphers of a socket are those of its first virtual host, since they are settled before a name is known.
Where virtual hosts of one socket ask clients for different things, everybody may connect, and requests to those that require a
certificate are refused without one.

Rules: TLS before 1.2 is not spoken, whatever a file asks for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from vestibule.dialects.apache.scope import Scope, authorities_between, not_built
from vestibule.dialects.apache.tree import Directive
from vestibule.dialects.record import Record
from vestibule.model.config import Action, Certificate, ClientCertificate, TlsProfile, When
from vestibule.model.diagnostic import Span
from vestibule.model.expr import Var

_Verify: TypeAlias = Literal["require", "optional", "any"]

_VERSIONS = ("SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_SPOKEN = _VERSIONS[-2:]

_VERIFIES: dict[str, _Verify] = {"require": "require", "optional": "optional", "optional_no_ca": "any"}


@dataclass(frozen=True, slots=True)
class _Clients:
    """What is asked of clients; the words are those of ``TlsProfile``."""

    verify: _Verify = "require"
    ca: str = ""
    crl: str = ""
    depth: int | None = None


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
        chain = scope.find("SSLCertificateChainFile")
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
                name = " ".join(known) if taken else file.text()
                self._certificates[known] = Certificate(name, *known, chain="" if chain is None else chain.text())
                if chain is not None:
                    self._record.origin(f"{place}.chain", chain.span)
            names.append(self._certificates[known].name)
        return tuple(names)

    def profile(self, default: Scope, scopes: list[Scope], span: Span) -> str:
        """Return the TLS profile of a socket, making it where no built-in one says the same."""
        minimum, maximum = self._versions(default)
        clients = self._clients_of_door(scopes)
        text, suites = self._suites(default)
        bare = TlsProfile(
            "",
            minimum,
            maximum,
            _cipher_list(text),
            self._groups(default),
            default.flag("SSLSessionTickets", True),
            clients.ca,
            clients.verify,
            clients.crl,
            clients.depth,
            suites,
        )
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

    def asks_of(self, doors: list[list[Scope]], scope: Scope) -> tuple[Action, ...]:
        """Return what a virtual host itself must ask, where the sockets it is on do not ask it of everybody."""
        own = self._clients_of(scope)
        if own.verify != "require" or not own.ca:
            return ()
        if any(self._clients_of(each) != own for scopes in doors for each in scopes):
            return (When(Var("tls"), (ClientCertificate(403),)),)
        return ()

    def _suites(self, scope: Scope) -> tuple[str, tuple[str, ...]]:
        """Return the ciphers of TLS 1.2, and the suites of 1.3 that a first word `TLSv1.3` announces."""
        ciphers = ""
        suites: tuple[str, ...] = ()
        for directive in scope.nearest("SSLCipherSuite"):
            if len(directive.args) == 1 or directive.text().lower() == "ssl":
                ciphers = directive.texts[-1]
            else:
                suites = tuple(directive.text(1).split(":"))
        return ciphers, suites

    def _groups(self, scope: Scope) -> tuple[str, ...]:
        groups: tuple[str, ...] = ()
        for directive in scope.nearest("SSLOpenSSLConfCmd"):
            if directive.text().lower() in ("groups", "curves"):
                groups = tuple(directive.text(1).split(":"))
            else:
                message = f"`SSLOpenSSLConfCmd {directive.text()}` is left out"
                self._record.warning(directive.span, "left-out", message, "vestibule has its own, safe choice here")
        return groups

    def _clients_of_door(self, scopes: list[Scope]) -> _Clients:
        """Return what a socket asks of clients: what its hosts do, or, where only some ask, what leaves it to them."""
        found = [(scope, self._clients_of(scope)) for scope in scopes]
        asking = [(scope, clients) for scope, clients in found if clients != _Clients()]
        if not asking:
            return _Clients()
        first = asking[0][1]
        for scope, clients in asking[1:]:
            mixed = clients.verify != first.verify and "any" in (clients.verify, first.verify)
            if mixed or replace(clients, verify=first.verify) != first:
                place = scope.find("SSLVerifyClient") or scope.directives[0]
                what = "asking clients for certificates in another way than another virtual host of the socket"
                not_built(self._record, place, 0, what, "use two ports, or put the authorities into one file")
                return first
        if first.verify != "any" and any(clients != first for _, clients in found):
            return replace(first, verify="optional")
        return first

    def _clients_of(self, scope: Scope) -> _Clients:
        """Return what one virtual host asks of clients."""
        directive = scope.find("SSLVerifyClient")
        if directive is None or directive.text().lower() == "none":
            # What only some paths ask for is left to clients at the handshake, and asked for at the request.
            sections = [each.block or () for each in scope.own("Location", "LocationMatch")]
            inside = [each for section in sections for each in section if each.name == "sslverifyclient"]
            asking = [each for each in inside if each.text().lower() != "none"]
            if not asking:
                return _Clients()
            return replace(self._asked(scope, asking[0], "optional"), verify="optional")
        verify = _VERIFIES.get(directive.text().lower())
        if verify is None:
            hint = "write `require`, `optional`, `optional_no_ca` or `none`"
            self._record.error(directive.place(0), "bad-value", f"`{directive.text()}` says nothing about client certificates", hint)
            return _Clients()
        return self._asked(scope, directive, verify)

    def _asked(self, scope: Scope, directive: Directive, verify: _Verify) -> _Clients:
        ca = scope.text("SSLCACertificateFile")
        if not ca and verify != "any":
            self._record.error(directive.span, "missing", "client certificates need their authorities", "add `SSLCACertificateFile`")
        return _Clients(verify, ca, self._lists(scope) if ca else "", authorities_between(scope, "SSLVerifyDepth") if ca else None)

    def _lists(self, scope: Scope) -> str:
        """Return the file of revocation lists; httpd looks at it only where it is told to."""
        file, check = scope.find("SSLCARevocationFile"), scope.find("SSLCARevocationCheck")
        how = "none" if check is None else check.text().lower()
        if file is None:
            return ""
        if how == "none":
            message = "nobody is checked against these lists"
            self._record.warning(file.span, "left-out", message, "httpd does not either; add `SSLCARevocationCheck chain`")
            return ""
        if how != "chain" or (check is not None and len(check.args) > 1):
            assert check is not None
            not_built(self._record, check, 0, f"`SSLCARevocationCheck {' '.join(check.texts)}`", "write `SSLCARevocationCheck chain`")
        return file.text()


def _cipher_list(text: str) -> tuple[str, ...]:
    """Split a list of OpenSSL; Debian's default says no more than that broken ciphers are left out."""
    return () if text in ("", "DEFAULT", "HIGH:!aNULL", "HIGH:!aNULL:!MD5") else tuple(text.split(":"))
