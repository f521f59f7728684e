"""Health checks of a backend: ``option httpchk``, ``http-check``, ``option tcp-check``, ``option ssl-hello-chk``.

Facts (HAProxy configuration manual, chapters 4.2 and 5.2): only servers with ``check`` are asked, every 2 s unless ``inter`` says
otherwise; ``httpchk`` asks ``OPTIONS /`` and takes any status from 200 to 399; without it a connection is enough, with a TLS handshake
where the server speaks TLS.

Rules: a check of a protocol that is not spoken here is one of the connection, with a warning.

Not here: checks that talk (``talks``), which servers are checked, and how often (``servers``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from vestibule.dialects.haproxy.report import Report
from vestibule.dialects.haproxy.rounds import ANSWERED, Texts, talk_of_requests
from vestibule.dialects.haproxy.settings import Settings
from vestibule.dialects.haproxy.talks import port_of, talk_of, where_to
from vestibule.dialects.haproxy.tree import Statement
from vestibule.dialects.haproxy.variables import NAME_METHODS
from vestibule.dialects.read import Unreadable
from vestibule.model.config import HealthCheck
from vestibule.model.diagnostic import did_you_mean

_OTHERS = ("tcp-check", "ldap-check", "mysql-check", "pgsql-check", "redis-check", "smtpchk", "spop-check", "external-check")
_KINDS = ("httpchk", "ssl-hello-chk", *_OTHERS)
_VERBS = ("send", "expect", "connect", "comment", "disable-on-404", "send-state", "set-var", "set-var-fmt", "unset-var")
_LEFT_OUT = {
    "disable-on-404": "a server that answers 404 is down",
    "send-state": "servers are not told how they stand",
}
_STATUSES = range(100, 600)
_RANGE = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")
_FIELD = re.compile(
    r"name(?P<lf>-lf)?(?: -m (?P<by>\S+))? (?P<name>\S+)(?: value(?P<value_lf>-lf)?(?: -m (?P<value_by>\S+))? (?P<value>.*))?"
)

_ALL_OF = "(?s)\\A"
"""What a pattern begins with that looks for several fields, or refuses one."""
_NOTES = ("ok-status", "error-status", "tout-status", "on-success", "on-error", "status-code", "min-recv")
"""Options of ``expect`` that say how an outcome is told, each with a value."""

USUAL = HealthCheck("tcp", interval_ms=2_000, fast_ms=2_000, timeout_ms=2_000, rise=2, fall=3, jitter=0)


@dataclass(slots=True)
class Checking:
    """What a backend says of checks. ``kind`` is empty where only the server's options do."""

    check: HealthCheck = field(default_factory=lambda: USUAL)
    kind: str = ""
    within_ms: int | None = None
    host: str = ""
    """Another address to ask; empty is the server's."""
    port: int = 0
    connects: bool = False
    """Whether a rule says how to connect. Unless it says ``default``, what the server line says of that does not hold."""
    secure: bool = False
    announces: bool = False
    name: str = ""
    alpn: tuple[str, ...] = ()


def read_checking(settings: Settings, report: Report) -> Checking:
    """Read the checks of a backend."""
    found = Checking(within_ms=settings.time("check"))
    chosen = [each for each in settings.statements if each.name.removeprefix("option ") in _KINDS]
    if not chosen or chosen[-1].negated:
        return found
    statement = chosen[-1]
    found.kind = statement.name.removeprefix("option ")
    if found.kind == "httpchk":
        rules, asked = _in_force(settings, statement)
        usual = replace(USUAL, kind="http", method="OPTIONS", version="1.0")
        found.check = _asked(statement, usual, report) if asked else usual
        _Rules(found, _texts(settings), report).read(rules)
    elif found.kind != "ssl-hello-chk":
        rules = settings.all("tcp-check")
        talk = talk_of(found.kind, statement, rules, report)
        if talk:
            found.check = replace(USUAL, kind="talk", talk=talk)
        elif found.kind in ("spop-check", "external-check"):
            text = "what servers answer to this check is not looked at; they are well while they take connections"
            report.warning(statement.line, statement.first - 1, "connection-alone", text, "use `option httpchk` where there is HTTP")
        for each in rules:
            if each.arguments()[:1] == ["connect"]:
                _take_host(found, each, report)
                _connect(found, each, report)
    return found


def _texts(settings: Settings) -> Texts:
    """Return what stands still in texts of checks: the name of a server where there is one alone."""
    servers = ["".join(each.arguments()[:1]) for each in settings.statements if each.name in ("server", "server-template")]
    return Texts(settings.section.name, servers[0] if len(servers) == 1 and not settings.has("server-template") else "")


def _in_force(settings: Settings, statement: Statement) -> tuple[list[Statement], bool]:
    """Return the rules that hold, and whether what ``httpchk`` asks does: what a backend says of one replaces all of its defaults."""
    rules = settings.all("http-check")
    own = [each for each in rules if each in settings.section.lines]
    if own or statement in settings.section.lines:
        return own, statement in settings.section.lines
    return rules, True


def _asked(statement: Statement, check: HealthCheck, report: Report) -> HealthCheck:
    """``httpchk [METHOD] URI [VERSION] [HOST]``; fields may follow the version, after line breaks."""
    words = statement.arguments()
    check = replace(check, version="1.0")
    if len(words) == 1:
        return replace(check, path=words[0])
    if len(words) > 1:
        check = replace(check, method=words[0], path=words[1])
    check = _of_version(check, "".join(words[2:3]))
    for line in "".join(words[2:3]).replace("\r", "").split("\n")[1:]:
        if line:
            name, _, value = line.partition(":")
            check = with_field(check, name.strip(), value.strip())
    if len(words) == 4:
        return replace(check, host=words[3])
    if len(words) > 4:
        report.error(
            statement.line, statement.first + 4, "syntax", f"`{words[4]}` is not expected here", "quote the version and the fields"
        )
    return check


def _of_version(check: HealthCheck, text: str) -> HealthCheck:
    """Return a check that speaks the version that a text begins with, 1.0 where there is none."""
    return replace(check, version="1.1" if text.startswith(("HTTP/1.1", "HTTP/2")) else "1.0")


def with_field(check: HealthCheck, name: str, value: str) -> HealthCheck:
    """Return a check that sends one more field; the Host has a place of its own, and what is sent always is left out."""
    if name.lower() == "host":
        return replace(check, host=value)
    if name.lower() in ("content-length", "user-agent") or (name.lower(), value.lower()) == ("connection", "close"):
        return check
    return replace(check, headers=(*check.headers, (name, value)))


def _take_host(found: Checking, statement: Statement, report: Report) -> None:
    """Take the address that ``connect`` names."""
    host = where_to(statement.arguments())[0]
    if host and found.host not in ("", host):
        report.not_built(statement.line, statement.first, "a second address of a check", "name one")
    found.host = host or found.host


class _Rules:
    """Reads the ``http-check`` lines of one backend."""

    def __init__(self, found: Checking, texts: Texts, report: Report) -> None:
        self._found = found
        self._texts = texts
        self._report = report
        self._rounds: list[tuple[int, HealthCheck | None]] = []
        """What was asked before, each with its port; None for a connection alone."""
        self._port = 0
        self._sent = self._begun = False

    def read(self, statements: list[Statement]) -> None:
        for statement in statements:
            words = statement.arguments()
            verb = "".join(words[:1]).partition("(")[0]
            if verb == "send":
                if self._sent:
                    hint = "write `http-check connect` before it"
                    self._report.not_built(statement.line, statement.first, "a second request on one connection", hint)
                else:
                    self._send(statement, words)
                self._sent = self._begun = True
            elif verb == "expect":
                self._expect(statement, words)
                self._begun = True
            elif verb == "connect":
                if self._begun:
                    self._end_round(statement)
                self._port = port_of(statement, statement.arguments(), self._report)
                _take_host(self._found, statement, self._report)
                _connect(self._found, statement, self._report)
            elif verb in _LEFT_OUT:
                self._report.warning(statement.line, statement.first, "left-out", f"`{verb}` is left out", _LEFT_OUT[verb])
            elif verb not in _VERBS:
                hint = did_you_mean(verb, _VERBS)
                self._report.error(statement.line, statement.first, "syntax", f"`http-check {verb}` is unknown", hint)
            elif verb.startswith(("set-var", "unset-var")):
                self._keep(statement, words)
        if not self._rounds:
            self._found.port = self._port
            return
        self._end_round(statements[-1])
        self._found.check = replace(USUAL, kind="talk", talk=talk_of_requests(self._rounds))

    def _end_round(self, statement: Statement) -> None:
        """Set aside what was asked so far, as another connection follows."""
        check = self._found.check
        if check.head_pattern or check.pattern:
            hint = "expect a `status` or a `string`"
            self._report.not_built(statement.line, statement.first, "a field or a pattern in a check that asks more than once", hint)
        if self._begun and not self._sent:
            hint = "write `http-check send` before it"
            self._report.not_built(statement.line, statement.first, "an answer to no request", hint)
        self._rounds.append((self._port, check if self._sent else None))
        self._found.check = replace(USUAL, kind="http", method="OPTIONS", version="1.0")
        self._sent = self._begun = False

    def _formatted(self, statement: Statement, at: int, text: str) -> str:
        """Return what a format comes to; nothing, noted, where that cannot be told."""
        found = self._answered(statement, at, text)
        if ANSWERED.search(found):
            self._report.not_built(statement.line, statement.first + at, "a field of an answer in a request", "write the value")
            return ""
        return found

    def _answered(self, statement: Statement, at: int, text: str) -> str:
        """Return what a format comes to, fields of the answer in it; nothing, noted, where that cannot be told."""
        try:
            return self._texts.formatted(text)
        except Unreadable as bad:
            self._report.error(statement.line, statement.first + at, bad.code, bad.message, bad.hint)
            return ""

    def _keep(self, statement: Statement, words: list[str]) -> None:
        """Follow a rule that sets a variable."""
        try:
            self._texts.keep(words[0], " ".join(words[1:]))
        except Unreadable as bad:
            self._report.error(statement.line, statement.first, bad.code, bad.message, bad.hint)

    def _send(self, statement: Statement, words: list[str]) -> None:
        """``send [meth M] [uri U] [ver V] [hdr NAME VALUE]… [body TEXT]``: its fields replace those of ``httpchk``."""
        check = replace(self._found.check, headers=(), host="")
        at = 1
        while at < len(words):
            word, place = words[at], statement.first + at
            value = words[at + 1] if at + 1 < len(words) else ""
            if word == "meth":
                check = replace(check, method=value)
            elif word == "uri":
                check = replace(check, path=value)
            elif word == "body":
                check = replace(check, content=value)
            elif word == "hdr":
                check = with_field(check, value, self._formatted(statement, at + 2, "".join(words[at + 2 : at + 3])))
                at += 1
            elif word == "uri-lf":
                check = replace(check, path=self._formatted(statement, at + 1, value) or "/")
            elif word == "body-lf":
                check = replace(check, content=self._formatted(statement, at + 1, value))
            elif word == "ver":
                check = _of_version(check, value)
            elif word != "comment":
                hint = did_you_mean(word, ("meth", "uri", "ver", "hdr", "body"))
                self._report.error(statement.line, place, "syntax", f"`{word}` is not expected here", hint)
            at += 2
        self._found.check = check

    def _expect(self, statement: Statement, words: list[str]) -> None:
        """``expect [options] [!] status|rstatus|string|rstring PATTERN``."""
        line = statement.line
        at = 1
        while at < len(words) and words[at] in (*_NOTES, "comment"):
            at += 2
        negated = words[at : at + 1] == ["!"]
        at += negated
        what, pattern = [*words[at : at + 2], "", ""][:2]
        if what.startswith("!"):
            negated, what = True, what[1:]
        check = self._found.check
        if what == "status":
            self._found.check = replace(check, statuses=self._statuses(statement, at + 1, pattern, negated))
        elif what == "rstatus":
            try:
                fit = tuple([each for each in _STATUSES if (re.search(pattern, str(each)) is None) is negated])
            except re.error as bad:
                self._report.error(line, statement.first + at + 1, "bad-pattern", f"`{pattern}` is no regular expression: {bad}")
                return
            self._found.check = replace(check, statuses=tuple([each for each in fit if _is_final(each)]))
        elif what in ("string", "rstring") and negated:
            text = re.escape(pattern) if what == "string" else pattern
            self._found.check = replace(check, pattern=f"(?s)\\A(?!.*(?:{text}))")
        elif what == "string":
            self._found.check = replace(check, body=pattern)
        elif what == "rstring":
            self._found.check = replace(check, pattern=pattern)
        elif what in ("hdr", "fhdr"):
            self._field(statement, words, at, negated)
        elif what == "string-lf":
            self._report.not_built(line, statement.first + at, f"`expect {what}`", "expect a `status` or a `string`")
        else:
            hint = did_you_mean(what, ("status", "rstatus", "string", "rstring"))
            self._report.error(line, statement.first + at, "syntax", f"`expect {what}` is unknown", hint)

    def _field(self, statement: Statement, words: list[str], at: int, negated: bool) -> None:
        """``hdr|fhdr name [-m METHOD] NAME [value [-m METHOD] VALUE]``: a field of the answer, or an item of its list."""
        described = (
            r"name(?P<lf>-lf)?(?: -m (?P<by>\S+))? (?P<name>\S+)(?: value(?P<value_lf>-lf)?(?: -m (?P<value_by>\S+))? (?P<value>.*))?"
        )
        found = re.fullmatch(described, " ".join(words[at + 1 :]))
        ways = [found["by"] or "str", found["value_by"] or "str"] if found is not None else []
        if found is None or any(each not in (*NAME_METHODS, "found") for each in ways):
            hint = "write `expect hdr name X-State value up`"
            self._report.not_built(statement.line, statement.first + at, "a field that is described so", hint)
            return
        texts = [found["name"], found["value"] or ""]
        for place, mark in enumerate(("lf", "value_lf")):
            texts[place] = self._answered(statement, at, texts[place]) if found[mark] else texts[place]
        name, value = _fitting(texts[0], ways[0], ":"), _fitting(texts[1], ways[1], "")
        items = words[at] == "hdr"
        before, after = ("(?:[^\\r]*,[ \\t]*)?", "[ \\t]*(?:,[^\\r]*)?") if items else ("", "[ \\t]*")
        pattern = f"(?i:\\r\\n{name}):[ \\t]*" + (f"{before}{value}{after}\\r" if texts[1] else "")
        pattern, captured = _referring(pattern, self._found.check.head_pattern.count("(?P<field"))
        before = self._found.check.head_pattern
        if captured and not before:
            before = _ALL_OF
        if before and not before.startswith(_ALL_OF):
            before = f"{_ALL_OF}(?=.*(?:{before}))"
        if negated or before:
            pattern = f"{before or _ALL_OF}(?{'!' if negated else '='}{captured}.*(?:{pattern}))"
        self._found.check = replace(self._found.check, head_pattern=pattern)

    def _statuses(self, statement: Statement, at: int, text: str, negated: bool) -> tuple[int, ...]:
        """Read a list of statuses and ranges of them."""
        wanted: set[int] = set()
        for part in text.split(","):
            found = _RANGE.fullmatch(part)
            if found is None:
                message = f"`{part}` is no status and no range"
                self._report.error(statement.line, statement.first + at, "bad-value", message, "write `200` or `200-299`")
                return ()
            wanted.update(range(int(found[1]), int(found[2] or found[1]) + 1))
        return tuple([each for each in _STATUSES if (each in wanted) is not negated and _is_final(each)])


def _is_final(status: int) -> bool:
    """Tell whether an answer of a status ends a check: interim ones do not, but another protocol does (101)."""
    return status >= 200 or status == 101


def _referring(pattern: str, first: int) -> tuple[str, str]:
    """Return a pattern that refers to fields of the answer, and what captures them before it, in groups numbered from ``first`` on."""
    names = list(dict.fromkeys(ANSWERED.findall(pattern)))
    lines = [rf"(?=.*\r\n(?i:{name}):[ \t]*(?P<field{at}>[^\r]*?)[ \t]*\r)" for at, name in enumerate(names, first)]
    return ANSWERED.sub(lambda found: f"(?P=field{first + names.index(found[1])})", pattern), "".join(lines)


def _fitting(text: str, way: str, stop: str) -> str:
    """Return the pattern of a text that is compared in a way, inside a line."""
    if way == "found":
        return f"[^\\r{stop}]*"
    inside = f"[^\\r{stop}]*"
    begins, ends = [bool(each) for each in NAME_METHODS[way]]
    if way == "reg" and "|" not in text:
        # What stands for the ends of a text would be those of the whole head.
        begins, ends = text.startswith("^"), text.endswith("$") and not text.endswith("\\$")
        text = text[begins : len(text) - ends]
    text = f"(?:{text})" if way == "reg" else re.escape(text)
    return ("" if begins else inside) + text + ("" if ends else inside)


def _connect(found: Checking, statement: Statement, report: Report) -> None:
    """Take what ``connect`` says beyond the port."""
    words = statement.arguments()
    found.connects = found.connects or "default" not in words
    at = 1
    while at < len(words):
        word = words[at]
        if word in ("default", "linger", "send-proxy", "ssl"):
            found.secure = found.secure or word == "ssl"
            found.announces = found.announces or word == "send-proxy"
            at += 1
            continue
        if word == "sni":
            found.name = "".join(words[at + 1 : at + 2])
        elif word == "alpn" and found.check.kind != "http":
            found.alpn = tuple([each for each in "".join(words[at + 1 : at + 2]).split(",") if each])
        elif word not in ("addr", "port", "comment", "alpn", "proto"):
            report.not_built(statement.line, statement.first + at, f"`{word}` of a check", "say it in the `server` line")
        at += 2
