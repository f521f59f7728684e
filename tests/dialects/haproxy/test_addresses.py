"""Addresses that rules set are told to servers, as HAProxy tells them."""

import http.client
from contextlib import closing
from pathlib import Path

import pytest
from tests.dialects.haproxy.test_commands import DEFAULTS
from tests.dialects.haproxy.test_serve import serving

MOVED = (
    DEFAULTS
    + """\
listen door
    bind 127.0.0.1:PORT
    http-request set-src req.hdr(x-real) if { req.hdr(x-real) -m found }
    server inside FOLDER/in.sock send-proxy-v2

listen inside
    bind FOLDER/in.sock accept-proxy
    http-request return status 200 content-type text/plain lf-string "%[src]"
"""
)


@pytest.mark.parametrize("original", [False, True], ids=["vestibule", "haproxy"])
def test_servers_are_told_of_the_client_that_a_rule_says(tmp_path: Path, original: bool) -> None:
    with serving(tmp_path, "haproxy.cfg", MOVED, original) as (port, _, _):
        for fields, expected in (({"X-Real": "192.0.2.7"}, "192.0.2.7"), ({}, "127.0.0.1"), ({"X-Real": "nobody"}, "127.0.0.1")):
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as client:
                client.request("GET", "/", headers=fields)
                assert client.getresponse().read().decode() == expected
