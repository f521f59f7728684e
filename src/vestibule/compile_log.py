"""Access logs of the model to the log lines of a plan.

Rules: sinks are state, found again by their target. Every log redacts.

Not here: where a level's log comes from (`compile.py`), what lines look like (`plan/access_log.py`).
"""

import os
from typing import Final

from vestibule.compile_expr import ExprMaker, Mistakes, wire
from vestibule.compile_state import LoggingHosts, Registry, Root
from vestibule.contract import LogLine
from vestibule.counts import Counts
from vestibule.model import config as model
from vestibule.model import expr as tree
from vestibule.model.syslog import FACILITIES, SEVERITIES, is_syslog, parse_syslog
from vestibule.net.syslog import LOCAL, RFC3164, RFC5424, SyslogHead, SyslogPort
from vestibule.plan.access_log import CombinedLog, JsonLog, LogWhen, TemplateLog
from vestibule.plan.fault_log import FaultLog, Reporter
from vestibule.plan.log_sink import LogSink
from vestibule.plan.meter import Meter, ServerMeter
from vestibule.plan.named_log import ChosenSink, LogByName, NamedLogs
from vestibule.plan.redact import Redactor
from vestibule.plan.syslog_sink import SyslogSink
from vestibule.plan.variables import Place

_FORMS: Final = {"local": LOCAL, "rfc3164": RFC3164, "rfc5424": RFC5424}


class LogMaker:
    """Makes log lines. `logs` are the descriptors of this generation by path, None where nothing is to be opened."""

    def __init__(
        self,
        mistakes: Mistakes,
        exprs: ExprMaker,
        registry: Registry,
        root: Root,
        logs: dict[str, int] | None,
        reporter: Reporter | None,
    ) -> None:
        self._mistakes = mistakes
        self._exprs = exprs
        self._registry = registry
        self._root = root
        self._logs = logs
        self._faults = None if reporter is None else FaultLog(reporter)  # one for all, so that sites may share their lines
        self._redactors: dict[tuple[tuple[str, ...], bool], Redactor] = {}

    def lines(self, key: str, log: model.AccessLog, place: Place, shares: bool) -> list[LogLine]:
        """Make what writes a line, and what tells the error log of faults."""
        lines: list[LogLine] = []
        self._add(lines, key, log, place, shares)
        for at in range(len(log.also)):
            self._add(lines, f"{key}.also[{at}]", log.also[at], place, shares)
        if self._faults is not None:
            lines.append(self._faults)
        return lines

    def meters(self, counts: Counts) -> list[LogLine]:
        """Make what counts what ends; nothing where nobody wants to know."""
        return [ServerMeter(), Meter(counts)] if self._root.counts else []

    def _add(self, lines: list[LogLine], key: str, log: model.AccessLog, place: Place, shares: bool) -> None:
        """Make what writes a line of one log."""
        if log.target != "off":
            count = len(lines)
            redactor = self._redactor(log.redact, shares)
            chosen = ChosenSink(self._registry.flusher) if log.file is not None else None
            if chosen is not None:
                sink: LogSink = chosen
            else:
                sink = self._syslog(f"{key}.target", log) if is_syslog(log.target) else self._sink(f"{key}.target", log.target)
            if log.format == "json":
                lines.append(JsonLog(sink, redactor, place.site, place.upstream))
            elif log.format == "combined":
                lines.append(CombinedLog(sink, redactor))
            elif log.template is None:
                self._mistakes.add(f"{key}.template", "the format `template` needs a template")
            else:
                template = self._exprs.template(f"{key}.template", log.template, place, redactor, log.escape == "json")
                lines.append(TemplateLog(sink, template))
            if len(lines) > count and chosen is not None and log.file is not None:
                name = self._exprs.text(f"{key}.file", log.file, place)
                lines[-1] = LogByName(self._named(log.target), name, chosen, lines[-1])
            if len(lines) > count and log.when != tree.ALWAYS:
                lines[-1] = LogWhen(self._exprs.test(f"{key}.when", log.when, place), lines[-1])

    def _redactor(self, names: tuple[str, ...], shares: bool) -> Redactor:
        found = self._redactors.get((names, shares))
        if found is None:
            found = Redactor([wire(name) for name in names], shares)
            self._redactors[(names, shares)] = found
        return found

    def _named(self, directory: str) -> NamedLogs:
        """Find or make the logs below a directory."""
        name = f"logs {directory}"
        found = self._registry.find(name)
        logs = found if isinstance(found, NamedLogs) else NamedLogs(self._registry.flusher, os.fsencode(directory))
        self._root.keep(name, logs)
        return logs

    def _sink(self, key: str, target: str) -> LogSink:
        """Find or make the log of a target."""
        if self._logs is not None and target not in ("stdout", "stderr") and target not in self._logs:
            self._mistakes.add(key, f"`{target}` was not opened")
        name = f"log {target}"
        sink = self._registry.find(name)
        return self._take(name, target, sink if isinstance(sink, LogSink) else LogSink(self._registry.flusher))

    def _syslog(self, key: str, log: model.AccessLog) -> LogSink:
        """Find or make the log at a syslog server; what stands before its lines is part of what it is."""
        how = log.syslog
        name = f"log {log.target} {how.facility}.{how.severity} {how.format} {how.tag}"
        sink = self._registry.find(name)
        if not isinstance(sink, LogSink):
            host, port, path = "", 0, "/dev/log"
            try:
                host, port, path = parse_syslog(log.target)
            except ValueError as bad:
                self._mistakes.add(key, str(bad))
            # Who reads the lines knows the program by the process that was started, not by its workers.
            head = SyslogHead(FACILITIES.index(how.facility), how.tag, _FORMS[how.format], os.getppid())
            way = SyslogPort(host, port, path, LoggingHosts(self._registry.book))
            sink = SyslogSink(self._registry.flusher, way, head, SEVERITIES.index(how.severity))
        return self._take(name, name, sink)

    def _take(self, name: str, target: str, sink: LogSink) -> LogSink:
        """Have a log be one of this generation, by its target."""
        self._root.keep(name, sink)
        self._root.take_sink(target, sink)
        return sink
