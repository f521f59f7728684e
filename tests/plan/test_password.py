"""Hashes of passwords, against what other programs made of them."""

import pytest

from vestibule.plan import password as module
from vestibule.plan.password import Users, basic_of, crypt, has_argon2, has_bcrypt, has_yescrypt, verify

# Made with `openssl passwd` and `htpasswd`; the sha256 and sha512 ones with rounds are of Drepper's description.
SOUND = [
    (b"Se cret", b"$5$abcdefgh$13y1sVZw9ebGkAqr2yrHJ3.5T5lluCdVtvwuxNhB7t9"),
    (b"Se cret", b"$6$abcdefgh$oFpMH6rkGM7v9uMQgi/qHEeIG5DtuRWOEMEZAC9uZl7/MyP21FOEojR/I5UDY/HGhG/yEHU0kyLWF/.9nQlxs/"),
    (b"Se cret", b"$1$abcdefgh$8Rd8.hXU1biYNjjjyYIkn1"),
    (b"Se cret", b"$apr1$abcdefgh$bIhlIPvQq8.xnRItzvumR."),
    (
        b"Hello world!",
        b"$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
    ),
    (b"password", b"{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="),
    ("äö".encode(), "{PLAIN}äö".encode()),
]


@pytest.mark.parametrize(("password", "stored"), SOUND)
def test_the_right_password_is_known(password: bytes, stored: bytes) -> None:
    assert verify(password, stored)
    assert not verify(password + b"x", stored)
    assert not verify(b"", stored)


@pytest.mark.interpreted_only
@pytest.mark.parametrize(("password", "stored"), SOUND)
def test_without_a_libcrypt_as_well(password: bytes, stored: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CRYPT", None)
    assert verify(password, stored)
    assert not verify(password + b"x", stored)
    assert not has_yescrypt()


def test_a_nul_in_a_password_does_not_end_it() -> None:
    stored = crypt(b"a\0b", b"$6$salt$")
    assert verify(b"a\0b", stored) and not verify(b"a\0c", stored) and not verify(b"a", stored)


@pytest.mark.skipif(not has_yescrypt(), reason="the system's libcrypt does not know it")
def test_yescrypt() -> None:
    stored = b"$y$j9T$F5Jx5fExrKuPp53xLKQ..1$6JlLzEdKMvGk83Zgd3owplAejssJr2SFlJFlOc7i54A"  # of `mkpasswd -m yescrypt`
    assert verify(b"open sesame", stored)
    assert not verify(b"open sesamf", stored)
    assert not verify(b"open sesame\0", stored)
    assert not verify(b"", b"$y$nothing")


def test_wrong_credentials_do_not_push_out_right_ones() -> None:
    users = Users([b"a"], [b"{PLAIN}b"])
    text = basic_of(b"Basic YTpi")
    assert text == b"YTpi" and basic_of(b"Bearer YTpi") is None
    assert users.known(text) is None
    assert users.accepts(b"Basic YTpi")
    for at in range(1_100):
        users.remember(b"%d" % at, False)
    assert users.known(text) is True
    assert users.known(b"0") is None and users.known(b"1099") is False


def test_salted_sha1() -> None:
    import base64
    import hashlib

    stored = b"{SSHA}" + base64.b64encode(hashlib.sha1(b"pwsalt").digest() + b"salt")
    assert verify(b"pw", stored)
    assert not verify(b"pwx", stored)


def test_crypt_as_it_first_was() -> None:
    assert not verify(b"pw", b"{CRYPT}")
    assert not verify(b"pw\0", b"{CRYPT}sa3tHJ3/KuYvI")
    assert not verify(b"wrong", b"{CRYPT}sa3tHJ3/KuYvI")
    if verify(b"password", b"{CRYPT}sa3tHJ3/KuYvI"):  # not every libcrypt does it
        assert verify(b"password and more", b"{CRYPT}sa3tHJ3/KuYvI")


@pytest.mark.skipif(not has_bcrypt(), reason="the library is optional")
def test_bcrypt() -> None:
    import bcrypt

    stored = bcrypt.hashpw(b"secret", bcrypt.gensalt(4))
    assert verify(b"secret", stored)
    assert verify(b"secret", stored.replace(b"$2b$", b"$2y$"))
    assert not verify(b"Secret", stored)
    assert not verify(b"secret\0", stored)
    assert not verify(b"secret", b"$2y$04$short")


@pytest.mark.parametrize(
    "stored",
    [b"", b"x", b"$", b"$7$a$b", b"$6", b"$6$rounds=x$a$b", b"$6$rounds=9999999$a$b", b"$6$rounds=10", b"{SHA}", b"{SHA}!", b"{SSHA}aaaa"],
)
def test_what_is_no_hash_matches_nothing(stored: bytes) -> None:
    assert not verify(b"", stored)
    assert not verify(stored, stored)


def test_few_rounds_are_raised() -> None:
    assert crypt(b"x", b"$5$rounds=10$salt$").startswith(b"$5$rounds=1000$salt$")


@pytest.mark.skipif(not has_argon2(), reason="older libraries do not know it")
def test_argon2() -> None:
    stored = b"$argon2id$v=19$m=47104,t=1,p=1$c2FsdHNhbHQxMjM0NTY3OA$oGqQ3aqoT9y9Ibfe9EA/+Crl0kZ5oBGxd58ltGNHwdE"
    assert verify(b"password", stored)
    assert not verify(b"passwore", stored)
    assert not verify(b"password", stored[:-1] + b"A")
    assert not verify(b"password", b"$argon2id$nothing")


def test_scrypt() -> None:
    # As Caddy 2.6 makes them, with the salt `abcdefgh`.
    stored = b"$scrypt$ln=15,r=8,p=1$YWJjZGVmZ2g$OR04Cu1Q+Xbx9KfqW1UhpMeWXfHRM8s4jRlvzt0k8aI"
    assert verify(b"abc", stored)
    assert not verify(b"abd", stored)
    assert not verify(b"abc", stored.replace(b"p=1", b"p=2"))
    for wrong in (b"nothing", b"ln=20,r=8,p=1$YWJj$" + b"A" * 43, b"ln=19,r=9,p=1$YWJj$" + b"A" * 43, b"ln=0,r=8,p=1$YWJj$" + b"A" * 43):
        assert not verify(b"abc", b"$scrypt$" + wrong)
