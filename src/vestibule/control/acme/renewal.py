"""When to renew, and when to try again after a failure. No I/O but asking the issuer for its advice.

Facts: an issuer that offers renewal information names a window and when to ask again (RFC 9773 section 4); a client picks a moment in it
at random. Let's Encrypt allows five failed validations of a name in an hour. Clocks jump: at the start of a machine without a
battery, after a suspend, by hand.

Rules:
* Times are wall-clock and kept, so that a restart changes nothing; nobody sleeps until one, they are compared again and again.
* Without advice, renewal begins when a third of the lifetime is left, less up to a tenth of that third at random.
* An issuer's Retry-After is a lower bound of the next try. No wait is longer than `LONGEST_S` past now, whatever is written: a clock
  that was in the future must not stop renewals for ever.
* A certificate that begins in the future means a wrong clock, not a wrong certificate: nothing is ordered.

Not here: doing it (`keeper.py`).
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from vestibule.control.acme.client import RefusedError, Session, retry_time
from vestibule.control.acme.proof import base64url
from vestibule.control.acme.records import Story
from vestibule.control.certs import Facts

WAITS_S = (60.0, 600.0, 1_800.0, 3_600.0, 10_800.0, 21_600.0, 43_200.0)
"""Waits after the first, second … failure; the last for all that follow."""
LONGEST_S = 7 * 86_400.0
_ASK_S = 6 * 3_600.0
# RFC 9773 section 4.3.2: between a minute and a day.
_ASK_LEAST_S = 60.0
_ASK_MOST_S = 86_400.0
# Issuers begin certificates an hour before they are made.
_CLOCK_SLACK_S = 7_200.0


def is_due(facts: Facts | None, story: Story, now: float) -> bool:
    """Tell whether to order now."""
    if story.forced:
        return True
    if facts is not None and is_clock_wrong(facts, now):
        return False
    if facts is not None and now < renewal_time(facts, story):
        return False
    # A time too far ahead is one that was written by a wrong clock.
    return now >= story.next_try_at or story.next_try_at > now + LONGEST_S


def is_clock_wrong(facts: Facts, now: float) -> bool:
    """Tell whether a certificate we have begins in the future."""
    return now < facts.not_before.timestamp() - _CLOCK_SLACK_S


def renewal_time(facts: Facts, story: Story) -> float:
    """Return when to renew a certificate: as it was decided, but before it ends."""
    latest = facts.not_after.timestamp() - (facts.not_after - facts.not_before).total_seconds() / 6
    return min(story.renew_at or usual_time(facts, 0.0), latest)


def usual_time(facts: Facts, chance: float) -> float:
    """Return when a third of the lifetime is left, and by `chance` (0 to 1) a little sooner."""
    third = (facts.not_after - facts.not_before).total_seconds() / 3
    return facts.not_after.timestamp() - third - chance * third / 10


def after_success(issuer: str, facts: Facts, now: float) -> Story:
    """Return the story of a certificate that was just issued."""
    return Story(issuer=issuer, issued_at=now, renew_at=usual_time(facts, random.random()))


def after_failure(story: Story, reason: str, refused: RefusedError | None, now: float) -> Story:
    """Return the story after one more failure."""
    wait = WAITS_S[min(story.failures, len(WAITS_S) - 1)] * random.uniform(0.9, 1.1)
    asked = refused.retry_at if refused is not None else 0.0
    next_try_at = max(now + wait, min(asked, now + LONGEST_S))
    return replace(story, failures=story.failures + 1, failed_at=now, next_try_at=next_try_at, reason=reason, forced=False)


def wants_advice(story: Story, facts: Facts, now: float) -> bool:
    """Tell whether to ask the issuer when to renew. After the end of a certificate it may not be asked (RFC 9773 section 4.3)."""
    return now < facts.not_after.timestamp() and (now >= story.ask_again_at or story.ask_again_at > now + _ASK_MOST_S)


def without_advice(story: Story, now: float) -> Story:
    """Return the story after the issuer had nothing to say: it is asked later."""
    return replace(story, ask_again_at=now + _ASK_S)


def take_advice(session: Session, chain_pem: str, story: Story, now: float) -> Story:
    """Ask the issuer when to renew; return the story with what it said. An issuer without advice, or with trouble, changes nothing."""
    if not session.has("renewalInfo"):
        return without_advice(story, now)
    id = certificate_id(chain_pem)
    try:
        info, retry_after = session.renewal_info(id)
    except RefusedError:
        return without_advice(story, now)
    at = retry_time(retry_after)
    again = now + min(max(at - now, _ASK_LEAST_S), _ASK_MOST_S) if at else now + _ASK_S
    window = _window_of(info)
    if window is None:
        return replace(story, ask_again_at=again, replaces=id)
    start, end = window
    # A moment once picked is kept while the window holds it: picking anew each time would draw everybody to the start.
    renew_at = story.renew_at if start <= story.renew_at <= end else random.uniform(start, end)
    explanation = info.get("explanationURL", "")
    page = explanation if isinstance(explanation, str) else ""
    return replace(story, ask_again_at=again, replaces=id, renew_at=renew_at, explanation=page)


def with_advice(story: Story, advised: Story) -> Story:
    """Return a story with the advice of another one, and nothing else of it."""
    return replace(
        story, renew_at=advised.renew_at, ask_again_at=advised.ask_again_at, replaces=advised.replaces, explanation=advised.explanation
    )


def _window_of(info: dict[str, Any]) -> tuple[float, float] | None:
    window = info.get("suggestedWindow")
    try:
        assert isinstance(window, dict)
        start = datetime.fromisoformat(window["start"]).timestamp()
        end = datetime.fromisoformat(window["end"]).timestamp()
    except (AssertionError, KeyError, TypeError, ValueError):
        return None
    return (start, end) if start < end else None


def certificate_id(chain_pem: str) -> str:
    """Return the identifier of a certificate for renewal information (RFC 9773 section 4.1); empty where it has none."""
    from cryptography import x509

    leaf = x509.load_pem_x509_certificate(chain_pem.encode())
    try:
        issuer_key = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return ""
    if not issuer_key:
        return ""
    serial = leaf.serial_number
    # As in DER: a leading zero where the first bit is set.
    return f"{base64url(issuer_key)}.{base64url(serial.to_bytes(serial.bit_length() // 8 + 1, 'big'))}"


def utc(seconds: float) -> str:
    """Write a moment for people."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
