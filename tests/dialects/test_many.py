"""However many directives a file has, it is read: nothing is followed by a call for each of them."""

from __future__ import annotations

import pytest

from vestibule.dialects import load

MANY = 700

_NGINX = "events {{}} http {{ server {{ listen 8080;\n{0}location / {{ proxy_pass http://127.0.0.1:2283; }} }} }}"
_HAPROXY = (
    "defaults\n mode http\n timeout client 1m\n timeout server 1m\n timeout connect 1m\nfrontend web\n bind :8080\n{0} default_backend b\n"
)
_HAPROXY += "backend b\n server s 127.0.0.1:2283\n"
_HTTPD = "Listen 8080\n<VirtualHost *:8080>\nServerName a.test\n{0}ProxyPass / http://127.0.0.1:2283/\n</VirtualHost>\n"
_CADDY = "http://a.test {{\n{0}\trespond 404\n}}\n"


@pytest.mark.parametrize(
    ("name", "frame", "line"),
    [
        ("nginx.conf", _NGINX, "rewrite ^/old{0}/(.*)$ /new{0}/$1 permanent;"),
        ("nginx.conf", _NGINX, "rewrite ^/old{0}/(.*)$ /new{0}/$1;"),
        ("nginx.conf", _NGINX, "if ($arg_id = {0}) {{ return 301 /new{0}; }}"),
        ("nginx.conf", _NGINX, "location /old{0} {{ return 301 /new{0}; }}"),
        ("haproxy.cfg", _HAPROXY, " http-request redirect location /new{0} if {{ path /old{0} }}"),
        ("haproxy.cfg", _HAPROXY, " http-request set-header X-{0} {0}"),
        ("httpd.conf", _HTTPD, "Redirect 301 /old{0} /new{0}"),
        ("Caddyfile", _CADDY, "\tredir /old{0} /new{0}"),
        ("Caddyfile", _CADDY, "\trespond text{0}"),
        ("Caddyfile", _CADDY, "\thandle /old{0}/* {{\n\t\treverse_proxy 127.0.0.1:2283\n\t}}"),
    ],
)
def test_however_many_there_are_they_are_read(name: str, frame: str, line: str) -> None:
    loaded = load(name, frame.format("".join(line.format(at) + "\n" for at in range(MANY))))
    assert loaded.ok, loaded.diagnostics[:3]


@pytest.mark.parametrize(
    ("name", "frame", "line", "mistake"),
    [
        ("nginx.conf", _NGINX, "if ($arg_id = {0}) {{ set $id {0}; }}", "too-deep"),
        ("httpd.conf", _HTTPD, "RewriteEngine On\nRewriteRule ^/old{0}/(.*)$ /new{0}/$1", "too-deep"),
        ("Caddyfile", _CADDY, "\tencode /old{0} gzip", "too-many-ways"),
        ("Caddyfile", _CADDY, "\ttry_files {{path}} /{0}", "too-many-ways"),
    ],
)
def test_what_would_branch_without_end_is_a_mistake(name: str, frame: str, line: str, mistake: str) -> None:
    loaded = load(name, frame.format("".join(line.format(at) + "\n" for at in range(MANY))))
    assert mistake in {each.code for each in loaded.diagnostics if each.severity.value == "error"}
