"""What people are told of a refused order: what to do, and never a bare code."""

import pytest

from vestibule.control.acme.client import RefusedError
from vestibule.control.acme.trouble import words_for

NAME = "photos.example.org"


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (RefusedError("connection", "timeout", identifiers=(NAME, "http-01")), f"cannot reach port 80 of {NAME}: forward that port"),
        (RefusedError("connection", "timeout", identifiers=(NAME, "tls-alpn-01")), f"cannot reach port 443 of {NAME}"),
        (RefusedError("dns", "NXDOMAIN", identifiers=(NAME,)), f"no usable answer for {NAME}: make an A or AAAA record"),
        (RefusedError("caa", "forbidden", identifiers=(NAME,)), f'add `{NAME} CAA 0 issue "letsencrypt.org"`'),
        (RefusedError("rateLimited", "too many", 1_767_225_600.0), "refuses more orders until 2026-01-01 00:00 UTC"),
        (RefusedError("rateLimited", "too many"), "refuses more orders, because"),
        (RefusedError("unauthorized", "404", identifiers=(NAME, "http-01")), "somebody else answered: does the DNS point elsewhere"),
        (RefusedError("unauthorized", "none", identifiers=(f"*.{NAME}", "dns-01")), f"does not see the record _acme-challenge.{NAME}"),
        (RefusedError("rejectedIdentifier", "policy", identifiers=("photos.lan",)), "does not issue for photos.lan"),
        (RefusedError("externalAccountRequired", ""), "set `eab_kid` and `eab_key`"),
        (RefusedError("unreachable", "refused"), "is this machine connected to the Internet"),
        (RefusedError("untrusted", "self-signed"), "name its authority with `ca`"),
        (RefusedError("unsupportedContact", "x"), "mend `email`"),
        (RefusedError("noChallenge", "nothing"), "see `acme.challenges` and `dns_providers`"),
        (RefusedError("serverInternal", "oops"), "it will be asked again"),
        (RefusedError("slow", "x"), "gone on with later"),
        (RefusedError("brandNew", "x"), "refused with `brandNew`"),
    ],
)
def test_words(refused: RefusedError, said: str) -> None:
    words = words_for(refused, "letsencrypt")
    assert said in words
    assert refused.detail in words
    assert "\n" not in words


def test_what_the_issuer_says_is_one_short_line() -> None:
    assert len(words_for(RefusedError("connection", "a\nb\r" * 1_000), "x")) < 800
