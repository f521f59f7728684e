"""Steps of checks that talk."""

import re

import pytest

from vestibule.model.talk import read_step


@pytest.mark.parametrize(
    ("text", "verb", "heard", "found"),
    [
        ("send PING\r\n", "send", b"PING\r\n", True),
        ("send_hex 0a ff", "send", b"\n\xff", True),
        ("expect +PONG", "expect", b"xx+PONG\r\n", True),
        ("expect +PONG", "expect", b"PONG", False),
        ("expect_hex 52000000", "expect", b"R\0\0\0\x08", True),
        ("expect_pattern ^2[0-9]{2}[ -]", "expect", b"220 mail", True),
        ("refuse_pattern ^5", "refuse", b"220 5", False),
        ("refuse \udcff", "refuse", b"\xff", True),
    ],
)
def test_steps(text: str, verb: str, heard: bytes, found: bool) -> None:
    step = read_step(text)
    assert (step.verb, step.is_in(heard)) == (verb, found)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("say hello", "`say` is no step"),
        ("send", "nothing follows `send`"),
        ("send_hex xx", "`xx` are no bytes in hexadecimal"),
        ("expect_pattern (", "`(` is no regular expression"),
        ("skip", "`` is no shape of a message"),
        ("skip 5 1", "`5 1` is no shape of a message"),
    ],
)
def test_mistakes(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        read_step(text)
