"""Proofs in DNS: TXT records by an update (RFC 2136), by a provider of dns-lexicon, or by a program. Blocks; for threads.

Facts: a name and its wildcard are proven at the same place, each with a record of its own, so records are added and never replaced.
Updates are signed with a shared key (TSIG, RFC 8945). The name servers of a zone do not all change at once.

Rules:
* What was added is removed again, and only that.
* A program gets its arguments as they are, without a shell; a minute is enough for it.
* A secret never is in a message.

Not here: which provider is for which name (`wanted.py`).
"""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Mapping
from typing import Any

from vestibule.control.acme.proof import Proof, ProofError
from vestibule.control.acme.wanted import Dns

_TTL_S = 60
_HOOK_S = 60.0
_NEED_DNS = "needs the packages of `vestibule[dns]`; install them with `pip install 'vestibule[dns]'`"


def trouble_with(provider: str, options: Mapping[str, str]) -> str:
    """Say what is wrong with a provider and its options; empty if nothing is known to be."""
    if provider == "hook":
        return "" if options.get("command") else "a `hook` needs the option `command`: the path of your program"
    if provider == "rfc2136":
        missing = [name for name in ("server", "key_name", "key_secret") if not options.get(name)]
        if missing:
            return f"`rfc2136` needs the options `server`, `key_name` and `key_secret`; missing: `{'`, `'.join(missing)}`"
        return "" if _has("dns") else f"`rfc2136` {_NEED_DNS}"
    if not _has("lexicon"):
        return f"the DNS provider `{provider}` {_NEED_DNS}"
    if provider not in providers():
        return f"there is no DNS provider `{provider}`; known are rfc2136, hook, {', '.join(providers())}"
    return ""


def providers() -> list[str]:
    """Return the providers that dns-lexicon knows, sorted."""
    # Its public module of that name warns that it will go.
    from lexicon._private.discovery import find_providers

    return sorted(str(name) for name in find_providers())


def add(dns: Dns, proof: Proof) -> None:
    """Add the record of a proof. Raises `ProofError`."""
    _do(dns, proof, is_adding=True)


def remove(dns: Dns, proof: Proof) -> None:
    """Remove the record of a proof. Raises `ProofError`."""
    _do(dns, proof, is_adding=False)


def _do(dns: Dns, proof: Proof, *, is_adding: bool) -> None:
    try:
        if dns.provider == "hook":
            _run_hook(dns.options["command"], "add" if is_adding else "remove", proof)
        elif dns.provider == "rfc2136":
            _update(dns.options, proof, is_adding)
        else:
            _ask_lexicon(dns, proof, is_adding)
    except ProofError as bad:
        raise ProofError(f"the DNS provider `{dns.name}` did not {'take' if is_adding else 'remove'} {proof.record_name}: {bad}") from None


def _run_hook(command: str, verb: str, proof: Proof) -> None:
    try:
        done = subprocess.run(
            [command, verb, proof.record_name, proof.record_value],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_HOOK_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProofError(f"{command} did not end within {_HOOK_S:.0f} s") from None
    except OSError as bad:
        raise ProofError(f"{command} cannot be run: {bad.strerror}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ProofError(f"{command} ended with status {done.returncode}{': ' + said[-1][:200] if said else ''}")


def _update(options: Mapping[str, str], proof: Proof, is_adding: bool) -> None:
    import dns.exception
    import dns.message
    import dns.name
    import dns.query
    import dns.rcode
    import dns.rdatatype
    import dns.tsig
    import dns.tsigkeyring
    import dns.update

    server = options["server"]
    port = int(options.get("port") or 53)
    try:
        # The library leaves out what is not base64.
        base64.b64decode(options["key_secret"], validate=True)
        keyring = dns.tsigkeyring.from_text({options["key_name"]: options["key_secret"]})
    except ValueError:
        raise ProofError("`key_secret` is not base64") from None
    algorithm = options.get("key_algorithm") or "hmac-sha256"
    name = dns.name.from_text(proof.record_name)
    zone = dns.name.from_text(options["zone"]) if options.get("zone") else _zone_of(name, server, port)
    message = dns.update.UpdateMessage(zone, keyring=keyring, keyalgorithm=dns.name.from_text(algorithm))
    if is_adding:
        message.add(name, _TTL_S, "TXT", f'"{proof.record_value}"')
    else:
        message.delete(name, "TXT", f'"{proof.record_value}"')
    try:
        # An update is answered over TCP or not at all where large keys are used.
        answer = dns.query.tcp(message, server, timeout=15, port=port)
    except (dns.tsig.PeerError, dns.message.UnknownTSIGKey, dns.exception.FormError) as bad:
        why = f"{bad or type(bad).__name__}; are zone, `key_name`, `key_secret` and `key_algorithm` as at the server?"
        raise ProofError(f"{server} does not take the key for {zone.to_text()}: {why}") from None
    except (OSError, dns.exception.DNSException) as bad:
        raise ProofError(f"{server} port {port}: {bad or type(bad).__name__}") from None
    if answer.rcode() != dns.rcode.NOERROR:
        code = dns.rcode.to_text(answer.rcode())
        raise ProofError(f"{server} answers {code}; may the key `{options['key_name']}` change {zone.to_text()}?")


def _zone_of(name: Any, server: str, port: int) -> Any:
    """Return the zone a name is in, by asking its server for SOA records upwards."""
    import dns.exception
    import dns.message
    import dns.query
    import dns.rdatatype

    while len(name) > 1:
        try:
            answer = dns.query.tcp(dns.message.make_query(name, dns.rdatatype.SOA), server, timeout=15, port=port)
        except (OSError, dns.exception.DNSException) as bad:
            raise ProofError(f"{server} port {port}: {bad or type(bad).__name__}") from None
        for rrset in answer.answer:
            if rrset.rdtype == dns.rdatatype.SOA and rrset.name == name:
                return name
        name = name.parent()
    raise ProofError(f"{server} has no zone for it; name one with the option `zone`")


def _ask_lexicon(given: Dns, proof: Proof, is_adding: bool) -> None:
    from lexicon.client import Client
    from lexicon.config import ConfigResolver

    zone = max((each for each in given.zones if proof.name == each or proof.name.endswith("." + each)), key=len, default="")
    own = {name: value for name, value in given.options.items() if name != "zone"}
    settings = {
        "provider_name": given.provider,
        # Given a zone, it is taken as it is; otherwise the library finds the registered domain.
        "domain": zone or given.options.get("zone") or proof.name,
        "delegated": zone or given.options.get("zone") or "",
        "ttl": _TTL_S,
        given.provider: own,
    }
    settings = {name: value for name, value in settings.items() if value != ""}
    try:
        with Client(ConfigResolver().with_dict(settings)) as operations:
            if is_adding:
                done = operations.create_record("TXT", proof.record_name, proof.record_value)
            else:
                done = operations.delete_record(rtype="TXT", name=proof.record_name, content=proof.record_value)
    except Exception as bad:  # because each of some eighty providers raises what it likes
        raise ProofError(_redacted(str(bad) or type(bad).__name__, own)) from None
    if not done:
        raise ProofError(f"{given.provider} says no")


def _redacted(text: str, options: Mapping[str, str]) -> str:
    """Take the values of options out of a text: addresses of requests may hold them."""
    for value in options.values():
        if len(value) > 3:
            text = text.replace(value, "…")
    return text[:300]


def _has(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None
