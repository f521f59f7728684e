"""`vestibule nginx`: nginx's flags and signals (nginx(8)).

Facts: without `daemon off` it goes into the background. HUP reloads, USR1 opens logs anew, QUIT drains, TERM and INT end at once.
Scripts read versions and modules from `-V`, which names here what vestibule does and nothing else.

Rules: certificates and includes count from the directory of the configuration, pid and log files from the prefix. Who swaps the
program gets its tolerance too: heads may end their lines with LF alone, and a whole URL may name another host than Host does; and
what it does not tolerate: methods in small letters, an empty Host. Status lines have nginx's words, which scripts look for, answers
say that a connection is kept, and pages for errors have none of the fields that nginx does not send.
"""

from __future__ import annotations

import re
import signal
import ssl
import sys
from dataclasses import replace
from pathlib import Path

import vestibule
from vestibule.control.main import Signals
from vestibule.control.source import Included
from vestibule.dialects import nginx as language
from vestibule.dialects.read import Loaded
from vestibule.model.config import AccessLog, Config, ErrorLog
from vestibule.model.diagnostic import Diagnostic
from vestibule.originals.launch import Text, Usage, diagnostics_of, errors_of, read_file, say, send, serve, split_flags, with_pid_file

STANDS_FOR = "1.22.1"
PREFIX = "/usr/share/nginx"
CONF = "/etc/nginx/nginx.conf"
PID = "/run/nginx.pid"
LOGS = "/var/log/nginx"

_SERVED = ("ssl", "v2", "realip", "auth_request", "sub")
_NOT_SERVED = (
    *("fastcgi", "scgi", "uwsgi", "grpc", "memcached", "ssi", "autoindex", "mirror", "userid", "browser", "empty_gif"),
    "tunnel",
)
_IN_STREAM = ("ssl", "ssl_preread", "realip")
MODULES = " ".join(
    (
        *(f"--with-http_{name}_module" for name in _SERVED),
        *(f"--without-http_{name}_module" for name in _NOT_SERVED),
        "--without-http-cache",
        "--with-stream",
        *(f"--with-stream_{name}_module" for name in _IN_STREAM),
    )
)

_REASONS = tuple([(str(status), reason) for status, reason in language.REASONS.items()])
_SIGNALS = {"reload": signal.SIGHUP, "reopen": signal.SIGUSR1, "quit": signal.SIGQUIT, "stop": signal.SIGTERM}
_RUNNING = Signals(drain=(signal.SIGQUIT,), at_once=(signal.SIGTERM, signal.SIGINT))
_TAKES = {"-?": False, "-h": False, "-v": False, "-V": False, "-t": False, "-T": False, "-q": False}
_TAKES |= {"-s": True, "-p": True, "-e": True, "-c": True, "-g": True}
_DAEMON = re.compile(r"^[^#\n]*\bdaemon\s+(on|off)\s*;", re.MULTILINE)

HELP = f"""\
nginx version: nginx/{STANDS_FOR}
Usage: nginx [-?hvVtTq] [-s signal] [-p prefix]
             [-e filename] [-c filename] [-g directives]

Options:
  -?,-h         : this help
  -v            : show version and exit
  -V            : show version and configure options then exit
  -t            : test configuration and exit
  -T            : test configuration, dump it and exit
  -q            : suppress non-error messages during configuration testing
  -s signal     : send signal to a master process: stop, quit, reopen, reload
  -p prefix     : set prefix path (default: {PREFIX}/)
  -e filename   : set error log file (default: {LOGS}/error.log)
  -c filename   : set configuration file (default: {CONF})
  -g directives : set global directives out of configuration file"""


class _Nginx:
    """One call."""

    def __init__(self, flags: list[tuple[str, str]]) -> None:
        values = dict(flags)
        self.given = set(values)
        self.prefix = Path(values.get("-p", PREFIX)).absolute()
        self.conf = self.prefix / values.get("-c", CONF)
        self.extra = values.get("-g", "")
        self.error_log = values.get("-e", "")
        self.signal = values.get("-s", "")
        self.files: tuple[str, ...] = ()
        self.source = Text(str(self.conf), self.conf.parent, self._load, self._adjust)

    def _load(self, included: Included) -> Loaded:
        """Read the file; directives of `-g` come first, and it is included behind them."""
        if not self.extra:
            loaded = read_file(str(self.conf), "nginx", included, _parse)
        else:
            text = f"{self.extra}\ninclude {self.conf};\n"
            loaded = _parse("command line", text, included)
        self.files = loaded.files
        return loaded

    def _adjust(self, config: Config) -> Config:
        """Have logs and pid file where nginx has them, take the ends of lines that nginx takes, and say its words of statuses."""
        config = with_pid_file(config, PID)
        process = replace(config.process, pid_file=str(self.prefix / config.process.pid_file))
        listeners = tuple(
            [replace(each, bare_lf=True, exact=True, foreign_host=True, wordy=True, reasons=_REASONS) for each in config.listeners]
        )
        upstreams = tuple([replace(each, pool=replace(each.pool, bare_lf=True)) for each in config.upstreams])
        sites = tuple([replace(each, error_fields=False) for each in config.sites])
        config = replace(config, process=process, listeners=listeners, sites=sites, upstreams=upstreams)
        if self.is_daemon():
            has_logs = Path(LOGS).is_dir()
            if config.access_log == AccessLog():
                config = replace(config, access_log=AccessLog(f"{LOGS}/access.log" if has_logs else "off", "combined"))
            if config.error_log.target == "stderr" and has_logs and not self.error_log:
                config = replace(config, error_log=ErrorLog(f"{LOGS}/error.log", config.error_log.level))
        if config.error_log.target == "stderr" and self.error_log not in ("", "stderr"):
            config = replace(config, error_log=ErrorLog(str(self.prefix / self.error_log), config.error_log.level))
        return config

    def is_daemon(self) -> bool:
        """Tell whether to go into the background: so unless `daemon off` says otherwise."""
        try:
            text = self.conf.read_text(encoding="utf-8")
        except (OSError, UnicodeError):
            text = ""
        found = _DAEMON.findall(self.extra) + _DAEMON.findall(text)
        return not found or found[-1] == "on"

    def test(self) -> int:
        """Check the configuration as `-t` does."""
        found, others, ok = diagnostics_of(self.source)
        quiet = "-q" in self.given and "-T" not in self.given
        for each in found:
            if each in errors_of(found) or not quiet:
                say(told(each))
        for line in others:
            say(f"nginx: [{'warn' if ok else 'emerg'}] {line}")
        if not ok:
            say(f"nginx: configuration file {self.conf} test failed")
            return 1
        if not quiet:
            say(f"nginx: the configuration file {self.conf} syntax is ok")
            say(f"nginx: configuration file {self.conf} test is successful")
        if "-T" in self.given:
            for name in self.files:
                path = self.conf.parent / name
                if path.is_file():
                    sys.stdout.write(f"# configuration file {path}:\n{path.read_text(encoding='utf-8')}\n")
        return 0

    def tell(self) -> int:
        """Send a signal to the running program, as `-s` does."""
        number = _SIGNALS.get(self.signal)
        if number is None:
            say(f'nginx: invalid option: "-s {self.signal}"')
            return 1
        config = self.source.read().config
        if config is None:
            return self.refuse([f"configuration file {self.conf} cannot be used"])
        return send(Path(config.process.pid_file), number, lambda text: say(f"nginx: [error] invalid PID: {text}"))

    def refuse(self, reasons: list[str]) -> int:
        """Say why it does not start."""
        for reason in reasons:
            say(f"nginx: [emerg] {reason}")
        return 1


def _parse(name: str, text: str, included: Included) -> Loaded:
    """Read a configuration whose error log tells of refusals as nginx's does: programs that ban clients look for its lines."""
    return language.parse(name, text, included, True)


def told(diagnostic: Diagnostic) -> str:
    """Write a diagnostic as nginx does, with the column and the hint that it does not have."""
    level = "emerg" if diagnostic in errors_of([diagnostic]) else "warn"
    span = diagnostic.span
    place = f" in {span.file}:{span.line}" if span.line else f" in {span.render()}"
    hint = f" ({diagnostic.hint})" if diagnostic.hint else ""
    return f"nginx: [{level}] {diagnostic.message}{hint}{place}"


def main(words: list[str]) -> int:
    """Do what nginx does with these words; return the exit status."""
    try:
        flags, others = split_flags(words, _TAKES)
    except Usage as bad:
        say(f"nginx: {bad}")
        return 1
    if others:
        say(f'nginx: invalid option: "{others[0]}"')
        return 1
    given = dict(flags)
    if "-?" in given or "-h" in given:
        say(HELP)
        return 0
    if "-v" in given or "-V" in given:
        say(f"nginx version: nginx/{STANDS_FOR} (vestibule {vestibule.__version__})")
        if "-V" in given:
            say(f"built with {' '.join(ssl.OPENSSL_VERSION.split()[:2])}\nTLS SNI support enabled\nconfigure arguments: {MODULES}")
        return 0
    called = _Nginx(flags)
    if "-s" in given:
        return called.tell()
    if "-t" in given or "-T" in given:
        return called.test()
    return max(serve(called.source, _RUNNING, called.is_daemon(), called.refuse), 0)
