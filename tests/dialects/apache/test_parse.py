"""httpd's language to model: the golden cases, and what they cannot show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dialects.golden import Golden

from vestibule.dialects.apache import parse
from vestibule.dialects.apache.directives import DIRECTIVES, How
from vestibule.model.config import Switch

WORDS = ("on", "off", "80", "/", "<", "</", ">", "\n", "\n", "%{X}i", "[L]", "http://a/")
SOURCES = Path(parse.__code__.co_filename).parent


FILES = {
    "sites/a.conf": "<VirtualHost *:80>\nServerName a.example\nRedirect / https://a.example/\n</VirtualHost>\n",
    "sites/b.conf": "<VirtualHost *:80>\nServerName b.example\nRedirect / https://b.example/\n</VirtualHost>\n",
    "headers.conf": "RequestHeader set X-A 1\n",
    "broken.conf": "<VirtualHost *:80>\n",
    "/srv/www/.htaccess": "Require all denied\n",
    "pools": "static one|two|three\ndynamic four\n",
    "colours": "# name value\nred crimson\nblue azure more\n",
    "loop.conf": "Include loop.conf\n",
    "/etc/letsencrypt/options-ssl-apache.conf": (
        "# As certbot writes it.\nSSLEngine on\nSSLProtocol all -SSLv2 -SSLv3 -TLSv1 -TLSv1.1\n"
        "SSLCipherSuite ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305\n"
        "SSLHonorCipherOrder off\nSSLSessionTickets off\nSSLOptions +StrictRequire\n"
        'LogFormat "%h %l %u %t \\"%r\\" %>s %b" vhost_common\n'
    ),
    "many": "".join([f"{name}:{{PLAIN}}secret\n" for name in "abcd"]),
    "users": "# people\nalice:$apr1$ABCDEFGH$0123456789012345678901\nbob:{PLAIN}secret\n",
}
GOLDEN = Golden(__file__, "h.conf", parse, FILES, usual=parse("usual", "Redirect / https://a.example/").config)
CASES = GOLDEN.cases


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_case(case: Path, accept: bool) -> None:
    GOLDEN.check(case, accept)


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_every_sound_case_can_be_moved_to_toml(case: Path) -> None:
    GOLDEN.check_move(case)


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_every_sound_case_can_be_built(case: Path) -> None:
    GOLDEN.check_build(case)


HARMLESS = {
    "AllowEncodedSlashes",
    "H2WindowSize",
    "LimitRequestBody",
    "Options",
    "SSLHonorCipherOrder",
    "SSLOptions",
    "SSLProxyCheckPeerExpire",
    "ServerAdmin",
    "TraceEnable",
}
SITES = sorted((Path(__file__).parent / "sites").glob("*.conf"))


@pytest.mark.parametrize("site", SITES, ids=[site.stem for site in SITES])
def test_sites_as_people_have_them_run(site: Path) -> None:
    """Written for these tests, with the directives that guides for these applications use."""
    loaded = GOLDEN.load(site.read_text())
    assert loaded.ok, [each.render() for each in loaded.diagnostics]
    GOLDEN.check_build(site)
    GOLDEN.check_move(site)
    # What is left out is what does nothing for whoever asks.
    left_out = [each.message.partition("`")[2].partition("`")[0] for each in loaded.diagnostics if "is left out" in each.message]
    assert set(left_out) <= HARMLESS


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 100


def test_every_supported_directive_is_looked_at() -> None:
    """None is parsed and forgotten: its name stands somewhere in the code that lowers, outside the table."""
    code = "\n".join([path.read_text() for path in SOURCES.glob("*.py") if path.name != "directives.py"])
    names = {name.lower() for name in re.findall(r'"([A-Za-z0-9]+)"', code)}
    missing = [row.name for row in DIRECTIVES.values() if row.how is How.SUPPORTED and row.name.lower() not in names]
    assert missing == []


def test_including_a_directory_that_does_not_match_is_no_mistake() -> None:
    assert parse("h.conf", "IncludeOptional nothing/*.conf\nRedirect / https://a.example/", GOLDEN.files).ok


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="<>/VirtualHost *:80\n\\\"'${}%[]=#", max_size=60))
def test_no_text_raises(text: str) -> None:
    loaded = parse("h.conf", text)
    assert loaded.config is not None or loaded.diagnostics


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([*DIRECTIVES, "on", "off", "80", "/", "<", "</", ">", "\n", "\n", "%{X}i", "[L]", "http://a/"]), max_size=25)
)
def test_no_order_of_words_raises(words: list[str]) -> None:
    assert parse("h.conf", " ".join(words)).diagnostics is not None


def test_only_what_httpd_takes_for_a_blank_is_one() -> None:
    """U+001C is a blank to Python and a letter to httpd, so a line of it alone is the name of a directive."""
    loaded = parse("h.conf", "ServerName a\n\x1c\n", GOLDEN.files)
    assert [(each.code, each.span.line) for each in loaded.diagnostics] == [("unknown-directive", 2)]


@pytest.mark.parametrize("kind", ["Location", "LocationMatch"])
def test_many_sections_are_no_more_than_themselves(kind: str) -> None:
    def size(count: int) -> int:
        sections = "".join([f"<{kind} /a{at}>\nRequire ip 10.0.0.{at % 250}\n</{kind}>\n" for at in range(count)])
        found = parse("h.conf", f"<VirtualHost *:80>\nServerName a.example\nProxyPass / http://a/\n{sections}</VirtualHost>\n")
        assert found.ok, [each.render() for each in found.diagnostics][:3]
        return len(repr(found.config))

    assert size(800) < 9 * size(100)


def test_a_thousand_rules_do_not_stand_inside_of_each_other() -> None:
    rules = "".join([f"RewriteRule ^/a{at}$ /b{at} [PT]\n" for at in range(1_000)])
    rules += "".join([f"RewriteRule ^/c{at}$ /d{at} [R,L]\n" for at in range(1_000)])
    found = parse("h.conf", f"<VirtualHost *:80>\nServerName a.example\nRewriteEngine on\n{rules}ProxyPass / http://a/\n</VirtualHost>\n")
    assert found.ok, [each.render() for each in found.diagnostics][:3]
    assert found.config is not None
    source = found.config.sites[0].source
    assert isinstance(source, Switch)
    assert len(source.routes) == 2_001
