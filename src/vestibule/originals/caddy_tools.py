"""Caddy's commands that need no Caddyfile, or only write one: `reverse-proxy`, `file-server`, `respond`, `fmt`, `hash-password`, `trust`.

Facts (Caddy's documentation, "Command Line"): the first three are short Caddyfiles. `reverse-proxy` listens for `localhost` unless told
otherwise, with a certificate of the local CA; the others on port 80.

Rules: what a flag stands for goes into the Caddyfile that is read, so that there is one meaning of it.

Not here: commands for a Caddyfile (`caddy.py`).
"""

from __future__ import annotations

import base64
import difflib
import getpass
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from vestibule.control.accounts import state_dir_of
from vestibule.control.authority import AuthorityError, LocalAuthority, how_to_trust
from vestibule.control.trust import install
from vestibule.dialects.caddy.formatting import formatted
from vestibule.model.config import Process
from vestibule.originals.launch import say

# Rounds of bcrypt as 2 to the power of this: what Caddy takes.
_COST = 14

# What Caddy takes for scrypt, with blocks of 8 and one lane.
_SCRYPT_N = 32_768

# bcrypt looks at no more.
_LONGEST = 72


def _takes(with_value: str, without: str = "") -> dict[str, bool]:
    return dict.fromkeys(with_value.split(), True) | dict.fromkeys(without.split(), False)


TAKES: dict[str, dict[str, bool]] = {
    "reverse-proxy": _takes(
        "--from -f --to -t --header-up -H --header-down -d",
        "--change-host-header -c --insecure --internal-certs -i --disable-redirects -r --access-log --debug -v",
    ),
    "file-server": _takes("--root -r --listen -l --domain -d --precompressed -p", "--browse -b --access-log -a --debug -v --templates -t"),
    "respond": _takes("--status -s --header -H --body -b --listen -l", "--access-log --debug -v"),
    "fmt": _takes("--config -c", "--overwrite -w --diff -d"),
    "hash-password": _takes("--plaintext -p --algorithm -a --salt -s --bcrypt-cost"),
    "trust": _takes("--address --ca --config -c --adapter -a"),
    "environ": {},
}
"""Flags of the commands here, and whether a value follows."""

Flags = Sequence[tuple[str, str]]


class Refused(Exception):
    """What cannot be done; the text says why."""


def caddyfile_of(command: str, flags: Flags, others: Sequence[str]) -> str:
    """Return the Caddyfile that a command stands for. Raises `Refused`."""
    makers = {"reverse-proxy": _reverse_proxy, "file-server": _file_server, "respond": _respond}
    given = {name for name, _ in flags}
    lines, options = makers[command](flags, others)
    if given & {"--debug", "-v"}:
        options.append("debug")
    if "--access-log" in given or (command == "file-server" and "-a" in given):
        lines.insert(1, "\tlog")
    block = "".join([f"\t{option}\n" for option in options])
    return (f"{{\n{block}}}\n" if block else "") + "\n".join(lines) + "\n}\n"


def _reverse_proxy(flags: Flags, others: Sequence[str]) -> tuple[list[str], list[str]]:
    values = {"-f": "--from", "-t": "--to", "-c": "--change-host-header", "-i": "--internal-certs", "-r": "--disable-redirects"}
    values |= {"-H": "--header-up", "-d": "--header-down"}
    pairs = [(values.get(name, name), value) for name, value in flags]
    servers = [server for name, value in pairs if name == "--to" for server in value.split(",")]
    if others:
        raise Refused(f"unexpected argument: {others[0]}")
    if not servers:
        raise Refused("--to is required")
    held = dict(pairs)
    inside: list[str] = []
    for name, value in pairs:
        if name.startswith("--header-"):
            field, _, content = value.partition(":")
            inside.append(f"\t\theader_{name[9:]} {quoted(field.strip())} {quoted(content.strip())}")
    if "--change-host-header" in held:
        inside.append("\t\theader_up Host {upstream_hostport}")
    if "--insecure" in held:
        inside += ["\t\ttransport http {", "\t\t\ttls_insecure_skip_verify", "\t\t}"]
    options = ["local_certs"] if "--internal-certs" in held else []
    options += ["auto_https disable_redirects"] if "--disable-redirects" in held else []
    words = " ".join([quoted(server) for server in servers])
    return [f"{held.get('--from', 'localhost')} {{", f"\treverse_proxy {words} {{", *inside, "\t}"], options


def _file_server(flags: Flags, others: Sequence[str]) -> tuple[list[str], list[str]]:
    values = {"-r": "--root", "-l": "--listen", "-d": "--domain", "-b": "--browse", "-t": "--templates", "-p": "--precompressed"}
    held = {values.get(name, name): value for name, value in flags}
    if others:
        raise Refused(f"unexpected argument: {others[0]}")
    if "--templates" in held:
        raise Refused("--templates: pages with Go templates are not built")
    site = held.get("--domain", "")
    listen = held.get("--listen", "")
    browse = ["\t\tbrowse"] if "--browse" in held else []
    packed = [f"\t\tprecompressed {held['--precompressed'].replace(',', ' ')}"] if "--precompressed" in held else []
    root = os.path.abspath(held.get("--root", "."))
    return [*_site(site, listen), f"\troot * {quoted(root)}", "\tfile_server {", *browse, *packed, "\t}"], []


def _respond(flags: Flags, others: Sequence[str]) -> tuple[list[str], list[str]]:
    values = {"-s": "--status", "-H": "--header", "-b": "--body", "-l": "--listen"}
    pairs = [(values.get(name, name), value) for name, value in flags]
    held = dict(pairs)
    status, body = held.get("--status", ""), held.get("--body", "")
    for word in others:
        # A word of three digits is a status, any other the body.
        if len(word) == 3 and word.isdecimal() and not status:
            status = word
        elif not body:
            body = word
        else:
            raise Refused(f"unexpected argument: {word}")
    lines = _site("", held.get("--listen", ""))
    for name, value in pairs:
        if name == "--header":
            field, colon, content = value.partition(":")
            if not colon:
                raise Refused(f"--header {value}: write NAME: VALUE")
            lines.append(f"\theader {quoted(field.strip())} {quoted(content.strip())}")
    return [*lines, f"\trespond {quoted(body)} {status or '200'}"], []


def _site(host: str, listen: str) -> list[str]:
    """Return the beginning of a site for a host, or for all at an address."""
    address, _, port = listen.rpartition(":")
    key = host + (f":{port}" if port else "") if host else f"http://:{port or '80'}"
    return [f"{key} {{", *([f"\tbind {address.strip('[]')}"] if address else [])]


def quoted(word: str) -> str:
    """Return a word as a token of a Caddyfile. Raises `Refused` where none can hold it."""
    if "`" in word and ('"' in word or "\\" in word):
        raise Refused(f"{word}: this needs a Caddyfile")
    return json.dumps(word, ensure_ascii=False) if "`" in word else f"`{word}`"


# ---------------------------------------------------------------- tools


def fmt(flags: Mapping[str, str], others: Sequence[str]) -> int:
    """Print a Caddyfile in its usual form, or put it into its place."""
    name = others[0] if others else flags.get("--config", flags.get("-c", "Caddyfile"))
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as bad:
        say(f"Error: reading input file: {name}: {bad.strerror if isinstance(bad, OSError) else 'it is not UTF-8'}")
        return 1
    made = formatted(text)
    if ("--overwrite" in flags or "-w" in flags) and name != "-":
        if made != text:
            Path(name).write_text(made, encoding="utf-8")
    elif "--diff" in flags or "-d" in flags:
        for line in difflib.ndiff(text.splitlines(), made.splitlines()):
            if not line.startswith("?"):
                sys.stdout.write(f"{line}\n")
    else:
        sys.stdout.write(made)
    return 0


def hash_password(flags: Mapping[str, str]) -> int:
    """Print the hash of a password, which is asked for where it does not stand among the flags."""
    import bcrypt

    algorithm = flags.get("--algorithm", flags.get("-a", "bcrypt"))
    if algorithm not in ("bcrypt", "scrypt"):
        say(f"Error: unrecognized hash algorithm: {algorithm}; write bcrypt or scrypt")
        return 1
    secret = flags.get("--plaintext", flags.get("-p", ""))
    if not secret:
        secret = _ask_secret()
    if algorithm == "scrypt" and secret:
        salt = flags.get("--salt", flags.get("-s", ""))
        made = hashlib.scrypt(secret.encode(), salt=salt.encode(), n=_SCRYPT_N, r=8, p=1, maxmem=2 * 128 * 8 * _SCRYPT_N, dklen=32)
        sys.stdout.write(base64.b64encode(made).decode() + "\n")
        return 0
    cost = flags.get("--bcrypt-cost", str(_COST))
    if not secret or len(secret.encode()) > _LONGEST or not cost.isdecimal() or not 4 <= int(cost) <= 31:
        say(f"Error: a password has 1 to {_LONGEST} bytes, and a cost is 4 to 31")
        return 1
    sys.stdout.write(bcrypt.hashpw(secret.encode(), bcrypt.gensalt(int(cost), prefix=b"2a")).decode() + "\n")
    return 0


def _ask_secret() -> str:
    """Return what is typed, or what stands on the first line of standard input; empty where two tries differ."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass("Enter password: ")
    return first if getpass.getpass("Confirm password: ") == first else ""


def trust() -> int:
    """Have this machine trust the local CA, as far as that is possible."""
    authority = LocalAuthority(state_dir_of(Process(), Path.cwd(), os.environ))
    try:
        authority.ensure()
    except AuthorityError as bad:
        say(f"Error: {bad}")
        return 1
    for line in install(authority.certificate_file):
        say(line)
    say(how_to_trust(authority.certificate_file))
    return 0
