"""Addresses of sites, and what holds for a site as a whole: where it listens, TLS, its log.

Facts (Caddy's documentation, "Caddyfile Concepts", "Automatic HTTPS"): a host is served over HTTPS on 443 and redirected
from 80, unless its address says ``http://`` or the port 80; an address without a host is plain HTTP unless it says
otherwise. Names that no authority could certify have certificates of the local CA; others have them from ACME.

Not here: directives for requests (``flow``), how certificates are got (``acme``).
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field, replace
from typing import Literal

from vestibule.dialects.caddy.acme import AcmeReader, Asked
from vestibule.dialects.caddy.lexer import Token
from vestibule.dialects.caddy.log_filters import filtered
from vestibule.dialects.caddy.placeholders import State, read_expr
from vestibule.dialects.caddy.report import Report, near
from vestibule.dialects.caddy.tree import Segment
from vestibule.dialects.origin import Origins
from vestibule.model.config import ANY_HOST, AccessLog, Certificate, TlsProfile
from vestibule.model.expr import AllOf, Compare, Const, Expr, InSet, Var
from vestibule.model.quantity import parse_host, parse_listen_host, parse_port

_ADDRESS = re.compile(r"(?:(https?)://)?(\[[0-9A-Fa-f:.%]+\]|[^:/\[\]]*)(?::([^/]*))?(/.*)?")

_NETWORK = re.compile("^tcp[46]?/")
_SOCKET = re.compile(r"unix/(/[^|]+)(?:\|(0?[0-7]{3}))?")

_VERSIONS = {"tls1.2": "1.2", "tls1.3": "1.3"}

_PROTOCOLS = ("h2", "http/1.1", "h3")

_OF_ONE_USE = ("AES_256_GCM_SHA384", "AES_128_GCM_SHA256", "CHACHA20_POLY1305_SHA256", "AES_256_CBC_SHA", "AES_128_CBC_SHA")
_CIPHERS = (
    *[f"TLS_{each}" for each in _OF_ONE_USE[:3]],
    *[f"TLS_ECDHE_{kind}_WITH_{each}" for kind in ("ECDSA", "RSA") for each in _OF_ONE_USE],
    *[f"TLS_RSA_WITH_{each}" for each in (*_OF_ONE_USE[:2], *_OF_ONE_USE[3:])],
)
"""Cipher suites that Caddy knows."""

_TLS_LEFT_OUT = {
    "insecure_secrets_log": "secrets are never written",
}

_LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")

_CLIENT_MODES: dict[str, Literal["require", "optional", "any"]] = {
    "require_and_verify": "require",
    "verify_if_given": "optional",
    "request": "any",
    "require": "any",
}

_CURVES = {
    "x25519": "X25519",
    "secp256r1": "prime256v1",
    "secp384r1": "secp384r1",
    "secp521r1": "secp521r1",
    "x25519mlkem768": "X25519MLKEM768",
}
"""Groups, and what OpenSSL calls them."""


@dataclass(frozen=True, slots=True)
class Key:
    """One address of a site."""

    token: Token
    host: str
    port: int
    tls: bool
    automatic: bool
    """Whether plain HTTP is redirected here."""
    path: str = ""


@dataclass(slots=True)
class Options:
    """What global options say of every site."""

    http_port: int = 80
    https_port: int = 443
    redirects: bool = True
    https: bool = True
    local_certs: bool = False
    bind: tuple[str, ...] = ("*",)
    default_sni: str = ""


@dataclass(slots=True)
class Tls:
    """What the ``tls`` directive of a site says."""

    certificates: list[str]
    internal: bool = False
    asked: Asked = field(default_factory=Asked)
    profile: TlsProfile | None = None
    on_demand: bool = False
    wants_any: bool = False
    """Whether clients must show a certificate, and may show any."""
    without_h2: bool = False
    token: Token | None = None


def read_key(token: Token, options: Options, forces_tls: bool, report: Report) -> Key | None:
    """Read the address of a site; None, noted, if it is none. ``forces_tls`` says that the site has a ``tls`` directive."""
    found = _ADDRESS.fullmatch(token.text)
    has_other_scheme = found is not None and not found[1] and "://" in token.text
    if found is None or has_other_scheme or token.text == "":
        report.error(token, "bad-address", f"`{token.text}` is no address of a site", "write `photos.example.org` or `:8080`")
        return None
    scheme, host, port, path = (part or "" for part in found.groups())
    if "{" in token.text:
        report.not_built(token, "placeholders in an address", "write the host")
        return None
    number = 0
    try:
        name = parse_host(host) if host not in ("", "*") else ANY_HOST
        if port:
            number = parse_port(port, 0)
    except ValueError as bad:
        report.error(token, "bad-address", str(bad), "write `photos.example.org` or `:8080`")
        return None
    if (scheme == "http" and number == options.https_port and port) or (scheme == "https" and number == options.http_port and port):
        report.error(token, "conflict", f"`{scheme}://` does not go with the port {number}")
        return None
    if scheme == "http" or (port and number == options.http_port):
        tls = False
    else:
        tls = name != ANY_HOST or scheme == "https" or forces_tls or bool(port and number == options.https_port)
    if not port:
        number = options.https_port if tls else options.http_port
    automatic = tls and name != ANY_HOST and options.redirects and options.https
    return Key(token, name, number, tls, automatic, path.rstrip("*") if path not in ("", "/") else "")


class SiteReader:
    """Reads what holds for whole sites, and keeps certificates and TLS profiles."""

    def __init__(self, report: Report, origins: Origins) -> None:
        self._report = report
        self._origins = origins
        self.acme = AcmeReader(report)
        self.certificates: dict[str, Certificate] = {}
        self.profiles: list[TlsProfile] = []

    # ------------------------------------------------------------ bind, log

    def bind(self, segments: list[Segment], options: Options) -> tuple[str, ...]:
        """Return the hosts to listen on."""
        hosts: list[str] = []
        for segment in segments:
            for token in segment.tokens[1:]:
                text = _NETWORK.sub("", token.text)
                socket = _SOCKET.fullmatch(text)
                if socket is not None:
                    hosts.append(f"unix:{socket[1]}|{socket[2] or '0200'}")
                    continue
                if text.startswith(("unix/", "fd/", "udp/", "{")):
                    self._report.not_built(token, f"listening on `{text}`", "write an address")
                    continue
                try:
                    bare = text.removeprefix("[").removesuffix("]")
                    hosts.append("127.0.0.1" if text == "localhost" else parse_listen_host(f"[{bare}]" if ":" in bare else bare))
                except ValueError as bad:
                    self._report.error(token, "bad-address", str(bad))
            if segment.block is not None:
                self._report.not_built(segment.head, "a block behind `bind`")
        return tuple(dict.fromkeys(hosts)) or options.bind

    def log(self, segments: list[Segment]) -> AccessLog | None:
        """Return the access logs of a site, the first with the others; None where it has none."""
        logs: list[AccessLog] = []
        for segment in segments:
            found = AccessLog("stderr")
            for line in segment.inside():
                found = self._log_line(found, line)
            if found not in logs:
                logs.append(found)
        written = [each for each in logs if each.target != "off"]
        return replace(written[0], also=tuple(written[1:])) if written else next(iter(logs), None)

    def _log_line(self, log: AccessLog, line: Segment) -> AccessLog:
        words = line.texts()
        if line.name == "output":
            kind = "".join(words[:1])
            most = 2 if kind == "file" else 1
            if kind in ("stdout", "stderr", "discard", "file") and len(words) > most:
                self._report.error(line.token(most + 1), "syntax", f"`{words[most]}` is not expected here", "leave it out")
            if kind in ("stdout", "stderr"):
                return replace(log, target=kind)
            if kind == "discard":
                return replace(log, target="off")
            if kind == "file" and len(words) > 1:
                for inner in line.inside():
                    self._report.left_out(inner.head, f"`{inner.name}`", "files are renamed by logrotate, and reopened on SIGUSR1")
                return replace(log, target=words[1])
            self._report.not_built(line.token(1), f"`output {kind}`", "write `stdout`, `stderr` or `file PATH`")
        elif line.name == "format":
            return self._format(log, line)
        elif line.name == "level":
            level = "".join(words).upper()
            if level not in _LEVELS:
                self._report.error(line.token(1), "bad-value", f"`{level}` is no level", f"write {', '.join(_LEVELS)}")
            # Requests are told at INFO, and at ERROR those answered with 500 and more.
            return only(log, Compare(">=", Var("status"), Const(500))) if level in ("WARN", "ERROR") else log
        elif line.name == "hostnames" and words and not any("*" in word or "{" in word for word in words):
            return only(log, InSet(Var("host"), tuple([word.lower() for word in words])))
        elif line.name in ("hostnames", "include", "exclude", "sampling", "core", "no_hostname"):
            self._report.left_out(line.head, f"`{line.name}`", "every request is logged")
        else:
            known = ("output", "format", "level")
            self._report.error(line.head, "unknown-option", f"`{line.name}` is unknown in `log`", near(line.name, known))
        return log

    def _format(self, log: AccessLog, line: Segment) -> AccessLog:
        kind = "".join(line.texts()[:1])
        if kind == "transform" and len(line.tokens) > 2:
            template = read_expr(line.token(2), State(), self._report)
            return log if template is None else replace(log, format="template", template=template)
        if kind == "filter":
            return filtered(log, line.inside(), self._report)
        for inner in line.inside():
            self._report.left_out(inner.head, f"`{inner.name}` of `format {kind}`", "the access log is vestibule's JSON")
        if kind != "json":
            self._report.left_out(line.token(1), f"`format {kind}`", "the access log is vestibule's JSON")
        return log

    # ------------------------------------------------------------ tls

    def tls(self, segments: list[Segment]) -> Tls:
        """Return what the ``tls`` directives of a site say."""
        found = Tls([])
        for segment in segments:
            found.token = segment.head
            words = segment.texts()
            if words == ["internal"]:
                found.internal = True
            elif words == ["force_automate"]:
                pass  # Each name has a certificate of its own here, also below a wildcard.
            elif len(words) == 1:
                self.acme.email(words[0], segment)
            elif len(words) == 2:
                found.certificates.append(self._certificate(segment))
            elif len(words) > 2:
                self._report.error(segment.token(3), "syntax", "`tls` takes a certificate and a key, `internal`, or an e-mail address")
            profile = TlsProfile("intermediate")
            for line in segment.inside():
                profile = self._tls_line(found, profile, line)
            if profile != TlsProfile("intermediate"):
                found.profile = profile
        if found.on_demand and found.internal and found.token is not None:
            self._report.not_built(found.token, "certificates of the local CA on demand", "name the hosts, or leave `on_demand` out")
        return found

    def _certificate(self, segment: Segment) -> str:
        cert, key = segment.texts()[:2]
        made = Certificate(cert, cert, "" if key == cert else key)
        if cert not in self.certificates:
            self.certificates[cert] = self._origins.at(segment.token(1).span, made)
        elif self.certificates[cert] != made:
            self._report.error(segment.token(2), "conflict", f"`{cert}` has another key elsewhere in this file")
        return cert

    def _tls_line(self, found: Tls, profile: TlsProfile, line: Segment) -> TlsProfile:
        words = line.texts()
        if line.name == "protocols":
            for at, word in enumerate(words[:2]):
                if word not in _VERSIONS:
                    self._report.error(line.token(at + 1), "bad-value", f"`{word}` is no version of TLS", "write tls1.2 or tls1.3")
                elif at == 0:
                    profile = replace(profile, minimum="1.3" if word == "tls1.3" else "1.2")
                else:
                    profile = replace(profile, maximum="1.2" if word == "tls1.2" else "1.3")
            return profile
        if line.name == "ciphers":
            for at, word in enumerate(words):
                if word not in _CIPHERS:
                    self._report.error(line.token(at + 1), "bad-value", f"`{word}` is no cipher suite", near(word, _CIPHERS))
            return replace(profile, ciphers=tuple([_cipher(word) for word in words if word in _CIPHERS]))
        if line.name == "curves":
            for at, word in enumerate(words):
                if word not in _CURVES:
                    self._report.error(line.token(at + 1), "bad-value", f"`{word}` is no group of TLS", near(word, list(_CURVES)))
            return replace(profile, groups=tuple([_CURVES[word] for word in words if word in _CURVES]))
        if line.name == "alpn":
            for at, word in enumerate(words):
                if word not in _PROTOCOLS:
                    self._report.error(line.token(at + 1), "bad-value", f"`{word}` is no protocol", near(word, _PROTOCOLS))
            if "http/1.1" not in words:
                self._report.not_built(line.head, "leaving HTTP/1.1 out", "add `http/1.1`")
            elif "h2" not in words:
                found.without_h2 = True
            return profile
        if line.name == "client_auth":
            return self._client_auth(found, profile, line)
        if line.name in ("issuer", "ca") and words[:1] == ["internal"]:
            found.internal = True
        elif self.acme.tls_line(line, found.asked):
            pass
        elif line.name in _TLS_LEFT_OUT:
            self._report.left_out(line.head, f"`{line.name}`", _TLS_LEFT_OUT[line.name])
        elif line.name == "on_demand":
            found.on_demand = True
        elif line.name in ("load", "get_certificate", "renewal_window_ratio", "force_automate"):
            self._report.not_built(line.head, f"`{line.name}` of `tls`", "name a certificate and its key")
        else:
            known = ["protocols", "ciphers", "curves", "client_auth", "dns", "issuer", "ca", "ca_root", "eab", "key_type", "on_demand"]
            known += _TLS_LEFT_OUT
            self._report.error(line.head, "unknown-option", f"`{line.name}` is unknown in `tls`", near(line.name, known))
        return profile

    def _client_auth(self, found: Tls, profile: TlsProfile, line: Segment) -> TlsProfile:
        mode = ""
        files: list[str] = []
        inline: list[Token] = []
        for inner in line.inside():
            words = inner.texts()
            if inner.name == "mode":
                mode = "".join(words)
                if mode not in _CLIENT_MODES:
                    self._report.not_built(inner.token(1), f"the mode `{mode}`", f"write {', '.join(_CLIENT_MODES)}")
            elif inner.name == "trusted_ca_cert_file" and words:
                files += words
            elif inner.name == "trusted_ca_cert" and words:
                inline += inner.tokens[1:]
            elif inner.name == "trust_pool" and words[:1] in (["file"], ["inline"]):
                files += words[1:]
                for pool in inner.inside():
                    if pool.name == "pem_file" and words[0] == "file":
                        files += pool.texts()
                    elif pool.name == "trust_der" and words[0] == "inline":
                        inline += pool.tokens[1:]
                    else:
                        self._report.not_built(pool.head, f"`{pool.name}` of `trust_pool`", "write `pem_file FILE`")
            else:
                self._report.not_built(inner.head, f"`{inner.name}` of `client_auth`", "name a file with `trusted_ca_cert_file`")
        if inline:
            files.append("".join([self._pem(token) for token in inline]))
        if len(files) > 2:
            self._report.not_built(line.head, "more than two files of authorities", "put them into one file")
        verify = _CLIENT_MODES.get(mode or "require_and_verify", "require")
        if not files and verify != "any":
            self._report.error(line.head, "missing", "`client_auth` needs the authorities", "write `trusted_ca_cert_file FILE`")
        found.wants_any = mode == "require"
        authorities = [*files, "", ""]
        return replace(profile, client_ca=authorities[0], client_ca_more=authorities[1], client_verify=verify)

    def _pem(self, token: Token) -> str:
        """Return a certificate that stands in the file, in base64, as PEM."""
        try:
            base64.b64decode(token.text, validate=True)
        except (binascii.Error, ValueError):
            self._report.error(token, "bad-value", "a certificate in DER, written in base64, is expected here")
        lines = "\n".join([token.text[at : at + 64] for at in range(0, len(token.text), 64)])
        return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"

    def shared(self, one: str, other: str) -> str:
        """Return the profile for sites of one port that differ in whether they ask for client certificates; empty if in more.

        It leaves it to clients, and `demands` says which sites ask at a request.
        """
        first, second = self._profile(one), self._profile(other)
        bare = [replace(each, name="", client_ca="", client_ca_more="", client_verify="require") for each in (first, second)]
        authorities = {(each.client_ca, each.client_ca_more) for each in (first, second) if each.asks_clients}
        if bare[0] != bare[1] or "any" in (first.client_verify, second.client_verify) or len(authorities) != 1:
            return ""
        one_ca, more_ca = authorities.pop()
        merged = replace(first, name="intermediate", client_ca=one_ca, client_ca_more=more_ca, client_verify="optional")
        return self.profile_name(merged, f"{one if first.asks_clients else other}, optional")

    def demands(self, own: TlsProfile | None, shared: str) -> bool:
        """Tell whether a site requires what the profile of its port leaves to clients."""
        asks = own is not None and bool(own.client_ca) and own.client_verify == "require"
        return asks and self._profile(shared).client_verify == "optional"

    def _profile(self, name: str) -> TlsProfile:
        for each in self.profiles:
            if each.name == name:
                return each
        return TlsProfile(name, minimum="1.3" if name == "modern" else "1.2")

    def profile_name(self, profile: TlsProfile | None, site: str) -> str:
        """Return the name of a profile, making it if there is none like it."""
        if profile is None:
            return "intermediate"
        if profile == TlsProfile("intermediate", minimum="1.3"):
            return "modern"
        for each in self.profiles:
            if replace(each, name="intermediate") == profile:
                return each.name
        made = replace(profile, name=site)
        self.profiles.append(made)
        return made.name


def only(log: AccessLog, test: Expr) -> AccessLog:
    """Return a log, and those beside it, of the exchanges for which a test is true."""
    also = tuple([only(each, test) for each in log.also])
    return replace(log, when=test if log.when == Const(True) else AllOf((log.when, test)), also=also)


def _cipher(name: str) -> str:
    """Return OpenSSL's name of a cipher suite that Caddy names as IANA does."""
    plain = name.removeprefix("TLS_").replace("_WITH", "").replace("CHACHA20_POLY1305_SHA256", "CHACHA20_POLY1305")
    plain = plain.replace("AES_128", "AES128").replace("AES_256", "AES256").replace("_CBC", "")
    return plain.replace("_", "-")
