"""Which language a file is taken for."""

from __future__ import annotations

import pytest

from vestibule.dialects import load, recognise


@pytest.mark.parametrize(
    ("name", "text", "dialect"),
    [
        ("a.toml", "server {}", "toml"),
        ("photos", '[sites.a]\nto = "http://b"', "toml"),
        ("etc/nginx.conf", "", "nginx"),
        ("photos.conf", "# a comment\nserver {\n  listen 80;\n}", "nginx"),
        ("photos.conf", "server\n{\n}", "nginx"),
        ("photos.conf", "upstream b {\n server a;\n}", "nginx"),
        ("all", "user www-data;\ninclude conf.d/*.conf;", "nginx"),
        ("etc/apache2.conf", "", "apache"),
        ("photos.conf", "# a comment\n<VirtualHost *:80>\n</VirtualHost>", "apache"),
        ("photos.conf", "Listen 80\nProxyPass / http://127.0.0.1:2283/", "apache"),
        ("photos", "nothing at all", None),
    ],
)
def test_recognise(name: str, text: str, dialect: str | None) -> None:
    assert recognise(name, text) == dialect


def test_a_language_can_be_said() -> None:
    loaded = load("photos", "server { return 204; }", dialect="nginx")
    assert loaded.ok
    (one,) = load("photos", "", dialect="nginks").diagnostics
    assert one.hint == "did you mean `nginx`?"


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ("caddy", '{"apps": NUMBER}'),
        ("caddy", ":80 {\n\t@a expression {http.request.port} == NUMBER\n\trespond @a hello\n}\n"),
        ("nginx", "server {\n\tlisten 80;\n\treturn NUMBER;\n}\n"),
        ("haproxy", "frontend a\n\tbind :80\n\thttp-request deny if { dst_port NUMBER }\n"),
        ("apache", "<VirtualHost *:80>\nRedirect NUMBER /a\n</VirtualHost>\n"),
        ("toml", "[limits]\nhead = NUMBER\n"),
    ],
)
def test_a_number_of_thousands_of_digits_is_a_mistake(dialect: str, text: str) -> None:
    (only,) = load("f", text.replace("NUMBER", "9" * 5_000), dialect=dialect).diagnostics
    before = text.partition("NUMBER")[0].splitlines()
    assert only.render() == f"f:{len(before)}:{len(before[-1]) + 1}: error: a number of a thousand digits and more; write a smaller one"


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ("nginx", "server {\n\treturn ²;\n}\n"),
        ("nginx", "server {\n\troot /srv;\n\terror_page 4²4 /x;\n}\n"),
        ("nginx", "server {\n\troot /srv;\n\terror_page 404 =² /x;\n}\n"),
        ("apache", "<VirtualHost *:80>\nRedirect ² /a /b\n</VirtualHost>\n"),
        ("apache", "<VirtualHost *:80>\nErrorDocument ² /x\n</VirtualHost>\n"),
        ("apache", "<VirtualHost *:80>\nProxyErrorOverride On ²\n</VirtualHost>\n"),
        ("apache", "<VirtualHost *:80>\nRewriteEngine on\nRewriteRule ^/a - [S=²]\n</VirtualHost>\n"),
        ("apache", '<VirtualHost *:80>\nExpiresActive on\nExpiresByType a/b "access plus ² days"\n</VirtualHost>\n'),
    ],
)
def test_what_only_looks_like_a_digit_is_a_mistake(dialect: str, text: str) -> None:
    assert not load("f", text, dialect=dialect).ok
