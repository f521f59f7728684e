"""Chains that load and that clients will not believe."""

from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from vestibule.control.chain import Doubt, doubts_of, missing_hosts

from .papers import Paper

ROOT = Paper("Root")
MIDDLE = ROOT.issue("Middle")
OLD_MIDDLE = ROOT.issue("Middle", days=-2)
IMPOSTOR = Paper("Root").issue("Middle")
LEAF = MIDDLE.issue("photos.example.org", says_issuer=True)
FILE = Path("chain.pem")


def judged(*chain: Paper, strangers: tuple[Paper, ...] = (), is_client: bool = False) -> list[Doubt]:
    return doubts_of([each.certificate for each in chain], [each.certificate for each in strangers], FILE, is_client)


def test_a_good_chain_raises_no_doubt() -> None:
    assert judged(LEAF, MIDDLE) == judged(ROOT) == judged(MIDDLE.issue("a")) == []


@pytest.mark.parametrize(
    ("chain", "strangers", "says", "is_grave"),
    [
        ((MIDDLE.issue("a", days=-3), MIDDLE), (), "expired on", True),
        ((MIDDLE.issue("a", days=5), MIDDLE), (), "expires on", False),
        ((MIDDLE.issue("a", begins=2), MIDDLE), (), "is the clock right?", True),
        ((Paper("a", OLD_MIDDLE), OLD_MIDDLE), (), "the intermediate certificate `CN=Middle` in chain.pem expired", True),
        ((LEAF, IMPOSTOR), (), "did not sign `CN=photos.example.org`", True),
        ((LEAF,), (), "holds no intermediate certificate", True),
        ((LEAF,), (ROOT,), "no certificate in chain.pem is that of `CN=Middle`", True),
        ((Paper("a", MIDDLE, use=ExtendedKeyUsageOID.CLIENT_AUTH), MIDDLE), (), "not meant for servers", True),
    ],
)
def test_doubts(chain: tuple[Paper, ...], strangers: tuple[Paper, ...], says: str, is_grave: bool) -> None:
    (doubt,) = judged(*chain, strangers=strangers)
    assert says in doubt.text
    assert doubt.is_grave is is_grave


def test_what_we_show_to_upstreams_is_for_clients() -> None:
    for use, is_fine in ((ExtendedKeyUsageOID.CLIENT_AUTH, True), (ExtendedKeyUsageOID.SERVER_AUTH, False)):
        assert (judged(Paper("a", MIDDLE, use=use), MIDDLE, is_client=True) == []) is is_fine


def test_hosts_that_no_name_covers() -> None:
    names = ("Photos.example.org", "*.example.net", "::1")
    hosts = ("photos.example.org", "a.example.net", "*.example.net", "[::1]", "*", "example.net", "a.b.example.net", "*.example.org")
    assert missing_hosts(hosts, names) == ["example.net", "a.b.example.net", "*.example.org"]
