"""Where the requests of a proxy are told of: ``log``, ``option httplog``, ``log-format``.

Facts (HAProxy configuration manual, 8.1 and 8.2): ``log ADDRESS [len N] [format F] FACILITY [LEVEL [LEAST]]``; a line of a request
has the severity ``info``, and a ``LEVEL`` more serious than that keeps it away. Such lines are for what the program says of itself.
Without any ``log``, nothing is logged.

Not here: samples in formats (``sample``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from vestibule.dialects.haproxy.formats import read_format
from vestibule.dialects.haproxy.loglines import http_line, tcp_line, with_names
from vestibule.dialects.haproxy.report import Report
from vestibule.dialects.haproxy.state import State
from vestibule.dialects.haproxy.tree import Statement
from vestibule.model.config import AccessLog, ErrorLog, EventLog, Syslog
from vestibule.model.diagnostic import did_you_mean
from vestibule.model.syslog import FACILITIES, PREFIX, SEVERITIES, parse_syslog

if TYPE_CHECKING:
    from vestibule.dialects.haproxy.settings import Settings

_STANDARD = {"stdout": "stdout", "fd@1": "stdout", "stderr": "stderr", "fd@2": "stderr"}
_FAMILIES = ("udp@", "udp4@", "udp6@", "ipv4@", "ipv6@", "unix@", "uxdg@")
_SYSLOG_FORMATS: dict[str, Literal["local", "rfc3164", "rfc5424"]] = {"local": "local", "rfc3164": "rfc3164", "rfc5424": "rfc5424"}
_FORMATS = (*_SYSLOG_FORMATS, "raw", "short", "timed", "iso", "priority")
_WORDS = {"error": "err", "warn": "warning", "panic": "emerg"}
_INFO = SEVERITIES.index("info")
_LEVELS: dict[str, Literal["debug", "info", "warning", "error"]] = {
    "emerg": "error",
    "alert": "error",
    "crit": "error",
    "err": "error",
    "warning": "warning",
    "notice": "info",
    "info": "info",
    "debug": "debug",
}


class Logging:
    """What ``global`` says of logs."""

    def __init__(self) -> None:
        self.lines: list[Statement] = []
        self.tag = "haproxy"
        self.with_host = False

    def error_log(self, report: Report) -> ErrorLog:
        """Return the log of the program: the first syslog server that requests are kept away from, or standard error."""
        for statement in self.lines:
            line = _Line(statement, self, report, self.tag)
            if line.target.startswith(PREFIX) and not line.has_requests:
                return ErrorLog(line.target, _LEVELS[line.level], line.syslog)
        return ErrorLog()


class _Line:
    """One ``log`` line."""

    def __init__(self, statement: Statement, general: Logging, report: Report, tag: str) -> None:
        self._statement = statement
        self._report = report
        self.level = "info"
        self.most = "debug"
        self.least = "emerg"
        self.has_requests = True
        words = statement.arguments()
        self.target = self._read_target("".join(words[:1]))
        self.syslog = Syslog(tag=tag, format="rfc3164" if general.with_host else "local")
        self._read(words)

    def _read_target(self, text: str) -> str:
        if text in _STANDARD:
            return _STANDARD[text]
        family = next((each for each in _FAMILIES if text.startswith(each)), "")
        target = PREFIX + text.removeprefix(family)
        if text.startswith(":"):
            message = "no address stands before the colon; lines go to this machine"
            self._report.warning(self._statement.line, self._statement.first, "log-target", message, "write `log 127.0.0.1:514 local0`")
            target = f"{PREFIX}127.0.0.1{text if text != ':' else ''}"
        if not text:
            self._error(0, "missing", "`log` needs a target", "write `log /dev/log local0` or `log stdout format raw local0`")
        elif "@" in text.removeprefix(family):
            message = f"`{text}` is not written to; lines go to stdout"
            self._report.warning(self._statement.line, self._statement.first, "log-target", message, "name a syslog server by its address")
        else:
            try:
                parse_syslog(target)
                return target
            except ValueError as bad:
                self._error(0, "bad-value", str(bad), "write `log 127.0.0.1:514 local0`")
        return "stdout"

    def _read(self, words: list[str]) -> None:
        at = 1
        plain: list[int] = []
        has_form = False
        while at < len(words):
            word = words[at]
            if word == "format" and at + 1 < len(words):
                has_form = True
                self._read_format(words[at + 1], at + 1)
                at += 1
            elif word in ("len", "sample") and at + 1 < len(words):
                if word == "sample":
                    self._report.not_built(self._statement.line, self._statement.first + at, "logging some lines", "leave `sample` out")
                else:
                    message = "lines are sent as long as they are; `len` cuts none"
                    self._report.warning(self._statement.line, self._statement.first + at, "left-out", message, "leave `len` out")
                at += 1
            elif word == "profile" and at + 1 < len(words):
                self._report.not_built(self._statement.line, self._statement.first + at, "log profiles", "leave it out")
                at += 1
            else:
                plain.append(at)
            at += 1
        if not has_form and "".join(words[:1]) in _STANDARD:
            self._headless(0)
        if not plain:
            if words:
                self._error(0, "missing", "`log` needs a facility", "write `local0` behind the target")
            return
        self._read_facility(words[plain[0]], plain[0])
        if len(plain) > 1:
            self.level = self.most = self._read_level(words[plain[1]], plain[1])
            self.has_requests = SEVERITIES.index(self.level) >= _INFO
        if len(plain) > 2:
            self.least = self._read_level(words[plain[2]], plain[2])
            if self.least == "debug":
                self.syslog = replace(self.syslog, severity="debug")
        if len(plain) > 3:
            self._error(plain[3], "syntax", f"nothing is expected at `{words[plain[3]]}`", "write `log ADDRESS FACILITY [LEVEL [LEAST]]`")

    def _headless(self, at: int) -> None:
        message = "lines stand there without a head of syslog"
        self._report.warning(self._statement.line, self._statement.first + at, "left-out", message, "say so by `format raw`")

    def _read_format(self, word: str, at: int) -> None:
        if word not in _FORMATS:
            self._error(at, "bad-value", f"`{word}` is no format of `log`", did_you_mean(word, _FORMATS))
        elif not self.target.startswith(PREFIX):
            if word != "raw":
                self._headless(at)
        elif word in _SYSLOG_FORMATS:
            self.syslog = replace(self.syslog, format=_SYSLOG_FORMATS[word])
        else:
            self._report.not_built(
                self._statement.line, self._statement.first + at, f"`format {word}` at a syslog server", "write local, rfc3164 or rfc5424"
            )

    def _read_facility(self, word: str, at: int) -> None:
        known = {"security": "auth", "auth2": "authpriv", "cron2": "clock"}.get(word, word)
        if known not in FACILITIES:
            self._error(at, "bad-value", f"`{word}` is no facility", did_you_mean(word, FACILITIES))
            return
        self.syslog = replace(self.syslog, facility=known)  # type: ignore[arg-type]  # there is such a facility

    def _read_level(self, word: str, at: int) -> str:
        if word not in SEVERITIES:
            self._error(at, "bad-value", f"`{word}` is no level", did_you_mean(_WORDS.get(word, word), SEVERITIES))
            return "info"
        return word

    def _error(self, at: int, code: str, message: str, hint: str) -> None:
        self._report.error(self._statement.line, self._statement.first + at, code, message, hint)


def access_log(settings: Settings, general: Logging, state: State, report: Report) -> AccessLog:
    """Return the access log of a proxy; ``state`` knows what is captured. Several lines are several logs."""
    found = settings.last("log-tag")
    tag = general.tag if found is None else "".join(found.arguments()[:1])
    logs: list[AccessLog] = []
    for statement in _lines(settings, general):
        line = _Line(statement, general, report, tag)
        if line.has_requests:
            logs.append(AccessLog(line.target, syslog=line.syslog if line.target.startswith(PREFIX) else Syslog()))
    if not logs:
        return AccessLog("off")
    logs = [_shaped(each, settings, state, report) for each in dict.fromkeys(logs)]
    return replace(logs[0], also=tuple(logs[1:]))


def event_logs(settings: Settings, general: Logging, report: Report) -> tuple[EventLog, ...]:
    """Return where is told what becomes of the servers of a proxy."""
    found = settings.last("log-tag")
    tag = general.tag if found is None else "".join(found.arguments()[:1])
    checks = settings.has("option log-health-checks")
    logs: list[EventLog] = []
    for statement in _lines(settings, general):
        # A mistake was told when the log of requests was read, or is now.
        line = _Line(statement, general, report, tag)
        if line.target.startswith(PREFIX):
            logs.append(EventLog(line.target, line.syslog, line.most, line.least, checks))  # type: ignore[arg-type]  # they are severities
    return tuple(dict.fromkeys(logs))


def named(log: AccessLog | None, names: tuple[tuple[str, str], ...]) -> AccessLog | None:
    """Return a log that calls servers by their names."""
    if log is None:
        return None
    template = None if log.template is None else with_names(log.template, names)
    return replace(log, template=template, also=tuple([each for each in [named(one, names) for one in log.also] if each is not None]))


def _lines(settings: Settings, general: Logging) -> Iterator[Statement]:
    """Yield the ``log`` lines that hold for a proxy."""
    lines: list[Statement] = []
    for each in settings.all("log"):
        if each.negated:
            lines = []
        elif each.arguments() == ["global"]:
            lines.extend(general.lines)
        else:
            lines.append(each)
    yield from lines


def _shaped(log: AccessLog, settings: Settings, state: State, report: Report) -> AccessLog:
    """Return a log with the format of the proxy."""
    template = settings.last("log-format")
    usual = settings.last("option httplog")
    plain = settings.last("option tcplog")
    if template is not None:
        expr = read_format(template.line, template.first, state, report)
        return log if expr is None else replace(log, format="template", template=expr)
    if usual is not None and usual.arguments() == ["clf"]:
        return replace(log, format="combined")
    if usual is not None and not state.raw:
        return replace(log, format="template", template=http_line(state.frontend, state))
    if usual is not None or plain is not None:
        return replace(log, format="template", template=tcp_line(state.frontend))
    return log
