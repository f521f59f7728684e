"""Why there is no certificate, and what to do about it, in words for who runs a server at home.

Facts: issuers name the kind of an error by a URN (RFC 8555 section 6.7) and describe it in English. The kind says what to do; the
description has the details. An unreachable port, a name that points elsewhere and a router in between look alike from outside.

Not here: when to try again (`renewal.py`).
"""

from __future__ import annotations

from datetime import UTC, datetime

from vestibule.control.acme.client import RefusedError

_PORT = {"http-01": "port 80", "tls-alpn-01": "port 443"}


def words_for(refused: RefusedError, issuer: str) -> str:
    """Return what went wrong with an order, and the remedy, on one line."""
    name = next((each for each in refused.identifiers if "-01" not in each), "the name")
    method = next((each for each in refused.identifiers if each in ("http-01", "tls-alpn-01", "dns-01")), "")
    detail = " ".join(refused.detail.split())[:400]
    kind = refused.kind
    if kind == "connection":
        return f"{_unreachable(name, method, issuer)} ({detail})"
    if kind == "dns":
        return (
            f"the DNS has no usable answer for {name}: make an A or AAAA record that points to your public address, and wait until it"
            f" is known ({detail})"
        )
    if kind == "caa":
        mend = f'add `{name} CAA 0 issue "{_caa_of(issuer)}"` or remove the record'
        return f"a CAA record of {name} forbids {issuer} to issue: {mend} ({detail})"
    if kind == "rateLimited":
        until = f" until {_moment(refused.retry_at)}" if refused.retry_at else ""
        return f"{issuer} refuses more orders{until}, because its rate limit is reached; nothing needs to be done ({detail})"
    if kind in ("unauthorized", "incorrectResponse", "tls"):
        return f"{_someone_else(name, method, issuer)} ({detail})"
    if kind == "rejectedIdentifier":
        return f'{issuer} does not issue for {name}: is it a public name? For names at home say `tls = "internal"` ({detail})'
    if kind == "externalAccountRequired":
        return f"{issuer} wants an external account: set `eab_kid` and `eab_key` of the issuer ({detail})"
    if kind == "unreachable":
        return f"{issuer} cannot be reached; is this machine connected to the Internet, and does its DNS work? ({detail})"
    if kind == "untrusted":
        return f"the certificate of {issuer} itself is not trusted; for an issuer of your own, name its authority with `ca` ({detail})"
    if kind == "userActionRequired":
        return f"{issuer} wants something to be agreed to first ({detail})"
    if kind in ("invalidContact", "unsupportedContact"):
        return f"{issuer} does not take the e-mail address; mend `email` ({detail})"
    if kind == "noChallenge":
        return f"{issuer} offers no way of proof that is possible here; see `acme.challenges` and `dns_providers` ({detail})"
    if kind == "slow":
        return f"{issuer} takes its time; the order is gone on with later ({detail})"
    if kind == "serverInternal":
        return f"{issuer} has trouble of its own; it will be asked again ({detail})"
    return f"{issuer} refused with `{kind}` ({detail})"


def _unreachable(name: str, method: str, issuer: str) -> str:
    port = _PORT.get(method, "port 80 or 443")
    return (
        f"{issuer} cannot reach {port} of {name}: forward that port from the router to this machine, let the firewall pass it, and see that"
        f" the DNS has the right address; where that is impossible, declare one of `dns_providers`"
    )


def _someone_else(name: str, method: str, issuer: str) -> str:
    if method == "dns-01":
        record = f"_acme-challenge.{name.removeprefix('*.')}"
        return f"{issuer} does not see the record {record}: is the zone right? If its servers are slow, set `wait`"
    port = _PORT.get(method, "port 80 or 443")
    return (
        f"{issuer} reached {port} of {name}, and somebody else answered: does the DNS point elsewhere, or the router forward to another"
        " machine?"
    )


def _caa_of(issuer: str) -> str:
    return {"letsencrypt": "letsencrypt.org", "zerossl": "sectigo.com"}.get(issuer, issuer)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
