"""`vestibule caddy`: Caddy's commands for a Caddyfile.

Facts: `run` stays in the foreground, `start` does not; `reload` and `stop` speak to the running program. INT and TERM let
exchanges finish. Without `--config`, a `Caddyfile` in the working directory is meant.

Rules: `reload` has the running program read the file it was started with. `adapt` prints vestibule's own model: there is no other JSON.
"""

from __future__ import annotations

import sys
from pathlib import Path

import vestibule
from vestibule.control.accounts import state_dir_of
from vestibule.control.admin import AdminError, ask, find_sockets
from vestibule.control.main import Signals
from vestibule.dialects import caddy as language
from vestibule.model.config import Process
from vestibule.model.wire import to_json
from vestibule.originals.launch import Text, Usage, diagnostics_of, errors_of, read_file, say, serve, split_flags, with_pid_file

STANDS_FOR = "v2.6.2"

_TAKES = {"--config": True, "-c": True, "--adapter": True, "-a": True, "--pidfile": True, "--envfile": True, "--address": True}
_TAKES |= {"--watch": False, "-w": False, "--environ": False, "--pretty": False, "--validate": False, "--force": False, "-f": False}
_TAKES |= {"--resume": False, "--diff": False, "--overwrite": False}
_NOT_DONE = {
    "--watch": "the file is not watched; `vestibule caddy reload` reads it anew",
    "--resume": "there is no saved configuration; name a file with --config",
    "--envfile": "set the variables in the environment",
    "--address": "the running program is found by its admin socket",
}
_SHORT = {"-c": "--config", "-a": "--adapter", "-w": "--watch", "-f": "--force"}

HELP = """\
usage: caddy <command> [<args...>]

commands:
  adapt     prints what a Caddyfile means, as vestibule's model
  reload    has the running program read its Caddyfile anew
  run       serves a Caddyfile in the foreground
  start     serves a Caddyfile in the background
  stop      has the running program finish and end
  validate  checks a Caddyfile
  version   prints the version"""


class _Caddy:
    """One call of a command that takes a Caddyfile."""

    def __init__(self, values: dict[str, str]) -> None:
        self.path = values.get("--config", "Caddyfile")
        self.pid_file = values.get("--pidfile", "")
        path = Path(self.path).absolute()
        self.source = Text(
            self.path,
            path.parent,
            lambda included: read_file(self.path, "caddy", included),
            lambda config: with_pid_file(config, str(Path(self.pid_file).absolute()) if self.pid_file else ""),
        )

    def run(self, daemon: bool) -> int:
        """Serve."""
        return max(serve(self.source, Signals(), daemon, self.refuse), 0)

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
    import os

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


def main(words: list[str]) -> int:
    """Do what caddy does with these words; return the exit status."""
    command, rest = (words[0], words[1:]) if words else ("help", [])
    pairs = [part for word in rest for part in (word.split("=", 1) if word.startswith("--") else [word])]
    try:
        flags, others = split_flags(pairs, _TAKES)
    except Usage as bad:
        say(f"Error: {bad}")
        return 1
    values = {_SHORT.get(name, name): value for name, value in flags}
    refused = next((name for name in values if name in _NOT_DONE), "")
    if refused or others:
        say(f"Error: {refused}: {_NOT_DONE[refused]}" if refused else f"Error: unexpected argument: {others[0]}")
        return 1
    if values.get("--adapter", "caddyfile") != "caddyfile":
        say(f"Error: there is no adapter for {values['--adapter']}; write a Caddyfile")
        return 1
    called = _Caddy(values)
    if command in ("run", "start"):
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
        sys.stdout.write("\n".join([f"http.handlers.{name}" for name in sorted(language.supported())]) + "\n")
        return 0
    if command in ("help", "--help", "-h"):
        sys.stdout.write(HELP + "\n")
        return 0
    say(f"Error: unknown command: {command}; known are adapt, reload, run, start, stop, validate, version")
    return 1
