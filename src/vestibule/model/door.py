"""Where clients come in: addresses, listeners, TLS profiles, certificates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from vestibule.model.layer4 import Sessions, TcpRoute
from vestibule.model.settings import AccessLog, Limits, Timeouts

BUILT_IN_PROFILES = ("intermediate", "modern")
"""TLS profiles that exist without being declared, after Mozilla's recommendations of the same names."""


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A TCP port to listen on."""

    port: int
    """The port, 1 to 65535, or 0 for any free one."""
    host: str = "*"
    """An IPv4 or IPv6 address, or ``*`` for every address of both families."""
    v6only: bool = True
    """For an IPv6 address: leave IPv4 clients out. ``*`` takes both whatever this says."""


@dataclass(frozen=True, slots=True)
class UdpAddress:
    """A UDP port to listen on."""

    port: int
    """The port, 1 to 65535, or 0 for any free one."""
    host: str = "*"
    """An IPv4 or IPv6 address, or ``*`` for every address of both families."""
    v6only: bool = True
    """For an IPv6 address: leave IPv4 clients out. ``*`` takes both whatever this says."""


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A unix socket to listen on."""

    path: str
    """Where the socket is made."""
    mode: int = 0o660
    """Its permissions."""
    user: str = ""
    """Its owner; empty is who started the program."""
    group: str = ""
    """Its group; empty is that of who started the program."""


@dataclass(frozen=True, slots=True)
class InheritedAddress:
    """A socket that was open when the program started, as systemd's socket activation passes it."""

    name: str
    """``FileDescriptorName=`` of the socket unit."""


Address: TypeAlias = TcpAddress | UdpAddress | UnixAddress | InheritedAddress


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that accepts clients."""

    name: str
    """How sites refer to it."""
    address: Address
    """Where it listens."""
    tls: bool = False
    """Whether clients speak TLS here. Certificates come from the sites on this listener."""
    tls_profile: str = "intermediate"
    """The TLS profile: ``intermediate``, ``modern``, or a declared one."""
    unknown_sni: Literal["refuse", "default", "strict"] = "refuse"
    """A TLS client that names no host or one no site is for: ``refuse`` the handshake, or go on with the certificate of the
    ``default_site`` (of the first site, where that is not set). A site for any host takes all with ``refuse`` as well; with
    ``strict`` only names that a certificate is for."""
    default_site: str = ""
    """The site for hosts that no site here is named for; empty answers 421 unless a site has the host ``*``."""
    protocols: tuple[Literal["h1", "h2"], ...] = ("h2", "h1")
    """HTTP versions spoken, most wanted first. With TLS the client chooses among them (ALPN); without, HTTP/2 is known by
    the first bytes of a client that needs no asking (prior knowledge)."""
    proxy_protocol: bool = False
    """Whether each connection starts with a PROXY protocol header (version 1 or 2), which says who the client is. A connection
    without one, or from a peer that may not send it, is closed."""
    proxy_protocol_from: tuple[str, ...] = ()
    """The networks whose PROXY protocol headers are taken; none named is those of ``trusted_proxies``."""
    routes: tuple[TcpRoute, ...] = ()
    """With routes, connections are passed on as they are (layer 4), by the first that matches, and no site is served here. A
    connection that no route takes is closed."""
    backlog: int = 1_024
    """Connections the kernel keeps waiting."""
    timeouts: Timeouts | None = None
    """Time-outs of connections before a site is known."""
    limits: Limits | None = None
    """Limits of connections before a site is known."""
    bare_lf: bool = False
    """Whether a line of an HTTP/1 request head may end with LF alone (RFC 9112 section 2.2 leaves that open). A proxy in front
    that reads such a head otherwise can be made to let a request through unseen, so it is off. Chunks never may."""
    access_log: AccessLog | None = None
    """The access log of connections that are passed on, and of requests that no site is for, instead of the configuration's."""
    certificates: tuple[str, ...] = ()
    """With ``tls`` and ``routes``, where no site brings any: the certificates shown. TLS ends here then, and what is inside it is
    passed on. The first is for clients that name no host, or one that none of them is for, unless ``unknown_sni`` is ``strict``."""
    alpn: tuple[str, ...] = ()
    """With ``tls`` and ``routes``: the protocols offered to clients (ALPN), most wanted first, as their servers speak them; empty
    takes no part in that."""
    proxy_protocol_mode: Literal["strict", "open", "note"] = "strict"
    """What becomes of a PROXY header. With ``strict`` those who may send one are who connected from then on, and anybody else's
    connection is closed; with ``open`` anybody must send one, and that of the others is known (``announced_ip`` and its kin) and
    changes nothing; with ``note`` it changes nothing for anybody, and ``forwarding`` says whether it is believed."""
    sessions: Sessions | None = None
    """Of a UDP listener: what belongs together, and for how long."""
    refused_sni: tuple[str, ...] = ()
    """Hosts, and with ``*.`` all directly below one, for which no TLS handshake is made, whatever certificates there are."""
    half_close: bool = True
    """With ``routes``, whether one side may end what it sends and go on reading, so that each direction of a connection ends by itself
    (RFC 9293 section 3.6). Without it the whole connection ends with either, once what came before has been passed on."""
    hostless: bool = False
    """Whether a request of HTTP/1.1 or HTTP/2 may say no host at all, or in HTTP/1 what is none; it goes where names that no site has go,
    and on without one. RFC 9112 section 3.2 wants such a request of HTTP/1.1 refused (400), and most servers behind do."""
    exact: bool = False
    """Whether requests of HTTP/1 are refused (400) too that RFC 9110 leaves room for: a method of other characters than capital letters,
    ``_`` and ``-``, a Host that is empty, and a second line of a field that has one value, as ``If-Match`` and ``Authorization``."""
    foreign_host: bool = False
    """Whether a target that is a whole URL may name another host than Host does; the one in the URL counts then (RFC 9112 section
    3.2.2). Otherwise such a request is refused (400), since a proxy in front may have gone by the other."""
    wordy: bool = False
    """Whether HTTP/1.1 says what goes without saying: that a connection is kept (``Connection: keep-alive``), and that a client may go
    on (100) that expects to be told and has no body to send."""
    reasons: tuple[tuple[str, str], ...] = ()
    """What status lines of HTTP/1 say of a status (RFC 9112 section 4) where vestibule answers by itself, instead of the usual words."""


@dataclass(frozen=True, slots=True)
class TlsProfile:
    """How TLS is spoken with clients."""

    name: str
    """How listeners refer to it."""
    minimum: Literal["1.2", "1.3"] = "1.2"
    """The oldest version accepted."""
    maximum: Literal["1.2", "1.3"] = "1.3"
    """The newest version offered."""
    ciphers: tuple[str, ...] = ()
    """OpenSSL names for TLS 1.2; empty takes those of the intermediate profile."""
    groups: tuple[str, ...] = ()
    """OpenSSL names of key exchange groups; empty leaves the library's."""
    tickets: bool = True
    """Whether sessions may be resumed."""
    client_ca: str = ""
    """A PEM file of the authorities whose client certificates are accepted, or their certificates themselves; empty asks for none."""
    client_verify: Literal["require", "optional", "any", "shown"] = "require"
    """Whether a client must show a certificate, may, or may show any, which is then for the routes and the upstream to judge
    by ``tls_client_verify``: ``any`` needs no ``client_ca``. With ``shown`` it may be any and must be there."""
    client_crl: str = ""
    """A PEM file of revocation lists; with it every authority of ``client_ca`` on the way needs one that is in force."""
    client_depth: int | None = None
    """How many authorities may stand between a client's certificate and one of ``client_ca``; unset leaves that open."""
    suites: tuple[str, ...] = ()
    """OpenSSL names of suites for TLS 1.3; empty takes all three that the library has."""
    client_ca_more: str = ""
    """A PEM file of further authorities, beside those of ``client_ca``; empty is none."""

    @property
    def asks_clients(self) -> bool:
        """Whether clients are asked for a certificate."""
        return bool(self.client_ca) or self.client_verify in ("any", "shown")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its key."""

    name: str
    """How sites refer to it."""
    cert: str
    """A PEM file with the certificate and its chain, and the key unless ``key`` names another file."""
    key: str = ""
    """A PEM file with the private key; empty when it is in ``cert``."""
    password_file: str = ""
    """A file of which one line opens an encrypted key."""
    chain: str = ""
    """A PEM file with the certificates of those who signed, where ``cert`` does not hold them."""
    hosts: tuple[str, ...] = ()
    """The names it is shown for on sites for any host, instead of those in it; with ``!`` before it one that it is not for, ``!*`` none."""
