"""What is asked of OpenSSL itself, and what is said where it cannot be asked."""

import ssl

import pytest

from tests.conformance.pair import papers
from vestibule.net import openssl
from vestibule.net.tls import server_context


def test_openssl_is_reachable_here() -> None:
    """Were it not, everything below would be about something else."""
    assert openssl.is_reachable()


def test_groups_depth_and_keys_are_taken() -> None:
    made = server_context(*papers())
    openssl.set_groups(made, "X25519:prime256v1")
    openssl.set_depth(made, 2)
    openssl.ask_any(made)
    assert made.verify_mode is ssl.CERT_OPTIONAL
    assert openssl.set_ticket_key(made, bytes(openssl.TICKET_KEY_BYTES))
    with pytest.raises(ValueError, match="X25519:none"):
        openssl.set_groups(made, "X25519:none")
    with pytest.raises(ValueError, match="80 bytes"):
        openssl.set_ticket_key(made, b"short")


def test_authorities_are_named_to_clients() -> None:
    made = server_context(*papers())
    openssl.name_authority(made, ssl.PEM_cert_to_DER_cert(papers()[0].decode()))
    openssl.name_authority(made, b"no certificate")
    server_context(*papers())  # and no error of that is left for the next call


def test_what_cannot_be_reached_says_so() -> None:
    assert "this build of Python" in str(openssl.Unreachable("groups"))
    assert openssl.words_of(-1) == "not verified"
    assert openssl.words_of(0) == ""
    assert openssl.words_of(10) == "certificate has expired"


@pytest.mark.parametrize(
    ("offered", "found"),
    [(b"\x02h2\x08http/1.1", 0), (b"\x08http/1.1", 1), (b"\x06spdy/3", -1), (b"", -1), (b"\xffh2", -1), (b"\x00\x02h2", 0)],
)
def test_protocols_are_found_in_a_clients_list(offered: bytes, found: int) -> None:
    assert openssl.find_protocol([b"h2", b"http/1.1"], offered) == found
