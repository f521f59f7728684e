"""What checks by requests expect of fields, tried on answers."""

import re

import pytest

from vestibule.dialects.haproxy.lower import parse

TEXT = """\
frontend door
    mode http
    bind :80
    default_backend photos

backend photos
    mode http
    option httpchk
    EXPECT
    server one 10.0.0.1:80 check
"""

ANSWER = b"HTTP/1.1 200 OK\r\nX-Name: X-Alive\r\nx-alive: yes, and well\r\nX-Copy:  yes, and well \r\nServer: nginx/1.22\r\n"


@pytest.mark.parametrize(
    ("rules", "fits"),
    [
        ("http-check expect hdr name x-alive value yes", True),
        ("http-check expect fhdr name x-alive value yes", False),
        ("http-check expect fhdr name x-alive value -m reg ^yes$", False),
        ("http-check expect fhdr name x-alive value -m reg ^yes,.*well$", True),
        ("http-check expect fhdr name x-alive value -m reg and", True),
        ("http-check expect hdr name x-alive value -m reg ^and", True),
        ("http-check expect hdr name server value -m reg ^nginx/1[.][0-9]+$", True),
        ("http-check expect hdr name server value -m reg ^nginx/1$", False),
        ("http-check expect hdr name -m reg ^x-a[a-z]+e$ value yes", True),
        ("http-check expect hdr name-lf %[res.fhdr(X-Name)]", True),
        ("http-check expect hdr name-lf %[res.fhdr(X-Copy)]", False),
        ("http-check expect hdr name-lf %[res.fhdr(X-None)]", False),
        ("http-check expect fhdr name x-alive value-lf %[res.fhdr(X-Copy)]", True),
        ("http-check expect ! fhdr name x-alive value-lf %[res.fhdr(X-Copy)]", False),
        ("http-check set-var(check.a) res.fhdr(X-Name)\n    http-check expect hdr name-lf %[var(check.a)] value well", False),
        ("http-check set-var(check.a) res.fhdr(X-Name)\n    http-check expect hdr name-lf %[var(check.a)] value -m end well", True),
        ("http-check expect hdr name-lf %[res.hdr(X-Name)]\n    http-check expect fhdr name x-copy value-lf %[res.hdr(x-alive)]", True),
    ],
)
def test_fields_of_answers(rules: str, fits: bool) -> None:
    loaded = parse("h.cfg", TEXT.replace("EXPECT", rules))
    assert loaded.config is not None, loaded.diagnostics
    (upstream,) = loaded.config.upstreams
    assert upstream.health is not None
    assert (re.search(upstream.health.head_pattern.encode(), ANSWER) is not None) is fits
