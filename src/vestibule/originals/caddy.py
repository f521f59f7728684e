"""`vestibule caddy`: Caddy's commands.

Facts: `run` stays in the foreground, `start` does not; `reload` and `stop` speak to the running program. INT and TERM let
exchanges finish. Without `--config`, a `Caddyfile` in the working directory is meant.

Rules: `reload` has the running program read the file it was started with. `adapt` prints vestibule's own model: there is no other JSON.

Not here: commands that need no Caddyfile (`caddy_tools.py`).
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import vestibule
from vestibule import dialects
from vestibule.control.accounts import state_dir_of
from vestibule.control.admin import AdminError, ask, find_sockets
from vestibule.control.main import Signals
from vestibule.dialects import caddy as language
from vestibule.model.config import Process
from vestibule.model.wire import to_json
from vestibule.originals import caddy_tools
from vestibule.originals.launch import Text, Usage, diagnostics_of, errors_of, read_file, say, serve, split_flags, with_pid_file

STANDS_FOR = "v2.6.2"

_TAKES = {"--config": True, "-c": True, "--adapter": True, "-a": True, "--pidfile": True, "--envfile": True, "--address": True}
_TAKES |= {"--watch": False, "-w": False, "--environ": False, "--pretty": False, "--validate": False, "--force": False, "-f": False}
_TAKES |= {"--resume": False, "--diff": False, "--overwrite": False}
_TAKES |= {"--packages": False, "--versions": False, "--skip-standard": False, "-s": False}
_USUAL_ADDRESSES = ("localhost:2019", "127.0.0.1:2019", "[::1]:2019", ":2019")
_LEFT_OUT = {
    "--resume": "there is no saved configuration; the Caddyfile is served",
    "--address": "the running program is found by its admin socket",
    "--overwrite": "`fmt` alone writes files",
}
"""Flags that are taken and do nothing, and why; those that do nothing in Caddy either are not told."""
_ASSIGNED = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_SHORT = {"-c": "--config", "-a": "--adapter", "-w": "--watch", "-f": "--force"}

HELP = """\
usage: caddy <command> [<args...>]

commands:
  adapt          prints what a Caddyfile means, as vestibule's model
  build-info     prints which vestibule and which Python this is
  environ        prints the environment
  file-server    serves a directory
  fmt            prints a Caddyfile in its usual form
  hash-password  prints the hash of a password
  list-modules   prints what is carried out
  reload         has the running program read its Caddyfile anew
  respond        answers everything alike
  reverse-proxy  serves one application
  run            serves a Caddyfile in the foreground
  start          serves a Caddyfile in the background
  stop           has the running program finish and end
  trust          has this machine trust the local CA
  validate       checks a Caddyfile
  version        prints the version"""


class _Caddy:
    """One call of a command that takes a Caddyfile."""

    def __init__(self, values: dict[str, str], text: str = "") -> None:
        self.path = "flags" if text else values.get("--config", "Caddyfile")
        self.pid_file = values.get("--pidfile", "")
        self.watch = "--watch" in values
        path = Path(self.path).absolute()
        self.source = Text(
            self.path,
            path.parent,
            lambda included: dialects.load(self.path, text, included, "caddy") if text else read_file(self.path, "caddy", included),
            lambda config: with_pid_file(config, str(Path(self.pid_file).absolute()) if self.pid_file else ""),
        )

    def run(self, daemon: bool) -> int:
        """Serve."""
        return max(serve(self.source, Signals(), daemon, self.refuse, Path(self.path).absolute() if self.watch else None), 0)

    def refuse(self, reasons: list[str]) -> int:
        """Say why it does not start."""
        for reason in reasons:
            say(f"Error: {reason}")
        return 1

    def validate(self) -> int:
        """Check the file."""
        found, others, ok = diagnostics_of(self.source)
        for line in [each.render() for each in found] + others:
            say(line)
        if ok:
            sys.stdout.write("Valid configuration\n")
        return 0 if ok else 1

    def adapt(self, validate: bool) -> int:
        """Print the model."""
        draft = self.source.read()
        for each in draft.diagnostics:
            say(each.render())
        if draft.config is None or errors_of(list(draft.diagnostics)):
            return 1
        sys.stdout.write(to_json(draft.config, indent=2) + "\n")
        return self.validate() if validate else 0


def _ask_running(command: str) -> int:
    """Have the running program do something."""
    state_dir = state_dir_of(Process(), Path.cwd(), os.environ)
    live = find_sockets(state_dir)
    if len(live) != 1:
        say(f"Error: {'no' if not live else 'more than one'} running program has a socket in {state_dir}")
        return 1
    try:
        answer = ask(live[0], command)
    except AdminError as bad:
        say(f"Error: {bad}")
        return 1
    reasons = answer.get("reasons")
    for reason in reasons if isinstance(reasons, list) else []:
        say(f"Error: {reason}")
    return 0 if answer.get("ok") is True else 1


def print_environment() -> None:
    """Print the variables of the environment."""
    sys.stdout.write("".join([f"{name}={value}\n" for name, value in os.environ.items()]))
    sys.stdout.flush()


def _read_environment(path: str) -> bool:
    """Put the variables of a file into the environment, where those that are there already stay; False, told, if it cannot be read."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as bad:
        say(f"Error: --envfile: {path}: {bad.strerror if isinstance(bad, OSError) else 'it is not UTF-8'}")
        return False
    for number, line in enumerate(lines, 1):
        text = line.strip()
        found = _ASSIGNED.fullmatch(text)
        if found is not None:
            value = found[2]
            quoted = value[:1] in ("'", '"') and value.endswith(value[:1]) and len(value) > 1
            os.environ.setdefault(found[1], value[1:-1] if quoted else value.partition(" #")[0].rstrip())
        elif text and not text.startswith("#"):
            say(f"Error: --envfile: {path}:{number}: write NAME=VALUE")
            return False
    return True


def _tool(command: str, words: list[str]) -> int:
    """Do what needs no Caddyfile, or makes one."""
    pairs = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    try:
        flags, others = split_flags(pairs, caddy_tools.TAKES[command])
        if command == "fmt":
            return caddy_tools.fmt(dict(flags), others)
        if command == "hash-password":
            return caddy_tools.hash_password(dict(flags))
        if command == "trust":
            return caddy_tools.trust()
        if command == "environ":
            print_environment()
            return 0
        text = caddy_tools.caddyfile_of(command, flags, others)
    except (Usage, caddy_tools.Refused) as bad:
        say(f"Error: {bad}")
        return 1
    return _Caddy({}, text).run(False)


def main(words: list[str]) -> int:
    """Do what caddy does with these words; return the exit status."""
    command, rest = (words[0], words[1:]) if words else ("help", [])
    if command in ("help", "--help", "-h") or {"--help", "-h"} & set(rest[:1]):
        sys.stdout.write(HELP + "\n")
        return 0
    if command in caddy_tools.TAKES:
        return _tool(command, rest)
    pairs = [part for word in rest for part in (word.split("=", 1) if word.startswith("--") else [word])]
    try:
        flags, others = split_flags(pairs, _TAKES)
    except Usage as bad:
        say(f"Error: {bad}")
        return 1
    values = {_SHORT.get(name, name): value for name, value in flags}
    if others:
        say(f"Error: unexpected argument: {others[0]}")
        return 1
    if "--resume" in values and "--config" not in values and not Path("Caddyfile").exists():
        say("Error: --resume: there is no saved configuration; name a file with --config")
        return 1
    address = values.get("--address", _USUAL_ADDRESSES[0])
    if command == "stop" and address not in _USUAL_ADDRESSES:
        # Somebody who has several means one of them, and the others go on.
        say(f"Error: --address {address}: there is no admin API; stop the program by its pid file, or its service")
        return 1
    for name in values.keys() & _LEFT_OUT.keys():
        say(f"Warning: {name}: {_LEFT_OUT[name]}")
    if "--envfile" in values and not _read_environment(values["--envfile"]):
        return 1
    if values.get("--adapter", "caddyfile") != "caddyfile":
        say(f"Error: there is no adapter for {values['--adapter']}; write a Caddyfile")
        return 1
    called = _Caddy(values)
    if command in ("run", "start"):
        if "--environ" in values:
            print_environment()
        return called.run(command == "start")
    if command == "validate":
        return called.validate()
    if command == "adapt":
        return called.adapt("--validate" in values)
    if command in ("reload", "stop"):
        return _ask_running(command)
    if command == "version":
        sys.stdout.write(f"{STANDS_FOR} (vestibule {vestibule.__version__})\n")
        return 0
    if command == "list-modules":
        names = [] if values.keys() & {"--skip-standard", "-s"} else [f"http.handlers.{name}\n" for name in sorted(language.supported())]
        sys.stdout.write("".join(names))
        return 0
    if command == "build-info":
        sys.stdout.write(f"vestibule\t{vestibule.__version__}\npython\t{sys.version.split()[0]}\n")
        return 0
    say(f"Error: unknown command: {command}; `caddy help` names those there are")
    return 1
