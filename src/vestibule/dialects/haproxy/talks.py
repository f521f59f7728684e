"""Health checks that talk: ``tcp-check`` rules, and those of protocols that HAProxy knows.

Facts (HAProxy configuration manual, chapter 4.2, and the protocols): Redis answers ``PING`` with ``+PONG``. PostgreSQL answers a start
of version 3 with a message of type ``R`` that asks for credentials. MySQL greets with version 10 of its protocol; whom it does not let in
gets a packet that begins with 255. SMTP greets with 220. LDAP answers an anonymous bind with a result, 0 where it is done.

Rules: bytes that are no printable text are written in hexadecimal. What HAProxy has there beyond texts and patterns is an error.

Not here: who is checked and how often (``servers``), checks by requests (``checking``).
"""

from __future__ import annotations

import re

from vestibule.dialects.haproxy.report import Report
from vestibule.dialects.haproxy.tree import Statement
from vestibule.model.diagnostic import did_you_mean

_PRINTABLE = re.compile(r"[ -~\r\n\t]+")
_VERBS = ("connect", "send", "send-binary", "expect", "comment", "send-lf", "send-binary-lf", "set-var", "set-var-fmt", "unset-var")
_MATCHES = {"string": "", "binary": "_hex", "rstring": "_pattern", "rbinary": "_pattern"}
_NOTES = ("comment", "ok-status", "error-status", "tout-status", "on-success", "on-error", "status-code", "min-recv")
"""Options of ``expect`` that say how an outcome is told, or how many bytes to wait for, each with a value."""

_MOST_BYTES = 65_536

_MYSQL_FEATURES = 0x0000_8200  # the protocol of 4.1 and its authentication
_MYSQL_PACKET = 0x0100_8000
_MYSQL_OLD = b"\x00\x80\x00\x00\x01"
_MYSQL_BYE = b"\x01\x00\x00\x00\x01"

_LDAP_ANSWER = "(?s)\\A0(?:\\x84.{4}|\\x82..|\\x81.|[\\x00-\\x7f])\\x02\\x01\\x01a"
_LDAP = (
    # A bind of version 3 without name and password; the result is the first of its answer.
    "send_hex 300c020101600702010304008000",
    "tell Not LDAPv3 protocol",
    "await 14",
    f"expect_pattern {_LDAP_ANSWER}",
    f"explain {_LDAP_ANSWER}.{{1,5}}\\x0a\\x01(?P<number>.)",
    "tell See RFC: http://tools.ietf.org/html/rfc4511#section-4.1.9",
    f"expect_pattern {_LDAP_ANSWER}.{{1,5}}\\x0a\\x01\\x00",
    "tell Success",
)


def talk_of(kind: str, statement: Statement, rules: list[Statement], report: Report) -> tuple[str, ...]:
    """Return the steps of a check; none where a connection is enough, or after a mistake, which is noted."""
    words = statement.arguments()
    if kind == "tcp-check":
        return tuple([step for rule in rules for step in _steps(rule, report)])
    if kind == "redis-check":
        told = "explain \\A(?P<info>[^\r\n]*)\r\n"
        return ("send *1\r\n$4\r\nPING\r\n", told, "disagree", "expect +PONG\r\n", "tell Redis server is ok")
    if kind == "ldap-check":
        return _LDAP
    if kind == "pgsql-check":
        return _postgres(statement, words, report)
    if kind == "mysql-check":
        return _mysql(statement, words, report)
    if kind == "smtpchk":
        return _mail(words)
    return ()


def _steps(rule: Statement, report: Report) -> list[str]:
    """Read one ``tcp-check`` line."""
    words = rule.arguments()
    verb, text = "".join(words[:1]).partition("(")[0], "".join(words[1:2])
    if verb == "comment":
        return []
    if verb == "connect":
        return _connection(rule, words, report)
    if verb not in _VERBS:
        report.error(rule.line, rule.first, "syntax", f"`tcp-check {verb}` is unknown", did_you_mean(verb, _VERBS))
    elif verb not in ("send", "send-binary", "expect"):
        report.not_built(rule.line, rule.first, f"`{verb}` of a check", "write the bytes with `send` or `send-binary`")
    elif verb == "expect":
        return _expected(rule, words, report)
    elif not text:
        report.error(rule.line, rule.first, "missing", f"nothing follows `{verb}`")
    elif verb == "send":
        return [_said(text)]
    elif _are_bytes(rule, 1, text, report):
        return [f"send_hex {text}"]
    return []


def _connection(rule: Statement, words: list[str], report: Report) -> list[str]:
    """``connect [addr ADDRESS] [port N] …``: a connection of its own; what else it says holds for all (``checking``)."""
    port = port_of(rule, words, report)
    return [f"connect {port}" if port else "connect"]


def where_to(words: list[str]) -> tuple[str, str, int]:
    """Return the address and the port that ``connect`` names, each empty where none is, and the index of the word with the port."""
    host, port, place = "", "", 0
    for at in range(1, len(words) - 1):
        if words[at] == "port":
            port, place = words[at + 1], at + 1
        elif words[at] == "addr":
            host = words[at + 1]
            before, colon, behind = host.rpartition(":")
            # An address of IPv6 has colons of its own, and a port only behind brackets.
            if colon and (":" not in before or before.startswith("[")):
                host, port, place = before, behind, at + 1
    return host.removeprefix("[").removesuffix("]"), port, place


def port_of(rule: Statement, words: list[str], report: Report) -> int:
    """Return the port that ``connect`` names; 0 where none is, or, noted, where it is none."""
    _, port, place = where_to(words)
    if port and not (port.isdecimal() and 1 <= int(port) <= 65_535):
        report.error(rule.line, rule.first + place, "bad-value", f"`{port}` is no port")
        return 0
    return int(port or "0")


def _expected(rule: Statement, words: list[str], report: Report) -> list[str]:
    """``expect [options] [!] string|binary|rstring|rbinary PATTERN``."""
    at = 1
    least = ""
    while at < len(words) and words[at] in _NOTES:
        if words[at] == "min-recv":
            least = "".join(words[at + 1 : at + 2])
        at += 2
    if least not in ("", "-1") and not (least.isdecimal() and int(least) <= _MOST_BYTES):
        report.error(rule.line, rule.first + at, "bad-value", f"`{least}` is no number of bytes", f"write at most {_MOST_BYTES}")
        return []
    # The mark may stand alone or before the word.
    word = "".join(words[at : at + 1])
    verb = "refuse" if word.startswith("!") else "expect"
    if word == "!":
        at += 1
        word = "".join(words[at : at + 1])
    what, text = word.removeprefix("!"), "".join(words[at + 1 : at + 2])
    steps = _looked_for(rule, at, verb, what, text, report)
    # What must not come is known when the server has said all, or as much as it is given.
    if steps and (verb == "refuse" or least not in ("", "-1")):
        return [f"await {least if least not in ('', '-1') else 0}", *steps]
    return steps


def _looked_for(rule: Statement, at: int, verb: str, what: str, text: str, report: Report) -> list[str]:
    """Return the step that looks for a text or a pattern."""
    if what not in _MATCHES:
        known = what in ("string-lf", "binary-lf", "custom")
        if known:
            report.not_built(rule.line, rule.first + at, f"`expect {what}`", "write the text with `string`")
        else:
            report.error(rule.line, rule.first + at, "syntax", f"`expect {what}` is unknown", did_you_mean(what, list(_MATCHES)))
        return []
    if not text:
        report.error(rule.line, rule.first + at, "missing", f"nothing follows `{what}`")
        return []
    if what == "binary":
        return [f"{verb}_hex {text}"] if _are_bytes(rule, at + 1, text, report) else []
    if what == "string":
        return [f"{verb} {text}" if _PRINTABLE.fullmatch(text) else f"{verb}_hex {_hex(text)}"]
    if what == "rbinary":
        # HAProxy searches in the bytes as hexadecimal text.
        report.not_built(rule.line, rule.first + at, "`expect rbinary`", "write `rstring` with `\\x52`, or `binary`")
        return []
    try:
        re.compile(text.encode("utf-8", "surrogateescape"))
    except (re.error, OverflowError, RecursionError) as bad:
        report.error(rule.line, rule.first + at + 1, "bad-pattern", f"`{text}` is no regular expression: {bad}")
        return []
    return [f"{verb}_pattern {text}"]


def _are_bytes(rule: Statement, at: int, text: str, report: Report) -> bool:
    if re.fullmatch("(?:[0-9A-Fa-f]{2})+", text):
        return True
    report.error(rule.line, rule.first + at, "bad-value", f"`{text}` are no bytes in hexadecimal", "write two digits for each")
    return False


def _said(text: str) -> str:
    return f"send {text}" if _PRINTABLE.fullmatch(text) else f"send_hex {_hex(text)}"


def _hex(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").hex()


def _postgres(statement: Statement, words: list[str], report: Report) -> tuple[str, ...]:
    """``pgsql-check user NAME``."""
    if words[:1] != ["user"] or len(words) < 2:
        report.error(statement.line, statement.first, "missing", "the name of a user is expected", "write `option pgsql-check user NAME`")
        return ()
    body = b"\x00\x03\x00\x00user\x00" + words[1].encode() + b"\x00\x00"
    start = (len(body) + 4).to_bytes(4, "big") + body
    return (
        f"send_hex {start.hex()}",
        "explain (?s)\\A(?:E.{5}(?P<info>[^\\x00]+)\\x00|[^E])",
        "refuse_pattern \\AE",
        "tell PostgreSQL unknown error",
        "disagree",
        "await 9",
        "expect_pattern (?s)\\AR.{3}[\\x08-\\xff]",
        "tell PostgreSQL server is ok",
    )


def _mysql(statement: Statement, words: list[str], report: Report) -> tuple[str, ...]:
    """``mysql-check [user NAME [post-41|pre-41]]``: who is named is let in without a password."""
    version = r"explain (?s)\A.{3}(?:\x00\x0a(?P<info>[^\x00]*)\x00|.\xff(?P<number>..)|.[^\x0a\xff])"
    greeted = (version, r"expect_pattern (?s)\A.{3}\x00\x0a")
    if not words:
        return greeted
    if words[0] != "user" or len(words) < 2 or words[2:] not in ([], ["post-41"], ["pre-41"]):
        hint = "write `option mysql-check user NAME`"
        report.not_built(statement.line, statement.first, f"`{' '.join(words)}` of this check", hint)
        return ()
    body = _MYSQL_FEATURES.to_bytes(4, "little") + _MYSQL_PACKET.to_bytes(4, "little") + b"\x21" + bytes(23)
    if words[2:] == ["pre-41"]:
        body = _MYSQL_OLD
    body += words[1].encode() + b"\x00\x00"
    said = len(body).to_bytes(3, "little") + b"\x01" + body + _MYSQL_BYE
    told = r"explain (?s)\A.{4}(?:\xff(?P<number>..)(?P<info>.*)|[^\xff])"
    # The server is not waited for: who is let in is said at once, before it greets.
    return (f"send_hex {said.hex()}", *greeted, "skip 3 1", told, r"expect_pattern (?s)\A.{4}[^\xff]")


def _mail(words: list[str]) -> tuple[str, ...]:
    """``smtpchk [HELO|EHLO DOMAIN]``."""
    word, domain = [*words, "", ""][:2]
    said = f"{word} {domain}" if word in ("HELO", "EHLO") and domain else "HELO localhost"
    told = "explain (?:\\A|\\n)(?P<code>[0-9]{3})[ \\r](?P<info>[^\\r\\n]*)\\r?\\n"
    well = "expect_pattern (?:\\A|\\n)2[0-9]{2}[ \\r]"
    # Some say nothing more when they are told to end.
    return (told, well, f"send {said}\r\n", told, well, "send QUIT\r\n", told, "refuse_pattern (?:\\A|\\n)[3-9][0-9]{2}[ \\r]")
