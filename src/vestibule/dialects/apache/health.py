"""mod_proxy_hcheck: asking members how they are.

Facts: a method is asked every ``hcinterval`` (30 s); one good or bad answer changes the state unless ``hcpasses`` or ``hcfails`` says
otherwise. Without ``hcexpr`` an answer from 200 to 399 is good.

Rules: an expression is understood where it tests the status, or looks for a text in the body; others are errors.
"""

from __future__ import annotations

import re
from dataclasses import replace

from vestibule.dialects.apache.options import HEALTH, Option, Options, read_options
from vestibule.dialects.apache.scope import Scope, not_built
from vestibule.dialects.record import Record
from vestibule.model.config import HealthCheck

_METHODS = ("OPTIONS", "HEAD", "GET")
_INTERVAL_MS = 30_000
_STATUS = re.compile(r"%\{REQUEST_STATUS\}\s*=~\s*m?([/#|!])(.*)\1")
_EQUAL = re.compile(r"%\{REQUEST_STATUS\}\s*(?:-eq|==)\s*'?([0-9]{3})'?")
_BODY = re.compile(r"hc\('body'\)\s*=~\s*m?([/#|!])(.*)\1")
_PLAIN = re.compile(r"[\w \-:\"'{},]+")


def health_of(record: Record, options: Options, path: str, host: str, scope: Scope) -> HealthCheck | None:
    """Return the check that the options of a server ask for."""
    options = options.over(_template(record, options, scope))
    method = options.text("hcmethod").upper().removesuffix("11")
    if not method or method == "NONE":
        return None
    span = options.given["hcmethod"].span
    interval = options.time("hcinterval")
    interval = _INTERVAL_MS if interval is None else interval
    kind = "tcp" if method == "TCP" else "http"
    if method not in (*_METHODS, "TCP"):
        if method in ("CPING", "PROVIDER"):
            options.not_built("hcmethod", f"`hcmethod={method}`", "write `GET` or `TCP`")
        else:
            record.error(span, "bad-value", f"`{method}` is no way to ask", "write `GET`, `HEAD`, `OPTIONS` or `TCP`")
        return None
    check = HealthCheck(
        "tcp" if kind == "tcp" else "http",
        method=method if kind == "http" else "GET",
        path=(path.rstrip("/") + (options.text("hcuri") or "/")) if kind == "http" else "/",
        host=host if kind == "http" else "",
        interval_ms=interval,
        fast_ms=interval,
        timeout_ms=options.time("connectiontimeout") or options.time("timeout") or min(interval, _INTERVAL_MS),
        rise=options.count("hcpasses") or 1,
        fall=options.count("hcfails") or 1,
    )
    wanted = options.given.get("hcexpr")
    return check if wanted is None else _with_expression(record, check, wanted, scope)


def _template(record: Record, options: Options, scope: Scope) -> Options:
    """Return the options of the template that a server names."""
    wanted = options.given.get("hctemplate")
    if wanted is None:
        return Options(record)
    for directive in scope.all("ProxyHCTemplate"):
        if directive.text().lower() == wanted.text.lower():
            return read_options(record, directive, 1, HEALTH)
    record.error(wanted.span, "unknown-reference", f"there is no template `{wanted.text}`", "define it with `ProxyHCTemplate`")
    return Options(record)


def _with_expression(record: Record, check: HealthCheck, wanted: Option, scope: Scope) -> HealthCheck:
    """Return a check that judges answers by a named expression."""
    directive = next((each for each in scope.all("ProxyHCExpr") if each.text().lower() == wanted.text.lower()), None)
    if directive is None:
        record.error(wanted.span, "unknown-reference", f"there is no expression `{wanted.text}`", "define it with `ProxyHCExpr`")
        return check
    text = " ".join(directive.texts[1:]).strip().removeprefix("{").removesuffix("}").strip()
    made = _judged(check, text)
    if made is None:
        not_built(record, directive, 1, f"the expression `{text}` about answers", "test `%{REQUEST_STATUS} =~ /.../` or look for a text")
        return check
    return made


def _judged(check: HealthCheck, text: str) -> HealthCheck | None:
    """Return a check with the statuses and the text that an expression asks for, None where it asks for more."""
    statuses: tuple[int, ...] = ()
    body = ""
    for part in [each.strip() for each in text.split("&&")]:
        by_status, equal, by_body = _STATUS.fullmatch(part), _EQUAL.fullmatch(part), _BODY.fullmatch(part)
        if by_status is not None:
            try:
                pattern = re.compile(by_status[2])
            except re.error:
                return None
            statuses = tuple([status for status in range(200, 600) if pattern.search(str(status))])
        elif equal is not None:
            statuses = (int(equal[1]),)
        elif by_body is not None and _PLAIN.fullmatch(by_body[2]):
            body = by_body[2]
        else:
            return None
    return replace(check, statuses=statuses, body=body)
