"""Whether a TXT record can be seen at the name servers of its zone, which is where issuers look. Blocks; for threads.

Facts: the name servers of a zone do not all change at once, and an issuer may ask any of them. A resolver in between remembers that
a record was not there (RFC 2308), so it is asked only whose the name is: the zone, behind whatever CNAME stands at the name
(RFC 8555 section 8.4), its name servers and their addresses. A failed validation counts at the issuer, a wait does not.

Rules:
* Every server that answers must have the record, and what it said last counts: one that is silent for once, or was not asked again
  because time was over, has not got it by that. One that never answers is left out: a home without IPv6 reaches half of the addresses.
* Where none can be reached, as behind a firewall that lets only its own resolver ask, the record is believed to be there after
  `BLIND_S`: the issuer may see more than we do.
* No question takes longer than `_ASK_S`, none of it longer than the time that was given.

Not here: writing records (`dns.py`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from vestibule.control.acme.proof import Proof, ProofError
from vestibule.model.quantity import parse_resolver

BLIND_S = 20.0
_ASK_S = 3.0
_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True)
class Places:
    """Who is asked: `resolvers` (`ADDRESS` or `ADDRESS:PORT`; none is the system's) where the zone is, and its servers at `port`."""

    resolvers: tuple[str, ...] = ()
    port: int = 53


def wait_until_seen(proof: Proof, places: Places, within_s: float) -> None:
    """Return once all name servers show the record. Raises `ProofError` when time is over and one of them does not."""
    from dns.exception import DNSException

    began = time.monotonic()
    end = began + within_s
    found: dict[str, list[str]] = {}
    shows: dict[str, bool] = {}
    while True:
        try:
            found = found or _servers_of(proof.record_name, places)
            _ask_all(proof, found, places, end, shows)
        except (DNSException, OSError):
            pass  # nobody could be asked this time
        now = time.monotonic()
        lacking = [server for server, there in shows.items() if not there]
        if shows and not lacking:
            return
        if not shows and now - began >= min(BLIND_S, within_s):
            return
        if now + _PAUSE_S > end:
            break
        time.sleep(_PAUSE_S)
    if lacking:
        who = ", ".join(lacking)
        raise ProofError(
            f"{proof.record_name} was written, and after {within_s:.0f} s {who} still does not show it: is it the right zone? If these"
            " servers are slow, give `seen_within` more time"
        )


def _servers_of(name: str, places: Places) -> dict[str, list[str]]:
    """Return the name servers of the zone a name is in, with their addresses, and under the empty key where the name points to."""
    import dns.exception
    import dns.name
    import dns.rdatatype
    import dns.resolver

    resolver = _resolver(places)
    where = dns.name.from_text(name)
    try:
        where = resolver.resolve(where, "TXT", raise_on_no_answer=False).canonical_name
    except dns.resolver.NXDOMAIN as bad:
        where = bad.canonical_name  # it need not have spread yet
    zone = _zone_of(where, resolver)
    servers: dict[str, list[str]] = {"": [where.to_text()]}
    for record in resolver.resolve(zone, "NS"):
        addresses: list[str] = []
        for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
            try:
                addresses += [each.to_text() for each in resolver.resolve(record.target, kind)]
            except dns.exception.DNSException:
                continue  # many have one kind of address only
        servers[record.target.to_text(omit_final_dot=True)] = addresses
    return servers


def _zone_of(name: Any, resolver: Any) -> Any:
    """Return the zone of a name: the nearest above it with an SOA of its own."""
    import dns.resolver

    while len(name) > 1:
        try:
            answer = resolver.resolve(name, "SOA", raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            name = name.parent()
            continue
        if answer.rrset is not None and answer.canonical_name == name:
            return name
        name = name.parent()
    raise dns.resolver.NoNameservers


def _resolver(places: Places) -> Any:
    import dns.nameserver
    import dns.resolver

    made = dns.resolver.Resolver(configure=not places.resolvers)
    if places.resolvers:
        made.nameservers = [dns.nameserver.Do53Nameserver(*parse_resolver(each)) for each in places.resolvers]
    made.lifetime = 2 * _ASK_S
    made.timeout = _ASK_S
    return made


def _ask_all(proof: Proof, servers: dict[str, list[str]], places: Places, end: float, shows: dict[str, bool]) -> None:
    """Ask the servers, and note of each that answers whether it shows the record."""
    import dns.exception
    import dns.flags
    import dns.message
    import dns.query

    question = dns.message.make_query(servers[""][0], "TXT")
    # Whose the zone is need not ask anybody.
    question.flags &= ~dns.flags.RD
    for server, addresses in servers.items():
        for address in addresses if server else ():
            left = min(_ASK_S, end - time.monotonic())
            if left <= 0:
                break
            try:
                answer, _ = dns.query.udp_with_fallback(question, address, timeout=left, port=places.port)
            except (dns.exception.DNSException, OSError):
                continue  # this address, not this server
            shows[server] = proof.record_value in _texts(answer)
            break


def _texts(answer: Any) -> list[str]:
    """Return what the TXT records of an answer say."""
    records = [record for rrset in answer.answer for record in rrset]
    return [b"".join(each.strings).decode("ascii", "replace") for each in records if hasattr(each, "strings")]
