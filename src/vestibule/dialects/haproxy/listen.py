"""``bind`` lines as listeners, certificates and TLS profiles.

Facts (HAProxy configuration manual, chapter 5.1): an address is ``host:port``; ``*`` and nothing are every IPv4 address,
``::`` every IPv6 one; several stand in one line with commas between; a range of ports is several ports. IPv4 clients
come in over ``::`` too, unless ``v6only`` says otherwise or another line has the port for IPv4.

Rules: the pair of ``*`` and ``::`` on one port of one frontend is the model's one address for both families.

Not here: words of other lines (``lower``).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, replace
from typing import Literal

from vestibule.dialects.haproxy.lexer import Line
from vestibule.dialects.haproxy.options import BIND_OPTIONS, Option
from vestibule.dialects.haproxy.report import NOT_BUILT, Report, span
from vestibule.dialects.haproxy.state import PatternFiles
from vestibule.dialects.origin import Origins
from vestibule.dialects.read import ReadText, find_files
from vestibule.model.config import Address, Certificate, InheritedAddress, Limits, Listener, TcpAddress, TlsProfile, UnixAddress
from vestibule.model.diagnostic import did_you_mean
from vestibule.model.quantity import format_listen, parse_port

_PROTOCOLS = Listener("", TcpAddress(0)).protocols

_ALPN: dict[str, Literal["h1", "h2"]] = {"h2": "h2", "http/1.1": "h1", "http/1.0": "h1"}

_BACKLOG = Listener("", TcpAddress(0)).backlog

_NO_CERTIFICATES = (".key", ".ocsp", ".issuer", ".sctl", ".txt", ".md")
"""What lies beside certificates in a directory."""

_CRT_ROW = re.compile(r"(\S+)(?:\s+\[([^\]]*)\])?(.*)")
_ROW_VALUES = (
    *("alpn", "npn", "ca-file", "ca-verify-file", "crl-file", "ciphers", "ciphersuites", "curves", "ecdhe", "verify"),
    *("ssl-min-ver", "ssl-max-ver", "sigalgs", "client-sigalgs", "ocsp-update", "ocsp"),
)
_ROW_LEFT = ("allow-0rtt", "no-ca-names")
_ROW_USUAL = (
    ("verify", "none"),
    ("ssl-min-ver", "SSLv3"),
    ("ssl-min-ver", "TLSv1.0"),
    ("ssl-min-ver", "TLSv1.1"),
    ("ssl-min-ver", "TLSv1.2"),
)
"""What rows may say without effect: it holds anyway."""
_ROW_STRICTER = ("optional", "required", "TLSv1.3")
"""Unless the listener says one of these, which the row would take back."""

TlsVersion = Literal["1.2", "1.3"]

_VERSIONS = ("SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3")


@dataclass(slots=True)
class TlsLimits:
    """What ``global`` says of TLS on one side."""

    ciphers: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    curves: tuple[str, ...] = ()
    minimum: str = ""
    maximum: str = ""
    tickets: bool = True


@dataclass(slots=True)
class TlsDefaults:
    """What ``global`` says of TLS: for every ``bind``, for every ``server``, and where files count from."""

    clients: TlsLimits = field(default_factory=TlsLimits)
    servers: TlsLimits = field(default_factory=TlsLimits)
    verify: str = "required"
    """What holds for a server that does not say whether it is verified."""
    crt_base: str = ""
    ca_base: str = ""


@dataclass(frozen=True, slots=True)
class Bound:
    """What one address of a ``bind`` line is: a listener and the certificates named for it."""

    listener: Listener
    certificates: tuple[str, ...]
    alpn: tuple[str, ...] = ()
    """What ``alpn`` names, where connections are passed on: without it none is agreed on."""


def split_options(
    words: list[str], first: int, line: Line, table: dict[str, Option], report: Report, what: str
) -> dict[str, list[tuple[int, str]]]:
    """Read options with their arguments; those left out are warned of, unknown ones noted.

    The result has for each option its places in the line and its values.
    """
    found: dict[str, list[tuple[int, str]]] = {}
    at = 0
    while at < len(words):
        place, name = first + at, words[at]
        row = table.get(name)
        if row is None:
            hint = did_you_mean(name, list(table))
            report.error(line, place, "unknown-option", f"`{name}` is no option of a {what}", hint if hint.startswith("did") else "")
            at += 1
            continue
        if row.arguments and at + row.arguments >= len(words):
            report.error(line, place, "missing", f"nothing follows `{name}`")
            break
        value = words[at + 1] if row.arguments else ""
        if row.state == "harmless":
            report.warning(line, place, "left-out", f"`{name}` is left out", row.advice)
        elif row.state == "error":
            report.error(line, place, "not-built", f"`{name}`: {NOT_BUILT}", row.advice)
        else:
            found.setdefault(name, []).append((place, value))
        at += 1 + row.arguments
    return found


_ANYBODY = ("0.0.0.0/0", "::/0")


class Binder:
    """Reads the ``bind`` lines of a file."""

    def __init__(self, report: Report, origins: Origins, defaults: TlsDefaults, read_text: ReadText, files: PatternFiles) -> None:
        self._files = files
        self._read_text = read_text
        self._report = report
        self._origins = origins
        self._defaults = defaults
        self.certificates: dict[str, Certificate] = {}
        self.profiles: list[TlsProfile] = []
        self._raw = False

    def read(self, lines: list[tuple[Line, int]], raw: bool = False) -> list[Bound]:
        """Read the ``bind`` lines of one frontend, each with the index of its first argument; ``raw`` ones are of ``mode tcp``."""
        self._raw = raw
        bound: list[Bound] = []
        for line, first in lines:
            bound.extend(self._line(line, first))
        return self._paired(bound)

    def _line(self, line: Line, first: int) -> list[Bound]:
        if first >= len(line.words):
            self._report.error(line, 0, "missing", "`bind` needs an address", "write `bind *:80`")
            return []
        options = split_options(line.texts(first + 1), first + 1, line, BIND_OPTIONS, self._report, "bind line")
        has_tls = "ssl" in options
        certificates = self._certificates(line, options)
        if has_tls and not certificates:
            self._report.error(line, options["ssl"][0][0], "no-certificate", "`ssl` needs a certificate", "name a PEM file with `crt`")
        elif certificates and not has_tls:
            named = "crt" if "crt" in options else "crt-list"
            self._report.warning(line, options[named][0][0], "unused", f"`{named}` has no effect without `ssl`")
            certificates = ()
        profile = self._profile(line, options) if has_tls else "intermediate"
        protocols = _PROTOCOLS if self._raw else self._protocols(line, options)
        offered = options.get("alpn") or options.get("npn") or []
        alpn = tuple(dict.fromkeys([word for _, text in offered for word in text.split(",") if word])) if self._raw else ()
        bound: list[Bound] = []
        for text in line.text(first).split(","):
            for address in self._addresses(line, first, text, options):
                listener = Listener(
                    name=format_listen(address),
                    address=address,
                    tls=has_tls,
                    tls_profile=profile,
                    unknown_sni=("strict" if "strict-sni" in options else "default") if has_tls else "refuse",
                    backlog=self._number(line, options, "backlog") or _BACKLOG,
                    limits=self._limits(line, options),
                    protocols=protocols,
                    proxy_protocol="accept-proxy" in options,
                    # HAProxy takes the header from whoever connects; who may is for the address to say.
                    proxy_protocol_from=_ANYBODY if "accept-proxy" in options else (),
                )
                bound.append(Bound(self._origins.at(span(line, first), listener), certificates, alpn))
        return bound

    def _number(self, line: Line, options: dict[str, list[tuple[int, str]]], name: str) -> int | None:
        if name not in options:
            return None
        place, text = options[name][-1]
        if not text.isdecimal() or int(text) < 1:
            self._report.error(line, place + 1, "bad-value", f"`{text}` is no number for `{name}`")
            return None
        return int(text)

    def _limits(self, line: Line, options: dict[str, list[tuple[int, str]]]) -> Limits | None:
        most = self._number(line, options, "maxconn")
        return None if most is None else Limits(connections=most)

    # ------------------------------------------------------------ addresses

    def _addresses(self, line: Line, at: int, text: str, options: dict[str, list[tuple[int, str]]]) -> list[Address]:
        """Read one address, which may be a range of ports; none, noted, if it cannot be read."""
        family, _, rest = text.rpartition("@")
        if family == "fd" and rest.isdecimal():
            return [InheritedAddress(text)]
        if family in ("abns", "fd", "sockpair", "quic4", "quic6", "rhttp", "mptcp", "udp", "udp4", "udp6"):
            self._report.not_built(line, at, f"listening on `{family}@`")
            return []
        if family == "unix" or rest.startswith("/"):
            return [self._unix(line, rest, options)]
        if family not in ("", "ipv4", "ipv6"):
            self._report.error(
                line, at, "bad-address", f"`{family}@` is no family of addresses", did_you_mean(family, ("ipv4", "ipv6", "unix"))
            )
            return []
        host, colon, ports = rest.rpartition(":")
        if not colon:
            self._report.error(line, at, "bad-address", f"`{text}` has no port", "write `bind *:80`")
            return []
        try:
            name = _listen_host(host, family)
            low, _, high = ports.partition("-")
            first, last = parse_port(low), parse_port(high or low)
        except ValueError as bad:
            self._report.error(line, at, "bad-address", str(bad), "write `bind *:80` or `bind 192.0.2.1:443`")
            return []
        if last < first or last - first > 1_000:
            self._report.error(line, at, "bad-address", f"`{ports}` is no range of ports")
            return []
        takes_both = name == "::" and "v6only" not in options
        return [TcpAddress(port, name, v6only=not takes_both) for port in range(first, last + 1)]

    def _unix(self, line: Line, path: str, options: dict[str, list[tuple[int, str]]]) -> Address:
        address = UnixAddress(path)
        if "mode" in options:
            place, text = options["mode"][-1]
            try:
                address = replace(address, mode=int(text, 8))
            except ValueError:
                self._report.error(line, place + 1, "bad-value", f"`{text}` are no permissions", "write `mode 660`")
        user = options["user"][-1][1] if "user" in options else ""
        group = options["group"][-1][1] if "group" in options else ""
        return replace(address, user=user, group=group)

    def _paired(self, bound: list[Bound]) -> list[Bound]:
        """Join the two families of one port, and let ``::`` take IPv4 where nobody else does."""
        joined: list[Bound] = []
        for each in bound:
            address = each.listener.address
            if isinstance(address, TcpAddress) and address.host in ("0.0.0.0", "::"):
                twin = _twin(address, joined)
                if twin is not None and replace(joined[twin].listener, name="", address=address) == replace(each.listener, name=""):
                    both = TcpAddress(address.port)
                    joined[twin] = self._renamed(joined[twin], both)
                    continue
            joined.append(each)
        return joined

    def _renamed(self, bound: Bound, address: TcpAddress) -> Bound:
        listener = replace(bound.listener, name=format_listen(address), address=address)
        return Bound(self._origins.move(bound.listener, listener), bound.certificates, bound.alpn)

    # ------------------------------------------------------------ TLS

    def _certificates(self, line: Line, options: dict[str, list[tuple[int, str]]]) -> tuple[str, ...]:
        """Return the certificates of ``crt`` and ``crt-list``; the first is shown to clients that name no host."""
        names: list[str] = []
        for place, text in options.get("crt", []):
            path = _based(self._defaults.crt_base, text)
            inside = self._inside(path)
            if text.endswith("/") and not inside:
                self._report.error(line, place + 1, "unreadable", f"there is no certificate in `{text}`", "name a file with `crt`")
                continue
            names.extend([self._named(line, place + 1, each) for each in inside or [path]])
        for place, text in options.get("crt-list", []):
            names.extend(self._listed(line, place + 1, text, options))
        return tuple(dict.fromkeys(names))

    def _named(self, line: Line, at: int, path: str) -> str:
        if path not in self.certificates:
            self.certificates[path] = self._origins.at(span(line, at), Certificate(path, path))
        return path

    def _inside(self, path: str) -> list[str]:
        """Return the files of a directory that HAProxy would load, in its order; nothing if it is a file."""
        found = find_files(self._read_text, f"{path.rstrip('/')}/*")
        return [each for each in found if not each.endswith(_NO_CERTIFICATES)]

    def _listed(self, line: Line, at: int, path: str, options: dict[str, list[tuple[int, str]]]) -> list[str]:
        """Return the certificates that a ``crt-list`` names, each for the names in it or for those that the list says.

        The path of the list does not count from `crt-base`, those in it do.
        """
        self._files.note(path, "crt-list")
        try:
            text = self._read_text(path)
        except (OSError, UnicodeError) as bad:
            self._report.error(line, at, "unreadable", f"`{path}` cannot be read: {bad}")
            return []
        names: list[str] = []
        for row in text.splitlines():
            found = _CRT_ROW.fullmatch(row.strip())
            if found is None or row.lstrip().startswith("#"):
                continue
            if "[" in found[3] or "]" in found[3]:
                message = f"`{row.strip()}` in `{path}` cannot be read"
                self._report.error(line, at, "syntax", message, "write `FILE [OPTIONS] HOSTS`, the options in one pair of brackets")
                continue
            self._row_options(line, at, path, (found[2] or "").split(), options)
            file = _based(self._defaults.crt_base, found[1])
            hosts = tuple(found[3].split("#")[0].split())
            if not hosts:
                names.append(self._named(line, at, file))
                continue
            name = f"{file} for {' '.join(hosts)}"
            if name not in self.certificates:
                self.certificates[name] = self._origins.at(span(line, at), Certificate(name, file, hosts=hosts))
            names.append(name)
        return names

    def _row_options(self, line: Line, at: int, path: str, words: list[str], options: dict[str, list[tuple[int, str]]]) -> None:
        """Read the options of a row; what a listener says for all its certificates is not said for one."""
        while words:
            word = words.pop(0)
            value = words.pop(0) if word in _ROW_VALUES and words else ""
            said = options[word][-1][1] if word in options else ""
            if word in _ROW_LEFT or (value and value == said) or ((word, value) in _ROW_USUAL and said not in _ROW_STRICTER):
                continue
            if word in ("alpn", "npn"):
                self._report.warning(line, at, "left-out", f"`{word} {value}` in `{path}` is left out", "the listener says it for all")
            else:
                hint = "write it behind `bind`, or use two ports"
                self._report.error(line, at, "not-built", f"`{word}` in `{path}`: {NOT_BUILT}", hint)

    def _protocols(self, line: Line, options: dict[str, list[tuple[int, str]]]) -> tuple[Literal["h1", "h2"], ...]:
        """Return the versions of HTTP that ``alpn`` names; without it, both are offered as HAProxy does from 2.8 on."""
        if "proto" in options:
            place, text = options["proto"][-1]
            if text in ("h1", "h2"):
                return ("h2",) if text == "h2" else ("h1",)
            self._report.error(line, place + 1, "bad-value", f"`{text}` is no protocol here", "write `proto h2` or `proto h1`")
        given = [*options.get("alpn", []), *options.get("npn", [])]
        if not given:
            return _PROTOCOLS
        found: list[Literal["h1", "h2"]] = []
        for place, text in given:
            for word in text.split(","):
                if word not in _ALPN:
                    self._report.error(line, place + 1, "bad-value", f"`{word}` is no protocol here", did_you_mean(word, list(_ALPN)))
                elif _ALPN[word] not in found:
                    found.append(_ALPN[word])
        return tuple(found) or _PROTOCOLS

    def _profile(self, line: Line, options: dict[str, list[tuple[int, str]]]) -> str:
        """Return the name of the TLS profile that the options ask for, making it if there is none like it."""
        base, usual = self._defaults, self._defaults.clients
        minimum, maximum = versions(line, options, usual.minimum, usual.maximum, self._report)
        ciphers = tuple(options["ciphers"][-1][1].split(":")) if "ciphers" in options else usual.ciphers
        curves = [*options.get("ecdhe", []), *options.get("curves", [])]
        verify = options["verify"][-1] if "verify" in options else (0, "none")
        if verify[1] not in ("none", "optional", "required"):
            self._report.error(line, verify[0] + 1, "bad-value", f"`verify {verify[1]}` is unknown", "write none, optional or required")
        client_ca = _based(base.ca_base, options["ca-file"][-1][1]) if "ca-file" in options and verify[1] != "none" else ""
        if verify[1] in ("optional", "required") and not client_ca:
            self._report.error(line, verify[0], "missing", f"`verify {verify[1]}` needs a `ca-file`")
        above = _based(base.ca_base, options["ca-verify-file"][-1][1]) if "ca-verify-file" in options else ""
        lists = options["crl-file"][-1] if "crl-file" in options and client_ca else None
        profile = TlsProfile(
            "intermediate",
            minimum,
            maximum,
            ciphers,
            groups=tuple(curves[-1][1].split(":")) if curves else usual.curves,
            suites=tuple(options["ciphersuites"][-1][1].split(":")) if "ciphersuites" in options else usual.suites,
            tickets=usual.tickets and "no-tls-tickets" not in options,
            client_ca=client_ca,
            client_verify=self._verify(line, options, verify[1]) if client_ca else "require",
            client_ca_more=above if client_ca else "",
            client_crl=_based(base.ca_base, lists[1]) if lists is not None else "",
        )
        if profile == TlsProfile("intermediate"):
            return "intermediate"
        if profile == TlsProfile("intermediate", minimum="1.3"):
            return "modern"
        for each in self.profiles:
            if replace(each, name="intermediate") == profile:
                return each.name
        made = self._origins.at(span(line), replace(profile, name=f"line-{line.number}"))
        self.profiles.append(made)
        return made.name

    def _verify(self, line: Line, options: dict[str, list[tuple[int, str]]], verify: str) -> Literal["require", "optional", "any", "shown"]:
        """Return what becomes of a client's certificate. Mistakes in it are passed over all, or none."""
        ignored = {name: options[name][-1] for name in ("ca-ignore-err", "crt-ignore-err") if name in options}
        if not ignored:
            return "optional" if verify == "optional" else "require"
        place = min(place for place, _ in ignored.values())
        if any(text != "all" for _, text in ignored.values()):
            hint = "write `ca-ignore-err all crt-ignore-err all`, and judge by `ssl_c_verify`"
            self._report.error(line, place, "not-built", f"`{line.text(place)}`: {NOT_BUILT}", hint)
            return "require"
        if "crt-ignore-err" not in ignored:
            # What is wrong with the client's own certificate counts there, and here nothing would.
            hint = "write `crt-ignore-err all` as well, and judge by `ssl_c_verify`, or leave it out"
            self._report.error(line, place, "not-built", f"`{line.text(place)}` alone: {NOT_BUILT}", hint)
            return "require"
        if len(ignored) == 1:
            message = f"`{line.text(place)} all` passes over mistakes in certificates of clients and of their authorities alike"
            self._report.warning(line, place, "ignores-more", message, "judge by `ssl_c_verify`, which is 0 where all is well")
        return "any" if verify == "optional" else "shown"


def version_of(line: Line, options: dict[str, list[tuple[int, str]]], name: str, report: Report) -> str:
    """Return the version that an option names; nothing where it is not there."""
    if name not in options:
        return ""
    place, text = options[name][-1]
    return read_version(text, line, place + 1, report)


def versions(line: Line, options: dict[str, list[tuple[int, str]]], least: str, most: str, report: Report) -> tuple[TlsVersion, TlsVersion]:
    """Return the oldest and the newest version that options leave; what they do not say is as given, or vestibule's own."""
    minimum = version_of(line, options, "ssl-min-ver", report) or least
    maximum = version_of(line, options, "ssl-max-ver", report) or most
    if "force-tlsv12" in options or "no-tlsv13" in options:
        maximum = "1.2"
    if "force-tlsv13" in options or "no-tlsv12" in options:
        minimum = "1.3"
    return "1.3" if minimum == "1.3" else "1.2", "1.2" if maximum == "1.2" else "1.3"


def read_version(text: str, line: Line, at: int, report: Report) -> str:
    """Read a TLS version; older ones than 1.2 are raised with a warning. Nothing, noted, if it is none."""
    if text not in _VERSIONS:
        report.error(line, at, "bad-value", f"`{text}` is no version of TLS", did_you_mean(text, _VERSIONS))
        return ""
    if text in ("SSLv3", "TLSv1.0", "TLSv1.1"):
        report.warning(line, at, "raised", f"{text} is not spoken", "TLS 1.2 is the oldest (RFC 8996)")
        return "1.2"
    return text.removeprefix("TLSv")


def _based(base: str, path: str) -> str:
    """Return a path that counts from ``crt-base`` or ``ca-base``."""
    if not base or path.startswith(("/", "@")):
        return path
    return f"{base.rstrip('/')}/{path}"


def _listen_host(host: str, family: str) -> str:
    """Read the host of an address to listen on. Raises ``ValueError``."""
    if host in ("", "*"):
        return "::" if family == "ipv6" else "0.0.0.0"
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if bare == "localhost":
        return "::1" if family == "ipv6" else "127.0.0.1"
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        raise ValueError(f"`{host}` is no address to listen on") from None


def _twin(address: TcpAddress, bound: list[Bound]) -> int | None:
    """Return the index of the other family's address for every interface on this port."""
    for at, each in enumerate(bound):
        other = each.listener.address
        if isinstance(other, TcpAddress) and other.port == address.port and {other.host, address.host} == {"0.0.0.0", "::"}:
            return at
    return None
