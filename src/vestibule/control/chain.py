"""Whether clients will believe a certificate: what is wrong with a chain that can be loaded all the same.

Facts: clients have roots, not intermediates; a server that leaves one out works in the browser that met it elsewhere and fails in
the app (RFC 8446 section 4.4.2). A certificate says where its issuer's is to be found (RFC 5280 section 4.2.2.1), and then that
one is an intermediate. Hosts are looked for in subjectAltName alone (RFC 6125 section 6.4.4).

Rules: a `Doubt` never stops what runs, since an expired certificate serves better than none; `check` counts the graver ones as
errors.

Not here: files, and what forbids the use of a pair (`certs.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from vestibule.model.config import ANY_HOST

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography import x509

# Renewal by any ACME client happens a month before the end; later than this nobody renews it any more.
EXPIRES_SOON = timedelta(days=10)


@dataclass(frozen=True, slots=True)
class Doubt:
    """What will probably not work; `is_grave` if it surely will not."""

    text: str
    is_grave: bool = True


def doubts_of(chain: Sequence[x509.Certificate], strangers: Sequence[x509.Certificate], path: Path, is_client: bool = False) -> list[Doubt]:
    """Judge a chain, leaf first; `strangers` stand in the same file and belong to no part of it.

    `is_client` is for one that we show to an upstream.
    """
    doubts: list[Doubt] = []
    for at, each in enumerate(chain):
        doubts += _doubts_of_time(each, at == 0, path)
    for lower, upper in pairwise(chain):
        if not _is_signed_by(lower, upper):
            what = f"{_name(upper)} in {path} did not sign {_name(lower)}, though it has the name of who did"
            doubts.append(Doubt(f"{what}; use the chain that came with it"))
    leaf = chain[0]
    if len(chain) == 1 and leaf.issuer != leaf.subject:
        if strangers:
            text = f"no certificate in {path} is that of {_words(leaf.issuer)}, who signed {_name(leaf)}; use the chain that came with it"
            doubts.append(Doubt(text))
        elif _has_published_issuer(leaf):
            doubts.append(Doubt(f"{path} holds no intermediate certificate; some clients will not trust it, use the full chain"))
    use = "clients" if is_client else "servers"
    if not _is_meant_for(leaf, is_client):
        doubts.append(Doubt(f"the certificate in {path} is not meant for {use} (extendedKeyUsage); ask for one that is"))
    return doubts


def missing_hosts(hosts: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the hosts of a site that a certificate with these names is not for."""
    lowered = {name.lower() for name in names}
    missing: list[str] = []
    for host in hosts:
        parent = "*." + host.partition(".")[2]
        is_named = host.strip("[]") in lowered or (not host.startswith("*.") and "." in host and parent in lowered)
        if host != ANY_HOST and not is_named:
            missing.append(host)
    return missing


def _doubts_of_time(certificate: x509.Certificate, is_leaf: bool, path: Path) -> list[Doubt]:
    what = "the certificate" if is_leaf else f"the intermediate certificate {_name(certificate)}"
    mend = "renew it" if is_leaf else "use the chain that came with the newest certificate"
    now = datetime.now(UTC)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if end <= now:
        return [Doubt(f"{what} in {path} expired on {end:%Y-%m-%d}; browsers refuse it, {mend}")]
    if begin > now:
        return [Doubt(f"{what} in {path} is valid from {begin:%Y-%m-%d %H:%M} UTC only; is the clock right?")]
    if end - now < EXPIRES_SOON and is_leaf:
        return [Doubt(f"{what} in {path} expires on {end:%Y-%m-%d}; renew it", is_grave=False)]
    return []


def _has_published_issuer(certificate: x509.Certificate) -> bool:
    """Whether the certificate says where its issuer's is to be found: then that one is an intermediate, not a root."""
    from cryptography import x509
    from cryptography.x509.oid import AuthorityInformationAccessOID

    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return False
    return any(each.access_method == AuthorityInformationAccessOID.CA_ISSUERS for each in access)


def _is_meant_for(leaf: x509.Certificate, is_client: bool) -> bool:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    try:
        uses = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    wanted = ExtendedKeyUsageOID.CLIENT_AUTH if is_client else ExtendedKeyUsageOID.SERVER_AUTH
    return wanted in uses or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in uses


def _is_signed_by(lower: x509.Certificate, upper: x509.Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        lower.verify_directly_issued_by(upper)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _name(certificate: x509.Certificate) -> str:
    return _words(certificate.subject)


def _words(name: x509.Name) -> str:
    return f"`{name.rfc4514_string()}`"
