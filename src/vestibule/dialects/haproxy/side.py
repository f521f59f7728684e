"""One proxy while its file is lowered.

Not here: what becomes of it (``lower``).
"""

from __future__ import annotations

from dataclasses import dataclass

from vestibule.dialects.haproxy.acl import Acls
from vestibule.dialects.haproxy.report import Report
from vestibule.dialects.haproxy.rules import Rules
from vestibule.dialects.haproxy.settings import Settings
from vestibule.dialects.haproxy.tree import Section


@dataclass(slots=True)
class Side:
    """A proxy: its settings, conditions and rules."""

    section: Section
    settings: Settings
    acls: Acls
    rules: Rules

    def is_off(self, report: Report) -> bool:
        """Whether the proxy is left out: it is disabled, or is for something else than requests and connections, which is noted."""
        mode = self.settings.last("mode")
        if mode is not None and mode.arguments() not in (["http"], ["tcp"]):
            text = " ".join(mode.arguments())
            if text in ("health", "log", "spop"):
                report.not_built(mode.line, mode.first, f"`mode {text}`", "requests and connections are proxied")
            else:
                report.error(mode.line, mode.first, "bad-value", f"`{text}` is no mode", "write `mode http` or `mode tcp`")
            return True
        return self.settings.last("disabled") is not None

    def is_raw(self) -> bool:
        """Whether the proxy passes connections on as they are."""
        mode = self.settings.last("mode")
        return mode is not None and mode.arguments() == ["tcp"]

    def takes_bytes(self) -> bool:
        """Whether a backend may serve connections: it says so, or says no mode and has no rules for requests."""
        rules = ("http-request", "http-response", "http-after-response")
        says_none = self.settings.last("mode") is None and not any(each.name.startswith(rules) for each in self.section.lines)
        return self.is_raw() or says_none
