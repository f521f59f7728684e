"""The answer to a fault, for people and for programs.

Facts: half of all questions about a proxied application come from not knowing which box refused. A
browser that navigates wants a page; an app, or a script of a page, wants JSON, and must not meet HTML
where it parses.

Rules
  The page says which hop failed and what to do. It loads nothing, runs nothing, is never stored.
  What came with the request is never shown unescaped; what names our inner network is not shown at all.
  `Retry-After` is said only where waiting helps (RFC 9110 10.2.3).

Not here: the texts (`fault.py`).
"""

import json
from typing import Final

from vestibule.contract import ErrorPage
from vestibule.exchange import Exchange
from vestibule.fault import (
    CLIENT_BAD_METHOD,
    PROXY,
    PROXY_LIMITED,
    SIDE_NAMES,
    UPSTREAM,
    UPSTREAM_BUSY,
    UPSTREAM_DOWN,
    UPSTREAM_LOST,
    UPSTREAM_REFUSED,
    UPSTREAM_TIMEOUT_CONNECT,
    UPSTREAM_TIMEOUT_HEAD,
    UPSTREAM_UNREACHABLE,
    UPSTREAM_UNRESOLVED,
    Fault,
)
from vestibule.plan.request_id import request_id
from vestibule.plan.sent import came_fields, came_target

# Seconds after which trying again may help: a restarting Immich needs about so long.
_RETRY_S: Final = 5

# Faults that pass by themselves.
_PASSING: Final = frozenset(
    kind.name
    for kind in (
        PROXY_LIMITED,
        UPSTREAM_BUSY,
        UPSTREAM_DOWN,
        UPSTREAM_LOST,
        UPSTREAM_REFUSED,
        UPSTREAM_TIMEOUT_CONNECT,
        UPSTREAM_TIMEOUT_HEAD,
        UPSTREAM_UNREACHABLE,
        UPSTREAM_UNRESOLVED,
    )
)

_TITLES: Final[dict[int, str]] = {
    400: "Bad request",
    401: "Credentials needed",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timed out",
    410: "Gone",
    413: "Too large",
    414: "Address too long",
    417: "Expectation failed",
    421: "Wrong host",
    429: "Too many requests",
    431: "Request head too large",
    500: "Internal error",
    501: "Not implemented",
    502: "Bad gateway",
    503: "Not available",
    504: "Gateway timed out",
    505: "Version not supported",
}

_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{font:16px/1.5 system-ui,sans-serif;margin:0;min-height:100vh;display:grid;place-items:center}"
    "main{max-width:34rem;padding:2rem}h1{font-size:1.4rem;margin:0 0 .5rem}"
    "ol{list-style:none;display:flex;gap:.5rem;padding:0;margin:1.5rem 0}"
    "li{flex:1;text-align:center;padding:.6rem .3rem;border:1px solid #8886;border-radius:.5rem}"
    "li span{display:block;font-size:1.3rem}li.bad{border-color:#d33;color:#d33}li.good span{color:#2a2}li.idle{opacity:.5}"
    "small{color:#888}"
)


class ClearPage(ErrorPage):
    """The error page of a site. `immich` says that failures below `/api/` are told as JSON to everyone, `has_fields` that fields say
    not to store it, and when to ask again."""

    def __init__(self, immich: bool, has_fields: bool = True) -> None:
        self._immich = immich
        self._has_fields = has_fields

    def answer(self, ex: Exchange, fault: Fault) -> None:
        status = fault.kind.status
        headers: list[tuple[bytes, bytes]] = []
        passing = fault.kind.name in _PASSING or status == 503
        if wants_json(ex, self._immich):
            headers.append((b"Content-Type", b"application/json"))
            body = json_body(ex, fault)
        else:
            headers.append((b"Content-Type", b"text/html; charset=utf-8"))
            headers.append((b"Content-Security-Policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"))
            body = html_body(ex, fault, passing and ex.request.method == b"GET")
        if self._has_fields:
            headers.append((b"Cache-Control", b"no-store"))
        if passing and self._has_fields:
            headers.append((b"Retry-After", b"%d" % _RETRY_S))
        if status == 401 and ex.auth_answer is not None:
            for challenge in ex.auth_answer.get_all(b"www-authenticate"):
                headers.append((b"WWW-Authenticate", challenge))
        if fault.kind is CLIENT_BAD_METHOD:
            # RFC 9110 15.5.6 wants the field; methods are not allowed or forbidden by path here.
            headers.append((b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"))
        ex.answer(status, headers, body)


def wants_json(ex: Exchange, immich: bool) -> bool:
    """Tell whether a program asked, and not a person who navigates."""
    head = ex.request
    target = came_target(head)
    if immich and (target.startswith(b"/api/") or target == b"/api"):
        return True
    fields = came_fields(head)
    mode = fields.get(b"sec-fetch-mode")
    if mode is not None:
        return mode != b"navigate"
    if (fields.get(b"x-requested-with") or b"").lower() == b"xmlhttprequest":
        return True
    accept = (fields.get(b"accept") or b"").lower()
    return b"text/html" not in accept and b"json" in accept


def told_detail(fault: Fault) -> str:
    """Return the part of a fault's detail that a client may read.

    Details of the upstream side name inner hosts and addresses; they stand in the log only.
    """
    return fault.detail if fault.kind.side != UPSTREAM else ""


def json_body(ex: Exchange, fault: Fault) -> bytes:
    """Return the failure as a JSON object. `message` is the key where Immich's clients look."""
    kind = fault.kind
    text: dict[str, object] = {
        "statusCode": kind.status,
        "error": title_of(kind.status),
        "message": kind.text,
        "fault": kind.name,
        "failed": SIDE_NAMES[kind.side],
    }
    detail = told_detail(fault)
    if detail:
        text["detail"] = detail
    if kind.mend:
        text["mend"] = kind.mend
    text["requestId"] = request_id(ex).decode("ascii")
    return json.dumps(text).encode("ascii") + b"\n"


def html_body(ex: Exchange, fault: Fault, again: bool) -> bytes:
    """Return the failure as a page. `again` has the browser ask again by itself."""
    kind = fault.kind
    title = title_of(kind.status)
    detail = told_detail(fault)
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex">',
        f'<meta http-equiv="refresh" content="{_RETRY_S}">' if again else "",
        f"<title>{kind.status} {title}</title><style>{_STYLE}</style></head>\n<body><main>",
        f"<h1>{kind.status} {title}</h1>\n<p>{escape_html(kind.text)}</p>\n",
        _hops(kind.side),
        f"<p>{escape_html(kind.mend)}</p>\n" if kind.mend else "",
        f"<p><code>{escape_html(detail)}</code></p>\n" if detail else "",
        "<p>This page tries again by itself.</p>\n" if again else "",
        f"<p><small>{kind.name} · request {request_id(ex).decode('ascii')} · vestibule</small></p>\n</main></body></html>\n",
    ]
    return "".join(parts).encode("utf-8", "replace")


def _hops(side: int) -> str:
    """Return the way of a request with a mark at the hop that failed."""
    failed = 0
    if side == PROXY:
        failed = 1
    elif side == UPSTREAM:
        failed = 2
    items: list[str] = []
    names = ("Your browser", "Vestibule", "Server")
    for i in range(3):
        state = "good"
        mark = "✓"
        if i == failed:
            state = "bad"
            mark = "✗"
        elif i > failed:
            state = "idle"
            mark = "–"
        items.append(f'<li class="{state}"><span>{mark}</span>{names[i]}</li>')
    return f"<ol>{''.join(items)}</ol>\n"


def title_of(status: int) -> str:
    """Return a short name for a status."""
    return _TITLES.get(status, "Error")


def escape_html(text: str) -> str:
    """Return text that means itself in HTML, in an attribute as well."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;").replace("'", "&#39;")
