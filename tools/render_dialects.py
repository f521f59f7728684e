"""Render the matrices of directives into the pages of the dialects, or check that they are as rendered.

Usage: ``python tools/render_dialects.py [--check]``

Facts: a page ``docs/dialects/NAME.md`` is written by hand up to the mark below; what follows the mark comes from the tables of
the dialect.

Rules: ``--check`` writes nothing and exits 1 where a page differs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from vestibule.dialects.caddy import directives as caddy  # noqa: E402 - found only now
from vestibule.dialects.haproxy import converters as haproxy_converters  # noqa: E402
from vestibule.dialects.haproxy import directives as haproxy  # noqa: E402
from vestibule.dialects.haproxy import options as haproxy_options  # noqa: E402
from vestibule.dialects.haproxy import values as haproxy_values  # noqa: E402
from vestibule.dialects.haproxy import variables as haproxy_variables  # noqa: E402

FOLDER = ROOT / "docs" / "dialects"

MARK = "<!-- Rendered by tools/render_dialects.py from here on; edit the tables, not this part. -->\n"

WORDS = {"supported": "carried out", "harmless": "left out, with a warning", "error": "refused, with an error"}

LETTERS = {"G": "global", "D": "defaults", "F": "frontend", "L": "listen", "B": "backend", "U": "userlist", "E": "http-errors"}


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of Markdown."""
    head = list(header)
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |"]
    lines.extend(["| " + " | ".join([cell.replace("|", "\\|") for cell in row]) + " |" for row in rows])
    return "\n".join(lines) + "\n"


def of_haproxy() -> str:
    """Return the matrix of HAProxy's language."""
    parts = ["## Directives\n"]
    rows = [
        (f"`{row.name}`", ", ".join([LETTERS[letter] for letter in dict.fromkeys(row.contexts)]), row.doc, WORDS[row.state], row.advice)
        for row in sorted(haproxy.DIRECTIVES.values(), key=lambda row: row.name)
    ]
    parts.append(table(("directive", "stands in", "what it is", "here", "why, or what to do"), rows))
    parts.append("## Other sections\n")
    parts.append(
        table(
            ("section", "here", "why, or what to do"),
            [(f"`{name}`", WORDS[state], text) for name, (state, text) in haproxy.SECTIONS.items()],
        )
    )
    for title, options in (("bind", haproxy_options.BIND_OPTIONS), ("server", haproxy_options.SERVER_OPTIONS)):
        parts.append(f"## Options of `{title}`\n")
        parts.append(
            table(
                ("option", "here", "why, or what to do"), [(f"`{each.name}`", WORDS[each.state], each.advice) for each in options.values()]
            )
        )
    parts.append("## Fetches, converters and log aliases\n")
    converters = [*haproxy_converters.NAMES, "map and its kin", "concat", "iif"]
    several = [*haproxy_values.FORMS, *haproxy_values.COOKIES, *haproxy_values.COUNTED_COOKIES]
    others = ["bin", "hdr_ip", "hdr_cnt", "capture.req.hdr", "sc_http_req_rate", "src_http_req_rate"]
    placed = ["unique-id", "var", "str", "int", "bool", "fe_name", "srv_name", "srv_id"]
    built = [*haproxy_variables.FETCHES, *haproxy_variables.NAMED_FETCHES, *several, *others, *placed]
    unbuilt = [name for name in haproxy_variables.UNBUILT_FETCHES if name not in placed]
    parts.append(table(("kind", "built", "known, and not built"), [
        ("fetches", code(built), code(unbuilt)),
        ("converters", code(converters), code(haproxy_variables.UNBUILT_CONVERTERS)),
        ("aliases", code(haproxy_variables.LOG_ALIASES), code(haproxy_variables.UNBUILT_ALIASES)),
    ]))  # fmt: skip
    return "\n".join(parts)


def of_caddy() -> str:
    """Return the matrix of Caddy's language."""
    parts: list[str] = []
    tables = (
        ("Directives, in the order they run", caddy.DIRECTIVES),
        ("Global options", caddy.OPTIONS),
        ("In `reverse_proxy`", caddy.PROXY_OPTIONS),
        ("In `transport http`", caddy.TRANSPORT_OPTIONS),
    )
    for title, rows in tables:
        parts.append(f"## {title}\n")
        cells = [(f"`{row.name}`", row.doc, WORDS[row.state], row.advice) for row in rows.values()]
        parts.append(table(("name", "what it is", "here", "why, or what to do"), cells))
    return "\n".join(parts)


def code(names: Iterable[str]) -> str:
    """Return names as a list in code type."""
    return ", ".join([f"`{name}`" for name in names])


PAGES = {"haproxy.md": of_haproxy, "caddy.md": of_caddy}


def rendered(name: str, text: str) -> str:
    """Return a page with its rendered part anew."""
    return text.partition(MARK)[0] + MARK + "\n" + PAGES[name]()


def main(arguments: list[str]) -> int:
    """Render or check every page."""
    status = 0
    for name in PAGES:
        path = FOLDER / name
        text = path.read_text(encoding="utf-8")
        wanted = rendered(name, text)
        if text == wanted:
            continue
        if arguments == ["--check"]:
            print(f"{name}: differs from what the tables say; run tools/render_dialects.py")
            status = 1
        else:
            path.write_text(wanted, encoding="utf-8")
            print(f"{name}: written")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
