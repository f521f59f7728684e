"""`vestibule httpd`: the flags and signals of httpd (httpd(8), apachectl(8)).

Facts: it goes into the background unless `-X` or `-DFOREGROUND` says otherwise. USR1 and HUP reload, WINCH drains, TERM ends at once.
`-D NAME` defines a name for `IfDefine`; directives of `-C` come before the file and those of `-c` behind it. `${NAME}` is what the
environment says, and before it Debian's file `envvars` in the server root. One word alone is a command of apachectl.

Rules: files that a configuration names count from the server root where one is said, else from the directory of the file.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path

import vestibule
from vestibule.control.main import Signals
from vestibule.control.source import Draft, Included
from vestibule.dialects import apache as language
from vestibule.dialects.read import Loaded
from vestibule.model.config import Config
from vestibule.model.diagnostic import Diagnostic, Span, error
from vestibule.originals.launch import Text, Usage, diagnostics_of, errors_of, read_pid, say, send, serve, split_flags, with_pid_file

STANDS_FOR = "2.4.62"
ROOT = "/etc/apache2"
CONF = "apache2.conf"
PID = "/var/run/apache2/apache2.pid"
_COMMAND_LINE = "command line"

_TAKES = dict.fromkeys(["-D", "-d", "-f", "-C", "-c", "-e", "-E", "-k"], True)
_TAKES |= dict.fromkeys(["-v", "-V", "-h", "-l", "-L", "-t", "-T", "-S", "-X", "-M"], False)
_RUNNING = Signals(drain=(signal.SIGWINCH,), at_once=(signal.SIGTERM, signal.SIGINT), reload=(signal.SIGUSR1, signal.SIGHUP), reopen=())
_SIGNALS = {
    "stop": signal.SIGTERM,
    "graceful": signal.SIGUSR1,
    "restart": signal.SIGHUP,
    "graceful-stop": signal.SIGWINCH,
}
_ASSIGNED = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=([^#\n]*)")
_COMMANDS = {"configtest": ["-t"], "fullstatus": ["-S"], "status": ["-S"]}
_SERVER_ROOT = re.compile(r"^\s*ServerRoot\s+\"?([^\"\n]+?)\"?\s*$", re.MULTILINE | re.IGNORECASE)

HELP = """\
Usage: httpd [-D name] [-d directory] [-f file]
             [-C "directive"] [-c "directive"]
             [-k start|restart|graceful|graceful-stop|stop]
             [-v] [-V] [-h] [-l] [-L] [-t] [-T] [-S] [-X] [-M]
Options:
  -D name            : define a name for use in <IfDefine name> directives
  -d directory       : specify an alternate initial ServerRoot
  -f file            : specify an alternate ServerConfigFile
  -C "directive"     : process directive before reading config files
  -c "directive"     : process directive after reading config files
  -t                 : run syntax check for config files
  -S                 : show the sites and listeners
  -X                 : stay in the foreground"""


class _Httpd:
    """One call."""

    def __init__(self, flags: list[tuple[str, str]]) -> None:
        self.given = {name for name, _ in flags}
        values = dict(flags)
        self.defines = [value for name, value in flags if name == "-D"]
        self.before = [value for name, value in flags if name == "-C"]
        self.behind = [value for name, value in flags if name == "-c"]
        root = Path(values.get("-d", ROOT)).absolute()
        self.conf = root / values.get("-f", CONF)
        self.base = root if "-d" in values else self._said_root() or self.conf.parent
        self.foreground = "-X" in self.given or "FOREGROUND" in self.defines
        self.environment = _envvars(root / "envvars") | dict(os.environ)
        self.source = Text(str(self.conf), self.base, self._load, self._adjust)

    def _said_root(self) -> Path | None:
        """Return the server root that the file says."""
        try:
            found = _SERVER_ROOT.search(self.conf.read_text(encoding="utf-8"))
        except (OSError, UnicodeError):
            return None
        return Path(found[1]) if found is not None else None

    def _load(self, included: Included) -> Loaded:
        if not self.conf.is_file():
            return Loaded(None, (error(Span(str(self.conf)), "unreadable", "there is no such file", "check the path"),))
        lines = [f"Define {name}" for name in self.defines if name != "FOREGROUND"]
        text = "\n".join([*lines, *self.before, f'Include "{self.conf}"', *self.behind]) + "\n"
        return language.parse(_COMMAND_LINE, text, included, self.environment)

    def _adjust(self, config: Config) -> Config:
        config = with_pid_file(config, PID)
        return replace(config, process=replace(config.process, pid_file=str(self.base / config.process.pid_file)))

    def test(self) -> int:
        """Check the configuration as `-t` does."""
        found, others, ok = diagnostics_of(self.source)
        for each in found:
            say(told(each))
        for line in others:
            say(line)
        if ok:
            say("Syntax OK")
        return 0 if ok else 1

    def show(self, what: set[str]) -> int:
        """Say which sites there are, how it runs, and which files are read, as `-S` and `-t -D DUMP_...` do."""
        draft = self.source.read()
        if draft.config is None or errors_of(list(draft.diagnostics)):
            return self.test()
        config = draft.config
        lines: list[str] = []
        if "DUMP_VHOSTS" in what:
            lines += _sites(config, draft)
        if "DUMP_RUN_CFG" in what:
            lines += [f'ServerRoot: "{self.base}"', f'Main ErrorLog: "{config.error_log.target}"', f'PidFile: "{config.process.pid_file}"']
            lines += [f"Define: {name}" for name in self.defines]
            lines += [f'User: name="{config.process.user}"', f'Group: name="{config.process.group}"']
        if "DUMP_INCLUDES" in what:
            files = [each for each in self._load(Included(self.base)).files if each != _COMMAND_LINE]
            lines += ["Included configuration files:", *[f"  (*) {self.base / each}" for each in dict.fromkeys((str(self.conf), *files))]]
        sys.stdout.write("\n".join(lines) + "\n")
        return 0

    def control(self, command: str) -> int:
        """Send the running program what `-k` says, unless it would have to read a file with mistakes."""
        if command in ("graceful", "restart") and not diagnostics_of(self.source)[2]:
            return self.test()
        config = self.source.read().config
        path = Path(config.process.pid_file if config is not None else PID)
        if _is_running(path):
            return send(path, _SIGNALS[command], lambda text: say(f"httpd: {text}"))
        if command in ("graceful", "restart"):
            sys.stdout.write("httpd not running, trying to start\n")
            return self.start()
        # Whoever stops it has what he wants.
        sys.stdout.write("httpd (no pid file) not running\n")
        return 0

    def start(self) -> int:
        """Serve."""
        return max(serve(self.source, _RUNNING, not self.foreground, self.refuse), 0)

    def refuse(self, reasons: list[str]) -> int:
        """Say why it does not start."""
        for reason in reasons:
            say(f"httpd: {reason}")
        return 1


def _sites(config: Config, draft: Draft) -> list[str]:
    """Return the lines of `-S` about sites, by the address they are at."""
    lines = ["VirtualHost configuration:"]
    places = [draft.place(f"sites[{at}]") for at in range(len(config.sites))]
    for door in config.listeners:
        here = [(site, place) for site, place in zip(config.sites, places, strict=True) if door.name in site.listeners]
        here.sort(key=lambda pair: pair[0].name != door.default_site)
        if len(here) > 1:
            lines.append(f"{door.name:22} is a NameVirtualHost")
        for at, (site, place) in enumerate(here):
            name, *others = site.hosts or (site.name,)
            shown = f"{name} ({place.file}:{place.line})"
            if len(here) == 1:
                lines.append(f"{door.name:22} {shown}")
            elif at == 0:
                lines.append(f"         default server {shown}")
            if len(here) > 1:
                lines.append(f"         port {door.name.rpartition(':')[2]} namevhost {shown}")
            lines += [f"                 {'wild alias' if '*' in each else 'alias'} {each}" for each in others]
    return lines


def _is_running(path: Path) -> bool:
    """Tell whether the process is there that a pid file names."""
    try:
        os.kill(read_pid(path), 0)
    except (OSError, ValueError, IndexError):
        return False
    return True


def _envvars(path: Path) -> dict[str, str]:
    """Return what Debian's file of variables for its start script says; nothing where there is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        return {}
    found: dict[str, str] = {}
    for line in text.splitlines():
        assigned = _ASSIGNED.match(line)
        if assigned is not None:
            value = assigned[2].strip().strip("'\"")
            # Suffixes are for several instances beside each other, which a folder of its own says better.
            found[assigned[1]] = re.sub(r"\$\{?(\w+)\}?", lambda each: found.get(each[1], ""), value)
    return found


def _source_of(module: str) -> str:
    """Return what the source of a module is called."""
    return {"core": "core.c", "http": "http_core.c", "mpm_event": "event.c"}.get(module, f"mod_{module}.c")


def told(diagnostic: Diagnostic) -> str:
    """Write a diagnostic as httpd does, on two lines."""
    span = diagnostic.span
    hint = f"; {diagnostic.hint}" if diagnostic.hint else ""
    kind = "Syntax error" if diagnostic in errors_of([diagnostic]) else "Warning"
    return f"AH00526: {kind} on line {span.line} of {span.file}:\n{diagnostic.message}{hint}"


def main(words: list[str]) -> int:
    """Do what httpd does with these words, or what apachectl does with one; return the exit status."""
    if len(words) == 1 and (words[0] in _COMMANDS or words[0] in ("start", *_SIGNALS)):
        words = _COMMANDS.get(words[0], ["-k", words[0]])
    try:
        flags, others = split_flags(words, _TAKES)
    except Usage as bad:
        say(f"httpd: {bad}\n{HELP}")
        return 1
    given = dict(flags)
    if "-h" in given or others:
        say(HELP)
        return 1
    if given.keys() & {"-v", "-V"}:
        sys.stdout.write(f"Server version: Apache/{STANDS_FOR} (vestibule {vestibule.__version__})\n")
        if "-V" in given:
            sys.stdout.write(f' -D HTTPD_ROOT="{ROOT}"\n -D SERVER_CONFIG_FILE="{CONF}"\n -D DEFAULT_PIDLOG="{PID}"\n')
        return 0
    defines = [value for name, value in flags if name == "-D"]
    if "-l" in given:
        sys.stdout.write("Compiled in modules:\n" + "".join([f"  {_source_of(name)}\n" for name in sorted(language.MODULES)]))
        return 0
    if "-L" in given:
        sys.stdout.write("".join([f"{row.name} (vestibule)\n\t{row.doc or row.how.value}\n" for row in language.DIRECTIVES.values()]))
        return 0
    if "-M" in given or "DUMP_MODULES" in defines:
        sys.stdout.write("Loaded Modules:\n" + "".join([f" {name}_module (static)\n" for name in sorted(language.MODULES)]))
        return 0
    called = _Httpd(flags)
    dumps = {"DUMP_VHOSTS", "DUMP_RUN_CFG", "DUMP_INCLUDES"} & set(defines)
    if "-S" in given:
        dumps |= {"DUMP_VHOSTS", "DUMP_RUN_CFG"}
    if dumps:
        return called.show(dumps)
    if "-t" in given:
        return called.test()
    command = given.get("-k", "start")
    if command in _SIGNALS:
        return called.control(command)
    if command != "start":
        say(f"httpd: -k {command}: write start, restart, graceful, graceful-stop or stop")
        return 1
    return called.start()
