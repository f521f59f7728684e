"""``ssl_*``: certificates of servers, and how TLS is spoken on a socket.

Facts: the versions and ciphers of a socket are those of its default server, since they are settled before a name is known. Each
server of ``http`` asks clients for certificates as it says; whatever is shown, the handshake goes on, and requests are refused (400),
which is how nginx itself does it. In ``stream`` there are no requests, and the handshake ends. nginx's own defaults are as
vestibule's ``intermediate`` profile or weaker, and that profile takes their place.

Rules: TLS before 1.2 is not spoken, whatever a file asks for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from vestibule.dialects.nginx.flow import not_built
from vestibule.dialects.nginx.listening import Door
from vestibule.dialects.nginx.scope import Scope
from vestibule.dialects.record import Record
from vestibule.model.config import Action, Certificate, ClientCertificate, Deny, TlsProfile, When
from vestibule.model.diagnostic import Span
from vestibule.model.expr import Compare, Const, Expr, InSet, Not, Var

_Verify: TypeAlias = Literal["require", "optional", "any"]

_VERSIONS = ("SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_VERIFIES: dict[str, _Verify] = {"on": "require", "optional": "optional", "optional_no_ca": "any"}

_NO_CA = ("2", "18", "19", "20", "21")
"""Numbers of OpenSSL for an issuer that is not known, or a certificate that signs itself: what ``optional_no_ca`` lets in."""

_BAD, _NONE = "495", "496"
"""What ``error_page`` calls a request with a bad certificate, and one without; where it names neither they are 400."""


@dataclass(frozen=True, slots=True)
class _Clients:
    """What is asked of clients; the words are those of ``TlsProfile``."""

    verify: _Verify = "require"
    ca: str = ""
    crl: str = ""
    depth: int | None = None
    more: str = ""
    asks: bool = False

    def taken(self) -> _Clients:
        """Return the same where handshakes go on whatever is shown."""
        return replace(self, verify="any") if self.asks else self


class Tls:
    """Collects certificates and profiles."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._certificates: dict[tuple[str, str, str], Certificate] = {}
        self._profiles: list[TlsProfile] = []

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
        return tuple(dict.fromkeys(names))

    def profile(self, door: Door, default: Scope, answers: bool) -> str:
        """Return the TLS profile of a socket, making it where no built-in one says the same. ``answers``: requests are refused, and
        not handshakes."""
        if not door.tls:
            return "intermediate"
        minimum, maximum = self._versions(default)
        clients = self._clients_of(default)
        if answers:
            clients = clients.taken()
        curves = default.text("ssl_ecdh_curve", "auto")
        self._look_at_sessions(default)
        bare = TlsProfile(
            "",
            minimum,
            maximum,
            _cipher_list(default.text("ssl_ciphers")),
            () if curves == "auto" else tuple(curves.split(":")),
            default.flag("ssl_session_tickets", True),
            clients.ca,
            clients.verify,
            clients.crl,
            clients.depth,
            self._suites(default),
            clients.more,
        )
        return self._named(bare, door.span)

    def client_profile(self, doors: list[tuple[Door, Scope]], scope: Scope, span: Span) -> str:
        """Return the profile that says what a server asks clients for; nothing where its sockets (each with its default server) do so."""
        if scope.find("ssl_certificate") is None:
            return ""  # nginx begins with the default server's, and has nothing to change to
        clients = self._clients_of(scope).taken()
        if all(not door.tls or self._clients_of(default).taken() == clients for door, default in doors):
            return ""
        bare = TlsProfile(
            "",
            client_ca=clients.ca,
            client_verify=clients.verify,
            client_crl=clients.crl,
            client_depth=clients.depth,
            client_ca_more=clients.more,
        )
        return self._named(bare, span)

    def _named(self, bare: TlsProfile, span: Span) -> str:
        if bare == TlsProfile(""):
            return "intermediate"
        for known in self._profiles:
            if replace(known, name="") == bare:
                return known.name
        self._record.origin(f"tls_profiles[{len(self._profiles)}]", span)
        self._profiles.append(replace(bare, name=f"nginx {len(self._profiles) + 1}"))
        return self._profiles[-1].name

    def _look_at_sessions(self, scope: Scope) -> None:
        """Say what becomes of sessions where a file keeps them in a cache and not in tickets."""
        tickets, cache = scope.find("ssl_session_tickets"), scope.find("ssl_session_cache")
        if tickets is None or scope.flag("ssl_session_tickets", True) or cache is None or cache.text() in ("off", "none"):
            return
        message = "no session is resumed: there is no cache of sessions, and without tickets each connection has a whole handshake"
        hint = "take `ssl_session_tickets off` out: keys of tickets are changed regularly here, and all workers share them"
        self._record.warning(tickets.span, "differs", message, hint)

    def _suites(self, scope: Scope) -> tuple[str, ...]:
        """Return the suites of TLS 1.3, for which nginx has but this way."""
        suites: tuple[str, ...] = ()
        for directive in scope.nearest("ssl_conf_command"):
            if directive.text().lower() == "ciphersuites":
                suites = tuple(directive.text(1).split(":"))
            else:
                message = f"`ssl_conf_command {directive.text()}` is left out"
                self._record.warning(directive.span, "left-out", message, "vestibule has its own, safe choice here")
        return suites

    def asks_of(self, scope: Scope) -> tuple[Action, ...]:
        """Return what a server asks at its requests, on TLS only: whether the certificate is there and good."""
        clients = self._clients_of(scope, has_default=True)
        if not clients.asks:
            return ()
        told = {word for directive in scope.nearest("error_page") for word in directive.texts}
        error = Var("tls_client_error")
        bad: Expr = Compare("!=", error, Const(0))
        if clients.verify == "any":
            bad = Not(InSet(error, ("0", *_NO_CA)))
        missing: tuple[Action, ...] = ()
        if clients.verify == "require":
            if not told & {_BAD, _NONE}:
                return (When(Var("tls"), (ClientCertificate(400),)),)
            missing = (When(Compare("==", Var("tls_client_verify"), Const("NONE")), (Deny(int(_NONE) if _NONE in told else 400),)),)
        return (When(Var("tls"), (When(bad, (Deny(int(_BAD) if _BAD in told else 400),)), *missing)),)

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

    def _clients_of(self, scope: Scope, has_default: bool = False) -> _Clients:
        """Return what one server asks of clients; with ``has_default`` it may have been the default one that did."""
        directive = scope.find("ssl_verify_client")
        if directive is None or directive.text() == "off":
            return _Clients()
        verify = _VERIFIES.get(directive.text())
        if verify is None:
            hint = "write `on`, `optional`, `optional_no_ca` or `off`"
            self._record.error(directive.place(0), "bad-value", f"`{directive.text()}` says nothing about client certificates", hint)
            return _Clients()
        ca = scope.text("ssl_client_certificate")
        trusted = scope.text("ssl_trusted_certificate")
        more = trusted if ca and trusted != ca else ""
        ca = ca or trusted
        if not ca and verify != "any" and not (has_default and scope.find("ssl_certificate") is None):
            self._record.error(directive.span, "missing", "client certificates need their authorities", "add `ssl_client_certificate`")
        return _Clients(verify, ca, scope.text("ssl_crl") if ca else "", scope.count("ssl_verify_depth", 1) if ca else None, more, True)


def _cipher_list(text: str) -> tuple[str, ...]:
    """Split a list of OpenSSL; nginx's default says no more than that broken ciphers are left out."""
    return () if text in ("", "DEFAULT", "HIGH:!aNULL:!MD5") else tuple(text.split(":"))
