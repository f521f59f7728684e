"""Certificates that come by themselves: who issues them and how names are proven (RFC 8555)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Challenge: TypeAlias = Literal["http-01", "tls-alpn-01", "dns-01"]

BUILT_IN_ISSUERS = ("letsencrypt", "zerossl")
"""Issuers that exist without being declared."""


@dataclass(frozen=True, slots=True)
class OnDemand:
    """Certificates for hosts on demand: issued when a client first asks for a name."""

    ask: str = ""
    """The URL that is asked whether a name may have a certificate, with ``?domain=NAME`` added: 200 is a yes, anything else a no.
    Needed where hosts are wildcards or any."""
    ask_within_ms: int = 5_000
    """How long it may take to answer; no answer is a no."""
    orders: int = 30
    """Orders and renewals at issuers for such names within ``per``; whoever asks beyond that is refused."""
    per_ms: int = 3_600_000
    """The time that ``orders`` is for."""
    names: int = 1_000
    """Names that may have such a certificate; whoever asks for one more is refused."""


@dataclass(frozen=True, slots=True)
class Acme:
    """What holds for all certificates that are issued automatically."""

    email: str = ""
    """Where issuers may write to. ZeroSSL, the second choice, is asked only if there is one."""
    issuers: tuple[str, ...] = ()
    """Who is asked, by name, the next where one fails: ``letsencrypt``, ``zerossl`` or declared ones. Empty is Let's Encrypt,
    and then ZeroSSL where there is an ``email``."""
    staging: bool = False
    """Whether Let's Encrypt's staging service is asked: for trying things out, its certificates are trusted by nobody and its
    limits are wide. Other issuers are left out then."""
    key_type: Literal["ecdsa", "rsa"] = "ecdsa"
    """The kind of key: ``ecdsa`` (P-256), or ``rsa`` (2048 bits) for very old clients."""
    challenges: tuple[Challenge, ...] = ()
    """How names are proven, most wanted first; another is tried after a failure. Empty is ``dns-01`` where a DNS provider is
    for the name, then ``tls-alpn-01`` and ``http-01`` as the site's listeners allow. Wildcards need ``dns-01``."""
    on_demand: OnDemand = OnDemand()
    """What holds for hosts whose certificates are issued when a client asks for them."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """An authority that issues certificates by ACME."""

    name: str
    """How ``issuers`` refers to it. ``letsencrypt`` and ``zerossl`` may be declared too, to give them options."""
    directory: str = ""
    """The URL of its directory; empty for the built-in ones."""
    ca: str = ""
    """A PEM file of the authority that certifies the directory's own HTTPS, for issuers within the house."""
    email: str = ""
    """Where this issuer may write to; empty is the address of all."""
    eab_kid: str = ""
    """The key identifier of an external account, where the issuer wants one."""
    eab_key: str = ""
    """The HMAC key of that account, base64url as the issuer shows it: ``file:PATH`` or ``env:NAME``."""


@dataclass(frozen=True, slots=True)
class DnsProvider:
    """Whoever can write TXT records for names, which proves them without a port being reachable."""

    name: str
    """How messages refer to it."""
    provider: str
    """``rfc2136`` (a name server that takes updates), ``hook`` (a program of yours), or a provider of dns-lexicon such as
    ``cloudflare``."""
    zones: tuple[str, ...] = ()
    """The domains it is for, with all below them; empty is every name. The longest that fits wins."""
    options: tuple[tuple[str, str], ...] = ()
    """What the provider needs. A value ``file:PATH`` is the first line of a file, ``env:NAME`` a variable of the environment;
    keep secrets in those."""
    wait_ms: int = 0
    """How long to wait in any case between writing a record and telling the issuer."""
    seen_within_ms: int = 120_000
    """For how long the name servers of the zone are asked until all show the record; when the time is over and one does not, the
    try has failed. 0 asks nobody."""
    resolvers: tuple[str, ...] = ()
    """The name servers, by address, that are asked which servers a zone has; empty is the system's."""
