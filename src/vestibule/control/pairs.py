"""HAProxy's commands on certificates, authorities, revocation lists and lists of certificates: `set ssl cert` and its kin.

Facts (HAProxy management guide, 9.3): `set` opens a transaction beside what serves, `commit` puts it in its place and `abort` forgets it;
`new` makes a place that a `crt-list` can name later. Programs that renew certificates speak so, and leave the files alone.

Rules: a commit reads the configuration anew with the file as it is now, so that it holds everywhere or nowhere. What is said here is over
with the next reload, as in HAProxy. No key is ever shown.

Not here: how commands come in (`commands.py`), where changed files are (`changes.py`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vestibule.control.certs import PairError, read_pair
from vestibule.control.changes import Changes
from vestibule.control.lists import Renew
from vestibule.model.config import Config

if TYPE_CHECKING:
    from cryptography import x509

_ACTS = ("new", "set", "commit", "abort", "del")
_KINDS = {"cert": "certificate", "ca-file": "CA file", "crl-file": "CRL file"}
HELP = (
    ("show ssl cert", "user", "display the certificates and who uses them"),
    ("show ssl ca-file", "user", "display the files of authorities"),
    ("show ssl crl-file", "user", "display the files of revocation lists"),
    ("show ssl crt-list", "user", "display a list of certificates, or which there are"),
    *[(f"{act} ssl {kind}", "admin", f"{act} a {what}") for act in _ACTS for kind, what in _KINDS.items()],
    ("add ssl ca-file", "admin", "add authorities to a file of them"),
    ("add ssl crt-list", "admin", "add a line to a list of certificates"),
    ("del ssl crt-list", "admin", "delete a line of a list of certificates"),
)

_CERTIFICATE = re.compile(rb"-----BEGIN (?:TRUSTED )?CERTIFICATE-----.*?-----END (?:TRUSTED )?CERTIFICATE-----", re.DOTALL)
_LIST = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)


class Pairs:
    """Answers commands on the files of TLS that the configuration names."""

    def __init__(self, base: Path, changes: Changes, renew: Renew, read: Callable[[], Config | None]) -> None:
        self.help = HELP
        self._base = base
        self._changes = changes
        self._renew = renew
        self._read = read
        self._pending: dict[tuple[str, str], bytes] = {}
        self._made: dict[tuple[str, str], bytes] = {}  # places that nobody names yet
        self._begun = changes.begun

    async def answer(self, verb: str, words: list[str], payload: str) -> str:
        """Return what a command is answered."""
        if self._begun != self._changes.begun:
            # Somebody reloaded: what was said is over.
            self._begun = self._changes.begun
            self._made.clear()
        act, _, kind = verb.split(" ")
        if kind == "crt-list":
            return await self._list(act, words, payload)
        name = words[0] if words else ""
        if act == "show":
            return self._show(kind, name)
        if not name:
            return f"'{verb}' expects a filename.\n"
        if act == "new":
            if self._find(kind, name):
                return f"{_KINDS[kind].capitalize()} '{name}' already exists!\n"
            self._made[kind, name] = b""
            return f"New empty {'certificate store' if kind == 'cert' else _KINDS[kind]} '{name}'!\n"
        if act in ("set", "add"):
            return self._set(act, kind, name, payload.encode("utf-8", "surrogateescape"))
        if act == "abort":
            if self._pending.pop((kind, name), None) is None:
                return "No ongoing transaction!\n"
            return f"Transaction aborted for certificate '{name}'!\n"
        if act == "commit":
            return await self._commit(kind, name)
        if name in self._used(kind) or (kind, name) not in self._made:
            what = "in use, can't be deleted!" if self._find(kind, name) else "doesn't exist!"
            return f"{_KINDS[kind]} '{name}' {what}\n"
        del self._made[kind, name]
        self._changes.put(self._base / name, None)
        return f"{_KINDS[kind].capitalize() if kind == 'cert' else _KINDS[kind]} '{name}' deleted!\n"

    # ------------------------------------------------------------ transactions

    def _set(self, act: str, kind: str, name: str, data: bytes) -> str:
        """Open a transaction, or change what is in it."""
        if not self._find(kind, name):
            return f"Can't replace a {_KINDS[kind]} which is not referenced by the configuration!\nCan't update {name}!\n"
        wrong = _wrong_with(kind, data)
        if wrong:
            return f"{wrong}\nCan't load the payload\nCan't update {name}!\n"
        had = self._pending.get((kind, name))
        if act == "add":
            data = (had if had is not None else self._data(kind, name)) + b"\n" + data
        self._pending[kind, name] = data
        what = "certificate" if kind == "cert" else "CA" if kind == "ca-file" else "CRL"
        begin = "Transaction" if kind == "cert" else "transaction"
        return f"{begin} {'created' if had is None else 'updated'} for {what} {name}!\n"

    async def _commit(self, kind: str, name: str) -> str:
        """Have what was set serve."""
        data = self._pending.get((kind, name))
        if data is None:
            return f"No ongoing transaction!\nCan't commit {name}!\n"
        path = self._base / name
        before = self._changes.put(path, data)
        reasons = await self._renew() if name in self._used(kind) else []
        if reasons:
            self._changes.put(path, before)
            return f"Committing {name}\n" + "".join(f"{reason}\n" for reason in reasons) + f"Can't commit {name}!\n"
        del self._pending[kind, name]
        if (kind, name) in self._made:
            self._made[kind, name] = data
        return f"Committing {name}.\nSuccess!\n"

    # ------------------------------------------------------------ what there is

    def _used(self, kind: str) -> list[str]:
        """Return the files of a kind that what is served names."""
        config = self._read()
        if config is None:
            return []
        names: list[str] = []
        for upstream in config.upstreams:
            own = {"cert": upstream.tls.cert, "ca-file": upstream.tls.ca, "crl-file": upstream.tls.crl}
            names.extend([own[kind], *([server.tls_cert for server in upstream.servers] if kind == "cert" else [])])
        for profile in config.tls_profiles:
            names.extend({"cert": [], "ca-file": [profile.client_ca, profile.client_ca_more], "crl-file": [profile.client_crl]}[kind])
        if kind == "cert":
            names.extend([each.cert for each in config.certificates])
        return list(dict.fromkeys([name for name in names if name]))

    def _find(self, kind: str, name: str) -> bool:
        return (kind, name) in self._made or name in self._used(kind)

    def _data(self, kind: str, name: str) -> bytes:
        """Return what a file holds that serves."""
        if (kind, name) in self._made:
            return self._made[kind, name]
        try:
            return self._changes.where(self._base / name).read_bytes()
        except OSError:
            return b""

    def _show(self, kind: str, name: str) -> str:
        """Tell of one file, or which there are; with `*` before it, of its transaction."""
        if not name:
            lines = ["# transaction", *[f"*{each}{self._count(kind, data)}" for (of, each), data in self._pending.items() if of == kind]]
            known = dict.fromkeys([*self._used(kind), *[each for of, each in self._made if of == kind]])
            lines += ["# filename", *[f"{each}{self._count(kind, self._data(kind, each))}" for each in known]]
            return "".join(f"{line}\n" for line in lines)
        bare, _, index = name.removeprefix("*").rpartition(":")
        if not (bare and index.isdecimal() and kind != "cert"):
            bare, index = name.removeprefix("*"), ""
        data = self._pending.get((kind, bare)) if name.startswith("*") else self._data(kind, bare) if self._find(kind, bare) else None
        if data is None:
            return f"Can't display the {_KINDS[kind]}: Not found or the {_KINDS[kind]} is a bundle!\n"
        made = (kind, bare) in self._made
        head = f"Filename: {name.partition(':')[0] if index else name}\nStatus: {'Empty' if not data else 'Unused' if made else 'Used'}\n"
        return head + "".join(_texts_of(kind, data, int(index) if index else 0))

    @staticmethod
    def _count(kind: str, data: bytes) -> str:
        """Say how many certificates a file holds."""
        return f" - {len(_CERTIFICATE.findall(data))} certificate(s)" if kind == "ca-file" else ""

    # ------------------------------------------------------------ lists of certificates

    async def _list(self, act: str, words: list[str], payload: str) -> str:
        """Show or change a `crt-list`."""
        config = self._read()
        sockets = config.process.command_sockets if config is not None else ()
        names = list(dict.fromkeys(name for each in sockets for name, what in each.lists if what == "crt-list"))
        numbered = words[:1] == ["-n"]
        words = words[1:] if numbered else words
        if act == "show" and not words:
            return "".join(f"{name}\n" for name in names)
        name = words[0].rstrip("/") if words else ""
        if name not in names:
            return f"crt-list '{name}' does not exist!\n"
        path = self._base / name
        rows = self._changes.where(path).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        lines = [(at, row.strip()) for at, row in enumerate(rows, 1) if row.strip() and not row.lstrip().startswith("#")]
        if act == "show":
            told = [re.sub(r"^(\S+)", rf"\1:{at}", row) if numbered else row for at, row in lines]
            return f"# {name}\n" + "".join(f"{row}\n" for row in told)
        if act == "add":
            row = payload.strip() or " ".join(words[1:])
            file = row.split()[0] if row else ""
            if not self._find("cert", file):
                return f"Can't edit the crt-list: certificate '{file}' does not exist!\n"
            reasons = await self._change(path, [*rows, row])
            return "".join(f"Can't edit the crt-list: {reason}\n" for reason in reasons) or (
                f"Inserting certificate '{file}' in crt-list '{name}'.\nSuccess!\n"
            )
        return await self._drop(path, name, rows, lines, "".join(words[1:2]))

    async def _drop(self, path: Path, name: str, rows: list[str], lines: list[tuple[int, str]], entry: str) -> str:
        """Delete a line of a `crt-list`, named by its certificate and perhaps its number."""
        file, _, number = entry.rpartition(":")
        file, number = (file, number) if file and number.isdecimal() else (entry, "")
        # A line may leave out the folder that `crt-base` says.
        known = file in self._used("cert")
        names = [(at, row.split()[0]) for at, row in lines]
        hit = [at for at, written in names if number in ("", str(at)) and (written == file or (known and file.endswith("/" + written)))]
        if not hit:
            return f"Can't delete the entry: certificate '{file}' is not in the crt-list!\n"
        config = self._read()
        lax = [each.name for each in config.listeners if each.unknown_sni == "default"] if config is not None else []
        shows = [site.name for site in config.sites if set(site.listeners) & set(lax) and _shows(site.certificates, file)] if config else []
        if hit[0] == lines[0][0] and shows:
            told = "".join(f"\t- {site}\n" for site in shows)
            what = f"certificate '{file}' cannot be deleted, it is used as default certificate by the following frontends:"
            return f"Can't delete the entry: {what}\n{told}"
        reasons = await self._change(path, ["" if at in hit[:1] else row for at, row in enumerate(rows, 1)])
        return "".join(f"Can't delete the entry: {reason}\n" for reason in reasons) or f"Entry '{file}' deleted in crtlist '{name}'!\n"

    async def _change(self, path: Path, rows: list[str]) -> list[str]:
        """Have a list serve with other lines; return the reasons against it."""
        before = self._changes.put(path, "".join(f"{row}\n" for row in rows).encode("utf-8", "surrogateescape"))
        reasons = await self._renew()
        if reasons:
            self._changes.put(path, before)
        return reasons


def _shows(certificates: tuple[str, ...], file: str) -> bool:
    """Tell whether a site shows a certificate first."""
    return any(name == file or name.startswith(f"{file} for ") for name in certificates[:1])


def _wrong_with(kind: str, data: bytes) -> str:
    """Return what is wrong with the text of a file; nothing if it can be used."""
    from cryptography import x509

    changes = Changes()
    path = Path("payload")
    changes.put(path, data)
    try:
        if kind == "cert":
            read_pair(changes.where(path), None)
        elif kind == "ca-file":
            if not x509.load_pem_x509_certificates(data):
                return "no certificate in it"
        elif not [x509.load_pem_x509_crl(each) for each in _LIST.findall(data)]:
            return "no revocation list in it"
    except (PairError, ValueError) as bad:
        return f"unable to load the PEM from payload: {str(bad).replace(str(changes.where(path)), 'it')}"
    finally:
        changes.take()
    return ""


def _texts_of(kind: str, data: bytes, index: int) -> list[str]:
    """Describe what a file holds: each, or the one with a number."""
    from cryptography import x509

    if kind == "crl-file":
        return [
            f" \nCertificate Revocation List {at}:\nIssuer: {_line(found.issuer)}\nRevoked Certificates: {len(list(found))}\n"
            for at, found in enumerate([x509.load_pem_x509_crl(each) for each in _LIST.findall(data)], 1)
            if index in (0, at)
        ]
    found = [x509.load_pem_x509_certificate(each) for each in _CERTIFICATE.findall(data.replace(b"TRUSTED ", b""))]
    if kind == "ca-file":
        return [f" \nCertificate #{at}:\n{_text_of(each)}" for at, each in enumerate(found, 1) if index in (0, at)]
    chain = [f"Chain Subject: {_line(each.subject)}\nChain Issuer: {_line(each.issuer)}\n" for each in found[1:]]
    return [_text_of(each) for each in found[:1]] + chain


def _text_of(certificate: x509.Certificate) -> str:
    """Describe a certificate as HAProxy does."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding

    key = certificate.public_key()
    algorithm = f"RSA{key.key_size}" if isinstance(key, rsa.RSAPublicKey) else f"EC{getattr(key, 'key_size', '')}"
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        names = None
    told = ", ".join([f"DNS:{name}" for name in names.get_values_for_type(x509.DNSName)]) if names is not None else ""
    moments = [f"{at:%b} {at.day:2d} {at:%H:%M:%S %Y} GMT" for at in (certificate.not_valid_before_utc, certificate.not_valid_after_utc)]
    digest = hashlib.sha1(certificate.public_bytes(Encoding.DER), usedforsecurity=False).hexdigest().upper()
    rows = [
        f"Serial: {certificate.serial_number:X}",
        f"notBefore: {moments[0]}",
        f"notAfter: {moments[1]}",
        *([f"Subject Alternative Name: {told}"] if told else []),
        f"Algorithm: {algorithm}",
        f"SHA1 FingerPrint: {digest}",
        f"Subject: {_line(certificate.subject)}",
        f"Issuer: {_line(certificate.issuer)}",
    ]
    return "".join(f"{row}\n" for row in rows)


def _line(name: x509.Name) -> str:
    return "".join([f"/{each.rfc4514_attribute_name}={each.value!s}" for each in name])
