"""Health checks that ask more than once, and what their texts are: variables and formats that stand still.

Facts (HAProxy configuration manual, chapter 4.2): `http-check connect` begins another connection, on which `http-check send` asks again.
Values of fields, `uri-lf` and `body-lf` are formats; variables of the scope `check` are set between the requests.

Rules
  A text is worked out once, when the file is read. What only a moment can tell is an error.
  A field of the answer (`res.fhdr`) is told between two marks, for patterns to find where it stands; a request cannot have it.

Not here: the rules themselves (`checking`), how a talk is held (`control/check.py`).
"""

from __future__ import annotations

import re

from vestibule.dialects.haproxy.sample import split_sample
from vestibule.dialects.haproxy.state import not_built
from vestibule.dialects.read import Unreadable
from vestibule.model.config import HealthCheck

_ITEM = re.compile(r"%(?:%|\[([^\]]*)\]|(.?))")
ANSWERED = re.compile("\ue000([^\ue001]*)\ue001")
"""A field of the answer, between its marks."""

_FIELDS = ("res.fhdr", "res.hdr", "check.fhdr", "check.hdr")
_SCOPES = ("check", "proc", "sess", "txn")
_STATUS_LINE = "explain \\AHTTP/1\\.[01] (?P<code>[0-9]{3})(?: (?P<info>[^\\r\\n]*))?\\r\\n"


class Texts:
    """What variables of checks are, and the names that stand still."""

    def __init__(self, backend: str, server: str) -> None:
        self._names = {"be_name": backend, "srv_name": server}
        self._held: dict[str, str] = {}

    def keep(self, rule: str, text: str) -> None:
        """Follow `set-var(NAME) SAMPLE`, `set-var-fmt(NAME) FORMAT` or `unset-var(NAME)`. Raises `Unreadable`."""
        verb, _, name = rule.removesuffix(")").partition("(")
        if name.partition(".")[0] not in _SCOPES or "," in name:
            raise Unreadable("argument", f"`{name}` is no variable of checks", "write `set-var(check.NAME)`")
        if verb == "unset-var":
            self._held.pop(name, None)
        elif not text:
            raise Unreadable("missing", f"nothing follows `{rule}`")
        else:
            self._held[name] = self.formatted(text) if verb == "set-var-fmt" else self._sample(text)

    def formatted(self, text: str) -> str:
        """Return what a format comes to. Raises `Unreadable`."""
        found = ""
        at = 0
        for item in _ITEM.finditer(text):
            found += text[at : item.start()]
            at = item.end()
            if item[0] == "%%":
                found += "%"
            elif item[1] is None:
                raise not_built(f"`{item[0]}` in a format of a check", "write `%%` for a per cent sign")
            else:
                found += self._sample(item[1].strip())
        return found + text[at:]

    def _sample(self, text: str) -> str:
        sample = split_sample(text)
        name, given = sample.fetch, sample.arguments
        if sample.converters:
            raise not_built(f"the converter `{sample.converters[0][0]}` in a check", "write the value")
        if name == "str" or (name == "int" and "".join(given).removeprefix("-").isdecimal()):
            return ",".join(given)
        if name == "var" and given:
            return self._held.get(given[0], "".join(given[1:2]))
        if name in _FIELDS and len(given) == 1:
            return f"\ue000{given[0].lower()}\ue001"
        if self._names.get(name) and not given:
            return self._names[name]
        hint = "name it, where a backend has one server" if name == "srv_name" else "write the value"
        raise not_built(f"the fetch `{name}` in a check", hint)


def talk_of_requests(rounds: list[tuple[int, HealthCheck | None]]) -> tuple[str, ...]:
    """Return the steps of requests, each on a connection of its own to a port (0 is the usual one); None asks nothing."""
    steps: list[str] = []
    for port, check in rounds:
        steps.append(f"connect {port}" if port else "connect")
        if check is None:
            continue
        steps.extend([f"send_hex {_request(check).hex()}", _STATUS_LINE, "disagree"])
        statuses = "|".join([str(each) for each in check.statuses]) or "[23][0-9]{2}"
        steps.append(f"expect_pattern \\AHTTP/1\\.[01] (?:{statuses})[ \\r]")
        if check.body:
            # What is looked for may stand far behind the line that was waited for.
            steps.append(f"expect_pattern (?s)\\r\\n\\r\\n.*{re.escape(check.body)}")
    return tuple(steps)


def _request(check: HealthCheck) -> bytes:
    """Return a request as HAProxy sends it: with a Host where one is said."""
    lines = [f"{check.method} {check.path or '/'} HTTP/{check.version}"]
    if check.host:
        lines.append(f"Host: {check.host}")
    if check.version == "1.1" and "connection" not in [name.lower() for name, _ in check.headers]:
        lines.append("Connection: close")
    lines += [f"{name}: {value}" for name, value in check.headers]
    content = check.content.encode("utf-8", "surrogateescape")
    if content:
        lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + content
