"""What a configuration wants issued: names, issuers, ways of proof, secrets."""

from pathlib import Path

import pytest

from vestibule.control.acme.wanted import LETS_ENCRYPT, LETS_ENCRYPT_STAGING, ZERO_SSL, Wishes, names_of, wishes_of
from vestibule.dialects.toml import parse

SITE = '[sites."photos.example.org"]\nto = "http://immich:2283"\n'


def wishes(text: str, folder: Path, **environment: str) -> Wishes:
    loaded = parse("v.toml", text)
    assert loaded.config is not None
    assert loaded.ok, [each.render() for each in loaded.diagnostics]
    return wishes_of(loaded.config, folder, environment)


def test_a_public_name_wants_a_certificate_by_itself(tmp_path: Path) -> None:
    found = wishes(SITE, tmp_path)
    assert found.problems == []
    (wanted,) = found.wanted
    assert wanted.names == ("photos.example.org",)
    assert [each.directory for each in wanted.issuers] == [LETS_ENCRYPT]
    assert wanted.kinds == {"photos.example.org": ("tls-alpn-01", "http-01")}
    assert wanted.id.startswith("photos.example.org-")


@pytest.mark.parametrize("text", ['[sites."photos.lan"]\nto = "http://a:1"\n', f'{SITE}tls = "off"\n', f'{SITE}listen = ":8080"\n'])
def test_others_want_none(tmp_path: Path, text: str) -> None:
    assert wishes(text, tmp_path).wanted == []


def test_the_second_choice_needs_an_address(tmp_path: Path) -> None:
    (wanted,) = wishes(f'acme.email = "a@example.org"\n{SITE}', tmp_path).wanted
    assert [each.directory for each in wanted.issuers] == [LETS_ENCRYPT, ZERO_SSL]
    assert [each.email for each in wanted.issuers] == ["a@example.org"] * 2


def test_staging_asks_the_staging_service_alone(tmp_path: Path) -> None:
    (wanted,) = wishes(f'acme = {{ email = "a@example.org", staging = true }}\n{SITE}', tmp_path).wanted
    assert [each.directory for each in wanted.issuers] == [LETS_ENCRYPT_STAGING]


def test_a_site_chooses_its_issuer(tmp_path: Path) -> None:
    text = f'{SITE}issuers = "house"\n[issuers.house]\ndirectory = "https://ca.lan/dir"\n[sites."b.example.org"]\nto = "http://a:1"\n'
    first, second = wishes(text, tmp_path).wanted
    assert [each.name for each in first.issuers] == ["house"]
    assert [each.name for each in second.issuers] == ["letsencrypt"]


def test_names_that_a_wildcard_covers_are_left_out(tmp_path: Path) -> None:
    config = parse(
        "v", '[sites.x]\nhosts = ["a.example.org", "*.example.org", "example.org", "a.b.example.org"]\nto = "http://a:1"\n'
    ).config
    assert config is not None
    assert names_of(config.sites[0]) == ("*.example.org", "example.org", "a.b.example.org")


def test_a_wildcard_needs_dns(tmp_path: Path) -> None:
    text = '[sites."*.example.org"]\nto = "http://a:1"\n'
    (problem,) = wishes(text, tmp_path).problems
    assert "can be proven by DNS only" in problem.text
    provider = '[dns_providers.mine]\nprovider = "hook"\noptions = { command = "/bin/true" }\n'
    found = wishes(text + provider, tmp_path)
    assert found.problems == []
    assert found.wanted[0].kinds == {"*.example.org": ("dns-01",)}
    refused = wishes(f'acme.challenges = ["http-01"]\n{text}{provider}', tmp_path)
    assert "let `acme.challenges` have dns-01" in refused.problems[0].text


def test_the_longest_zone_chooses_the_provider(tmp_path: Path) -> None:
    text = (
        '[sites.x]\nhosts = ["a.example.org", "b.sub.example.org", "c.example.net", "notexample.org"]\nto = "http://a:1"\n'
        '[dns_providers.outer]\nprovider = "hook"\nzones = "example.org"\noptions = { command = "a" }\n'
        '[dns_providers.inner]\nprovider = "hook"\nzones = "sub.example.org"\noptions = { command = "b" }\n'
    )
    (wanted,) = wishes(text, tmp_path).wanted
    assert {name: dns.name for name, dns in wanted.dns.items()} == {"a.example.org": "outer", "b.sub.example.org": "inner"}
    assert wanted.kinds["a.example.org"][0] == "dns-01"
    assert wanted.kinds["c.example.net"] == ("tls-alpn-01", "http-01")


def test_secrets_come_from_files_and_the_environment(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file\nmore\n")
    text = (
        f'{SITE}[dns_providers.d]\nprovider = "rfc2136"\n'
        'options = { server = "127.0.0.1", key_name = "k", key_secret = "file:token", other = "env:OTHER" }\n'
        '[issuers.letsencrypt]\neab_kid = "kid"\neab_key = "env:EAB"\n'
    )
    found = wishes(text, tmp_path, OTHER="from-outside", EAB="mac")
    assert found.problems == []
    (wanted,) = found.wanted
    assert wanted.dns["photos.example.org"].options["key_secret"] == "from-a-file"
    assert wanted.dns["photos.example.org"].options["other"] == "from-outside"
    assert wanted.issuers[0].eab_key == "mac"
    assert found.files == {tmp_path / "token"}
    # What is shown of it has no secret.
    assert "from-a-file" not in repr(wanted)
    assert "mac" not in repr(wanted)


def test_missing_secrets_are_mistakes_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    text = (
        f'{SITE}[dns_providers.d]\nprovider = "hook"\noptions = {{ command = "x", a = "file:none", b = "env:NONE", c = "file:empty" }}\n'
        '[issuers.house]\ndirectory = "https://ca.lan/dir"\nca = "none.pem"\n'
    )
    texts = [each.text for each in wishes(text, tmp_path).problems]
    assert any("none cannot be read: No such file" in each for each in texts)
    assert any("the environment has no variable `NONE`" in each for each in texts)
    assert any("empty is empty" in each for each in texts)
    assert any("none.pem does not exist" in each for each in texts)


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ('provider = "hook"', "a `hook` needs the option `command`"),
        ('provider = "rfc2136"\noptions = { server = "x" }', "missing: `key_name`, `key_secret`"),
        ('provider = "cloudflair"', "there is no DNS provider `cloudflair`; known are rfc2136, hook,"),
    ],
)
def test_providers_that_cannot_work_are_told(tmp_path: Path, provider: str, said: str) -> None:
    (problem,) = wishes(f"{SITE}[dns_providers.d]\n{provider}\n", tmp_path).problems
    assert said in problem.text
