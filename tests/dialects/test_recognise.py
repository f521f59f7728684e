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
